"""The real daemon as a child process, what is done to its store, and what tests ask of it."""

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

import commands
from entrepot.declarative import apply as applying
from entrepot.declarative.live import LiveTypes
from entrepot.identity.credential import Kind
from entrepot.identity.credentials import MadeCredential
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor
from ports import held_port

ANN = Actor("ann", "command", "0" * 36)
PUBLIC_URL = "http://gateway.test"
WORKERS = 2
START_S = 60.0
"""What a busy machine may take to start a daemon."""
PATIENCE_S = 10
"""For how many seconds a daemon waits for a peer: as long as a busy machine may keep a peer from the processor."""
SETTINGS = """\
[store]
directory = {directory}/store
[gateway]
bind = 127.0.0.1:{port}
workers = {workers}
public_url = {public_url}
trusted = 127.9.0.0/16
header_timeout = {patience_s}s
body_timeout = {patience_s}s
idle_timeout = {idle_s}s
graceful_timeout = 5s
max_header = 8KiB
max_target = 2KiB
max_fields = 40
[tokens]
leeway = 0s
per_minute = 6000
[metrics]
allow = 127.0.0.1/32
[log]
target = stderr
"""


class Daemon:
    """A gateway on a free port with its own directory. ``call`` speaks to it; ``log`` is what it wrote."""

    def __init__(self, directory: Path, *, workers: int = WORKERS, patience_s: int = PATIENCE_S):
        self.directory = directory
        self.patience_s = patience_s
        self.port = held_port()
        self.settings = directory / "entrepot.ini"
        self.log_path = directory / "gateway.log"
        self.password = "s3cret-of-the-erp"
        self.secret = str(directory / "erp-secret")
        self.documents: dict[str, dict] = {}
        self.tokens: dict[str, str] = {}
        self.process: commands.Running | None = None
        self.write_settings(workers=workers)

    @property
    def store(self) -> Path:
        """The directory of the store."""
        return self.directory / "store"

    def write_settings(self, *, workers: int = WORKERS, more: str = "") -> None:
        """Write the settings file, with *more* at its end."""
        text = SETTINGS.format(
            directory=self.directory, port=self.port, workers=workers, public_url=PUBLIC_URL,
            patience_s=self.patience_s, idle_s=2 * self.patience_s,
        )  # fmt: skip
        self.settings.write_text(text + more, encoding="utf-8")

    # -- its store, as commands see it: those do no more, but take a second to come up

    @contextmanager
    def services(self):
        """Give the services of the store."""
        with Services.from_settings(load_settings(self.settings)) as services:
            yield services

    def apply(self, name: str, document: dict) -> int:
        """Bring *document* in as the catalog file *name*, and return the revision. JSON is YAML."""
        path = self.directory / name
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")
        with self.services() as services, LiveTypes(self.store) as ask:
            snapshot = services.snapshot_path
            return applying.apply(services.database, [path], ask=ask, snapshot=snapshot, actor=ANN).revision

    def bring_in(self, name: str, document: dict) -> None:
        """Apply *document*, and return when all workers have it in force."""
        self.wait_in_force(self.apply(name, document))

    def wait_in_force(self, revision: int) -> None:
        """Return when all workers have *revision* in force."""
        said = f"catalog in force revision={revision} "
        assert eventually(lambda: self.log().count(said) == len(self.workers()), START_S)

    def issue(self, client: str) -> str:
        """Return a new token of *client*."""
        with self.services() as services:
            expires_s = services.settings.tokens.expires_s
            named = services.catalog().clients[client]
            return services.desk.issue(named, scopes=None, expires_s=expires_s, actor=ANN).token

    def credential(self, kind: Kind, client: str, label: str = "") -> MadeCredential:
        """Return a new secret or API key of *client*."""
        with self.services() as services:
            return services.credentials.make(kind, services.catalog().clients[client], label=label, actor=ANN)

    # -- the command line

    def entrepot(self, *arguments: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess:
        """Run the program ``entrepot`` with *arguments* and these settings."""
        done = commands.run("--settings", self.settings, *arguments, stdin=stdin)
        assert not check or done.returncode == 0, f"entrepot {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of the program ``entrepot`` with *arguments* and these settings."""
        return [sys.executable, "-m", "entrepot.cli.main", "--settings", str(self.settings), *arguments]

    # -- the process

    def start(self) -> None:
        """Start the daemon; ``wait_ready`` tells when it serves."""
        with self.log_path.open("ab") as log:
            self.process = commands.start("--settings", self.settings, "run", "gateway", output=log)

    def wait_ready(self, timeout_s: float = START_S) -> None:
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

    def stop(self, how: int = signal.SIGTERM, timeout_s: float = START_S) -> int:
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

    def log_lines(self, operation_id: str, timeout_s: float = 10.0) -> list[str]:
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
        ends = tuple(_hexadecimal(*pair) for pair in (("127.0.0.1", self.port), (address, port)))
        for pid in self.workers():
            if any(_holds(pid, inode) for inode in _inodes(pid, ends)):
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
                # On a busy machine it may have been idle for too long before it is looked at, or while others are.
                with suppress(AssertionError):
                    found[self.worker_of(wire)] = wire
                if len(found) == wanted:
                    found = {pid: wire for pid, wire in found.items() if _still_serves(wire)}
                if len(found) == wanted:
                    break
            assert len(found) == wanted, f"64 connections went to {len(found)} of {wanted} workers"
            yield list(found.values())


def eventually(claim, timeout_s: float = 10.0, every_s: float = 0.02) -> bool:
    """Tell whether *claim* comes true within *timeout_s*: it is false when it was asked for later and did not hold."""
    until = time.monotonic() + timeout_s
    while True:
        asked = time.monotonic()
        if claim():
            return True
        if asked > until:
            return False
        time.sleep(every_s)


def _hexadecimal(address: str, port: int) -> str:
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"


def _still_serves(wire: Wire) -> bool:
    with suppress(BrokenAnswerError, OSError):
        wire.send(request("GET", "/health/ready"))
        return wire.answer().status == 200
    return False


def _inodes(pid: int, ends: tuple[str, ...]) -> list[str]:
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return [parts[9] for parts in map(str.split, lines) if (parts[1], parts[2]) == ends]


def _holds(pid: int, inode: str) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                return True
    return False
