import json
import resource
import socket
from contextlib import ExitStack
from itertools import count

import pytest
from beginning import begin
from catalogs import SCHEMA, catalog
from erp import Erp
from problems import ProblemCheck
from running import Daemon
from upstream import Upstream

from entrepot.standin.server import StandIn

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
    """A port that refuses connections for as long as the tests run: bound, and nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(scope="session")
def make_daemon(upstream, closed_port, tmp_path_factory, many_files):
    """Return a function that starts a daemon with the whole catalog on an ERP of its own."""
    with ExitStack() as stack:

        def make(**options):
            directory = tmp_path_factory.mktemp("gateway")
            daemon = Daemon(directory, **options)
            (directory / "erp").mkdir()
            (directory / "erp-secret").write_text(daemon.password, encoding="utf-8")
            (directory / "schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
            standin = stack.enter_context(StandIn(directory / "erp", password=daemon.password))
            stack.callback(daemon.stop)
            daemon.erp = Erp(standin.url, daemon.password)
            daemon.document = catalog(
                upstream=upstream.url,
                closed_port=closed_port,
                erp=standin.url,
                secret=str(directory / "erp-secret"),
                schema=str(directory / "schema.json"),
            )
            begin(daemon)
            return daemon

        yield make


@pytest.fixture(scope="session")
def gateway(make_daemon):
    return make_daemon()


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
