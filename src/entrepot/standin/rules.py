"""What Odoo's modules do when records change: names, prices, totals, states, and what they forbid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from entrepot.standin.faults import user_error, validation_error
from entrepot.standin.models import Json
from entrepot.standin.values import now

if TYPE_CHECKING:
    from entrepot.standin.records import Records

_ADDRESS = ("street", "street2", "zip", "city", "country_id")


def completed(records: Records, values: Mapping[str, Json]) -> dict[str, Json]:
    """Return the values of a new record and what Odoo fills in: an order's number and date, a line's text and price."""
    match records.model.name:
        case "sale.order":
            return {"date_order": now(), **_given(values), "name": _next_order_name(records)}
        case "sale.order.line":
            return {**_of_product(records, values.get("product_id")), **_given(values)}
        case "res.partner" if not values.get("name"):
            raise validation_error("res_partner_check_name")
    return dict(values)


def _given(values: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in values.items() if value is not None}


def _next_order_name(orders: Records) -> str:
    highest = orders.database.ids("SELECT coalesce(max(CAST(substr(name, 2) AS INTEGER)), 0) FROM sale_order")[0]
    return f"S{highest + 1:05}"


def _of_product(lines: Records, product_id: Json) -> dict[str, Json]:
    if not isinstance(product_id, int):
        return {}
    sql = "SELECT display_name, list_price FROM product_product WHERE id = ?"
    return {
        key: value
        for row in lines.database.rows(sql, [product_id])
        for key, value in zip(("name", "price_unit"), row, strict=True)
    }


def settle(records: Records, ids: Iterable[int]) -> None:
    """Bring up to date what is computed from the changed records."""
    rule = _SETTLED.get(records.model.name, _settle_name)
    for one in ids:
        rule(records, one)


def _settle_name(records: Records, record_id: int) -> None:
    sql = f"SELECT name FROM {records.model.table} WHERE id = ?"  # noqa: S608 - the table is one of ours
    records.set(record_id, display_name=records.database.rows(sql, [record_id])[0][0])


def _settle_partner(partners: Records, partner_id: int) -> None:
    sql = "SELECT p.name, p.type, q.id, q.name FROM res_partner p LEFT JOIN res_partner q ON q.id = p.parent_id"
    name, kind, parent_id, parent = partners.database.rows(f"{sql} WHERE p.id = ?", [partner_id])[0]
    partners.set(partner_id, display_name=f"{parent}, {name}" if parent else name)
    if parent and kind == "contact":
        _share_address(partners, parent_id, partner_id)
    for child_id in partners.search([["parent_id", "=", partner_id], ["id", "!=", partner_id]]):
        _settle_partner(partners, child_id)


def _share_address(partners: Records, parent_id: int, partner_id: int) -> None:
    """Give a company's address, if it has any, to one of its people, as Odoo does (res.partner, _fields_sync)."""
    sql = f"SELECT {', '.join(_ADDRESS)} FROM res_partner WHERE id = ?"  # noqa: S608 - names of ours
    address = partners.database.rows(sql, [parent_id])[0]
    if any(address):
        partners.set(partner_id, **dict(zip(_ADDRESS, address, strict=True)))


def _settle_product(products: Records, product_id: int) -> None:
    sql = "SELECT name, default_code FROM product_product WHERE id = ?"
    name, code = products.database.rows(sql, [product_id])[0]
    products.set(product_id, display_name=f"[{code}] {name}" if code else name)


def _settle_order(orders: Records, order_id: int) -> None:
    _settle_name(orders, order_id)
    state = orders.read([order_id], ["state"])[0]["state"]
    lines = orders.of("sale.order.line")
    sql = "SELECT id, product_uom_qty, price_unit, coalesce(discount, 0) FROM sale_order_line WHERE order_id = ?"
    total = 0.0
    for line_id, quantity, price, discount in orders.database.rows(sql, [order_id]):
        subtotal = round(quantity * price * (1 - discount / 100), 2)
        lines.set(line_id, price_subtotal=subtotal, state=state)
        total += subtotal
    total = round(total, 2)
    orders.set(order_id, amount_untaxed=total, amount_tax=0.0, amount_total=total, currency_id=2)


def _settle_line(lines: Records, line_id: int) -> None:
    _settle_name(lines, line_id)
    sql = "SELECT order_id FROM sale_order_line WHERE id = ?"
    _settle_order(lines.of("sale.order"), lines.database.ids(sql, [line_id])[0])


def _settle_external_id(rows: Records, row_id: int) -> None:
    row = rows.read([row_id], ["module", "name"])[0]
    name = f"{row['module']}.{row['name']}"
    rows.set(row_id, complete_name=name, display_name=name)


_SETTLED: Mapping[str, Callable[[Records, int], None]] = {
    "res.partner": _settle_partner,
    "product.product": _settle_product,
    "sale.order": _settle_order,
    "sale.order.line": _settle_line,
    "ir.model.data": _settle_external_id,
}


def check_write(records: Records, ids: Sequence[int], columns: Mapping[str, Json]) -> None:
    """Refuse a change that Odoo's constraints refuse."""
    if records.model.name != "res.partner":
        return
    if "name" in columns and not columns["name"]:
        raise validation_error("res_partner_check_name")
    above = columns.get("parent_id")
    while above is not None:
        if above in ids:
            raise validation_error("You cannot create recursive Partner hierarchies.")
        above = records.database.ids("SELECT parent_id FROM res_partner WHERE id = ?", [above])[0]


def check_unlink(records: Records, ids: Sequence[int]) -> None:
    """Refuse to delete what Odoo keeps: orders that are more than drafts, and their lines."""
    states = {record["state"] for record in records.read(ids, ["state"])} if "state" in records.model.fields else set()
    if records.model.name == "sale.order" and states - {"draft", "cancel"}:
        raise user_error("You can not delete a sent quotation or a confirmed sales order. You must first cancel it.")
    if records.model.name == "sale.order.line" and states & {"sale", "done"}:
        raise user_error(
            "You can not remove an order line once the sales order is confirmed.\n"
            "You should rather set the quantity to 0."
        )


def confirm(orders: Records, ids: Sequence[Json]) -> bool:
    """Confirm quotations (``action_confirm``); a confirmed one stays as it is."""
    rows = orders.read(orders.existing(ids), ["state"])
    if any(row["state"] in ("done", "cancel") for row in rows):
        raise user_error("It is not allowed to confirm an order in the following states: cancel, done")
    for row in rows:
        if row["state"] != "sale":
            orders.write([row["id"]], {"state": "sale", "date_order": now()})
    return True


def cancel(orders: Records, ids: Sequence[Json]) -> bool:
    """Cancel orders (``action_cancel``)."""
    orders.write(ids, {"state": "cancel"})
    return True
