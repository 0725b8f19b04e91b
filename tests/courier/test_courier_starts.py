"""Daemons that are told to stop as soon as they begin, and daemons whose parent is gone."""

import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from stand import PATIENCE_S, Reply, eventually, is_ready

from entrepot.chassis.exposition import exposition
from entrepot.daemons.signals import hold_back, let_through

pytestmark = pytest.mark.slow

MOMENTS = 8
START_S = 1.2
"""About what a courier takes until it delivers."""
DELAYS = [random.uniform(0, START_S) for _ in range(MOMENTS)]


def started_by_a_supervisor(stand, daemon="courier"):
    """Start *daemon* with its signals held back, so that they find it from its first moment on."""
    hold_back()
    try:
        return stand.run(daemon)
    finally:
        let_through()


def hears_stops(process):
    """Tell whether SIGTERM is held back or taken by *process*, and does not end it as it ends any program."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    masks = (int(line.split()[1], 16) for line in lines if line.startswith(("SigBlk:", "SigCgt:")))
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)


def family(stand):
    """Return the processes that run with the settings of *stand*, by process id with what was typed."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            typed = path.read_text().split("\0")
            if str(stand.settings) in typed:
                found[int(path.parent.name)] = " ".join(typed)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_courier_told_to_stop_in_its_first_moments_ends_well_and_holds_nothing(stand, receiver, number):
    ids = stand.put(*map(str, range(3)))
    stand.hold()

    for delay_s in DELAYS:
        courier = started_by_a_supervisor(stand)
        time.sleep(delay_s)
        courier.send_signal(number)
        assert courier.wait(PATIENCE_S) == 0, f"told to stop after {delay_s:.3f} s\n{stand.log()[-2000:]}"

    assert set(stand.states(ids)) == {"queued"}
    assert receiver.received == []


def test_a_courier_told_to_stop_while_it_takes_its_first_work_delivers_it_once(stand, receiver):
    stand.configure("[courier]\ngraceful_timeout = 20s\n")
    receiver.script = lambda _: time.sleep(0.05) or Reply()
    ids = []

    for delay_s in DELAYS:
        ids += stand.put("one", "two")
        courier = started_by_a_supervisor(stand)
        time.sleep(delay_s)
        courier.terminate()
        assert courier.wait(PATIENCE_S) == 0, f"told to stop after {delay_s:.3f} s\n{stand.log()[-2000:]}"
        assert "sending" not in stand.states(ids)

    stand.run()
    stand.wait_state(ids, "delivered")
    assert sorted(receiver.keys) == sorted(ids)


def test_a_courier_that_nobody_supervises_hears_a_stop_before_its_work_begins(stand):
    for delay_s in DELAYS[:4]:
        courier = stand.run()
        assert eventually(lambda courier=courier: hears_stops(courier), every_s=0.001)
        time.sleep(delay_s / 3)

        courier.terminate()

        assert courier.wait(PATIENCE_S) == 0


def test_a_courier_that_waits_for_its_store_ends_when_it_is_told(stand):
    path = stand.directory / "store" / "entrepot.db"
    path.rename(path.with_suffix(".away"))
    path.mkdir()
    courier = stand.run()
    assert eventually(lambda: "the store is not available" in stand.log())
    assert eventually(lambda: "entrepot_store_away 1.0" in exposition(stand.directory / "store/metrics").decode())

    courier.terminate()

    assert courier.wait(3) == 0


def test_a_stop_that_is_repeated_to_the_end_changes_nothing(stand):
    for _ in range(5):
        courier = stand.run()
        stand.wait_state(stand.put("one"), "delivered")
        while courier.poll() is None:
            courier.terminate()

        assert courier.returncode == 0


def test_all_daemons_told_to_stop_in_their_first_moments_end_well(stand):
    for delay_s in DELAYS[:4]:
        parent = started_by_a_supervisor(stand, "all")
        time.sleep(delay_s)
        parent.terminate()

        assert parent.wait(PATIENCE_S) == 0, f"told to stop after {delay_s:.3f} s\n{stand.log()[-2000:]}"
        assert eventually(lambda: not family(stand))


def test_daemons_of_a_parent_that_is_killed_stop_in_good_order(stand, receiver, free_port):
    receiver.script = lambda _: time.sleep(0.3) or Reply()
    parent = stand.run("all")
    ids = stand.put(*map(str, range(20)))
    assert eventually(lambda: is_ready(free_port) and receiver.received), stand.log()[-3000:]

    parent.kill()
    parent.wait()

    assert eventually(lambda: not family(stand))
    assert "courier has ended" in stand.log()
    assert not is_ready(free_port)
    assert "sending" not in stand.states(ids)


def test_no_daemon_is_left_of_a_parent_that_is_killed_in_its_first_moments(stand):
    for delay_s in DELAYS[:4]:
        parent = stand.run("all")
        time.sleep(delay_s)

        parent.kill()
        parent.wait()

        assert eventually(lambda: not family(stand)), family(stand)


@pytest.mark.parametrize(("parent", "says"), [("os.getppid()", "lives"), ("os.getppid() + 1", "")])
def test_a_child_whose_parent_went_before_it_could_ask_ends_at_once(parent, says):
    program = f"import os; from entrepot.daemons.all import end_with; end_with({parent}); print('lives')"

    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, says, "")
