"""An HTTP upstream for tests that behaves as each test plans it, well or badly, and keeps what it received to the byte.

A test plans a path; a request to it runs the planned script with the open connection. Paths without a plan are echoed.
"""

import json
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

MAX_HEAD = 1 << 20
SILENCE_S = 30.0


@dataclass
class Incoming:
    """One request as it came, and the connection that it came on. The body is read when it is asked for."""

    sock: socket.socket
    head: bytes
    rest: bytes
    stopping: threading.Event
    raw: bytes = b""
    _body: bytes | None = field(default=None, repr=False)

    def __post_init__(self):
        line, *lines = self.head[:-4].split(b"\r\n")
        self.raw = self.head
        self.method, self.target, self.version = line.split(b" ")
        self.path = self.target.partition(b"?")[0].decode("latin-1")
        self.fields = [(name.lower(), value.strip()) for name, _, value in (each.partition(b":") for each in lines)]

    def header(self, name: str) -> str | None:
        """Return the value of the field *name*, joined when it stands more than once, None when it does not stand."""
        found = [value.decode("latin-1") for key, value in self.fields if key == name.lower().encode("ascii")]
        return ", ".join(found) if found else None

    def send(self, data: bytes) -> None:
        """Send *data* as it is."""
        self.sock.sendall(data)

    def read_body(self) -> bytes:
        """Return the whole body; ConnectionError when the peer breaks it off."""
        if self._body is None:
            if (self.header("transfer-encoding") or "") == "chunked":
                self._body = self._read_chunks()
            else:
                self._body = self._take(int(self.header("content-length") or 0))
        return self._body

    def reset(self) -> None:
        """Close the connection so that the peer sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _take(self, size: int) -> bytes:
        parts, got = [self.rest], len(self.rest)
        while got < size:
            parts.append(self._received())
            got += len(parts[-1])
        whole = b"".join(parts)
        taken, self.rest = whole[:size], whole[size:]
        if size < MAX_HEAD:
            self.raw += taken
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self.rest:
            self._more()
        line, _, self.rest = self.rest.partition(b"\r\n")
        self.raw += line + b"\r\n"
        return line

    def _more(self) -> None:
        self.rest += self._received()

    def _received(self) -> bytes:
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("the peer broke the body off")
        return data

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self._line().partition(b";")[0], 16):
            parts.append(self._take(size))
            self._take(2)
        while self._line():
            pass
        return b"".join(parts)


Script = Callable[[Incoming], object]


class Upstream:
    """Listens on a free port of 127.0.0.1, a thread for each connection; use it as a context manager."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.seen: list[Incoming] = []
        self._seen_at: dict[str, list[Incoming]] = {}
        self._plans: dict[str, Script] = {}
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self):
        self._spawn(self._accept)
        return self

    def __exit__(self, *exc):
        self._stopping.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for sock in list(self._open):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def plan(self, path: str, script: Script) -> None:
        """Answer requests to *path* (without query) by *script* from now on."""
        self._plans[path] = script

    @contextmanager
    def planned(self, path: str, script: Script):
        """Answer *path* by *script* inside the block."""
        self._plans[path] = script
        try:
            yield
        finally:
            del self._plans[path]

    def seen_at(self, path: str) -> list[Incoming]:
        """Return the requests that came for *path*, in order."""
        return list(self._seen_at.get(path, ()))

    def _spawn(self, target, *args) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads = [old for old in self._threads if old.is_alive()] + [thread]
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self._spawn(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        self._open.add(sock)
        sock.settimeout(SILENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            # Gateways give up on bad upstreams; that ends a script, and is no fault of the test's.
            with suppress(OSError, ValueError):
                self._serve_requests(sock)
        finally:
            self._open.discard(sock)
            sock.close()

    def _serve_requests(self, sock: socket.socket) -> None:
        data = b""
        while not self._stopping.is_set():
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more or len(data) > MAX_HEAD:
                    return
                data += more
            head, _, rest = data.partition(b"\r\n\r\n")
            request = Incoming(sock, head + b"\r\n\r\n", rest, self._stopping)
            self.seen.append(request)
            self._seen_at.setdefault(request.path, []).append(request)
            if self._plans.get(request.path, echo)(request) is False or sock.fileno() < 0:
                return
            request.read_body()
            data = request.rest


def echo(request: Incoming) -> None:
    """Answer with what came, as JSON."""
    body = request.read_body()
    document = {
        "method": request.method.decode(),
        "target": request.target.decode("latin-1"),
        "fields": {name.decode("latin-1"): request.header(name.decode("latin-1")) for name, _ in request.fields},
        "body": body.decode("latin-1"),
    }
    request.send(message(json.dumps(document).encode(), "content-type: application/json"))


def message(body: bytes = b"", *lines: str, status: str = "200 OK") -> bytes:
    """Return a whole answer with the header *lines* and the length of *body*."""
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, f"content-length: {len(body)}"))
    return head.encode("latin-1") + b"\r\n" + body


def answers(body: bytes = b"", *lines: str, status: str = "200 OK") -> Script:
    """Return a script that reads the request whole and answers it."""

    def script(request: Incoming) -> None:
        request.read_body()
        data = message(body, *lines, status=status)
        request.send(data[: len(data) - len(body)] if request.method == b"HEAD" else data)

    return script


def sends(data: bytes, *, then_close: bool = True) -> Script:
    """Return a script that reads the request whole, sends *data* as it is, and closes."""

    def script(request: Incoming) -> bool:
        request.read_body()
        request.send(data)
        return not then_close

    return script


def hangs(first: bytes = b"") -> Script:
    """Return a script that sends *first* and then nothing, until the peer goes."""

    def script(request: Incoming) -> bool:
        request.read_body()
        if first:
            request.send(first)
        request.sock.recv(1)
        return False

    return script


def streams(head: bytes, chunk: bytes, *, times: int | None = None, framed: bool = False) -> Script:
    """Return a script that sends *head* and then *chunk*, *times* or for ever, *framed* as chunked coding."""
    piece = b"%x\r\n%b\r\n" % (len(chunk), chunk) if framed else chunk

    def script(request: Incoming) -> bool:
        request.read_body()
        request.send(head)
        sent = 0
        while (times is None or sent < times) and not request.stopping.is_set():
            request.send(piece)
            sent += 1
        return False

    return script


def resets(first: bytes = b"") -> Script:
    """Return a script that sends *first* and resets the connection."""

    def script(request: Incoming) -> bool:
        request.read_body()
        if first:
            request.send(first)
        request.reset()
        return False

    return script


def gated(gate: threading.Event, body: bytes = b"{}") -> Script:
    """Return a script that answers when *gate* is set, and notes on the request when it began and ended."""

    def script(request: Incoming) -> None:
        request.read_body()
        gate.wait(10)
        request.send(message(body))

    return script
