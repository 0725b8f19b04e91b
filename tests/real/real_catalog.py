"""The catalog over a real Odoo: contacts with every kind of field, sale orders with lines, a model with HTML."""

from real_odoo import Odoo

SCOPES = ["contacts.read", "contacts.write", "orders.read", "orders.write"]
CONTACT_SCOPES = {"read": "contacts.read", "write": "contacts.write"}
ORDER_SCOPES = {"read": "orders.read", "write": "orders.write"}
ALL = ["list", "read", "create", "update", "delete"]
OWN_CONTACTS = {
    "where": [["parent_id", "=", "{partner.company}"]],
    "set": {"parent_id": "{partner.company}"},
    "operations": ALL,
    "scopes": CONTACT_SCOPES,
}
OWN_ORDERS = {
    "where": [["partner_id", "=", "{partner.company}"]],
    "set": {"partner_id": "{partner.company}"},
    "operations": ALL,
    "scopes": ORDER_SCOPES,
}
ORDER_FIELDS = {
    "reference": {"from": "client_order_ref", "required": True, "max_length": 64},
    "number": {"from": "name", "read_only": True},
    "state": {"from": "state", "read_only": True},
    "total": {"from": "amount_total", "read_only": True},
    "currency": {"from": "currency_id.name", "read_only": True},
    "note": "note",
    "ordered": "date_order",
    "wanted": "commitment_date",
    "valid": "validity_date",
    "lines": {
        "from": "order_line",
        "fields": {
            "product": {"from": "product_id.default_code", "required": True},
            "quantity": {"from": "product_uom_qty", "required": True},
            "price": {"from": "price_unit", "required": True},
            "text": {"from": "name", "read_only": True},
            "subtotal": {"from": "price_subtotal", "read_only": True},
        },
    },
}
LINES = ORDER_FIELDS["lines"]
LINES_WITH_IDS = {**LINES, "fields": {"id": "id", **LINES["fields"]}}
ENDPOINTS = {
    "contacts": {
        **OWN_CONTACTS,
        "path": "/v1/contacts",
        "upstream": "erp",
        "model": "res.partner",
        "fields": {
            "name": {"from": "name", "required": True, "max_length": 300},
            "email": "email",
            "phone": "phone",
            "job": "function",
            "note": "comment",
            "colour": "color",
            "latitude": "partner_latitude",
            "born": "date",
            "until": "signup_expiration",
            "employee": "employee",
            "active": "active",
            "kind": "type",
            "seller": "user_id",
            "country": "country_id.code",
            "tags": "category_id",
            "image": "image_1920",
            "owner": "parent_id",
            "updated": {"from": "write_date", "read_only": True},
        },
        "search": ["name", "email"],
        "sort": ["name", "colour", "updated"],
        "page": {"default": 5, "max": 100},
    },
    "kept-contacts": {
        **OWN_CONTACTS,
        "path": "/v1/kept-contacts",
        "upstream": "erp",
        "model": "res.partner",
        "fields": {"name": {"from": "name", "required": True}, "email": "email"},
        "cache": {"fresh": "300ms", "stale_if_error": "1h"},
    },
    # Keyed by the partner's own reference for a person; who was archived can be seen and brought back.
    "people": {
        **OWN_CONTACTS,
        "path": "/v1/people",
        "upstream": "erp",
        "model": "res.partner",
        "key": "reference",
        "context": {"active_test": False},
        "fields": {
            "reference": {"from": "ref", "required": True},
            "name": {"from": "name", "required": True},
            "active": "active",
        },
    },
    "letters": {
        "path": "/v1/letters",
        "upstream": "erp",
        "model": "mail.template",
        "where": [["email_from", "=", "{partner.mark}"]],
        "set": {"email_from": "{partner.mark}"},
        "fields": {"name": {"from": "name", "required": True}, "page": "body_html"},
        "operations": ALL,
        "scopes": CONTACT_SCOPES,
    },
    "orders": {
        **OWN_ORDERS,
        "path": "/v1/orders",
        "upstream": "erp",
        "model": "sale.order",
        "key": "reference",
        "fields": ORDER_FIELDS,
        "sort": ["reference", "total"],
    },
    "orders-by-id": {
        **OWN_ORDERS,
        "path": "/v1/orders-by-id",
        "upstream": "erp",
        "model": "sale.order",
        "fields": {**ORDER_FIELDS, "lines": LINES_WITH_IDS},
    },
    "confirm-order": {
        "path": "/v1/orders/{id}/confirm",
        "method": "POST",
        "upstream": "erp",
        "call": "sale.order.action_confirm",
        "key": "client_order_ref",
        "where": OWN_ORDERS["where"],
        "scopes": {"write": "orders.write"},
    },
    "confirm-by-id": {
        "path": "/v1/orders-by-id/{id}/confirm",
        "method": "POST",
        "upstream": "erp",
        "call": "sale.order.action_confirm",
        "where": OWN_ORDERS["where"],
        "scopes": {"write": "orders.write"},
    },
}


def catalog(odoo: Odoo, *, secret: str, upstream: dict, partners: dict[str, dict]) -> dict:
    """Return the catalog over *odoo*, whose password is in the file *secret*.

    *upstream* is added to the upstream. *partners* has the template values of each partner by its name; the client is
    called the same.
    """
    erp = {"kind": "odoo", "url": odoo.url, "database": odoo.database, "login": odoo.login, "secret": f"file:{secret}"}
    return {
        "upstreams": {"erp": {**erp, **upstream}},
        "endpoints": ENDPOINTS,
        "partners": {
            name: {"name": name.title(), "values": values, "clients": {name: {"scopes": SCOPES}}}
            for name, values in partners.items()
        },
    }
