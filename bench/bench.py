"""What every section of a run has at hand: how long, how often, where to write, and who is to be stopped at its end."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from children import Children, free_port, wait_for_port
from configs import UPSTREAM


@dataclass(frozen=True, slots=True)
class Bench:
    """The surroundings of one section. *home* is empty and its own; *cache* outlives the run (the peers' packages).

    *backlog* is how many transactions wait in a full ledger; *clients* and *revoked* tokens are very many.
    """

    home: Path
    cache: Path
    children: Children
    rounds: int
    seconds: float
    backlog: int = 100_000
    clients: int = 100_000
    revoked: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Upstream:
    """The system behind the gateway and its peers: nginx, which answers at once, or after ten seconds under /slow."""

    port: int
    child: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Return its base URL."""
        return f"http://127.0.0.1:{self.port}"


def start_upstream(bench: Bench, *, cpus: str = "1", workers: int = 1) -> Upstream:
    """Start the upstream and return when it listens."""
    port = free_port()
    home = bench.home / f"upstream-{port}"
    home.mkdir()
    config = home / "nginx.conf"
    reuse = "reuseport" if workers > 1 else ""
    config.write_text(UPSTREAM % {"home": home, "port": port, "workers": workers, "reuse": reuse})
    child = bench.children.start("nginx", "-c", str(config), cpus=cpus, log=home / "log")
    wait_for_port(port, child, home / "log")
    return Upstream(port, child)
