"""A store with a catalog, an HTTP upstream that notes every request before it answers, and couriers as processes."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from entrepot.catalog.plans import plan_of
from entrepot.catalog.snapshot import read_snapshot
from entrepot.chassis.shared import SharedState
from entrepot.ledger import operate, reading
from entrepot.ledger.acceptance import accept
from entrepot.ledger.claim import claim
from entrepot.ledger.entries import Acceptance, ClaimRequest, NewTransaction, Quota, new_id
from entrepot.ledger.losses import reclaim
from entrepot.store.engine import open_database

PATIENCE_S = 60.0
"""How long a busy machine may take to start a courier, and to let a lease run out."""
SETTINGS = """\
[store]
directory = {directory}/store
[gateway]
bind = 127.0.0.1:{port}
workers = 1
public_url = http://gateway.test
graceful_timeout = 2s
[portal]
bind = unix:{sockets}/portal
[console]
bind = unix:{sockets}/console
[courier]
lease = {lease_s}s
graceful_timeout = 1s
[log]
target = stderr
"""


@dataclass
class Received:
    """One request; *key* is its Idempotency-Key."""

    method: str
    path: str
    key: str
    body: bytes
    fields: dict
    at: float = field(default_factory=time.monotonic)


@dataclass
class Reply:
    """What a script answers; None hangs the request up without an answer."""

    status: int = 200
    body: bytes = b'{"ok":true}'
    fields: dict = field(default_factory=dict)


class Receiver:
    """An HTTP upstream. *script* is asked for each request, which is in *received* by then."""

    def __init__(self, port=0):
        self.received = []
        self.script = lambda _request: Reply()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                receiver.serve(self)

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 512

            def handle_error(self, *arguments):
                pass

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def serve(self, handler):
        """Note the request, and answer as the script says."""
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        key = handler.headers.get("idempotency-key", "")
        request = Received(handler.command, handler.path, key, body, dict(handler.headers))
        self.received.append(request)
        reply = self.script(request)
        if reply is None:
            handler.close_connection = True
            return
        data = b"".join(
            [
                b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\n" % (reply.status, len(reply.body)),
                *(f"{name}: {value}\r\n".encode() for name, value in reply.fields.items()),
                b"content-type: application/json\r\n\r\n",
                reply.body,
            ]
        )
        with suppress(OSError):
            handler.wfile.write(data)

    @property
    def bodies(self):
        """The bodies that came, in order."""
        return [request.body.decode() for request in self.received]

    @property
    def keys(self):
        """The keys that came, in order."""
        return [request.key.strip('"') for request in self.received]

    def close(self):
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()


class Stand:
    """A store of its own; *post* is the relay endpoint that most work is of."""

    def __init__(self, directory: Path, port: int, *, lease_s=2.0):
        self.directory = directory
        self.settings = directory / "entrepot.ini"
        # The path of a socket has 107 bytes at most (unix(7)), and the name of a test alone may have as many.
        self._sockets = TemporaryDirectory()
        self.settings.write_text(
            SETTINGS.format(directory=directory, sockets=self._sockets.name, port=port, lease_s=lease_s)
        )
        self.log_path = directory / "log"
        self.processes = []
        self._database = None
        self._counter = None

    # -- set up

    def configure(self, text):
        """Let the settings *text* hold for the daemons that start from now on."""
        (self.directory / "conf.d").mkdir()
        (self.directory / "conf.d" / "test.ini").write_text(text)

    def entrepot(self, *arguments):
        """Run a command on this store."""
        done = subprocess.run(self._command(*arguments), check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apply(self, document):
        """Bring the catalog *document* in."""
        path = self.directory / "catalog.yaml"
        path.write_text(json.dumps(document))
        self.entrepot("apply", "--prune", str(path))

    def _command(self, *arguments):
        return [sys.executable, "-m", "entrepot.cli.main", "--settings", str(self.settings), *arguments]

    def run(self, daemon="courier"):
        """Start a daemon and return its process."""
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(self._command("run", daemon), stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def log(self):
        """Return what the daemons wrote."""
        return self.log_path.read_text()

    def close(self):
        """End what was started."""
        for process in self.processes:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.wait()
        if self._database is not None:
            self._database.close()
        self._sockets.cleanup()

    # -- the ledger

    @property
    def database(self):
        """The test's own connections to the store."""
        if self._database is None:
            self._database = open_database(f"sqlite:///{self.directory}/store/entrepot.db")
        return self._database

    def put(self, *bodies, endpoint="notes", kind="relay", method="POST", order_key=None, partner="acme", **facts):
        """Accept a transaction for each of *bodies*, as a worker does, and return their ids."""
        catalog = read_snapshot(self.directory / "store" / "snapshot.json")
        entry, now = catalog.endpoints[endpoint], time.time()
        client = next(client.name for client in catalog.clients.values() if client.partner == partner)
        variables = facts.get("variables", {})
        plan = plan_of(entry, kind, method, tuple(variables)).text()
        told = {"variables": {}, "values": {}, "fields": "content-type: application/json\r\n", "query": "", **facts}
        items = [
            Acceptance(
                NewTransaction(
                    id=new_id(), partner=partner, client=client, endpoint=endpoint, upstream=entry.upstream, kind=kind,
                    operation_id="00000000-0000-4000-8000-000000000000", plan=plan, target=f"{method} /v1/{endpoint}",
                    facts=told, body=body.encode(), order_key=order_key, accepted_at=now,
                    expires_at=now + entry.retry.age_s, due_at=now,
                ),
                Quota(),
                when="always",
            )
            for body in bodies
        ]  # fmt: skip
        with self.database.writing() as connection:
            admitted = accept(connection, items, now)
        self.tell()
        return [admission.id for admission in admitted]

    def tell(self):
        """Wake the couriers."""
        if self._counter is None:
            self._counter = SharedState.open(self.directory / "store" / "shared").counter("ledger")
        self._counter.bump()

    def sight(self, id_):
        """Look at a transaction."""
        with self.database.reading() as session:
            return reading.one(session.connection(), id_, None)

    def states(self, ids):
        """Return the states of *ids*, in order."""
        return [self.sight(id_).state for id_ in ids]

    def wait_state(self, ids, state, timeout_s=PATIENCE_S):
        """Return when all of *ids* have *state*."""
        assert eventually(lambda: set(self.states(ids)) == {state}, timeout_s), (
            f"{[self.sight(id_) for id_ in ids if self.sight(id_).state != state][:3]}\n{self.log()[-3000:]}"
        )

    def lose(self, ids, times):
        """Let *times* couriers be lost with *ids*, which alone are due; soon afterwards they are due again."""
        now = time.time()
        for _ in range(times):
            with self.database.writing() as connection:
                (leases,) = claim(connection, [ClaimRequest("carrier", len(ids), "gone", 0.1)], now)
                assert [lease.id for lease in leases] == ids
                now += 0.2
                assert reclaim(connection, now) == len(ids)

    def hold(self, upstream="*", reason="maintenance"):
        """Hold deliveries."""
        with self.database.writing() as connection:
            operate.hold(connection, upstream, reason, "", None, time.time())

    def release(self, upstream="*"):
        """End the hold."""
        with self.database.writing() as connection:
            operate.release(connection, upstream, time.time())
        self.tell()

    def holds(self):
        """Return what is held."""
        with self.database.reading() as session:
            return operate.holds(session.connection())


def relay_catalog(url, **upstream):
    """Return a catalog with an HTTP upstream at *url*, two relay endpoints and two partners."""
    spec = {"kind": "http", "url": url, "concurrency": 8, "timeout": "20s", **upstream}
    relay = {"upstream": "carrier", "methods": ["POST"], "write": "queue", "scopes": ["w"], "order": "none"}
    retry = {"first": "200ms", "factor": 1, "ceiling": "200ms", "age": "1h"}
    return {
        "upstreams": {"carrier": spec},
        "endpoints": {
            "notes": {**relay, "path": "/v1/notes", "relay": "/notes", "retry": retry},
            "brief": {**relay, "path": "/v1/brief", "relay": "/brief", "retry": {**retry, "age": "3s"}},
        },
        "partners": {
            "acme": {"name": "Acme", "clients": {"shop": {"scopes": ["w"]}}},
            "bolt": {"name": "Bolt", "clients": {"bolts": {"scopes": ["w"]}}},
        },
    }


def eventually(claim, timeout_s=PATIENCE_S, every_s=0.02):
    """Tell whether *claim* comes true within *timeout_s*: it is false when it was asked for later and did not hold."""
    until = time.monotonic() + timeout_s
    while True:
        asked = time.monotonic()
        if claim():
            return True
        if asked > until:
            return False
        time.sleep(every_s)


def is_ready(port):
    """Tell whether a gateway serves at *port*."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def cpu_s(process):
    """Return the processor time that *process* has used, in seconds."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
