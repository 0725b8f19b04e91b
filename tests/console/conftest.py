"""A console on a store of its own, and operators who ask it."""

from contextlib import ExitStack

import pytest
from console_process import ConsoleProcess
from console_support import CATALOG, CHEAP, PASSWORD, ROOT, Browser, Script

from entrepot.console import create_console_app
from entrepot.declarative.apply import apply
from entrepot.services import Services
from entrepot.settings import load_settings


@pytest.fixture
def settings(tmp_path, fill_store):
    fill_store(tmp_path / "store")
    path = tmp_path / "entrepot.ini"
    path.write_text(
        f"[store]\ndirectory = {tmp_path}/store\n"
        "[gateway]\npublic_url = http://gateway.example\n"
        "[console]\npublic_url = https://console.example\ntrusted = 192.0.2.0/24\n"
    )
    return load_settings(path, {})


@pytest.fixture
def services(settings):
    with Services.from_settings(settings) as services:
        services.prepare()
        yield services


@pytest.fixture
def app(settings, services):
    return create_console_app(settings, services, CHEAP)


@pytest.fixture(scope="module")
def nobodys_app(tmp_path_factory, fill_store):
    """A console that nobody has an account at, for tests that change nothing."""
    home = tmp_path_factory.mktemp("nobodys")
    fill_store(home / "store")
    app = create_console_app(load_settings(None, {"ENTREPOT_STORE_DIRECTORY": str(home / "store")}))
    yield app
    app.extensions["entrepot"].close()


@pytest.fixture
def start_console(settings):
    """Return a function that starts a console that finds its services itself; all end after the test."""
    with ExitStack() as stack:

        def start():
            app = create_console_app(settings, passwords=CHEAP)
            stack.callback(app.extensions["entrepot"].close)
            return app

        yield start


@pytest.fixture
def catalog(tmp_path, services):
    """The catalog in force: a partner with two clients, out of a file."""
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG)
    apply(services.database, [path], ask=None, snapshot=services.snapshot_path, actor=ROOT)
    return services.catalog


@pytest.fixture
def operators(app):
    return app.extensions["entrepot"].operators


@pytest.fixture
def add(operators):
    """Return a function that makes an account."""

    def add(name, role):
        return operators.add(name, role, PASSWORD, actor=ROOT)

    return add


@pytest.fixture
def sign_in(app, add):
    """Return a function that makes an account and signs it in, as a script does."""

    def sign_in(name, role):
        add(name, role)
        return Script(app, name)

    return sign_in


@pytest.fixture
def viewer(sign_in):
    return sign_in("vera", "viewer")


@pytest.fixture
def editor(sign_in):
    return sign_in("ed", "editor")


@pytest.fixture
def admin(sign_in):
    return sign_in("ada", "admin")


@pytest.fixture
def browser(app, add):
    """The browser of ada, an admin, who has signed in."""
    add("ada", "admin")
    browser = Browser(app)
    browser.sign_in("ada")
    return browser


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """``entrepot run console``, at which ada, an admin, may sign in."""
    process = ConsoleProcess(tmp_path_factory.mktemp("console"))
    process.entrepot("apply", str(process.home / "catalog.yaml"))
    process.entrepot("operator", "add", "ada", "-", "--role", "admin", stdin=PASSWORD)
    process.start()
    yield process
    assert process.stop() == 0, process.log()
