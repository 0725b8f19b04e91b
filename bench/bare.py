"""The ceiling for Python: a relay that does the peers' work and nothing else.

asyncio protocols on uvloop with httptools (llhttp) on both sides, no framework, no stages, no streaming, no time-outs,
no limits on input, no error handling worth the name. It is a yardstick for the hot path, not a base to build on.

    python bare.py PORT UPSTREAM_PORT HS256_KEY LOG
"""

import asyncio
import sys
import time
import uuid
from pathlib import Path

import httptools
import jwt
import uvloop

PORT, UPSTREAM_PORT, KEY = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding"}
verified: dict[bytes, dict] = {}
buckets: dict[str, list] = {}
idle: list["Upstream"] = []
access_log = Path(sys.argv[4]).open("ab", buffering=65536)  # noqa: SIM115 - open as long as the process lives


def principal(header: bytes | None) -> dict | None:
    if header is None or not header.startswith(b"Bearer "):
        return None
    claims = verified.get(header)
    if claims is None:
        try:
            claims = verified[header] = jwt.decode(header[7:], KEY, algorithms=["HS256"])
        except jwt.InvalidTokenError:
            return None
    return claims if claims["exp"] > time.time() else None


class Upstream(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def send(self, request, answer):
        self.parser, self.headers, self.body, self.answer = httptools.HttpResponseParser(self), [], [], answer
        self.transport.write(request)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_header(self, name, value):
        self.headers.append((name, value))

    def on_body(self, data):
        self.body.append(data)

    def on_message_complete(self):
        if self.parser.should_keep_alive():
            idle.append(self)
        self.answer(self.parser.get_status_code(), self.headers, b"".join(self.body))

    def connection_lost(self, exc):  # noqa: ARG002 - asyncio calls it so
        if self in idle:
            idle.remove(self)


class Client(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data):
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self):
        self.headers, self.authorization = [], None

    def on_url(self, url):
        self.url = url

    def on_header(self, name, value):
        name = name.lower()
        if name == b"authorization":
            self.authorization = value
        elif name not in (b"host", b"connection"):
            self.headers.append(name + b": " + value)

    def on_message_complete(self):
        claims = principal(self.authorization)
        if claims is None:
            self.transport.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            return
        now = time.time()
        bucket = buckets.get(claims["sub"])
        if bucket is None or now - bucket[0] > 1:
            buckets[claims["sub"]] = [now, 1]
        else:
            bucket[1] += 1
        request_id = uuid.uuid4().hex.encode()
        request = (
            b"GET " + self.url + b" HTTP/1.1\r\nHost: upstream\r\nX-Request-Id: " + request_id + b"\r\n"
            + b"\r\n".join(self.headers) + b"\r\n\r\n"
        )  # fmt: skip
        transport, url = self.transport, self.url

        def answer(status, headers, body):
            if not transport.is_closing():
                kept = b"".join([n + b": " + v + b"\r\n" for n, v in headers if n.lower() not in HOP_BY_HOP])
                transport.write(b"HTTP/1.1 %d OK\r\n%sX-Request-Id: %s\r\n\r\n%s" % (status, kept, request_id, body))
            access_log.write(b"%f %d %s %s %d\n" % (now, status, url, request_id, len(body)))

        if idle:
            idle.pop().send(request, answer)
        else:
            asyncio.get_running_loop().create_task(self.connect(request, answer))

    async def connect(self, request, answer):
        _, upstream = await asyncio.get_running_loop().create_connection(Upstream, "127.0.0.1", UPSTREAM_PORT)
        upstream.send(request, answer)


async def main():
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", PORT, backlog=4096)
    await server.serve_forever()


uvloop.run(main())
