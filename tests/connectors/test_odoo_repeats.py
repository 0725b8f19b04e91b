"""What the connector asks and sends when a write is repeated; the same with a real Odoo: test_odoo_real_repeats."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from odoo_support import caller, scripted, upstream

from entrepot import errors
from entrepot.connectors.base import CallMapping, Earlier, Field, ModelMapping
from entrepot.connectors.faults import fault_of
from entrepot.connectors.odoo.connector import OdooConnector

BEFORE, AFTER = "2026-01-01 10:00:00", "2026-01-01 10:00:05"
LINE = (
    Field("id", ("id",), "integer", read_only=True),
    Field("product", ("product_id",), "many2one", relation="product.product"),
    Field("price", ("price_unit",), "monetary"),
)
ORDERS = ModelMapping(
    "sale.order",
    (
        Field("reference", ("client_order_ref",)),
        Field("day", ("date",), "date"),
        Field("total", ("amount",), "float"),
        Field("paid", ("paid",), "boolean"),
        Field("seller", ("user_id",), "many2one", relation="res.users"),
        Field("tags", ("tag_ids",), "many2many", relation="crm.tag"),
        Field("scan", ("scan",), "binary"),
        Field("lines", ("order_line",), "one2many", relation="sale.order.line", fields=LINE),
    ),
    key="reference",
)
CONFIRM = CallMapping("sale.order", "confirm", key="client_order_ref", guard=[["state", "=", "sale"]])
RECORD = {
    "id": 7, "client_order_ref": "R", "date": False, "amount": 0.0, "paid": False, "user_id": False, "tag_ids": [],
    "order_line": [1, 2], "write_date": BEFORE, "scan": False,
}  # fmt: skip
NOTED = {"id": 7, "write_date": BEFORE, "lines": {}, "lacked": True}


class Odoo:
    """Has one order, *record*, or none; *answers* are what it says to methods, a result or an exception."""

    def __init__(self, record=RECORD, lines=(), *, guard=False, **answers):
        self.record = record
        self.lines = {line["id"]: line for line in lines}
        self.guard = guard
        self.answers = answers
        self.asked = []

    def __call__(self, request):
        if request["params"]["service"] == "common":
            return {"result": 2}
        *_, model, method, args, kwargs = request["params"]["args"]
        self.asked.append(method)
        said = self.answers.get(method) or getattr(self, method)(model, args, kwargs)
        return said if isinstance(said, tuple) else said if "error" in said else {"result": said["is"]}

    def search_read(self, model, args, kwargs):
        if ["state", "=", "sale"] in kwargs["domain"] and not self.guard:
            return {"is": []}
        return {"is": [] if self.record is None else [self.record]}

    def read(self, model, args, kwargs):
        found = self.lines if model == "sale.order.line" else {7: self.record}
        return {"is": [found[id_] for id_ in args[0] if id_ in found]}


def refusal(text="no"):
    return {"error": {"data": {"name": "odoo.exceptions.UserError", "message": text}}}


def ended(odoo, work, memory=None, *, kept=True):
    """Return what ``work(connector, caller)`` ends with, error or result, and what was noted."""
    noted = []

    async def remember(facts):
        assert "write" not in odoo.asked
        noted.append(facts)

    earlier = None if memory is None else Earlier(memory)
    who = replace(caller(), remember=remember if kept else None, earlier=earlier)

    async def main():
        async with scripted(odoo) as post:
            try:
                return await work(OdooConnector(upstream(), post), who)
            except errors.Error as error:
                return error

    return asyncio.run(main()), noted


def update(changes):
    return lambda connector, who: connector.update(ORDERS, "R", changes, who)


def confirm(connector, who):
    return connector.call(CONFIRM, "R", {}, who)


def delete(connector, who):
    return connector.delete(ORDERS, "R", who)


def said(error):
    fault = fault_of(error)
    return fault.kind, fault.applied


def test_state_of_the_record_is_noted_before_the_first_try():
    odoo = Odoo(lines=[{"id": 1}, {"id": 2}], write={"is": True})

    _, noted = ended(odoo, update({"lines": [{"id": 2}]}))

    assert noted == [{"id": 7, "write_date": BEFORE, "lines": {"order_line": [1, 2]}, "lacked": True}]


def test_nothing_is_asked_or_noted_for_who_does_not_keep_it():
    odoo = Odoo(write={"is": True})

    _, noted = ended(odoo, update({"paid": True}), kept=False)

    assert noted == []
    assert odoo.asked.count("write") == 1


@pytest.mark.parametrize(
    ("changes", "lacked"),
    [
        ({"paid": True}, True),
        ({"paid": False}, False),
        ({"paid": False, "reference": "S"}, True),
        ({"scan": "aGVsbG8="}, False),
        ({"scan": "aGVsbG8=", "seller": 4}, True),
        ({"lines": [{"id": 1, "price": 5}, {"id": 2}]}, True),
        ({"lines": [{"id": 1, "price": 4}, {"id": 2}]}, False),
        ({"lines": [{"id": 1, "price": 4}]}, True),
    ],
)
def test_it_is_noted_whether_the_record_lacks_any_of_the_values(changes, lacked):
    odoo = Odoo({**RECORD, "scan": "of megabytes"}, [{"id": 1, "price_unit": 4.0}, {"id": 2}], write={"is": True})

    _, noted = ended(odoo, update(changes), None)

    assert [facts["lacked"] for facts in noted] == [lacked]


def test_plain_values_are_noted_without_a_question_of_their_own():
    odoo = Odoo(write={"is": True})

    ended(odoo, update({"paid": True, "tags": [1], "seller": 4}), None)

    assert odoo.asked[:2] == ["search_read", "write"]


@pytest.mark.parametrize(
    ("changes", "record"),
    [
        ({"paid": True}, {"paid": True}),
        ({"day": None, "tags": [1]}, {"tag_ids": [1]}),
        ({"scan": "aGVsbG8=", "paid": True}, {"scan": "aGVsbG8=", "paid": True}),
    ],
)
def test_update_that_was_applied_in_the_second_of_the_change_before_it_is_not_sent_again(changes, record):
    odoo = Odoo({**RECORD, **record})

    answer, _ = ended(odoo, update(changes), NOTED)

    assert isinstance(answer, dict)
    assert "write" not in odoo.asked


def test_changed_line_shows_an_update_that_was_applied_in_the_second_of_the_change_before_it():
    odoo = Odoo(lines=[{"id": id_, "product_id": False, "price_unit": 5.0} for id_ in (1, 2)])
    lines = [{"id": 1, "price": 5}, {"id": 2}]

    answer, _ = ended(odoo, update({"lines": lines}), {**NOTED, "lines": {"order_line": [1, 2]}})

    assert isinstance(answer, dict)
    assert "write" not in odoo.asked


@pytest.mark.parametrize("memory", [{**NOTED, "lacked": False}, {"id": 7, "write_date": BEFORE, "lines": {}}])
def test_values_that_the_record_had_before_prove_nothing_and_are_sent_again(memory):
    odoo = Odoo({**RECORD, "paid": True}, write={"is": True})

    ended(odoo, update({"paid": True}), memory)

    assert odoo.asked.count("write") == 1


def test_values_that_odoo_made_others_of_do_not_show_and_are_sent_again():
    odoo = Odoo({**RECORD, "client_order_ref": "REWRITTEN"}, write={"is": True})

    ended(odoo, update({"reference": "rewritten"}), NOTED)

    assert odoo.asked.count("write") == 1


@pytest.mark.parametrize("memory", [NOTED, {}])
def test_update_of_an_untouched_record_is_sent_again(memory):
    odoo = Odoo(write={"is": True})

    ended(odoo, update({"paid": True}), memory)

    assert odoo.asked.count("write") == 1


@pytest.mark.parametrize(
    ("changes", "record"),
    [
        ({"day": "2026-02-01"}, {"date": "2026-02-01"}),
        ({"day": None}, {"date": False}),
        ({"total": 3.333}, {"amount": 3.33}),
        ({"total": None}, {"amount": 0.0}),
        ({"paid": True}, {"paid": True}),
        ({"seller": 4}, {"user_id": [4, "Four"]}),
        ({"seller": None}, {"user_id": False}),
        ({"tags": [3, 1]}, {"tag_ids": [1, 3]}),
    ],
)
def test_touched_record_with_all_its_values_has_been_updated(changes, record):
    odoo = Odoo({**RECORD, **record, "write_date": AFTER})

    answer, noted = ended(odoo, update(changes), NOTED)

    assert isinstance(answer, dict)
    assert "write" not in odoo.asked
    assert noted == []


@pytest.mark.parametrize(
    ("changes", "record"),
    [
        ({"day": "2026-02-01"}, {"date": False}),
        ({"total": 3.333}, {"amount": 3.3}),
        ({"total": 3.0}, {"amount": 0.0}),
        ({"paid": False}, {"paid": True}),
        ({"seller": 4}, {"user_id": [5, "Five"]}),
        ({"tags": [3]}, {"tag_ids": [1, 3]}),
        ({"reference": "S"}, {"client_order_ref": "R"}),
        ({"paid": True, "seller": 4}, {"paid": True}),
    ],
)
def test_touched_record_without_its_values_is_left_alone(changes, record):
    odoo = Odoo({**RECORD, **record, "write_date": AFTER})

    error, _ = ended(odoo, update(changes), NOTED)

    assert type(error) is errors.OutcomeUnclear
    assert said(error) == ("record", "unknown")
    assert "write" not in odoo.asked


@pytest.mark.parametrize(
    ("present", "is_applied"),
    [
        ([{"id": 2, "price_unit": 5.0}, {"id": 3, "product_id": [9, "Nine"], "price_unit": 1.5}], True),
        ([{"id": 2, "price_unit": 4.0}, {"id": 3, "product_id": [9, "Nine"], "price_unit": 1.5}], False),
        ([{"id": 2, "price_unit": 5.0}, {"id": 3, "product_id": [8, "Eight"], "price_unit": 1.5}], False),
        ([{"id": 1}, {"id": 2, "price_unit": 5.0}, {"id": 3, "product_id": [9, "Nine"], "price_unit": 1.5}], False),
        ([{"id": 2, "price_unit": 5.0}], False),
        ([{"id": 3, "product_id": [9, "Nine"], "price_unit": 1.5}], False),
    ],
)
def test_lines_say_whether_an_update_was_applied_even_in_the_same_second(present, is_applied):
    odoo = Odoo({**RECORD, "order_line": [line["id"] for line in present]}, [{"product_id": False} | line
                                                                            for line in present])  # fmt: skip
    lines = [{"id": 2, "price": 5}, {"product": 9, "price": 1.5}]

    answer, _ = ended(odoo, update({"lines": lines}), {**NOTED, "lines": {"order_line": [1, 2]}})

    assert isinstance(answer, dict if is_applied else errors.OutcomeUnclear)
    assert "write" not in odoo.asked


def test_refused_update_is_not_applied_also_when_the_try_before_it_was_lost():
    odoo = Odoo(write=refusal())

    error, _ = ended(odoo, update({"paid": True}), NOTED)

    assert said(error) == ("record", "no")


@pytest.mark.parametrize(
    ("answer", "kind", "applied"),
    [
        (refusal(), "record", "no"),
        ({"error": {"data": {"name": "psycopg2.errors.SerializationFailure", "message": "x"}}}, "transient", "no"),
        ({"error": {"data": {"name": "psycopg2.OperationalError", "message": "server closed"}}}, "transient",
         "unknown"),
        ({"error": {"data": {"name": "psycopg2.InterfaceError", "message": "connection already closed"}}}, "transient",
         "unknown"),
        ({"error": {"data": {"name": "builtins.TypeError", "message": "x is not JSON serializable"}}}, "record",
         "unknown"),
        ({"error": {"data": {"name": "builtins.AttributeError", "message": "'bool' object has no attribute 'x'"}}},
         "record", "no"),
        ({"error": {"data": {"name": "builtins.AttributeError", "message": "type object 'a.b' has no attribute 'x'"}}},
         "upstream", "no"),
        ({"error": {"data": {"name": "builtins.AttributeError", "message": "'a.b' object has no attribute 'x'"}}},
         "upstream", "no"),
        ((500, b"<html>"), "transient", "unknown"),
        ((200, b"<html>"), "transient", "unknown"),
        ((404, b"<html>"), "upstream", "no"),
    ],
)  # fmt: skip
def test_answer_to_a_call_says_whether_it_may_have_been_applied(answer, kind, applied):
    error, _ = ended(Odoo(confirm=answer), confirm)

    assert said(error) == (kind, applied)


def test_fault_before_a_call_is_sent_is_known_not_to_be_applied():
    error, _ = ended(Odoo(search_read=(500, b"<html>")), confirm)

    assert said(error) == ("transient", "no")


def test_fault_before_a_call_is_sent_again_says_nothing_of_the_try_before():
    error, _ = ended(Odoo(search_read=(500, b"<html>")), confirm, {"id": 7})

    assert said(error) == ("transient", "unknown")


@pytest.mark.parametrize(("guard", "calls"), [(True, 0), (False, 1)])
def test_guard_decides_whether_a_call_is_repeated(guard, calls):
    odoo = Odoo(guard=guard, confirm={"is": "done"})

    answer, _ = ended(odoo, confirm, {"id": 7})

    assert answer == (None if guard else "done")
    assert odoo.asked.count("confirm") == calls


def test_guard_is_not_asked_at_the_first_try():
    odoo = Odoo(guard=True, confirm={"is": "done"})

    answer, noted = ended(odoo, confirm)

    assert (answer, noted) == ("done", [{"id": 7}])


def test_result_that_is_not_what_the_catalog_says_is_of_a_call_that_was_made():
    mapping = replace(CONFIRM, result={"a": "b"})

    error, _ = ended(Odoo(confirm={"is": True}), lambda connector, who: connector.call(mapping, "R", {}, who))

    assert said(error) == ("record", "yes")


@pytest.mark.parametrize(("memory", "done"), [(None, False), ({}, True), ({"id": 7}, True)])
def test_missing_record_counts_as_deleted_after_a_try_that_was_lost(memory, done):
    answer, _ = ended(Odoo(None), delete, memory)

    assert (answer is None) == done
    assert done or said(answer) == ("record", "no")


def test_create_finds_its_record_before_it_fails_for_good():
    odoo = Odoo(load={"is": {"ids": False, "messages": [{"message": "no"}]}}, xmlid_to_res_id={"is": 7})
    odoo.record = None
    record = {**RECORD, "order_line": []}

    def search_read(model, args, kwargs):
        return {"is": [record] if ["id", "=", 7] in kwargs["domain"] else []}

    odoo.search_read = search_read

    answer, _ = ended(odoo, lambda connector, who: connector.create(ORDERS, {"reference": "R"}, who), {})

    assert answer["reference"] == "R"


@pytest.mark.parametrize(("memory", "asked"), [({}, 1), (None, 0)])
def test_create_that_fails_for_good_has_made_nothing(memory, asked):
    odoo = Odoo(None, load={"is": {"ids": False, "messages": [{"message": "no"}]}}, xmlid_to_res_id={"is": False})

    error, _ = ended(odoo, lambda connector, who: connector.create(ORDERS, {"reference": "R"}, who), memory)

    assert said(error) == ("record", "no")
    assert odoo.asked.count("xmlid_to_res_id") == asked
