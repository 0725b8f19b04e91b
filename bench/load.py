"""The load generator: wrk, driven by ``load.lua``."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from children import cpu_s, family
from figures import BenchError, median

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Load:
    """One round of wrk; *bad* counts answers from 400 on and broken connections.

    *cpu_s* is the processor time of wrk itself, *server_s* that of the target's server, 0 when it is not known.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    bad: int
    cpu_s: float
    server_s: float

    @property
    def server_us(self) -> float:
        """Processor time of the server for each request, in microseconds: other work on the machine hardly adds."""
        return self.server_s / self.requests * 1e6

    @property
    def rps(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """Where load goes: a URL, the tokens, the paths and the body of its requests. *server* is the process behind it.

    *scheme* is that of the tokens, *media_type* that of the body.
    """

    url: str
    server: int = 0
    tokens: Path | None = None
    paths: Path | None = None
    body: Path | None = None
    connections: int = CONNECTIONS
    threads: int = 1
    cpus: str = "1"
    scheme: str = "Bearer"
    media_type: str = "application/json"


def drive(target: Target, seconds: float) -> Load:
    """Put load on *target* for *seconds* (wrk takes whole ones, at least 1). Raises BenchError when wrk fails."""
    whole = max(1, round(seconds))
    command = ["taskset", "-c", target.cpus, *wrk(target, whole)]
    before, served = _children_cpu_s(), _server_cpu_s(target)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=whole + 20)
    except (subprocess.SubprocessError, OSError) as exc:
        raise BenchError(f"wrk on {target.url}: {exc}") from exc
    for line in done.stdout.splitlines():
        if line.startswith("FIGURES "):
            return Load(
                **json.loads(line[8:]), cpu_s=_children_cpu_s() - before, server_s=_server_cpu_s(target) - served
            )
    raise BenchError(f"wrk on {target.url} said: {done.stdout} {done.stderr}")


def wrk(target: Target, seconds: int) -> list[str]:
    """Return the command that puts load on *target* for *seconds*."""
    files = [str(path or "-") for path in (target.tokens, target.paths, target.body)]
    return [
        "wrk", f"-t{target.threads}", f"-c{target.connections}", f"-d{seconds}s", "-s", str(SCRIPT), target.url, "--",
        *files, target.scheme, target.media_type,
    ]  # fmt: skip


def _server_cpu_s(target: Target) -> float:
    return cpu_s(family(target.server)) if target.server else 0.0


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
    said = f"rounds {single[0]:.2f} to {single[-1]:.2f}"
    if all(load.server_s for load in (*ours, *theirs)):
        by_time = middle(theirs, lambda load: load.server_us) / middle(ours, lambda load: load.server_us)
        said += f"; by processor time {by_time:.2f}"
    return value, said


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
