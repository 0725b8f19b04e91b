"""``offline``: our own Python per exchange, without sockets: ``bench/offline.py``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bench import Bench
from figures import BenchError, Figure, Goal, Result, median

_SCRIPT = Path(__file__).parent.with_name("offline.py")


def measure(bench: Bench, result: Result) -> None:
    """Add the microseconds of an exchange: the best of nine in a process, the median of three processes."""
    times = [_best() for _ in range(min(3, bench.rounds))]
    note = ", ".join(f"{took:.1f}" for took in times)
    result.add(Figure("own Python per exchange, offline", median(times), " us", Goal(18, 14, upward=False), note))


def _best() -> float:
    command = ["taskset", "-c", "0", sys.executable, str(_SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.search(r"([\d.]+) us per exchange", done.stdout)
    if said is None:
        raise BenchError(f"bench/offline.py: {done.stderr.strip()[-400:]}")
    return float(said[1])
