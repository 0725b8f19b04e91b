import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from ledger_support import NOW, Ledger, key, new
from sqlalchemy import text

from entrepot.chassis.errors import Error
from entrepot.errors import StoreUnavailable
from entrepot.ledger.acceptance import accept
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    AnswerOf,
    Filters,
    GoOn,
    KeptAnswer,
    LeaseOf,
    MemoryOf,
    Quota,
    Replayed,
)
from entrepot.ledger.intake import Intake
from entrepot.ledger.writer import Writer
from entrepot.store import schema
from entrepot.store.engine import open_database

PROCESS = Path(__file__).with_name("ledger_process.py")


class Results:
    """Gathers what a writer says, and waits for it."""

    def __init__(self):
        self.found = []
        self._change = threading.Condition()

    def __call__(self, result):
        with self._change:
            self.found.append(result)
            self._change.notify_all()

    def wait(self, count, seconds=20.0):
        with self._change:
            assert self._change.wait_for(lambda: len(self.found) >= count, seconds)
        return self.found


@pytest.fixture
def make_writer(database):
    made = []

    def make(**values):
        made.append(Writer(database, clock=lambda: NOW, **values))
        return made[-1]

    yield make
    for writer in made:
        writer.close()


class Gate:
    """Another writer, who has the right to write until ``open``."""

    def __init__(self, database):
        self._database = database
        self._held, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()
        assert self._held.wait(20)

    def open(self):
        self._over.set()
        self._thread.join()

    def _hold(self):
        with self._database.writing():
            self._held.set()
            self._over.wait(20)


def test_what_came_in_meanwhile_shares_one_commit(database, make_writer):
    commits, batches, done = [], [], Results()
    writer = make_writer(on_commit=lambda: commits.append(1))

    def handler(connection, items, now):
        batches.append(list(items))
        return [item * 2 for item in items]

    gate = Gate(database)
    for number in range(100):
        writer.submit(handler, number, done)
    gate.open()

    assert done.wait(100) == [number * 2 for number in range(100)]
    assert len(batches) <= 2
    assert len(commits) == len(batches)


def test_different_changes_share_one_commit(database, make_writer):
    commits, done, begun, submitted = [], Results(), threading.Event(), threading.Event()
    writer = make_writer(on_commit=lambda: commits.append(1))

    def first(connection, items, now):
        begun.set()
        assert submitted.wait(20)
        return items

    writer.submit(first, 0, done)
    assert begun.wait(20)
    for handler in (
        lambda connection, items, now: ["a"] * len(items),
        lambda connection, items, now: ["b"] * len(items),
    ):
        for _ in range(3):
            writer.submit(handler, None, done)
    submitted.set()

    assert done.wait(7) == [0, "a", "a", "a", "b", "b", "b"]
    assert len(commits) == 2


def test_results_are_told_after_the_commit_and_together(database, make_writer):
    told, done = [], Results()
    events = []

    def deliver(calls):
        told.append(len(calls))
        events.append("told")
        for call in calls:
            call()

    writer = make_writer(deliver=deliver, on_commit=lambda: events.append("committed"))
    gate = Gate(database)
    for _ in range(5):
        writer.submit(lambda connection, items, now: items, 1, done)
    gate.open()
    done.wait(5)

    assert sum(told) == 5
    assert len(told) <= 2
    assert events == ["committed", "told"] * len(told)


def test_an_item_that_breaks_a_rule_fails_alone(database, make_writer):
    ledger, done = Ledger(database), Results()
    taken = ledger.queue()
    writer = make_writer()
    gate = Gate(database)
    items = [new(), new(id=taken), new(), new()]
    for item in items:
        writer.submit(accept, Acceptance(item, Quota()), done)
    gate.open()

    found = done.wait(4)

    assert [type(result) for result in found].count(Accepted) == 3
    assert [type(result) for result in found].count(Error) == 1
    assert ledger.count() == 4


def test_a_handler_that_raises_fails_alone_and_the_thread_goes_on(make_writer):
    def broken(connection, items, now):
        raise ZeroDivisionError

    writer, done = make_writer(), Results()
    writer.submit(broken, 1, done)
    assert type(done.wait(1)[0]) is Error

    writer.submit(lambda connection, items, now: items, 2, done)
    assert done.wait(2)[1] == 2


def test_closing_finishes_what_was_submitted(database):
    writer, done = Writer(database), Results()
    ledger = Ledger(database)
    for _ in range(50):
        writer.submit(accept, Acceptance(new(), Quota()), done)

    writer.close()

    assert len(done.found) == 50
    assert ledger.count() == 50
    with pytest.raises(StoreUnavailable):
        writer.submit(accept, Acceptance(new(), Quota()), done)
    writer.close()


def test_a_locked_database_fails_all_that_wait_and_recovers_by_itself(tmp_path):
    url = f"sqlite:///{tmp_path}/store/entrepot.db"
    database = open_database(url, busy_timeout_s=0.2)
    schema.prepare(database)
    writer, done = Writer(database), Results()
    other = sqlite3.connect(tmp_path / "store/entrepot.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    for _ in range(1500):
        writer.submit(accept, Acceptance(new(), Quota()), done)

    found = done.wait(1500)

    assert {type(result) for result in found} == {StoreUnavailable}
    assert time.monotonic() - began < 3
    other.close()
    writer.submit(accept, Acceptance(new(), Quota()), done)
    assert isinstance(done.wait(1501)[-1], Accepted)
    assert Ledger(database).count() == 1
    writer.close()
    database.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    made = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", place], check=False, capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("only root can mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_accepts_nothing_and_recovers_by_itself(small_disk):
    database = open_database(f"sqlite:///{small_disk}/store/entrepot.db", busy_timeout_s=0.5)
    schema.prepare(database)
    ledger, writer, done = Ledger(database), Writer(database), Results()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_500_000)

    count = 0
    while not any(isinstance(result, Error) for result in done.found):
        count += 1
        writer.submit(accept, Acceptance(new(body=b"x" * 20_000), Quota()), done)
        done.wait(count)
        assert count < 500

    accepted = [result.id for result in done.found if isinstance(result, Accepted)]
    assert isinstance(done.found[-1], StoreUnavailable)
    assert ledger.count() == len(accepted) > 10
    ballast.unlink()
    writer.submit(accept, Acceptance(new(body=b"x" * 20_000), Quota()), done)
    assert isinstance(done.wait(count + 1)[-1], Accepted)
    assert ledger.count() == len(accepted) + 1
    writer.close()
    database.close()


class Faces:
    """An Intake with its loop, as a gateway worker has it."""

    def __init__(self, database):
        self.wakes = []
        self.loop = asyncio.new_event_loop()
        self.intake = Intake(database, self.loop, wake=lambda: self.wakes.append(1), clock=lambda: NOW)

    def ask(self, method, *arguments):
        answer = self.loop.create_future()
        method(*arguments, answer.set_result)
        return self.loop.run_until_complete(asyncio.wait_for(answer, 10))

    def close(self):
        self.intake.close()
        self.loop.close()


@pytest.fixture
def faces(database):
    faces = Faces(database)
    yield faces
    faces.close()


def test_a_worker_accepts_reads_lists_and_cancels(faces):
    intake = faces.intake
    admission = faces.ask(intake.accept, Acceptance(new(), Quota()))

    assert faces.ask(intake.read, admission.id, "azure").state == "queued"
    assert faces.ask(intake.read, admission.id, "another") is None
    assert [sight.id for sight in faces.ask(intake.list, Filters(partner="azure"))] == [admission.id]
    assert faces.ask(intake.cancel, admission.id, "azure") == "done"
    assert faces.ask(intake.read, admission.id, "azure").state == "cancelled"


def test_couriers_are_woken_by_new_work_and_not_by_what_was_there(faces):
    faces.ask(faces.intake.accept, Acceptance(new(), Quota(), key()))
    assert len(faces.wakes) == 1

    faces.ask(faces.intake.accept, Acceptance(new(), Quota(), key()))
    direct = faces.ask(faces.intake.accept, Acceptance(new(), Quota(), key("direct"), "never"))
    faces.ask(faces.intake.let_go, LeaseOf(key("direct").digest, direct.leased_until, None))

    assert len(faces.wakes) == 1


def test_a_direct_write_keeps_its_memory_and_its_answer(faces, database):
    first = faces.ask(faces.intake.accept, Acceptance(new(), Quota(), key(), "never"))
    faces.ask(faces.intake.keep_memory, MemoryOf(key().digest, first.leased_until, {"write_date": "then"}))
    again = Ledger(database, NOW + 31).bring(when="never", key=key())
    assert again == GoOn(first.id, again=True, memory={"write_date": "then"})
    faces.ask(faces.intake.keep_answer, AnswerOf(key().digest, KeptAnswer(204, b"", b"")))

    answered = faces.ask(faces.intake.accept, Acceptance(new(), Quota(), key(), "never"))

    assert answered == Replayed(first.id, KeptAnswer(204, b"", b""))


def test_an_outage_is_told_to_the_worker(faces, database):
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE transactions RENAME TO elsewhere"))

    assert isinstance(faces.ask(faces.intake.accept, Acceptance(new(), Quota())), Error)
    assert isinstance(faces.ask(faces.intake.read, "id", None), Error)


def test_a_worker_that_ends_is_told_so(faces):
    faces.intake.close()

    assert isinstance(faces.ask(faces.intake.accept, Acceptance(new(), Quota())), StoreUnavailable)
    assert isinstance(faces.ask(faces.intake.read, "id", None), StoreUnavailable)


def test_a_listener_that_fails_keeps_no_one_else_waiting(make_writer):
    def fail(*_):
        raise ZeroDivisionError

    writer, done = make_writer(on_commit=fail), Results()
    for listener in (fail, done):
        writer.submit(lambda connection, items, now: items, 1, listener)

    assert done.wait(1) == [1]


def test_a_delivery_that_fails_does_not_end_the_thread(make_writer, database):
    def fail(_calls):
        raise RuntimeError("the loop is closed")

    writer = make_writer(deliver=fail)
    for _ in range(2):
        writer.submit(accept, Acceptance(new(), Quota()), Results())
    writer.close()

    assert Ledger(database).count() == 2


def start(url, *arguments):
    process = subprocess.Popen(
        [sys.executable, PROCESS, url, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.slow
def test_two_processes_that_bring_the_same_key_at_once_make_one_transaction(database):
    url = database.url.render_as_string(hide_password=False)
    processes = [start(url, 20, *"abc") for _ in range(2)]

    for _ in "abc":
        go(*processes)
        ids = {process.stdout.readline() for process in processes for _ in range(20)}

        assert len(ids) == 1
    assert {process.communicate(timeout=30)[0] for process in processes} == {""}
    assert Ledger(database).count() == 3


@pytest.mark.slow
def test_nothing_that_was_answered_is_lost_when_its_process_is_killed(database):
    url = database.url.render_as_string(hide_password=False)
    ledger, answered = Ledger(database), set()
    for number in (10, 65, 130, 300):
        process = start(url, 10**6)
        go(process)
        answered.update(process.stdout.readline().strip() for _ in range(number))
        process.send_signal(signal.SIGKILL)
        process.wait()
        answered.update(process.stdout.read().split())
        process.stdin.close()
        process.stdout.close()

    answered = {line for line in answered if len(line) == 36}
    # PostgreSQL may still be at the last commit of who was killed: it has the right to write until it is through.
    with database.writing() as connection:
        there = set(connection.execute(text("SELECT id FROM transactions")).scalars())
        unfinished = ledger.unfinished()
    assert len(answered) > 100
    assert answered <= there
    assert unfinished == len(there)


@pytest.mark.slow
def test_processes_that_write_at_once_take_turns(database):
    url = database.url.render_as_string(hide_password=False)
    processes = [start(url, 300) for _ in range(3)]

    go(*processes)
    ids = [line for process in processes for line in process.communicate(timeout=60)[0].split()]

    assert len(set(ids)) == 900
    ledger = Ledger(database)
    assert ledger.count() == ledger.unfinished() == 900
