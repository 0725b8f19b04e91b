"""The real daemon as a child process, set up by the command line alone, and what tests ask of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rawclient import BrokenAnswerError, Wire, request

PUBLIC_URL = "http://gateway.test"
WORKERS = 2
SETTINGS = """\
[store]
directory = {directory}/store
[gateway]
bind = 127.0.0.1:{port}
workers = {workers}
public_url = {public_url}
trusted = 127.9.0.0/16
header_timeout = 1s
body_timeout = 1s
idle_timeout = 2s
graceful_timeout = 5s
max_header = 8KiB
max_target = 2KiB
max_fields = 40
[tokens]
leeway = 0s
[metrics]
allow = 127.0.0.1/32
[log]
target = stderr
"""


class Daemon:
    """A gateway on a free port with its own directory. ``call`` speaks to it; ``log`` is what it wrote."""

    def __init__(self, directory: Path, *, workers: int = WORKERS):
        self.directory = directory
        self.port = free_port()
        self.settings = directory / "entrepot.ini"
        self.log_path = directory / "gateway.log"
        self.password = "s3cret-of-the-erp"
        self.tokens: dict[str, str] = {}
        self.process: subprocess.Popen | None = None
        self.write_settings(workers=workers)

    @property
    def store(self) -> Path:
        """The directory of the store."""
        return self.directory / "store"

    def write_settings(self, *, workers: int = WORKERS, more: str = "") -> None:
        """Write the settings file, with *more* at its end."""
        text = SETTINGS.format(directory=self.directory, port=self.port, workers=workers, public_url=PUBLIC_URL)
        self.settings.write_text(text + more, encoding="utf-8")

    # -- the command line

    def entrepot(self, *arguments: str, check: bool = True, **options) -> subprocess.CompletedProcess:
        """Run the program ``entrepot`` with *arguments* and these settings."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        done = subprocess.run(self.command(*arguments), check=False, **options)
        assert not check or done.returncode == 0, f"entrepot {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done

    def apply(self, name: str, document: dict) -> subprocess.CompletedProcess:
        """Bring *document* in as the catalog file *name*. JSON is YAML."""
        path = self.directory / name
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        return self.entrepot("apply", str(path))

    def issue(self, client: str, *arguments: str) -> str:
        """Return a new token of *client*."""
        return self.entrepot("token", "issue", client, *arguments).stdout.strip()

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the program ``entrepot`` with *arguments* and these settings."""
        return [sys.executable, "-m", "entrepot.cli.main", "--settings", str(self.settings), *arguments]

    # -- the process

    def start(self) -> None:
        """Start the daemon; ``wait_ready`` tells when it serves."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(self.command("run", "gateway"), stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = 15.0) -> None:
        """Return when all workers serve a catalog."""
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            assert self.process.poll() is None, f"the daemon ended:\n{self.log()[-4000:]}"
            with suppress(OSError, ValueError, AssertionError, BrokenAnswerError):
                if len(self.workers()) == self.configured_workers() and self.call("GET", "/health/ready").status == 200:
                    with self.one_wire_for_each_worker(self.configured_workers()):
                        return
            time.sleep(0.02)
        raise AssertionError(f"the daemon is not ready:\n{self.log()[-4000:]}")

    def stop(self, how: int = signal.SIGTERM, timeout_s: float = 10.0) -> int:
        """Stop the daemon and return its exit code; kill it when it does not stop."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            left = self.workers()
            self.process.kill()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise

    def configured_workers(self) -> int:
        """Return how many workers the settings ask for."""
        line = next(line for line in self.settings.read_text(encoding="utf-8").splitlines() if "workers" in line)
        return int(line.rpartition("=")[2])

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return sorted(int(child) for child in children.split())

    def memory_bytes(self) -> int:
        """Return the resident memory of all workers together."""
        pages = [int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in self.workers()]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE")

    # -- what it wrote

    def log(self) -> str:
        """Return all that the daemon has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def log_lines(self, operation_id: str, timeout_s: float = 2.0) -> list[str]:
        """Return the log lines of an operation, waiting for the access log to be flushed."""
        until = time.monotonic() + timeout_s
        while True:
            lines = [line for line in self.log().splitlines() if f"[{operation_id}]" in line]
            if any("entrepot.access" in line for line in lines) or time.monotonic() > until:
                return lines
            time.sleep(0.05)

    # -- speaking to it

    def wire(self, **options) -> Wire:
        """Return a new connection."""
        return Wire(self.port, **options)

    def call(self, method: str, target: str, *lines: str, token: str | None = None, body: bytes = b"", **options):
        """Return the answer to one request on a connection of its own; *token* is a client's name or a whole token."""
        head = self.head(method, target, *lines, token=token, body=body)
        with self.wire(**options) as wire:
            wire.send(head)
            return wire.answer(head_only=method == "HEAD")

    def call_json(self, method: str, target: str, document, *lines: str, token: str | None = None, **options):
        """Return the answer to a request whose body is *document* as JSON (bytes as they are)."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.call(method, target, "Content-Type: application/json", *lines, token=token, body=body, **options)

    def head(self, method: str, target: str, *lines: str, token: str | None = None, body: bytes = b"") -> bytes:
        """Return the bytes of a request with the token of client *token*, or *token* itself, or none."""
        if token is not None:
            lines = (*lines, f"Authorization: Bearer {self.tokens.get(token, token)}")
        return request(method, target, *lines, body=body)

    def worker_of(self, wire: Wire) -> int:
        """Return the process id of the worker that serves *wire*, which must have been answered once."""
        address, port = wire.sock.getsockname()
        here, there = (_hexadecimal(*pair) for pair in (("127.0.0.1", self.port), (address, port)))
        for pid in self.workers():
            for line in Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
                parts = line.split()
                if (parts[1], parts[2]) == (here, there) and _holds(pid, parts[9]):
                    return pid
        raise AssertionError("no worker holds the connection")

    @contextmanager
    def one_wire_for_each_worker(self, workers: int | None = None):
        """Yield a list of kept-alive connections, one to each worker; AssertionError when some worker takes none."""
        wanted = workers or len(self.workers())
        with ExitStack() as stack:
            found: dict[int, Wire] = {}
            for _ in range(64):
                wire = stack.enter_context(self.wire())
                wire.send(request("GET", "/health/ready"))
                assert wire.answer().status == 200
                found.setdefault(self.worker_of(wire), wire)
                if len(found) == wanted:
                    break
            assert len(found) == wanted, f"64 connections went to {len(found)} of {wanted} workers"
            yield list(found.values())


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(claim, timeout_s: float = 1.0, every_s: float = 0.02) -> bool:
    """Tell whether *claim* comes true within *timeout_s*."""
    until = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > until:
            return False
        time.sleep(every_s)
    return True


def _hexadecimal(address: str, port: int) -> str:
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"


def _holds(pid: int, inode: str) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                return True
    return False
