"""What the tests of the demonstration share: its page, its processes."""

import os
import threading
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
