"""Arguments and results of single methods."""

from __future__ import annotations

from collections.abc import Mapping

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Argument, CallMapping, Json
from entrepot.connectors.odoo.domains import filled
from entrepot.connectors.odoo.values import BadValue, to_odoo
from entrepot.connectors.odoo.writing import MAX_MISTAKES, escaped
from entrepot.errors import InvalidBody, UpstreamBadAnswer

_ODOO_TYPES: Mapping[str, str] = {
    "string": "char",
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
}


def arguments_of(
    mapping: CallMapping, body: Mapping[str, Json], values: Mapping[str, Json]
) -> tuple[list[Json], dict[str, Json]]:
    """Return the positional and the named arguments of a call; names that are numbers are positions, from 0.

    Raises InvalidBody with every mistake in *body*, UpstreamMisconfigured for a template without value.
    """
    known = {argument.body_field for argument in mapping.arguments}
    mistakes = [Mistake("there is no such field", f"/{escaped(name)}") for name in body if name not in known]
    given: dict[str, Json] = {}
    for argument in mapping.arguments:
        try:
            _give(argument, body, values, given)
        except BadValue as error:
            mistakes.append(Mistake(str(error), f"/{escaped(argument.body_field or argument.name)}"))
    if mistakes:
        raise InvalidBody(f"{mistakes[0].path}: {mistakes[0].message}", errors=mistakes[:MAX_MISTAKES])
    positions = sorted((name for name in given if name.isdigit()), key=int)
    return [given.pop(name) for name in positions], given


def result_of(mapping: CallMapping, result: Json) -> Json:
    """Return *result* as the partner sees it: bare, or the keys that *mapping* names; what is missing is null."""
    if mapping.result is None:
        return result
    if not isinstance(result, dict):
        raise UpstreamBadAnswer("the method's result is not the object that the catalog says it is")
    return {public: result.get(key) for public, key in mapping.result.items()}


def _give(argument: Argument, body: Mapping[str, Json], values: Mapping[str, Json], given: dict[str, Json]) -> None:
    if argument.body_field is None:
        given[argument.name] = filled(argument.template, values)
    elif argument.body_field in body:
        given[argument.name] = _converted(body[argument.body_field], argument.type)
    elif argument.has_default:
        given[argument.name] = argument.default
    elif argument.required:
        raise BadValue("must be given")


def _converted(value: Json, kind: str) -> Json:
    if kind in _ODOO_TYPES:
        return to_odoo(value, _ODOO_TYPES[kind])
    wanted = list if kind == "array" else dict
    if not isinstance(value, wanted):
        raise BadValue(f"must be an {kind}")
    return value
