"""The real portal beside a gateway, as two daemons of one store."""

import json
import os
import signal
import subprocess
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

from running import START_S, eventually


class PortalProcess:
    """``entrepot run portal`` with the settings of the gateway *daemon*, and what clients ask of it.

    A context manager: it runs inside.
    """

    def __init__(self, daemon):
        self.daemon = daemon
        self.log_path = daemon.directory / "portal.log"
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_exception):
        self.stop()

    def start(self) -> None:
        """Start it, and return when it answers through the gateway."""
        with self.log_path.open("ab") as log:
            command = self.daemon.command("run", "portal")
            self.process = subprocess.Popen(command, stdout=log, stderr=log, process_group=0)
        ready = eventually(lambda: self.daemon.call("GET", "/.well-known/jwks.json").status == 200, START_S, 0.1)
        assert ready, f"the portal does not answer:\n{self.log()[-4000:]}"

    def workers(self) -> set[int]:
        """Return the process ids of the workers."""
        pid = self.process.pid
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()))

    def stop(self) -> int:
        """Stop it and return its exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.terminate()
        try:
            return self.process.wait(START_S)
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill it, with all its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def log(self) -> str:
        """Return all that it has written."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def secret(self, client: str, label: str = "") -> str:
        """Return a new secret of *client*."""
        return self.daemon.credential("secret", client, label).text

    def post(self, path: str, *lines: str, basic=None, body=None, source="127.0.0.1", **form):
        """Return the answer to *form*, or to *body* as it is, with the name and secret *basic*, from *source*."""
        if basic is not None:
            lines = (*lines, f"Authorization: Basic {b64encode(':'.join(basic).encode()).decode()}")
        content = urlencode(form).encode() if body is None else body
        if not any(line.lower().startswith("content-type") for line in lines):
            lines = (*lines, "Content-Type: application/x-www-form-urlencoded")
        return self.daemon.call("POST", path, *lines, body=content, source=source)

    def token(self, client: str, secret: str, **form) -> str:
        """Return a fresh token of *client*."""
        answer = self.post("/oauth/token", basic=(client, secret), grant_type="client_credentials", **form)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["access_token"]
