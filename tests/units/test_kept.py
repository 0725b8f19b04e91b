"""gateway.kept: which relayed answers may be cached."""

import pytest

from entrepot.gateway.kept import MAX_KEPT_BYTES, Kept, common, value_of

NEGOTIATED = (b"accept", b"accept-language")


@pytest.mark.parametrize(
    ("status", "fields", "length", "may"),
    [
        (200, b"content-type: a/b\r\n", 3, True),
        (200, b"vary: Accept, accept-language\r\n", None, True),
        (200, b"cache-control: max-age=5\r\n", None, True),
        (404, b"", 3, False),
        (200, b"set-cookie: a=b\r\n", 3, False),
        (200, b"cache-control: No-Store\r\n", 3, False),
        (200, b"a: b\r\ncache-control: max-age=3, private=x\r\n", 3, False),
        (200, b"vary: cookie\r\n", 3, False),
        (200, b"vary: *\r\n", 3, False),
        (200, b"", MAX_KEPT_BYTES + 1, False),
    ],
)
def test_only_an_answer_for_everyone_may_be_kept(status, fields, length, may):
    assert Kept.may_be(status, fields, length, NEGOTIATED) is may


def test_a_body_that_grows_too_long_is_told():
    kept = Kept(200, b"", None)

    assert kept.add(b"x" * MAX_KEPT_BYTES)
    assert not kept.add(b"x")


def test_the_validator_of_the_upstream_stands_and_one_is_made_where_it_gave_none():
    given, own = Kept(200, b'a: b\r\netag: "v1"\r\nc: d\r\n', 1), Kept(200, b"a: b\r\n", 1)
    own.add(b"body")

    assert (given.answer().etag, given.answer().fields) == (b'"v1"', b"a: b\r\nc: d\r\n")
    assert own.answer().etag.startswith(b'"')


def test_only_what_is_part_of_the_key_reaches_the_upstream():
    asked = {b"if-none-match": b"x", b"cookie": b"y", b"x-own": b"z", b"accept": b"a/b"}

    assert common(asked, NEGOTIATED) == {b"accept": b"a/b"}


def test_the_values_of_a_field_are_joined():
    assert value_of(b"vary", b"vary: a\r\nx: vary: no\r\nvary: b\r\n") == b"a, b"
