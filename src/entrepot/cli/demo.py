"""``entrepot demo``: a gateway, an ERP, a partner, a token and a console on one terminal, and nothing left at its end.

Secrets stand in files that only their owner can read, never among arguments or in a log.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import urlencode, urlsplit

from entrepot.chassis.errors import Error, Mistake
from entrepot.chassis.log import setup_logging
from entrepot.cli.demo_erp import Account, Erp, Example, stand_in, write_private
from entrepot.cli.demo_text import Files, calls, console_calls, page
from entrepot.cli.output import say
from entrepot.cli.signals import StopSignals
from entrepot.standin.server import free_port

START_S = 30.0
STOP_S = 8.0
CLIENT = "shop"
DAEMONS = ("gateway", "portal", "console", "courier")
# -P: whatever lies in the present directory must not pass for a module.
_PROGRAM = [sys.executable, "-P", "-m", "entrepot.cli.main"]
_MARK = "; Written by `entrepot demo`."
_SETTINGS = """{mark}
[store]
directory = {directory}/store
[gateway]
bind = 127.0.0.1:{port}
workers = 2
public_url = http://127.0.0.1:{port}
graceful_timeout = 2s
[console]
bind = 127.0.0.1:{console_port}
graceful_timeout = 1s
[log]
target = stderr
"""


Daemons = Mapping[str, "subprocess.Popen[bytes]"]


class DemoError(Error):
    """The demonstration cannot start, or a part of it has ended."""

    code, title = "demo", "The demonstration cannot go on"


def run(arguments: argparse.Namespace) -> int:
    """Run the demonstration until Ctrl-C or SIGTERM; 0 then, 1 when a part of it ends by itself."""
    _check_usage(arguments)
    setup_logging("warning", "stderr")
    stop = StopSignals()
    try:
        with ExitStack() as stack:
            try:
                _demonstrate(stack, arguments, stop)
            finally:
                stop.ignore()
    except KeyboardInterrupt:
        say()
        say("The demo has ended; everything is stopped.")
    return 0


def _check_usage(arguments: argparse.Namespace) -> None:
    given = [arguments.odoo, arguments.database, arguments.login, arguments.password_file]
    if any(given) and not all(given):
        arguments.parser.error("a real Odoo needs all of --odoo, --database, --login and --password-file")


def _demonstrate(stack: ExitStack, arguments: argparse.Namespace, stop: StopSignals) -> None:
    home = stack.enter_context(_home(arguments.dir))
    say("Starting the demo ...")
    account = stack.enter_context(_account(arguments, home))
    example = Erp(account).example()
    url, console = _write_settings(home)
    _write_catalog(home, account, example)
    _entrepot(home, "apply", *sorted(str(path) for path in (home / "catalog").iterdir()))
    daemons = {daemon: _start(stack, home, stop, daemon) for daemon in DAEMONS}
    pages = (f"{url}/health/ready", f"{url}/.well-known/jwks.json", f"{console}/status")
    _wait_until_ready(daemons, pages, home)
    own = _files(home)
    key_id, secret = _make_secret(home)
    write_private(own.client, f'user = "{CLIENT}:{secret}"\n')
    token = _token(url, secret)
    write_private(own.token, f"{token}\n")
    write_private(own.header, f"Authorization: Bearer {token}\n")
    operator = _make_operator(home, own.sign_in)
    if arguments.dir is not None:
        stack.callback(_take_back, home, own, key_id, operator)
    where = {
        "url": url,
        "console": f"{console} (API; operator {operator}, whose password is in {own.sign_in})",
        "erp": f"{account.url} ({_kind(example)})",
    }
    steps = [*calls(url, example, f"DEMO-{time.strftime('%y%m%d-%H%M%S')}", own), *console_calls(console, own)]
    if not example.products:
        say("This Odoo has no sale orders (module sale_management), so the demo leaves orders out.")
    _print_page(home, own, where, token, steps)
    sys.stdout.flush()
    _watch(daemons, home)


def _files(home: Path) -> Files:
    folder = home / "secrets"
    return Files(folder / "client", folder / "token", folder / "authorization", folder / "sign-in", folder / "cookies")


def _make_secret(home: Path) -> tuple[str, str]:
    """Return the key id of a new secret of the client, and the secret."""
    made = json.loads(_entrepot(home, "client", "secret", CLIENT, "--label", "demo", "--json"))
    return str(made["key_id"]), str(made["secret"])


def _token(url: str, secret: str) -> str:
    """Return a token for *secret*, from the token endpoint at *url*."""
    form = urlencode({"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret})
    try:
        with urllib.request.urlopen(f"{url}/oauth/token", form.encode(), timeout=START_S) as answer:  # noqa: S310 - ours
            return str(json.load(answer)["access_token"])
    except OSError as exc:
        raise DemoError(f"{url}/oauth/token gives no token: {exc}") from exc


def _make_operator(home: Path, sign_in: Path) -> str:
    """Make an operator of the console for this one demo, who signs in with what stands in *sign_in*."""
    name, password = f"demo-{secrets.token_hex(3)}", secrets.token_urlsafe(18)
    _entrepot(home, "operator", "add", "--role", "admin", name, "-", stdin=password)
    write_private(sign_in, json.dumps({"name": name, "password": password}))
    return name


def _take_back(home: Path, own: Files, key_id: str, operator: str) -> None:
    """End what the demo has let in, in a directory that outlives it."""
    _entrepot(home, "client", "revoke-key", key_id)
    _entrepot(home, "operator", "disable", operator)
    for path in (own.client, own.sign_in, own.cookies):
        path.unlink(missing_ok=True)


@contextmanager
def _home(wanted: Path | None) -> Iterator[Path]:
    """Give the directory of the demo: *wanted*, which is kept, or one that is removed at the end."""
    if wanted is None:
        with tempfile.TemporaryDirectory(prefix="entrepot-demo-") as directory:
            yield _furnished(Path(directory))
        return
    settings = wanted / "entrepot.ini"
    if settings.exists() and not settings.read_text(encoding="utf-8").startswith(_MARK):
        raise DemoError(f"{settings} was not written by the demo, which would replace it; name another directory")
    wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
    yield _furnished(wanted.resolve())


def _furnished(home: Path) -> Path:
    for name in ("store", "erp", "catalog", "secrets"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    return home


@contextmanager
def _account(arguments: argparse.Namespace, home: Path) -> Iterator[Account]:
    if not arguments.odoo:
        with stand_in(home / "erp", home / "secrets" / "erp") as account:
            yield account
        return
    yield Account(arguments.odoo.rstrip("/"), arguments.database, arguments.login, arguments.password_file.resolve())


def _write_settings(home: Path) -> tuple[str, str]:
    """Write the settings file and return the URLs of gateway and console."""
    port, console_port = free_port(), free_port()
    text = _SETTINGS.format(mark=_MARK, directory=home, port=port, console_port=console_port)
    (home / "entrepot.ini").write_text(text, encoding="utf-8")
    return f"http://127.0.0.1:{port}", f"http://127.0.0.1:{console_port}"


def _write_catalog(home: Path, account: Account, example: Example) -> None:
    values = {
        "url": account.url,
        "database": account.database,
        "login": account.login,
        "secret": f"file:{account.password_file}",
        "company": example.company,
        "contact": example.company_id,
    }
    # JSON is YAML: a name with a colon or quotes in it stays one value.
    quoted = {name: json.dumps(value) for name, value in values.items()}
    for name in ("contacts.yaml", "orders.yaml"):
        path = home / "catalog" / name
        path.unlink(missing_ok=True)
        if name == "contacts.yaml" or example.products:
            sample = files("entrepot.cli").joinpath("samples", name).read_text(encoding="utf-8")
            path.write_text(Template(sample).substitute(quoted), encoding="utf-8")


def _environment() -> dict[str, str]:
    """Return the environment of the children: without settings that would go over those of the demo."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}


def _entrepot(home: Path, *arguments: str, stdin: str = "") -> str:
    """Run one command on the demo's settings and return what it prints. Raises DemoError with what it complains of."""
    command = [*_PROGRAM, "--settings", str(home / "entrepot.ini"), *arguments]
    done = subprocess.run(  # noqa: S603 - our own program
        command, input=stdin, capture_output=True, text=True, check=False, env=_environment()
    )
    if done.returncode:
        raise _failure(f"`entrepot {' '.join(arguments)}` failed:", done.stderr.splitlines())
    return done.stdout


def _start(stack: ExitStack, home: Path, stop: StopSignals, daemon: str) -> subprocess.Popen[bytes]:
    """Run *daemon* in a process group of its own, so that Ctrl-C in the terminal reaches the demo alone."""
    command = [*_PROGRAM, "run", daemon, "--settings", str(home / "entrepot.ini")]
    with (home / f"{daemon}.log").open("ab") as log, stop.held():
        child = subprocess.Popen(  # noqa: S603 - our own program
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), process_group=0
        )
        stack.callback(_stop, child)
    return child


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(STOP_S)
    # Workers may have outlived their master, however it ended.
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _wait_until_ready(daemons: Daemons, pages: Sequence[str], home: Path) -> None:
    deadline = time.monotonic() + START_S
    for page_url in pages:
        while not _is_ready(page_url):
            _check_lives(daemons, home)
            if time.monotonic() > deadline:
                raise _failure(
                    f"{page_url} does not answer after {START_S:g} s; the end of the gateway's log:",
                    _log_end(home, "gateway"),
                )
            time.sleep(0.05)


def _is_ready(page_url: str) -> bool:
    parts = urlsplit(page_url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=2.0)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _check_lives(daemons: Daemons, home: Path) -> None:
    for name, child in daemons.items():
        code = child.poll()
        if code is not None:
            raise _failure(f"the {name} has ended with exit code {code}; the end of its log:", _log_end(home, name))


def _failure(what: str, said: Sequence[str]) -> DemoError:
    """Return the error of a part of the demo: *what* happened, and the lines in which the part says why."""
    return DemoError(what, errors=[Mistake(f"entrepot demo: {what}"), *(Mistake(f"    {line}") for line in said)])


def _log_end(home: Path, daemon: str) -> list[str]:
    return (home / f"{daemon}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-10:]


def _watch(daemons: Daemons, home: Path) -> None:
    while True:
        _check_lives(daemons, home)
        time.sleep(0.2)


def _kind(example: Example) -> str:
    return "a stand-in ERP, not an Odoo" if "standin" in example.version else f"Odoo {example.version}"


def _print_page(home: Path, own: Files, where: Mapping[str, str], token: str, steps: Sequence[tuple[str, str]]) -> None:
    program = Path(sys.executable).with_name("entrepot")
    command = [str(program)] if program.exists() else _PROGRAM
    revoke = shlex.join([*command, "token", "revoke", "-", "--settings", str(home / "entrepot.ini")])
    lines = page(
        where=where, directory=home, token=token, steps=steps,
        revoke=f"{revoke} < {shlex.quote(str(own.token))}", last=f"sleep 1; {steps[2][1]}",
    )  # fmt: skip
    for line in lines:
        say(line)
