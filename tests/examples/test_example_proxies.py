"""The example sites as they stand, in Debian's nginx and HAProxy, with a certificate of a private CA."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import trustme
from example_gateway import CALLER, Echo, process, wait_until

from ports import held_port

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAME = "api.example.com"
# Longer than a health check of HAProxy takes to fail three times.
START_TAKES_S = 7.0
NGINX = """\
daemon off;
pid {home}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/site.conf;
}}
"""


class Proxy:
    """A proxy that listens on *port*, and the root *authority* of its certificate."""

    def __init__(self, port, authority):
        self.port = port
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)

    def call(self, method, path, body=None, *, source=CALLER, to="127.0.0.1", **fields):
        """Return status, header fields and body of the answer to a caller at *source*, who checks the certificate."""
        with socket.create_connection((to, self.port), timeout=10, source_address=(source, 0)) as plain:
            connection = http.client.HTTPConnection(NAME)
            connection.sock = self.context.wrap_socket(plain, server_hostname=NAME)
            with contextlib.closing(connection):
                connection.request(method, path, body, {name.replace("_", "-"): text for name, text in fields.items()})
                answer = connection.getresponse()
                return answer.status, answer.headers, answer.read()


def example(name, behind, port, certificates):
    """Return the text of an example with the places of this run, *behind* being the gateway's port."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    # Only what listens and what is behind differs.
    return re.sub(r"(listen |\[::\]:|bind :::)443\b", rf"\g<1>{port}", text).replace(
        "127.0.0.1:8080", f"127.0.0.1:{behind}"
    ).replace("/etc/ssl/entrepot", str(certificates))  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A private CA, and where the certificate of the gateway's name is."""
    authority, folder = trustme.CA(), tmp_path_factory.mktemp("certificates")
    issued = authority.issue_cert(NAME)
    chain, key = b"".join(blob.bytes() for blob in issued.cert_chain_pems), issued.private_key_pem.bytes()
    return authority, folder, chain, key


@contextlib.contextmanager
def standing(kind, behind, authority, home):
    """Run the proxy *kind* with its example before the gateway on the port *behind*."""
    root, certificates, chain, key = authority
    port = held_port()
    (certificates / f"{NAME}.key").write_bytes(key)
    if kind == "nginx":
        (certificates / f"{NAME}.pem").write_bytes(chain)
        (home / "site.conf").write_text(example("nginx.conf", behind, port, certificates))
        (home / "nginx.conf").write_text(NGINX.format(home=home))
        command = ["/usr/sbin/nginx", "-p", home, "-c", home / "nginx.conf", "-e", "stderr"]
    else:
        (certificates / f"{NAME}.pem").write_bytes(key + chain)
        (home / "haproxy.cfg").write_text(example("haproxy.cfg", behind, port, certificates))
        command = ["/usr/sbin/haproxy", "-db", "-f", home / "haproxy.cfg"]
    with process(command, home / "log"):
        yield Proxy(port, root)


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def proxy(request, gateway, authority, tmp_path_factory):
    """Each of the proxies, with its example."""
    home = tmp_path_factory.mktemp(request.param)
    with standing(request.param, gateway.port, authority, home) as proxy:
        wait_until(lambda: proxy.call("GET", "/health/ready")[0] == 200, (home / "log").read_text)
        yield proxy


def echoed(gateway, proxy, **options):
    """Return what the upstream of the gateway gets of a call through *proxy*."""
    status, _, body = proxy.call("GET", "/v1/echo", Authorization=f"Bearer {gateway.token}", **options)
    assert status == 200, body
    return json.loads(body)["fields"]


@pytest.mark.parametrize("name", ["nginx.conf", "haproxy.cfg"])
def test_a_proxy_has_nothing_to_complain_of(name, gateway, authority, tmp_path):
    _, certificates, chain, key = authority
    (certificates / f"{NAME}.pem").write_bytes(key + chain)
    (certificates / f"{NAME}.key").write_bytes(key)
    (tmp_path / "site.conf").write_text(example(name, gateway.port, held_port(), certificates))
    (tmp_path / "nginx.conf").write_text(NGINX.format(home=tmp_path))
    commands = {
        "nginx.conf": ["/usr/sbin/nginx", "-t", "-q", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"],
        "haproxy.cfg": ["/usr/sbin/haproxy", "-c", "-q", "-f", tmp_path / "site.conf"],
    }

    done = subprocess.run(commands[name], capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(("source", "to", "node"), [(CALLER, "127.0.0.1", CALLER), ("::1", "::1", '"[::1]"')])
def test_the_gateway_knows_who_called(gateway, proxy, source, to, node):
    fields = echoed(gateway, proxy, source=source, to=to)

    assert f"for={node}" in fields["forwarded"]
    assert "proto=https" in fields["forwarded"]
    assert NAME in fields["forwarded"]


def test_what_a_caller_says_of_itself_is_not_believed(gateway, proxy):
    fields = echoed(
        gateway, proxy, Forwarded="for=192.0.2.1;proto=http;host=evil.example", X_Forwarded_For="192.0.2.2",
        X_Request_Id="11111111-1111-4111-8111-111111111111",
    )  # fmt: skip

    assert f"for={CALLER}" in fields["forwarded"]
    assert "192.0.2" not in str(fields)
    assert "evil.example" not in str(fields)
    assert not fields["x-request-id"].startswith("11111111-")


def test_a_caller_that_passes_the_proxy_by_is_not_believed(gateway):
    status, text = gateway.get("/v1/echo", Authorization=f"Bearer {gateway.token}", Forwarded="for=192.0.2.1")

    assert status == 200
    fields = json.loads(text)["fields"]
    assert "192.0.2.1" not in str(fields)
    assert f"for={CALLER}" in fields["forwarded"]


def test_metrics_are_not_for_partners(gateway, proxy):
    assert gateway.get("/metrics")[0] == 200
    assert proxy.call("GET", "/metrics")[0] == 404


def test_tokens_are_given_out(proxy):
    status, _, body = proxy.call("GET", "/.well-known/oauth-authorization-server")

    assert status == 200
    assert json.loads(body)["issuer"] == f"https://{NAME}"


def test_a_large_body_passes(gateway, proxy):
    body = bytes(900_000)

    status, _, answer = proxy.call("POST", "/v1/echo", body, Authorization=f"Bearer {gateway.token}")

    assert (status, json.loads(answer)["length"]) == (200, len(body))


@pytest.mark.parametrize("kind", ["nginx", "haproxy"])
def test_callers_wait_for_a_gateway_that_starts(kind, authority, tmp_path):
    # As systemd's socket is while nobody serves yet: open, and nobody takes a connection from it.
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Echo) as starting,
        ThreadPoolExecutor() as callers,
        standing(kind, starting.server_port, authority, tmp_path) as proxy,
    ):
        wait_until(lambda: reached(proxy), (tmp_path / "log").read_text)
        time.sleep(START_TAKES_S)
        calls = [callers.submit(proxy.call, "GET", "/v1/echo") for _ in range(5)]

        assert not wait(calls, timeout=1, return_when=FIRST_COMPLETED).done
        Thread(target=starting.serve_forever, kwargs={"poll_interval": 0.05}).start()
        assert [call.result()[0] for call in calls] == [200] * 5
        starting.shutdown()


def reached(proxy):
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10):
        return True


def test_a_certificate_of_another_authority_is_refused(proxy):
    stranger = Proxy(proxy.port, trustme.CA())

    with pytest.raises(ssl.SSLCertVerificationError):
        stranger.call("GET", "/health/ready")
