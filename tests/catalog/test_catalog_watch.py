"""How a process follows the catalog: what is new, what is tried again, and what it says of that."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import write_snapshot
from entrepot.catalog.watch import CatalogWatch
from entrepot.connectors.secrets import read_secret

SWEEP_S = 0.25


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock a test sets."""

    now = 0.0

    def time(self):
        return self.now


class Follower:
    """Follows the catalog at *path*, for which it reads the *secret*. *in_force* are the revisions, in turn."""

    def __init__(self, path, secret, loop):
        self.path = path
        self.secret = secret
        self.loop = loop
        self.in_force = []
        self.tried_at = []
        self.meanwhile = []
        self.watch = CatalogWatch(path, loop, prepare=self.prepare, enforce=self.in_force.append)

    def prepare(self, catalog):
        self.tried_at.append(self.loop.now)
        while self.meanwhile:
            self.meanwhile.pop()()
        read_secret(f"file:{self.secret}")
        return catalog.revision

    def write(self, revision):
        write_snapshot(self.path, Catalog(revision=revision))

    def look(self):
        """Look as in a sweep, until what it began has come to its end."""
        self.loop.run_until_complete(self._look())

    async def _look(self):
        self.watch.refresh()
        # There is one thread: what is begun in it afterwards ends afterwards.
        await self.loop.run_in_executor(None, int)

    def look_for(self, seconds):
        """Look every ``SWEEP_S`` for so many seconds to come."""
        for _ in range(int(seconds / SWEEP_S)):
            self.loop.now += SWEEP_S
            self.look()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "erp.secret"
    path.write_text("geheim")
    return path


@pytest.fixture
def follower(tmp_path, secret):
    with closing(Loop()) as loop:
        loop.set_default_executor(ThreadPoolExecutor(1))
        yield Follower(tmp_path / "snapshot.json", secret, loop)
        loop.run_until_complete(loop.shutdown_default_executor())


@pytest.fixture
def said(logged_by):
    """Return a function that gives the reasons that were logged since the last time."""
    count = 0

    def said():
        nonlocal count
        reasons = [getattr(record, "reason", record.message) for record in logged_by(CatalogWatch)]
        new, count = reasons[count:], len(reasons)
        return new

    return said


def test_each_revision_is_taken_into_force_once(follower, said):
    for revision in (1, 2, 3):
        follower.write(revision)
        follower.look_for(120)

    assert follower.in_force == [1, 2, 3]
    assert len(follower.tried_at) == 3
    assert said() == []


def test_file_that_was_away_for_a_while_is_not_taken_anew(follower, said):
    follower.write(1)
    follower.look()
    aside = follower.path.rename(follower.path.with_name("aside"))

    follower.look_for(5)
    aside.rename(follower.path)
    follower.look_for(5)

    assert follower.in_force == [1]
    assert said() == []


def test_no_catalog_is_none_until_there_is_one(follower, said):
    assert follower.watch.load() is None
    follower.look_for(5)
    follower.write(1)
    follower.look()

    assert follower.in_force == [1]
    assert said() == []


def test_revision_that_fails_for_a_passing_cause_is_tried_again(follower, secret, said):
    follower.write(1)
    follower.in_force.append(follower.watch.load())
    aside = secret.rename(secret.with_name("aside"))

    follower.write(2)
    follower.look()
    assert follower.in_force == [1]
    aside.rename(secret)
    follower.look_for(120)

    assert follower.in_force == [1, 2]
    assert follower.tried_at == [0.0, 0.0, 1.0]
    assert said() == [f"the secret file:{secret} cannot be read: No such file or directory"]


def test_catalog_that_fails_at_the_start_is_tried_again(follower, secret):
    follower.write(1)
    aside = secret.rename(secret.with_name("aside"))

    assert follower.watch.load() is None
    aside.rename(secret)
    follower.look_for(5)

    assert follower.in_force == [1]
    assert follower.tried_at == [0.0, 1.0]


def test_each_failure_doubles_the_wait_up_to_a_minute(follower, secret):
    secret.unlink()
    follower.write(1)

    follower.look()
    follower.look_for(250)

    assert follower.tried_at == [0.0, 1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0, 243.0]


def test_wait_is_counted_from_the_end_of_an_attempt(follower, secret):
    secret.unlink()
    follower.write(1)
    follower.meanwhile.append(lambda: setattr(follower.loop, "now", 10.0))

    follower.look()
    follower.look_for(2)

    assert follower.tried_at == [0.0, 11.0]


def test_reason_is_said_once_as_long_as_it_is_the_same(follower, secret, said):
    secret.unlink()
    follower.write(1)
    follower.look()
    follower.look_for(120)
    missing = said()

    secret.touch()
    follower.look_for(120)

    assert missing == [f"the secret file:{secret} cannot be read: No such file or directory"]
    assert said() == [f"the secret file:{secret} is empty or not set"]


def test_what_is_no_error_of_ours_is_said_once_with_its_traceback_and_tried_again(follower, logged_by):
    def fail():
        raise ZeroDivisionError("by a part that is broken")

    follower.write(1)
    follower.meanwhile.append(fail)
    follower.look()
    follower.meanwhile.append(fail)
    follower.look_for(1)
    follower.look_for(2)

    (record,) = logged_by(CatalogWatch)
    assert record.exc_info[0] is ZeroDivisionError
    assert follower.in_force == [1]


def test_damaged_file_is_tried_again_and_the_next_one_at_once(follower, said):
    follower.path.write_bytes(b"#")
    follower.look()
    follower.look_for(30)
    reasons = said()

    follower.write(2)
    follower.look()

    assert [reason.endswith("damaged: its first line is not JSON") for reason in reasons] == [True]
    assert follower.in_force == [2]
    assert said() == []


def test_new_file_is_tried_at_once_and_then_as_often_as_the_first(follower, secret, said):
    secret.unlink()
    follower.write(1)
    follower.look()
    follower.look_for(40)
    reasons = said()

    follower.write(2)
    follower.look()
    follower.look_for(5)

    assert follower.tried_at[-4:] == [31.0, 40.0, 41.0, 43.0]
    assert said() == reasons


def test_revision_after_one_that_came_late_is_tried_as_often_as_the_first(follower, secret):
    aside = secret.rename(secret.with_name("aside"))
    follower.write(1)
    follower.look()
    follower.look_for(20)
    aside.rename(secret)
    follower.look_for(20)
    secret.unlink()

    follower.write(2)
    follower.look()
    follower.look_for(4)

    assert follower.in_force == [1]
    assert follower.tried_at[-4:] == [31.0, 40.0, 41.0, 43.0]


@pytest.mark.parametrize("fails", [False, True])
def test_file_that_is_replaced_while_it_is_read_is_taken_afterwards(follower, secret, fails):
    def replace():
        follower.write(2)
        if fails:
            secret.rename(secret.with_name("aside"))

    follower.write(1)
    follower.meanwhile.append(replace)
    follower.look()
    if fails:
        secret.with_name("aside").rename(secret)
    follower.look()

    assert follower.in_force == ([2] if fails else [1, 2])
    assert follower.tried_at == [0.0, 0.0]
