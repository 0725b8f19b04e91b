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
from program_support import children_of, environment, read_page, still_running

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
        process.communicate(timeout=20)


def pasted(line):
    """Run *line* as a shell would, and return status (if it is shown) and body."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    head, separator, body = done.stdout.partition("\n\n")
    return json.loads(body if separator else head)


def eventually(claim):
    until = time.monotonic() + 10
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


def test_the_printed_calls_work_and_ctrl_c_leaves_nothing(demo):
    process, page = demo()
    lines = page.splitlines()
    calls = [line for line in lines if line.startswith("curl ")]
    listed, one, filtered, made, confirmed, later, accepted, wrong = map(pasted, calls)

    assert [contact["id"] for contact in listed["data"]] == [26, 27, 33]
    assert one["data"]["name"] == "Brandon Freeman (stand-in)"
    assert filtered["data"] == [{"id": 26, "name": "Brandon Freeman (stand-in)"}]
    assert (made["data"]["state"], len(made["data"]["lines"])) == ("draft", 2)
    assert made["data"]["total"] == 260.0
    assert confirmed["data"] is True
    assert later["data"]["state"] == "queued"
    assert [each["transaction"] for each in accepted["data"]] == [later["data"]["transaction"]]
    assert eventually(lambda: pasted(calls[6])["data"][0]["state"] == "delivered")
    assert pasted(calls[5])["data"]["transaction"] == later["data"]["transaction"]
    assert wrong["code"] == "invalid-body"
    assert "/lines/0/quantity" in {error["path"] for error in wrong["errors"]}

    (revoke,) = [line for line in lines if " token revoke " in line]
    subprocess.run(["/bin/sh", "-c", revoke], check=True, capture_output=True, timeout=30)
    assert pasted(lines[lines.index(revoke) + 1])["code"] == "invalid-token"

    processes = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    rest, complaints = process.communicate(timeout=20)

    assert (process.returncode, complaints) == (0, "")
    assert "everything is stopped" in rest
    assert processes
    assert_nothing_is_left(page, processes)


def test_sigterm_stops_it_as_well(demo):
    process, page = demo()
    processes = children_of(process.pid)

    process.terminate()
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=20)

    assert (process.returncode, complaints) == (0, "")
    assert_nothing_is_left(page, processes)


@pytest.mark.parametrize("daemon", ["gateway", "courier"])
def test_it_says_so_and_ends_when_a_daemon_ends(demo, daemon):
    process, page = demo()
    processes = children_of(process.pid)
    (pid,) = [
        child
        for child in children_of(process.pid, only_direct=True)
        if f"run\0{daemon}\0" in Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8")
    ]

    os.kill(pid, signal.SIGKILL)
    _, complaints = process.communicate(timeout=20)

    assert process.returncode == 1
    assert f"the {daemon} has ended" in complaints
    assert "Traceback" not in complaints
    assert_nothing_is_left(page, processes)


def test_dir_keeps_everything_and_serves_again(demo, tmp_path):
    home = tmp_path / "kept"
    for _ in range(2):
        process, page = demo("--dir", str(home))
        line = next(line for line in page.splitlines() if line.startswith("curl "))
        assert len(pasted(line)["data"]) == 3
        process.terminate()
        process.communicate(timeout=20)

    assert (home / "entrepot.ini").exists()
    assert (home / "token").stat().st_mode & 0o077 == 0


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
    listed, _, _, made, confirmed, later, _, wrong = map(pasted, calls)

    assert listed["data"]
    assert made["data"]["state"] == "draft"
    assert confirmed["data"] is True
    assert later["data"]["state"] == "queued"
    assert wrong["code"] == "invalid-body"
    assert eventually(lambda: pasted(calls[6])["data"][0]["state"] == "delivered")
    process.terminate()
    _, complaints = process.communicate(timeout=20)
    assert (process.returncode, complaints) == (0, "")
