from __future__ import annotations

from dataclasses import replace

import pytest
from odoo_support import ORDERS, PARTNERS

from entrepot.connectors.base import ListQuery
from entrepot.connectors.odoo.domains import filled, joined, list_domain, list_order, normalized, resolved, settled_by
from entrepot.errors import UnknownParameter, UpstreamMisconfigured

OWN = [["partner_id", "=", "{partner.contact}"]]


def test_template_as_a_whole_keeps_the_type_of_its_value():
    assert resolved(OWN, {"partner.contact": 14}) == [["partner_id", "=", 14]]
    assert resolved([["id", "in", "{partner.ids}"]], {"partner.ids": [1, 2]}) == [["id", "in", [1, 2]]]


def test_template_inside_text_is_written_out():
    assert filled("P-{partner.contact}/{client}", {"partner.contact": 14, "client": "shop"}) == "P-14/shop"


def test_template_without_value_is_never_left_open():
    with pytest.raises(UpstreamMisconfigured, match=r"partner\.contact"):
        resolved(OWN, {})
    with pytest.raises(UpstreamMisconfigured):
        resolved(OWN, {"partner.contact": None})


def test_text_filled_in_is_not_looked_through_for_templates_again():
    assert filled("{a}{b}", {"a": "{b}", "b": "x"}) == "{b}x"


def test_wildcards_of_a_path_value_stand_for_themselves():
    assert resolved([["ref", "=like", "{code}%"]], {"code": "50%_"}) == [["ref", "=like", "50\\%\\_%"]]


def test_or_of_a_catalog_does_not_swallow_the_id():
    where = ["|", ["a", "=", 1], ["b", "=", 2]]

    assert joined(where, [["id", "=", 5]]) == ["&", "|", ["a", "=", 1], ["b", "=", 2], ["id", "=", 5]]


def test_every_and_is_written_out():
    assert normalized([["a", "=", 1], ["b", "=", 2], ["c", "=", 3]])[:2] == ["&", "&"]


@pytest.mark.parametrize(
    "domain",
    [
        ["|", ["a", "=", 1]],
        ["x"],
        [["a", "="]],
        [["a", "~~", 1]],
        [["a b", "=", 1]],
        [[1, "=", 2]],
        [3],
        [["a", ["="], 1]],
    ],
)
def test_what_is_no_domain_is_refused(domain):
    with pytest.raises(ValueError, match=r"condition|operator|field"):
        normalized(domain)


def test_record_that_has_the_forced_values_is_inside_where():
    assert settled_by(OWN, {"partner_id": "{partner.contact}"})
    assert not settled_by([*OWN, ["state", "!=", "done"]], {"partner_id": "{partner.contact}"})


def asked(*filters, **query):
    return list_domain(PARTNERS, ListQuery(filters=filters, **query))


def test_filters_are_typed_by_their_field():
    assert asked(("colour", ">=", "3")) == [["color", ">=", 3]]
    assert asked(("company", "=", "true")) == [["is_company", "=", True]]
    assert asked(("parent", "=", "null")) == [["parent_id", "=", False]]
    assert asked(("changed", "<", "2026-01-31T12:00:00+02:00")) == [["write_date", "<", "2026-01-31 10:00:00"]]
    assert asked(("country", "in", "BE,US")) == [["country_id.code", "in", ["BE", "US"]]]
    assert asked(("country", "in", ["BE"])) == [["country_id.code", "in", ["BE"]]]
    assert asked(("id", "=", "14")) == [["id", "=", 14]]


def test_like_is_literal():
    assert asked(("name", "like", "100%_\\")) == [["name", "ilike", "100\\%\\_\\\\"]]


def test_sql_and_domain_syntax_are_text():
    nasty = "'); DROP TABLE res_partner; -- |['id','=',1]"

    assert asked(("name", "=", nasty)) == [["name", "=", nasty]]
    assert asked(search="x") == ["|", ["name", "ilike", "x"], ["email", "ilike", "x"]]


@pytest.mark.parametrize(
    "condition",
    [
        ("colour", "=", "abc"),
        ("colour", "=", "99999999999"),
        ("company", "=", "1"),
        ("company", "<", "true"),
        ("changed", ">", "yesterday"),
        ("nothing", "=", "x"),
        ("image", "=", "x"),
        ("colour", "like", "1"),
        ("name", "~~", "x"),
        ("name", "=", "a\0"),
        ("parent", ">", "1"),
    ],
)
def test_filter_that_cannot_be_names_the_parameter(condition):
    with pytest.raises(UnknownParameter, match=condition[0]):
        asked(condition)


def test_write_only_field_is_no_filter():
    hidden = replace(PARTNERS, fields=(replace(PARTNERS.fields[0], write_only=True),))

    with pytest.raises(UnknownParameter):
        list_domain(hidden, ListQuery(filters=(("name", "=", "x"),)))


def test_search_needs_search_fields():
    with pytest.raises(UnknownParameter, match="search"):
        list_domain(ORDERS, ListQuery(search="x"))


def test_id_is_the_last_sort_key():
    assert list_order(PARTNERS, ListQuery(sort=(("name", True),))) == "name desc, id asc"
    assert list_order(PARTNERS, ListQuery(sort=(("id", True), ("name", False)))) == "id desc, name asc"
    assert list_order(PARTNERS, ListQuery()) == "id asc"


def test_sort_by_another_field_is_refused():
    with pytest.raises(UnknownParameter, match="email"):
        list_order(PARTNERS, ListQuery(sort=(("email", False),)))
