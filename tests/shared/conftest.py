"""Real processes that share state, and the state itself."""

import asyncio
import contextlib
import subprocess
import sys
import textwrap
import time

import pytest
from link_servers import answer, serve

from entrepot.chassis.shared import SharedState

PRELUDE = """
import os, signal, sys, time
from pathlib import Path
from entrepot.chassis.shared import SharedState
shared = SharedState.open(Path(sys.argv[1]))

def told_end():
    print("ready", flush=True)
    return float(sys.stdin.readline())
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "shared"
    yield path
    path.unlink(missing_ok=True)  # 10 MB each, which pytest would keep


@pytest.fixture
def shared(path):
    return SharedState.open(path)


@pytest.fixture
def serving(shared):
    """Run ``serving(test)``: *test* gets a link to a server that *script* plays at, swept as a worker sweeps it."""
    shared.register()

    def start(test, script=None, **options):
        asyncio.run(serve(shared, test, script or answer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), options))

    return start


@pytest.fixture
def spawn(path):
    """Start a Python process with ``shared`` open that runs *code*; it is killed at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(code, *arguments):
            process = subprocess.Popen(
                [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(path), *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(end, process)
            return process

        yield start


@pytest.fixture
def begin():
    """Tell processes, once all have asked by ``told_end()``, when to end: what their start takes is no part of it."""

    def begin(processes, lasting_s):
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        end = time.monotonic() + lasting_s
        for process in processes:
            process.stdin.write(f"{end}\n")
            process.stdin.flush()
        return end

    return begin


def end(process):
    process.kill()
    process.communicate()


@pytest.fixture
def other_boot(path):
    """Leave what another boot would find: the file with the id of the one before, and nobody who has it open."""

    def change():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content[:16] + b"0" * 36 + content[52:])

    return change


@pytest.fixture
def clock():
    """The clock that all processes of the host have in common."""
    return time.monotonic
