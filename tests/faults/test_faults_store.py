"""A store that is full, locked or slow: no 202 without a commit that is on disk."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import pytest
from fault_ledger import Ledger
from fault_rig import pause
from fault_verdict import REPORT, assert_applied_once
from running import eventually

pytestmark = pytest.mark.faults

PATHS = ["/v1/lanes/{lane}", "/v1/crowd"]
LOCKER = """\
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
database.execute("ROLLBACK")
"""


def write(rig, key=None, path="/v1/crowd"):
    """Return the answer to one write."""
    lines = [f'Idempotency-Key: "{key}"'] if key else []
    body = {"key": key or "none", "lane": "one", "number": 0, "pad": "x" * 3000}
    return rig.daemon.call_json("POST", path, body, *lines, token="shop", timeout_s=30.0)


def is_put_off(answer):
    """Assert that *answer* tells the client to come back, and nothing else."""
    assert answer.status == 503, answer.body
    assert int(answer.header("retry-after")) >= 1
    assert answer.json()["code"] == "store-unavailable", answer.body
    return True


@contextmanager
def locked(rig):
    """Hold the database's one right to write in another process."""
    command = [sys.executable, "-c", LOCKER, str(rig.daemon.store / "entrepot.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline().strip() == "locked"
        try:
            yield
        finally:
            holder.stdin.close()
            holder.wait(60)


def test_locked_database_is_503_and_never_202_and_recovers_by_itself(make_rig):
    rig = make_rig()
    before = write(rig)

    with rig.load(6, *PATHS) as load:
        pause(1.0)
        with locked(rig):
            until = time.monotonic() + 20.0
            rows = rig.ledger.ask("SELECT count(*) FROM transactions")
            answers = [write(rig)]
            while time.monotonic() < until:
                answers.append(write(rig))
                pause(0.5)
            assert rig.ledger.ask("SELECT count(*) FROM transactions") == rows
        assert eventually(lambda: write(rig).status == 202, 30.0)
    rig.ledger.wait_drained()

    assert before.status == 202
    assert all(is_put_off(answer) for answer in answers)
    assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()


def test_reads_and_status_go_on_while_the_database_is_locked(make_rig):
    rig = make_rig()

    def timed():
        begun = time.monotonic()
        assert rig.daemon.call("GET", "/status").status == 200
        assert rig.daemon.call("GET", "/health/ready").status == 200
        return time.monotonic() - begun

    with locked(rig):
        took_s = [timed() for _ in range(5)]

    # Who waits for the lock waits each time, and a busy machine now and then.
    assert statistics.median(took_s) < 1.0


@pytest.fixture
def small_disk(tmp_path):
    """A directory on a file system of its own of 24 MiB, of which the shared state takes 9; needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    place = tmp_path / "store"
    place.mkdir(mode=0o700)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(place):
    """Leave no byte free in *place*."""
    with (place / "ballast").open("wb", buffering=0) as ballast:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    ballast.write(b"x" * size)
            except OSError:
                continue


def test_full_disk_is_503_and_never_202_and_recovers_by_itself(small_disk, make_rig):
    rig = make_rig(small_disk.parent, settings="[ledger]\nmin_free = 0\n")

    with rig.load(6, *PATHS) as load:
        pause(1.0)
        fill(small_disk)
        pause(1.0)
        rows = rig.ledger.ask("SELECT count(*) FROM transactions WHERE endpoint = 'crowd'")[0][0]
        answers = [write(rig) for _ in range(10)]
        accepted = rig.ledger.ask("SELECT count(*) FROM transactions WHERE endpoint = 'crowd'")[0][0] - rows
        (small_disk / "ballast").unlink()
        assert eventually(lambda: write(rig).status == 202, 30.0, 0.1)
    rig.ledger.wait_drained()

    statuses = [answer.status for answer in answers]
    # A page that SQLite had free may still take a row; then it is there.
    assert statuses.count(202) <= accepted
    assert all(is_put_off(answer) for answer in answers if answer.status != 202)
    assert 503 in statuses
    assert_applied_once(load.writes, rig.witness.log)


def test_little_free_space_refuses_writes_before_the_disk_is_full_and_deliveries_go_on(small_disk, make_rig):
    rig = make_rig(small_disk.parent, settings="[ledger]\nmin_free = 8MiB\n")
    rig.witness.behave("refuses")
    assert write(rig, "first").status == 202

    (small_disk / "ballast").write_bytes(b"x" * (12 << 20))
    refused = eventually(lambda: write(rig).status == 503, 30.0, 0.1)
    rig.witness.behave("ok")
    rig.ledger.wait_drained()
    (small_disk / "ballast").unlink()

    assert refused
    assert eventually(lambda: write(rig).status == 202, 30.0, 0.1)


@contextmanager
def traced(pid, *options):
    """Run strace over all threads of *pid* inside the block, with *options*."""
    with subprocess.Popen(["strace", "-f", "-q", "-p", str(pid), *options], stderr=subprocess.PIPE) as tracer:
        assert eventually(lambda: tracer.poll() is not None or is_traced(pid), 60.0)
        assert tracer.poll() is None, tracer.stderr.read()
        try:
            yield
        finally:
            tracer.terminate()
            tracer.wait(60)


def is_traced(pid):
    """Tell whether somebody traces each thread of *pid*."""
    threads = list(Path(f"/proc/{pid}/task").iterdir())
    return all("\nTracerPid:\t0\n" not in (thread / "status").read_text(encoding="ascii") for thread in threads)


needs_strace = pytest.mark.skipif(which("strace") is None or os.geteuid() != 0, reason="needs strace, and root")


@needs_strace
@pytest.mark.parametrize("path", ["/v1/crowd", "/v1/lanes/one"])
def test_row_is_synced_before_its_202_is_sent(make_rig, tmp_path, path):
    rig = make_rig(workers=1, couriers=0)
    [worker] = rig.daemon.workers()
    assert write(rig).status == 202
    trace = tmp_path / "trace"
    calls = "trace=pwrite64,pwritev,write,fdatasync,fsync,sendto,sendmsg,writev"

    with traced(worker, "-y", "-s", "1000000", "-e", calls, "-o", str(trace)):
        for number in range(20):
            assert write(rig, f"marked-{number}", path).status == 202
        pause(0.3)

    lines = trace.read_text(encoding="latin-1").splitlines()
    for number in range(20):
        assert_synced(lines, f'marked-{number}\\"')


def assert_synced(lines, mark):
    """Assert that in the trace the row with *mark* is written, then synced, then answered."""
    written = next(at for at, line in enumerate(lines) if mark in line and re.search(r"pwrite.*entrepot\.db", line))
    synced = next(
        at for at, line in enumerate(lines)
        if at > written and re.search(r"(fdatasync|fsync)\(\d+<[^>]*entrepot\.db(-wal)?>", line)
    )  # fmt: skip
    # The end of a call that another thread's call was printed into stands in a line of its own.
    if "unfinished" in lines[synced]:
        thread = lines[synced].split()[0]
        synced = next(
            at for at, line in enumerate(lines) if at > synced and line.startswith(thread) and "resumed" in line
        )
    assert re.search(r"= 0$", lines[synced]), lines[synced]
    answered = next(at for at, line in enumerate(lines) if at > written and "HTTP/1.1 202" in line)
    assert written < synced < answered, lines[written : answered + 1]


@needs_strace
@pytest.mark.parametrize("delay_ms", [5, 50])
def test_slow_sync_delays_answers_and_shares_each_sync_among_them(make_rig, tmp_path, delay_ms):
    rig = make_rig(workers=1)
    [worker] = rig.daemon.workers()
    trace = tmp_path / "trace"
    inject = f"inject=fdatasync,fsync:delay_enter={delay_ms * 1000}"

    with (
        traced(worker, "-e", "trace=fdatasync,fsync", "-e", inject, "-o", str(trace)),
        rig.load(24, *PATHS, pause_s=0.0, hangs_up=0.0) as load,
    ):
        pause(4.0)
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
    syncs = len(re.findall(r"(fdatasync|fsync)\(", trace.read_text(encoding="latin-1")))
    REPORT.append(f"{len(load.writes)} accepted by {syncs} syncs")
    assert len(load.writes) > 2 * syncs


def test_same_key_at_two_workers_at_the_same_moment_makes_one_transaction(make_rig, tmp_path):
    rig = make_rig(workers=2)
    rounds = 40

    answers = []
    with rig.daemon.one_wire_for_each_worker() as wires:
        for number in range(rounds):
            body = json.dumps({"key": f"twin-{number}", "lane": "twin", "number": number}).encode()
            head = rig.daemon.head(
                "POST", "/v1/crowd", "Content-Type: application/json", f'Idempotency-Key: "twin-{number}"',
                token="shop", body=body,
            )  # fmt: skip
            for wire in wires:
                wire.send(head)
            answers.append([wire.answer() for wire in wires])
    rig.ledger.wait_drained()

    assert {answer.status for pair in answers for answer in pair} <= {202, 409}
    for pair in answers:
        made = {answer.data["transaction"] for answer in pair if answer.status == 202}
        assert len(made) == 1
    assert rig.ledger.ask("SELECT count(*) FROM transactions") == [(rounds,)]


@pytest.mark.postgres
def test_postgresql_that_is_killed_under_load_loses_nothing_and_doubles_nothing(
    postgresql, postgresql_url, make_rig, dice, cycles
):
    rig = make_rig(settings=f"[store]\nurl = {postgresql_url}\n", couriers=2)
    rig.ledger = Ledger.of_postgresql(postgresql, postgresql_url)

    with rig.load(8, *PATHS, "/v1/ready/{lane}") as load:
        for _ in range(max(2, cycles // 3)):
            pause(0.5 + dice.random())
            postgresql.stop(signal.SIGKILL)
            assert {write(rig).status for _ in range(3)} == {503}
            pause(dice.random())
            postgresql.start()
            assert eventually(lambda: write(rig).status == 202, 30.0, 0.1)
    rig.ledger.wait_drained()

    assert_applied_once(load.writes, rig.witness.log)
    rig.assert_alive()
