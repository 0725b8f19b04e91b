"""What the tests of the program share: its environment and settings, the page of the demo, processes."""

import os
import threading
import time
from pathlib import Path

START_S = 60


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "CONFIG_SOURCE"))}
    return {**kept, **more}


def read_page(process):
    """Return what *process* prints up to the last line of its page."""
    timer = threading.Timer(START_S, process.kill)
    timer.start()
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                return "".join(lines)
    finally:
        timer.cancel()
    raise AssertionError(f"the demo ended: {''.join(lines)}{process.stderr.read()}")


def children_of(pid, *, only_direct=False):
    """Return the processes that *pid* started, and those that they started."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    if only_direct:
        return found
    return [*found, *(grandchild for child in found for grandchild in children_of(child))]


def still_running(pids):
    """Return those of *pids* that have not ended within ten seconds; what was killed takes a moment to die."""
    until = time.monotonic() + 10.0
    while living := [pid for pid in pids if is_running(pid)]:
        if time.monotonic() > until:
            break
        time.sleep(0.02)
    return living


def is_running(pid):
    """Tell whether *pid* runs. One that has ended stays listed until its parent, here the container's init, asks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def rest(terminal):
    """Return what *terminal* shows until its other end is closed."""
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 1000)
        except OSError:
            return shown


def write_settings(directory):
    """Write a settings file into *directory*, and make a store beside it."""
    (directory / "store").mkdir(mode=0o700)
    path = directory / "entrepot.ini"
    path.write_text(
        f"[store]\ndirectory = {directory}/store\n[gateway]\nbind = 127.0.0.1:1\npublic_url = http://127.0.0.1:1\n"
    )
    return path
