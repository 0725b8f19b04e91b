"""A gateway, its couriers and the witness behind them, each of which may be killed and is started again."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

from fault_catalog import catalog
from fault_erp import Erp, erp_catalog
from fault_ledger import Ledger
from fault_senders import Load, Sender, things
from running import START_S, Daemon, eventually

from ports import held_port

HERE = Path(__file__).parent
LEASE_S = 3.0
SETTINGS = f"[courier]\nlease = {LEASE_S:g}s\n"
CLIENTS = ("shop", "rival", "depot")
HOARDER = "hoarder"


def clock(ahead_s: float) -> dict[str, str]:
    """Return what the environment of a process needs so that its clock is *ahead_s* off."""
    return {"PYTHONPATH": str(HERE / "clock"), "FAULT_CLOCK_AHEAD_S": str(ahead_s)} if ahead_s else {}


class Witness:
    """The upstream's process. What it has written to its log outlives it."""

    def __init__(self, directory: Path):
        self.port = held_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "witness.jsonl"
        self._behaviour = {"mode": "ok"}
        self.start()

    def start(self) -> None:
        """Start it, or start it again at the same place; it behaves as before."""
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "fault_witness.py"), str(self.port), str(self.log)]
        )
        assert eventually(self._is_told, START_S), "the witness does not start"

    def behave(self, mode: str, **more) -> None:
        """Behave as *mode* says from now on; see ``fault_witness``."""
        self._behaviour = {"mode": mode, **more}
        peer = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(peer):
            peer.request("PUT", "/-/mode", json.dumps(self._behaviour))
            assert peer.getresponse().status == 200

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def count(self) -> int:
        """Return how many requests it has written down."""
        return self.log.read_bytes().count(b"\n") if self.log.exists() else 0

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(START_S)

    def _is_told(self) -> bool:
        try:
            self.behave(**self._behaviour)
        except OSError:
            return False
        return True


class Courier:
    """``entrepot run courier`` as a child process. Its clock is *ahead_s* off."""

    def __init__(self, daemon: Daemon, *, ahead_s: float = 0.0):
        self._daemon = daemon
        self._environment = {**os.environ, **clock(ahead_s)}
        self.log_path = daemon.directory / "courier.log"
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        entrepot = [sys.executable, "-m", "entrepot.cli.main", "--settings", str(self._daemon.settings)]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*entrepot, "run", "courier"], stdout=log, stderr=log, env=self._environment
            )

    @property
    def pid(self) -> int:
        """The process that delivers."""
        return self.process.pid

    def send(self, how: int) -> None:
        """Send it the signal *how*."""
        with suppress(ProcessLookupError):
            self.process.send_signal(how)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = START_S) -> int:
        """Ask it to end, and return its exit code; kill it when it does not."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def log(self) -> str:
        """Return all that couriers of this gateway have written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")


class Rig:
    """Everything that a test needs, in a directory of its own: with *has_erp* an ERP beside the witness, too."""

    def __init__(
        self, directory: Path, *, seed: int, workers: int = 2, couriers: int = 1, settings: str = "",
        has_erp: bool = False, **upstream,
    ):  # fmt: skip
        self.directory = directory
        self.seed = seed
        self.witness = Witness(directory)
        self.daemon = Daemon(directory, workers=workers)
        (directory / "conf.d").mkdir()
        (directory / "conf.d" / "test.ini").write_text(SETTINGS + settings, encoding="utf-8")
        self.document = catalog(self.witness.url, **upstream)
        self.erp = Erp(directory) if has_erp else None
        if has_erp:
            for part, entries in erp_catalog(self.erp).items():
                self.document[part] |= entries
        self.ledger = Ledger.of_store(self.daemon.store)
        self.couriers: list[Courier] = []
        self._wanted_couriers = couriers
        self._senders: list[Sender] = []

    def begin(self) -> None:
        """Bring the catalog in, start gateway and couriers, and make the tokens."""
        self.daemon.apply("catalog.yaml", self.document)
        self.daemon.start()
        self.daemon.wait_ready()
        for client in (*CLIENTS, HOARDER):
            self.daemon.tokens[client] = self.daemon.issue(client)
        for _ in range(self._wanted_couriers):
            self.couriers.append(Courier(self.daemon))

    def end(self) -> None:
        """Stop all of it, whatever state it is in."""
        for courier in self.couriers:
            with suppress(subprocess.TimeoutExpired):
                courier.stop()
        try:
            with suppress(subprocess.TimeoutExpired):
                self.daemon.stop()
        finally:
            self.witness.stop()
            if self.erp is not None:
                self.erp.kill()

    # -- the load

    def load(
        self, senders: int, *paths: str, client: str = "", count: int | None = None, work=things, **options
    ) -> Load:
        """Return *senders* that write what *work* yields to *paths*: *count* times each, or on and on.

        They are *client*, or clients of both partners in turn. A lane is one caller's own, so that its order shows.
        """
        names = [client or CLIENTS[at % len(CLIENTS)] for at in range(senders)]
        made = [
            Sender(
                self.daemon.port, name, self.daemon.tokens[name],
                islice(work(list(paths), f"{self.seed}-{at}"), count), seed=f"{self.seed}-{at}", **options,
            )
            for at, name in enumerate(names)
        ]  # fmt: skip
        self._senders = made
        return Load(made, to_its_end=count is not None)

    def wait_progress(self, timeout_s: float = START_S) -> None:
        """Return when a courier has delivered something more."""
        before = self.ledger.states().get("delivered", 0)
        assert eventually(lambda: self.ledger.states().get("delivered", 0) > before, timeout_s, 0.01), (
            f"at {time.strftime('%X')} nothing was delivered for {timeout_s:g} s: {self.ledger.states()}\n"
            f"{self._told()}"
        )

    def _told(self) -> str:
        """Return what everybody has to say of a standstill: clients, gateway and couriers."""
        clients = [
            f"{sender.failed or 'well'}, {len(sender.writes)} writes, the last: {sender.writes[-1:]}"
            for sender in self._senders
        ]
        running = [self.daemon.process.poll(), *(courier.process.poll() for courier in self.couriers)]
        logs = (self.daemon.log(), *(courier.log() for courier in self.couriers[:1]))
        return "\n".join([*clients, f"exit codes: {running}", *(text[-3000:] for text in logs)])

    # -- the faults

    def restart_gateway(self, *, ahead_s: float) -> None:
        """Stop the gateway in an orderly way, and start it with a clock that is *ahead_s* off."""
        self.daemon.stop()
        before = {name: os.environ.get(name) for name in clock(1.0)}
        os.environ.update(clock(ahead_s))
        try:
            self.daemon.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        self.daemon.wait_ready()

    def kill_worker(self, chosen: int = 0) -> None:
        """Kill one of the gateway's workers; its master starts another."""
        pids = self.daemon.workers()
        if pids:
            with suppress(ProcessLookupError):
                os.kill(pids[chosen % len(pids)], signal.SIGKILL)

    def kill_master(self) -> None:
        """Kill gunicorn's master, and start the gateway again as systemd would: when its workers have gone too."""
        # Stopped first, so that it makes none that would outlive it, and keep its port.
        self.daemon.process.send_signal(signal.SIGSTOP)
        workers = self.daemon.workers()
        self.daemon.process.kill()
        self.daemon.process.wait()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), START_S)
        self.daemon.start()

    def kill_courier(self, chosen: int = 0) -> None:
        """Kill a courier and start it again."""
        courier = self.couriers[chosen % len(self.couriers)]
        courier.kill()
        courier.start()

    def kill_upstream(self, away_s: float) -> None:
        """Kill the witness, and start it again after *away_s*."""
        self.witness.kill()
        pause(away_s)
        self.witness.start()

    def kill_erp(self, away_s: float) -> None:
        """Kill the ERP, and start it again after *away_s*."""
        self.erp.kill()
        pause(away_s)
        self.erp.start()

    def assert_alive(self) -> None:
        """Assert that what should run runs, and that none of it stumbled over its own code."""
        assert self.daemon.process.poll() is None, self.daemon.log()[-3000:]
        assert [courier.process.poll() for courier in self.couriers] == [None] * len(self.couriers), self.couriers[
            0
        ].log()[-3000:]
        for text in (self.daemon.log(), *(courier.log() for courier in self.couriers[:1])):
            assert "Traceback" not in text, text[text.index("Traceback") - 500 :][:3000]


def pause(seconds: float) -> None:
    """Wait; a name for the tests, in which every wait has a reason."""
    time.sleep(seconds)
