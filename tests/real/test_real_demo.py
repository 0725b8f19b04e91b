"""The demonstration over a real Odoo: what it prints is pasted into a shell, and Odoo knows of it."""

import json
import os
import re
import subprocess
import sys
import threading

import pytest

pytestmark = pytest.mark.odoo

START_S = 60


@pytest.fixture
def demo(odoo, tmp_path):
    """The page that the running demonstration has printed."""
    password = tmp_path / "password"
    password.write_text(f"{odoo.password}\n", encoding="utf-8")
    account = ["--database", odoo.database, "--login", odoo.login, "--password-file", str(password)]
    command = [sys.executable, "-P", "-m", "entrepot.cli.main", "demo", "--odoo", odoo.url, *account]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "CONFIG_SOURCE"))}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**kept, "TMPDIR": str(tmp_path)}
    )
    printed = ""
    try:
        printed = page_of(process)
        yield printed
    finally:
        process.terminate()
        process.communicate(timeout=START_S)
        forget(odoo, set(re.findall(r"DEMO-\d+-\d+(?:-Q)?", printed)))


def page_of(process) -> str:
    """Return what *process* prints up to the last line of its page."""
    timer = threading.Timer(START_S, process.kill)
    timer.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                return "".join(lines)
    finally:
        timer.cancel()
    raise AssertionError(f"the demonstration ended: {''.join(lines)}{process.stderr.read()}")


def forget(odoo, references):
    """Cancel and delete the orders that the demonstration made, and what came of them."""
    made = odoo.search("sale.order", ["client_order_ref", "in", sorted(references)])
    if made:
        odoo.call("sale.order", "action_cancel", made)
        odoo.remove("stock.picking", ["sale_id", "in", made])
        odoo.call("sale.order", "unlink", made)


def pasted(line: str):
    """Run *line* as a shell would and return status and document."""
    command = ["/bin/sh", "-c", f"{line} -w '\\n%{{http_code}}'"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_S)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    head, separator, rest = body.partition("\n\n")
    return int(status), json.loads(rest if separator else head)


def test_every_printed_line_does_what_it_says(demo, odoo):
    lines = [line for line in demo.splitlines() if line.startswith("curl ")]
    assert len(lines) == 12, demo

    answers = [pasted(line) for line in lines]

    got, who, *good, (status, wrong), signed, audit = answers
    assert all(200 <= status < 300 for status, _ in (got, who, *good, signed, audit)), answers
    assert (got[1]["token_type"], who[1]["data"]["client"]) == ("Bearer", "shop")
    assert (status, wrong["code"]) == (422, "invalid-body")
    made, confirmed = good[3][1]["data"], good[4][1]["data"]
    assert confirmed is True
    [order] = odoo.search("sale.order", ["client_order_ref", "=", made["reference"]])
    row = odoo.read("sale.order", order, "name", "state", "amount_total", "order_line")
    assert (row["name"], row["state"], row["amount_total"]) == (made["number"], "sale", made["total"])
    assert len(row["order_line"]) == len(made["lines"])


def test_contacts_are_those_of_odoo(demo, odoo):
    lines = [line for line in demo.splitlines() if line.startswith("curl ")]
    listed, one = [pasted(line)[1]["data"] for line in lines[2:4]]

    for contact in [*listed, one]:
        row = odoo.read("res.partner", contact["id"], "name", "email")
        assert (contact["name"], contact["email"]) == (row["name"], row["email"] or None)


def test_revoked_token_is_refused(demo):
    lines = demo.splitlines()
    [revoke] = [line for line in lines if " token revoke " in line]

    subprocess.run(["/bin/sh", "-c", revoke], check=True, capture_output=True, timeout=START_S)

    status, document = pasted(lines[lines.index(revoke) + 1])
    assert (status, document["code"]) == (401, "invalid-token")


def test_page_tells_no_password(demo, odoo):
    said = demo.replace(f"login {odoo.login}", "")

    assert re.search(rf"\b{re.escape(odoo.password)}\b", said) is None
