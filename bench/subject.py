"""The gateway under test: a store, a catalog, tokens, and ``entrepot run gateway``, as an operator would start it.

On are: a rate for each of 200 clients, which the load does not reach, the access log (into a file), metrics and
operation ids.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from bench import Bench
from children import family, free_port
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor
from figures import BenchError
from load import Target

CLIENTS = 200
SCOPE = "bench.read"
ACTOR = Actor("bench", "command", "")
TOKENS_S = 43_200
_START_S = 120.0
ENTREPOT = (sys.executable, "-P", "-m", "entrepot.cli.main")
_SETTINGS = """[store]
directory = {home}/store
[gateway]
bind = 127.0.0.1:{port}
workers = {workers}
graceful_timeout = 2s
[tokens]
per_minute = 1000000
[log]
target = stderr
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """One running gateway. *tokens* is a file of access tokens, one a line."""

    home: Path
    port: int
    tokens: Path
    child: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        return family(self.child.pid)[1:]

    @property
    def worker(self) -> int:
        """Return the process id of the only worker."""
        (pid,) = self.workers
        return pid

    def target(self, path: str = "v1/items/1") -> Target:
        """Return where load goes, with all tokens."""
        return Target(f"{self.url}/{path}", self.child.pid, self.tokens)

    def revision(self) -> int:
        """Return the revision in force in the worker that answers."""
        with urllib.request.urlopen(f"{self.url}/status", timeout=5) as answer:
            return int(json.load(answer)["revision"])

    def requests(self, path: str) -> Iterator[bytes]:
        """Yield requests for *path* without end, those of all clients in turn: none reaches its rate."""
        for token in cycle(self.tokens.read_text().split()):
            yield f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Store:
    """A store with a catalog in force, and settings of a gateway with so many *workers* that shall serve from it."""

    home: Path
    port: int
    workers: int

    def services(self) -> Services:
        """Return what the command line works with."""
        return Services.from_settings(load_settings(self.home / "entrepot.ini", environ={}))


def start_subject(
    bench: Bench, name: str, catalog: str, *, workers: int = 1, cpus: str = "0", clients: int = CLIENTS,
    partner: str = "name: Bench",
) -> Subject:  # fmt: skip
    """Start a gateway that serves *catalog* (YAML without partners: those are added here) on processors *cpus*.

    *partner* is what stands in its only partner beside the clients, as YAML.
    """
    store = lay_out(bench, name, catalog + partners(clients, partner), workers=workers)
    with store.services() as services:
        tokens = issue_tokens(services)
    return serve(bench, store, tokens, cpus=cpus)


def lay_out(bench: Bench, name: str, catalog: str, *, workers: int = 1) -> Store:
    """Make a store and bring *catalog* (YAML) in."""
    home = bench.home / name
    home.mkdir()
    store = Store(home, free_port(), workers)
    (home / "entrepot.ini").write_text(_SETTINGS.format(home=home, port=store.port, workers=workers))
    (home / "catalog.yaml").write_text(catalog)
    apply(home, "1")
    return store


def serve(bench: Bench, store: Store, tokens: Sequence[str], *, cpus: str = "0") -> Subject:
    """Start the gateway of *store* on processors *cpus*; *tokens* are what its load shows."""
    path = store.home / "tokens"
    path.write_text("".join(f"{token}\n" for token in tokens))
    child = start_daemon(bench, store, "gateway", cpus=cpus)
    subject = Subject(store.home, store.port, path, child)
    _wait_until_ready(subject, store.workers)
    return subject


def start_daemon(bench: Bench, store: Store, name: str, *, cpus: str) -> subprocess.Popen[bytes]:
    """Start ``entrepot run`` *name* on processors *cpus*."""
    settings = str(store.home / "entrepot.ini")
    log = store.home / ("log" if name == "gateway" else f"{name}.log")
    return bench.children.start(*ENTREPOT, "run", name, "--settings", settings, cpus=cpus, log=log, env=environment())


def partners(clients: int, partner: str = "name: Bench") -> str:
    """Return the part of a catalog that says who calls: a partner with *clients* clients, each with a rate."""
    names = (f"      c{at:03}: {{scopes: [{SCOPE}], rate: {{per_second: 5000, burst: 500}}}}" for at in range(clients))
    return f"partners:\n  bench:\n    {partner}\n    clients:\n" + "\n".join(names) + "\n"


def relays(upstream_url: str, *, concurrency: int = 1024) -> str:
    """Return the catalog of the relay measurements: ``/v1/items/{id}``."""
    return f"""upstreams:
  up: {{kind: http, url: "{upstream_url}", concurrency: {concurrency}}}
endpoints:
  items: {{path: "/v1/items/{{id}}", upstream: up, relay: "/v1/items/{{id}}", methods: [GET], scopes: [{SCOPE}]}}
"""


def apply(home: Path, cpus: str) -> float:
    """Bring ``catalog.yaml`` of *home* in by the command line, on processors *cpus*; return the seconds it took."""
    command = ["taskset", "-c", cpus, *ENTREPOT, "apply", "--settings", str(home / "entrepot.ini"), "--json"]
    begin = time.monotonic()
    done = subprocess.run(
        [*command, str(home / "catalog.yaml")], capture_output=True, text=True, env=environment(), check=False
    )
    took_s = time.monotonic() - begin
    if done.returncode:
        raise BenchError(f"entrepot apply: {done.stderr.strip()}")
    return took_s


def environment() -> dict[str, str]:
    """Return the environment of the gateway: without settings that would go over those of the run."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "CONFIG_SOURCE"))}


def issue_tokens(services: Services) -> list[str]:
    """Return a token of each client: what ``entrepot token issue`` does, 200 times in one process."""
    clients, desk = services.catalog().clients.values(), services.desk
    return [desk.issue(client, scopes=None, expires_s=TOKENS_S, actor=ACTOR).token for client in clients]


def _wait_until_ready(subject: Subject, workers: int) -> None:
    end, why = time.monotonic() + _START_S, f"there are no {workers} workers with a catalog"
    while time.monotonic() < end and subject.child.poll() is None:
        try:
            if subject.revision() and _serving(subject) == workers:
                return
        except OSError as exc:
            why = str(exc)
        time.sleep(0.05)
    last = (subject.home / "log").read_text(errors="replace").splitlines()[-8:]
    raise BenchError("\n    ".join([f"the gateway does not serve: {why}", *last]))


def _serving(subject: Subject) -> int:
    # A worker writes its metrics for the first time when its loop turns, up to a second after it began to serve.
    metrics = subject.home / "store" / "metrics"
    return sum((metrics / f"gateway-{pid}.json").exists() for pid in subject.workers)
