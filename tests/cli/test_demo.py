"""The demonstration from end to end: what it prints is pasted, and nothing is left when it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program_support import START_S, children_of, environment, read_page, still_running

pytestmark = pytest.mark.slow


@pytest.fixture
def demo(tmp_path):
    """Start the demonstration, and stop it if the test has not."""
    started = []

    def start(*arguments):
        command = [sys.executable, "-P", "-m", "entrepot.cli.main", "demo", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(TMPDIR=str(tmp_path))
        )
        started.append(process)
        return process, read_page(process)

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=START_S)


def pasted(line):
    """Run *line* as a shell would, and return status (if it is shown) and body."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=START_S)
    assert done.returncode == 0, done.stderr
    head, separator, body = done.stdout.partition("\n\n")
    return json.loads(body if separator else head)


def eventually(claim):
    until = time.monotonic() + START_S
    while not claim() and time.monotonic() < until:
        time.sleep(0.1)
    return claim()


def directory_of(page):
    return Path(re.search(r"^Settings, catalog, log +(.+)$", page, re.MULTILINE)[1])


def address_of(page):
    host, port = re.search(r"answers at +http://([\d.]+):(\d+)$", page, re.MULTILINE).groups()
    return host, int(port)


def assert_nothing_is_left(page, processes):
    assert not directory_of(page).exists()
    assert still_running(processes) == []
    with socket.socket() as probe:
        assert probe.connect_ex(address_of(page)) != 0


def assert_no_secret_is_shown(page, processes):
    home = directory_of(page)
    secret = re.search(r"esk_\w+_[\w-]+", (home / "secrets/client").read_text())[0]
    password = json.loads((home / "secrets/sign-in").read_text())["password"]
    arguments = "".join(Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8") for pid in processes)
    logs = "".join(path.read_text(errors="replace") for path in home.glob("*.log"))
    for shown in (page, arguments, logs):
        assert secret not in shown
        assert password not in shown
    assert {
        path.stat().st_mode & 0o077 for path in [home, *(home / "secrets").iterdir()] if path.name != "cookies"
    } == {0}


def test_the_printed_calls_work_and_ctrl_c_leaves_nothing(demo):
    process, page = demo()
    lines = page.splitlines()
    calls = [line for line in lines if line.startswith("curl ")]
    got, who, listed, one, filtered, made, confirmed, later, accepted, wrong, signed, audit = map(pasted, calls)

    assert (got["token_type"], got["access_token"].count(".")) == ("Bearer", 2)
    assert (who["data"]["client"], who["data"]["partner"]) == ("shop", "azure")
    assert (signed["data"]["role"], signed["data"]["token"]) == ("admin", None)
    assert [entry["action"] for entry in audit["data"]] == ["sign in", "add", "make"]
    assert [contact["id"] for contact in listed["data"]] == [26, 27, 33]
    assert one["data"]["name"] == "Brandon Freeman (stand-in)"
    assert filtered["data"] == [{"id": 26, "name": "Brandon Freeman (stand-in)"}]
    assert (made["data"]["state"], len(made["data"]["lines"])) == ("draft", 2)
    assert made["data"]["total"] == 260.0
    assert confirmed["data"] is True
    assert later["data"]["state"] == "queued"
    assert [each["transaction"] for each in accepted["data"]] == [later["data"]["transaction"]]
    assert eventually(lambda: pasted(calls[8])["data"][0]["state"] == "delivered")
    assert pasted(calls[7])["data"]["transaction"] == later["data"]["transaction"]
    assert wrong["code"] == "invalid-body"
    assert "/lines/0/quantity" in {error["path"] for error in wrong["errors"]}

    (revoke,) = [line for line in lines if " token revoke " in line]
    subprocess.run(["/bin/sh", "-c", revoke], check=True, capture_output=True, timeout=START_S)
    assert pasted(lines[lines.index(revoke) + 1])["code"] == "invalid-token"

    processes = children_of(process.pid)
    assert_no_secret_is_shown(page, processes)
    process.send_signal(signal.SIGINT)
    rest, complaints = process.communicate(timeout=START_S)

    assert (process.returncode, complaints) == (0, "")
    assert "everything is stopped" in rest
    assert processes
    assert_nothing_is_left(page, processes)


def test_sigterm_stops_it_as_well(demo):
    process, page = demo()
    processes = children_of(process.pid)

    process.terminate()
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=START_S)

    assert (process.returncode, complaints) == (0, "")
    assert_nothing_is_left(page, processes)


@pytest.mark.parametrize("daemon", ["gateway", "portal", "console", "courier"])
def test_it_says_so_and_ends_when_a_daemon_ends(demo, daemon):
    process, page = demo()
    processes = children_of(process.pid)
    (pid,) = [
        child
        for child in children_of(process.pid, only_direct=True)
        if f"run\0{daemon}\0" in Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8")
    ]

    os.kill(pid, signal.SIGKILL)
    _, complaints = process.communicate(timeout=START_S)

    assert process.returncode == 1
    assert f"the {daemon} has ended" in complaints
    assert "Traceback" not in complaints
    assert_nothing_is_left(page, processes)


def test_dir_keeps_everything_but_the_ways_in_and_serves_again(demo, entrepot, tmp_path):
    home = tmp_path / "kept"
    for _ in range(2):
        process, page = demo("--dir", str(home))
        *_, listed = [line for line in page.splitlines() if line.startswith("curl ")][:3]
        assert len(pasted(listed)["data"]) == 3
        process.terminate()
        process.communicate(timeout=START_S)
        refused = entrepot("--settings", home / "entrepot.ini", "client", "secrets", "--json")
        assert {each["state"] for each in json.loads(refused.stdout)} == {"revoked"}
        assert not (home / "secrets/sign-in").exists()

    assert (home / "entrepot.ini").exists()
    operators = json.loads(entrepot("--settings", home / "entrepot.ini", "operator", "list", "--json").stdout)
    assert len(operators) == 2
    assert all(each["disabled"] for each in operators)
    assert (home / "secrets/token").stat().st_mode & 0o077 == 0


def test_a_directory_with_other_settings_is_left_alone(entrepot, tmp_path):
    (tmp_path / "entrepot.ini").write_text("[store]\n")

    done = entrepot("demo", "--dir", tmp_path)

    assert done.returncode == 1
    assert "was not written by the demo" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["entrepot.ini"]


def test_an_odoo_that_is_not_there_is_one_line(entrepot, tmp_path):
    password = tmp_path / "password"
    password.write_text("secret")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

        before = time.monotonic()
        done = entrepot(
            "demo", "--odoo", url, "--database", "x", "--login", "x", "--password-file", password, TMPDIR=str(tmp_path)
        )

    assert time.monotonic() - before < 10
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert url in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["password"]


@pytest.mark.odoo
def test_a_real_odoo_serves_the_same_calls(demo, tmp_path):
    password = tmp_path / "password"
    password.write_text("admin\n")
    url = os.environ.get("ODOO_URL", "http://127.0.0.1:8069")

    process, page = demo("--odoo", url, "--database", "demo", "--login", "admin", "--password-file", str(password))
    calls = [line for line in page.splitlines() if line.startswith("curl ")]
    got, _, listed, _, _, made, confirmed, later, _, wrong, signed, _ = map(pasted, calls)

    assert got["token_type"] == "Bearer"
    assert signed["data"]["role"] == "admin"
    assert listed["data"]
    assert made["data"]["state"] == "draft"
    assert confirmed["data"] is True
    assert later["data"]["state"] == "queued"
    assert wrong["code"] == "invalid-body"
    assert eventually(lambda: pasted(calls[8])["data"][0]["state"] == "delivered")
    process.terminate()
    _, complaints = process.communicate(timeout=START_S)
    assert (process.returncode, complaints) == (0, "")
