"""Processes that a run starts, and what the kernel says of them. All are stopped by their own id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from figures import BenchError

STOP_S = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")
_ADMIN_PATHS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
LUA_MODULE = Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")
LUA_JSON = Path("/usr/lib/x86_64-linux-gnu/lua/5.1/cjson.so"), Path("/usr/share/lua/5.1/cjson")
PACKAGES = "wrk nginx-light libnginx-mod-http-lua lua-cjson haproxy"


def missing() -> list[str]:
    """Return what must be installed for the sections that put load on servers and is not."""
    tools = [name for name in ("wrk", "nginx", "haproxy", "taskset") if found(name) is None]
    if not LUA_MODULE.exists():
        tools.append("nginx's Lua module")
    if not any(path.exists() for path in LUA_JSON):
        tools.append("lua-cjson")
    return tools


def found(program: str) -> str | None:
    """Return the path of *program*, also where only administrators look for it."""
    return shutil.which(program, path=_ADMIN_PATHS)


class Children:
    """A context: what was started in it ends with it, the latest first."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._running):
            _stop(child)
        self._running.clear()

    def start(
        self, *command: str, cpus: str, log: Path, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start *command* on the processors *cpus* (``0`` or ``0,1``), in a process group of its own."""
        program = found(command[0])
        if program is None:
            raise BenchError(f"{command[0]} is not installed")
        with log.open("ab") as out:
            child = subprocess.Popen(
                ["taskset", "-c", cpus, program, *command[1:]],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env, process_group=0,
            )  # fmt: skip
        self._running.append(child)
        return child


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S)
    finally:
        # Workers may have outlived their master; the group is the child's own.
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, child: subprocess.Popen[bytes], log: Path, seconds: float = 20.0) -> None:
    """Return when *child* listens on *port*. Raises BenchError with the end of *log* when it does not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and child.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    last = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
    raise BenchError("\n    ".join([f"{child.args} does not listen on port {port}", *last]))


def family(pid: int) -> list[int]:
    """Return *pid* and the processes below it."""
    pids = [pid]
    for known in pids:
        for task in Path(f"/proc/{known}/task").glob("*/children"):
            pids += map(int, task.read_text().split())
    return pids


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor time that *pids* have taken so far, in seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def memory_mib(pid: int) -> tuple[float, float]:
    """Return RSS and PSS of *pid*; PSS counts pages that several processes share in parts."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = line.partition(":")
        sizes[name] = int(size.split()[0]) / 1024
    return sizes["Rss"], sizes["Pss"]


def connections(pid: int, port: int) -> int:
    """Return how many established connections to *port* of this host *pid* holds."""
    wanted = f":{port:04X}"
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[1].endswith(wanted) and fields[3] == "01"
    }
    count = 0
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            link = str(fd.readlink())
        except FileNotFoundError:
            continue
        count += link.startswith("socket:[") and link[8:-1] in inodes
    return count
