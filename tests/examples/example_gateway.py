"""All daemons as the examples want them: they believe ``Forwarded`` of the proxy on 127.0.0.1, and nobody else."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SETTINGS = """\
[store]
directory = {home}/store
[gateway]
bind = 127.0.0.1:{port} [::1]:{port}
workers = 1
public_url = https://api.example.com
trusted = 127.0.0.1
forwarded = forwarded
graceful_timeout = 1s
[portal]
bind = unix:{home}/portal.sock
[console]
bind = unix:{home}/console.sock
[courier]
graceful_timeout = 1s
[log]
target = stderr
"""
CATALOG = """\
upstreams:
  echo: {{kind: http, url: "http://127.0.0.1:{echo}"}}
endpoints:
  echo: {{path: "/v1/echo", methods: [GET, POST], upstream: echo, relay: /, scopes: [echo]}}
partners:
  azure: {{name: Azure, clients: {{shop: {{scopes: [echo]}}}}}}
"""
# An address of this host that is not the proxy's.
CALLER = "127.0.0.2"
PROGRAM = Path(sys.executable).with_name("entrepot")
START_S = 60.0


class Echo(BaseHTTPRequestHandler):
    """Answers with the fields and the length of what it was sent."""

    def do_GET(self):
        length = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        fields = {name.lower(): text for name, text in self.headers.items()}
        page = json.dumps({"fields": fields, "length": length}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


class Gateway:
    """Where the running gateway is, and a *token* for ``/v1/echo``."""

    def __init__(self, home, port):
        self.home, self.port = home, port
        self.settings = home / "entrepot.ini"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}
        self.environment = {**kept, "CONFIG_SOURCE": str(self.settings)}
        self.token = ""

    def entrepot(self, *arguments):
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, env=self.environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def get(self, path, **fields):
        """Return the status and the text of the gateway's own answer to a caller on 127.0.0.2, which is no proxy."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10, source_address=(CALLER, 0))
        with contextlib.closing(connection):
            connection.request("GET", path, headers=fields)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


def wait_until(claim, otherwise):
    """Return once *claim* is true; fail with what *otherwise* says when it is not in time."""
    end = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if claim():
                return
        assert time.monotonic() < end, otherwise()
        time.sleep(0.05)


@contextlib.contextmanager
def process(command, log, **options):
    """Run *command* in a group of its own until the end, its output in the file *log*."""
    with log.open("ab") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(START_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
