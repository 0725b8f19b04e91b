import json
import resource
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest
from beginning import begin
from catalogs import SCHEMA, catalog
from erp import Erp
from problems import ProblemCheck
from running import Daemon
from upstream import Upstream

from entrepot.standin.server import StandIn
from ports import held_port

_numbers = count(1)


@pytest.fixture(scope="session")
def many_files():
    """Let this process and the daemon hold as many connections as the host allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="session")
def upstream():
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def closed_port():
    """A port that refuses connections for as long as the tests run."""
    return held_port()


@pytest.fixture(scope="session")
def made_on(upstream, closed_port, tmp_path_factory, many_files, fill_store):
    """Return a function that makes of a stack a function as ``make_daemon`` is: what it starts ends with the stack."""

    def made_on(stack):
        def make(more=lambda daemon: {}, **options):
            directory = tmp_path_factory.mktemp("gateway")
            daemon = Daemon(directory, **options)
            (directory / "erp").mkdir()
            Path(daemon.secret).write_text(daemon.password, encoding="utf-8")
            (directory / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
            standin = stack.enter_context(StandIn(directory / "erp", password=daemon.password))
            stack.callback(daemon.stop)
            daemon.erp = Erp(standin.url, daemon.password)
            daemon.document = catalog(
                upstream=upstream.url,
                closed_port=closed_port,
                erp=standin.url,
                secret=daemon.secret,
                schema=str(directory / "schema.json"),
            )
            daemon.documents = {"catalog.yaml": daemon.document, **more(daemon)}
            fill_store(daemon.store)
            begin(daemon)
            return daemon

        return make

    return made_on


@pytest.fixture(scope="module")
def make_daemon(made_on):
    """Return a function that starts a daemon with the whole catalog, and what *more* returns, on an ERP of its own."""
    with ExitStack() as stack:
        yield made_on(stack)


@pytest.fixture(scope="session")
def gateway(made_on):
    """The daemon of all tests that change nothing which others see."""
    with ExitStack() as stack:
        yield made_on(stack)()


@pytest.fixture(scope="session")
def hurried(made_on):
    """A daemon that waits for a second for what a peer has begun, and for two until it begins something."""
    with ExitStack() as stack:
        yield made_on(stack)(patience_s=1)


@pytest.fixture(scope="session")
def erp(gateway):
    return gateway.erp


@pytest.fixture(scope="session")
def mint(gateway):
    return gateway.mint


@pytest.fixture(scope="session")
def assert_problem(gateway):
    """The check of a problem; at the end of the session all of them must have their line in the access log."""
    check = ProblemCheck(gateway)
    yield check
    check.check_log()


@pytest.fixture
def source():
    """An address of loopback that no other test calls from: what is counted by source begins at nothing."""
    number = next(_numbers)
    return f"127.20.{number // 250}.{number % 250 + 1}"


@pytest.fixture
def name():
    """A piece of a path that no other test uses."""
    return f"t{next(_numbers)}"
