"""Writes to a real Odoo 14 whose answer is lost, repeated: each is applied once, or it is said that nobody knows."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from uuid import uuid4

import pytest
from odoo_lossy import Transaction, with_lossy
from odoo_real import odoo, remove, with_connector
from odoo_support import ORDERS, PARTNERS, caller

from entrepot import errors
from entrepot.connectors.base import Argument, CallMapping, Field, ModelMapping
from entrepot.connectors.faults import fault_of

pytestmark = pytest.mark.odoo

AZURE = 14
DEMO = 6
LINES = [{"product": "FURN_7777", "quantity": 3}, {"product": "FURN_8888", "quantity": 1, "price": 99.5}]
CONFIRM = CallMapping(
    "sale.order", "action_confirm", where=ORDERS.where, key="client_order_ref",
    guard=[["state", "in", ["sale", "done"]]],
)  # fmt: skip
BY_REFERENCE = replace(
    PARTNERS, fields=(*PARTNERS.fields, Field("ref", ("ref",))), key="ref", where=[["comment", "=", "{partner.mark}"]],
    set={"comment": "{partner.mark}"},
)  # fmt: skip
SECOND_S = 1.1
"""Odoo tells ``write_date`` to the second."""
SECONDS = 5
"""How many of them may be too short for all that is to fit into one, on a busy machine."""


@pytest.fixture
def person():
    """The id of a contact that was last changed in another second than the present one."""
    made = odoo("res.partner", "create", {"name": f"T{uuid4().hex}", "street": "before", "color": 1})
    odoo("res.partner", "write", [made], {"street": "before"})
    yield made
    remove("res.partner", made)


@pytest.fixture
def reference():
    """A reference for an order, which is removed at the end."""
    reference = f"T-{uuid4()}"
    yield reference
    ids = odoo("sale.order", "search", [["client_order_ref", "=", reference]])
    if ids:
        odoo("sale.order", "action_cancel", ids)
    remove("sale.order", *ids)


def made_order(reference):
    body = {"reference": reference, "lines": LINES}
    with_connector(lambda connector, _: connector.create(ORDERS, body, caller(partner_contact=AZURE)))
    [record_id] = odoo("sale.order", "search", [["client_order_ref", "=", reference]])
    return record_id


async def lost(work):
    """Await *work*, whose request or answer is lost, and check that it says so."""
    with pytest.raises(errors.UpstreamUnavailable) as caught:
        await work
    fault = fault_of(caught.value)
    assert (fault.kind, fault.applied) == ("transient", "unknown")


async def refused(work):
    """Return the class of the fault that *work* ends with."""
    with pytest.raises(errors.Error) as caught:
        await work
    return fault_of(caught.value)


@pytest.mark.parametrize("what", ["request", "answer"])
def test_create_that_was_lost_and_is_repeated_makes_one_record(reference, what):
    transaction = Transaction(partner_contact=AZURE)
    body = {"reference": reference, "lines": LINES}

    async def work(connector, lossy):
        lossy.lose(what, "load")
        await lost(connector.create(ORDERS, body, transaction.first()))
        return [await connector.create(ORDERS, body, transaction.again()) for _ in range(2)]

    first, second = with_lossy(work)

    assert first == second
    assert len(odoo("sale.order", "search", [["client_order_ref", "=", reference]])) == 1
    assert len(first["lines"]) == 2


def test_record_that_was_made_is_answered_although_it_could_not_be_made_any_more():
    tag = odoo("res.partner.category", "create", {"name": str(uuid4())})
    [row] = odoo("res.partner.category", "read", [tag], ["name"])
    transaction = Transaction()
    body = {"name": f"T{uuid4().hex}", "tags": [row["name"]]}

    async def work(connector, lossy):
        lossy.lose("answer", "load")
        await lost(connector.create(PARTNERS, body, transaction.first()))
        remove("res.partner.category", tag)
        return await connector.create(PARTNERS, body, transaction.again())

    made = with_lossy(work)
    ids = odoo("res.partner", "search", [["name", "=", body["name"]]])
    remove("res.partner", *ids)

    assert [made["id"]] == ids


def test_create_that_was_lost_and_is_refused_is_known_not_to_be_applied():
    transaction = Transaction()
    body = {"name": f"T{uuid4().hex}", "tags": [f"no such {uuid4()}"]}

    fault = with_lossy(lambda connector, _: refused(connector.create(PARTNERS, body, transaction.again())))

    assert (fault.kind, fault.applied) == ("record", "no")


def test_record_whose_answer_is_lost_when_it_is_read_back_is_known_to_be_made():
    transaction = Transaction()
    name = f"T{uuid4().hex}"

    async def work(connector, lossy):
        lossy.lose("answer", "search_read")
        return await refused(connector.create(PARTNERS, {"name": name}, transaction.first()))

    fault = with_lossy(work)
    ids = odoo("res.partner", "search", [["name", "=", name]])
    remove("res.partner", *ids)

    assert len(ids) == 1
    assert (fault.kind, fault.applied) == ("transient", "yes")


@pytest.mark.parametrize("what", ["request", "answer"])
def test_update_that_was_lost_is_carried_out_once(person, what):
    transaction = Transaction()
    changes = {"street": "after", "tags": [], "country": "FR", "birthday": "2000-02-29", "colour": None}

    async def work(connector, lossy):
        lossy.lose(what, "write")
        await asyncio.sleep(SECOND_S)
        await lost(connector.update(PARTNERS, str(person), changes, transaction.first()))
        answer = await connector.update(PARTNERS, str(person), changes, transaction.again())
        return answer, lossy.reached["write"]

    answer, reached = with_lossy(work)

    assert (answer["street"], answer["country"], answer["birthday"]) == ("after", "FR", "2000-02-29")
    assert reached == 1
    assert len(transaction.noted) == 1


@pytest.mark.parametrize("what", ["request", "answer"])
def test_update_in_the_second_of_the_change_before_it_is_carried_out_once(person, what):
    changes = {"street": "after", "tags": [], "country": "FR"}

    async def work(connector, lossy):
        lossy.lose(what, "write")
        await asyncio.sleep(1.05 - time.time() % 1)  # Odoo's second begins now: what follows fits into it.
        odoo("res.partner", "write", [person], {"street": "before", "country_id": False})
        before = changed_at(person)
        await lost(connector.update(PARTNERS, str(person), changes, transaction.first()))
        return (
            before,
            await connector.update(PARTNERS, str(person), changes, transaction.again()),
            lossy.reached["write"],
        )

    for _ in range(SECONDS):
        transaction = Transaction()
        before, answer, reached = with_lossy(work)
        if changed_at(person) == before:
            break

    assert (answer["street"], answer["country"], reached) == ("after", "FR", 1)
    assert transaction.noted[0]["write_date"] == before == changed_at(person)


def changed_at(person):
    [row] = odoo("res.partner", "read", [person], ["write_date"])
    return row["write_date"]


def test_update_with_values_that_odoo_makes_others_of_is_not_known_to_be_applied():
    before = odoo("res.users", "read", [DEMO], ["signature"])[0]["signature"]
    mapping = ModelMapping("res.users", (Field("signature", ("signature",), "html"),))
    transaction = Transaction()

    async def work(connector, lossy):
        lossy.lose("answer", "write")
        await asyncio.sleep(SECOND_S)
        await lost(connector.update(mapping, str(DEMO), {"signature": "plain"}, transaction.first()))
        with pytest.raises(errors.OutcomeUnclear):
            await connector.update(mapping, str(DEMO), {"signature": "plain"}, transaction.again())

    with_lossy(work)
    after = odoo("res.users", "read", [DEMO], ["signature"])[0]["signature"]
    odoo("res.users", "write", [DEMO], {"signature": before})

    assert after == "<p>plain</p>"


@pytest.mark.parametrize("what", ["request", "answer"])
def test_update_of_a_record_that_others_changed_since_is_not_repeated(person, what):
    transaction = Transaction()

    async def work(connector, lossy):
        lossy.lose(what, "write")
        await lost(connector.update(PARTNERS, str(person), {"street": "after"}, transaction.first()))
        await asyncio.sleep(SECOND_S)
        odoo("res.partner", "write", [person], {"street": "of somebody else"})
        with pytest.raises(errors.OutcomeUnclear) as caught:
            await connector.update(PARTNERS, str(person), {"street": "after"}, transaction.again())
        return fault_of(caught.value)

    fault = with_lossy(work)

    assert (fault.kind, fault.applied) == ("record", "unknown")
    assert odoo("res.partner", "read", [person], ["street"])[0]["street"] == "of somebody else"


def test_update_that_others_added_to_is_known_to_be_applied(person):
    transaction = Transaction()

    async def work(connector, lossy):
        lossy.lose("answer", "write")
        await lost(connector.update(PARTNERS, str(person), {"street": "after"}, transaction.first()))
        await asyncio.sleep(SECOND_S)
        odoo("res.partner", "write", [person], {"color": 7})
        return await connector.update(PARTNERS, str(person), {"street": "after"}, transaction.again()), lossy.reached

    answer, reached = with_lossy(work)

    assert (answer["street"], answer["colour"]) == ("after", 7)
    assert reached["write"] == 1


def test_update_that_changes_the_key_or_archives_the_record_finds_it_again():
    mark, before, after = str(uuid4()), str(uuid4()), str(uuid4())
    mapping = replace(BY_REFERENCE, fields=(*BY_REFERENCE.fields, Field("active", ("active",), "boolean")))
    mapping = replace(mapping, fields=tuple(each for each in mapping.fields if each.public != "note"))
    made = odoo("res.partner", "create", {"name": mark, "ref": before, "comment": mark})
    transaction = Transaction(partner_mark=mark)
    changes = {"ref": after, "active": False}

    async def work(connector, lossy):
        lossy.lose("answer", "write")
        await asyncio.sleep(SECOND_S)
        await lost(connector.update(mapping, before, changes, transaction.first()))
        return await connector.update(mapping, before, changes, transaction.again()), lossy.reached["write"]

    answer, reached = with_lossy(work)
    remove("res.partner", made)

    assert (answer["ref"], answer["active"], reached) == (after, False, 1)


@pytest.mark.parametrize("what", ["request", "answer"])
def test_new_lines_of_an_update_that_was_lost_are_made_once(reference, what):
    record_id = made_order(reference)
    [row] = odoo("sale.order", "read", [record_id], ["order_line"])
    kept, dropped = row["order_line"]
    odoo("sale.order.line", "write", [kept], {"product_uom_qty": 4})
    transaction = Transaction(partner_contact=AZURE)
    lines = [
        {"id": kept, "quantity": 5},
        {"product": "FURN_8888", "quantity": 2, "price": 3.333},
        {"product": "FURN_7777", "quantity": 1, "price": 1, "discount": 10},
    ]

    async def work(connector, lossy):
        lossy.lose(what, "write")
        await lost(connector.update(ORDERS, reference, {"lines": lines}, transaction.first()))
        answer = await connector.update(ORDERS, reference, {"lines": lines}, transaction.again())
        return answer, lossy.reached["write"]

    answer, reached = with_lossy(work)

    assert [(line["product"], line["quantity"]) for line in answer["lines"]] == [
        ("FURN_7777", 5), ("FURN_8888", 2), ("FURN_7777", 1),
    ]  # fmt: skip
    assert reached == 1
    assert odoo("sale.order.line", "search", [["order_id", "=", record_id]], order="id") == [
        line["id"] for line in answer["lines"]
    ]
    assert dropped not in [line["id"] for line in answer["lines"]]


def test_lines_that_others_changed_since_are_not_written_again(reference):
    record_id = made_order(reference)
    transaction = Transaction(partner_contact=AZURE)

    async def work(connector, lossy):
        lossy.lose("request", "write")
        await lost(connector.update(ORDERS, reference, {"lines": LINES[:1]}, transaction.first()))
        odoo("sale.order", "write", [record_id], {"order_line": [[0, 0, {"product_id": 5}]]})
        with pytest.raises(errors.OutcomeUnclear):
            await connector.update(ORDERS, reference, {"lines": LINES[:1]}, transaction.again())

    with_lossy(work)

    assert len(odoo("sale.order.line", "search", [["order_id", "=", record_id]])) == 3


@pytest.mark.parametrize("what", ["request", "answer"])
def test_delete_that_was_lost_is_done_when_it_is_repeated(person, what):
    transaction = Transaction()

    async def work(connector, lossy):
        lossy.lose(what, "unlink")
        await lost(connector.delete(PARTNERS, str(person), transaction.first()))
        await connector.delete(PARTNERS, str(person), transaction.again())
        await connector.delete(PARTNERS, str(person), transaction.again())
        return await refused(connector.delete(PARTNERS, str(person), caller()))

    fault = with_lossy(work)

    assert (fault.kind, fault.applied) == ("record", "no")
    assert odoo("res.partner", "search", [["id", "=", person]]) == []


def test_delete_by_a_key_leaves_the_record_alone_that_has_taken_the_key_since():
    mark, key = str(uuid4()), str(uuid4())
    values = {"name": mark, "ref": key, "comment": mark}
    odoo("res.partner", "create", values)
    transaction = Transaction(partner_mark=mark)

    async def work(connector, lossy):
        lossy.lose("answer", "unlink")
        await lost(connector.delete(BY_REFERENCE, key, transaction.first()))
        successor = odoo("res.partner", "create", values)
        await connector.delete(BY_REFERENCE, key, transaction.again())
        return successor

    successor = with_lossy(work)
    left = odoo("res.partner", "search", [["ref", "=", key]])
    remove("res.partner", successor)

    assert left == [successor]


def test_record_that_has_left_the_callers_reach_does_not_count_as_deleted():
    mark = str(uuid4())
    made = odoo("res.partner", "create", {"name": mark, "ref": mark, "comment": mark})
    transaction = Transaction(partner_mark=mark)

    async def work(connector, lossy):
        lossy.lose("request", "unlink")
        await lost(connector.delete(BY_REFERENCE, mark, transaction.first()))
        odoo("res.partner", "write", [made], {"comment": "another's"})
        return await refused(connector.delete(BY_REFERENCE, mark, transaction.again()))

    fault = with_lossy(work)
    left = odoo("res.partner", "search", [["id", "=", made]])
    remove("res.partner", made)

    assert (fault.kind, fault.applied) == ("record", "no")
    assert left == [made]


@pytest.mark.parametrize(("what", "answer"), [("answer", None), ("request", True)])
def test_call_with_a_guard_that_was_lost_is_made_once(reference, what, answer):
    record_id = made_order(reference)
    transaction = Transaction(partner_contact=AZURE)

    async def work(connector, lossy):
        lossy.lose(what, "action_confirm")
        await lost(connector.call(CONFIRM, reference, {}, transaction.first()))
        said = await connector.call(CONFIRM, reference, {}, transaction.again())
        return said, lossy.reached["action_confirm"]

    said, reached = with_lossy(work)
    [row] = odoo("sale.order", "read", [record_id], ["state"])

    assert (said, reached, row["state"]) == (answer, 1, "sale")


def test_call_that_takes_its_record_out_of_where_is_known_to_be_made(reference):
    made_order(reference)
    transaction = Transaction(partner_contact=AZURE)
    confirm = replace(CONFIRM, where=[*ORDERS.where, ["state", "=", "draft"]])

    async def work(connector, lossy):
        lossy.lose("answer", "action_confirm")
        await lost(connector.call(confirm, reference, {}, transaction.first()))
        await connector.call(confirm, reference, {}, transaction.again())
        return lossy.reached["action_confirm"]

    assert with_lossy(work) == 1


def test_call_without_a_guard_is_made_again(reference):
    made_order(reference)
    note = CallMapping("sale.order", "message_post", key="client_order_ref", where=ORDERS.where,
                       arguments=(Argument("body", body_field="text"),))  # fmt: skip
    transaction = Transaction(partner_contact=AZURE)

    async def work(connector, lossy):
        lossy.lose("answer", "message_post")
        await lost(connector.call(note, reference, {"text": "x"}, transaction.first()))
        await connector.call(note, reference, {"text": "x"}, transaction.again())
        return lossy.reached["message_post"]

    assert with_lossy(work) == 2


def test_call_on_a_record_that_is_missing_is_a_fault_of_the_record():
    fault = with_connector(
        lambda connector, _: refused(connector.call(CONFIRM, str(uuid4()), {}, caller(partner_contact=AZURE)))
    )

    assert (fault.kind, fault.applied) == ("record", "no")


def test_call_that_odoo_refuses_is_not_applied(reference):
    record_id = made_order(reference)
    odoo("sale.order", "action_confirm", [record_id])
    unlink = CallMapping("sale.order", "unlink", key="client_order_ref", where=ORDERS.where)

    fault = with_connector(
        lambda connector, _: refused(connector.call(unlink, reference, {}, caller(partner_contact=AZURE)))
    )

    assert (fault.kind, fault.applied) == ("record", "no")


def works(mapping, field):
    """Return each kind of write that uses *mapping* and *field* of it."""
    return {
        "create": lambda connector: connector.create(mapping, {"name": "x", field: "y"}, caller()),
        "update": lambda connector: connector.update(mapping, "14", {field: "y"}, caller()),
        "delete": lambda connector: connector.delete(replace(mapping, key=field), "99999", caller()),
        "call": lambda connector: connector.call(CallMapping(mapping.model, "no_such_method"), "14", {}, caller()),
    }


@pytest.mark.parametrize("kind", ["create", "update", "delete", "call"])
@pytest.mark.parametrize(
    ("model", "field", "changes"),
    [
        ("no.such.model", "name", {}),
        ("res.partner", "x_gone", {}),
        ("res.partner", "name", {"database": "nodb"}),
        ("res.partner", "name", {"login": "nobody"}),
    ],
    ids=["model", "field", "database", "login"],
)
def test_odoo_that_does_not_fit_the_catalog_is_a_fault_of_the_upstream(model, field, changes, kind):
    fields = {name: Field(name, (name,)) for name in ("name", field)}
    mapping = ModelMapping(model, tuple(fields.values()))

    fault = with_connector(lambda connector, _: refused(works(mapping, field)[kind](connector)), **changes)

    assert (fault.kind, fault.applied) == ("upstream", "no")
