"""What goes wrong around the gateway does not end it: full disks, bad settings, workers that cannot start."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import uvloop
from running import START_S, eventually

from entrepot.gateway.worker import GatewayWorker
from entrepot.wire.clock import Clock
from ports import held_port

SLOW = pytest.mark.slow

MASTER = """
import sys
from pathlib import Path
from gunicorn.app.base import BaseApplication
from gunicorn.workers.base import Worker
from entrepot.chassis.log import setup_logging
from entrepot.daemons.master import Master, mark_booted, mark_unbooted

class Failing(Worker):
    def load_wsgi(self):
        if not Path(sys.argv[1]).exists():
            raise OSError("there is no such luck")
    def run(self):
        print("It runs", file=sys.stderr, flush=True)
        while Path(sys.argv[1]).exists():
            self.notify()
            __import__("time").sleep(0.02)

class Application(BaseApplication):
    section, bind = "gateway", ()
    def load_config(self):
        options = dict(
            bind=["127.0.0.1:0"], workers=2, worker_class=Failing, control_socket_disable=True,
            graceful_timeout=2, pre_fork=lambda _, worker: mark_unbooted(worker), post_worker_init=mark_booted,
            child_exit=lambda master, worker: master.worker_gone(worker),
        )
        for name, value in options.items():
            self.cfg.set(name, value)
    def load(self):
        return None

setup_logging(target="stderr")
Master(Application()).run()
"""


@pytest.fixture(scope="module")
def own(make_daemon):
    """A daemon of this module's own: what it lives on is taken from it."""
    return make_daemon(workers=1)


@pytest.fixture
def running(own):
    if own.process.poll() is not None:
        own.start()
    own.wait_ready()
    return own


@contextmanager
def replaced(path, make):
    """Take the file or directory *path* away for the time of the block, and let *make* put something in its place."""
    aside = path.with_name(f"{path.name}.aside")
    there = path.exists()
    if there:
        path.rename(aside)
    make(path)
    try:
        yield
    finally:
        path.rmdir() if path.is_dir() else path.unlink()
        if there:
            aside.rename(path)


@contextmanager
def settings(daemon, **values):
    """Let *daemon* have settings with other *values* for the time of the block."""
    before = daemon.settings.read_text(encoding="utf-8")
    lines = [
        f"{key} = {values.get(key, value)}" if value else key + value
        for key, _, value in (line.partition(" = ") for line in before.splitlines())
    ]
    daemon.settings.write_text("\n".join(lines), encoding="utf-8")
    try:
        yield
    finally:
        daemon.settings.write_text(before, encoding="utf-8")


def hang_up(daemon):
    """Let *daemon* reload settings that are wrong; tell whether it says so, in lines and not with a traceback."""
    before = len(daemon.log())
    daemon.process.send_signal(signal.SIGHUP)
    said = eventually(lambda: "the gateway goes on as it was" in daemon.log()[before:], START_S)
    return said and "Traceback" not in daemon.log()[before:]


def kill_worker(daemon):
    """Kill the one worker of *daemon*, once a reload is through; tell whether another takes its place."""
    assert eventually(lambda: len(daemon.workers()) == 1, START_S)
    before = daemon.workers()
    os.kill(before[0], signal.SIGKILL)
    return eventually(lambda: daemon.process.poll() is None and set(daemon.workers()) - set(before), START_S)


def serves(daemon):
    return daemon.process.poll() is None and daemon.call("GET", "/v1/echo/x", token="shop").status == 200


def fill_disk(daemon):
    """Let no file of *daemon*, or of workers to come, grow any more: what a full disk is to them."""
    for pid in (daemon.process.pid, *daemon.workers()):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def test_killed_worker_is_replaced_on_a_full_disk(running):
    fill_disk(running)

    assert kill_worker(running)
    assert serves(running)
    running.stop()


@SLOW
def test_reload_on_a_full_disk_leaves_service(running):
    fill_disk(running)
    running.process.send_signal(signal.SIGHUP)
    time.sleep(1.5)

    assert serves(running)
    running.stop()


@SLOW
def test_gateway_starts_and_reloads_without_a_place_for_metrics(running):
    running.stop()
    with replaced(running.store / "metrics", lambda path: path.write_bytes(b"")):
        running.start()
        running.wait_ready()
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)

        assert kill_worker(running)
        assert serves(running)
    # Counted meanwhile, and written as soon as there is a place again.
    assert eventually(lambda: b'handler="echo"' in running.call("GET", "/metrics").body)


@SLOW
def test_worker_that_cannot_start_is_tried_again_until_it_can(running):
    with replaced(running.store / "revocations", lambda path: path.mkdir()):
        os.kill(running.workers()[0], signal.SIGKILL)
        said = eventually(lambda: "could not start, it is tried again" in running.log(), START_S)
        time.sleep(0.5)

        assert said
        assert running.process.poll() is None
    assert eventually(lambda: running.workers() and serves(running), START_S)


@contextmanager
def master(path):
    process = subprocess.Popen([sys.executable, "-c", MASTER, str(path)], stderr=subprocess.PIPE, text=True)
    limit = threading.Timer(START_S, process.kill)
    limit.start()
    try:
        yield process
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def test_first_start_with_no_worker_that_can_start_ends(tmp_path):
    with master(tmp_path / "luck") as process:
        _, said = process.communicate(timeout=START_S)

        assert process.returncode == 3
        assert "there is no such luck" in said
        assert "HaltServer" not in said


@SLOW
def test_tries_to_start_a_worker_become_rarer(tmp_path):
    luck = tmp_path / "luck"
    luck.touch()
    with master(luck) as process:
        said_until(process, "It runs", 2)
        began = time.monotonic()
        luck.unlink()
        said = said_until(process, "it is tried again", 3)
        took_s = time.monotonic() - began
        still_there = process.poll() is None
        process.terminate()
        process.communicate(timeout=START_S)

        assert still_there
        assert [line.split()[-1] for line in said if "tried again" in line] == [
            "retry_s=1.0",
            "retry_s=2.0",
            "retry_s=4.0",
        ]
        # Both at once, 1 s later, and 2 s after that.
        assert took_s >= 3.0
        assert sum("Booting worker" in line for line in said) <= 6
        assert process.returncode == 0


def said_until(process, what, count):
    """Return the lines of *process* up to the one that says *what* for the *count*th time from now on."""
    said = []
    for line in process.stderr:
        said.append(line)
        if sum(what in each for each in said) == count:
            break
    return said


def test_reload_with_a_store_that_cannot_be_made_changes_nothing(running):
    with settings(running, directory="/proc/none/store"):
        answered = hang_up(running)
        goes_on = kill_worker(running)

        assert (answered, goes_on, serves(running)) == (True, True, True)


def test_reload_with_a_damaged_key_changes_nothing(running, tmp_path):
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys" / "x.pem").write_text("rubbish", encoding="ascii")
    (tmp_path / "keys" / "x.pem").chmod(0o600)
    with settings(running, directory=tmp_path):
        answered = hang_up(running)
        goes_on = kill_worker(running)

        assert (answered, goes_on, serves(running)) == (True, True, True)


def test_reload_with_a_bind_that_is_taken_keeps_the_old_one(running):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with settings(running, bind=f"127.0.0.1:{taken.getsockname()[1]}"):
            answered = hang_up(running)
            goes_on = kill_worker(running)

        assert (answered, goes_on, serves(running)) == (True, True, True)


@SLOW
def test_reload_moves_to_another_bind_and_back(running):
    first, second = running.port, held_port()
    with settings(running, bind=f"127.0.0.1:{first} 127.0.0.1:{second}"):
        running.process.send_signal(signal.SIGHUP)
        both = [eventually(lambda port=port: reachable(port), START_S) for port in (first, second)]
    running.process.send_signal(signal.SIGHUP)
    gone = eventually(lambda: not reachable(second), START_S)

    assert (both, gone, serves(running)) == ([True, True], True, True)


def reachable(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 10.0):
            return True
    except ConnectionRefusedError:
        return False


@SLOW
def test_log_that_nobody_reads_keeps_no_request(running):
    running.stop()
    reader, writer = os.pipe()
    running.process = subprocess.Popen(running.command("run", "gateway"), stdout=writer, stderr=writer)
    os.close(writer)
    try:
        assert eventually(lambda: reachable(running.port), START_S)
        statuses = {running.call("GET", "/v1/gone/x" + "y" * 200, token="shop").status for _ in range(600)}

        assert statuses == {503}
        assert serves(running)
        assert kill_worker(running)
        assert serves(running)
    finally:
        code = running.stop()
        os.close(reader)
    assert code == 0


def test_new_revision_is_seen_when_the_shared_state_is_lost(running):
    moved = {name: {**endpoint} for name, endpoint in running.document["endpoints"].items()}
    moved["echo"]["path"] = "/v1/moved/{rest...}"
    (running.store / "shared").unlink()
    try:
        running.apply("moved.yaml", {**running.document, "endpoints": moved})

        assert eventually(lambda: running.call("GET", "/v1/moved/x", token="shop").status == 200)
        assert running.call("GET", "/v1/echo/x", token="shop").status == 404
    finally:
        running.apply("catalog.yaml", running.document)
        running.stop()


class BreakingServer:
    """A server whose deadlines cannot be looked at. The third look is the last."""

    def __init__(self, loop):
        self.sweeps = 0
        self._loop = loop

    def sweep(self, now):
        self.sweeps += 1
        if self.sweeps == 3:
            self._loop.stop()
        raise RuntimeError(f"no sweep at {now}")


def test_sweep_that_fails_is_not_the_last(caplog):
    worker = GatewayWorker.__new__(GatewayWorker)
    worker.loop = uvloop.new_event_loop()
    worker.server = BreakingServer(worker.loop)
    worker.gateway = SimpleNamespace(clock=Clock())
    worker._stopping, worker._ticks = False, 0
    worker.loop.call_soon(worker._sweep)
    worker.loop.call_later(START_S, worker.loop.stop)
    worker.loop.run_forever()
    worker.loop.close()

    assert worker.server.sweeps == 3
    told = [record.getMessage() for record in caplog.records if record.name == "entrepot.gateway.worker"]
    assert told == ["a sweep failed"] * 3
