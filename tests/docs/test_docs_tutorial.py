"""The tutorial, run as it stands against a real Odoo 14 with its demo data."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest
from pages import blocks, prints

from ports import held_port

URL = os.environ.get("ODOO_URL", "http://127.0.0.1:8069")
DATABASE = os.environ.get("ODOO_DATABASE", "demo")
LOGIN = os.environ.get("ODOO_LOGIN", "admin")
PASSWORD = os.environ.get("ODOO_PASSWORD", "admin")
PAGE = "tutorial.rst"
MARK = "@@@ block"


@pytest.mark.odoo
def test_the_tutorial_does_what_it_says(tmp_path):
    said = run_page(tmp_path)

    wrong = [
        f"docs/{PAGE}:{shown.line} shows\n{shown.text}\nand it printed\n{said[index - 1]}"
        for index, shown in enumerate(blocks(PAGE, "bash", "text"))
        if shown.language == "text" and not prints(own(shown.text), said[index - 1])
    ]
    assert not wrong, "\n\n".join(wrong)


def run_page(home: Path) -> dict[int, str]:
    """Run the shell commands of the page in one shell; return what each block printed by its number."""
    lines = ["exec 2>&1"]
    for index, block in enumerate(blocks(PAGE, "bash", "text")):
        if block.language == "bash":
            lines += [f"echo '{MARK} {index}'", own(block.text)]
    page = home / "tutorial.sh"
    page.write_text("\n".join(lines), encoding="utf-8")
    try:
        done = subprocess.Popen(
            ["bash", "-e", str(page)], stdout=subprocess.PIPE, text=True, env=environment(home), start_new_session=True
        )
        printed = done.communicate(timeout=120)[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(done.pid, signal.SIGKILL)
        remove_contacts()
    assert done.returncode == 0, printed
    parts = [part.partition("\n") for part in printed.split(MARK)[1:]]
    return {int(number): text for number, _, text in parts}


def own(text: str) -> str:
    """Return commands with the Odoo and the port of this run in the place of those of the page."""
    changes = {
        "http://127.0.0.1:8069": URL,
        "database: demo": f"database: {DATABASE}",
        "login: admin": f"login: {LOGIN}",
        "echo 'admin'": f"echo '{PASSWORD}'",
        ":8080": f":{PORT}",
    }
    for shown, wanted in changes.items():
        text = text.replace(shown, wanted)
    return text


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "CONFIG_SOURCE"))}
    return {**kept, "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}"}


def remove_contacts() -> None:
    """Remove from Odoo what the page makes, if it did not come to its end."""
    left = odoo("res.partner", "search", [["name", "=", "Ada Tutorial"]])
    if left:
        odoo("res.partner", "unlink", left)


def odoo(model: str, method: str, *args):
    user = jsonrpc("common", "login", DATABASE, LOGIN, PASSWORD)
    return jsonrpc("object", "execute_kw", DATABASE, user, PASSWORD, model, method, args)


def jsonrpc(service: str, method: str, *args):
    params = {"service": service, "method": method, "args": args}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "call", "params": params}).encode()
    request = urllib.request.Request(f"{URL}/jsonrpc", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)["result"]


PORT = held_port()
