"""What clients send to the token endpoint, before anybody believes it."""

from base64 import b64encode

import pytest
from flask import Flask, request

from entrepot.portal.callers import Shown, shown
from entrepot.portal.errors import InvalidClient, OAuthError
from entrepot.portal.forms import FORM_TYPE, read_form


def read(body: bytes, content_type: str = FORM_TYPE, query: str = ""):
    with Flask("test").test_request_context(
        f"/oauth/token?{query}", method="POST", data=body, content_type=content_type
    ):
        return read_form(request)


def basic(text: str) -> str:
    return f"Basic {b64encode(text.encode()).decode()}"


def test_form_is_read_and_empty_fields_are_as_if_not_there():
    assert read(b"grant_type=client_credentials&scope=&extra=1") == {"grant_type": "client_credentials", "extra": "1"}


@pytest.mark.parametrize(
    ("body", "content_type", "query", "names"),
    [
        (b'{"grant_type":"client_credentials"}', "application/json", "", FORM_TYPE),
        (b"grant_type=a&grant_type=a", FORM_TYPE, "", "grant_type"),
        (b"secret-name=a&secret-name=b", FORM_TYPE, "", "a parameter"),
        (b"grant_type=a", FORM_TYPE, "client_secret=s", "client_secret"),
        (b"grant_type=a", FORM_TYPE, "token=s", "token"),
        (b"scope=%FF", FORM_TYPE, "", "UTF-8"),
        ("scope=é".encode(), FORM_TYPE, "", "UTF-8"),
        (b"&".join(b"f%d=1" % number for number in range(33)), FORM_TYPE, "", "32 fields"),
    ],
)
def test_form_that_breaks_a_rule_is_an_invalid_request(body, content_type, query, names):
    with pytest.raises(OAuthError, match=names) as refused:
        read(body, content_type, query)

    assert refused.value.code == "invalid_request"
    assert "secret-name" not in str(refused.value)


@pytest.mark.parametrize(
    ("authorization", "form", "found"),
    [
        (basic("shop:s3cret"), {}, Shown("shop", "s3cret")),
        (basic("shop:s3cret").replace("Basic", "bAsIC "), {}, Shown("shop", "s3cret")),
        (basic("a%3Ab+c:s%25"), {}, Shown("a:b c", "s%")),
        (basic("shop:with:colon"), {"client_id": "shop"}, Shown("shop", "with:colon")),
        (None, {"client_id": "shop", "client_secret": "s3cret"}, Shown("shop", "s3cret")),
    ],
)
def test_client_shows_its_secret_by_basic_or_in_the_form(authorization, form, found):
    assert shown(authorization, form) == found


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        (None, {}),
        (None, {"client_id": "shop"}),
        (None, {"client_secret": "s3cret"}),
        (basic("shop"), {}),
        (basic(":s3cret"), {}),
        (basic("shop:"), {}),
        ("Basic", {}),
        ("Basic !!!", {}),
        ("Basic /w==", {}),
        (basic("%FF:s3cret"), {}),
        ("Bearer abc", {}),
        (basic("s" * 600 + ":x"), {}),
    ],
)
def test_request_without_a_readable_secret_is_an_invalid_client(authorization, form):
    with pytest.raises(InvalidClient) as refused:
        shown(authorization, form)

    assert refused.value.status == 401
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("form", [{"client_secret": "x"}, {"client_id": "other"}])
def test_two_ways_to_say_who_asks_are_an_invalid_request(form):
    with pytest.raises(OAuthError) as refused:
        shown(basic("shop:s3cret"), form)

    assert refused.value.code == "invalid_request"
