"""Read values with units out of settings: durations, sizes, networks, addresses.

Every reader takes the text and returns the value, or raises ValueError with a sentence that begins with "must".
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

from entrepot.chassis.networks import read_network

Network = IPv4Network | IPv6Network

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h|d)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(?P<number>[0-9]+)(?P<unit>B|KiB|MiB|GiB)?", re.ASCII)
_BYTES = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
# As SQLAlchemy reads them (sqlalchemy/engine/url.py, _parse_url), but that no host has an @: that is of a password, and
# would be shown when the host is not found.
_DATABASE_URL = re.compile(
    r"""
    sqlite (?:\+pysqlite)? :/// (?:/|\{directory\}) [^?]+ (?:\?.*)?
    | postgresql (?:\+psycopg)? :// (?:[^:/]* (?::[^@]*)? @)?
      (?:\[[0-9A-Fa-f:.]+\] | [^][:/?@]*) (?: :(?P<port>[0-9]{1,5}))? / [^?]+ (?:\?.*)?
    """,
    re.ASCII | re.VERBOSE,
)
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})", re.ASCII)


def duration_s(text: str) -> float:
    """Return the seconds that *text* says: a number and one of ``ms s m h d``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("must be a duration such as 500ms, 30s, 5m, 24h or 7d")
    return float(match["number"]) * _SECONDS[match["unit"]]


def duration_or_never_s(text: str) -> float:
    """Return the seconds that *text* says, infinity for ``never``."""
    if text.lower() == "never":
        return inf
    try:
        return duration_s(text)
    except ValueError as exc:
        raise ValueError(f"{exc}, or never") from exc


def size_bytes(text: str) -> int:
    """Return the bytes that *text* says: a whole number, alone or with one of ``B KiB MiB GiB``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("must be a size such as 4096, 64KiB, 1MiB or 2GiB")
    return int(match["number"]) * _BYTES[match["unit"]]


def integer(text: str) -> int:
    """Return the whole number that *text* says, in decimal digits alone."""
    if _INTEGER.fullmatch(text) is None:
        raise ValueError("must be a whole number")
    return int(text)


def boolean(text: str) -> bool:
    """Return what *text* says: ``true yes on 1`` or ``false no off 0``, in any case."""
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("must be true or false") from None


def absolute_path(text: str) -> Path:
    """Return *text* as a path; a relative one would depend on where a daemon was started."""
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def choice(*names: str) -> Callable[[str], str]:
    """Return a reader that takes one of *names*, in any case, and gives it in lower case."""

    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError(f"must be one of {', '.join(names)}")
        return text.lower()

    return read


def networks(text: str) -> tuple[Network, ...]:
    """Return the IPv4 and IPv6 networks that *text* lists, separated by spaces or commas; a bare address is one."""
    found = []
    for part in _parts(text):
        try:
            found.append(read_network(part))
        except ValueError as exc:
            raise ValueError(f"must be networks such as 10.0.0.0/8 or fd00::/8 ({exc})") from exc
    return tuple(found)


def addresses(text: str) -> tuple[str, ...]:
    """Return the addresses to listen on that *text* lists: ``host:port``, ``[::1]:port`` or ``unix:/path``."""
    found = _parts(text)
    if not found or not all(map(_is_address, found)):
        raise ValueError("must be host:port, [IPv6]:port or unix:/absolute/path, or several with spaces between")
    return found


def web_url(text: str) -> str:
    """Return *text* without a slash at its end: an http or https URL without user, query or fragment, or nothing."""
    if text and not _is_plain_web_url(text):
        raise ValueError("must be a URL such as https://api.example.com, without user, query and fragment")
    return text.rstrip("/")


def database_url(text: str) -> str:
    """Return *text*: a URL of a file of SQLite, whose path may begin with ``{directory}``, or of a PostgreSQL."""
    match = _DATABASE_URL.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 1) <= 65535:
        raise ValueError(
            "must be sqlite:////absolute/path or postgresql+psycopg://user:password@host:port/name, "
            "with %40 for an @ of the password"
        )
    return text


def cores_or_integer(text: str) -> int:
    """Return the whole number that *text* says; ``auto`` is the number of cores that this process may use."""
    if text.lower() == "auto":
        return usable_cores()
    try:
        return integer(text)
    except ValueError:
        raise ValueError("must be auto or a whole number") from None


def usable_cores() -> int:
    """Return how many cores this process may run on, as ``taskset`` and systemd's ``CPUAffinity`` set it."""
    return len(os.sched_getaffinity(0))


def _parts(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _is_address(text: str) -> bool:
    if text.startswith("unix:"):
        return Path(text.removeprefix("unix:")).is_absolute()
    match = _ADDRESS.fullmatch(text)
    return match is not None and int(match["port"]) <= 65535


def _is_plain_web_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(right) and not any(each in "@?#" or each.isspace() for each in text)
