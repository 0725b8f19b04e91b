"""Measure the gateway as README.rst beside this file says, and print one table.

    python bench/run.py [--quick] [SECTION ...]

All sections by default. Figures go to bench/figures.json and bench/figures.txt (not with --quick); sections that did
not run keep theirs. Exit code 1 when a section failed or missed what it must reach, 2 when something is not installed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import figures
from bench import Bench
from children import PACKAGES, Children, found, missing
from figures import BenchError, Result, Skipped
from load import processors, raise_file_limit
from sections import cached, endpoints, identity, ledger, memory, offline, record, relay, slow, spread, workers

Measure = Callable[[Bench, Result], None]
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the run; it is given up after *limit_s*."""

    measure: Measure
    limit_s: float


SECTIONS = {
    "relay": Section(relay.measure, 240),
    "offline": Section(offline.measure, 120),
    "workers": Section(workers.measure, 240),
    "spread": Section(spread.measure, 60),
    "endpoints": Section(endpoints.measure, 300),
    "slow": Section(slow.measure, 120),
    "cached": Section(cached.measure, 120),
    "record": Section(record.measure, 120),
    "memory": Section(memory.measure, 60),
    "ledger": Section(ledger.measure, 900),
    "identity": Section(identity.measure, 900),
}


def main() -> int:
    """Run what the command line asks for."""
    arguments = _arguments()
    absent = [] if arguments.sections == ["offline"] else missing()
    if absent:
        print(f"missing: {', '.join(absent)}; on Debian: apt-get install {PACKAGES}", file=sys.stderr)
        return 2
    if processors() < 2:
        print("two processors are needed: one for the gateway, one for the load", file=sys.stderr)
        return 2
    raise_file_limit()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = [_run(name, arguments) for name in arguments.sections]
    text = figures.text(results, _machine())
    if not arguments.quick:
        figures.write(HERE, results, _machine())
    print(f"\n{text}", end="")
    return 0 if all(result.is_good for result in results) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 1 s: a try of the harness, writes nothing")
    parser.add_argument("--rounds", type=int, default=7, help="rounds over all that is compared (7)")
    parser.add_argument("--seconds", type=float, default=2, help="of each round (2)")
    parser.add_argument("--backlog", type=int, default=100_000, help="what waits in a full ledger (100000)")
    parser.add_argument("--clients", type=int, default=100_000, help="of a catalog that has very many (100000)")
    parser.add_argument("--revoked", type=int, default=1_000_000, help="tokens, where there are very many (1000000)")
    parser.add_argument("--work", type=Path, default=Path("/var/tmp/entrepot-bench"), help="the peers' packages")
    arguments = parser.parse_args()
    arguments.sections = arguments.sections or list(SECTIONS)
    unknown = set(arguments.sections) - set(SECTIONS)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    if arguments.quick:
        arguments.rounds, arguments.seconds = 3, 1
    return arguments


def _run(name: str, arguments: argparse.Namespace) -> Result:
    result = Result(name, time.strftime("%Y-%m-%d %H:%M"))
    section = SECTIONS[name]
    print(f"{name} ...", file=sys.stderr, flush=True)
    begin = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="entrepot-bench-") as home, Children() as children:
            # nginx writes its temporary files as another user when root starts it.
            Path(home).chmod(0o755)
            bench = Bench(
                Path(home), arguments.work, children, arguments.rounds, arguments.seconds, arguments.backlog,
                arguments.clients, arguments.revoked,
            )  # fmt: skip
            with _limited(section.limit_s):
                section.measure(bench, result)
    except Skipped as why:
        result.failure, result.was_skipped = str(why), True
    except (BenchError, OSError) as why:
        result.failure = str(why)
    except Exception as exc:  # noqa: BLE001 - the other sections go on
        traceback.print_exc()
        result.failure = repr(exc)
    print(f"{name}: {time.monotonic() - begin:.0f} s {result.failure}", file=sys.stderr, flush=True)
    return result


@contextlib.contextmanager
def _limited(limit_s: float) -> Iterator[None]:
    def give_up(*_: object) -> None:
        raise BenchError(f"not done after {limit_s:g} s")

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _machine() -> dict[str, str]:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in ("entrepot", "gunicorn", "uvloop", "httptools"))
    return {
        "machine": f"{os.cpu_count()} x {model[1] if model else platform.machine()}, {memory_gib:.0f} GiB",
        "system": f"Linux {platform.release()}, Python {platform.python_version()}, {packages}",
        "peers": ", ".join(filter(None, [_version("wrk", "-v"), _version("nginx", "-v"), _version("haproxy", "-v")])),
        "load when the run ended": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def _version(program: str, option: str) -> str:
    path = found(program)
    if path is None:
        return ""
    done = subprocess.run([path, option], capture_output=True, text=True, check=False)
    said = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return f"{program} {said[0]}" if said else program


if __name__ == "__main__":
    sys.exit(main())
