from __future__ import annotations

import asyncio

import pytest
from odoo_support import caller, scripted, upstream

from entrepot import errors
from entrepot.connectors.base import Field, ModelMapping
from entrepot.connectors.odoo.connector import OdooConnector

LINES = (Field("text", ("name",)), Field("unit", ("product_uom",), "many2one", relation="uom.uom"))
ORDERS = ModelMapping(
    "sale.order",
    (
        Field("note", ("note",), "text"),
        Field("ordered", ("date_order",), "datetime"),
        Field("total", ("amount",), "monetary"),
        Field("country", ("country_id", "code"), relation="res.country"),
        Field("tags", ("tag_ids",), "many2many", relation="crm.tag"),
        Field("seller", ("user_id",), "many2one", relation="res.users"),
        Field("lines", ("order_line",), "one2many", relation="sale.order.line", fields=LINES),
    ),
    operations=("create", "update"),
)
REQUIRED = {"sale.order": ["date_order", "country_id", "amount"], "sale.order.line": ["name"]}
FKEY = "The operation cannot be completed: another model requires it.\n\nModel: Unknown, Constraint: x_rel_crm_tag_fkey"


class Odoo:
    """Requires some fields, has the records 1 to 9 of every model, and writes nothing."""

    def __init__(self):
        self.asked = []

    def __call__(self, request):
        if request["params"]["service"] == "common":
            return {"result": 2}
        *_, model, method, _, kwargs = request["params"]["args"]
        self.asked.append((model, method))
        if method == "write":
            return {"error": {"data": {"name": "odoo.exceptions.ValidationError", "message": FKEY}}}
        if method == "fields_get":
            return {"result": {name: {"required": True} for name in REQUIRED[model]} | {"note": {"required": False}}}
        wanted = kwargs["domain"][-1][2] if kwargs["domain"] else []
        wanted = wanted if isinstance(wanted, list) else [wanted]
        return {"result": [{"id": id_, "order_line": []} for id_ in wanted if id_ < 10]}


def refused(work, odoo):
    """Return the error of ``work(connector)`` and its mistakes by pointer."""

    async def main():
        async with scripted(odoo) as post:
            with pytest.raises(errors.Error) as caught:
                await work(OdooConnector(upstream(), post))
            return caught.value

    error = asyncio.run(main())
    return error, {mistake.path: mistake.message for mistake in error.errors}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"ordered": None}, "/ordered"),
        ({"country": None}, "/country"),
        ({"lines": [{"text": None, "unit": 1}]}, "/lines/0/text"),
    ],
)
def test_null_for_what_odoo_requires_is_refused_by_its_place(body, path):
    error, mistakes = refused(lambda connector: connector.create(ORDERS, {"note": "x", **body}, caller()), Odoo())

    assert isinstance(error, errors.InvalidBody)
    assert mistakes == {path: "must have a value"}


def test_empty_text_for_what_odoo_requires_is_refused_in_a_change():
    body = {"lines": [{"text": ""}]}

    error, mistakes = refused(lambda connector: connector.update(ORDERS, "1", body, caller()), Odoo())

    assert isinstance(error, errors.InvalidBody)
    assert set(mistakes) == {"/lines/0/text"}


def test_what_is_required_is_asked_once_and_only_when_a_field_is_emptied():
    odoo = Odoo()

    async def work(connector):
        for body in ({"total": 1.5}, {"note": None}, {"note": None}):
            with pytest.raises(errors.UpstreamRejected):
                await connector.update(ORDERS, "1", body, caller())
        await connector.update(ORDERS, "1", {"ordered": None}, caller())

    refused(work, odoo)

    assert odoo.asked.count(("sale.order", "fields_get")) == 1
    assert odoo.asked[:1] == [("sale.order", "write")]


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"tags": [1, 99]}, {"/tags"}),
        ({"tags": [1], "seller": 99}, {"/seller"}),
        ({"seller": 2, "lines": [{"text": "x", "unit": 3}, {"text": "y", "unit": 99}]}, {"/lines/1/unit"}),
        ({"tags": [1]}, set()),
    ],
)
def test_related_record_that_is_not_there_is_told_by_its_field(body, paths):
    error, mistakes = refused(lambda connector: connector.update(ORDERS, "1", body, caller()), Odoo())

    assert isinstance(error, errors.UpstreamRejected)
    assert mistakes == dict.fromkeys(paths, "there is no such record")


def test_hundred_mistakes_are_enough():
    body = {"lines": [{"text": 3}] * 300}

    error, mistakes = refused(lambda connector: connector.create(ORDERS, body, caller()), Odoo())

    assert len(mistakes) == 100
    assert " more" in str(error)


@pytest.mark.parametrize("number", [1e16, -1e16, 1e308, 10**400])
def test_number_beyond_fifteen_digits_is_refused(number):
    _, mistakes = refused(lambda connector: connector.create(ORDERS, {"total": number}, caller()), Odoo())

    assert set(mistakes) == {"/total"}
