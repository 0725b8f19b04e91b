"""What a daemon tells systemd, received on a real datagram socket."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from entrepot.chassis.metrics import exposition
from entrepot.daemons.gateway import HEARTBEAT_TIMEOUT_S
from entrepot.daemons.supervisor import Supervisor

SETTINGS = """\
[store]
directory = {home}/store
[gateway]
bind = unix:{home}/gateway.sock
workers = 1
public_url = http://gateway.test
graceful_timeout = 2s
[portal]
bind = unix:{home}/portal.sock
[courier]
graceful_timeout = 2s
[log]
target = stderr
"""
DAEMONS = ("gateway", "portal", "courier")
TOLD_WITHIN_S = 60.0
QUIET_S = 4.0


@pytest.fixture
def told(tmp_path):
    """Yield where systemd would listen."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(TOLD_WITHIN_S)
        yield receiver


@contextmanager
def running(home, daemon, **variables):
    (home / "entrepot.ini").write_text(SETTINGS.format(home=home))
    command = [sys.executable, "-P", "-m", "entrepot.cli.main", "--settings", home / "entrepot.ini", "run", daemon]
    environment = {**os.environ, **variables}
    with (home / "log").open("wb") as log:
        # systemd says whose watchdog it is, and so must whoever plays it: the id is known in the child alone.
        shell = ["/bin/sh", "-c", 'export WATCHDOG_PID=$$; exec "$@"', "sh"]
        process = subprocess.Popen([*shell, *command], stdout=log, stderr=log, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TOLD_WITHIN_S)


def until(told, fact):
    """Return all facts that are told up to *fact*."""
    facts = []
    while fact not in facts:
        facts += told.recv(4096).decode().splitlines()
    return facts


def until_quiet(told):
    """Return all facts that are told until none is for longer than a cycle of the master takes."""
    facts = set()
    told.settimeout(QUIET_S)
    try:
        while True:
            facts.update(told.recv(4096).decode().splitlines())
    except TimeoutError:
        return facts
    finally:
        told.settimeout(TOLD_WITHIN_S)


def worker_of(master):
    return int(Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii"))


def test_without_systemd_nothing_is_told():
    supervisor = Supervisor({})

    supervisor.ready("serves")
    supervisor.works()

    assert supervisor.watchdog_s == 0


def test_the_variables_are_for_this_process_alone(tmp_path):
    environ = {"NOTIFY_SOCKET": f"{tmp_path}/notify", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}

    supervisor = Supervisor(environ)

    assert environ == {}
    assert supervisor.watchdog_s == 3


def test_a_watchdog_of_another_process_is_not_fed(told, tmp_path):
    supervisor = Supervisor({"NOTIFY_SOCKET": f"{tmp_path}/notify", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"})

    supervisor.works()
    supervisor.ready("serves")

    assert told.recv(4096) == b"READY=1\nSTATUS=serves"


def test_a_listener_that_is_gone_does_no_harm(tmp_path):
    Supervisor({"NOTIFY_SOCKET": f"{tmp_path}/nobody"}).ready("serves")


@pytest.mark.slow
@pytest.mark.parametrize("daemon", DAEMONS)
def test_a_daemon_is_ready_once_it_serves_and_works_from_then_on(told, tmp_path, daemon):
    with running(tmp_path, daemon, NOTIFY_SOCKET=f"{tmp_path}/notify", WATCHDOG_USEC="9000000") as process:
        first = until(told, "READY=1")
        if daemon != "courier":
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(tmp_path / f"{daemon}.sock"))
                caller.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = caller.recv(4096)
            assert answer.startswith(b"HTTP/1.1 ")
        until(told, "WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        last = until(told, "STOPPING=1")

    assert "gunicorn" not in (tmp_path / "log").read_text()
    assert "WATCHDOG=1" not in first
    assert any(fact.startswith("EXTEND_TIMEOUT_USEC=") for fact in last)


@pytest.mark.slow
@pytest.mark.parametrize("daemon", ["gateway", "portal"])
def test_a_refused_reload_is_told_until_one_is_taken(told, tmp_path, daemon):
    draft, metrics = tmp_path / "conf.d/draft.ini", tmp_path / "store/metrics"
    draft.parent.mkdir()
    refused = f'entrepot_settings_refused{{daemon="{daemon}"}}'
    with running(tmp_path, daemon, NOTIFY_SOCKET=f"{tmp_path}/notify") as process:
        until(told, "STATUS=1 of 1 workers serve")

        draft.write_text("[store]\ndirectory = here\n")
        process.send_signal(signal.SIGHUP)
        status = told.recv(4096).decode()
        assert status.startswith("STATUS=1 of 1 workers serve; goes on with the settings of before: ")
        assert f"{draft}:2: [store] directory" in status
        assert f"{refused} 1.0" in exposition(metrics).decode()

        draft.unlink()
        process.send_signal(signal.SIGHUP)
        until(told, "STATUS=1 of 1 workers serve")
        assert f"{refused} 0.0" in exposition(metrics).decode()


@pytest.mark.slow
def test_a_daemon_that_cannot_start_is_never_ready(told, tmp_path):
    with running(
        tmp_path, "gateway", NOTIFY_SOCKET=f"{tmp_path}/notify", ENTREPOT_STORE_DIRECTORY="/dev/null/no"
    ) as process:
        code = process.wait(TOLD_WITHIN_S)

    told.setblocking(False)
    with pytest.raises(BlockingIOError):
        told.recv(4096)
    assert code == 1
    assert len((tmp_path / "log").read_text().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("how", "within_s"), [(signal.SIGKILL, 0), (signal.SIGSTOP, HEARTBEAT_TIMEOUT_S)])
def test_a_master_is_silent_once_no_worker_serves_and_replaces_the_one_that_does_not(told, tmp_path, how, within_s):
    with running(tmp_path, "gateway", NOTIFY_SOCKET=f"{tmp_path}/notify", WATCHDOG_USEC="9000000") as process:
        until(told, "WATCHDOG=1")
        (tmp_path / "store/shared").rename(tmp_path / "store/shared.away")
        (tmp_path / "store/shared").mkdir()

        worker, since = worker_of(process.pid), time.monotonic()
        os.kill(worker, how)

        assert until_quiet(told) <= {"WATCHDOG=1"}
        assert within_s - 1 < time.monotonic() - since < within_s + 10
        assert not Path(f"/proc/{worker}").exists()
        assert process.poll() is None
        (tmp_path / "store/shared").rmdir()
        (tmp_path / "store/shared.away").rename(tmp_path / "store/shared")
        until(told, "WATCHDOG=1")
