import contextlib
import multiprocessing
import os
import signal
import stat
import statistics
import threading
import time

import pytest

from entrepot.chassis import turns as module
from entrepot.chassis.turns import Turns

fresh_process = multiprocessing.get_context("spawn")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "turns"


@pytest.fixture
def turns(path):
    it = Turns(path)
    yield it
    it.close()


def last_place(path):
    """Return the place that was given last: who came then is in the queue."""
    return int.from_bytes(path.read_bytes()[:8], "little")


def wait_for_place(path, place):
    """Return once *place* is given."""
    until = time.monotonic() + 20.0
    while last_place(path) != place:
        assert time.monotonic() < until, f"{last_place(path)} was given, {place} is awaited"
        time.sleep(0.001)


def stay(path, told, kind):
    """Hold a turn, or a place in the queue, until killed."""
    with Turns(path).turn(60) if kind == "turn" else contextlib.nullcontext():
        told.set()
        if kind == "place":
            with Turns(path).turn(60):
                pass
        time.sleep(60)


@pytest.fixture
def other(path):
    """Return a function that starts a process with a turn, or in the queue for one."""
    started = []

    def start(kind):
        told = fresh_process.Event()
        next_place = last_place(path) + 1 if kind == "place" else None
        process = fresh_process.Process(target=stay, args=(path, told, kind))
        process.start()
        started.append(process)
        assert told.wait(60)
        if next_place is not None:
            wait_for_place(path, next_place)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def test_the_file_is_readable_by_its_owner_alone(turns, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_turn_comes_at_once_when_nobody_has_it(turns):
    for _ in range(3):
        with turns.turn(0) as mine:
            assert mine


def test_one_has_a_turn_at_a_time(turns, path):
    others = Turns(path)

    with turns.turn(0), others.turn(0.01) as also:
        assert not also
    with others.turn(0) as mine:
        assert mine
    others.close()


def test_turns_come_in_the_order_in_which_they_were_asked_for(path):
    order = []
    queue = [Turns(path) for _ in range(8)]

    def stand(number):
        with queue[number].turn(20) as mine:
            order.append((number, mine))
            time.sleep(0.001)

    threads = []
    with Turns(path).turn(0):
        first = last_place(path)
        for number in range(8):
            threads.append(threading.Thread(target=stand, args=(number,)))
            threads[-1].start()
            wait_for_place(path, first + number + 1)
    for thread in threads:
        thread.join()

    assert order == [(number, True) for number in range(8)]


def test_threads_of_one_process_take_turns_too(turns):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        for _ in range(200):
            with turns.turn(20) as mine:
                assert mine
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most == 1


def test_a_turn_ends_when_its_block_raises(turns, path):
    with pytest.raises(ZeroDivisionError), turns.turn(0):
        raise ZeroDivisionError

    with Turns(path).turn(0) as mine:
        assert mine


def test_one_who_waits_is_woken_when_the_turn_ends(turns, path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.9)
    others = Turns(path)
    waited = []

    def wait():
        with others.turn(20):
            waited.append(time.monotonic())

    for _ in range(20):
        with turns.turn(0):
            mine = last_place(path)
            thread = threading.Thread(target=wait)
            thread.start()
            wait_for_place(path, mine + 1)
        ended = time.monotonic()
        thread.join()
        waited[-1] -= ended

    # Without being woken one looks after 0.9 s.
    assert sorted(waited)[10] < 0.2
    others.close()


@pytest.mark.parametrize("kind", ["turn", "place"])
def test_one_who_is_killed_is_out_of_the_queue(turns, other, kind):
    first = other("turn")
    second = other("place") if kind == "place" else first

    second.kill()
    first.kill()

    with turns.turn(5) as mine:
        assert mine


def test_a_queue_in_which_someone_was_stopped_is_left_and_then_hardly_waited_for(turns, other):
    first, second = other("turn"), other("place")
    os.kill(second.pid, signal.SIGSTOP)
    first.kill()
    first.join()

    waits = []
    for _ in range(6):
        begun = time.monotonic()
        with turns.turn(0.3) as mine:
            waits.append(time.monotonic() - begun)
            assert not mine

    assert waits[0] >= 0.3
    assert statistics.median(waits[1:]) < 0.06
    second.kill()
    with turns.turn(0.3):
        pass
    second.join()
    with turns.turn(0.3) as mine:
        assert mine


@pytest.mark.parametrize("last", [0, 2**62 - 1, 2**64 - 1])
def test_whatever_stands_in_the_file_turns_are_taken(path, last):
    path.write_bytes(last.to_bytes(8, "little") + b"\xff" * 4088)
    turns, others = Turns(path), Turns(path)

    for _ in range(3):
        with turns.turn(0) as mine, others.turn(0.001) as also:
            assert (mine, also) == (True, False)
    turns.close()
    others.close()


def test_a_directory_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        Turns(tmp_path / "absent/turns")
