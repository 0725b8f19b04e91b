"""``entrepot operator`` and ``entrepot audit``, as an operator types them."""

import json
import os
import pty
import subprocess
import sys
import time

import pytest
from program_support import environment, rest

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery"


@pytest.fixture
def run(entrepot, settings_file):
    def run(*arguments, **more):
        return entrepot("--settings", settings_file, *arguments, **more)

    return run


@pytest.fixture
def ada(run):
    done = run("operator", "add", "ada", "-", "--role", "editor", stdin=f"{PASSWORD}\n")
    assert (done.returncode, done.stderr) == (0, "")
    return done


def test_an_account_is_added_listed_changed_and_disabled(run, ada):
    assert run("operator", "role", "ada", "admin").returncode == 0
    assert run("operator", "password", "ada", "-", stdin="another good password").returncode == 0
    assert run("operator", "disable", "ada").returncode == 0

    (row,) = json.loads(run("operator", "list", "--json").stdout)
    shown = run("operator", "show", "ada").stdout

    assert ada.stdout == "ada may sign in, as editor\n"
    assert (row["name"], row["role"], row["seen"]) == ("ada", "admin", None)
    assert row["disabled"] is not None
    assert "ada" in shown
    assert run("operator", "enable", "ada").stdout == "ada may sign in, as admin\n"


def test_the_audit_log_tells_who_changed_what_and_no_password(run, ada):
    run("operator", "role", "ada", "admin")

    role, added = json.loads(run("audit", "--kind", "operator", "--json").stdout)
    table = run("audit", "--name", "ada", "--action", "role", "--since", "1h")
    none = run("audit", "--actor", "nobody")

    assert (added["action"], added["before"], added["after"]["role"]) == ("add", None, "editor")
    assert (role["face"], role["before"]["role"], role["after"]["role"]) == ("command", "editor", "admin")
    assert role["actor"].endswith("(command line)")
    assert len(role["operation_id"]) == 36
    assert table.stdout.count("\n") == 2
    assert 'role: "editor" → "admin"' in table.stdout
    assert (none.returncode, none.stdout) == (0, "")
    assert PASSWORD not in run("audit", "--json").stdout


def test_the_audit_log_says_when_there_is_more(run, ada):
    run("operator", "role", "ada", "admin")

    shown = run("audit", "--limit", "1", "--json")

    assert len(json.loads(shown.stdout)) == 1
    assert "more than 1" in shown.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("operator", "add", "ada", PASSWORD), "", "must not stand among the arguments"),
        (("operator", "add", "ada", "-"), "", "no password on standard input"),
        (("operator", "add", "ada"), "", "no terminal"),
        (("operator", "add", "ada", "-", "--role", "root"), PASSWORD, "invalid choice"),
        (("audit", "--limit", "0"), "", "at least 1"),
        (("audit", "--since", "yesterday"), "", "neither a duration"),
    ],
)
def test_what_cannot_be_is_wrong_usage(run, arguments, stdin, says):
    done = run(*arguments, stdin=stdin)

    assert done.returncode == 2
    assert says in done.stderr
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("operator", "add", "eve", "-"), "short", "12 to 256 characters"),
        (("operator", "add", "EVE", "-"), PASSWORD, "the name of an operator"),
        (("operator", "add", "ada", "-"), PASSWORD, "there is an operator 'ada' already"),
        (("operator", "disable", "nobody"), "", "there is no operator 'nobody'"),
    ],
)
def test_what_does_not_work_says_why(run, ada, arguments, stdin, says):
    done = run(*arguments, stdin=stdin)

    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr


def test_a_password_is_asked_for_twice_on_a_terminal_and_not_shown(settings_file, run):
    primary, secondary = pty.openpty()
    command = [sys.executable, "-P", "-m", "entrepot.cli.main", "--settings", settings_file, "operator", "add", "ada"]
    program = subprocess.Popen(
        command, stdin=secondary, stdout=secondary, stderr=secondary, env=environment(), start_new_session=True
    )
    os.close(secondary)
    shown = answer(primary, b"Password of ada: ") + answer(primary, b"Again: ")
    shown += rest(primary)
    os.close(primary)

    assert program.wait(30) == 0
    assert PASSWORD.encode() not in shown
    assert b"ada may sign in" in shown
    assert json.loads(run("operator", "list", "--json").stdout)[0]["role"] == "viewer"


def answer(terminal, question):
    shown, until = b"", time.monotonic() + 30
    while question not in shown and time.monotonic() < until:
        shown += os.read(terminal, 1000)
    os.write(terminal, PASSWORD.encode() + b"\n")
    return shown
