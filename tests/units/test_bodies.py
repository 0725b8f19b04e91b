"""gateway.bodies: JSON bodies."""

import pytest

from entrepot.catalog.schemas import compile_schema
from entrepot.errors import InvalidBody, MalformedJson, UnsupportedMediaType
from entrepot.gateway.bodies import check_media_type, check_schema, parse_json


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
