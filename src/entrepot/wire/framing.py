"""What the head of a message must fulfil beyond what llhttp checks, and what it says of the body.

llhttp refuses bare CR or LF, folded lines, control characters, wrong names, two lengths, and a length beside a transfer
coding. It lets through what stands here: duplicate, missing or malformed ``Host``, duplicates of other fields that may
stand once, any transfer coding, HTTP/0.9 and 2.0, RTSP and ICE request lines, two spaces between the parts of a
request line, targets that are no path. Bytes from 0x80 to 0xff (obs-text) are passed through in values.

The parser's field callback is ``dict.setdefault`` of a plain dict: no Python runs per field, and a field that comes
twice is seen because the head has more lines than the dict has names. Only then is the head read line by line.
"""

from __future__ import annotations

import re
from functools import lru_cache

from entrepot.wire.limits import Limits

HEAD_END = b"\r\n\r\n"
BODILESS = frozenset({204, 304})

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~%-]{1,255})(?::[0-9]{0,5})?")
FRAMING = frozenset({b"connection", b"content-length", b"expect", b"transfer-encoding", b"upgrade"})
_SINGLETONS = frozenset(
    {
        b"age", b"authorization", b"content-length", b"content-location", b"content-range", b"content-type", b"date",
        b"etag", b"expect", b"expires", b"from", b"host", b"idempotency-key", b"if-modified-since", b"if-range",
        b"if-unmodified-since", b"last-modified", b"location", b"max-forwards", b"origin", b"proxy-authorization",
        b"range", b"referer", b"retry-after", b"server", b"traceparent", b"transfer-encoding", b"upgrade",
        b"user-agent", b"x-http-method-override", b"x-request-id",
    }
)  # fmt: skip

Fields = dict[bytes, bytes]


class Refusal(Exception):
    """Bytes that are no acceptable message: the *status* that says so, and *detail* in a few words."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class _Names(dict[bytes, bytes]):
    """Field names in lower case, remembered: a lookup costs a third of ``lower`` and keeps the hash."""

    def __missing__(self, name: bytes) -> bytes:
        low = name.lower()
        if len(self) < 1024 and len(name) <= 64:
            self[name] = low
        return low


LOWER = _Names()


def check_head_size(head: bytes, limits: Limits) -> None:
    """Raise Refusal 414 or 431 for a *head*, whole or not, that is larger than allowed."""
    if len(head) <= limits.max_target_bytes:
        return
    if b"\r" not in head[: limits.max_target_bytes]:
        raise too_long_target(limits)
    if len(head) > limits.max_header_bytes:
        raise Refusal(431, f"the head is longer than {limits.max_header_bytes} bytes")


def too_long_target(limits: Limits) -> Refusal:
    """Return the refusal of a target that is longer than allowed."""
    return Refusal(414, f"the target is longer than {limits.max_target_bytes} bytes")


def request_line(head: bytes, limits: Limits) -> tuple[bytes, bytes, int]:
    """Return method, target and minor version of a *head* that llhttp has accepted; raise Refusal."""
    first = head.find(b" ")
    second = head.find(b" ", first + 1)
    method, target = head[:first], head[first + 1 : second]
    if first < 0 or second < 0:
        raise Refusal(400, "the request line is malformed")
    if head.startswith(b"HTTP/1.1\r\n", second + 1):
        minor = 1
    elif head.startswith(b"HTTP/1.0\r\n", second + 1):
        minor = 0
    else:
        raise Refusal(*_wrong_version(head[second + 1 :]))
    if len(target) > limits.max_target_bytes:
        raise too_long_target(limits)
    if method[:1] < b"A":
        # llhttp skips line feeds in front of a request; they would stand in the method here.
        raise Refusal(400, "a stray line feed before the request")
    if method == b"CONNECT":
        raise Refusal(501, "CONNECT is not supported")
    if target[:1] != b"/" or b"#" in target:
        raise Refusal(400, "the target is not a path")
    return method, target, minor


def _wrong_version(rest: bytes) -> tuple[int, str]:
    if re.match(rb"HTTP/[0-9]\.[0-9]\r\n", rest):
        return 505, "only HTTP/1.0 and HTTP/1.1 are spoken here"
    return 400, "the request line is malformed"


def request_fields(raw: Fields, head: bytes, minor: int, limits: Limits) -> Fields:
    """Return the fields of a request, names in lower case, values without blanks around; raise Refusal.

    *raw* is what the parser collected of *head*. Duplicates of list-valued fields are joined.
    """
    fields = {LOWER[name]: value for name, value in raw.items()}
    # A head has one CRLF for its first line and one for its end besides those of its fields.
    count = head.count(b"\r\n") - 2
    if count != len(fields) or b" \r\n" in head or b"\t\r\n" in head:
        fields = _joined(field_lines(head))
    if count > limits.max_fields:
        raise Refusal(431, f"more than {limits.max_fields} fields")
    host = fields.get(b"host")
    if host is None:
        if minor:
            raise Refusal(400, "the Host field is missing")
    elif not _is_host(host):
        raise Refusal(400, "the Host field is malformed")
    return fields


def field_lines(head: bytes) -> list[tuple[bytes, bytes]]:
    """Return the fields of a *head* that llhttp has accepted, in order, names in lower case."""
    fields = []
    for line in head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t")))
    return fields


def _joined(lines: list[tuple[bytes, bytes]]) -> Fields:
    fields: Fields = {}
    for name, value in lines:
        if name not in fields:
            fields[name] = value
        elif name in _SINGLETONS:
            raise Refusal(400, f"the field {name.decode()} stands twice")
        else:
            fields[name] += (b"; " if name == b"cookie" else b", ") + value
    return fields


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def keeps_alive(fields: Fields, minor: int) -> bool:
    """Return whether the sender of *fields* wants the connection kept (RFC 9112, 9.3)."""
    value = fields.get(b"connection")
    if value is None:
        return minor == 1
    value = value.lower()
    if value == b"keep-alive":
        return True
    tokens = [token.strip() for token in value.split(b",")]
    if b"close" in tokens:
        return False
    return minor == 1 or b"keep-alive" in tokens


def body_length(fields: Fields, minor: int) -> int | None:
    """Return the length that *fields* announce, -1 for a chunked body, None for no word of it; raise Refusal."""
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked" or minor == 0:
            raise Refusal(400, "the only transfer coding is chunked, once, in HTTP/1.1")
        if b"content-length" in fields:
            raise Refusal(400, "a length beside a transfer coding")
        return -1
    length = fields.get(b"content-length")
    if length is None:
        return None
    if not length.isdigit() or len(length) > 18:
        raise Refusal(400, "the length is not a number")
    return int(length)


def expects_continue(fields: Fields, minor: int) -> bool:
    """Return whether the peer waits for 100 before its body; raise Refusal 417 for any other expectation."""
    value = fields.get(b"expect")
    if value is None:
        return False
    if value.lower() != b"100-continue":
        raise Refusal(417, "the only expectation met is 100-continue")
    return minor == 1


def check_upgrade(fields: Fields) -> None:
    """Raise Refusal 501 for any upgrade but ``h2c``, which clients offer unasked and RFC 9110, 7.8 lets us ignore."""
    value = fields.get(b"upgrade")
    if value is not None and value.lower() != b"h2c":
        raise Refusal(501, "no other protocol is spoken here")


def _status_lines() -> dict[int, bytes]:
    from http import HTTPStatus  # noqa: PLC0415 - needed once, at import

    return {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\nDate: ".encode() for s in HTTPStatus}


class _StatusLines(dict[int, bytes]):
    def __missing__(self, status: int) -> bytes:
        return b"HTTP/1.1 %d \r\nDate: " % status


STATUS_LINES = _StatusLines(_status_lines())
"""Status line and the name of the Date field, by status."""
