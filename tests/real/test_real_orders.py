"""Sale orders with their lines through the gateway, each answer compared with what Odoo itself says."""

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.odoo

ASKED = [
    "client_order_ref", "name", "state", "amount_total", "currency_id", "note", "date_order", "commitment_date",
    "validity_date", "order_line",
]  # fmt: skip


def moment(text):
    return f"{text[:10]}T{text[11:]}Z" if text else None


def number_of(odoo, order: dict) -> int:
    """Return Odoo's id of *order*, which partners do not see where orders are addressed by reference."""
    [found] = odoo.search("sale.order", ["client_order_ref", "=", order["reference"]])
    return found


def said(odoo, order: dict) -> dict:
    """Return *order* as Odoo tells it, in public terms."""
    row = odoo.read("sale.order", number_of(odoo, order), *ASKED)
    return {
        "reference": row["client_order_ref"] or None,
        "number": row["name"],
        "state": row["state"],
        "total": row["amount_total"],
        "currency": row["currency_id"][1],
        "note": None if row["note"] is False else row["note"],
        "ordered": moment(row["date_order"]),
        "wanted": moment(row["commitment_date"]),
        "valid": row["validity_date"] or None,
        "lines": [_line(odoo, line) for line in row["order_line"]],
    }


def _line(odoo, line_id: int) -> dict:
    asked = ["product_id", "product_uom_qty", "price_unit", "name", "price_subtotal"]
    row = odoo.read("sale.order.line", line_id, *asked)
    return {
        "product": odoo.read("product.product", row["product_id"][0], "default_code")["default_code"],
        "quantity": row["product_uom_qty"],
        "price": row["price_unit"],
        "text": row["name"],
        "subtotal": row["price_subtotal"],
    }


def line(product: str, quantity: float = 1, price: float = 1) -> dict:
    return {"product": product, "quantity": quantity, "price": price}


@pytest.fixture
def codes(products):
    return list(products)


@pytest.fixture
def order(gateway, codes, mark):
    """A draft order with two lines, made through the gateway."""
    body = {"reference": mark, "lines": [line(codes[0], 2, 10), line(codes[1], 3, 2.5)]}
    answer = gateway.call_json("POST", "/v1/orders", body, token="ours")
    assert answer.status == 201, answer.body
    return answer.data


def test_new_order_is_in_odoo_field_by_field(gateway, odoo, ours, codes, mark):
    body = {
        "reference": f"{mark} é 😀", "note": "one\ntwo\ttab", "ordered": "2026-03-29T01:30:00+02:00",
        "wanted": "2026-12-31T23:59:59Z", "valid": "2026-02-28",
        "lines": [line(codes[1], 2.5, 0.1), line(codes[0], 0, 0), line(codes[1], 1, 1e6)],
    }  # fmt: skip

    answer = gateway.call_json("POST", "/v1/orders", body, token="ours")

    assert answer.status == 201, answer.body
    made = answer.data
    assert made == said(odoo, made)
    assert made["ordered"] == "2026-03-28T23:30:00Z"
    assert {key: made[key] for key in ("reference", "note", "wanted", "valid")} == {
        key: body[key] for key in ("reference", "note", "wanted", "valid")
    }
    assert [{key: row[key] for key in ("product", "quantity", "price")} for row in made["lines"]] == body["lines"]
    assert odoo.read("sale.order", number_of(odoo, made), "partner_id")["partner_id"][0] == ours.id
    assert (made["state"], made["total"]) == ("draft", 1000000.25)
    place = f"/v1/orders/{quote(body['reference'], safe='')}"
    assert answer.header("location").endswith(place)
    assert gateway.call("GET", place, token="ours").data == made


def test_order_is_the_same_by_reference_by_id_and_in_the_list(gateway, odoo, order):
    wanted = said(odoo, order)

    by_reference = gateway.call("GET", f"/v1/orders/{order['reference']}", token="ours").data
    number = number_of(odoo, order)
    by_id = gateway.call("GET", f"/v1/orders-by-id/{number}", token="ours").data
    listed = gateway.call("GET", f"/v1/orders?reference={order['reference']}", token="ours").data

    assert by_reference == wanted
    lines = odoo.read("sale.order", number, "order_line")["order_line"]
    assert [row.pop("id") for row in by_id["lines"]] == lines
    assert by_id == {**wanted, "id": number}
    assert listed == [wanted]


def test_total_is_that_of_odoo(gateway, odoo, ours, order):
    wanted = odoo.call("sale.order", "search_count", [["partner_id", "=", ours.id]])

    answer = gateway.call("GET", "/v1/orders?total=true&limit=1&sort=-total", token="ours").json()

    assert answer["meta"]["total"] == wanted
    dearest = odoo.call("sale.order", "search", [["partner_id", "=", ours.id]], order="amount_total desc, id", limit=1)
    assert [number_of(odoo, row) for row in answer["data"]] == dearest


def test_list_of_lines_replaces_all_lines(gateway, odoo, codes, order):
    before = odoo.read("sale.order", number_of(odoo, order), "order_line")["order_line"]
    body = {"lines": [line(codes[1], 7, 3)]}

    answer = gateway.call_json("PATCH", f"/v1/orders/{order['reference']}", body, token="ours")

    assert answer.status == 200, answer.body
    assert answer.data == said(odoo, order)
    assert [{key: row[key] for key in ("product", "quantity", "price")} for row in answer.data["lines"]] == body[
        "lines"
    ]
    assert answer.data["total"] == 21.0
    assert odoo.search("sale.order.line", ["id", "in", before]) == []


def test_change_without_lines_leaves_them(gateway, odoo, order):
    changes = {"note": "n", "wanted": "2026-05-01T08:00:00Z", "valid": None}

    answer = gateway.call_json("PATCH", f"/v1/orders/{order['reference']}", changes, token="ours")

    assert answer.status == 200, answer.body
    assert answer.data == {**order, **changes} == said(odoo, order)


def test_empty_list_of_lines_deletes_them(gateway, odoo, order):
    answer = gateway.call_json("PATCH", f"/v1/orders/{order['reference']}", {"lines": []}, token="ours")

    assert (answer.status, answer.data["lines"], answer.data["total"]) == (200, [], 0.0)
    assert odoo.read("sale.order", number_of(odoo, order), "order_line")["order_line"] == []


def test_lines_are_kept_when_one_of_the_new_ones_is_wrong(gateway, odoo, codes, order):
    body = {"lines": [line(codes[0]), line("no such product"), line(codes[1]), line("nor this")]}

    answer = gateway.call_json("PATCH", f"/v1/orders/{order['reference']}", body, token="ours")

    assert answer.status == 422, answer.body
    assert [mistake["path"] for mistake in answer.json()["errors"]] == ["/lines/1/product", "/lines/3/product"]
    assert said(odoo, order) == order


def test_if_match_guards_the_lines(gateway, odoo, codes, order):
    place = f"/v1/orders/{order['reference']}"
    tag = gateway.call("GET", place, token="ours").header("etag")
    first = gateway.call_json("PATCH", place, {"lines": [line(codes[0])]}, f"If-Match: {tag}", token="ours")
    second = gateway.call_json("PATCH", place, {"lines": []}, f"If-Match: {tag}", token="ours")

    assert (first.status, second.status) == (200, 412)
    assert len(odoo.read("sale.order", number_of(odoo, order), "order_line")["order_line"]) == 1


def test_confirmed_by_reference_is_a_sale_in_odoo(gateway, odoo, order):
    place = f"/v1/orders/{order['reference']}"

    answer = gateway.call("POST", f"{place}/confirm", token="ours")

    assert (answer.status, answer.data) == (200, True)
    row = odoo.read("sale.order", number_of(odoo, order), "state", "picking_ids")
    assert row["state"] == "sale"
    assert len(row["picking_ids"]) == 1
    assert gateway.call("GET", place, token="ours").data == said(odoo, order)
    again = gateway.call("POST", f"/v1/orders-by-id/{number_of(odoo, order)}/confirm", token="ours")
    assert (again.status, again.data) == (200, True)


def test_confirmed_order_cannot_be_deleted(gateway, odoo, order):
    place = f"/v1/orders/{order['reference']}"
    gateway.call("POST", f"{place}/confirm", token="ours")

    answer = gateway.call("DELETE", place, token="ours")

    problem = answer.json()
    assert (answer.status, problem["code"]) == (409, "conflict")
    assert "cancel" in problem["detail"]
    assert odoo.read("sale.order", number_of(odoo, order), "state")["state"] == "sale"


def test_line_of_a_confirmed_order_cannot_be_deleted(gateway, odoo, order):
    place = f"/v1/orders/{order['reference']}"
    gateway.call("POST", f"{place}/confirm", token="ours")

    answer = gateway.call_json("PATCH", place, {"lines": []}, token="ours")

    assert answer.status in {409, 422}, answer.body
    assert "line" in answer.json()["detail"]
    assert len(odoo.read("sale.order", number_of(odoo, order), "order_line")["order_line"]) == 2


def test_draft_order_is_deleted_with_its_lines(gateway, odoo, order):
    number = number_of(odoo, order)
    lines = odoo.read("sale.order", number, "order_line")["order_line"]

    assert gateway.call("DELETE", f"/v1/orders/{order['reference']}", token="ours").status == 204

    assert odoo.search("sale.order", ["id", "=", number]) == []
    assert odoo.search("sale.order.line", ["id", "in", lines]) == []
    assert gateway.call("POST", f"/v1/orders/{order['reference']}/confirm", token="ours").status == 404


def test_second_order_with_the_same_reference_is_refused(gateway, odoo, ours, codes, order):
    body = {"reference": order["reference"], "lines": [line(codes[0])]}

    answer = gateway.call_json("POST", "/v1/orders", body, token="ours")

    assert (answer.status, answer.json()["code"]) == (409, "conflict")
    assert [mistake["path"] for mistake in answer.json()["errors"]] == ["/reference"]
    assert len(odoo.search("sale.order", ["client_order_ref", "=", order["reference"]])) == 1


def test_reference_that_two_orders_have_is_refused_everywhere(gateway, odoo, ours, products, mark):
    for _ in range(2):
        ours.order(mark, next(iter(products.values())))
    place = f"/v1/orders/{mark}"

    answers = [
        gateway.call("GET", place, token="ours"),
        gateway.call_json("PATCH", place, {"note": "x"}, token="ours"),
        gateway.call("POST", f"{place}/confirm", token="ours"),
        gateway.call("DELETE", place, token="ours"),
    ]

    assert {answer.status for answer in answers} == {409}
    assert {answer.json()["code"] for answer in answers} == {"conflict"}
    rows = odoo.call("sale.order", "search_read", [["client_order_ref", "=", mark]], ["state", "note"])
    assert [(row["state"], row["note"]) for row in rows] == [("draft", rows[0]["note"])] * 2


def test_thousand_lines_go_in_and_out(gateway, odoo, codes, mark):
    body = {"reference": mark, "lines": [line(codes[number % 2], number % 7, number / 100) for number in range(1000)]}

    answer = gateway.call_json("POST", "/v1/orders", body, token="ours", timeout_s=60)

    assert answer.status == 201, answer.body
    lines = odoo.read("sale.order", number_of(odoo, body), "order_line")["order_line"]
    assert len(lines) == 1000
    sent = [tuple(row.values()) for row in body["lines"]]
    assert [(row["product"], row["quantity"], row["price"]) for row in answer.data["lines"]] == sent


def test_thousand_and_one_lines_are_refused_before_odoo(gateway, odoo, codes, mark):
    body = {"reference": mark, "lines": [line(codes[0])] * 1001}

    answer = gateway.call_json("POST", "/v1/orders", body, token="ours")

    assert answer.status == 422, answer.body
    assert [mistake["path"] for mistake in answer.json()["errors"]] == ["/lines"]
    assert odoo.search("sale.order", ["client_order_ref", "=", mark]) == []


def test_confirmations_at_the_same_moment_confirm_once(gateway, odoo, order):
    answers = confirm_at_the_same_moment(gateway, order)

    # Odoo serialises them; those that lose are told something, and it is no fault of the gateway.
    assert 200 in {answer.status for answer in answers}
    assert {answer.status for answer in answers} <= {200, 409, 422, 503}
    row = odoo.read("sale.order", number_of(odoo, order), "state", "picking_ids")
    assert (row["state"], len(row["picking_ids"])) == ("sale", 1)


def test_line_that_is_named_by_its_id_is_changed(gateway, odoo, codes, order):
    place = f"/v1/orders-by-id/{number_of(odoo, order)}"
    first = gateway.call("GET", place, token="ours").data["lines"][0]["id"]
    body = {"lines": [{"id": first, **line(codes[0], 9, 10)}, line(codes[1], 1, 1)]}

    answer = gateway.call_json("PATCH", place, body, token="ours")

    assert answer.status == 200, answer.body
    assert answer.data["lines"][0]["id"] == first
    assert [row["quantity"] for row in answer.data["lines"]] == [9.0, 1.0]


def test_if_match_of_an_old_state_deletes_nothing(gateway, odoo, order):
    answer = gateway.call("DELETE", f"/v1/orders/{order['reference']}", 'If-Match: "old"', token="ours")

    assert answer.status == 412
    assert said(odoo, order) == order


# -- what does not hold yet


def test_confirmations_at_the_same_moment_all_succeed_or_may_be_tried_again(gateway, order):
    answers = confirm_at_the_same_moment(gateway, order)

    assert {answer.status for answer in answers} <= {200, 409, 503}


def confirm_at_the_same_moment(gateway, order):
    place = f"/v1/orders/{order['reference']}/confirm"
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: gateway.call("POST", place, token="ours", timeout_s=60), range(4)))
