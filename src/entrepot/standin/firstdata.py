"""The first records, numbered as in Odoo's own demonstration data where a catalog may rely on it."""

from __future__ import annotations

from typing import Any

from entrepot.standin.database import Database
from entrepot.standin.models import MODELS
from entrepot.standin.records import Records

_MARK = "(stand-in)"
_COUNTRIES = (
    (12, "Austria", "AT", 43),
    (20, "Belgium", "BE", 32),
    (43, "Switzerland", "CH", 41),
    (56, "Czech Republic", "CZ", 420),
    (57, "Germany", "DE", 49),
    (68, "Spain", "ES", 34),
    (75, "France", "FR", 33),
    (109, "Italy", "IT", 39),
    (165, "Netherlands", "NL", 31),
    (178, "Poland", "PL", 48),
    (231, "United Kingdom", "GB", 44),
    (233, "United States", "US", 1),
)
_COMPANIES = (
    (1, "My Company", "info@yourcompany.example.com", "250 Executive Park Blvd", "San Francisco", "94134"),
    (9, "Wood Corner", "wood.corner26@example.com", "1839 Arbor Way", "Turlock", "95380"),
    (10, "Deco Addict", "deco.addict82@example.com", "77 Santa Barbara Rd", "Pleasant Hill", "94523"),
    (11, "Gemini Furniture", "gemini.furniture39@example.com", "317 Fairchild Dr", "Fairfield", "94535"),
    (12, "Ready Mat", "ready.mat28@example.com", "7500 W Linne Road", "Tracy", "95304"),
    (14, "Azure Interior", "azure.interior24@example.com", "4557 De Silva St", "Fremont", "94538"),
    (15, "Lumber Inc", "lumber-inv92@example.com", "1337 N San Joaquin St", "Stockton", "95202"),
)
_PEOPLE = (
    (16, 9, "Ron Gibson", "ron.gibson76@example.com"),
    (18, 10, "Addison Olson", "addison.olson28@example.com"),
    (20, 11, "Edwin Hansen", "edwin.hansen58@example.com"),
    (26, 14, "Brandon Freeman", "brandon.freeman55@example.com"),
    (27, 14, "Nicole Ford", "nicole.ford75@example.com"),
    (33, 14, "Colleen Diaz", "colleen.diaz83@example.com"),
)
_PRODUCTS = (
    (3, "Virtual Interior Design", None, 30.75, "service"),
    (5, "Office Chair", "FURN_7777", 70.0, "product"),
    (6, "Office Lamp", "FURN_8888", 40.0, "product"),
    (8, "Desk Combination", "FURN_7800", 450.0, "product"),
    (17, "Large Cabinet", "E-COM07", 320.0, "product"),
    (25, "Office Chair Black", "FURN_0269", 12.5, "product"),
    (27, "Drawer Black", "FURN_8900", 25.0, "product"),
    (34, "Large Meeting Table", "FURN_6741", 4000.0, "product"),
)
_ORDERS: tuple[tuple[int, str | None, str, tuple[tuple[int, float], ...]], ...] = (
    (10, None, "draft", ((8, 2), (17, 1))),
    (12, "RM-4711", "sale", ((5, 10),)),
    (14, "AZ-1001", "sale", ((5, 4), (6, 4))),
    (14, "AZ-1002", "draft", ((34, 1), (25, 12))),
)


def fill(database: Database) -> None:
    """Make the first records unless there are partners already."""
    with database.transaction():
        if not database.ids("SELECT id FROM res_partner LIMIT 1"):
            _fill(database)


def _fill(database: Database) -> None:
    _make(database, "res.currency", 2, name="USD", symbol="$")
    for number, name, code, phone in _COUNTRIES:
        _make(database, "res.country", number, name=name, code=code, phone_code=phone)
    for number, name, email, street, city, code in _COMPANIES:
        company: dict[str, Any] = {"name": f"{name} {_MARK}", "email": email, "is_company": True, "country_id": 233}
        _make(database, "res.partner", number, **company, street=street, city=city, zip=code)
    for number, parent, name, email in _PEOPLE:
        person: dict[str, Any] = {"name": f"{name} {_MARK}", "email": email, "country_id": 233}
        _make(database, "res.partner", number, **person, parent_id=parent)
    for number, name, reference, price, kind in _PRODUCTS:
        product: dict[str, Any] = {"name": f"{name} {_MARK}", "default_code": reference}
        _make(database, "product.product", number, **product, list_price=price, type=kind)
    _fill_orders(database)


def _fill_orders(database: Database) -> None:
    for number, (partner, reference, state, items) in enumerate(_ORDERS, start=1):
        lines = [[0, 0, {"product_id": product, "product_uom_qty": quantity}] for product, quantity in items]
        head: dict[str, Any] = {"partner_id": partner, "client_order_ref": reference, "state": state}
        _make(database, "sale.order", number, **head, note=f"An order {_MARK}", order_line=lines)


def _make(database: Database, model: str, number: int, **values: Any) -> None:
    Records(database, MODELS[model], {}).create(values, number=number)
