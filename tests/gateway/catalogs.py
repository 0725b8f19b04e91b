"""The catalog that the tests run on: relays to a planned upstream, an ERP, two partners and their clients."""

AZURE = 14
DECO = 10
MODELS = {
    "contacts": {
        "path": "/v1/contacts",
        "aliases": ["/v1/people"],
        "upstream": "erp",
        "model": "res.partner",
        "where": [["parent_id", "=", "{partner.contact}"]],
        "set": {"parent_id": "{partner.contact}"},
        "fields": {
            "name": {"from": "name", "required": True, "max_length": 64},
            "email": "email",
            "city": "city",
            "colour": "color",
            "credit": "credit_limit",
            "born": "date",
            "company": "is_company",
            "kind": "type",
            "country": "country_id.code",
            "updated": {"from": "write_date", "read_only": True},
        },
        "operations": ["list", "read", "create", "update", "delete"],
        "search": ["name", "email"],
        "sort": ["id", "name"],
        "page": {"default": 2, "max": 100},
        "max_body": "4MiB",
        "scopes": {"read": "contacts.read", "write": "contacts.write"},
    },
    "kept-contacts": {
        "path": "/v1/kept-contacts",
        "upstream": "erp",
        "model": "res.partner",
        "where": [["parent_id", "=", "{partner.contact}"]],
        "set": {"parent_id": "{partner.contact}"},
        "fields": {"name": {"from": "name", "required": True}, "email": "email"},
        "operations": ["list", "read", "create", "update", "delete"],
        "cache": {"fresh": "60s", "stale_if_error": "1h"},
        "scopes": {"read": "contacts.read", "write": "contacts.write"},
    },
    "orders": {
        "path": "/v1/orders",
        "upstream": "erp",
        "model": "sale.order",
        "key": "reference",
        "where": [["partner_id", "=", "{partner.contact}"]],
        "set": {"partner_id": "{partner.contact}"},
        "fields": {
            "reference": {"from": "client_order_ref", "required": True, "max_length": 64},
            "number": {"from": "name", "read_only": True},
            "state": {"from": "state", "read_only": True},
            "total": {"from": "amount_total", "read_only": True},
            "note": "note",
            "lines": {
                "from": "order_line",
                "fields": {
                    "product": {"from": "product_id.default_code", "required": True},
                    "quantity": {"from": "product_uom_qty", "required": True},
                },
            },
        },
        "operations": ["list", "read", "create", "update", "delete"],
        "scopes": {"read": "orders.read", "write": "orders.write"},
    },
    "orders-by-id": {
        "path": "/v1/orders-by-id",
        "upstream": "erp",
        "model": "sale.order",
        "where": [["partner_id", "=", "{partner.contact}"]],
        "set": {"partner_id": "{partner.contact}"},
        "fields": {"state": {"from": "state", "read_only": True}, "note": "note"},
        "operations": ["list", "read", "update", "delete"],
        "scopes": {"read": "orders.read", "write": "orders.write"},
    },
    "confirm-order": {
        "path": "/v1/orders/{id}/confirm",
        "method": "POST",
        "upstream": "erp",
        "call": "sale.order.action_confirm",
        "key": "client_order_ref",
        "where": [["partner_id", "=", "{partner.contact}"]],
        "scopes": {"write": "orders.write"},
    },
    "confirm-by-id": {
        "path": "/v1/orders-by-id/{id}/confirm",
        "method": "POST",
        "upstream": "erp",
        "call": "sale.order.action_confirm",
        "where": [["partner_id", "=", "{partner.contact}"]],
        "scopes": {"write": "orders.write"},
    },
    "mine": {
        "path": "/v1/mine",
        "method": "GET",
        "upstream": "erp",
        "call": "res.partner.search_read",
        "arguments": {"domain": [["id", "=", "{partner.contact}"]], "fields": ["name"]},
        "cache": {"fresh": "60s"},
        "scopes": ["contacts.read"],
    },
    "locked-out": {
        "path": "/v1/locked-out",
        "upstream": "refusing-erp",
        "model": "res.partner",
        "fields": {"name": {"from": "name", "type": "char", "required": True}},
        "scopes": {"read": "contacts.read"},
    },
    # An ERP whose answers the tests plan; its types are given, so that apply need not ask it.
    "misread": {
        "path": "/v1/misread",
        "upstream": "false-erp",
        "model": "res.partner",
        "fields": {"name": {"from": "name", "type": "char", "required": True}},
        "operations": ["list", "read", "create"],
        "scopes": {"read": "contacts.read", "write": "contacts.write"},
    },
}
MODELS["unheard"] = {**MODELS["misread"], "path": "/v1/unheard", "upstream": "hasty-erp"}
ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "count": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}
ALL_SCOPES = ["relay.read", "relay.write", "contacts.read", "contacts.write", "orders.read", "orders.write"]


def relay(path: str, upstream: str = "shop", *, methods: list[str] | None = None, **more) -> dict:
    """Return a relay endpoint at ``/v1<path>`` to *path* of *upstream*."""
    return {
        "path": f"/v1{path}".replace("{rest}", "{rest...}"),
        "upstream": upstream,
        "relay": path,
        "methods": methods or ALL_METHODS,
        "scopes": {"read": "relay.read", "write": "relay.write"},
        **more,
    }


def catalog(*, upstream: str, closed_port: int, erp: str, secret: str, schema: str) -> dict:
    """Return the whole catalog. *upstream* and *erp* are base URLs, *secret* and *schema* are paths of files."""
    patient = {"failures": 1000, "open": "1s"}
    http = {"kind": "http", "url": upstream, "timeout": "10s", "connect_timeout": "5s", "breaker": patient}
    odoo = {"kind": "odoo", "database": "standin", "login": "gateway", "secret": f"file:{secret}", "breaker": patient}
    return {
        "upstreams": {
            "shop": http,
            "slow": {**http, "timeout": "20s"},
            "prompt": {**http, "timeout": "2s"},
            "hasty": {**http, "timeout": "500ms"},
            "narrow": {**http, "concurrency": 2, "waiting": 6, "wait": "300ms"},
            "lane": {**http, "concurrency": 2, "waiting": 6, "wait": "10s"},
            "brittle": {**http, "breaker": {"failures": 3, "open": "2s"}},
            "gone": {**http, "url": f"http://127.0.0.1:{closed_port}"},
            "erp": {**odoo, "url": erp, "timeout": "10s"},
            "refusing-erp": {**odoo, "url": erp, "timeout": "10s", "login": "nobody"},
            "false-erp": {**odoo, "url": upstream, "timeout": "10s", "protocol": "jsonrpc"},
            "hasty-erp": {**odoo, "url": upstream, "timeout": "500ms", "protocol": "jsonrpc"},
        },
        "endpoints": {**MODELS, **_relays(schema)},
        "plans": {"small": {"rate": {"per_second": 50, "burst": 20}, "quota": {"day": 6}}},
        "partners": {
            "azure": {"name": "Azure Interior", "values": {"contact": AZURE}, "clients": _clients()},
            "deco": {
                "name": "Deco Addict",
                "values": {"contact": DECO},
                "clients": {"rival": {"scopes": ALL_SCOPES}},
            },
        },
    }


def _relays(schema: str) -> dict:
    cached = {"fresh": "60s", "stale_if_error": "1h"}
    return {
        "echo": relay("/echo/{rest}", max_body="256KiB"),
        "checked": relay("/checked", methods=["POST", "PUT"], body={"schema": schema}, max_body="64KiB"),
        "prompt": relay("/prompt/{rest}", "prompt"),
        "prompt-checked": relay("/prompt-checked", "prompt", methods=["POST"], body={"schema": schema}),
        "small": relay("/small", max_body="1KiB"),
        "small-checked": relay("/small-checked", methods=["POST"], body={"schema": schema}, max_body="1KiB"),
        "lasting": relay("/lasting/{rest}", "slow", max_body="256MiB"),
        "hasty": relay("/hasty/{rest}", "hasty"),
        "kept": relay("/kept/{rest}", cache=cached),
        "brief": relay("/brief/{rest}", cache={"fresh": "100ms", "stale_if_error": "1h"}),
        "brief-hasty": relay("/brief-hasty/{rest}", "hasty", cache={"fresh": "100ms", "stale_if_error": "1h"}),
        "fleeting": relay("/fleeting/{rest}", cache={"fresh": "100ms", "stale_if_error": "200ms"}),
        "kept-gone": relay("/kept-gone/{rest}", "gone", cache=cached),
        "narrow": relay("/narrow/{rest}", "narrow"),
        "lane": relay("/lane/{rest}", "lane"),
        "brittle": relay("/brittle/{rest}", "brittle"),
        "gone": relay("/gone/{rest}", "gone"),
        "rated": relay("/rated", methods=["GET"], rate={"per_second": 1, "burst": 4}),
        "closed": {**relay("/closed"), "scopes": []},
        "fixed": relay("/fixed", methods=["GET"], headers={"add": {"X-Added": "yes"}, "drop": ["X-Private"]}),
    }


def _clients() -> dict:
    return {
        "shop": {"scopes": ALL_SCOPES},
        "reader": {"scopes": [scope for scope in ALL_SCOPES if scope.endswith("read")]},
        "metered": {"scopes": ALL_SCOPES, "rate": {"per_second": 2, "burst": 10}},
        "steady": {"scopes": ALL_SCOPES, "rate": {"per_second": 40, "burst": 10}},
        "planned": {"scopes": ALL_SCOPES, "plan": "small"},
        "fenced": {"scopes": ALL_SCOPES, "networks": ["127.8.0.0/16"]},
        "keyed": {"scopes": ["relay.read"], "api_keys": True},
    }
