"""A tiny HTTP client that sends any bytes it is given and tells an answer from a broken one."""

import json
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field


class BrokenAnswerError(Exception):
    """The connection ended before the answer did; *got* is what came of it, *reset* tells a reset from an end."""

    def __init__(self, got: bytes, *, reset: bool = False):
        super().__init__(f"the connection {'was reset' if reset else 'ended'} after {len(got)} bytes: {got[:200]!r}")
        self.got = got
        self.reset = reset


@dataclass
class Answer:
    """An answer: status, fields in order with lower-case names, and the body with the framing taken off."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    version: str = "HTTP/1.1"
    interim: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """Return the value of the field *name*; None when it does not stand, AssertionError when it stands twice."""
        found = self.headers(name)
        assert len(found) < 2, f"{name} stands {len(found)} times"
        return found[0] if found else None

    def headers(self, name: str) -> list[str]:
        """Return the values of all fields *name*."""
        return [value for key, value in self.fields if key == name.lower()]

    def json(self):
        """Return the body as JSON."""
        return json.loads(self.body)

    @property
    def data(self):
        """The data inside the envelope."""
        return self.json()["data"]


class Wire:
    """One connection to the gateway; use it as a context manager. Times out after *timeout_s* seconds of silence."""

    def __init__(self, port: int, *, source: str = "127.0.0.1", timeout_s: float = 10.0, receive_buffer: int = 0):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.sock.settimeout(timeout_s)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if source != "127.0.0.1":
                self.sock.bind((source, 0))
            self.sock.connect(("127.0.0.1", port))
        except BaseException:
            self.sock.close()
            raise
        self._data = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def reset(self) -> None:
        """Close the connection so that the peer sees a reset, and no half-closed connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def send(self, data: bytes) -> None:
        """Send *data*. A peer that has closed already is no error here: its answer may be waiting."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)

    def drip(self, data: bytes, pause_s: float) -> None:
        """Send *data* a byte at a time until it is sent or the peer has answered or closed."""
        for byte in data:
            try:
                self.sock.sendall(bytes((byte,)))
            except OSError:
                return
            if self.readable(pause_s):
                return

    def readable(self, timeout_s: float) -> bool:
        """Tell whether bytes or the end come within *timeout_s*."""
        before = self.sock.gettimeout()
        self.sock.settimeout(timeout_s)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(before)
        return True

    def answer(self, *, head_only: bool = False) -> Answer:
        """Return the next answer, 1xx ones noted beside it. Raises BrokenAnswerError and TimeoutError."""
        interim = []
        while True:
            line, fields = self._head()
            version, _, rest = line.partition(" ")
            status = int(rest[:3])
            if status >= 200:
                break
            interim.append(status)
        bare = head_only or status in {204, 304}
        return Answer(status, fields, b"" if bare else self._body(fields), version, interim)

    def ends(self, timeout_s: float = 10.0) -> bytes:
        """Return what still comes until the peer closes; AssertionError when it does not within *timeout_s*."""
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                break
            except ConnectionResetError:
                return self._data
            if not data:
                return self._data
            self._data += data
        raise AssertionError(f"the connection is still open after {timeout_s} s; came: {self._data[:300]!r}")

    def _head(self) -> tuple[str, list[tuple[str, str]]]:
        while b"\r\n\r\n" not in self._data:
            self._more()
        head, _, self._data = self._data.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        pairs = [each.partition(":") for each in lines]
        return line, [(name.lower(), value.strip(" \t")) for name, _, value in pairs]

    def _body(self, fields: list[tuple[str, str]]) -> bytes:
        found = dict(fields)
        if "transfer-encoding" in found:
            return self._chunks()
        if "content-length" in found:
            return self._take(int(found["content-length"]))
        try:
            while True:
                self._more()
        except BrokenAnswerError as exc:
            if exc.reset:
                raise
            body, self._data = self._data, b""
            return body

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._line(), 16):
            parts.append(self._take(size))
            self._take(2)
        while self._line():
            pass
        return b"".join(parts)

    def _line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._more()
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def _take(self, size: int) -> bytes:
        if size > 1 << 20:
            return self._take_large(size)
        while len(self._data) < size:
            self._more()
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def _take_large(self, size: int) -> bytes:
        parts, got = [self._data], len(self._data)
        while got < size:
            self._data = b""
            self._more()
            parts.append(self._data)
            got += len(self._data)
        whole = b"".join(parts)
        self._data = whole[size:]
        return whole[:size]

    def _more(self) -> None:
        try:
            data = self.sock.recv(1 << 18)
        except ConnectionResetError as exc:
            raise BrokenAnswerError(self._data, reset=True) from exc
        if not data:
            raise BrokenAnswerError(self._data)
        self._data += data


def request(method: str, target: str, *lines: str, body: bytes = b"", host: str = "gateway.test") -> bytes:
    """Return a request as bytes: Host, the header *lines* as they are, and a length when there is a *body*."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """Return *pieces* in chunked coding, ended."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
