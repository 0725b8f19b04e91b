from __future__ import annotations

import pytest

from entrepot.connectors.odoo.values import BadValue, from_text, record_id, to_json, to_odoo


@pytest.mark.parametrize(
    ("field_type", "odoo", "public"),
    [
        ("char", False, None),
        ("char", "", ""),
        ("char", "False", "False"),
        ("text", "a\nb", "a\nb"),
        ("html", "<p>x</p>", "<p>x</p>"),
        ("boolean", False, False),
        ("boolean", True, True),
        ("integer", 0, 0),
        ("float", 0.0, 0.0),
        ("monetary", 99.5, 99.5),
        ("date", "2026-01-31", "2026-01-31"),
        ("date", False, None),
        ("datetime", "2026-01-31 10:00:00", "2026-01-31T10:00:00Z"),
        ("datetime", False, None),
        ("selection", "draft", "draft"),
        ("selection", False, None),
        ("many2one", [14, "Azure Interior"], 14),
        ("many2one", False, None),
        ("many2many", [], []),
        ("many2many", [1, 2], [1, 2]),
        ("binary", False, None),
        ("binary", "aGk=", "aGk="),
        ("reference", "res.partner,14", "res.partner,14"),
        ("reference", False, None),
    ],
)
def test_odoo_value_becomes_json(field_type, odoo, public):
    assert to_json(field_type)(odoo) == public


@pytest.mark.parametrize(
    ("field_type", "public", "odoo"),
    [
        ("char", None, False),
        ("char", " a ", " a "),
        ("integer", 3.0, 3),
        ("float", 3, 3.0),
        ("boolean", None, False),
        ("date", "2026-01-31", "2026-01-31"),
        ("datetime", "2026-01-31T10:00:00Z", "2026-01-31 10:00:00"),
        ("datetime", "2026-01-31t12:00:00.999+02:00", "2026-01-31 10:00:00"),
        ("many2one", None, False),
        ("many2many", None, []),
        ("many2many", [3], [3]),
        ("binary", "aGk=", "aGk="),
        ("reference", "res.partner,14", "res.partner,14"),
        ("selection", 1, 1),
    ],
)
def test_json_becomes_what_odoo_takes(field_type, public, odoo):
    assert to_odoo(public, field_type) == odoo


@pytest.mark.parametrize(
    ("field_type", "public"),
    [
        ("char", 3),
        ("char", "a\0b"),
        ("char", "\ud800"),
        ("char", True),
        ("integer", True),
        ("integer", 1.5),
        ("integer", 2**31),
        ("float", "3"),
        ("boolean", 1),
        ("date", "31.1.2026"),
        ("date", "2026-02-30"),
        ("date", "0001-01-01"),
        ("date", "2026-W01-1"),
        ("datetime", "2026-01-31 10:00:00"),
        ("datetime", "2026-01-31T10:00:00"),
        ("datetime", "9999-12-31T23:59:59-01:00"),
        ("datetime", 1769853600),
        ("many2one", "14"),
        ("many2one", 0),
        ("many2one", -1),
        ("many2many", 3),
        ("many2many", ["3"]),
        ("binary", "not base64!"),
        ("binary", "é"),
        ("reference", "res.partner"),
    ],
)
def test_value_that_the_field_cannot_have_is_refused(field_type, public):
    with pytest.raises(BadValue, match="must"):
        to_odoo(public, field_type)


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1_000", "0x10", "", "\u0661"])
def test_query_text_that_is_no_json_number_is_no_number(text):
    with pytest.raises(BadValue, match="number"):
        from_text(text, "float")


def test_null_in_a_query_is_no_value_but_for_texts():
    assert from_text("null", "many2one") is False
    assert from_text("null", "date") is False
    assert from_text("null", "char") == "null"


@pytest.mark.parametrize(
    "text", ["0", "-1", "+1", "1.0", "abc", "", "2147483648", "99999999999999999999", "1 ", "\u0661"]
)
def test_text_that_is_no_id_of_a_record(text):
    assert record_id(text) is None


def test_largest_id_is_one():
    assert record_id("2147483647") == 2147483647
