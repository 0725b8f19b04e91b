"""The connector against a real Odoo 14: what partners see and change, and what stays out of their reach."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from uuid import uuid4

import orjson
import pytest
from odoo_real import odoo, remove, with_connector
from odoo_support import ORDERS, PARTNERS, SocketPost, caller, upstream

from entrepot import errors
from entrepot.chassis.etag import strong_etag
from entrepot.connectors.base import Argument, CallMapping, Field, ListQuery, ModelMapping
from entrepot.connectors.odoo.connector import OdooConnector

pytestmark = pytest.mark.odoo

AZURE, DECO = 14, 10
LINES = [{"product": "FURN_7777", "quantity": 3}, {"product": "FURN_8888", "quantity": 1, "price": 99.5}]


@pytest.fixture
def order():
    """An order of Azure Interior: its reference, and its id in Odoo."""
    reference = f"T-{uuid4()}"
    body = {"reference": reference, "lines": LINES}
    with_connector(lambda connector, _: connector.create(ORDERS, body, caller(partner_contact=AZURE)))
    [record_id] = odoo("sale.order", "search", [["client_order_ref", "=", reference]])
    yield reference, record_id
    if odoo("sale.order", "read", [record_id], ["state"])[0:1] not in ([], [{"id": record_id, "state": "draft"}]):
        odoo("sale.order", "action_cancel", [record_id])
    remove("sale.order", record_id)


@pytest.fixture
def people():
    """Three contacts under a name of their own; returns the name and the ids."""
    name = f"T{uuid4().hex}"
    tags = odoo("res.partner.category", "search", [], limit=2, order="id")
    ids = [
        odoo("res.partner", "create", {"name": f"{name} {letter}", "street": street, "country_id": country,
                                       "category_id": [[6, 0, tags]], "color": colour})
        for letter, street, country, colour in (("a", "100%", 20, 1), ("b", "100 _", 233, 2), ("c", "x", False, 3))
    ]  # fmt: skip
    yield name, ids
    remove("res.partner", *ids)


def test_list_is_one_question_without_relations(people):
    name, ids = people
    plain = replace(PARTNERS, fields=tuple(field for field in PARTNERS.fields if len(field.source) == 1))

    async def work(connector, post):
        page = await connector.list(plain, ListQuery(search=name, limit=2, sort=(("name", True),)), caller())
        return page, post.methods()

    page, methods = with_connector(work)

    assert [record["id"] for record in page.records] == [ids[2], ids[1]]
    assert (page.has_next, page.total) == (True, None)
    assert methods == ["authenticate", "search_read"]
    assert "image" not in page.records[0]


def test_relations_are_read_once_for_the_whole_list(people):
    name, ids = people

    async def work(connector, post):
        page = await connector.list(PARTNERS, ListQuery(search=name, total=True), caller())
        return page, post.methods()

    page, methods = with_connector(work)
    names = [
        row["name"] for row in odoo("res.partner.category", "read", odoo("res.partner", "read", ids)[0]["category_id"])
    ]

    assert [record["country"] for record in page.records] == ["BE", "US", None]
    assert sorted(page.records[0]["tags"]) == sorted(names)
    assert (page.total, page.has_next) == (3, False)
    assert methods == ["authenticate", "search_read", "read", "read", "search_count"]


@pytest.mark.parametrize(
    ("condition", "letters"),
    [
        (("street", "like", "100%"), "a"),
        (("street", "like", "_"), "b"),
        (("street", "=", "100%"), "a"),
        (("country", "=", "BE"), "a"),
        (("country", "in", "BE,US"), "ab"),
        (("country", "=", "null"), ""),
        (("colour", ">=", "2"), "bc"),
        (("colour", "!=", "2"), "ac"),
        (("company", "=", "false"), "abc"),
        (("changed", ">", "2020-01-01T00:00:00Z"), "abc"),
        (("birthday", "=", "null"), "abc"),
        (("parent", "=", "null"), "abc"),
        (("name", "=", "x') OR 1=1; --"), ""),
        (("name", "like", '[["id", ">", 0]]'), ""),
        (("name", "like", "\\"), ""),
    ],
)
def test_filters_find_what_they_say(people, condition, letters):
    name, _ = people
    query = ListQuery(filters=(("name", "like", name), condition), fields=("name",))

    page = with_connector(lambda connector, _: connector.list(PARTNERS, query, caller()))

    assert [record["name"][-1] for record in page.records] == list(letters)
    assert all(list(record) == ["name"] for record in page.records)


def test_record_as_read_is_what_odoo_says(people):
    _, ids = people
    [said] = odoo("res.partner", "read", [ids[0]], ["name", "write_date", "comment", "is_company"])

    record = with_connector(lambda connector, _: connector.read(PARTNERS, str(ids[0]), caller()))

    assert record["id"] == ids[0]
    assert record["name"] == said["name"]
    assert record["changed"] == said["write_date"].replace(" ", "T") + "Z"
    assert (record["note"], record["company"], record["parent"], record["image"]) == (None, False, None, None)


def test_update_merges_clears_and_answers_the_record_as_read(people):
    _, ids = people
    changes = {"street": None, "birthday": "2000-02-29", "tags": [], "country": "FR", "note": "", "company": True}

    async def work(connector, _):
        answer = await connector.update(PARTNERS, str(ids[0]), changes, caller())
        return answer, await connector.read(PARTNERS, str(ids[0]), caller())

    answer, read = with_connector(work)
    [said] = odoo("res.partner", "read", [ids[0]], ["street", "date", "category_id", "country_id", "color"])

    assert answer == read
    assert said == {
        "id": ids[0], "street": False, "date": "2000-02-29", "category_id": [], "color": 1,
        "country_id": [75, "France"],
    }  # fmt: skip


def test_if_match_refuses_a_record_that_has_changed(people):
    _, ids = people
    key = str(ids[0])

    async def work(connector, _):
        tag = strong_etag(orjson.dumps(await connector.read(PARTNERS, key, caller())))
        await connector.update(PARTNERS, key, {"email": "a@example.com"}, caller(), if_match=f'"x", {tag}')
        with pytest.raises(errors.PreconditionFailed):
            await connector.update(PARTNERS, key, {"email": "b@example.com"}, caller(), if_match=tag)
        return await connector.update(PARTNERS, key, {"colour": 9}, caller(), if_match="*")

    answer = with_connector(work)

    assert (answer["email"], answer["colour"]) == ("a@example.com", 9)


def test_archiving_a_record_answers_it_once_more():
    mapping = ModelMapping("res.partner", (Field("name", ("name",)), Field("active", ("active",), "boolean")))

    async def work(connector, _):
        made = await connector.create(mapping, {"name": f"T{uuid4().hex}"}, caller())
        key = str(made["id"])
        answer = await connector.update(mapping, key, {"active": False}, caller())
        with pytest.raises(errors.RecordNotFound):
            await connector.read(mapping, key, caller())
        return answer

    answer = with_connector(work)
    remove("res.partner", answer["id"])

    assert answer["active"] is False


def test_deleted_record_is_gone():
    async def work(connector, _):
        made = await connector.create(PARTNERS, {"name": f"T{uuid4().hex}"}, caller())
        await connector.delete(PARTNERS, str(made["id"]), caller())
        for again in (connector.delete, connector.read):
            with pytest.raises(errors.RecordNotFound):
                await again(PARTNERS, str(made["id"]), caller())
        with pytest.raises(errors.RecordNotFound):
            await connector.update(PARTNERS, str(made["id"]), {"name": "x"}, caller())

    with_connector(work)


def test_order_is_listed_changed_confirmed_and_read(order):
    reference, record_id = order
    me = {"partner_contact": AZURE}
    confirm = CallMapping("sale.order", "action_confirm", where=ORDERS.where, key="client_order_ref")

    async def work(connector, _):
        [listed] = (
            await connector.list(ORDERS, ListQuery(filters=(("reference", "=", reference),)), caller(**me))
        ).records
        first, second = listed["lines"]
        lines = [{"id": second["id"], "quantity": 7}, {"product": "FURN_7777", "quantity": 1, "price": 1}]
        changed = await connector.update(ORDERS, reference, {"lines": lines}, caller(**me))
        result = await connector.call(confirm, reference, {}, caller(**me))
        return first, second, changed, result, await connector.read(ORDERS, reference, caller(**me))

    first, second, changed, result, read = with_connector(work)
    [said] = odoo("sale.order", "read", [record_id], ["state", "amount_total", "order_line", "partner_id"])

    assert (first["product"], first["quantity"], first["price"]) == ("FURN_7777", 3.0, 0.0)
    assert [line["id"] for line in changed["lines"]] == said["order_line"]
    assert second["id"] in said["order_line"]
    assert first["id"] not in said["order_line"]
    assert result is True
    assert (said["state"], said["partner_id"][0]) == ("sale", AZURE)
    assert (read["state"], read["total"]) == ("sale", said["amount_total"])
    with pytest.raises(errors.Conflict, match="cancel"):
        with_connector(lambda connector, _: connector.delete(ORDERS, reference, caller(**me)))


def test_order_of_another_partner_is_out_of_reach(order):
    reference, record_id = order
    confirm = CallMapping("sale.order", "action_confirm", where=ORDERS.where, key="client_order_ref")
    by_id = replace(ORDERS, key="id")

    async def work(connector, _):
        def stranger():
            return caller(partner_contact=DECO)

        page = await connector.list(ORDERS, ListQuery(filters=(("reference", "=", reference),)), stranger())
        assert page.records == []
        for attempt in (
            connector.read(ORDERS, reference, stranger()),
            connector.update(ORDERS, reference, {"lines": []}, stranger()),
            connector.delete(ORDERS, reference, stranger()),
            connector.call(confirm, reference, {}, stranger()),
            connector.read(by_id, str(record_id), stranger()),
            connector.update(by_id, str(record_id), {"reference": "mine"}, stranger()),
            connector.delete(by_id, str(record_id), stranger()),
            connector.call(replace(confirm, key="id"), str(record_id), {}, stranger()),
        ):
            with pytest.raises(errors.RecordNotFound):
                await attempt
        with pytest.raises(errors.UpstreamMisconfigured):
            await connector.list(ORDERS, ListQuery(), caller())

    with_connector(work)
    [said] = odoo("sale.order", "read", [record_id], ["state", "client_order_ref"])

    assert said == {"id": record_id, "state": "draft", "client_order_ref": reference}


def test_line_of_another_order_is_out_of_reach(order):
    reference, _ = order
    stranger = odoo("sale.order.line", "search", [["order_id.partner_id", "!=", AZURE]], limit=1)[0]
    [before] = odoo("sale.order.line", "read", [stranger], ["product_uom_qty", "order_id"])
    change = {"lines": [{"id": stranger, "quantity": 999}]}

    async def work(connector, _):
        with pytest.raises(errors.InvalidBody) as caught:
            await connector.update(ORDERS, reference, change, caller(partner_contact=AZURE))
        return [mistake.path for mistake in caught.value.errors]

    assert with_connector(work) == ["/lines/0"]
    assert odoo("sale.order.line", "read", [stranger], ["product_uom_qty", "order_id"]) == [before]


def test_second_record_with_the_same_key_is_a_conflict(order):
    reference, _ = order

    async def work(connector, _):
        with pytest.raises(errors.Conflict) as caught:
            await connector.create(ORDERS, {"reference": reference, "lines": []}, caller(partner_contact=AZURE))
        return [mistake.path for mistake in caught.value.errors]

    assert with_connector(work) == ["/reference"]


def test_unknown_and_ambiguous_keys_have_their_pointers(order):
    reference, _ = order
    mapping = replace(
        PARTNERS, fields=(*PARTNERS.fields, Field("state", ("state_id", "name"), relation="res.country.state"))
    )
    twice = odoo("res.country.state", "read_group", [], ["name"], ["name"], limit=0)
    name = next(row["name"] for row in twice if row["name_count"] > 1)

    async def work(connector, _):
        with pytest.raises(errors.InvalidBody) as caught:
            await connector.create(
                mapping, {"name": "x", "country": "ZZ", "tags": ["no such"], "state": name}, caller()
            )
        body = {"lines": [LINES[0], {"product": "NO_SUCH", "quantity": 1}]}
        with pytest.raises(errors.InvalidBody) as lines:
            await connector.update(ORDERS, reference, body, caller(partner_contact=AZURE))
        return [{mistake.path for mistake in error.value.errors} for error in (caught, lines)]

    assert with_connector(work) == [{"/country", "/tags/0", "/state"}, {"/lines/1/product"}]


def test_rules_of_odoo_come_back_in_partners_words():
    users = ModelMapping("res.users", (Field("name", ("name",)), Field("account", ("login",))))

    async def work(connector, _):
        answers = []
        for mapping, body in (
            (PARTNERS, {"email": "no name"}),
            (PARTNERS, {"name": "x", "kind": "zzz"}),
            (PARTNERS, {"name": "x", "parent": 2**31 - 1}),
            (users, {"name": "x", "account": "admin"}),
            (ModelMapping("sale.order", (Field("ref", ("client_order_ref",)),)), {"ref": "x"}),
        ):
            with pytest.raises(errors.Error) as caught:
                await connector.create(mapping, body, caller())
            answers.append((type(caught.value), [mistake.path for mistake in caught.value.errors]))
        return answers

    assert with_connector(work) == [
        (errors.UpstreamRejected, [None]),
        (errors.UpstreamRejected, ["/kind"]),
        (errors.UpstreamRejected, ["/parent"]),
        (errors.Conflict, ["/account"]),
        (errors.UpstreamRejected, [None]),
    ]


@pytest.mark.parametrize(
    ("changes", "mapping"),
    [
        ({"database": "nodb"}, PARTNERS),
        ({"login": "nobody-here"}, PARTNERS),
        ({}, replace(PARTNERS, model="no.such.model")),
        ({}, replace(PARTNERS, fields=(Field("x", ("no_such_field",)),))),
        ({}, replace(PARTNERS, where=[["no_such_field", "=", 1]])),
        ({"login": "demo", "secret": "env:ODOO_DEMO"}, ModelMapping("ir.config_parameter", (Field("x", ("key",)),))),
    ],
)
def test_wrong_catalog_or_account_is_the_gateways_fault(changes, mapping, monkeypatch):
    monkeypatch.setenv("ODOO_DEMO", "demo")

    async def work(connector, _):
        with pytest.raises(errors.UpstreamMisconfigured) as caught:
            await connector.list(mapping, ListQuery(), caller())
        return str(caught.value)

    said = with_connector(work, **changes)

    assert not any(word in said for word in ("no_such", "no.such", "nodb", "nobody-here", "ir.config"))


def test_calls_of_a_method_with_arguments_and_without_a_record():
    mapping = CallMapping(
        "res.partner",
        "name_search",
        arguments=(
            Argument("name", body_field="text"),
            Argument("limit", body_field="most", type="integer", has_default=True, default=1),
        ),
    )
    nothing = CallMapping("res.partner", "invalidate_cache")
    write = CallMapping("res.partner", "write", arguments=(Argument("0", template={"comment": "{partner.contact}"}),))

    async def work(connector, _):
        found = await connector.call(mapping, None, {"text": "azure"}, caller())
        none = await connector.call(nothing, None, {}, caller())
        with pytest.raises(errors.RecordNotFound):
            await connector.call(write, "2147483647", {}, caller(partner_contact=AZURE))
        return found, none

    assert with_connector(work) == ([[AZURE, "Azure Interior"]], None)


def test_field_types_are_those_of_odoo():
    async def work(connector, _):
        return await connector.field_types("res.partner", deadline=time.monotonic() + 10)

    types = with_connector(work)

    assert types["country_id"]["type"] == "many2one"
    assert types["country_id"]["relation"] == "res.country"
    assert ["contact", "Contact"] in types["type"]["selection"]
    assert types["write_date"]["readonly"] is True


def test_forced_values_cannot_be_overridden():
    mapping = replace(
        PARTNERS,
        fields=(Field("name", ("name",)), Field("owner", ("parent_id",), "many2one")),
        where=[["parent_id", "=", "{partner.contact}"]],
        set={"parent_id": "{partner.contact}", "category_id": [], "date": "2026-01-31", "employee": True},
    )

    async def work(connector, _):
        made = await connector.create(mapping, {"name": "T", "owner": DECO}, caller(partner_contact=AZURE))
        try:
            changed = await connector.update(mapping, str(made["id"]), {"owner": DECO}, caller(partner_contact=AZURE))
            [said] = odoo("res.partner", "read", [made["id"]], ["date", "employee", "category_id"])
        finally:
            remove("res.partner", made["id"])
        return made, changed, said

    made, changed, said = with_connector(work)

    assert (made["owner"], changed["owner"]) == (AZURE, AZURE)
    assert (said["date"], said["employee"], said["category_id"]) == ("2026-01-31", True, [])


def test_refused_connection_is_unavailable():
    async def main():
        connector = OdooConnector(upstream(), SocketPost("http://127.0.0.1:1"))
        with pytest.raises(errors.UpstreamUnavailable):
            await connector.probe(deadline=caller().deadline)

    asyncio.run(main())
