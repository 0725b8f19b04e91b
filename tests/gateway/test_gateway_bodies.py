"""Bodies: every mistake has its status and its pointer, before anything reaches the ERP."""

import gzip
import json

import pytest
from catalogs import AZURE
from rawclient import chunked

CONTACTS = "/v1/contacts"
JSON = "Content-Type: application/json"


def contact(**more):
    return {"name": "Somebody", **more}


# -- syntax

NO_JSON = {
    "nothing": b"",
    "blank": b"  ",
    "cut off": b'{"name": "x"',
    "trailing comma": b'{"name": "x",}',
    "single quotes": b"{'name': 'x'}",
    "a comment": b'{"name": "x" /* y */}',
    "two documents": b'{"name": "x"}{"name": "y"}',
    "NaN": b'{"name": "x", "credit": NaN}',
    "Infinity": b'{"name": "x", "credit": Infinity}',
    "minus Infinity": b'{"name": "x", "credit": -Infinity}',
    "lone high surrogate": b'{"name": "\\ud800"}',
    "lone low surrogate": b'{"name": "\\udc00x"}',
    "reversed surrogates": b'{"name": "\\udc00\\ud800"}',
    "surrogate in a name": b'{"name": "x", "\\ud800": 1}',
    "not UTF-8": b'{"name": "\xff"}',
    "encoded surrogate": b'{"name": "\xed\xa0\x80"}',
    "overlong": b'{"name": "\xc0\xaf"}',
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "raw control character": b'{"name": "a\nb"}',
    "leading zero": b'{"name": "x", "colour": 01}',
    "hexadecimal": b'{"name": "x", "colour": 0x1}',
    "10 000 lists": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10 000 lists, open": b"[" * 10_000,
    "10 000 objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "a form": b"name=x",
    "XML": b"<contact/>",
}


@pytest.mark.parametrize("case", NO_JSON)
@pytest.mark.parametrize(
    ("method", "target"), [("POST", CONTACTS), ("PATCH", f"{CONTACTS}/26"), ("POST", "/v1/checked")]
)
def test_body_that_is_no_json_is_400(gateway, upstream, assert_problem, case, method, target):
    before = len(upstream.seen_at("/checked"))

    answer = gateway.call_json(method, target, NO_JSON[case], token="shop")

    assert_problem(answer, 400, "malformed-json")
    assert len(upstream.seen_at("/checked")) == before


def test_request_without_any_body_is_400(gateway, assert_problem):
    assert_problem(gateway.call("POST", CONTACTS, JSON, token="shop"), 400, "malformed-json")


@pytest.mark.parametrize("value", ["a\0b", "\0"])
def test_nul_in_a_text_is_refused_with_its_pointer(gateway, assert_problem, value):
    answer = gateway.call_json("POST", CONTACTS, contact(city=value), token="shop")

    assert_problem(answer, 422, "invalid-body", path="/city", detail="")


def test_nul_in_a_line_is_refused_with_its_pointer(gateway, name, assert_problem):
    document = {
        "reference": name,
        "lines": [{"product": "FURN_7777", "quantity": 1}, {"product": "A\0", "quantity": 1}],
    }

    assert_problem(
        gateway.call_json("POST", "/v1/orders", document, token="shop"), 422, "invalid-body", paths=["/lines/1/product"]
    )


# -- media type

OTHER_TYPES = [
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "json",
    "application/jsonx",
    "application/json-patch+json",
    "application/octet-stream",
    "*/*",
    "",
    "application/json; charset=iso-8859-1",
    "application/json; charset=utf-16",
    "application/json, text/plain",
]


@pytest.mark.parametrize("media_type", OTHER_TYPES)
def test_wrong_media_type_is_415(gateway, assert_problem, media_type):
    body = json.dumps(contact()).encode()

    answer = gateway.call("POST", CONTACTS, f"Content-Type: {media_type}", token="shop", body=body)

    assert_problem(answer, 415, "unsupported-media-type")


def test_body_without_a_media_type_is_415(gateway, assert_problem):
    assert_problem(gateway.call("POST", CONTACTS, token="shop", body=b"{}"), 415, "unsupported-media-type")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_compressed_body_is_415(gateway, assert_problem, coding):
    body = gzip.compress(json.dumps(contact()).encode())

    answer = gateway.call("POST", CONTACTS, JSON, f"Content-Encoding: {coding}", token="shop", body=body)

    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/json ; charset=UTF-8",
    ],
)
def test_json_is_known_by_its_media_type(gateway, media_type):
    answer = gateway.call("POST", "/v1/checked", f"Content-Type: {media_type}", token="shop", body=b'{"name": "x"}')

    assert answer.status == 200, answer.body


def test_merge_patch_is_a_media_type_of_updates(gateway, erp, name):
    id_ = erp.contact(AZURE, name)

    answer = gateway.call(
        "PATCH",
        f"{CONTACTS}/{id_}",
        "Content-Type: application/merge-patch+json",
        token="shop",
        body=b'{"email": "w@example.com"}',
    )

    assert answer.status == 200, answer.body
    assert answer.data["email"] == "w@example.com"


# -- shape and values

MISTAKES = {
    "a list": ([], [""]),
    "a text": ("x", [""]),
    "a number": (1, [""]),
    "null": (None, [""]),
    "true": (True, [""]),
    "missing name": ({}, ["/name"]),
    "unknown": (contact(nickname="x"), ["/nickname"]),
    "Odoo's name": (contact(credit_limit=1), ["/credit_limit"]),
    "name with / and ~": (contact(**{"a/b~c": 1}), ["/a~1b~0c"]),
    "empty name of a field": (contact(**{"": 1}), ["/"]),
    "read-only": (contact(updated="2026-01-31T10:00:00Z"), ["/updated"]),
    "id": (contact(id=7), ["/id"]),
    "text as number": (contact(colour="1"), ["/colour"]),
    "number as text": (contact(city=5), ["/city"]),
    "fraction as integer": (contact(colour=1.5), ["/colour"]),
    "true as integer": (contact(colour=True), ["/colour"]),
    "beyond 32 bits": (contact(colour=2**31), ["/colour"]),
    "beyond 64 bits": (contact(colour=2**70), ["/colour"]),
    "list as text": (contact(city=["x"]), ["/city"]),
    "object as text": (contact(city={"x": 1}), ["/city"]),
    "text as boolean": (contact(company="true"), ["/company"]),
    "number as boolean": (contact(company=1), ["/company"]),
    "null for a required field": ({"name": None}, ["/name"]),
    "too long": (contact() | {"name": "x" * 65}, ["/name"]),
    "no such choice": (contact(kind="enemy"), ["/kind"]),
    "no date": (contact(born="yesterday"), ["/born"]),
    "no day": (contact(born="2026-02-30"), ["/born"]),
    "date with time": (contact(born="2026-02-03T00:00:00Z"), ["/born"]),
    "natural key a number": (contact(country=57), ["/country"]),
    "natural key a list": (contact(country=["AT"]), ["/country"]),
    "four at once": ({"colour": "x", "company": 0, "zzz": 1}, ["/name", "/colour", "/company", "/zzz"]),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_body_against_the_schema_is_422_with_every_pointer(gateway, erp, assert_problem, case):
    document, paths = MISTAKES[case]
    before = erp.call("res.partner", "search_count", [])

    answer = gateway.call_json("POST", CONTACTS, document, token="shop")

    assert_problem(answer, 422, "invalid-body", paths=paths)
    assert erp.call("res.partner", "search_count", []) == before


@pytest.mark.parametrize(
    "case", ["a list", "unknown", "read-only", "text as number", "no such choice", "null for a required field"]
)
def test_update_is_checked_too(gateway, assert_problem, case):
    document, paths = MISTAKES[case]

    assert_problem(
        gateway.call_json("PATCH", f"{CONTACTS}/26", document, token="shop"), 422, "invalid-body", paths=paths
    )


ORDERS = {
    "lines an object": ({"reference": "r", "lines": {}}, ["/lines"]),
    "a line a number": ({"reference": "r", "lines": [1]}, ["/lines/0"]),
    "a line without product": ({"reference": "r", "lines": [{"quantity": 1}]}, ["/lines/0/product"]),
    "a line with an unknown field": (
        {
            "reference": "r",
            "lines": [{"product": "FURN_7777", "quantity": 1}, {"product": "E-COM07", "quantity": 1, "price_unit": 0}],
        },
        ["/lines/1/price_unit"],
    ),
    "a quantity in words": (
        {"reference": "r", "lines": [{"product": "FURN_7777", "quantity": "one"}]},
        ["/lines/0/quantity"],
    ),
    "a state": ({"reference": "r", "state": "sale", "lines": []}, ["/state"]),
    "the owner": ({"reference": "r", "partner_id": 10}, ["/partner_id"]),
}


@pytest.mark.parametrize("case", ORDERS)
def test_line_with_a_mistake_is_named_by_its_number(gateway, assert_problem, case):
    document, paths = ORDERS[case]

    assert_problem(gateway.call_json("POST", "/v1/orders", document, token="shop"), 422, "invalid-body", paths=paths)


def test_product_that_does_not_exist_is_422_with_its_pointer(gateway, erp, name, assert_problem):
    document = {
        "reference": name,
        "lines": [{"product": "FURN_7777", "quantity": 1}, {"product": "NONE", "quantity": 1}],
    }

    answer = gateway.call_json("POST", "/v1/orders", document, token="shop")

    assert answer.status == 422
    assert_problem(answer, 422, answer.json()["code"], path="/lines/1/product")
    assert erp.call("sale.order", "search_count", [["client_order_ref", "=", name]]) == 0


@pytest.mark.parametrize("lines", [{}, {"lines": []}])
def test_order_without_lines_is_an_order(gateway, name, lines):
    answer = gateway.call_json("POST", "/v1/orders", {"reference": name, **lines}, token="shop")

    assert answer.status == 201, answer.body
    assert answer.data["lines"] == []


ODD_REFERENCES = [
    "A B",
    "é",
    "50%",
    "a?b",
    "a#b",
    "a&b=c",
    "A|B",
    "{A}",
    'A"B',
    "<A>",
    "A^B",
    "A`B",
    "A/B",
    "A\\B",
    ".",
    "..",
    " A",
    "A ",
    "%2F",
    "+",
]


@pytest.mark.parametrize("reference", ODD_REFERENCES)
def test_record_that_could_be_made_can_be_reached_where_it_is_said_to_be(gateway, name, assert_problem, reference):
    if reference not in {".", ".."}:
        reference = reference.replace("A", f"A{name}").replace("a", f"a{name}")

    answer = gateway.call_json("POST", "/v1/orders", {"reference": reference}, token="shop")

    if answer.status == 422:
        assert_problem(answer, 422, "invalid-body", path="/reference")
        return
    assert answer.status == 201, answer.body
    read = gateway.call("GET", answer.header("location"), token="shop")
    assert read.status == 200, (answer.header("location"), read.body)
    assert read.data["reference"] == reference


def test_country_that_does_not_exist_is_422_with_its_pointer(gateway, assert_problem):
    answer = gateway.call_json("POST", CONTACTS, contact(country="XX"), token="shop")

    assert_problem(answer, 422, answer.json()["code"], path="/country")


def test_rule_of_the_erp_is_422_without_its_names(gateway, erp, name, assert_problem):
    erp.order(AZURE, name)
    assert gateway.call("POST", f"/v1/orders/{name}/confirm", token="shop").status == 200

    answer = gateway.call("DELETE", f"/v1/orders/{name}", token="shop")

    assert answer.status in {409, 422}
    assert_problem(answer, answer.status, answer.json()["code"])


@pytest.mark.parametrize("case", ["too long", "nested", "wrong"])
def test_relay_with_a_schema_checks_it(gateway, upstream, assert_problem, case):
    document, paths = {
        "too long": ({"name": "x" * 21}, ["/name"]),
        "nested": ({"name": "x", "tags": ["a", 1]}, ["/tags/1"]),
        "wrong": ({"count": 0, "more": 1}, ["/name", "/count", "/more"]),
    }[case]
    before = len(upstream.seen_at("/checked"))

    assert_problem(gateway.call_json("PUT", "/v1/checked", document, token="shop"), 422, "invalid-body", paths=paths)
    assert len(upstream.seen_at("/checked")) == before


@pytest.mark.parametrize("levels", [200, 300, 1000, 1100])
@pytest.mark.parametrize("target", [CONTACTS, "/v1/checked"])
def test_wrong_value_that_is_nested_deeply_is_refused(gateway, assert_problem, target, levels):
    body = b'{"name": ' + b"[" * levels + b"]" * levels + b"}"

    answer = gateway.call_json("POST", target, body, token="shop")

    status, code = (422, "invalid-body") if levels == 200 else (400, "malformed-json")
    assert_problem(answer, status, code)


def test_relay_with_a_schema_sends_the_bytes_that_were_checked(gateway):
    body = b' {"name" : "x",\n"tags":["\\u00e9"]} '

    answer = gateway.call_json("POST", "/v1/checked", body, token="shop")

    assert answer.json()["body"] == body.decode()


def test_many_mistakes_are_bounded(gateway, assert_problem):
    document = assert_problem(
        gateway.call_json("POST", CONTACTS, {f"f{i}": i for i in range(900)}, token="shop"), 422, "invalid-body"
    )

    assert 10 <= len(document["errors"]) <= 100


def test_5000_unknown_fields_are_refused_with_a_bounded_answer(gateway, assert_problem):
    answer = gateway.call_json("POST", CONTACTS, {f"f{i}": i for i in range(5000)}, token="shop")

    assert 1 <= len(assert_problem(answer, 422, "invalid-body")["errors"]) <= 100
    assert len(answer.body) < 32_768


# -- size


def test_text_of_2_mb_is_422_with_its_pointer_and_not_repeated(gateway, assert_problem):
    answer = gateway.call_json("POST", CONTACTS, contact() | {"name": "x" * 2_000_000}, token="shop")

    assert_problem(answer, 422, "invalid-body", paths=["/name"])
    assert len(answer.body) < 4096


def test_text_of_2_mb_under_an_unknown_name_is_not_repeated(gateway, assert_problem):
    answer = gateway.call_json("POST", CONTACTS, contact(**{"x" * 2_000_000: 1}), token="shop")

    assert_problem(answer, 422, "invalid-body")
    assert len(answer.body) < 8192


@pytest.mark.parametrize("target", ["/v1/orders", "/v1/checked", "/v1/echo/large", "/v1/kept/large"])
def test_announced_body_that_is_too_large_is_413_before_it_is_sent(gateway, assert_problem, target):
    head = gateway.head("POST", target, JSON, "Content-Length: 5000000", token="shop")
    with gateway.wire() as wire:
        wire.send(head)

        assert_problem(wire.answer(), 413, "body-too-large")


@pytest.mark.parametrize("target", ["/v1/orders", "/v1/checked", "/v1/echo/large", "/v1/kept/large"])
def test_body_that_is_too_large_is_413_even_when_it_is_all_sent(gateway, assert_problem, target):
    answer = gateway.call_json("POST", target, b'"' + b"x" * 1_500_000 + b'"', token="shop")

    assert_problem(answer, 413, "body-too-large")


@pytest.mark.parametrize("target", ["/v1/orders", "/v1/checked", "/v1/kept/large", "/v1/echo/{name}"])
def test_chunked_body_that_becomes_too_large_is_413(gateway, upstream, name, assert_problem, target):
    head = gateway.head("POST", target.format(name=name), JSON, "Transfer-Encoding: chunked", token="shop")
    with gateway.wire() as wire:
        wire.send(head + chunked(*[b"x" * 65536] * 24))

        assert_problem(wire.answer(), 413, "body-too-large")
    assert all(request._body is None for request in upstream.seen_at(f"/echo/{name}")), "the upstream took it for whole"


def test_chunked_body_of_a_million_small_chunks_is_counted(gateway, assert_problem):
    head = gateway.head("POST", "/v1/checked", JSON, "Transfer-Encoding: chunked", token="shop")
    with gateway.wire() as wire:
        wire.send(head + b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n")

        assert_problem(wire.answer(), 413, "body-too-large")


def test_too_large_body_is_refused_instead_of_asked_for(gateway, assert_problem):
    head = gateway.head("POST", "/v1/checked", JSON, "Content-Length: 5000000", "Expect: 100-continue", token="shop")
    with gateway.wire() as wire:
        wire.send(head)
        answer = wire.answer()

        assert_problem(answer, 413, "body-too-large")
        assert answer.interim == []


@pytest.mark.parametrize("target", ["/v1/checked", "/v1/echo/continued"])
def test_expected_body_is_asked_for(gateway, target):
    head = gateway.head("POST", target, JSON, "Content-Length: 13", "Expect: 100-continue", token="shop")
    with gateway.wire() as wire:
        wire.send(head)
        assert wire.readable(5), "100 Continue does not come"
        wire.send(b'{"name": "x"}')
        answer = wire.answer()

    assert answer.status == 200, answer.body
    assert answer.interim == [100]


def test_unauthorised_body_is_not_asked_for(gateway, assert_problem):
    head = gateway.head("POST", "/v1/echo/continued", "Content-Length: 13", "Expect: 100-continue")
    with gateway.wire() as wire:
        wire.send(head)
        answer = wire.answer()

        assert_problem(answer, 401, "invalid-token")
        assert answer.interim == []
