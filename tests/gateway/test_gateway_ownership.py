"""Another partner's record: not read, not written, not called, not confirmed, not even known to exist."""

import pytest
from catalogs import AZURE, DECO

OTHERS_CONTACT = 18
NOBODY = 987_654


@pytest.fixture
def others_order(erp, name):
    return erp.order(DECO, f"DECO-{name}")


@pytest.fixture
def own_order(erp, name):
    erp.order(AZURE, f"OWN-{name}")
    return f"OWN-{name}"


def same_but_for_the_id(document):
    return {key: value for key, value in document.items() if key != "meta"}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_anothers_contact_is_404(gateway, erp, method):
    answer = gateway.call(method, f"/v1/contacts/{OTHERS_CONTACT}", token="shop")

    assert answer.status == 404
    assert erp.read("res.partner", OTHERS_CONTACT, "active")["active"] is True


def test_anothers_contact_looks_like_none_at_all(gateway, assert_problem):
    theirs, nobodys = (gateway.call("GET", f"/v1/contacts/{id_}", token="shop") for id_ in (OTHERS_CONTACT, NOBODY))

    theirs = assert_problem(theirs, 404, "record-not-found")
    nobodys = assert_problem(nobodys, 404, "record-not-found")
    assert same_but_for_the_id(theirs) == same_but_for_the_id(nobodys)


def test_its_owner_sees_it(gateway):
    answer = gateway.call("GET", f"/v1/contacts/{OTHERS_CONTACT}", token="rival")

    assert answer.status == 200
    assert answer.data["id"] == OTHERS_CONTACT


def test_anothers_contact_is_not_changed(gateway, erp, assert_problem):
    before = erp.read("res.partner", OTHERS_CONTACT, "name", "write_date")

    answer = gateway.call_json("PATCH", f"/v1/contacts/{OTHERS_CONTACT}", {"name": "Taken over"}, token="shop")

    assert_problem(answer, 404, "record-not-found")
    assert erp.read("res.partner", OTHERS_CONTACT, "name", "write_date") == before


def test_anothers_contact_is_not_changed_by_an_override(gateway, erp):
    lines = ["X-HTTP-Method-Override: DELETE"]

    answer = gateway.call("POST", f"/v1/contacts/{OTHERS_CONTACT}", *lines, token="shop")

    assert answer.status == 404
    erp.read("res.partner", OTHERS_CONTACT, "id")


def test_company_itself_is_not_its_own_contact(gateway, assert_problem):
    assert_problem(gateway.call("GET", f"/v1/contacts/{AZURE}", token="shop"), 404, "record-not-found")


@pytest.mark.parametrize(
    "query",
    [
        "limit=100",
        "search=Addison",
        f"id={OTHERS_CONTACT}",
        "name=Addison%20Olson%20(stand-in)",
        "search=%25",
        f"id[in]={OTHERS_CONTACT},26",
        "id[ne]=26",
        "name[like]=%25",
    ],
)
def test_lists_hold_only_the_callers_records(gateway, erp, query):
    answer = gateway.call("GET", f"/v1/contacts?{query}", token="shop")

    assert answer.status == 200, answer.body
    parents = {erp.read("res.partner", record["id"], "parent_id")["parent_id"][0] for record in answer.data}
    assert parents <= {AZURE}


def test_owner_cannot_be_set_by_a_body(gateway, assert_problem):
    document = {"name": "Elsewhere", "parent_id": DECO}

    assert_problem(
        gateway.call_json("POST", "/v1/contacts", document, token="shop"), 422, "invalid-body", path="/parent_id"
    )


def test_new_record_belongs_to_the_caller(gateway, erp, name):
    answer = gateway.call_json("POST", "/v1/contacts", {"name": f"New {name}"}, token="rival")

    assert answer.status == 201, answer.body
    assert erp.read("res.partner", answer.data["id"], "parent_id")["parent_id"][0] == DECO


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_anothers_order_is_404_by_its_reference(gateway, erp, others_order, name, assert_problem, method):
    answer = gateway.call(method, f"/v1/orders/DECO-{name}", token="shop")

    assert_problem(answer, 404, "record-not-found")
    erp.read("sale.order", others_order, "id")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_anothers_order_is_404_by_its_id(gateway, erp, others_order, assert_problem, method):
    answer = gateway.call(method, f"/v1/orders-by-id/{others_order}", token="shop")

    assert_problem(answer, 404, "record-not-found")
    erp.read("sale.order", others_order, "id")


@pytest.mark.parametrize("path", ["orders/DECO-{name}", "orders-by-id/{id}"])
def test_anothers_order_is_not_written(gateway, erp, others_order, name, assert_problem, path):
    before = erp.read("sale.order", others_order, "note", "write_date")

    target = "/v1/" + path.format(name=name, id=others_order)
    answer = gateway.call_json("PATCH", target, {"note": "mine now"}, token="shop")

    assert_problem(answer, 404, "record-not-found")
    assert erp.read("sale.order", others_order, "note", "write_date") == before


@pytest.mark.parametrize("path", ["orders/DECO-{name}", "orders-by-id/{id}"])
def test_anothers_order_is_not_confirmed(gateway, erp, others_order, name, assert_problem, path):
    target = "/v1/" + path.format(name=name, id=others_order) + "/confirm"

    assert_problem(gateway.call("POST", target, token="shop"), 404, "record-not-found")
    assert erp.read("sale.order", others_order, "state")["state"] == "draft"


def test_own_order_is_confirmed(gateway, erp, own_order):
    answer = gateway.call("POST", f"/v1/orders/{own_order}/confirm", token="shop")

    assert answer.status == 200, answer.body
    (state,) = erp.call("sale.order", "search_read", [["client_order_ref", "=", own_order]], ["state"])
    assert state["state"] == "sale"


def test_one_reference_is_two_orders_for_two_partners(gateway, erp, name):
    for partner in (AZURE, DECO):
        erp.order(partner, f"BOTH-{name}")

    answer = gateway.call("POST", f"/v1/orders/BOTH-{name}/confirm", token="rival")

    assert answer.status == 200, answer.body
    orders = erp.call("sale.order", "search_read", [["client_order_ref", "=", f"BOTH-{name}"]], ["partner_id", "state"])
    assert {order["partner_id"][0]: order["state"] for order in orders} == {AZURE: "draft", DECO: "sale"}


@pytest.mark.parametrize("member", ["id", ".id", "order_id", "order_id/.id"])
def test_line_of_anothers_order_cannot_be_reached_through_ones_own(
    gateway, erp, others_order, own_order, assert_problem, member
):
    (line,) = erp.read("sale.order", others_order, "order_line")["order_line"]
    before = erp.read("sale.order.line", line, "product_uom_qty", "order_id")

    document = {"lines": [{member: line, "product": "FURN_7777", "quantity": 99}]}
    answer = gateway.call_json("PATCH", f"/v1/orders/{own_order}", document, token="shop")

    assert_problem(answer, 422, "invalid-body", path=f"/lines/0/{member.replace('/', '~1')}")
    assert erp.read("sale.order.line", line, "product_uom_qty", "order_id") == before


def test_cache_keeps_partners_apart(gateway, erp, name):
    own = {erp.contact(AZURE, f"A {name}"): "shop", erp.contact(DECO, f"D {name}"): "rival"}

    for _ in range(2):
        for id_, client in own.items():
            listed = {record["id"] for record in gateway.call("GET", "/v1/kept-contacts?limit=100", token=client).data}
            assert listed & set(own) == {id_}
            read = {other: gateway.call("GET", f"/v1/kept-contacts/{other}", token=client).status for other in own}
            assert read == {other: 200 if other == id_ else 404 for other in own}


def test_etag_of_anothers_record_does_not_tell_of_it(gateway):
    etag = gateway.call("GET", f"/v1/contacts/{OTHERS_CONTACT}", token="rival").header("etag")

    answer = gateway.call("GET", f"/v1/contacts/{OTHERS_CONTACT}", f"If-None-Match: {etag}", token="shop")

    assert etag
    assert answer.status == 404
