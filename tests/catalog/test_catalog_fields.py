import pytest

from entrepot.catalog.check import check
from entrepot.catalog.fields import needed_models, resolve, used_types
from entrepot.catalog.model_types import reduced
from entrepot.catalog.tree import rooted
from entrepot.errors import CatalogError

ORDER = {
    "name": {"type": "char", "readonly": True, "required": True},
    "partner_id": {"type": "many2one", "relation": "res.partner", "required": True},
    "company_id": {"type": "many2one", "relation": "res.company", "required": True},
    "state": {"type": "selection", "selection": [["draft", "Quotation"], ["sale", "Order"]]},
    "note": {"type": "text"},
    "extra": {"type": "serialized"},
    "order_line": {"type": "one2many", "relation": "sale.order.line"},
    "tag_ids": {"type": "many2many", "relation": "crm.tag"},
}
LINE = {
    "order_id": {"type": "many2one", "relation": "sale.order", "required": True},
    "product_id": {"type": "many2one", "relation": "product.product"},
    "price_unit": {"type": "float", "required": True},
}
PRODUCT = {"default_code": {"type": "char"}, "categ_id": {"type": "many2one", "relation": "product.category"}}
TYPES = {"erp": {"sale.order": ORDER, "sale.order.line": LINE, "product.product": PRODUCT}}


def draft(fields, **keys):
    endpoint = {"path": "/v1/orders", "upstream": "erp", "model": "sale.order", "fields": fields, **keys}
    erp = {"kind": "odoo", "url": "http://erp", "database": "d", "login": "l", "secret": "env:S"}
    mistakes = []
    found = check(rooted({"upstreams": {"erp": erp}, "endpoints": {"orders": endpoint}}, "test"), mistakes)
    assert mistakes == []
    return found


def resolved(fields, types=TYPES, **keys):
    found = resolve(draft(fields, **keys), types)
    return {field.public: field for field in found.catalog.endpoints["orders"].model.fields}


def told(fields, types=TYPES, **keys):
    with pytest.raises(CatalogError) as caught:
        resolve(draft(fields, **keys), types)
    return {mistake.path.removeprefix("test: endpoints.orders."): mistake.message for mistake in caught.value.errors}


def test_types_relations_and_choices_come_from_odoo():
    fields = resolved({"state": "state", "partner": "partner_id", "tags": "tag_ids"})

    assert fields["state"].type == "selection"
    assert fields["state"].choices == ("draft", "sale")
    assert (fields["partner"].type, fields["partner"].relation) == ("many2one", "res.partner")
    assert (fields["tags"].type, fields["tags"].relation) == ("many2many", "crm.tag")


def test_a_natural_key_has_the_type_of_its_last_step_and_the_relation_of_its_first():
    lines = {"from": "order_line", "fields": {"product": "product_id.default_code", "category": "product_id.categ_id"}}
    fields = resolved({"lines": lines})

    product, category = fields["lines"].fields
    assert fields["lines"].relation == "sale.order.line"
    assert (product.type, product.relation, product.read_only) == ("char", "product.product", False)
    assert (category.type, category.read_only) == ("many2one", True)


def test_models_behind_relations_are_asked_for_once_the_ones_before_are_known():
    catalog = draft({"lines": {"from": "order_line", "fields": {"product": "product_id.default_code"}}}).catalog

    known = {}
    asked = []
    while needed := needed_models(catalog, {"erp": known}):
        asked.append(needed)
        known.update({model: TYPES["erp"][model] for _, model in needed})

    assert asked == [{("erp", "sale.order")}, {("erp", "sale.order.line")}, {("erp", "product.product")}]
    assert used_types(catalog, {"erp": {**known, "res.users": {}}}) == {"erp": known}


def test_type_stands_for_odoo_where_all_fields_have_one():
    fields = resolved(
        {"note": {"from": "note", "type": "text"}, "partner": {"from": "partner_id", "type": "many2one"}}, {}
    )

    assert (fields["note"].type, fields["partner"].type) == ("text", "many2one")


def test_type_overrides_what_odoo_says():
    assert resolved({"note": {"from": "note", "type": "html"}})["note"].type == "html"


def test_what_only_odoo_knows_is_said_when_it_does_not_answer():
    lines = {"from": "order_line", "fields": {"price": {"from": "price_unit", "type": "float"}}}
    found = told({"note": "note", "code": {"from": "partner_id.ref", "type": "char"}, "lines": lines}, {})

    assert "give `type`, or apply while it answers" in found["fields.note"]
    assert "only Odoo knows what partner_id.ref leads to" in found["fields.code"]
    assert "only Odoo knows what order_line leads to" in found["fields.lines"]


@pytest.mark.parametrize(
    ("fields", "keys", "place", "message"),
    [
        ({"a": "note_"}, {}, "fields.a", "sale.order has no field `note_`; did you mean `note`?"),
        ({"a": "order_line.price_unit"}, {}, "fields.a", "a path leads through many2one fields only"),
        ({"a": "partner_id.ref"}, {}, "fields.a", "the types of res.partner are not known"),
        ({"a": "extra"}, {}, "fields.a", "extra is serialized, which cannot be mapped"),
        ({"a": "order_line"}, {}, "fields.a", "give the `fields` of its lines, or read_only"),
        ({"a": {"from": "note", "fields": {"b": "c"}}}, {}, "fields.a", "only a one2many has lines"),
        ({"a": {"from": "order_line", "fields": {"b": "prise_unit"}}}, {}, "fields.a.fields.b", "`price_unit`?"),
        ({"a": {"from": "partner_id", "max_length": 3}}, {}, "fields.a.max_length", "is for texts"),
        ({"a": {"from": "note", "default": 5}}, {}, "fields.a.default", "does not fit a text"),
        ({"a": {"from": "state", "enum": ["draft", "dome"]}}, {}, "fields.a.enum", "'dome' does not fit"),
        ({"a": "note"}, {"where": [["partner", "=", 1]]}, "where", "no field `partner`; did you mean `partner_id`?"),
        ({"a": "note"}, {"set": {"partner": 1}}, "set", "did you mean `partner_id`?"),
        ({"a": "partner_id"}, {"key": "a"}, "key", "cannot be the key"),
        ({"a": "tag_ids"}, {"sort": ["a"]}, "sort", "Odoo cannot sort by `a`"),
        ({"a": "partner_id"}, {"search": ["a"]}, "search", "only texts can be searched"),
    ],
)
def test_what_does_not_fit_the_types_is_told(fields, keys, place, message):
    found = told(fields, **keys)

    assert list(found) == [place]
    assert message in found[place]


def test_what_odoo_wants_besides_is_a_warning():
    lines = {"from": "order_line", "fields": {"product": {"from": "product_id", "required": True}}}
    found = resolve(draft({"partner": "partner_id", "lines": lines, "name": "name"}, operations=["create"]), TYPES)

    assert found.warnings == (
        "endpoints.orders: Odoo calls name read-only and may ignore what is written to `name`",
        "endpoints.orders: a create wants company_id too; neither mapped nor set, so Odoo must have defaults for them",
        "endpoints.orders: a line of `lines` wants price_unit too; Odoo must have defaults for them",
    )


def test_of_the_answer_of_odoo_only_what_is_needed_is_kept():
    answer = {
        "state": {"type": "selection", "string": "Status", "required": False, "selection": [["a", "A"]], "help": "…"}
    }

    assert reduced(answer) == {"state": {"type": "selection", "selection": [["a", "A"]]}}
