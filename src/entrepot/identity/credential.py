"""Secrets and API keys of clients, as the checks need them: in a file that works without a database.

Both are made here, of 256 random bits, and look like ``esk_k3j5…_q8Zt…`` (secret) and ``eak_…`` (API key): a prefix
that scanners find, a public name by which it is listed and revoked, and the secret part. Kept is the HMAC-SHA-256 of
the whole under a subkey of the master key: fast, and worth nothing without that key. Times are seconds since 1970.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from base64 import b32encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from sys import intern
from threading import Lock
from types import MappingProxyType
from typing import Any, Literal, get_args

import orjson

from entrepot.errors import StoreUnavailable
from entrepot.identity.journal import Counter, Journal
from entrepot.identity.master import MasterKey

log = logging.getLogger(__name__)

FILE = "credentials"
"""The name of the file in the directory of the store; also that of its counter."""

Kind = Literal["secret", "api-key"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FOREVER = float("inf")
# How long a credential stays in the file after its end, for the sake of clocks.
KEPT_S = 86_400.0
_SAME: dict[str, Kind] = {kind: kind for kind in KINDS}
_PREFIXES: dict[Kind, str] = {"secret": "esk", "api-key": "eak"}
_PURPOSES: dict[Kind, str] = {"secret": "client secrets", "api-key": "API keys"}
_TEXT = re.compile(r"(?P<prefix>esk|eak)_(?P<key_id>[a-z2-7]{16})_(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)
_KEY_ID = re.compile(r"[a-z2-7]{16}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credential:
    """What is known of a secret or API key of a client. *number* is its own in the file, from 0, which gives it.

    *partner* is that of the client when it was made. *expires_at* is infinite for one that does not end.
    """

    key_id: str
    kind: Kind
    client: str
    partner: str
    digest: bytes
    made_at: float
    expires_at: float
    number: int = -1


class CredentialFile:
    """The credentials in the file at *path*, those of *kinds* alone; *counter* tells other processes of a new one.

    Nothing is read before ``load``. For several threads; survives a fork.
    """

    def __init__(self, path: Path, counter: Counter, master: MasterKey, *, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._journal = Journal(path, counter, self._take)
        self._master = master
        self._kinds = frozenset(kinds)
        self._known: dict[str, Credential] = {}
        self._next_number = 0
        self._lock = Lock()

    @property
    def known(self) -> Mapping[str, Credential]:
        """All credentials that this process has read, by their key id."""
        return MappingProxyType(self._known)

    def load(self) -> None:
        """Read what was added; a file that is not there holds nothing. Raises StoreUnavailable."""
        with self._lock:
            self._journal.refresh()

    def find(self, kind: Kind, text: str) -> Credential | None:
        """Return the credential that *text* is, None when it is none of this *kind* that is known here.

        Whether it has ended or was revoked is not looked at. New ones are read first; when the file cannot be read,
        the known ones stay. Raises SettingsError when the master key cannot be read.
        """
        match = _TEXT.fullmatch(text)
        if match is None or match["prefix"] != _PREFIXES[kind]:
            return None
        if self._journal.has_changed():
            try:
                self.load()
            except StoreUnavailable as error:
                log.error("new credentials cannot be read, the known ones stay good", extra={"reason": str(error)})
        credential = self._known.get(match["key_id"])
        if credential is None or credential.kind != kind:
            return None
        return credential if hmac.compare_digest(self.digest(kind, text), credential.digest) else None

    def digest(self, kind: Kind, text: str) -> bytes:
        """Return what is kept of the credential *text* of *kind*. Raises SettingsError without the master key."""
        return hmac.digest(self._master.subkey(_PURPOSES[kind]), text.encode(), "sha256")

    def add(self, new: Sequence[Credential]) -> list[Credential]:
        """Put *new* ones on disk and in force, and return them with their numbers.

        Raises StoreUnavailable when the disk does not take them.
        """
        made: list[Credential] = []

        def lines() -> bytes:
            made.extend(replace(one, number=self._next_number + place) for place, one in enumerate(new))
            return b"\n".join(map(_line, made))

        with self._lock:
            self._journal.add(lines)
        return made

    def compact(self, now: float, gone: Collection[str]) -> int:
        """Take out what has ended, and the key ids in *gone*; return how many lines that were.

        Other processes go on with what they have read. Raises StoreUnavailable.
        """

        def kept(lines: Sequence[bytes]) -> Sequence[bytes]:
            # The last line stays: it has the highest number, which no other credential may get.
            return [*(line for line in lines[:-1] if _stays(_credential(line), now, gone)), *lines[-1:]]

        with self._lock:
            return self._journal.rewrite(kept)

    def close(self) -> None:
        """Close the file; what was read stays known."""
        self._journal.close()

    def _take(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            credential = _credential(line)
            if credential is None:
                log.error("a line of the credentials cannot be read and is left out", extra={"bytes": len(line)})
                continue
            self._next_number = max(self._next_number, credential.number + 1)
            if credential.kind in self._kinds:
                self._known[credential.key_id] = credential


def new_text(kind: Kind) -> tuple[str, str]:
    """Return a fresh key id, and the text of a credential of *kind* that bears it."""
    key_id = b32encode(secrets.token_bytes(10)).decode().lower()
    return key_id, f"{_PREFIXES[kind]}_{key_id}_{secrets.token_urlsafe(32)}"


def key_id_in(text: str) -> str | None:
    """Return the key id that *text* is or, being a whole credential, holds; None when it is neither."""
    match = _TEXT.fullmatch(text)
    if match is not None:
        return match["key_id"]
    return text if _KEY_ID.fullmatch(text) else None


def _stays(credential: Credential | None, now: float, gone: Collection[str]) -> bool:
    # A line that cannot be read stays for whoever looks into it.
    return credential is None or (credential.key_id not in gone and credential.expires_at + KEPT_S > now)


def _line(credential: Credential) -> bytes:
    ends = None if credential.expires_at == FOREVER else credential.expires_at
    return orjson.dumps({**asdict(credential), "digest": credential.digest.hex(), "expires_at": ends})


def _credential(line: bytes) -> Credential | None:
    try:
        found: dict[str, Any] = orjson.loads(line)
        ends = found["expires_at"]
        # A hundred thousand credentials share few kinds and partners, and mostly do not end.
        credential = Credential(
            intern(found["key_id"]), _SAME[found["kind"]], intern(found["client"]), intern(found["partner"]),
            bytes.fromhex(found["digest"]), float(found["made_at"]), FOREVER if ends is None else float(ends),
            int(found["number"]),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError):
        return None
    return credential
