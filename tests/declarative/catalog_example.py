"""The whole example of the catalog's format, and what an Odoo says of its models."""

WHOLE = """\
upstreams:
  erp:
    kind: odoo
    url: http://127.0.0.1:8069
    database: prod
    login: gateway
    secret: file:/etc/entrepot/secrets/erp
  carrier:
    kind: http
    url: https://api.carrier.example
    auth: {bearer: "file:/etc/entrepot/secrets/carrier"}
endpoints:
  orders:
    path: /v1/orders
    aliases: [/v1/sales]
    upstream: erp
    model: sale.order
    key: reference
    where: [[partner_id, "=", "{partner.contact}"]]
    set: {partner_id: "{partner.contact}"}
    fields:
      reference: {from: client_order_ref, required: true, max_length: 64}
      number: {from: name, read_only: true}
      state: {from: state, read_only: true}
      total: {from: amount_total, read_only: true}
      lines:
        from: order_line
        fields: {product: product_id.default_code, quantity: product_uom_qty, price: {from: price_unit, default: 0}}
    operations: [list, read, create]
    write: auto
    cache: {fresh: 30s, stale_if_error: 24h}
    scopes: {read: orders.read, write: orders.write}
  confirm-order:
    path: /v1/orders/{id}/confirm
    method: POST
    upstream: erp
    call: sale.order.action_confirm
    key: client_order_ref
    where: [[partner_id, "=", "{partner.contact}"]]
    guard: [[state, in, [sale, done]]]
    write: auto
    scopes: {write: orders.write}
  rates:
    path: /v1/rates/{rest...}
    methods: [GET]
    upstream: carrier
    relay: /api/rates/{rest}
    scopes: {read: rates.read}
partners:
  azure:
    name: Azure Interior
    values: {contact: 14}
    clients:
      shop: {scopes: [orders.read, orders.write, rates.read], rate: {per_second: 20, burst: 50}, networks: [10.0.0.0/8]}
"""

TYPES = {
    "sale.order": {
        "name": {"type": "char", "required": True, "readonly": True},
        "client_order_ref": {"type": "char"},
        "partner_id": {"type": "many2one", "relation": "res.partner", "required": True},
        "company_id": {"type": "many2one", "relation": "res.company", "required": True},
        "state": {
            "type": "selection",
            "selection": [["draft", "Quotation"], ["sale", "Sales Order"]],
            "readonly": True,
        },
        "amount_total": {"type": "monetary", "readonly": True},
        "order_line": {"type": "one2many", "relation": "sale.order.line"},
        "tag_ids": {"type": "many2many", "relation": "crm.tag"},
    },
    "sale.order.line": {
        "order_id": {"type": "many2one", "relation": "sale.order", "required": True},
        "product_id": {"type": "many2one", "relation": "product.product"},
        "product_uom_qty": {"type": "float", "required": True},
        "price_unit": {"type": "float", "required": True},
        "customer_lead": {"type": "float", "required": True},
    },
    "product.product": {"default_code": {"type": "char"}, "categ_id": {"type": "many2one", "relation": "p.c"}},
}

# Every key with another value than its default, in the form that an export has.
EVERYTHING = {
    "upstreams": {
        "erp": {
            "kind": "odoo",
            "url": "http://erp:8069",
            "database": "d",
            "login": "l",
            "secret": "credential:erp",
            "protocol": "jsonrpc",
            "context": {"lang": "de_DE", "allowed_company_ids": [1, 2], "active_test": False},
            "timeout": "1500ms",
            "connect_timeout": "1m",
            "concurrency": 3,
            "waiting": 0,
            "wait": "0s",
            "breaker": {"failures": 9, "open": "1h"},
            "ca": "/etc/ca.pem",
            "verify": False,
            "probe": {"every": "90s"},
            "settle": "10m",
        },
        "web": {
            "kind": "http",
            "url": "https://web/base",
            "auth": {"header": {"name": "X-Key", "value": "file:/k"}},
            "headers": {"X-Version": "2"},
            "probe": {"path": "/health", "every": "10s"},
        },
        "basic": {"kind": "http", "url": "http://b", "auth": {"basic": {"user": "u", "password": "env:P"}}},
    },
    "endpoints": {
        "orders": {
            "path": "/v1/{shop}/orders",
            "aliases": ["/v2/{shop}/orders"],
            "upstream": "erp",
            "model": "sale.order",
            "fields": {
                "ref": {"from": "client_order_ref", "required": True, "type": "char", "max_length": 5, "private": True},
                "state": {"from": "state", "enum": ["a", 1, True], "default": None},
                "pin": {"from": "pin", "write_only": True},
                "country": "country_id.code",
                "lines": {"from": "order_line", "fields": {"sku": {"from": "sku", "required": True}, "n": "n"}},
            },
            "operations": ["list", "read", "create", "update", "delete"],
            "where": ["|", ["a", "in", [1, 2]], "!", ["b", "=", "{partner.contact}"], [1, "=", 1]],
            "set": {"shop": "{shop}", "list": ["{client}", 1]},
            "key": "ref",
            "search": ["ref"],
            "sort": ["ref", "id"],
            "page": {"default": 5, "max": 7},
            "scopes": ["one", "two"],
            "write": "auto",
            "patience": "1s",
            "order": "field:ref",
            "idempotency": "required",
            "retry": {"first": "50ms", "factor": 1.5, "ceiling": "1h", "age": "30d"},
            "rate": {"per_second": 0.5, "burst": 1},
            "cache": {"fresh": "1s"},
            "max_body": "3KiB",
            "context": {"lang": "fr_FR"},
            "summary": "Bestellungen für alle",
            "description": "two\nlines: # with yaml in it\n",
        },
        "call": {
            "path": "/v1/call/{id}",
            "upstream": "erp",
            "call": "sale.order.go",
            "method": "PUT",
            "arguments": {
                "a": "{client}",
                "b": {"template": {"x": "{client}"}},
                "c": {"body": "see", "type": "array", "required": False},
                "d": {"default": [1]},
                "e": {},
                "f": None,
                "g": 5,
            },
            "result": {"id": "res_id"},
            "guard": ["|", ["a", "in", [1, 2]], ["b", "=", "{partner.contact}"]],
            "write": "queue",
            "order": "field:see",
            "retry": {"factor": 3},
            "scopes": {"write": ["one", "two"]},
        },
        "relay": {
            "path": "/v1/relay/{rest...}",
            "upstream": "web",
            "relay": "/x/{partner.contact}/{rest}",
            "methods": ["GET", "POST"],
            "headers": {"add": {"X-A": "1"}, "drop": ["X-B"]},
            "body": {"schema": {"type": "object", "properties": {"a": {"$ref": "#"}}}},
            "write": "queue",
            "order": "field:a",
            "max_body": "16MiB",
            "scopes": {"read": "r", "write": "w"},
        },
    },
    "partners": {
        "p": {
            "name": "On",
            "values": {"contact": "0123", "yes": "true", "ids": [1, 2.5, "~"]},
            "clients": {
                "c": {
                    "scopes": ["one"],
                    "rate": {"per_second": 1, "burst": 2},
                    "quota": {"day": 3},
                    "plan": "gold",
                    "networks": ["fd00::/8"],
                    "api_keys": True,
                }
            },
            "max_queued": 0,
            "max_queued_bytes": "2GiB",
        },
        "bare": {"name": "1e3"},
    },
    "plans": {"gold": {"rate": {"per_second": 20, "burst": 50}, "quota": {"day": 1000}}, "bare": {}},
}
