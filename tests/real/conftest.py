import sys
from pathlib import Path
from uuid import uuid4

import pytest

# The running daemon and the raw client are those of the gateway's own tests.
sys.path.append(str(Path(__file__).parent.parent / "gateway"))

from real_broken import company, erp, machine  # noqa: F401 - fixtures
from real_catalog import catalog
from real_odoo import Company, Odoo
from running import Daemon


@pytest.fixture(scope="session")
def odoo():
    return Odoo.from_environment()


@pytest.fixture(scope="session")
def make_gateway(tmp_path_factory):
    """Return a function that starts a gateway over an Odoo, with a token for each partner under the partner's name."""
    started = []

    def make(odoo, partners, **upstream):
        daemon = Daemon(tmp_path_factory.mktemp("real"))
        secret = daemon.directory / "erp-secret"
        secret.write_text(odoo.password, encoding="utf-8")
        daemon.secret = secret
        started.append(daemon)
        daemon.document = catalog(odoo, secret=str(secret), upstream=upstream, partners=partners)
        daemon.apply("catalog.yaml", daemon.document)
        daemon.start()
        daemon.wait_ready()
        for name in partners:
            daemon.tokens[name] = daemon.issue(name)
        return daemon

    yield make
    for daemon in started:
        daemon.stop()


@pytest.fixture(scope="session")
def products(odoo):
    """The ids of two products by the codes that only they have: a service and a thing that is delivered."""
    mark = uuid4().hex[:8]
    made = {}
    for code, kind, price in ((f"{mark}-service", "service", 10.0), (f"{mark}-thing", "consu", 2.5)):
        values = {"name": f"Product {code}", "default_code": code, "type": kind, "list_price": price, "taxes_id": []}
        made[code] = odoo.call("product.product", "create", values)
    yield made
    odoo.remove("product.template", ["product_variant_ids", "in", list(made.values())])


@pytest.fixture(scope="session")
def companies(odoo, products):
    """Two companies. With all that is theirs they go before the products, which their orders hold."""
    made = [Company(odoo, uuid4().hex) for _ in range(2)]
    yield made
    for one in made:
        one.clear()


@pytest.fixture(scope="session")
def ours(companies):
    """The company that the calling partner stands for."""
    return companies[0]


@pytest.fixture(scope="session")
def theirs(companies):
    """The company of another partner."""
    return companies[1]


@pytest.fixture(scope="session")
def gateway(odoo, make_gateway, ours, theirs):
    partners = {"ours": ours, "theirs": theirs}
    values = {name: {"company": one.id, "mark": one.mark} for name, one in partners.items()}
    # A thousand lines take Odoo some ten seconds.
    return make_gateway(odoo, values, timeout="60s")


@pytest.fixture
def mark():
    """A text that no other record has."""
    return f"t{uuid4().hex}"
