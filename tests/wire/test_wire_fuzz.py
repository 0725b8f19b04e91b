"""Random splits and random damage: the same messages, no crash, no request that a strict reader does not see."""

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from wire_stand import LIMITS, WALL

from entrepot.wire.clock import Clock
from entrepot.wire.server import Request, Server

BOUNDED = settings(derandomize=True, max_examples=150, deadline=None, database=None)

LINE = re.compile(rb"([A-Z_-]+) (/[!$-~\"]*) HTTP/1\.([01])\r\n")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\r\n")
SIZE = re.compile(rb"([0-9A-Fa-f]+)(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")


class Transport:
    """Keeps what is written, and whether the end was."""

    def __init__(self):
        self.written = b""
        self.ended = False

    def write(self, data):
        assert not self.ended, "written after the end"
        self.written += data

    def write_eof(self):
        self.ended = True

    abort = close = write_eof

    def is_closing(self):
        return self.ended

    def get_extra_info(self, _name):
        return None

    def get_write_buffer_size(self):
        return 0

    def set_write_buffer_limits(self, high):
        pass

    def pause_reading(self):
        pass

    resume_reading = pause_reading


def run(pieces):
    """Feed a connection; return the requests that it took whole, and what it wrote."""
    seen = []

    class Noting(Request):
        def on_start(self):
            self.read_body(1_000_000, self.note)

        def note(self):
            seen.append((self.method, self.target, self.minor, self.fields, self.body))
            self.send(200, b"", b"")

    connection = Server(None, LIMITS, Noting, Clock(wall=lambda: WALL)).protocol()
    transport = Transport()
    connection.connection_made(transport)
    for piece in pieces:
        connection.data_received(piece)
    connection.eof_received()
    connection.connection_lost(None)
    return seen, transport.written


def strict(data):
    """Return method, target and body of the requests in *data* by the letter of RFC 9112, up to the first fault."""
    found, at = [], 0
    while True:
        while data.startswith(b"\r\n", at):
            at += 2
        line = LINE.match(data, at)
        if line is None:
            return found
        at, fields = line.end(), {}
        while field := FIELD.match(data, at):
            fields.setdefault(field[1].lower(), []).append(field[2])
            at = field.end()
        if not data.startswith(b"\r\n", at):
            return found
        body, at = strict_body(data, at + 2, fields)
        if body is None:
            return found
        found.append((line[1], line[2], body))


def strict_body(data, at, fields):
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is None:
        size = int(length[0]) if length and len(length) == 1 and length[0].isdigit() else 0
        if (length and not length[0].isdigit()) or at + size > len(data):
            return None, at
        return data[at : at + size], at + size
    body = b""
    while size := SIZE.match(data, at):
        count, at = int(size[1], 16), size.end()
        if not count:
            while field := FIELD.match(data, at):
                at = field.end()
            return (body, at + 2) if data.startswith(b"\r\n", at) else (None, at)
        body, at = body + data[at : at + count], at + count + 2
        if data[at - 2 : at] != b"\r\n":
            return None, at
    return None, at


def sized(method, target, body):
    return b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (method, target, len(body), body)


def chunked(target, chunks, trailer):
    frames = b"".join(b"%x;x=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return b"POST %b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (target, frames, trailer)


def bare(method, target, fields):
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (method, target, lines)


targets = st.from_regex(rb"/[a-z0-9/?&=%._~-]{0,20}", fullmatch=True)
bodies = st.binary(max_size=60) | st.sampled_from([b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n", b"0\r\n\r\n", b"\r\n\r\n"])
names = st.sampled_from([b"X", b"Accept", b"accept", b"Cookie", b"Via"])
values = st.from_regex(rb"[a-z\xe0-\xff,; ]{0,12}[a-z]", fullmatch=True)
messages = (
    st.builds(
        bare, st.sampled_from([b"GET", b"DELETE", b"HEAD"]), targets, st.lists(st.tuples(names, values), max_size=4)
    )
    | st.builds(sized, st.sampled_from([b"POST", b"PUT"]), targets, bodies)
    | st.builds(chunked, targets, st.lists(bodies, max_size=3), st.sampled_from([b"", b"T: u\r\n"]))
)
streams = st.lists(messages, min_size=1, max_size=5).map(b"".join)
cuts = st.lists(st.floats(0, 1, exclude_max=True), max_size=6)
damage = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 3),
        st.binary(max_size=3)
        | st.sampled_from(
            [b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"0", b"a", b";", b",", b"\r\n\r\n", b"Host: b\r\n",
             b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n", b"\r\nContent-Length: 0\r\n"]
        ),
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip


def split(data, at):
    places = sorted({int(place * len(data)) for place in at} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


@BOUNDED
@given(streams, cuts)
def test_the_same_messages_whatever_the_reads(data, at):
    whole, answers = run([data])

    assert [(method, target, body) for method, target, _, _, body in whole] == strict(data)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(whole)
    assert run(split(data, at)) == (whole, answers)
    assert run([bytes([byte]) for byte in data]) == (whole, answers)


@BOUNDED
@given(streams, damage, cuts)
def test_damage_never_makes_a_request_that_a_strict_reader_does_not_see(data, harm, at):
    for place, cut, put in harm:
        where = int(place * len(data))
        data = data[:where] + put + data[where + cut :]

    seen, answers = run(split(data, at))
    taken = [(method, target, body) for method, target, _, _, body in seen]

    assert taken == strict(data)[: len(taken)]
    assert answers.count(b"Date: ") in (len(seen), len(seen) + 1)
    assert run([data])[0] == seen
