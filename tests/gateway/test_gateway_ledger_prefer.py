"""Prefer (RFC 7240), however long and however broken: it costs the worker that reads it next to nothing."""

from time import thread_time

import pytest

from entrepot.gateway.preferences import APPLIED, MAX_BYTES, wants_async

LONGEST = 16_000


@pytest.mark.parametrize(
    "prefer",
    [
        b"respond-async",
        b" Respond-Async ",
        b'respond-async=""; x=1',
        b"respond-async = ;x",
        b'foo; bar="a,b", respond-async',
        b'foo="\\"", respond-async',
        b"respond-async," + b"x" * (MAX_BYTES - 14),
    ],
)
def test_wish_for_an_early_answer_is_understood(prefer):
    assert wants_async(prefer)
    assert APPLIED == b"preference-applied: respond-async\r\n"


@pytest.mark.parametrize(
    "prefer",
    [
        None,
        b"",
        b"respond-async=no",
        b'"respond-async"',
        b'foo="a, respond-async',
        b'foo="\\", respond-async',
        b"respond-async," + b"x" * MAX_BYTES,
    ],
)
def test_what_is_no_such_wish_asks_for_nothing(prefer):
    assert not wants_async(prefer)


@pytest.mark.parametrize("piece", [b'"', b'"\\', b'\\"', b'"\\"', b'",', b"respond-async= ", b" ", b",", b'="" '])
@pytest.mark.parametrize("length", [MAX_BYTES, LONGEST])
def test_reading_it_takes_no_time_to_speak_of(piece, length):
    values = [
        (start + piece * length)[: length - len(end)] + end
        for start in (b"", b'"', b"respond-async", b"respond-async=")
        for end in (b"", b"x", b'"')
    ]
    began = thread_time()

    for value in values:
        wants_async(value)

    assert thread_time() - began < 0.05
