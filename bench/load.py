"""The load generator: wrk, driven by ``load.lua``."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import BenchError, median

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Load:
    """One round of wrk; *bad* counts answers from 400 on and broken connections, *cpu_s* is what wrk itself took."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    bad: int
    cpu_s: float

    @property
    def rps(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """Where load goes: a URL, the tokens, the paths and the body of its requests."""

    url: str
    tokens: Path | None = None
    paths: Path | None = None
    body: Path | None = None
    connections: int = CONNECTIONS
    threads: int = 1
    cpus: str = "1"


def drive(target: Target, seconds: float) -> Load:
    """Put load on *target* for *seconds* (wrk takes whole ones, at least 1). Raises BenchError when wrk fails."""
    whole = max(1, round(seconds))
    arguments = [str(path or "-") for path in (target.tokens, target.paths, target.body)]
    command = [
        "taskset", "-c", target.cpus, "wrk", f"-t{target.threads}", f"-c{target.connections}", f"-d{whole}s",
        "-s", str(SCRIPT), target.url, "--", *arguments,
    ]  # fmt: skip
    before = _children_cpu_s()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=whole + 20)
    except (subprocess.SubprocessError, OSError) as exc:
        raise BenchError(f"wrk on {target.url}: {exc}") from exc
    for line in done.stdout.splitlines():
        if line.startswith("FIGURES "):
            return Load(**json.loads(line[8:]), cpu_s=_children_cpu_s() - before)
    raise BenchError(f"wrk on {target.url} said: {done.stdout} {done.stderr}")


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def take_turns(targets: Mapping[str, Target], rounds: int, seconds: float) -> dict[str, list[Load]]:
    """Drive all *targets* in turn, *rounds* times: a machine's speed drifts, neighbours in time compare."""
    found: dict[str, list[Load]] = {name: [] for name in targets}
    for target in targets.values():
        drive(target, 1)
    for _ in range(rounds):
        for name, target in targets.items():
            found[name].append(drive(target, seconds))
    return found


def middle(loads: Sequence[Load], what: Callable[[Load], float]) -> float:
    """Return the median of *what* over *loads*."""
    return median(map(what, loads))


def ratio(ours: Sequence[Load], theirs: Sequence[Load]) -> tuple[float, str]:
    """Return the ratio of the medians of requests a second, and the range of the ratios of single rounds as words."""
    single = sorted(mine.rps / other.rps for mine, other in zip(ours, theirs, strict=True))
    value = middle(ours, lambda load: load.rps) / middle(theirs, lambda load: load.rps)
    return value, f"rounds {single[0]:.2f} to {single[-1]:.2f}"


def refuse_bad(name: str, loads: Sequence[Load]) -> None:
    """Raise BenchError when *name* gave answers that do not count."""
    bad = sum(load.bad for load in loads)
    if bad:
        raise BenchError(f"{bad} of {sum(load.requests for load in loads)} requests to {name} failed")


def raise_file_limit() -> None:
    """Allow this process and its children as many open files as the system lets them have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))
