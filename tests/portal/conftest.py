from contextlib import ExitStack

import pytest
from portal_support import OPERATOR

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import write_snapshot
from entrepot.identity.partners import Client, Partner
from entrepot.portal import create_portal_app
from entrepot.services import Services
from entrepot.settings import load_settings


@pytest.fixture
def settings(tmp_path, fill_store):
    fill_store(tmp_path / "store")
    (tmp_path / "entrepot.ini").touch()
    return load_settings(tmp_path / "entrepot.ini", {"ENTREPOT_STORE_DIRECTORY": str(tmp_path / "store")})


@pytest.fixture
def services(settings):
    with Services.from_settings(settings) as services:
        shop = Client("shop", "azure", frozenset({"orders.read", "orders.write"}))
        catalog = Catalog(revision=1, partners={"azure": Partner("azure", "Azure")}, clients={"shop": shop})
        write_snapshot(services.snapshot_path, catalog)
        yield services


@pytest.fixture
def shop(services):
    return services.catalog().clients["shop"]


@pytest.fixture
def secret(services, shop):
    return services.credentials.make("secret", shop, actor=OPERATOR).text


@pytest.fixture
def start_portal(settings, services):
    """Return a function that starts a portal; all end after the test."""
    with ExitStack() as stack:

        def start():
            app = create_portal_app(settings)
            stack.callback(app.extensions["entrepot"].close)
            return app

        yield start


@pytest.fixture
def ask(start_portal):
    """Return a function that posts to a page of a portal that has been started, with a name and a secret."""
    client = start_portal().test_client()

    def ask(path, basic, **form):
        return client.post(path, data=form, auth=basic)

    return ask
