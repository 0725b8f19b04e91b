"""The real console, as a process with a store of its own."""

import subprocess
import sys
import time

import requests
from console_support import CATALOG, PASSWORD

import commands
from ports import held_port

START_S = 60


class ConsoleProcess:
    """``entrepot run console`` with its files in the directory *home*."""

    def __init__(self, home):
        self.home = home
        self.port = held_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.process = None
        self.write_settings(f"127.0.0.1:{self.port}")
        (home / "catalog.yaml").write_text(CATALOG)

    def write_settings(self, bind):
        """Write the settings with the console at *bind*."""
        (self.home / "entrepot.ini").write_text(
            f"[store]\ndirectory = {self.home}/store\n[gateway]\npublic_url = http://gateway.example\n"
            f"[console]\nbind = {bind}\n[log]\ntarget = stderr\n"
        )

    def entrepot(self, *arguments, stdin=""):
        """Run a command, which must go well."""
        done = commands.run("--settings", self.home / "entrepot.ini", *arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def spawn(self):
        """Start it."""
        with (self.home / "log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "entrepot.cli.main", "--settings", str(self.home / "entrepot.ini")]
            self.process = subprocess.Popen([*command, "run", "console"], stdout=log, stderr=log)

    def start(self):
        """Start it, and return when it answers."""
        self.spawn()
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            try:
                requests.get(f"{self.base}/status", timeout=5)
            except requests.ConnectionError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(self.log())

    def stop(self):
        """Stop it and return its exit code."""
        self.process.terminate()
        return self.process.wait(30)

    def log(self):
        """Return all that it has written."""
        return (self.home / "log").read_text(errors="replace")

    def token(self, name="ada"):
        """Sign *name* in, as a script does, and return the token."""
        credentials = {"name": name, "password": PASSWORD, "cookie": False}
        signed = requests.post(f"{self.base}/api/v1/session", json=credentials, timeout=30)
        assert signed.status_code == 201, signed.text
        return signed.json()["data"]["token"]
