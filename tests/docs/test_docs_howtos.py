"""The how-tos about partners and their credentials, run as they stand against all daemons and the stand-in ERP."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from string import Template

import pytest
from pages import blocks, page_text, prints, squeezed

from entrepot.standin.server import StandIn
from ports import held_port

pytestmark = pytest.mark.slow

SETTINGS = """\
[store]
directory = {home}/store
[gateway]
bind = 127.0.0.1:{port}
workers = 2
public_url = http://127.0.0.1:{port}
graceful_timeout = 2s
[portal]
bind = unix:{home}/portal.sock
graceful_timeout = 1s
[console]
bind = unix:{home}/console.sock
graceful_timeout = 1s
[courier]
graceful_timeout = 1s
[log]
target = stderr
level = warning
"""
MARK = "@@@ command"
START_S = 60.0
STOPPED, AWAY = "While no daemon runs", "While the database is away"
# A path below a file that is no directory.
NO_DATABASE = "ENTREPOT_STORE_URL=sqlite:////dev/null/entrepot.db"


class Host:
    """A host with all daemons in *home*."""

    def __init__(self, home):
        self.home, self.port = home, held_port()
        self.store = home / "store"
        self.settings = home / "entrepot.ini"
        self.settings.write_text(SETTINGS.format(home=home, port=self.port))
        self.url = f"http://127.0.0.1:{self.port}"
        self.daemons = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        self.environment = {**kept, "HOME": str(home), "PATH": path, "CONFIG_SOURCE": str(self.settings)}

    def entrepot(self, *arguments):
        command = [Path(sys.executable).with_name("entrepot"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self):
        command = [Path(sys.executable).with_name("entrepot"), "run", "all"]
        with (self.home / "log").open("ab") as log:
            self.daemons = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        deadline = time.monotonic() + START_S
        while not all(self._answers(path) for path in ("/health/ready", "/.well-known/jwks.json")):
            assert self.daemons.poll() is None, (self.home / "log").read_text()
            assert time.monotonic() < deadline, (self.home / "log").read_text()
            time.sleep(0.05)

    def stop(self):
        if self.daemons is not None:
            self.daemons.terminate()
            self.daemons.wait(START_S)
            self.daemons = None

    def _answers(self, path):
        with suppress(OSError), urllib.request.urlopen(f"{self.url}{path}", timeout=5) as reply:
            return reply.status == 200
        return False

    def queue(self, count, token, name="DOCS"):
        """Let so many orders of *token* be accepted, which nobody delivers."""
        for number in range(count):
            body = {"reference": f"{name}-{number}", "lines": [{"product": "FURN_7777", "quantity": 1}]}
            fields = {
                "Authorization": f"Bearer {token}", "Content-Type": "application/json", "Prefer": "respond-async",
                "Idempotency-Key": f"{name}-{number}",
            }  # fmt: skip
            request = urllib.request.Request(f"{self.url}/v1/orders", json.dumps(body).encode(), fields)
            try:
                with urllib.request.urlopen(request, timeout=START_S) as reply:
                    assert reply.status == 202
            except urllib.error.HTTPError as error:
                pytest.fail(f"{error}: {error.read().decode()}\n{(self.home / 'log').read_text()}")


@pytest.fixture(scope="module")
def host():
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="howto-")))
        erp = stack.enter_context(StandIn(home, password="secret"))
        (home / "password").write_text("secret")
        host = Host(home)
        for name in ("contacts", "orders"):
            sample = files("entrepot.cli").joinpath("samples", f"{name}.yaml").read_text(encoding="utf-8")
            values = {
                "url": erp.url, "database": erp.database, "login": erp.login, "secret": f"file:{home}/password",
                "company": "Azure Interior", "contact": 14,
            }  # fmt: skip
            (home / f"{name}.yaml").write_text(Template(sample).substitute(values), encoding="utf-8")
        host.entrepot("apply", f"{home}/contacts.yaml", f"{home}/orders.yaml")
        stack.callback(host.stop)
        host.start()
        yield host


def test_a_partner_in_one_minute(host):
    run(host, "howto/partner.rst")


def test_rotate(host):
    secret = host.entrepot("client", "secret", "shop", "--label", "2026")
    body = f"grant_type=client_credentials&client_id=shop&client_secret={secret}".encode()
    urllib.request.urlopen(f"{host.url}/oauth/token", body, timeout=START_S).close()

    run(host, "howto/rotate.rst")

    fresh = (host.home / "shop.secret").read_text().strip()
    with urllib.request.urlopen(f"{host.url}/oauth/token", body.replace(secret.encode(), fresh.encode())) as reply:
        assert reply.status == 200
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{host.url}/oauth/token", body, timeout=START_S)


def test_revoke_in_an_emergency(host):
    host.entrepot("client", "secret", "shop", "--label", "stolen")
    token = host.entrepot("token", "issue", "shop")
    (host.home / "token.txt").write_text(f"{token}\n")
    host.entrepot("maintenance", "on")
    host.queue(2, token)
    time.sleep(1.0)  # the latest one is to be of a later second

    run(host, "howto/revoke.rst", TOKEN=host.entrepot("token", "issue", "shop"))


def test_back_up_and_restore(host):
    token = host.entrepot("token", "issue", "shop")
    host.entrepot("maintenance", "on")
    host.queue(2, token, "BACKUP")
    host.entrepot("db", "backup", f"{host.home}/busy.tar")
    with pytest.raises(AssertionError, match=r"is in use by the processes [0-9 ]+; nothing was changed"):
        host.entrepot("db", "restore", f"{host.home}/busy.tar")

    run(host, "howto/back-up.rst")

    request = urllib.request.Request(f"{host.url}/v1/contacts", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=START_S) as reply:
        assert reply.status == 200


def test_every_file_of_the_store_is_explained(host):
    text = page_text("explanation/kept.rst")

    names = {re.sub("-(wal|shm)$", "", path.name) for path in host.store.iterdir()}

    assert {"entrepot.db", "master.key", "keys", "revocations", "credentials", "shared"} <= names
    assert [name for name in names if not re.search(rf"``{re.escape(name)}/?``", text)] == []


def run(host, page, **variables):
    """Run the commands of *page* in one shell, and compare what each prints with what the page shows."""
    with shell(host, variables) as tell:
        for block in blocks(page, "console", "bash"):
            text = block.text.replace("https://api.example.com", host.url).replace("/var/lib/entrepot", str(host.store))
            if block.caption == STOPPED:
                host.stop()
            for command, shown in replace(block, text=text).commands():
                code, printed = tell(f"{NO_DATABASE} {command}" if block.caption == AWAY else command)
                where = f"docs/{page}:{block.line}: {command}"
                assert code == 0, f"{where}\n{printed}"
                assert not shown or prints(squeezed(shown), squeezed(printed)), f"{where}\n{shown}\nprinted\n{printed}"
            if block.caption == STOPPED:
                host.start()


@contextmanager
def shell(host, variables):
    """Give a function that runs a command in one shell, and returns its exit code and what it printed."""
    process = subprocess.Popen(
        ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=host.home,
        env={**host.environment, **variables},
    )  # fmt: skip

    def tell(command):
        process.stdin.write(f"{command}\necho; echo '{MARK}' $?\n")
        process.stdin.flush()
        lines = []
        for line in process.stdout:
            if line.startswith(MARK):
                break
            lines.append(line)
        return int(line.split()[-1]), "".join(lines)

    try:
        yield tell
    finally:
        process.stdin.close()
        process.wait(START_S)
        process.stdout.close()
