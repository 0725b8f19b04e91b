"""gateway.bodies: JSON bodies."""

import json
import time

import orjson
import pytest

from entrepot.catalog.schemas import compile_schema
from entrepot.errors import BodyTooLarge, InvalidBody, MalformedJson, UnsupportedMediaType
from entrepot.gateway.bodies import check_media_type, check_members, check_schema, parse_json


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a":NaN}',
        b"Infinity",
        b'"\xff"',
        b'"\\ud800"',
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":1}x',
        b"'a'",
    ],
)
def test_what_is_no_json_is_refused(body):
    with pytest.raises(MalformedJson):
        parse_json(body)


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [(None, "create"), (b"text/plain", "create"), (b"application/json; charset=latin-1", "create"),
     (b"application/merge-patch+json", "create")],
)  # fmt: skip
def test_other_media_types_are_refused(content_type, kind):
    with pytest.raises(UnsupportedMediaType):
        check_media_type({} if content_type is None else {b"content-type": content_type}, kind)


@pytest.mark.parametrize(
    "content_type", [b"application/json", b"Application/JSON ; charset=UTF-8", b"application/merge-patch+json"]
)
def test_json_in_utf8_passes_for_an_update(content_type):
    check_media_type({b"content-type": content_type}, "update")


def test_every_mistake_has_its_pointer():
    schema = {
        "type": "object",
        "properties": {"a/b": {"type": "string"}},
        "required": ["c"],
        "additionalProperties": False,
    }

    with pytest.raises(InvalidBody) as caught:
        check_schema(compile_schema(schema), {"a/b": 1, "z": 1})

    assert {mistake.path for mistake in caught.value.errors} == {"/a~1b", "/c", "/z"}


def test_a_long_value_does_not_come_back_whole():
    with pytest.raises(InvalidBody) as caught:
        check_schema(compile_schema({"type": "integer"}), "x" * 2_000_000)

    assert len(caught.value.errors[0].message) <= 300


MIB = 1 << 20
STRICT = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
    "additionalProperties": False,
    "required": ["name"],
}
ROWS = {"type": "array", "items": {"type": "object", "required": ["a", "b", "c", "d", "e", "f", "g", "h"]}}


def took_s(schema, body):
    validator = compile_schema(schema)
    begun = time.process_time()
    with pytest.raises((InvalidBody, BodyTooLarge)):
        check_schema(validator, parse_json(body))
    return time.process_time() - begun


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (STRICT, b'{"name":"a","tags":[' + b"1," * (MIB // 2) + b"1]}"),
        (STRICT, b'{"name":"a","tags":[' + b"1," * 90_000 + b"1]}"),
        (STRICT, b'{"name":"a","tags":[' + b"1," * 16_000 + b"1]}"),
        (STRICT, orjson.dumps({f"x{number}": 1 for number in range(95_000)})),
        (STRICT, orjson.dumps({f"x{number}": 1 for number in range(49_000)})),
        (STRICT, b'{"tags":[' + b"[]," * 300_000 + b"1]}"),
        (STRICT, b"[" + b'{"a":{}},' * 30_000 + b"1]"),
        (STRICT, orjson.dumps({"tags": ["x" * MIB]})),
        (STRICT, b'["' + b'","' * (MIB // 3) + b'"]'),
        (ROWS, b"[" + b"{}," * 45_000 + b"{}]"),
        (ROWS, b"[" + b"{}," * 400 + b"{}]"),
        ({"type": "array", "uniqueItems": True}, orjson.dumps([[number] for number in range(24_000)] + [[0]])),
    ],
    ids=lambda part: f"{len(part)}",
)
def test_no_wrong_body_keeps_the_loop(schema, body):
    # Three times what it takes on a quiet machine; it was up to seven seconds.
    assert min(took_s(schema, body) for _ in range(2)) < 0.15


def test_a_large_body_is_told_its_first_mistake_alone():
    with pytest.raises(InvalidBody, match="first") as caught:
        check_schema(compile_schema(STRICT), {"name": 1, "tags": [1] * 2000, "x": 1})

    assert len(caught.value.errors) == 1
    assert caught.value.errors[0].path is not None


def test_a_huge_body_is_told_that_it_is_wrong():
    with pytest.raises(InvalidBody) as caught:
        check_schema(compile_schema(STRICT), {"name": "a", "tags": [1] * 60_000})

    assert [mistake.path for mistake in caught.value.errors] == [""]


def test_a_long_text_is_no_reason_not_to_tell_where_the_mistake_is():
    with pytest.raises(InvalidBody) as caught:
        check_schema(compile_schema(STRICT), {"tags": ["x" * MIB]})

    assert [mistake.path for mistake in caught.value.errors] == ["/name"]


@pytest.mark.parametrize("text", ["1," * 200_000, '"' * 300_000, "\\" * 300_000, '[{"a":1},' * 50_000])
def test_what_stands_in_a_text_is_no_value(text):
    document = {"name": text}

    assert parse_json(orjson.dumps(document)) == document


def test_more_values_than_can_be_read_in_time_are_refused():
    with pytest.raises(BodyTooLarge):
        parse_json(b"[" + b"1," * 100_001 + b"1]")

    assert len(parse_json(b"[" + b"1," * 99_000 + b"1]")) == 99_001


@pytest.mark.parametrize("body", [b'{"a":"x","a":2}', b'[{"b":{"a":1,"\\u0061":1}}]'])
def test_a_body_that_is_passed_on_can_be_read_in_one_way_only(body):
    with pytest.raises(MalformedJson):
        check_members(body)


def test_the_same_name_in_two_objects_is_no_double():
    check_members(b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}')


def test_nesting_that_the_reader_of_members_cannot_follow_is_refused(monkeypatch):
    monkeypatch.setattr(json, "loads", _too_deep)

    with pytest.raises(MalformedJson):
        check_members(b"[" * 1020 + b"]" * 1020)


def _too_deep(*_args, **_options):
    # Python 3.11 gives up before orjson's 1 024 levels, 3.13 far beyond them.
    raise RecursionError
