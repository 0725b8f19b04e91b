"""What went wrong in Odoo, as an error of the gateway and in words that a partner can act on.

Odoo answers 200 whatever happens; only the class of the Python exception and its text tell. Texts of business rules are
passed on, with the public names of fields; everything else is said in our words, because Odoo's hold names of
models, tables and files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from entrepot.chassis.errors import Error, Mistake
from entrepot.connectors.base import CallMapping, Json, ModelMapping
from entrepot.connectors.faults import OutOfReach, UpstreamStumbled
from entrepot.connectors.odoo.wire import OdooError
from entrepot.connectors.odoo.writing import MAX_MISTAKES, escaped
from entrepot.errors import (
    Conflict,
    RecordNotFound,
    UpstreamBadAnswer,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamUnavailable,
)

Verb = Literal["list", "read", "create", "update", "delete", "call"]
MAX_TEXT = 500
RETRY_AFTER_S = 1.0
NO_SUCH_RECORD = "there is no such record"

_RULES = frozenset({"UserError", "ValidationError", "RedirectWarning", "Warning", "except_orm"})
_NOT_THERE = re.compile(r"Object \S+ doesn't exist|Invalid \"order\" specified")
_BAD_VALUE = re.compile(
    r"invalid literal for int|could not convert string to float|Wrong value for|time data|NUL \(0x00\)|"
    r"unconverted data|is not in list|Invalid base64|Incorrect padding"
)
_BAD_DATA = frozenset({"DataError", "NumericValueOutOfRange", "StringDataRightTruncation", "InvalidTextRepresentation",
                       "InvalidDatetimeFormat", "DatetimeFieldOverflow", "UntranslatableCharacter",
                       "CharacterNotInRepertoire"})  # fmt: skip
_BROKEN_RULE = frozenset(
    {"IntegrityError", "NotNullViolation", "ForeignKeyViolation", "CheckViolation", "ExclusionViolation"}
)
_PASSES = frozenset({"OperationalError", "InterfaceError", "InternalError", "DatabaseError", "SerializationFailure",
                     "DeadlockDetected", "LockNotAvailable", "QueryCanceled", "InFailedSqlTransaction", "AdminShutdown",
                     "CrashShutdown", "CannotConnectNow", "TooManyConnections", "DiskFull", "OutOfMemory",
                     "ReadOnlySqlTransaction", "IdleInTransactionSessionTimeout"})  # fmt: skip
_NO_SUCH = frozenset({"UndefinedTable", "UndefinedColumn", "ProgrammingError", "InsufficientPrivilege"})
_PASSING = re.compile(r"could not serialize|deadlock detected|current transaction is aborted|connection already closed|"
                      r"server closed the connection|canceling statement|"
                      # Two requests made a follower, notification or presence that was not there a moment ago.
                      r"cannot follow twice the same object|\b(mail|bus)_\w+_(uniq|unique|key|idx|index)\b|"
                      r"unique_mail_message_id")  # fmt: skip
_CONSTRAINT = re.compile(r"[a-z][a-z0-9_]*_(?P<kind>[a-z0-9]+)")
_NAMED = re.compile(r"Constraint: (\w+)")
_MANDATORY = re.compile(r"Field: (?P<label>.*) \((?P<name>\w+)\)\s*$")
_IN_LOAD = re.compile(r"<class '(?P<name>[\w.]+)'>: (?P<text>.*)", re.DOTALL)
_MODEL = re.compile(r" ?\([a-z_][a-z0-9_]*(\.[a-z0-9_]+)+\)")
_BRACKETED = re.compile(r" ?\(([a-z]\w*_\w+)\)")
_RECORD_RULE = re.compile(r"Due to security restrictions|record rule|Database fetch misses ids")
_LATE = re.compile(
    r"^psycopg2\.(OperationalError: (?!FATAL:  database )|(InterfaceError|InternalError|DatabaseError):|"
    r"errors\.(AdminShutdown|CrashShutdown|IdleInTransactionSessionTimeout):)|"
    r"^builtins\.TypeError: .*(JSON serializable|keys must be )"
)
_RAW = re.compile(r"Traceback|violates|DETAIL:|LINE \d+:|SELECT |psycopg2|<class ")
_MISSING = re.compile(r"\(Record: (?P<model>[\w.]+)\(")


class RelationMissing(UpstreamRejected):
    """A related record does not exist, and the fault does not tell by which field."""


_BY_GRAVITY = (
    UpstreamUnavailable,
    UpstreamMisconfigured,
    UpstreamBadAnswer,
    UpstreamStumbled,
    RecordNotFound,
    Conflict,
)


@dataclass(frozen=True, slots=True)
class Naming:
    """How the fields of *model* are called in public: *names* is by Odoo's name."""

    model: str
    names: Mapping[str, str] = field(default_factory=dict)

    def pointer(self, name: str) -> str | None:
        """Return the JSON pointer of the public field that stands for Odoo's *name*, None when none does."""
        public = self.names.get(name)
        return None if public is None else f"/{escaped(public)}"


def naming_of(mapping: ModelMapping | CallMapping) -> Naming:
    """Return how *mapping* calls Odoo's fields."""
    if isinstance(mapping, CallMapping):
        arguments = [argument for argument in mapping.arguments if argument.body_field]
        return Naming(mapping.model, {argument.name: argument.body_field or "" for argument in arguments})
    writable_last = sorted(mapping.fields, key=lambda entry: not entry.read_only)
    return Naming(mapping.model, {entry.source[0]: entry.public for entry in writable_last})


def translated(error: OdooError, verb: Verb, naming: Naming) -> Error:
    """Return the gateway's error for *error* of Odoo, met in doing *verb*; ``applied`` is set.

    An exception takes back what was done before it, but for those that may come after the end of the transaction: the
    loss of the database, and a result that cannot be written as JSON (``odoo/sql_db.py``, ``commit``).
    """
    fault = _translated(error, verb, naming)
    fault.applied = "unknown" if _LATE.search(f"{error.name}: {error.message}") else "no"
    return fault


def _translated(error: OdooError, verb: Verb, naming: Naming) -> Error:
    package, _, name = error.name.rpartition(".")
    if package == "odoo.exceptions" and name == "MissingError":
        return _missing(error.message, naming)
    if package == "odoo.exceptions" and name in _RULES:
        return _rule(error.message, verb, naming)
    if package.startswith("odoo") and name in {"AccessDenied", "AccessError"}:
        fault = OutOfReach if _RECORD_RULE.search(error.message) else UpstreamMisconfigured
        return fault("the gateway's account at the upstream may not do this")
    if package.startswith("psycopg2"):
        return _database(name, error.message, verb, naming)
    if name == "ValueError" and _BAD_VALUE.search(error.message):
        return UpstreamRejected("the upstream cannot store one of the values", errors=_fields_in(error.message, naming))
    if name in {"ValueError", "TypeError", "AttributeError", "NameError", "KeyError", "UnboundLocalError", "Exception"}:
        return _program(name, error.message)
    return UpstreamStumbled("the upstream failed on this record")


def load_fault(messages: Sequence[Mapping[str, Json]], naming: Naming) -> Error:
    """Return the error for the *messages* of ``load``, which made nothing: the gravest of them, with all mistakes."""
    if not messages:
        return UpstreamBadAnswer("the upstream made no record and does not say why")
    faults = [_load_message(message, naming) for message in messages]
    gravest = min(faults, key=_gravity)
    if isinstance(gravest, UpstreamRejected | Conflict):
        gravest.errors = tuple(mistake for fault in faults for mistake in fault.errors)[:MAX_MISTAKES]
    return gravest


def _gravity(error: Error) -> int:
    kind = type(error)
    return _BY_GRAVITY.index(kind) if kind in _BY_GRAVITY else len(_BY_GRAVITY)


def _load_message(message: Mapping[str, Json], naming: Naming) -> Error:
    text = str(message.get("message") or "")
    inner = _IN_LOAD.search(text)
    if inner is not None:
        return translated(OdooError(inner["name"], inner["text"]), "create", naming)
    if _PASSING.search(text):
        return _passing()
    name = message.get("field")
    pointer = naming.pointer(name) if isinstance(name, str) else None
    unique = "duplicate key value" in text or "already exist" in text
    said = "another record has this value" if unique else _tidied(text, naming)
    if _is_of_relation(message):
        said = NO_SUCH_RECORD
    error = Conflict if unique else UpstreamRejected
    return error(said, errors=[Mistake(said, pointer)])


def _is_of_relation(message: Mapping[str, Json]) -> bool:
    # In whatever language it says that it found no record, it offers a window with those that there are.
    more = message.get("moreinfo")
    return isinstance(more, dict) and more.get("type") == "ir.actions.act_window"


def _missing(text: str, naming: Naming) -> Error:
    found = _MISSING.search(text)
    if found is not None and found["model"] != naming.model:
        return Conflict("a record that this one needs does not exist any more")
    return RecordNotFound("the record does not exist")


def _rule(text: str, verb: Verb, naming: Naming) -> Error:
    if _NOT_THERE.match(text):
        return _misconfigured("the upstream does not have what the catalog asks of it")
    if _PASSING.search(text):
        return _passing()
    mandatory = _MANDATORY.search(text)
    if mandatory is not None:
        said = "a mandatory field has no value: " + naming.names.get(mandatory["name"], mandatory["label"])
        return UpstreamRejected(said, errors=_at(mandatory["name"], "must have a value", naming))
    named = _NAMED.search(text)
    if named is not None or _CONSTRAINT.fullmatch(text):
        return _constraint(named[1] if named else text, verb, naming)
    said = _tidied(text, naming)
    error = Conflict if verb == "delete" else UpstreamRejected
    return error(said, errors=[Mistake(said)])


def _constraint(constraint: str, verb: Verb, naming: Naming) -> Error:
    """PostgreSQL names a constraint table_field_kind; Odoo's own are table_name, as its ``_sql_constraints`` say."""
    rule = constraint.removeprefix(naming.model.replace(".", "_") + "_")
    name, _, kind = rule.rpartition("_")
    if verb == "delete":
        return Conflict("another record needs this one")
    if kind in {"key", "uniq", "unique"}:
        return Conflict("another record has this value", errors=_at(name, "another record has it", naming))
    if kind == "fkey":
        at = _at(name, NO_SUCH_RECORD, naming)
        return (UpstreamRejected if at else RelationMissing)("a related record does not exist", errors=at)
    return UpstreamRejected(f"the record breaks the rule {rule} of the upstream")


def _database(name: str, text: str, verb: Verb, naming: Naming) -> Error:
    if name == "OperationalError" and "does not exist" in text:
        return _misconfigured("the upstream does not have the database that the catalog names")
    if name == "UniqueViolation" and _PASSING.search(text):
        return _passing()
    if name == "UniqueViolation":
        return Conflict("another record has this value")
    if name in _BROKEN_RULE:
        return (
            Conflict("another record needs this one")
            if verb == "delete"
            else UpstreamRejected("the record breaks a rule of the upstream")
        )
    if name in _BAD_DATA:
        return UpstreamRejected("the upstream cannot store one of the values", errors=_fields_in(text, naming))
    if name in _NO_SUCH:
        return _misconfigured("the upstream's database does not fit its programs")
    return _passing() if name in _PASSES else UpstreamStumbled("the upstream failed on this record")


def _program(name: str, text: str) -> Error:
    # A wrong catalog meets these (fields, models, methods, arguments), and so does a mistake in Odoo's modules.
    if re.search(
        r"Invalid field|Invalid leaf|unexpected keyword argument|required positional argument|"
        r"positional arguments? but|multiple values for|referenced before assignment|Method not (found|available)|"
        r"Cannot (sort|convert)|is not a valid field|"
        # A model lacks something; what a plain value lacks ('bool' object …) is a mistake met on one record.
        r"(type object '[\w.]+'|'[a-z_]\w*\.[\w.]+' object) has no attribute",
        text,
    ) or (name == "KeyError" and re.fullmatch(r"'?[a-z_][\w.]*'?", text)):
        return _misconfigured("the upstream does not have what the catalog asks of it")
    return UpstreamStumbled("the upstream failed on this record")


def _misconfigured(text: str) -> Error:
    return UpstreamMisconfigured(text)


def _passing() -> Error:
    return UpstreamUnavailable("the upstream could not finish this now", retry_after_s=RETRY_AFTER_S)


def _at(name: str, message: str, naming: Naming) -> list[Mistake]:
    pointer = naming.pointer(name)
    return [Mistake(message, pointer)] if pointer else []


def _fields_in(text: str, naming: Naming) -> list[Mistake]:
    """``Wrong value for res.partner.type: 'zzz'`` names its field; most others do not."""
    found = re.search(re.escape(naming.model) + r"\.(\w+)", text)
    return _at(found[1], "the upstream cannot store this value", naming) if found else []


def _tidied(text: str, naming: Naming) -> str:
    """Return Odoo's *text* for partners: public names for fields, no names of models, nothing raw."""
    if _RAW.search(text):
        return "the record breaks a rule of the upstream"
    text = _MODEL.sub("", text.strip())
    if text[:1] == text[-1:] == "'":
        text = text[1:-1]
    text = _BRACKETED.sub(lambda found: found[0] if found[1] in naming.names else "", text)
    for name, public in naming.names.items():
        if "_" in name:
            text = re.sub(rf"\b{re.escape(name)}\b", public, text)
    return text[:MAX_TEXT] or "the record breaks a rule of the upstream"
