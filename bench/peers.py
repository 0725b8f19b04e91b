"""Gateways that a user could pick instead, each doing the same work per request.

Read a bearer JWT (HS256), check signature and expiry, count the request against a rate, add a request id, call the
upstream over a kept connection, write an access log.

``haproxy``: HAProxy with ``jwt_verify`` and a stick table, the practical limit (it writes no log). ``nginx-lua``: nginx
and LuaJIT, the engine that Kong is built on, without Kong's plugin machinery. ``flask-requests``: Flask,
Flask-JWT-Extended and requests under gunicorn's threads, as the predecessors were built. ``bare``: ``bare.py``, the
ceiling for Python.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import Bench
from children import free_port, wait_for_port
from configs import FLASK, HAPROXY, NGINX_LUA
from figures import BenchError
from load import Target

KEY = "secretsecretsecretsecretsecretsecret"
CLIENTS = 200
_PACKAGES = ("gunicorn", "flask", "requests", "flask-jwt-extended", "uvloop", "httptools")
Starter = Callable[[Bench, Path, int, int], subprocess.Popen[bytes]]


def start_peers(bench: Bench, upstream_port: int) -> dict[str, Target]:
    """Start every peer on processor 0 and return where its load goes."""
    home = bench.home / "peers"
    home.mkdir()
    tokens = home / "tokens"
    tokens.write_text("".join(f"{hs256_token(f'partner-{at}')}\n" for at in range(CLIENTS)))
    targets = {}
    for name, start in PEERS.items():
        port = free_port()
        child = start(bench, home, port, upstream_port)
        wait_for_port(port, child, home / "log")
        targets[name] = Target(f"http://127.0.0.1:{port}/v1/items/1", child.pid, tokens)
    return targets


def hs256_token(subject: str) -> str:
    """Return a JWT that every peer accepts, valid for one day."""
    now = int(time.time())
    claims = {
        "sub": subject, "jti": f"{subject}-1", "iat": now, "exp": now + 86_400, "type": "access", "fresh": False,
    }  # fmt: skip
    signed = _base64(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + _base64(json.dumps(claims).encode())
    return (signed + b"." + _base64(hmac.new(KEY.encode(), signed, hashlib.sha256).digest())).decode()


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _start_haproxy(bench: Bench, home: Path, port: int, upstream: int) -> subprocess.Popen[bytes]:
    config = _written(home / "haproxy.cfg", HAPROXY, port, upstream)
    return bench.children.start("haproxy", "-f", str(config), "-db", cpus="0", log=home / "log")


def _start_nginx(bench: Bench, home: Path, port: int, upstream: int) -> subprocess.Popen[bytes]:
    config = _written(home / "nginx.conf", NGINX_LUA, port, upstream)
    return bench.children.start("nginx", "-c", str(config), cpus="0", log=home / "log")


def _start_flask(bench: Bench, home: Path, port: int, upstream: int) -> subprocess.Popen[bytes]:
    _written(home / "peer_flask.py", FLASK, port, upstream)
    return bench.children.start(
        program(bench.cache, "gunicorn"), "-b", f"127.0.0.1:{port}", "-w1", "-k", "gthread", "--threads", "8",
        "--keep-alive", "60", "--access-logfile", str(home / "flask.log"), "--no-control-socket", "peer_flask:app",
        cpus="0", log=home / "log", cwd=home,
    )  # fmt: skip


def _start_bare(bench: Bench, home: Path, port: int, upstream: int) -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("bare.py")
    return bench.children.start(
        program(bench.cache, "python"), str(script), str(port), str(upstream), KEY, str(home / "bare.log"),
        cpus="0", log=home / "log",
    )  # fmt: skip


PEERS: Mapping[str, Starter] = {
    "haproxy": _start_haproxy,
    "nginx-lua": _start_nginx,
    "flask-requests": _start_flask,
    "bare": _start_bare,
}


def _written(path: Path, template: str, port: int, upstream: int) -> Path:
    values = {"home": path.parent, "port": port, "upstream": upstream, "key": KEY, "now": int(time.time())}
    path.write_text(template % values)
    return path


def program(cache: Path, name: str) -> str:
    """Return the path of *name* in the virtual environment of the Python peers, which is made on first use."""
    venv = cache / "venv"
    ready = venv / "ready"
    if not ready.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True, capture_output=True)
            pip = [str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *_PACKAGES]
            subprocess.run(pip, check=True, capture_output=True, text=True, timeout=300)
        except subprocess.SubprocessError as exc:
            raise BenchError(f"the packages of the Python peers cannot be installed: {exc}") from exc
        ready.touch()
    return str(venv / "bin" / name)
