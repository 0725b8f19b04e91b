from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from odoo_support import ORDERS, PARTNERS, caller, scripted, upstream

from entrepot import errors
from entrepot.connectors.base import Argument, CallMapping, Field, ModelMapping
from entrepot.connectors.odoo import load, writing
from entrepot.connectors.odoo.calls import arguments_of, result_of
from entrepot.connectors.odoo.connector import OdooConnector
from entrepot.connectors.odoo.mapping import mapping_mistakes
from entrepot.connectors.odoo.writing import Key

IDS = {Key("product.product", "default_code", "A"): 5, Key("product.product", "default_code", "B"): 6}


def table(mapping, body):
    draft = writing.drafted(mapping.fields, body, creating=True)
    load.check_lines(draft)
    draft.check()
    return load.rows(draft.values, IDS, "__gw__.x_1")


def mistakes(mapping, body, *, creating=True):
    draft = writing.drafted(mapping.fields, body, creating=creating)
    load.check_lines(draft)
    return {(mistake.path, mistake.message) for mistake in draft.mistakes}


def test_external_id_names_the_model():
    assert load.external_id("sale.order", "tx") == "__gw__.sale_order_tx"


def test_first_line_stands_in_the_records_own_row():
    body = {"reference": "R", "lines": [{"product": "A", "quantity": 2}, {"product": "B", "quantity": 1.5, "price": 9}]}

    columns, rows = table(ORDERS, body)

    assert columns == [
        "id", "client_order_ref", "order_line/product_id/.id", "order_line/product_uom_qty", "order_line/price_unit",
    ]  # fmt: skip
    assert rows == [["__gw__.x_1", "R", "5", "2.0", "0.0"], ["", "", "6", "1.5", "9.0"]]


def test_cells_of_each_type():
    body = {"name": ' a,"b"\n', "company": False, "colour": 0, "birthday": "2026-01-31", "parent": 14, "email": None}

    columns, rows = table(PARTNERS, body)

    assert dict(zip(columns, rows[0], strict=True)) == {
        "id": "__gw__.x_1",
        "name": ' a,"b"\n',
        "is_company": "0",
        "color": "0",
        "date": "2026-01-31",
        "parent_id/.id": "14",
        "email": "",
    }


def test_line_without_a_field_that_others_have_is_named():
    body = {
        "reference": "R",
        "lines": [{"product": "A", "quantity": 2, "discount": 5}, {"product": "B", "quantity": 1}],
    }

    assert mistakes(ORDERS, body) == {("/lines/1", "line 2 lacks discount, which other lines of it have")}


def test_line_without_any_value_is_named():
    plain = replace(ORDERS, fields=(Field("lines", ("order_line",), "one2many", "m", fields=(Field("n", ("name",)),)),))

    assert mistakes(plain, {"lines": [{"n": "x"}, {"n": None}]}) == {("/lines/1", "line 2 holds no value")}


def test_every_mistake_has_its_pointer():
    body = {
        "name": 3,
        "colour": "x",
        "a/b": 1,
        "birthday": "soon",
        "tags": ["x", 4],
        "country": ["BE", None],
        "note": "",
    }

    assert {path for path, _ in mistakes(PARTNERS, body)} == {
        "/name", "/colour", "/a~1b", "/birthday", "/tags", "/country", "/note",
    }  # fmt: skip


def test_read_only_fields_are_passed_over():
    assert mistakes(PARTNERS, {"name": "x", "changed": "2026-01-31T10:00:00Z"}) == set()


def test_empty_text_is_stored_by_an_update_and_refused_by_a_create():
    assert mistakes(PARTNERS, {"street": ""}, creating=False) == set()
    assert mistakes(PARTNERS, {"street": ""}) == {("/street", "must not be an empty text; null stands for no value")}


def test_list_of_lines_replaces_all_lines():
    body = {"lines": [{"id": 53, "quantity": 7}, {"product": "A", "quantity": 1}]}
    draft = writing.drafted(ORDERS.fields, body, creating=False)

    values = writing.written(draft.values, IDS, {"order_line": [52, 53]})

    assert values == {
        "order_line": [
            [2, 52, False],
            [1, 53, {"product_uom_qty": 7.0}],
            [0, 0, {"product_id": 5, "product_uom_qty": 1.0, "price_unit": 0.0}],
        ]
    }


@pytest.mark.parametrize("lines", [[{"id": 99}], [{"id": 53}, {"id": 53}], [{"id": "53"}], [{"id": [1]}], [3]])
def test_line_of_another_record_is_not_changed(lines):
    draft = writing.drafted(ORDERS.fields, {"lines": lines}, creating=False)

    writing.check_lines(draft, {"order_line": [52, 53]})

    assert draft.mistakes


def test_named_and_positional_arguments():
    mapping = CallMapping(
        "m",
        "f",
        arguments=(
            Argument("1", template="{client}"),
            Argument("0", body_field="when", type="datetime"),
            Argument("mode", body_field="mode", required=False),
            Argument("many", body_field="many", type="integer", has_default=True, default=3),
        ),
    )

    assert arguments_of(mapping, {"when": "2026-01-31T10:00:00Z"}, {"client": "shop"}) == (
        ["2026-01-31 10:00:00", "shop"],
        {"many": 3},
    )


def test_argument_that_is_missing_wrong_or_unknown_has_its_pointer():
    mapping = CallMapping(
        "m", "f", arguments=(Argument("a", body_field="a"), Argument("b", body_field="b", type="array"))
    )

    with pytest.raises(errors.InvalidBody) as caught:
        arguments_of(mapping, {"b": {}, "c": 1}, {})

    assert {mistake.path for mistake in caught.value.errors} == {"/a", "/b", "/c"}


def test_result_is_mapped_or_bare():
    mapping = CallMapping("m", "f", result={"number": "name", "gone": "gone"})

    assert result_of(mapping, {"name": "S1", "secret": 1}) == {"number": "S1", "gone": None}
    assert result_of(replace(mapping, result=None), [1]) == [1]
    with pytest.raises(errors.UpstreamBadAnswer):
        result_of(mapping, True)


def test_good_mappings_have_no_mistakes():
    assert mapping_mistakes(PARTNERS) == []
    assert mapping_mistakes(ORDERS) == []


def test_field_that_where_looks_at_is_forced_or_read_only():
    assert mapping_mistakes(replace(PARTNERS, where=[["parent_id.ref", "=", "x"]])) == [
        "parent: where looks at parent_id; make the field read_only or force it by set"
    ]
    assert mapping_mistakes(replace(PARTNERS, where=[["parent_id", "=", 1]], set={"parent_id": 1})) == []
    assert mapping_mistakes(replace(PARTNERS, where=[["parent_id", "=", 1]], operations=("list",))) == []


def test_mistakes_of_a_mapping_are_found_together():
    fields = (
        Field("deep", ("a_id", "b_id", "c"), relation="a"),
        Field("plain", ("name", "x")),
        Field("odd", ("thing",), "serialized"),
        Field("one", ("ref",)),
        Field("two", ("ref",)),
        Field("lines", ("line_ids",), "one2many", relation="l"),
    )
    mapping = ModelMapping("m", fields, where=["|"], key="nothing", search=("odd",), sort=("lines",))

    assert len(mapping_mistakes(mapping)) == 9


def test_call_bound_to_records_needs_an_id_in_its_path():
    mapping = CallMapping("sale.order", "action_confirm", where=[["partner_id", "=", 1]])

    assert mapping_mistakes(mapping) == []
    assert len(mapping_mistakes(mapping, has_id=False)) == 1


@pytest.mark.parametrize("key", ["abc", "0", "-1", "2147483648", "1.5", "", "14 or 1=1"])
def test_id_that_cannot_be_is_not_found_without_asking_odoo(key):
    asked = []

    async def main():
        async with scripted(lambda request: asked.append(request) or {"result": 2}) as post:
            connector = OdooConnector(upstream(), post)
            mapping = CallMapping("sale.order", "action_confirm")
            for work in (
                connector.read(PARTNERS, key, caller()),
                connector.update(PARTNERS, key, {"name": "x"}, caller()),
                connector.delete(PARTNERS, key, caller()),
                connector.call(mapping, key, {}, caller()),
            ):
                with pytest.raises(errors.RecordNotFound):
                    await work

    asyncio.run(main())

    assert asked == []


def test_caller_without_the_values_that_bind_records_writes_nothing():
    asked = []

    async def main():
        async with scripted(lambda request: asked.append(request) or {"result": 2}) as post:
            connector = OdooConnector(upstream(), post)
            bound = replace(PARTNERS, where=[["create_uid", "=", "{partner.user}"]])
            for work in (
                connector.create(bound, {"name": "x"}, caller()),
                connector.update(bound, "1", {"name": "x"}, caller()),
                connector.delete(bound, "1", caller()),
            ):
                with pytest.raises(errors.UpstreamMisconfigured):
                    await work

    asyncio.run(main())

    assert asked == []


def test_call_that_is_bound_to_records_without_an_id_is_never_made():
    async def main():
        async with scripted(lambda request: {"result": 2}) as post:
            mapping = CallMapping("sale.order", "search", where=[["partner_id", "=", 1]])
            with pytest.raises(errors.UpstreamMisconfigured):
                await OdooConnector(upstream(), post).call(mapping, None, {}, caller())

    asyncio.run(main())
