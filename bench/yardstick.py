"""A fixed amount of Python of the kind that a gateway is made of, by which machines are compared.

It reads a request and an answer with httptools, keeps their fields in dicts, sends the request through a row of stages
and writes both on. It is none of our code and stays as it is: what it takes tells of the machine alone.
"""

from __future__ import annotations

import time

import httptools

REFERENCE_US = 3.9
"""What it takes on the machine of ``figures.txt`` (AMD EPYC), where an exchange of ours took 13.0 us.

Not measured there: it took 4.9 us on an Intel Xeon, where the same exchange took 16.3 us.
"""

REQUEST = b"GET /v1/items/1 HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nAuthorization: Bearer %b\r\nAccept: */*\r\n\r\n"
ANSWER = (
    b'HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"name":"Ada"}'
)
TOKENS = 200
STAGES = 20


class Message:
    """What httptools tells of one message."""

    __slots__ = ("body", "fields", "is_whole", "target")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.target = self.body = b""
        self.is_whole = False

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.is_whole = True


class Stage:
    """One of a row; each knows all callers."""

    __slots__ = ("_after", "_seen")

    def __init__(self, tokens: list[bytes], after: Stage | None) -> None:
        self._seen = dict.fromkeys((b"Bearer " + token for token in tokens), 0)
        self._after = after

    def run(self, asked: Message) -> int:
        token = asked.fields.get(b"authorization")
        if token is None:
            return 401
        self._seen[token] += len(asked.target)
        return 200 if self._after is None else self._after.run(asked)


class Yardstick:
    """Exchanges of as many callers as there are tokens."""

    def __init__(self) -> None:
        tokens = [b"%064d" % number for number in range(TOKENS)]
        self._stage: Stage | None = None
        for _ in range(STAGES):
            self._stage = Stage(tokens, self._stage)
        self._requests = [REQUEST % token for token in tokens]

    def best_us(self, rounds: int) -> float:
        """Return the best of *rounds*, in microseconds of processor time per exchange."""
        return min(self._round_us() for _ in range(rounds))

    def _round_us(self) -> float:
        started = time.process_time()
        for request in self._requests:
            self._exchange(request)
        return (time.process_time() - started) / len(self._requests) * 1e6

    def _exchange(self, request: bytes) -> tuple[bytes, bytes]:
        asked, answered = Message(), Message()
        httptools.HttpRequestParser(asked).feed_data(request)
        if self._stage is None or self._stage.run(asked) != 200:
            raise ValueError("the yardstick's own caller is refused")
        sent = [b"GET ", asked.target, b" HTTP/1.1\r\n"]
        for name, value in asked.fields.items():
            if name != b"authorization":
                sent += (name, b": ", value, b"\r\n")
        httptools.HttpResponseParser(answered).feed_data(ANSWER)
        head = b"".join([b"%b: %b\r\n" % field for field in answered.fields.items()])
        return b"".join(sent), b"HTTP/1.1 200 OK\r\n%b\r\n%b" % (head, answered.body)
