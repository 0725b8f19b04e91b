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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from bench import Bench
from children import family, free_port
from entrepot.services import Services
from entrepot.settings import load_settings
from figures import BenchError
from load import Target

CLIENTS = 200
SCOPE = "bench.read"
_START_S = 30.0
ENTREPOT = (sys.executable, "-P", "-m", "entrepot.cli.main")
_SETTINGS = """[store]
directory = {home}/store
[gateway]
bind = 127.0.0.1:{port}
workers = {workers}
graceful_timeout = 2s
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


def start_subject(
    bench: Bench, name: str, catalog: str, *, workers: int = 1, cpus: str = "0", clients: int = CLIENTS,
    partner: str = "name: Bench",
) -> Subject:  # fmt: skip
    """Start a gateway that serves *catalog* (YAML without partners: those are added here) on processors *cpus*.

    *partner* is what stands in its only partner beside the clients, as YAML.
    """
    home = bench.home / name
    home.mkdir()
    port = free_port()
    settings = home / "entrepot.ini"
    settings.write_text(_SETTINGS.format(home=home, port=port, workers=workers))
    (home / "catalog.yaml").write_text(catalog + partners(clients, partner))
    apply(home, "1")
    tokens = _issue_tokens(home)
    child = bench.children.start(
        *ENTREPOT, "run", "gateway", "--settings", str(settings), cpus=cpus, log=home / "log", env=environment()
    )
    subject = Subject(home, port, tokens, child)
    _wait_until_ready(subject, workers)
    return subject


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


def _issue_tokens(home: Path) -> Path:
    # What `entrepot token issue` does, 200 times in one process.
    with Services.from_settings(load_settings(home / "entrepot.ini", environ={})) as services:
        clients = services.catalog().clients.values()
        made = [services.desk.issue(client, scopes=None, expires_s=43_200, by="bench").token for client in clients]
    path = home / "tokens"
    path.write_text("".join(f"{token}\n" for token in made))
    return path


def _wait_until_ready(subject: Subject, workers: int) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and subject.child.poll() is None:
        try:
            if subject.revision() and _serving(subject) == workers:
                return
        except OSError:
            pass
        time.sleep(0.05)
    last = (subject.home / "log").read_text(errors="replace").splitlines()[-8:]
    raise BenchError("\n    ".join(["the gateway does not serve", *last]))


def _serving(subject: Subject) -> int:
    # A worker writes its metrics for the first time when its loop turns, up to a second after it began to serve.
    metrics = subject.home / "store" / "metrics"
    return sum((metrics / f"gateway-{pid}.json").exists() for pid in subject.workers)
