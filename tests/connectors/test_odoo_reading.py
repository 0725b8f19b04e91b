from __future__ import annotations

import asyncio

import pytest

from entrepot.connectors.base import Field, ModelMapping
from entrepot.connectors.odoo.reading import Reader, list_fields, shown_fields
from entrepot.errors import UnknownParameter, UpstreamBadAnswer

COUNTRY = Field("country", ("country_id", "code"), relation="res.country")
CURRENCY = Field("currency", ("country_id", "currency_id"), "many2one", relation="res.country", read_only=True)
TAGS = Field("tags", ("category_id", "name"), relation="res.partner.category")
LINES = Field(
    "lines",
    ("order_line",),
    "one2many",
    relation="sale.order.line",
    fields=(
        Field("product", ("product_id", "default_code"), relation="product.product"),
        Field("count", ("qty",), "float"),
    ),
)
TABLES = {
    "res.country": {1: {"id": 1, "code": "BE", "currency_id": [7, "EUR"]}},
    "res.partner.category": {3: {"id": 3, "name": "a"}, 4: {"id": 4, "name": "b"}},
    "sale.order.line": {
        50: {"id": 50, "product_id": [5, "Chair"], "qty": 2.0},
        51: {"id": 51, "product_id": False, "qty": 0.0},
    },
    "product.product": {5: {"id": 5, "default_code": "C1"}},
}


def records(fields, rows):
    asked = []

    async def ask(model, ids, names):
        asked.append((model, ids, names))
        return [TABLES[model][record] for record in ids if record in TABLES[model]]

    return asyncio.run(Reader(fields).records(rows, ask)), asked


def test_relation_is_shown_by_its_key_and_read_once():
    rows = [
        {"id": 1, "country_id": [1, "Belgium"]},
        {"id": 2, "country_id": False},
        {"id": 3, "country_id": [1, "Belgium"]},
    ]

    found, asked = records([COUNTRY, CURRENCY], rows)

    assert found == [
        {"country": "BE", "currency": 7},
        {"country": None, "currency": None},
        {"country": "BE", "currency": 7},
    ]
    assert asked == [("res.country", [1], ["code", "currency_id"])]


def test_many_keys_are_a_list_even_when_there_are_two():
    found, _ = records([TAGS], [{"id": 1, "category_id": [4, 3]}, {"id": 2, "category_id": []}])

    assert found == [{"tags": ["b", "a"]}, {"tags": []}]


def test_lines_keep_their_order_and_one_that_is_gone_is_left_out():
    found, asked = records([LINES], [{"id": 1, "order_line": [51, 50]}, {"id": 2, "order_line": [99]}])

    assert found == [
        {"lines": [{"product": None, "count": 0.0}, {"product": "C1", "count": 2.0}]},
        {"lines": []},
    ]
    assert [model for model, _, _ in asked] == ["sale.order.line", "product.product"]


def test_nothing_is_asked_for_relations_that_are_empty():
    assert (
        records([COUNTRY, TAGS, LINES], [{"id": 1, "country_id": False, "category_id": [], "order_line": []}])[1] == []
    )


def test_write_only_field_is_neither_asked_for_nor_shown():
    secret = Field("pin", ("pin",), write_only=True)
    mapping = ModelMapping("m", (Field("name", ("name",)), secret))

    assert Reader(shown_fields(mapping)).names == ["id", "name"]
    with pytest.raises(UnknownParameter):
        list_fields(mapping, ("pin",))


def test_id_is_shown_when_records_are_addressed_by_it():
    mapping = ModelMapping("m", (Field("name", ("name",)),))

    assert [field.public for field in shown_fields(mapping)] == ["id", "name"]
    assert [field.public for field in shown_fields(ModelMapping("m", mapping.fields, key="name"))] == ["name"]


def test_record_without_its_fields_is_a_bad_answer():
    with pytest.raises(UpstreamBadAnswer):
        records([Field("name", ("name",))], [{"id": 1}])
