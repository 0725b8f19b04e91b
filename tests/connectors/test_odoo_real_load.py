"""Creates by ``load`` against plain ``create``: the same record must come of both, whatever the type of the field."""

from __future__ import annotations

import asyncio
import base64
from uuid import uuid4

import pytest
from odoo_real import odoo, remove, with_connector
from odoo_support import ORDERS, caller

from entrepot import errors
from entrepot.connectors.base import Field, ModelMapping

pytestmark = pytest.mark.odoo

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
NASTY = "  lead, \"double\" 'single' \r\n line\ttab False % %s %(x)s 1,2 é中😀 \\ {x} trail  "
# What is another in each record because it holds its own id, a number of a sequence, a colour drawn by lot or a moment.
OWN = {
    "id", "__last_update", "create_date", "write_date", "display_name", "message_ids", "message_follower_ids", "self",
    "commercial_partner_id", "local_url", "access_url", "signup_url", "user_ids", "child_ids", "order_line",
    "sale_order_option_ids", "parent_path", "product_variant_id", "product_variant_ids", "bank_ids", "complete_name",
}  # fmt: skip


def fields(**types):
    return [Field(name, (name,), field_type) for name, field_type in types.items()]


def content(model, record_id, mapped, own=()):
    """Return all that is stored of a record and what is *mapped*, but for what must differ.

    What Odoo computes at every read may depend on the moment, and on what others do to the stock meanwhile.
    """
    types = odoo(model, "fields_get", [], attributes=["store"])
    stored = {name for name, entry in types.items() if entry.get("store")}
    [record] = odoo(
        model, "read", [record_id], sorted((stored | {field.source[0] for field in mapped}) - OWN - set(own))
    )
    record.pop("id")
    return record


def both(mapping, public, plain, *, own=(), context=None):
    """Make a record both ways and return what Odoo says of each, and of their lines."""
    context = {"lang": "en_US", "tz": "UTC", **(context or {})}
    made = with_connector(lambda connector, _: connector.create(mapping, public, caller(context=context)))["id"]
    created = odoo(mapping.model, "create", plain, context=context)
    lines = [(field.source[0], field.relation, field.fields) for field in mapping.fields if field.fields]
    own_lines = {"order_id", "parent_id", "partner_id", "name"} if mapping.model == "res.partner" else {"order_id"}
    found = []
    related = []
    try:
        for record_id in (made, created):
            record = content(mapping.model, record_id, mapping.fields, own)
            for name, model, inner in lines:
                [row] = odoo(mapping.model, "read", [record_id], [name])
                record[name] = [content(model, line, inner, own_lines) for line in row[name]]
                related += [(model, line) for line in row[name]]
            found.append(record)
    finally:
        remove(mapping.model, made, created, context=context)
        for model, line in related:
            remove(model, line)
    return found


def test_partner_with_children_is_the_same():
    categories = odoo("res.partner.category", "search", [], limit=2)
    mapping = ModelMapping(
        "res.partner",
        (
            *fields(
                name="char", ref="char", street="char", vat="char", comment="text", color="integer",
                partner_latitude="float", credit_limit="float", debit_limit="monetary", is_company="boolean",
                employee="boolean", active="boolean", date="date", signup_expiration="datetime", type="selection",
                lang="selection", user_id="many2one", parent_id="many2one", category_id="many2many",
                image_1920="binary",
            ),
            Field("country", ("country_id", "code"), relation="res.country"),
            Field(
                "children", ("child_ids",), "one2many", relation="res.partner",
                fields=(
                    *fields(name="char", employee="boolean", color="integer", category_id="many2many"),
                    Field("state", ("state_id", "code"), relation="res.country.state", read_only=True),
                    Field("country", ("country_id", "code"), relation="res.country"),
                ),
            ),
        ),
    )  # fmt: skip
    same = {
        "name": NASTY, "comment": NASTY, "ref": "False", "street": "0", "vat": None, "color": 7,
        "partner_latitude": 12.3456789, "credit_limit": 1e6, "debit_limit": 0.1, "is_company": True, "employee": False,
        "active": True, "date": "2026-01-31", "type": "invoice", "lang": "en_US", "user_id": 2, "parent_id": None,
        "image_1920": PIXEL,
    }  # fmt: skip
    children = [
        {"name": "a", "category_id": categories[:1], "country": "US", "employee": True, "color": 0},
        {"name": "b, c", "category_id": [], "country": None, "employee": False, "color": 5},
        {"name": " ", "category_id": categories, "country": "FR", "employee": None, "color": None},
    ]
    public = {
        **same, "category_id": categories, "signup_expiration": "2026-07-31T23:30:00+02:00", "country": "BE",
        "children": children,
    }  # fmt: skip
    ids = {"US": 233, "FR": 75, None: False}
    plain = {
        **{name: False if value is None else value for name, value in same.items()},
        "category_id": [[6, 0, categories]],
        "signup_expiration": "2026-07-31 21:30:00",
        "country_id": 20,
        "child_ids": [
            [0, 0, {
                "name": child["name"], "employee": bool(child["employee"]), "color": child["color"] or 0,
                "category_id": [[6, 0, child["category_id"]]], "country_id": ids[child["country"]],
            }]
            for child in children
        ],
    }  # fmt: skip

    loaded, created = both(mapping, public, plain)

    assert loaded == created
    assert loaded["name"] == NASTY
    assert loaded["signup_expiration"] == "2026-07-31 21:30:00"
    assert sorted(child["color"] for child in loaded["child_ids"]) == [0, 0, 5]


def test_order_with_two_kinds_of_lines_is_the_same():
    line = fields(product_id="many2one", product_uom_qty="float", name="text", price_unit="float", tax_id="many2many")
    option = fields(product_id="many2one", quantity="float", name="text", price_unit="float", uom_id="many2one")
    mapping = ModelMapping(
        "sale.order",
        (
            *fields(partner_id="many2one", date_order="datetime", commitment_date="datetime", note="text"),
            Field("lines", ("order_line",), "one2many", relation="sale.order.line", fields=tuple(line)),
            Field("options", ("sale_order_option_ids",), "one2many", "sale.order.option", fields=tuple(option)),
        ),
    )
    lines = [
        {"product_id": 5, "product_uom_qty": 2, "name": "a\nb", "price_unit": 0, "tax_id": []},
        {"product_id": 6, "product_uom_qty": 1.5, "name": NASTY, "price_unit": 3.25, "tax_id": []},
        {"product_id": 6, "product_uom_qty": 0, "name": " d ", "price_unit": None, "tax_id": []},
    ]
    options = [{"product_id": 5, "quantity": 2, "name": "o", "price_unit": 1, "uom_id": 1}]
    same = {"partner_id": 14, "note": "n\n"}
    public = {
        **same, "date_order": "2026-03-29T01:30:00Z", "commitment_date": None, "lines": lines, "options": options,
    }  # fmt: skip
    plain_lines = [{**line, "price_unit": line["price_unit"] or 0, "tax_id": [[6, 0, []]]} for line in lines]
    plain = {
        **same,
        "date_order": "2026-03-29 01:30:00",
        "commitment_date": False,
        "order_line": [[0, 0, line] for line in plain_lines],
        "sale_order_option_ids": [[0, 0, option] for option in options],
    }

    loaded, created = both(mapping, public, plain, own={"name"})

    assert loaded == created
    assert len(loaded["order_line"]) == 3


@pytest.mark.parametrize(
    ("model", "types", "values", "context"),
    [
        (
            "ir.attachment",
            {"name": "char", "datas": "binary", "type": "selection", "public": "boolean", "res_model": "char",
             "res_id": "many2one_reference"},
            {"name": "a.bin", "datas": base64.b64encode(bytes(range(256)) * 40).decode(), "type": "binary",
             "public": False, "res_model": "res.partner", "res_id": 14},
            {},
        ),
        (
            "mail.template",
            {"name": "char", "body_html": "html", "subject": "char", "auto_delete": "boolean"},
            {"name": "t", "body_html": f"<p>{NASTY}<b>x</b><i>1</i></p>", "subject": NASTY, "auto_delete": True},
            {},
        ),
        (
            "ir.ui.menu",
            {"name": "char", "action": "reference", "sequence": "integer", "active": "boolean"},
            {"name": "gateway", "action": "ir.actions.act_window,", "sequence": -3, "active": False},
            {"ir.ui.menu.full_list": True},
        ),
        (
            "product.template",
            {"name": "char", "list_price": "float", "type": "selection", "description_sale": "text", "weight": "float",
             "uom_id": "many2one", "default_code": "char", "sale_ok": "boolean"},
            {"name": "P", "list_price": 0, "type": "product", "description_sale": "one\ntwo", "weight": 0.1 + 0.2,
             "uom_id": 1, "default_code": "007", "sale_ok": False},
            {},
        ),
        (
            "sale.order.template",
            {"name": "char", "number_of_days": "integer"},
            {"name": "q", "number_of_days": 2**31 - 1},
            {},
        ),
    ],
)  # fmt: skip
def test_record_with_this_type_is_the_same(model, types, values, context):
    if "action" in values:
        values = {
            **values,
            "action": f"ir.actions.act_window,{odoo('ir.actions.act_window', 'search', [], limit=1)[0]}",
        }

    loaded, created = both(ModelMapping(model, tuple(fields(**types))), values, values, context=context)

    assert loaded == created


def test_user_is_the_same():
    mapping = ModelMapping(
        "res.users", tuple(fields(name="char", login="char", signature="html", groups_id="many2many"))
    )
    group = odoo("ir.model.data", "xmlid_to_res_id", "base.group_user")
    name = f"T{uuid4().hex}"
    public = {"name": name, "login": f"a-{uuid4()}", "signature": "<p>x</p>", "groups_id": [group]}
    plain = {**public, "login": f"b-{uuid4()}", "groups_id": [[6, 0, [group]]]}
    images = {f"image_{size}" for size in (1920, 1024, 512, 256, 128)}

    loaded, created = both(mapping, public, plain, own={"login", "partner_id", *images})
    remove("res.partner", *odoo("res.partner", "search", [["name", "=", name]], context={"active_test": False}))

    assert loaded == created


def test_relation_without_lines_keys_or_ids_is_empty():
    mapping = ModelMapping(
        "res.partner",
        (
            *fields(name="char", category_id="many2many"),
            Field("children", ("child_ids",), "one2many", relation="res.partner", fields=tuple(fields(name="char"))),
            Field("channels", ("channel_ids", "name"), relation="mail.channel"),
            Field("country", ("country_id", "code"), relation="res.country"),
        ),
    )
    public = {"name": "x", "category_id": [], "children": [], "channels": [], "country": None}

    made = with_connector(lambda connector, _: connector.create(mapping, public, caller()))
    remove("res.partner", made.pop("id"))

    assert made == public


def test_transaction_that_is_repeated_makes_one_record():
    reference = str(uuid4())
    body = {
        "reference": reference,
        "lines": [{"product": "FURN_7777", "quantity": 3}, {"product": "FURN_8888", "quantity": 1}],
    }
    one = caller(partner_contact=14)

    async def work(connector, _):
        first = await connector.create(ORDERS, body, one)
        return first, await connector.create(ORDERS, {**body, "lines": []}, one)

    first, second = with_connector(work)
    ids = odoo("sale.order", "search", [["client_order_ref", "=", reference]])
    remove("sale.order", *ids)

    assert len(ids) == 1
    assert first == second
    assert [line["price"] for line in first["lines"]] == [0.0, 0.0]


def test_same_transaction_at_the_same_moment_makes_one_record():
    name = str(uuid4())
    mapping = ModelMapping("res.partner.category", tuple(fields(name="char")))
    one = caller()

    async def work(connector, _):
        return await asyncio.gather(
            *(connector.create(mapping, {"name": name}, one) for _ in range(4)), return_exceptions=True
        )

    answers = with_connector(work)
    ids = odoo("res.partner.category", "search", [["name", "=", name]])
    remove("res.partner.category", *ids)

    assert len(ids) == 1
    assert {type(answer) for answer in answers} <= {dict, errors.UpstreamUnavailable}
    assert {answer["id"] for answer in answers if isinstance(answer, dict)} == set(ids)


def test_record_that_falls_outside_where_is_not_kept():
    name = str(uuid4())
    mapping = ModelMapping("res.partner", tuple(fields(name="char")), where=[["customer_rank", ">", 5]])

    async def work(connector, _):
        with pytest.raises(errors.UpstreamRejected):
            await connector.create(mapping, {"name": name}, caller())

    with_connector(work)

    assert odoo("res.partner", "search", [["name", "=", name]]) == []


def test_record_that_has_left_where_since_is_never_deleted():
    name = str(uuid4())
    mapping = ModelMapping("res.partner", tuple(fields(name="char", city="char")), where=[["comment", "=", False]])
    one = caller()

    async def work(connector, _):
        made = (await connector.create(mapping, {"name": name}, one))["id"]
        odoo("res.partner", "write", [made], {"comment": "checked"})
        with pytest.raises(errors.Conflict):
            await connector.create(mapping, {"name": name}, one)
        return made

    made = with_connector(work)

    assert odoo("res.partner", "search", [["name", "=", name]]) == [made]
    remove("res.partner", made)
