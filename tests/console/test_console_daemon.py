"""``entrepot run console`` as a process, asked over its socket by a client that nobody here wrote."""

import stat
import time

import pytest
import requests
from console_process import START_S, ConsoleProcess
from console_support import PASSWORD

from entrepot.console import create_console_app
from entrepot.settings import load_settings

pytestmark = pytest.mark.slow


@pytest.fixture
def ada(process):
    """A session of ada's browser."""
    with requests.Session() as session:
        signed = session.post(f"{process.base}/api/v1/session", json={"name": "ada", "password": PASSWORD}, timeout=30)
        assert signed.status_code == 201, signed.text
        session.headers["X-CSRF-Token"] = signed.json()["data"]["csrf_token"]
        yield session


def test_an_operator_signs_in_changes_something_and_signs_out(process, ada):
    account = {"name": "eve", "role": "viewer", "password": PASSWORD}

    made = ada.post(f"{process.base}/api/v1/operators", json=account, timeout=30)
    rotated = ada.post(f"{process.base}/api/v1/keys", timeout=30)
    out = ada.delete(f"{process.base}/api/v1/session", timeout=30)

    assert (made.status_code, rotated.status_code, out.status_code) == (201, 201, 204)
    assert made.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert ada.get(f"{process.base}/api/v1/session", timeout=30).status_code == 401


def test_what_the_command_line_changes_the_console_knows_at_once(process):
    process.entrepot("operator", "add", "bob", "-", "--role", "viewer", stdin=PASSWORD)
    headers = {"Authorization": f"Bearer {process.token('bob')}"}
    before = requests.get(f"{process.base}/api/v1/keys", headers=headers, timeout=30)

    process.entrepot("operator", "disable", "bob")

    assert before.status_code == 200
    assert requests.get(f"{process.base}/api/v1/keys", headers=headers, timeout=30).status_code == 401


def test_what_the_console_changes_the_command_line_knows_at_once(process, ada):
    ada.post(f"{process.base}/api/v1/partners", json={"name": "globex", "title": "Globex"}, timeout=30)
    client = {"name": "crane", "partner": "globex", "scopes": ["orders.read"]}
    made = ada.post(f"{process.base}/api/v1/clients", json=client, timeout=30)

    assert made.status_code == 201
    assert process.entrepot("token", "issue", "crane").count(".") == 2
    assert "partners.globex" in process.entrepot("audit", "--actor", "ada", "--kind", "catalog")


def test_the_log_holds_neither_password_nor_session(process, ada):
    ada.get(f"{process.base}/api/v1/session", timeout=30)

    assert process.log()
    assert PASSWORD not in process.log()
    assert next(iter(ada.cookies)).value not in process.log()


def test_what_it_writes_is_for_its_owner_alone(process, ada):
    files = [path for path in (process.home / "store").rglob("*") if path.is_file()]

    assert files
    assert [path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_it_listens_on_a_unix_socket_that_only_its_owner_opens(tmp_path):
    socket = tmp_path / "console.sock"
    process = ConsoleProcess(tmp_path)
    process.write_settings(f"unix:{socket}")
    process.spawn()
    until = time.monotonic() + START_S
    while not socket.exists() and time.monotonic() < until and process.process.poll() is None:
        time.sleep(0.1)

    mode = stat.S_IMODE(socket.stat().st_mode)

    assert process.stop() == 0, process.log()
    assert mode & 0o077 == 0


@pytest.mark.parametrize(
    ("bind", "public_url", "warns"),
    [
        ("0.0.0.0:8081", "", True),
        ("[::]:8081", "http://console.example", True),
        ("0.0.0.0:8081", "https://console.example", False),
        ("127.0.0.1:8081 [::1]:8081 unix:/run/console.sock", "", False),
    ],
)
def test_it_warns_of_passwords_in_the_clear(tmp_path, caplog, bind, public_url, warns):
    path = tmp_path / "entrepot.ini"
    path.write_text(f"[store]\ndirectory = {tmp_path}/store\n[console]\nbind = {bind}\npublic_url = {public_url}\n")

    app = create_console_app(load_settings(path, {}))
    app.extensions["entrepot"].close()

    assert ("in the clear" in caplog.text) == warns
