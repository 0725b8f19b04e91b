"""Odd inputs against a real Odoo: the right status, public names, and nothing of what is inside."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from problems import LEAKS, MEMBERS

pytestmark = pytest.mark.odoo

TYPE = "urn:entrepot:problem:"


def is_problem(answer, status, *paths):
    """Assert that *answer* is a problem that leaks nothing and names *paths*, if any are given."""
    assert answer.status == status, f"{answer.status}: {answer.body[:600]!r}"
    assert answer.header("content-type") == "application/problem+json"
    document = answer.json()
    assert set(document) >= MEMBERS
    assert document["type"] == TYPE + document["code"]
    found = LEAKS.search(answer.body)
    assert found is None, f"leaks {found.group()!r}: {answer.body[:600]!r}"
    if paths:
        assert [mistake.get("path") for mistake in document["errors"]] == list(paths), document
    return document


@pytest.fixture
def contact(gateway, odoo, mark):
    answer = gateway.call_json("POST", "/v1/contacts", {"name": mark}, token="ours")
    assert answer.status == 201, answer.body
    return answer.data["id"]


@pytest.fixture
def make_order(gateway, products, mark):
    """Return a function that posts an order with other values than a good one's."""

    def make(**changes):
        body = {"reference": mark, "lines": [{"product": next(iter(products)), "quantity": 1, "price": 1}], **changes}
        return gateway.call_json("POST", "/v1/orders", body, token="ours", timeout_s=60)

    return make


BAD_VALUES = [
    ({"kind": "zzz"}, "/kind"), ({"seller": 2147483647}, "/seller"), ({"seller": 0}, "/seller"),
    ({"seller": -1}, "/seller"), ({"seller": 10**30}, "/seller"), ({"seller": "2"}, "/seller"),
    ({"tags": [2147483647]}, "/tags"), ({"tags": [1, "x"]}, "/tags/1"), ({"tags": None}, "/tags"),
    ({"country": "ZZ"}, "/country"), ({"country": "be"}, "/country"), ({"country": "B%"}, "/country"),
    ({"country": "😀" * 20_000}, "/country"), ({"country": 32}, "/country"), ({"colour": 2**31}, "/colour"),
    ({"colour": -(2**31) - 1}, "/colour"), ({"colour": 1.5}, "/colour"), ({"colour": True}, "/colour"),
    ({"colour": None}, "/colour"), ({"born": "0999-12-31"}, "/born"), ({"born": "10000-01-01"}, "/born"),
    ({"born": "2025-02-29"}, "/born"), ({"born": ""}, "/born"), ({"until": "2026-06-30T10:00:00"}, "/until"),
    ({"until": "2026-06-30 10:00:00Z"}, "/until"), ({"until": "9999-12-31T23:59:59-14:00"}, "/until"),
    ({"until": "1000-01-01T00:00:00+14:00"}, "/until"), ({"until": "2026-06-30T23:59:60Z"}, "/until"),
    ({"image": "###"}, "/image"), ({"email": "a\0b"}, "/email"), ({"email": ["a"]}, "/email"),
    ({"employee": 1}, "/employee"), ({"name": "x" * 301}, "/name"), ({"nope/x~": 1}, "/nope~1x~0"),
    ({"updated": "2026-01-01T00:00:00Z"}, "/updated"), ({"id": 1}, "/id"), ({"parent_id": 1}, "/parent_id"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "path"), BAD_VALUES, ids=lambda value: str(value)[:40])
def test_value_that_cannot_be_is_refused_by_its_place(gateway, odoo, mark, values, path):
    answer = gateway.call_json("POST", "/v1/contacts", {"name": mark, **values}, token="ours")

    is_problem(answer, 422, path)
    assert odoo.search("res.partner", ["name", "=", mark]) == []


@pytest.mark.parametrize("values", [{"seller": 2147483647}, {"country": "ZZ"}, {"kind": "zzz"}, {"colour": 2**31}])
def test_value_that_cannot_be_is_refused_in_a_change(gateway, odoo, contact, values):
    before = odoo.read("res.partner", contact, "user_id", "country_id", "type", "color", "write_date")

    is_problem(
        gateway.call_json("PATCH", f"/v1/contacts/{contact}", values, token="ours"), 422, f"/{next(iter(values))}"
    )

    assert odoo.read("res.partner", contact, "user_id", "country_id", "type", "color", "write_date") == before


@pytest.mark.parametrize(
    "values",
    [
        {"note": "y" * 900_000},
        {"job": "é中😀" * 20_000},
        {"name": "'; DROP TABLE res_partner; --"},
        {"name": "=1+1"},
        {"name": "%(x)s {0} ${object.name} %s"},
        {"name": "\u202e\u200b\ufeff"},
        {"name": "\x01\x1f\x7f"},
        {"note": "\r\n\t \u2028"},
        {"colour": -(2**31)},
        {"colour": 2**31 - 1},
        {"born": "1000-01-01"},
        {"born": "9999-12-31"},
        {"until": "1000-01-01T00:00:00Z"},
        {"until": "9999-12-31T23:59:59Z"},
        {"latitude": -179.99999},
        {"email": "<script>alert(1)</script>"},
    ],
    ids=lambda value: str(value)[:40],
)
def test_odd_value_is_kept_as_it_came(gateway, odoo, mark, values):
    body = {"name": mark, "phone": mark, **values}

    answer = gateway.call_json("POST", "/v1/contacts", body, token="ours", timeout_s=30)

    assert answer.status == 201, answer.body[:600]
    [row] = odoo.call("res.partner", "search_read", [["phone", "=", mark]], ["name", "comment", "function", "color"])
    assert {**answer.data, **values} == answer.data
    assert (answer.data["id"], answer.data["name"], answer.data["note"]) == (
        row["id"],
        row["name"],
        row["comment"] or None,
    )
    assert (answer.data["job"], answer.data["colour"]) == (row["function"] or None, row["color"])


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'{"name": "\\ud800"}', 400), (b'{"name": "x", "latitude": NaN}', 400), (b'{"name": "x"', 400), (b"[]", 422),
        (b'{"name": "x", "latitude": 1e400}', 400), (b'"x"', 422), (b"null", 422), (b"\xff", 400), (b"", 400),
        (b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400), (b'{"note": "' + b"y" * 2_000_000 + b'"}', 413),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_body_that_is_no_record_is_refused(gateway, raw, status):
    is_problem(gateway.call_json("POST", "/v1/contacts", raw, token="ours"), status)


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("id=abc", "id"), ("id[in]=1,x", "id[in]"), ("id=99999999999", "id"), ("colour[like]=1", "colour[like]"),
        ("colour[in]=1,99999999999", "colour[in]"), ("active=maybe", "active"), ("born=2026-13-01", "born"),
        ("updated=2026", "updated"), ("latitude=nan", "latitude"), ("latitude=1e999", "latitude"), ("image=x", "image"),
        ("name=%00", "name"), ("search=%00", "search"), ("seller=99999999999", "seller"), ("kind[gt]=a", "kind[gt]"),
        ("name[ilike]=x", "name[ilike]"), ("name[like=x", "name[like"), ("parent_id=1", "parent_id"),
        ("sort=email", "sort"), ("fields=nope", "fields"), ("limit=0", "limit"), ("limit=-1", "limit"),
        ("limit=101", "limit"), ("offset=2147483648", "offset"), ("domain=[]", "domain"),
    ],
)  # fmt: skip
def test_query_that_cannot_be_is_refused_by_its_parameter(gateway, query, path):
    is_problem(gateway.call("GET", f"/v1/contacts?{query}", token="ours"), 400, path)


@pytest.mark.parametrize(
    "query", ["search=%27%20OR%201=1%20--", "search=%25", "search=_", "search=%5C", "name=%25", "name[like]=%5C%25",
              "name[in]=a,b,%27", "search=%F0%9F%98%80", "search=[(%27id%27,%27!=%27,0)]", "kind=zzz", "id=0",
              "id[in]=2147483647,-5", "country=%25", "email[like]=__"],
)  # fmt: skip
def test_search_text_is_text_and_no_pattern(gateway, contact, query):
    answer = gateway.call("GET", f"/v1/contacts?{query}&total=true&limit=100", token="ours")

    assert answer.status == 200, answer.body
    assert contact not in {row["id"] for row in answer.data}


@pytest.mark.parametrize(
    "number", ["0", "-1", "abc", "1e3", "99999999999", "2147483647", "%D9%A3", "1;2", "1,2", "[1]"]
)
def test_id_that_cannot_be_is_not_there(gateway, number):
    for answer in (
        gateway.call("GET", f"/v1/contacts/{number}", token="ours"),
        gateway.call_json("PATCH", f"/v1/contacts/{number}", {"job": "x"}, token="ours"),
        gateway.call("DELETE", f"/v1/contacts/{number}", token="ours"),
        gateway.call("POST", f"/v1/orders-by-id/{number}/confirm", token="ours"),
    ):
        is_problem(answer, 404)


def test_negative_numbers_are_odoos_to_judge(make_order, products):
    answer = make_order(lines=[{"product": next(iter(products)), "quantity": -5, "price": -3}])

    assert answer.status == 201, answer.body
    assert (answer.data["lines"][0]["quantity"], answer.data["total"]) == (-5.0, 15.0)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"reference": ""}, "/reference"), ({"reference": ".."}, "/reference"), ({"reference": "a\nb"}, "/reference"),
        ({"reference": None}, "/reference"), ({"reference": "x" * 65}, "/reference"), ({"lines": None}, "/lines"),
        ({"lines": {}}, "/lines"), ({"lines": ["x"]}, "/lines/0"), ({"valid": "2026-02-30"}, "/valid"),
        ({"lines": [{"product": "😀", "quantity": 1, "price": 1}]}, "/lines/0/product"),
        ({"lines": [{"product": None, "quantity": 1, "price": 1}]}, "/lines/0/product"),
        ({"lines": [{"product": "%", "quantity": 1, "price": 1}]}, "/lines/0/product"),
        ({"lines": [{"product": "x", "quantity": "1", "price": 1}]}, "/lines/0/quantity"),
        ({"lines": [{"product": "x", "quantity": 1}]}, "/lines/0/price"),
    ],
    ids=lambda value: str(value)[:60],
)  # fmt: skip
def test_order_that_cannot_be_is_refused_by_its_place(odoo, make_order, mark, changes, path):
    is_problem(make_order(**changes), 422, path)

    assert odoo.search("sale.order", ["client_order_ref", "=", mark]) == []


def test_cancelled_order_is_not_confirmed(gateway, odoo, make_order, mark):
    make_order()
    [number] = odoo.search("sale.order", ["client_order_ref", "=", mark])
    odoo.call("sale.order", "action_cancel", [number])

    document = is_problem(gateway.call("POST", f"/v1/orders/{mark}/confirm", token="ours"), 422)

    assert "cancel" in document["detail"]


def test_changes_of_one_record_at_the_same_moment_all_arrive(gateway, odoo, contact):
    def change(number):
        return gateway.call_json("PATCH", f"/v1/contacts/{contact}", {"job": str(number)}, token="ours", timeout_s=60)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(change, range(6)))

    assert [answer.status for answer in answers] == [200] * 6
    assert odoo.read("res.partner", contact, "function")["function"] in set("012345")


def test_lines_replaced_at_the_same_moment_are_those_of_one_of_the_callers(gateway, odoo, make_order, products, mark):
    make_order()

    def change(number):
        lines = [{"product": next(iter(products)), "quantity": number + 1, "price": 1}] * 2
        return gateway.call_json("PATCH", f"/v1/orders/{mark}", {"lines": lines}, token="ours", timeout_s=60)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(change, range(4)))

    assert {answer.status for answer in answers} <= {200, 409, 503}
    assert 200 in {answer.status for answer in answers}
    lines = gateway.call("GET", f"/v1/orders/{mark}", token="ours").data["lines"]
    assert len({row["quantity"] for row in lines}) == 1
    assert len(lines) == 2


def test_deletions_at_the_same_moment_delete_once(gateway, odoo, contact):
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: gateway.call("DELETE", f"/v1/contacts/{contact}", token="ours", timeout_s=60), range(4))
        )

    assert sorted(answer.status for answer in answers) == [204, 404, 404, 404]
    assert odoo.search("res.partner", ["id", "=", contact]) == []


def test_log_has_no_traceback(gateway):
    assert "Traceback" not in gateway.log()


def test_creates_of_the_same_reference_at_the_same_moment_make_one_order(odoo, make_order, mark):
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: make_order(), range(6)))

    assert sorted(answer.status for answer in answers) == [201] + [409] * 5
    assert len(odoo.search("sale.order", ["client_order_ref", "=", mark])) == 1


@pytest.mark.parametrize("number", [1e308, -1e308])
def test_number_beyond_odoo_is_refused_by_its_place(gateway, mark, number):
    answer = gateway.call_json("POST", "/v1/contacts", {"name": mark, "latitude": number}, token="ours")

    is_problem(answer, 422, "/latitude")


def test_null_for_what_odoo_wants_is_refused_by_its_place(make_order):
    is_problem(make_order(ordered=None), 422, "/ordered")


@pytest.mark.parametrize("body", [b'{"force": true}', b"[1, 2]", b"nonsense"])
def test_body_of_a_call_without_arguments_is_checked(gateway, make_order, mark, body):
    make_order()

    answer = gateway.call_json("POST", f"/v1/orders/{mark}/confirm", body, token="ours")

    assert answer.status in {400, 422}, answer.body


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_call_without_arguments_takes_an_empty_body(gateway, make_order, mark, body):
    make_order()

    answer = gateway.call_json("POST", f"/v1/orders/{mark}/confirm", body, token="ours", timeout_s=30)

    assert (answer.status, answer.data) == (200, True)


def test_call_without_a_body_needs_no_media_type(gateway, make_order, mark):
    make_order()

    answer = gateway.call("POST", f"/v1/orders/{mark}/confirm", "Content-Length: 0", token="ours", timeout_s=30)

    assert answer.status == 200, answer.body


def test_many2many_that_is_not_there_is_refused_by_its_place_in_a_change(gateway, contact):
    is_problem(
        gateway.call_json("PATCH", f"/v1/contacts/{contact}", {"tags": [2147483647]}, token="ours"), 422, "/tags"
    )


def test_required_field_cannot_be_emptied(gateway, odoo, contact, mark):
    is_problem(gateway.call_json("PATCH", f"/v1/contacts/{contact}", {"name": ""}, token="ours"), 422, "/name")

    assert odoo.read("res.partner", contact, "name")["name"] == mark


@pytest.mark.parametrize("field", ["seller", "tags"])
def test_missing_relation_is_told_without_odoos_words(gateway, mark, field):
    value = [2147483647] if field == "tags" else 2147483647

    answer = gateway.call_json("POST", "/v1/contacts", {"name": mark, field: value}, token="ours")

    assert "database id" not in json.dumps(is_problem(answer, 422, f"/{field}"))
