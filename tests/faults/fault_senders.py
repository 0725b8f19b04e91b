"""Clients of the gateway that repeat each write with its Idempotency-Key until it is answered, and keep a record."""

import http.client
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import uuid4

ANSWER_S = 10.0
METHODS = ("POST", "PUT", "PATCH", "DELETE")
AGAIN = {409, 429, 502, 503, 504}
"""What a client may get for a write that is good, and repeats."""


@dataclass
class Write:
    """A write and what its client got for it: ``statuses`` in order, None for each try without an answer."""

    key: str
    path: str
    body: dict | None
    client: str = ""
    method: str = "POST"
    statuses: list[int | None] = field(default_factory=list)
    answer: bytes = b""

    @property
    def is_answered(self) -> bool:
        """Whether the gateway said that it was accepted or applied."""
        return bool(self.statuses) and self.statuses[-1] is not None and self.statuses[-1] < 300

    @property
    def was_lost(self) -> bool:
        """Whether some try of it got no answer, so that nobody can know."""
        return None in self.statuses


def things(paths: list[str], seed: str) -> Iterator[Write]:
    """Yield writes for the witness without end, each to one of *paths*; ``{lane}`` in them is one of this caller's own.

    Each body bears its key, its lane and a number that grows. A DELETE has no body and bears them in its query.
    """
    chance, own = random.Random(f"things-{seed}"), uuid4().hex[:12]
    number = 0
    while True:
        at = chance.randrange(len(paths))
        lane, key = f"lane-{own}-{at}", uuid4().hex
        path, about = paths[at].replace("{lane}", lane), {"key": key, "lane": lane, "number": number}
        method = chance.choice(METHODS)
        if method == "DELETE":
            yield Write(key, f"{path}?{urlencode(about)}", None, method=method)
        else:
            yield Write(key, path, {**about, "pad": "x" * 200}, method=method)
        number += 1


class Sender(threading.Thread):
    """One client on one connection at a time, which sends *work*. ``writes`` is what it has sent so far.

    With *keyed*, a write is repeated until it is answered with 2xx; without, it is sent once. Between writes it waits
    up to *pause_s*; the part *hangs_up* of its tries ends before the answer can come. ``failed`` is set by an answer
    that a good write must not get.
    """

    def __init__(
        self, port: int, client: str, token: str, work: Iterable[Write], *, seed: str, keyed: bool = True,
        pause_s: float = 0.02, hangs_up: float = 0.02,
    ):  # fmt: skip
        super().__init__(daemon=True)
        self.writes: list[Write] = []
        self.failed: str | None = None
        self._port, self._client, self._token, self._work, self._keyed = port, client, token, work, keyed
        self._pause_s, self._hangs_up = pause_s, hangs_up
        self._random = random.Random(f"sender-{seed}")
        self._connection: http.client.HTTPConnection | None = None
        self._stopping = threading.Event()
        self._deadline: float | None = None

    def stop(self, within_s: float = 60.0) -> None:
        """Let it finish the write that it is at, for at most *within_s*, and no further one."""
        self.finish(within_s)
        self._stopping.set()

    def finish(self, within_s: float) -> None:
        """Give it *within_s* for the write that it is at, and each that comes."""
        self._deadline = time.monotonic() + within_s

    def run(self) -> None:
        for write in self._work:
            write.client = self._client
            self.writes.append(write)
            self._send_until_answered(write)
            if self.failed is not None or self._stopping.wait(self._random.random() * self._pause_s):
                break
        self._hang_up()

    def _send_until_answered(self, write: Write) -> None:
        while True:
            status = self._try(write)
            write.statuses.append(status)
            if status is not None and status not in AGAIN:
                if status >= 300:
                    self.failed = f"{status} for {write}: {write.answer[:400]!r}"
                return
            if not self._keyed:
                self._stopping.wait(0.05)
                return
            if self._deadline is not None and time.monotonic() > self._deadline:
                self.failed = f"never answered: {write}"
                return
            time.sleep(0.01 + self._random.random() * 0.1)

    def _try(self, write: Write) -> int | None:
        fields = {"Authorization": f"Bearer {self._token}"}
        body = None
        if write.body is not None:
            fields["Content-Type"], body = "application/json", json.dumps(write.body)
        if self._keyed:
            fields["Idempotency-Key"] = f'"{write.key}"'
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=ANSWER_S)
            self._connection.request(write.method, write.path, body, fields)
            if self._random.random() < self._hangs_up:
                time.sleep(self._random.random() * 0.005)
                self._hang_up()
                return None
            answer = self._connection.getresponse()
            write.answer = answer.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return None
        return answer.status

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Load:
    """Several senders at once; a context: at its end they finish what they are at, or the test fails.

    With *to_its_end* they finish all of their work, for at most *within_s*.
    """

    def __init__(self, senders: list[Sender], *, to_its_end: bool = False, within_s: float = 60.0):
        self.senders = senders
        self._to_its_end, self._within_s = to_its_end, within_s

    def __enter__(self):
        for sender in self.senders:
            sender.start()
        return self

    def __exit__(self, kind, *exc):
        for sender in self.senders:
            if kind is not None:
                sender.stop(0.0)
            elif self._to_its_end:
                sender.finish(self._within_s)
            else:
                sender.stop(self._within_s)
        until = time.monotonic() + self._within_s + ANSWER_S
        for sender in self.senders:
            sender.join(max(0.1, until - time.monotonic()))
        if kind is None:
            assert [sender.failed for sender in self.senders if sender.failed] == []
            assert not any(sender.is_alive() for sender in self.senders), "a client hangs"

    @property
    def writes(self) -> list[Write]:
        """All writes of all senders."""
        return [write for sender in self.senders for write in sender.writes]
