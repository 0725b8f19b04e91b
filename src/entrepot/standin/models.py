"""What the stand-in knows: models and fields, by the names that Odoo 14 gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Any

MAGIC = ("id", "display_name", "create_date", "write_date")
"""Fields of every model that a client cannot write."""

_COLUMN_TYPES = {
    "integer": "INTEGER",
    "many2one": "INTEGER",
    "boolean": "INTEGER",
    "float": "REAL",
    "monetary": "REAL",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. *inverse* is the many2one behind a one2many; a *computed* one is set by the stand-in alone.

    A record that a *restrict* field leads to cannot be deleted; a *required* one restricts too.
    """

    name: str
    type: str
    label: str
    required: bool = False
    readonly: bool = False
    computed: bool = False
    restrict: bool = False
    relation: str = ""
    inverse: str = ""
    selection: tuple[tuple[str, str], ...] = ()
    default: Json = None

    @property
    def column_type(self) -> str:
        """The type of its SQLite column."""
        return _COLUMN_TYPES.get(self.type, "TEXT")

    def describe(self) -> dict[str, Json]:
        """Return the field as ``fields_get`` shows it."""
        shown: dict[str, Json] = {
            "type": self.type,
            "string": self.label,
            "required": self.required,
            "readonly": self.readonly or self.computed,
            "store": True,
            "searchable": True,
            "sortable": self.type != "one2many",
        }
        if self.relation:
            shown["relation"] = self.relation
        if self.inverse:
            shown["relation_field"] = self.inverse
        if self.selection:
            shown["selection"] = [list(choice) for choice in self.selection]
        return shown


@dataclass(frozen=True, slots=True)
class Model:
    """A model: its fields by name, and the order of its records when none is asked for."""

    name: str
    label: str
    order: str
    fields: Mapping[str, Field]

    @property
    def table(self) -> str:
        """The name of its table."""
        return self.name.replace(".", "_")

    @property
    def columns(self) -> tuple[Field, ...]:
        """The fields that its table keeps, ``id`` first."""
        return tuple(field for field in self.fields.values() if field.type != "one2many")


def _model(name: str, label: str, order: str, *fields: Field) -> Model:
    magic = (
        Field("id", "integer", "ID", readonly=True),
        Field("display_name", "char", "Display Name", readonly=True),
        Field("create_date", "datetime", "Created on", readonly=True),
        Field("write_date", "datetime", "Last Updated on", readonly=True),
    )
    return Model(name, label, order, {field.name: field for field in (*magic, *fields)})


_ORDER_STATES = (
    ("draft", "Quotation"),
    ("sent", "Quotation Sent"),
    ("sale", "Sales Order"),
    ("done", "Locked"),
    ("cancel", "Cancelled"),
)
_ADDRESS_TYPES = (
    ("contact", "Contact"),
    ("invoice", "Invoice Address"),
    ("delivery", "Delivery Address"),
    ("other", "Other Address"),
    ("private", "Private Address"),
)
_PRODUCT_TYPES = (("consu", "Consumable"), ("service", "Service"), ("product", "Storable Product"))

COUNTRY = _model(
    "res.country",
    "Country",
    "name",
    Field("name", "char", "Country Name", required=True),
    Field("code", "char", "Country Code"),
    Field("phone_code", "integer", "Country Calling Code"),
)
CURRENCY = _model(
    "res.currency",
    "Currency",
    "id",
    Field("name", "char", "Currency", required=True),
    Field("symbol", "char", "Symbol", required=True),
)
PARTNER = _model(
    "res.partner",
    "Contact",
    "display_name",
    Field("name", "char", "Name"),
    Field("email", "char", "Email"),
    Field("phone", "char", "Phone"),
    Field("mobile", "char", "Mobile"),
    Field("street", "char", "Street"),
    Field("street2", "char", "Street2"),
    Field("city", "char", "City"),
    Field("zip", "char", "Zip"),
    Field("country_id", "many2one", "Country", relation="res.country", restrict=True),
    Field("is_company", "boolean", "Is a Company"),
    Field("parent_id", "many2one", "Related Company", relation="res.partner"),
    Field("child_ids", "one2many", "Contact", relation="res.partner", inverse="parent_id"),
    Field("vat", "char", "Tax ID"),
    Field("ref", "char", "Reference"),
    Field("website", "char", "Website Link"),
    Field("comment", "text", "Notes"),
    Field("active", "boolean", "Active", default=True),
    Field("type", "selection", "Address Type", selection=_ADDRESS_TYPES, default="contact"),
    Field("date", "date", "Date"),
    Field("color", "integer", "Color Index"),
    Field("credit_limit", "float", "Credit Limit"),
)
PRODUCT = _model(
    "product.product",
    "Product",
    "default_code, name, id",
    Field("name", "char", "Name", required=True),
    Field("default_code", "char", "Internal Reference"),
    Field("barcode", "char", "Barcode"),
    Field("list_price", "float", "Sales Price", default=1.0),
    Field("type", "selection", "Product Type", required=True, selection=_PRODUCT_TYPES, default="consu"),
    Field("description_sale", "text", "Sales Description"),
    Field("sale_ok", "boolean", "Can be Sold", default=True),
    Field("active", "boolean", "Active", default=True),
)
ORDER = _model(
    "sale.order",
    "Sales Order",
    "date_order desc, id desc",
    Field("name", "char", "Order Reference", required=True, readonly=True),
    Field("state", "selection", "Status", readonly=True, selection=_ORDER_STATES, default="draft"),
    # Odoo shows these two as readonly too, because they are outside of drafts; it takes them all the same.
    Field("partner_id", "many2one", "Customer", required=True, readonly=True, relation="res.partner"),
    Field("date_order", "datetime", "Order Date", required=True, readonly=True),
    Field("client_order_ref", "char", "Customer Reference"),
    Field("commitment_date", "datetime", "Delivery Date"),
    Field("order_line", "one2many", "Order Lines", relation="sale.order.line", inverse="order_id"),
    Field("amount_untaxed", "monetary", "Untaxed Amount", computed=True),
    Field("amount_tax", "monetary", "Taxes", computed=True),
    Field("amount_total", "monetary", "Total", computed=True),
    Field("currency_id", "many2one", "Currency", computed=True, relation="res.currency"),
    Field("origin", "char", "Source Document"),
    Field("note", "text", "Terms and conditions"),
)
LINE = _model(
    "sale.order.line",
    "Sales Order Line",
    "order_id, sequence, id",
    Field("order_id", "many2one", "Order Reference", required=True, relation="sale.order"),
    Field("name", "text", "Description", required=True),
    Field("sequence", "integer", "Sequence", default=10),
    Field("product_id", "many2one", "Product", relation="product.product"),
    Field("product_uom_qty", "float", "Quantity", required=True, default=1.0),
    Field("price_unit", "float", "Unit Price", required=True),
    Field("discount", "float", "Discount (%)"),
    Field("price_subtotal", "monetary", "Subtotal", computed=True),
    Field("state", "selection", "Order Status", computed=True, selection=_ORDER_STATES),
)
EXTERNAL_ID = _model(
    "ir.model.data",
    "Model Data",
    "module, model, name",
    Field("module", "char", "Module", required=True),
    Field("name", "char", "External Identifier", required=True),
    Field("complete_name", "char", "Complete ID", computed=True),
    Field("model", "char", "Model Name", required=True),
    Field("res_id", "integer", "Record ID"),
    Field("noupdate", "boolean", "Non Updatable"),
)

MODELS: Mapping[str, Model] = {
    model.name: model for model in (COUNTRY, CURRENCY, PARTNER, PRODUCT, ORDER, LINE, EXTERNAL_ID)
}
"""All models by name."""
