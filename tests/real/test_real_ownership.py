"""What another partner has: not read, not listed, not written, not deleted, not confirmed, and not told apart."""

import pytest

pytestmark = pytest.mark.odoo


@pytest.fixture
def stranger(theirs, mark):
    """A contact of the other partner, with a reference."""
    return theirs.contact(mark, ref=mark, function="theirs")


@pytest.fixture
def strange_order(theirs, products, mark):
    """A draft order of the other partner under the reference *mark*."""
    return theirs.order(mark, next(iter(products.values())), note="theirs")


def refused(answer):
    """Assert that *answer* says no more than that there is no such record."""
    assert (answer.status, answer.json()["code"]) == (404, "record-not-found"), answer.body
    return True


def test_contact_of_another_is_not_read_written_or_deleted(gateway, odoo, theirs, stranger, mark):
    for place in (f"/v1/contacts/{stranger}", f"/v1/people/{mark}"):
        assert refused(gateway.call("GET", place, token="ours"))
        assert refused(gateway.call_json("PATCH", place, {"name": "taken"}, token="ours"))
        assert refused(gateway.call_json("PATCH", place, {"name": "taken"}, "If-Match: *", token="ours"))
        assert refused(gateway.call("DELETE", place, token="ours"))

    row = odoo.read("res.partner", stranger, "name", "parent_id")
    assert (row["name"], row["parent_id"][0]) == (mark, theirs.id)
    assert gateway.call("GET", f"/v1/contacts/{stranger}", token="theirs").data["name"] == mark


def test_answer_about_a_strangers_record_is_that_about_none(gateway, stranger):
    answers = [gateway.call("GET", f"/v1/contacts/{number}", token="ours").json() for number in (stranger, 2147483647)]
    for answer in answers:
        answer.pop("meta")

    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "query", ["", "id={id}", "name={name}", "name[like]={name}", "search={name}", "id[in]={id},1", "owner={owner}",
              "owner[ne]=1&search={name}", "id[ge]=1&limit=100", "sort=-name&limit=100", "reference={name}"],
)  # fmt: skip
def test_contact_of_another_is_never_listed(gateway, theirs, stranger, mark, query):
    endpoint = "people" if "reference" in query else "contacts"
    query = query.format(id=stranger, name=mark, owner=theirs.id)

    answer = gateway.call("GET", f"/v1/{endpoint}?{query}&total=true", token="ours")

    assert answer.status == 200, answer.body
    assert mark.encode() not in answer.body
    assert str(stranger) not in {str(row.get("id")) for row in answer.data}


def test_order_of_another_is_not_read_written_deleted_or_confirmed(gateway, odoo, strange_order, mark):
    for place in (f"/v1/orders/{mark}", f"/v1/orders-by-id/{strange_order}"):
        assert refused(gateway.call("GET", place, token="ours"))
        assert refused(gateway.call_json("PATCH", place, {"note": "taken", "lines": []}, token="ours"))
        assert refused(gateway.call("DELETE", place, token="ours"))
        assert refused(gateway.call("POST", f"{place}/confirm", token="ours"))
    assert gateway.call("GET", f"/v1/orders?reference={mark}", token="ours").data == []

    row = odoo.read("sale.order", strange_order, "state", "note", "order_line")
    assert (row["state"], row["note"], len(row["order_line"])) == ("draft", "theirs", 1)
    assert gateway.call("POST", f"/v1/orders/{mark}/confirm", token="theirs").status == 200


def test_two_partners_may_use_the_same_reference(gateway, odoo, ours, theirs, strange_order, products, mark):
    body = {"reference": mark, "lines": [{"product": next(iter(products)), "quantity": 1, "price": 7}]}

    made = gateway.call_json("POST", "/v1/orders", body, token="ours")
    confirmed = gateway.call("POST", f"/v1/orders/{mark}/confirm", token="ours")

    assert (made.status, confirmed.status) == (201, 200), made.body
    rows = odoo.call("sale.order", "search_read", [["client_order_ref", "=", mark]], ["partner_id", "state"])
    assert {row["partner_id"][0]: row["state"] for row in rows} == {ours.id: "sale", theirs.id: "draft"}
    assert gateway.call("GET", f"/v1/orders/{mark}", token="theirs").data["state"] == "draft"


def test_forced_value_is_not_overridden_by_a_body(gateway, odoo, ours, theirs, mark):
    made = gateway.call_json("POST", "/v1/contacts", {"name": mark, "owner": theirs.id}, token="ours")
    changed = gateway.call_json("PATCH", f"/v1/contacts/{made.data['id']}", {"owner": theirs.id}, token="ours")
    cleared = gateway.call_json("PATCH", f"/v1/contacts/{made.data['id']}", {"owner": None}, token="ours")

    assert [answer.status for answer in (made, changed, cleared)] == [201, 200, 200]
    assert {answer.data["owner"] for answer in (made, changed, cleared)} == {ours.id}
    assert odoo.read("res.partner", made.data["id"], "parent_id")["parent_id"][0] == ours.id


def test_field_that_is_not_mapped_cannot_be_forced_in(gateway, odoo, theirs, products, mark):
    line = {"product": next(iter(products)), "quantity": 1, "price": 1}
    for body in (
        {"reference": mark, "lines": [line], "partner_id": theirs.id},
        {"reference": mark, "lines": [line], "order_line": []},
        {"reference": mark, "lines": [{**line, "order_id": 1}]},
        {"reference": mark, "lines": [line], "id": 1},
        {"reference": mark, "lines": [line], "state": "sale"},
    ):
        answer = gateway.call_json("POST", "/v1/orders", body, token="ours")
        assert answer.status == 422, answer.body

    assert odoo.search("sale.order", ["client_order_ref", "=", mark]) == []
