"""The values that keys of the catalog hold: each function returns what was written as a value of ours.

All raise ValueError with a sentence that says what would be right, and never quote what may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Any
from urllib.parse import urlsplit

from entrepot.chassis import values as chassis
from entrepot.chassis.networks import read_network
from entrepot.connectors.base import Json
from entrepot.settings import is_own

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_PUBLIC = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,79}")
_VALUE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,200}")
_ODOO_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODEL = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SECRET = re.compile(r"file:/.+|env:[A-Za-z_][A-Za-z0-9_]*|credential:[A-Za-z0-9_.@-]+", re.DOTALL)
_SECRET_HEADER = re.compile(
    r"authorization|cookie|(^|[-_])(api-?key|token|secret|password|credential)s?([-_]|$)", re.IGNORECASE
)
# Fields of the connection and the message, which the gateway writes itself (RFC 9110, section 7.6.1).
_OWN_HEADERS = frozenset(
    (
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
MAX_SOURCE_STEPS = 2


class ShapeError(ValueError):
    """The value is of another kind than the key holds."""


def text(value: Any) -> str:
    """Return *value*, a text that is not empty."""
    if isinstance(value, bool | int | float):
        raise ShapeError("must be text: put it in quotes")
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text")
    return value


def boolean(value: Any) -> bool:
    """Return *value*, true or false."""
    if not isinstance(value, bool):
        raise ShapeError("must be true or false")
    return value


def whole(least: int, most: int) -> Callable[[Any], int]:
    """Return the function for whole numbers from *least* to *most*."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return value

    return convert


def number_above_zero(value: Any) -> float:
    """Return *value*, a number above 0 and at most a million."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1_000_000:
        raise ValueError("must be a number above 0, at most 1000000")
    return value


def factor(value: Any) -> float:
    """Return *value*, a number from 1 to 100."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 100:
        raise ValueError("must be a number from 1 to 100")
    return value


def order(value: Any) -> str:
    """Return *value*, what followers wait for."""
    if value in ("record", "partner", "endpoint", "none"):
        return str(value)
    if isinstance(value, str) and value.startswith("field:") and _PUBLIC.fullmatch(value[6:]):
        return value
    raise ValueError("must be record, partner, endpoint, none, or field: and the public name of a field of the body")


def duration(least_s: float, most_s: float) -> Callable[[Any], float]:
    """Return the function for durations from *least_s* to *most_s* seconds."""

    def convert(value: Any) -> float:
        found = chassis.duration_s(value) if isinstance(value, str) else None
        if found is None:
            raise ValueError("must be a duration such as 500ms, 30s, 5m, 24h or 7d")
        if not least_s <= found <= most_s:
            raise ValueError(f"must be from {written_s(least_s)} to {written_s(most_s)}")
        return found

    return convert


def size(most_bytes: int) -> Callable[[Any], int]:
    """Return the function for sizes from 1 to *most_bytes* bytes."""

    def convert(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ShapeError("must be a size such as 64KiB or 1MiB")
        found = chassis.size_bytes(str(value))
        if not 1 <= found <= most_bytes:
            raise ValueError(f"must be from 1B to {written_bytes(most_bytes)}")
        return found

    return convert


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return the function for one of *choices*."""

    def convert(value: Any) -> str:
        if value not in choices:
            raise ValueError(
                f"must be {' or '.join(choices)}" if len(choices) < 3 else f"must be one of {', '.join(choices)}"
            )
        return str(value)

    return convert


def base_url(value: Any) -> str:
    """Return *value*, an http or https URL without a slash at its end."""
    right = (
        "must be a URL such as https://erp.example.com or http://10.0.0.5:8069/path, without user, query or fragment"
    )
    if not isinstance(value, str) or not value.isascii() or re.search(r"[\s\x00-\x1f\x7f\\]", value):
        raise ValueError(right)
    try:
        parts = urlsplit(value)
        is_right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError as exc:
        raise ValueError(right) from exc
    if not is_right or "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError(right)
    return value.rstrip("/")


def absolute_file(value: Any) -> str:
    """Return *value*, the absolute path of a file."""
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError("must be the absolute path of a file, such as /etc/ssl/private-ca.pem")
    return value


def secret(value: Any) -> str:
    """Return *value*, which says where a secret is and is none itself."""
    if not isinstance(value, str) or not _SECRET.fullmatch(value):
        raise ValueError(
            "must say where the secret is: file:/absolute/path, env:NAME or credential:NAME; never the secret itself"
        )
    if is_own(value):
        raise ValueError("must not be the master key or a file of the store: these are shown to no upstream")
    return value


def network(value: Any) -> IPv4Network | IPv6Network:
    """Return *value*, an IPv4 or IPv6 network or address."""
    if not isinstance(value, str):
        raise ShapeError("must be a network such as 10.0.0.0/8 or fd00::/8")
    try:
        return read_network(value)
    except ValueError as exc:
        try:
            meant = ip_interface(value).network
        except ValueError:
            raise ValueError("must be a network such as 10.0.0.0/8 or fd00::/8") from exc
        raise ValueError(f"must be {meant}: the address has bits beyond the prefix") from exc


def name(value: Any) -> str:
    """Return *value*, the name of an object or a reference to one."""
    return _matching(value, _NAME, "must be a name of letters, digits, `.`, `_` and `-`, at most 80 long")


def public_name(value: Any) -> str:
    """Return *value*, the public name of a field."""
    return _matching(value, _PUBLIC, "must be a public name of letters, digits, `_` and `-` that begins with a letter")


def result_key(value: Any) -> str:
    """Return *value*, a key of what a method returns; paths into it are not followed."""
    return _matching(text(value), _VALUE_KEY, "must be a key of the result: a word of letters, digits and `_`")


def value_key(value: Any) -> str:
    """Return *value*, the KEY of ``{partner.KEY}``."""
    return _matching(value, _VALUE_KEY, "must be a word of letters, digits and `_`")


def scope(value: Any) -> str:
    """Return *value*, a scope (RFC 6749, section 3.3)."""
    return _matching(
        value, _SCOPE, "must be a scope such as orders.read: visible ASCII without space, quote or backslash"
    )


def odoo_field(value: Any) -> str:
    """Return *value*, the name of an Odoo field."""
    return _matching(value, _ODOO_FIELD, "must be the name of an Odoo field such as partner_id")


def source(value: Any) -> tuple[str, ...]:
    """Return the steps of *value*, an Odoo field or a path through relations."""
    steps = tuple(value.split(".")) if isinstance(value, str) else ()
    if not steps or not all(_ODOO_FIELD.fullmatch(step) for step in steps):
        raise ValueError("must be an Odoo field such as name, or a path such as country_id.code")
    if len(steps) > MAX_SOURCE_STEPS:
        raise ValueError("must be a path of two steps: a relation and a field of its model")
    return steps


def model(value: Any) -> str:
    """Return *value*, the name of an Odoo model."""
    return _matching(value, _MODEL, "must be an Odoo model such as res.partner")


def method_call(value: Any) -> tuple[str, str]:
    """Return model and method of *value*, such as ``sale.order.action_confirm``."""
    if not isinstance(value, str) or "." not in value:
        raise ValueError("must be a model and its method such as sale.order.action_confirm")
    model_name, _, method = value.rpartition(".")
    if method.startswith("_"):
        raise ValueError(f"Odoo does not let anyone call {method}: what begins with `_` is private")
    if not _MODEL.fullmatch(model_name) or not _METHOD.fullmatch(method):
        raise ValueError("must be a model and its method such as sale.order.action_confirm")
    return model_name, method


def header_name(value: Any) -> str:
    """Return *value*, the name of a header field that may be set or dropped."""
    found = _matching(value, _HEADER, "must be the name of a header field such as X-Api-Version")
    if found.lower() in _OWN_HEADERS:
        raise ValueError(f"{found} belongs to the connection: the gateway writes it itself")
    return found


def open_header_name(value: Any) -> str:
    """Return *value*, the name of a header field whose value is no secret."""
    found = header_name(value)
    if _SECRET_HEADER.search(found):
        raise ValueError(
            f"{found} holds a secret: use `auth`, such as auth: {{header: {{name: {found}, value: file:/…}}}}"
        )
    return found


def header_value(value: Any) -> str:
    """Return *value*, what a header field may hold."""
    found = text(value)
    if not _HEADER_VALUE.fullmatch(found):
        raise ValueError("must be a text without line ends and control characters")
    return found


def scalar(value: Any) -> Json:
    """Return *value*, a text, number, true or false."""
    if value is None or isinstance(value, list | dict):
        raise ValueError("must be a text, a number, true or false")
    return value


def key_name(value: Any) -> str:
    """Return *value*, the field that ``{id}`` is a value of."""
    return _matching(value, _PUBLIC, "must be the name of one field")


def relay_path(value: Any) -> str:
    """Return *value*, the path at an HTTP upstream that a relay goes to."""
    if not isinstance(value, str) or not re.fullmatch(r"/[\x21-\x22\x24-\x3e\x40-\x7e]*", value):
        raise ValueError("must be a path such as /api/rates/{rest}, without space, query or fragment")
    if {".", ".."} & set(value.split("/")):
        raise ValueError("must not hold the segments `.` and `..`")
    return value


def probe_path(value: Any) -> str:
    """Return *value*, the path that a probe asks for."""
    if not isinstance(value, str) or not re.fullmatch(r"/[\x21-\x22\x24-\x7e]*", value):
        raise ValueError("must be a path such as /health")
    return value


def plain_value(value: Any) -> Json:
    """Return *value*, a text, number, true or false, or a list of them."""
    if isinstance(value, list):
        return [scalar(item) for item in value]
    return scalar(value)


def _matching(value: Any, pattern: re.Pattern[str], right: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(right)
    return value


def written_s(seconds: float) -> str:
    """Return *seconds* as the catalog writes a duration, in the largest unit that divides it."""
    if not seconds:
        return "0s"
    for unit, factor in _UNITS:
        if seconds >= factor and not seconds % factor:
            return f"{seconds / factor:.0f}{unit}"
    milliseconds = seconds * 1000
    return f"{milliseconds:.0f}ms" if milliseconds == int(milliseconds) else f"{seconds!r}s"


_UNITS: Sequence[tuple[str, int]] = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def written_bytes(count: int) -> str:
    """Return *count* as the catalog writes a size."""
    for unit, factor in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor and not count % factor:
            return f"{count // factor}{unit}"
    return f"{count}B"
