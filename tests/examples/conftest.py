"""All daemons as the examples want them."""

from http.server import ThreadingHTTPServer
from threading import Thread

import pytest
from example_gateway import CATALOG, PROGRAM, SETTINGS, Echo, Gateway, process, wait_until

from ports import held_port


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway with a catalog in force, a portal, a console and a courier."""
    home = tmp_path_factory.mktemp("gateway")
    gateway = Gateway(home, held_port())
    gateway.settings.write_text(SETTINGS.format(home=home, port=gateway.port))
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        Thread(target=echo.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        (home / "catalog.yaml").write_text(CATALOG.format(echo=echo.server_port))
        gateway.entrepot("apply", f"{home}/catalog.yaml")
        with process([PROGRAM, "run", "all"], home / "log", env=gateway.environment):
            for path in ("/health/ready", "/.well-known/jwks.json"):
                wait_until(lambda path=path: gateway.get(path)[0] == 200, (home / "log").read_text)
            gateway.token = gateway.entrepot("token", "issue", "shop")
            yield gateway
        echo.shutdown()
