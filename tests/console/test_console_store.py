"""What the console does while its store is away."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from console_support import PASSWORD, Script

from entrepot import standing_services
from open_files import open_below


@pytest.fixture
def again_s(monkeypatch):
    """After how many seconds a console looks for its database again: fewer than in earnest."""
    monkeypatch.setattr(standing_services, "AGAIN_S", 0.2)
    return 0.2


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self):
        self._now = 1000.0

    def monotonic(self):
        return self._now

    def advance(self, *, seconds):
        self._now += seconds


@pytest.fixture
def clock(monkeypatch):
    """The clock by which a console looks for its database again."""
    clock = Clock()
    monkeypatch.setattr(standing_services, "time", clock)
    return clock


@pytest.fixture
def away(settings, services, add):
    """Put a directory in the place of the database, and return a function that puts the database back."""
    add("ada", "admin")
    path = settings.store.directory / "entrepot.db"
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()

    def back():
        path.rmdir()
        aside.rename(path)

    return back


def sign_in(script):
    return script.post("/session", name="ada", password=PASSWORD, cookie=False).status_code


def test_console_that_begins_without_its_database_lets_operators_in_once_it_is_back(start_console, again_s, away):
    script = Script(start_console())
    assert sign_in(script) == 503

    away()
    time.sleep(again_s)

    assert sign_in(script) == 201


def test_console_that_waits_for_its_database_holds_no_more_open_files_with_time(settings, start_console, again_s, away):
    script = Script(start_console())

    counts = []
    for _ in range(3):
        time.sleep(again_s)
        assert sign_in(script) == 503
        counts.append(len(open_below(settings.store.directory)))

    assert counts[-1] <= counts[0]


def test_requests_go_on_while_one_of_them_looks_for_the_database(settings, services, start_console, clock, away):
    app = start_console()

    def timed(_number=0):
        began = time.monotonic()
        assert sign_in(Script(app)) == 503
        return time.monotonic() - began

    away()
    services.close()  # nobody else may have it open, for it to be locked so
    path = settings.store.directory / "entrepot.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        clock.advance(seconds=standing_services.AGAIN_S)
        with ThreadPoolExecutor(4) as pool:
            *others, looked = sorted(pool.map(timed, range(4)))
        right_after = timed()
    clock.advance(seconds=standing_services.AGAIN_S)

    assert looked > 2.0
    assert max(others) < looked / 2
    assert right_after < looked / 2
    assert sign_in(Script(app)) == 201
