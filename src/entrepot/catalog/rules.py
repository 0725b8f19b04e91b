"""Rules about one object: what its keys, each right by itself, must not say together."""

from __future__ import annotations

from collections.abc import Callable

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.keys import did_you_mean
from entrepot.catalog.objects import Parsed
from entrepot.catalog.paths import methods, takes_rest, value_names
from entrepot.catalog.templates import fields_in
from entrepot.catalog.values import written_bytes, written_s
from entrepot.connectors.base import CallMapping, Field, ModelMapping, RelayMapping, Upstream

_WRITES = frozenset({"create", "update"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
MAX_STORED_BYTES = 16 * 2**20
"""A body that may have to wait in the ledger is no larger."""


def check_upstream(of: Parsed[Upstream]) -> None:
    """Report what an upstream's keys must not say together."""
    probe = of.values["probe"]
    if not of.are_right("kind", "probe") or probe is None:
        return
    if of.value.kind == "odoo" and probe.path is not None:
        of.wrong("probe", "an Odoo upstream is asked by common.version: leave `path` out")
    if of.value.kind == "http" and probe.path is None:
        of.wrong("probe", "an HTTP upstream's probe needs a `path` such as /health")


def check_endpoint(of: Parsed[Endpoint]) -> None:
    """Report what an endpoint's keys must not say together."""
    if of.are_right("path", "aliases"):
        _paths_fit(of)
    endpoint = of.value
    if endpoint.model is not None:
        for model_rule in _MODEL_RULES:
            model_rule(of, endpoint.model)
    elif endpoint.call is not None:
        for call_rule in _CALL_RULES:
            call_rule(of, endpoint.call)
    elif endpoint.relay is not None:
        _body_has_a_method(of, endpoint.relay)
    if endpoint.cache is not None and of.are_right("operations", "method", "methods"):
        _cache_has_reads(of)
    for rule in _LEDGER_RULES:
        rule(of)


def _writes_have_a_method(of: Parsed[Endpoint]) -> None:
    if of.value.write == "direct" or not of.are_right("operations", "method", "methods"):
        return
    offered = methods(of.value)
    if offered and offered <= {"GET"}:
        of.wrong("write", "nothing is written here, so nothing can wait in the ledger: leave it out")


def _stored_bodies_are_bounded(of: Parsed[Endpoint]) -> None:
    if of.value.write != "direct" and of.value.max_body_bytes > MAX_STORED_BYTES:
        most = written_bytes(MAX_STORED_BYTES)
        of.wrong("max_body", f"must be at most {most}, because `write: {of.value.write}` stores bodies")


def _retries_begin_below_the_ceiling(of: Parsed[Endpoint]) -> None:
    retry = of.value.retry
    if retry.first_s > retry.ceiling_s:
        message = f"`first` is {written_s(retry.first_s)} and must be at most `ceiling`, {written_s(retry.ceiling_s)}"
        of.wrong("retry", message)


def _order_names_a_field(of: Parsed[Endpoint]) -> None:
    kind, _, name = of.value.order.partition(":")
    if kind != "field" or not of.are_right("fields", "arguments", "body"):
        return
    known = _body_fields(of.value)
    if name not in known:
        of.wrong("order", f"the body has no field `{name}`{did_you_mean(name, known)}")


def _body_fields(endpoint: Endpoint) -> set[str]:
    """Return the names of the single values that a body of *endpoint* may hold at its top."""
    if endpoint.model is not None:
        return {field.public for field in endpoint.model.fields if not field.read_only and not field.fields}
    if endpoint.call is not None:
        return {argument.body_field for argument in endpoint.call.arguments if argument.body_field is not None}
    schema = endpoint.relay.schema if endpoint.relay is not None else None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return set(properties) if isinstance(properties, dict) else set()


def _cache_has_reads(of: Parsed[Endpoint]) -> None:
    offered = methods(of.value)
    if offered and "GET" not in offered:
        of.wrong("cache", "nothing is read here, so there is nothing to cache")


def _paths_fit(of: Parsed[Endpoint]) -> None:
    path, *aliases = of.value.paths or ("",)
    for index, alias in enumerate(aliases):
        if set(value_names(alias)) != set(value_names(path)):
            wanted = ", ".join(value_names(path)) or "none"
            node = of.node.entries["aliases"].items[index]
            of.spot.at("aliases").at(index).wrong(node, f"must have the same path values as `path`: {wanted}")
    if (of.value.model is not None or of.value.call is not None) and takes_rest(path):
        of.wrong("path", "only a relay takes the rest of a path")


def _names_are_fields(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    fields = of.node.at(["fields"])
    if not isinstance(fields.value, dict) or "fields" not in of.values.given:
        return
    for key, names in (("key", [mapping.key]), ("search", mapping.search), ("sort", mapping.sort)):
        if key not in of.values.given or not of.are_right(key):
            continue
        for name in names:
            may_be_id = name == "id" and key != "search"
            if name not in fields.value and not may_be_id:
                of.wrong(key, f"`{name}` is no public field{did_you_mean(name, fields.value)}")
            elif name in of.values["fields"]:
                _may_be_used(of, key, of.values["fields"][name])


def _may_be_used(of: Parsed[Endpoint], key: str, field: Field) -> None:
    if field.write_only:
        of.wrong(key, f"`{field.public}` cannot be used: it is write_only, and this would show it")
    elif field.fields:
        of.wrong(key, f"`{field.public}` cannot be used: it is a list of lines")


def _page_is_in_order(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    if of.are_right("page") and mapping.page_default > mapping.page_max:
        of.wrong("page", f"`default` is {mapping.page_default} and must be at most `max`, {mapping.page_max}")


def _set_asks_for_nothing(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    for field in mapping.fields:
        if field.required and field.source[0] in mapping.set:
            message = f"`set` forces {field.source[0]}, so the body cannot be required to have it: make it read_only"
            _wrong_field(of, field.public, message)


def _one_field_writes_a_source(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    if not of.are_right("operations") or not _WRITES & set(mapping.operations):
        return
    writers: dict[str, str] = {}
    for field in mapping.fields:
        if field.read_only or field.source == ("id",):
            continue
        first = writers.setdefault(field.source[0], field.public)
        if first != field.public:
            message = f"`{first}` writes {field.source[0]} too, and only one field can: make one of them read_only"
            _wrong_field(of, field.public, message)


def _where_is_out_of_reach(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    """Report fields by which a partner could write a record out of its own reach, or into another's."""
    if not of.are_right("operations", "where", "set") or not _WRITES & set(mapping.operations):
        return
    bound = set(fields_in(mapping.where)) - set(mapping.set)
    for field in mapping.fields:
        if field.source[0] in bound and not field.read_only:
            message = f"`where` looks at {field.source[0]}: make this read_only, or force {field.source[0]} by `set`"
            _wrong_field(of, field.public, message)


def _id_is_never_set(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    if "id" in mapping.set:
        of.wrong("set", "id is Odoo's own and cannot be forced")


def _id_is_the_records(of: Parsed[Endpoint], mapping: ModelMapping) -> None:
    if of.are_right("path") and of.value.paths and "id" in value_names(of.value.paths[0]):
        of.wrong("path", f"is the path of the list; that of one {mapping.model} is made by adding /{{id}}")


def _wrong_field(of: Parsed[Endpoint], public: str, message: str) -> None:
    fields = of.node.entries["fields"]
    of.spot.at("fields").at(public).wrong(fields.at([public]), message)


def _record_keys_need_an_id(of: Parsed[Endpoint], _mapping: CallMapping) -> None:
    if of.are_right("path") and of.value.paths and "id" not in value_names(of.value.paths[0]):
        for key in ("where", "key"):
            if key in of.values.given:
                of.wrong(key, "says which record is meant, and the path has no {id}")


def _guard_looks_at_the_record(of: Parsed[Endpoint], mapping: CallMapping) -> None:
    if mapping.guard is None or not of.are_right("guard", "path"):
        return
    if of.value.paths and "id" not in value_names(of.value.paths[0]):
        of.wrong("guard", "is asked of one record, and the path has no {id}")
    elif not any(fields_in(mapping.guard)):
        of.wrong("guard", "looks at no field, so it cannot tell whether the call has been applied")


def _body_comes_with_the_method(of: Parsed[Endpoint], mapping: CallMapping) -> None:
    if mapping.http_method not in _WITH_BODY and of.are_right("method", "arguments"):
        for argument in mapping.arguments:
            if argument.body_field is not None:
                message = (
                    f"{mapping.http_method} has no body to take `{argument.body_field}` from: use a template, or POST"
                )
                of.spot.at("arguments").at(argument.name).wrong(of.node.at(["arguments", argument.name]), message)


def _body_has_a_method(of: Parsed[Endpoint], mapping: RelayMapping) -> None:
    if "body" in of.values.given and of.are_right("methods") and not _WITH_BODY & set(mapping.methods):
        of.wrong("body", f"none of the methods has a body: {', '.join(mapping.methods)}")


_MODEL_RULES: tuple[Callable[[Parsed[Endpoint], ModelMapping], None], ...] = (
    _names_are_fields,
    _page_is_in_order,
    _set_asks_for_nothing,
    _one_field_writes_a_source,
    _where_is_out_of_reach,
    _id_is_never_set,
    _id_is_the_records,
)
_CALL_RULES: tuple[Callable[[Parsed[Endpoint], CallMapping], None], ...] = (
    _record_keys_need_an_id,
    _body_comes_with_the_method,
    _guard_looks_at_the_record,
)
_LEDGER_RULES: tuple[Callable[[Parsed[Endpoint]], None], ...] = (
    _writes_have_a_method,
    _stored_bodies_are_bounded,
    _retries_begin_below_the_ceiling,
    _order_names_a_field,
)
