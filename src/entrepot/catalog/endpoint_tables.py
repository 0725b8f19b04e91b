"""The keys of endpoints: of all of them, of models and their fields, of calls and their arguments, of relays."""

from __future__ import annotations

from typing import Any

from entrepot.catalog import values as v
from entrepot.catalog.keys import BAD, Key, Spot, Table, Values, describe, leaf, list_of, mapping_of, object_of, read
from entrepot.catalog.paths import METHODS, public_path
from entrepot.catalog.relay_schema import schema
from entrepot.catalog.schemas import ARGUMENT_TYPES
from entrepot.catalog.tables import cache, json_mapping, rate, retry
from entrepot.catalog.templates import domain, template_value
from entrepot.catalog.tree import Node, plain
from entrepot.connectors.base import Argument, Field, Json
from entrepot.ledger.retry import DEFAULT_RETRY

KINDS = ("model", "call", "relay")
FIELD_TYPES = (
    "char", "text", "html", "integer", "float", "monetary", "boolean", "date", "datetime", "selection", "many2one",
    "one2many", "many2many", "binary", "reference", "many2one_reference",
)  # fmt: skip
OPERATION_NAMES = ("list", "read", "create", "update", "delete")


def _any_json(node: Node, _spot: Spot) -> Json:
    # A default may be null, which a table would take for a key that is not there.
    return (plain(node),)


def _scopes_of_method(node: Node, spot: Spot) -> Any:
    if isinstance(node.value, list):
        return list_of(leaf(v.scope), "scopes", least=0)(node, spot)
    found = leaf(v.scope)(node, spot)
    return found if found is BAD else (found,)


def _relay(node: Node, spot: Spot) -> Any:
    found = leaf(v.relay_path)(node, spot)
    return found if found is BAD else template_value(node, spot)


SCOPES = Table(
    "a pair of scopes",
    (
        Key("read", _scopes_of_method, "for GET and HEAD", default=(), shown="no one"),
        Key("write", _scopes_of_method, "for all other methods", default=(), shown="no one"),
    ),
)


def _scopes(node: Node, spot: Spot) -> Any:
    if isinstance(node.value, list):
        found = list_of(leaf(v.scope), "scopes", least=0)(node, spot)
        return found if found is BAD else (found, found)
    if not isinstance(node.value, dict):
        return spot.wrong(node, f"must be {{read: SCOPE, write: SCOPE}} or a list of scopes; it is {describe(node)}")
    return object_of(SCOPES, lambda found: (found["read"], found["write"]))(node, spot)


_FIELD_KEYS = (
    Key("from", leaf(v.source), "Odoo's field, or a path to a natural key such as country_id.code", required=True),
    Key(
        "type",
        leaf(v.one_of(*FIELD_TYPES)),
        "Odoo's type, where the live Odoo is not to say it",
        default="",
        shown="from Odoo",
    ),
    Key("required", leaf(v.boolean), "a create must have it", default=False, shown="false"),
    Key("read_only", leaf(v.boolean), "never written", default=False, shown="false"),
    Key("write_only", leaf(v.boolean), "never shown", default=False, shown="false"),
    Key("max_length", leaf(v.whole(1, 10_000_000)), "most characters of a text"),
    Key("enum", list_of(leaf(v.scalar), "values"), "the values that are allowed"),
    Key("default", _any_json, "what a create without it writes", shown="Odoo's own"),
    Key("private", leaf(v.boolean), "masked in logs, command line and pages", default=False, shown="false"),
)
LINE_FIELD = Table("a field of a line", _FIELD_KEYS)


def _line_field(node: Node, spot: Spot) -> Any:
    return _field(node, spot, LINE_FIELD)


FIELD = Table(
    "a field",
    (
        *_FIELD_KEYS,
        Key("fields", mapping_of(_line_field, "fields of a line", v.public_name), "the lines of a one2many"),
    ),
)


def _model_field(node: Node, spot: Spot) -> Any:
    return _field(node, spot, FIELD)


def _field(node: Node, spot: Spot, table: Table) -> Any:
    public = spot.steps[-1]
    if isinstance(node.value, str):
        node = Node({"from": node}, node.file, node.line)
    before = len(spot.mistakes)
    values = read(table, node, spot)
    if not isinstance(values, Values):
        return BAD
    for is_wrong, message in _contradictions(values, spot):
        if is_wrong:
            spot.wrong(node, message)
    return _built_field(public, values) if len(spot.mistakes) == before else BAD


def _contradictions(found: Values, spot: Spot) -> list[tuple[bool, str]]:
    source, lines = found["from"] or (), "fields" in found.given
    return [
        (found["read_only"] and found["write_only"], "cannot be read_only and write_only: no one could use it"),
        (found["read_only"] and found["required"], "cannot be read_only and required: no create could have it"),
        (found["read_only"] and "default" in found.given, "cannot be read_only and have a default, which is written"),
        (
            found["required"] and "default" in found.given,
            "cannot be required and have a default: one of them never acts",
        ),
        (
            spot.steps[-1] == "id" and source not in {(), ("id",)},
            "the public name `id` is Odoo's id alone: another name",
        ),
        (lines and len(source) > 1, "lines come from a one2many of the model itself: no path"),
        (
            lines and found["type"] not in {"", "one2many"},
            f"has `fields`, so its type is one2many and not {found['type']}",
        ),
        (lines and not found["fields"] and found.are_right("fields"), "lines need at least one field"),
    ]


def _built_field(public: str, found: Values) -> Field:
    lines = tuple((found.found.get("fields") or {}).values())
    return Field(
        public,
        found["from"],
        type="one2many" if lines else found["type"],
        required=found["required"],
        read_only=found["read_only"],
        write_only=found["write_only"],
        private=found["private"],
        max_length=found["max_length"],
        enum=found["enum"],
        has_default="default" in found.given,
        default=found["default"][0] if "default" in found.given else None,
        fields=lines,
    )


ARGUMENT = Table(
    "an argument",
    (
        Key("template", template_value, "a value with templates; instead of a field of the body"),
        Key("body", leaf(v.public_name), "the field of the body", shown="the argument's name"),
        Key("type", leaf(v.one_of(*ARGUMENT_TYPES)), "its JSON type", default="string", shown="string"),
        Key("required", leaf(v.boolean), "the body must have it", shown="true without a default"),
        Key("default", _any_json, "what stands for it when the body lacks it", shown="the method's own"),
    ),
)


def _argument(node: Node, spot: Spot) -> Any:
    name = spot.steps[-1]
    if not isinstance(node.value, dict):
        template = template_value(node, spot)
        return BAD if template is BAD else Argument(name, template=template)
    before = len(spot.mistakes)
    found = read(ARGUMENT, node, spot)
    if not isinstance(found, Values):
        return BAD
    if "template" in found.given and len(found.given) > 1:
        spot.wrong(node, "is a template or a field of the body, not both: `template` stands alone")
    if found["required"] and "default" in found.given:
        spot.wrong(node, "cannot be required and have a default: one of them never acts")
    if len(spot.mistakes) > before:
        return BAD
    if "template" in found.given:
        return Argument(name, template=found["template"])
    has_default = "default" in found.given
    return Argument(
        name,
        body_field=found["body"] or name,
        type=found["type"],
        required=not has_default if found["required"] is None else found["required"],
        has_default=has_default,
        default=found["default"][0] if has_default else None,
    )


PAGE = Table(
    "a page",
    (
        Key("default", leaf(v.whole(1, 1000)), "records of a page unasked", default=25, shown="25"),
        Key("max", leaf(v.whole(1, 1000)), "records of a page at most", default=100, shown="100"),
    ),
)
RELAY_HEADERS = Table(
    "changes of header fields",
    (
        Key(
            "add",
            mapping_of(leaf(v.header_value), "header fields", v.open_header_name),
            "set on every request",
            default={},
        ),
        Key("drop", list_of(leaf(v.header_name), "header fields"), "taken away from every request", default=()),
    ),
)
RELAY_BODY = Table(
    "a body", (Key("schema", schema, "JSON Schema 2020-12: a file beside the catalog's", required=True),)
)

_RECORDS = ("model", "call")
ENDPOINT = Table(
    "an endpoint",
    (
        Key("path", leaf(public_path), "the public path; a version is its first segment", required=True),
        Key("aliases", list_of(leaf(public_path), "paths"), "further paths of the same", default=()),
        Key("upstream", leaf(v.name), "the upstream that answers", required=True),
        Key("scopes", _scopes, "what a token must have", default=((), ()), shown="no one"),
        Key(
            "write",
            leaf(v.one_of("direct", "queue", "auto")),
            "how writes are dispatched: direct, queue or auto",
            default="direct",
            shown="direct",
        ),
        Key("patience", leaf(v.duration(0.0, 3600.0)), "how long `auto` waits", default=2.0, shown="2s"),
        Key("order", leaf(v.order), "what a queued write waits for", default="record", shown="record"),
        Key(
            "idempotency",
            leaf(v.one_of("optional", "required")),
            "whether a write may or must have an Idempotency-Key",
            default="optional",
            shown="optional",
        ),
        Key(
            "retry",
            retry,
            "when a failed delivery is tried again",
            default=DEFAULT_RETRY,
            shown="{first: 2s, factor: 2, ceiling: 10m, age: 3d}",
        ),
        Key("rate", rate, "the limit of all callers together", shown="none"),
        Key("cache", cache, "how long answers are kept", shown="none"),
        Key("max_body", leaf(v.size(2**30)), "largest body", default=1_048_576, shown="1MiB"),
        Key("context", json_mapping, "added to the upstream's", default={}, kinds=_RECORDS),
        Key("summary", leaf(v.text), "for the API documents", default=""),
        Key("description", leaf(v.text), "for the API documents", default=""),
        Key("model", leaf(v.model), "an Odoo model, as a resource", kinds=("model",)),
        Key(
            "fields",
            mapping_of(_model_field, "public fields", v.public_name),
            "its public fields",
            required=True,
            default={},
            kinds=("model",),
        ),
        Key(
            "operations",
            list_of(leaf(v.one_of(*OPERATION_NAMES)), "operations"),
            "what may be done",
            default=("list", "read"),
            shown="[list, read]",
            kinds=("model",),
        ),
        Key("where", domain, "which records there are, on every operation", default=(), kinds=_RECORDS),
        Key(
            "set",
            mapping_of(template_value, "Odoo fields and their values", v.odoo_field),
            "values forced on create and update",
            default={},
            kinds=("model",),
        ),
        Key("key", leaf(v.key_name), "the field that {id} is a value of", default="id", shown="id", kinds=_RECORDS),
        Key(
            "search",
            list_of(leaf(v.public_name), "public fields"),
            "fields of ?search=",
            default=(),
            kinds=("model",),
        ),
        Key(
            "sort",
            list_of(leaf(v.public_name), "public fields"),
            "fields of ?sort=",
            default=("id",),
            shown="[id]",
            kinds=("model",),
        ),
        Key(
            "page",
            object_of(PAGE, lambda found: (found["default"], found["max"])),
            "how long pages are",
            default=(25, 100),
            shown="{default: 25, max: 100}",
            kinds=("model",),
        ),
        Key("call", leaf(v.method_call), "a method of an Odoo model", kinds=("call",)),
        Key("method", leaf(v.one_of(*METHODS)), "HTTP method", default="POST", shown="POST", kinds=("call",)),
        Key(
            "arguments",
            mapping_of(_argument, "arguments", v.odoo_field),
            "what the method is given",
            default={},
            kinds=("call",),
        ),
        Key(
            "result",
            mapping_of(leaf(v.result_key), "public names and keys of the result", v.public_name),
            "what of the result is answered",
            shown="the bare result",
            kinds=("call",),
        ),
        Key("guard", domain, "true of the record once the call has been applied", shown="none", kinds=("call",)),
        Key("relay", _relay, "a path of an HTTP upstream", kinds=("relay",)),
        Key(
            "methods",
            list_of(leaf(v.one_of(*METHODS)), "methods"),
            "the HTTP methods",
            required=True,
            default=(),
            kinds=("relay",),
        ),
        Key(
            "headers",
            object_of(RELAY_HEADERS, lambda found: (tuple(found["add"].items()), found["drop"])),
            "changes of header fields",
            default=((), ()),
            kinds=("relay",),
        ),
        Key("body", object_of(RELAY_BODY, lambda found: found["schema"]), "what the body must be", kinds=("relay",)),
    ),
)
