"""Odoo's two services over JSON-RPC: ``common`` and ``object``; a call in, a result or a fault out."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from entrepot.standin import imports, rules
from entrepot.standin.database import Database
from entrepot.standin.faults import USER_ID, OdooError, access_denied, access_error, user_error, value_error
from entrepot.standin.models import EXTERNAL_ID, MODELS, Json
from entrepot.standin.records import Records
from entrepot.standin.values import field_of

log = logging.getLogger(__name__)

VERSION = {
    "server_version": "14.0-standin",
    "server_version_info": [14, 0, 0, "final", 0, "standin"],
    "server_serie": "14.0",
    "protocol_version": 1,
}
"""The answer of ``common.version``."""


class Calls:
    """Serves calls on *database* to one account, named as Odoo names it: database, login and password."""

    def __init__(self, database: Database, *, name: str, login: str, password: str) -> None:
        self._database = database
        self._name = name
        self._login = login
        self._password = password

    def answer(self, request: Mapping[str, Json]) -> dict[str, Json]:
        """Return the JSON-RPC answer; errors are answers too. A result of None is left out, as Odoo leaves it out."""
        answer: dict[str, Json] = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            result = self._call(request.get("params") or {})
        except OdooError as fault:
            return {**answer, "error": _error(fault)}
        except Exception as exc:
            # The edge of a request: Odoo too answers with the class of whatever went wrong.
            log.warning("a call failed in the stand-in", exc_info=exc)
            return {**answer, "error": _error(OdooError(f"builtins.{type(exc).__name__}", str(exc)))}
        return answer if result is None else {**answer, "result": result}

    def _call(self, params: Mapping[str, Json]) -> Json:
        missing = [f"{name!r}" for name in ("service", "method", "args") if name not in params]
        if missing:
            raise _type_error(f"jsonrpc() missing required positional arguments: {', '.join(missing)}")
        service, method, args = params["service"], params["method"], params["args"]
        if service == "common":
            return self._common(method, args)
        if service != "object":
            raise OdooError("builtins.UnboundLocalError", "local variable 'dispatch' referenced before assignment")
        if method not in ("execute", "execute_kw"):
            raise OdooError("builtins.NameError", f"Method not available {method}")
        return self._object(method, args)

    def _common(self, method: str, args: Sequence[Json]) -> Json:
        if method == "version":
            return VERSION
        if method not in ("authenticate", "login"):
            raise OdooError("builtins.Exception", f"Method not found: {method}")
        database, login, password, *_ = args
        self._check_database(database)
        # A wrong password is a result here, not an error (odoo/service/common.py, exp_authenticate).
        return USER_ID if (login, password) == (self._login, self._password) else False

    def _check_database(self, name: Json) -> None:
        if name != self._name:
            raise OdooError("psycopg2.OperationalError", f'FATAL:  database "{name}" does not exist\n')

    def _object(self, method: str, args: Sequence[Json]) -> Json:
        database, user, password, model, name, *rest = args
        self._check_database(database)
        if user and user != USER_ID:
            text = f"Record does not exist or has been deleted.\n(Record: res.users({user},), User: {user})"
            raise OdooError("odoo.exceptions.MissingError", text)
        if not user or password != self._password:
            raise access_denied()
        positional, named = (rest[0] if rest else [], rest[1] if len(rest) > 1 else {})
        if method == "execute":
            positional, named = rest, {}
        with self._database.transaction():
            return self._execute(str(model), str(name), list(positional), dict(named or {}))

    def _execute(self, model: str, method: str, args: list[Json], kwargs: dict[str, Json]) -> Json:
        if model not in MODELS:
            raise user_error(f"Object {model} doesn't exist")
        if method.startswith("_"):
            raise access_error(f"Private methods (such as {method}) cannot be called remotely.")
        function = _METHODS.get(method) or _MODEL_METHODS.get(model, {}).get(method)
        if function is None:
            text = f"type object {model!r} has no attribute {method!r}"
            raise OdooError("builtins.AttributeError", text)
        records = Records(self._database, MODELS[model], kwargs.pop("context", None) or {})
        try:
            inspect.signature(function).bind(records, *args, **kwargs)
        except TypeError as exc:
            raise _type_error(f"{method}() {exc}") from exc
        return function(records, *args, **kwargs)


def _type_error(message: str) -> OdooError:
    return OdooError("builtins.TypeError", message)


def _error(fault: OdooError) -> dict[str, Json]:
    data = {
        "name": fault.name,
        "debug": f"Traceback (of the stand-in ERP, shortened):\n{fault.name}: {fault}",
        "message": str(fault),
        "arguments": [str(fault)],
        "context": {},
    }
    return {"code": 200, "message": "Odoo Server Error", "data": data}


def _ids(ids: Json) -> list[Json]:
    return list(ids) if isinstance(ids, (list, tuple)) else [ids]


def _fields_get(records: Records, allfields: Json = None, attributes: Json = None) -> Json:
    fields = {name: field for name, field in records.model.fields.items() if not allfields or name in allfields}
    shown = {name: field.describe() for name, field in fields.items()}
    if not attributes:
        return shown
    return {name: {key: field[key] for key in attributes if key in field} for name, field in shown.items()}


def _search(
    records: Records, args: Json, offset: Json = 0, limit: Json = None, order: Json = None, count: Json = False
) -> Json:
    return records.count(args) if count else records.search(args, offset, limit, order)


def _search_count(records: Records, args: Json) -> Json:
    return records.count(args)


def _search_read(
    records: Records, domain: Json = None, fields: Json = None, offset: Json = 0, limit: Json = None, order: Json = None
) -> Json:
    for name in fields or []:
        field_of(records.model, name)
    return records.read(records.search(domain or [], offset, limit, order), fields)


def _read(records: Records, ids: Json, fields: Json = None, load: Json = "_classic_read") -> Json:
    rows = records.read(_ids(ids), fields)
    if load == "_classic_read":
        return rows
    links = {name for name, field in records.model.fields.items() if field.type == "many2one"}
    return [{name: value[0] if name in links and value else value for name, value in row.items()} for row in rows]


def _name_get(records: Records, ids: Json) -> Json:
    return [[row["id"], row["display_name"]] for row in records.read(records.existing(_ids(ids)), ["display_name"])]


def _create(records: Records, vals_list: Json) -> Json:
    if isinstance(vals_list, Mapping):
        return records.create(vals_list)
    return [records.create(values) for values in vals_list]


def _write(records: Records, ids: Json, vals: Json) -> Json:
    records.write(_ids(ids), vals)
    return True


def _unlink(records: Records, ids: Json) -> Json:
    records.unlink(_ids(ids))
    return True


def _load(records: Records, fields: Json, data: Json) -> Json:
    return imports.load(records, fields, data)


def _confirm(records: Records, ids: Json) -> Json:
    return rules.confirm(records, _ids(ids))


def _cancel(records: Records, ids: Json) -> Json:
    return rules.cancel(records, _ids(ids))


def _xmlid_to_res_id(records: Records, xmlid: Json, raise_if_not_found: Json = False) -> Json:
    found = imports.external(records, str(xmlid))
    if found is None and raise_if_not_found:
        raise value_error(f"External ID not found in the system: {xmlid}")
    return found[1] if found else False


Method = Callable[..., Any]

_METHODS: Mapping[str, Method] = {
    "fields_get": _fields_get,
    "search": _search,
    "search_count": _search_count,
    "search_read": _search_read,
    "read": _read,
    "name_get": _name_get,
    "create": _create,
    "write": _write,
    "unlink": _unlink,
    "load": _load,
}
_MODEL_METHODS: Mapping[str, Mapping[str, Method]] = {
    "sale.order": {"action_confirm": _confirm, "action_cancel": _cancel},
    EXTERNAL_ID.name: {"xmlid_to_res_id": _xmlid_to_res_id},
}
