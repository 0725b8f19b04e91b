"""What stands in the lines of the revocations: as lines, and as sets to look into. Times are seconds since 1970."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson

from entrepot.errors import BadRequest
from entrepot.identity.claims import Claims

log = logging.getLogger(__name__)

Kind = Literal["jti", "key", "client", "partner", "all"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SINGLE: tuple[Kind, ...] = ("jti", "key")
CallerKind = Literal["client", "partner"]
CutoffKind = Literal["client", "partner", "all"]
CALLER_KINDS: tuple[CallerKind, ...] = get_args(CallerKind)
CUTOFF_KINDS: tuple[CutoffKind, ...] = get_args(CutoffKind)
NEVER = -1
"""The cutoff of what has none."""
MAX_VALUE_CHARS = 255
# How long a line stays when nothing needs it any more: for the sake of clocks, and of who has not read it yet.
KEPT_S = 86_400.0
# How many of the latest changes are told one by one; whoever comes later looks at everything.
TOLD = 50_000


@dataclass(frozen=True, slots=True)
class Revocation:
    """A token (by its jti) or a secret or API key (by its key id) that is refused, or all up to *cutoff*.

    All are those of a client, of a partner, or (kind ``all``, *value* is empty) of everybody. *expires_at*: by then
    all of these tokens have expired. *by* says who did it.
    """

    kind: Kind
    value: str
    revoked_at: float
    expires_at: float
    cutoff: int | None = None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """A client or partner, called *value*, that is *disabled*, or not any more, since *at*. *by* says who did it."""

    kind: CallerKind
    value: str
    disabled: bool
    at: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class Lift:
    """From *lifted_at* on, all of a client, of a partner or of everybody is good again that lies up to *cutoff*.

    What was revoked one by one stays so. *by* says who did it.
    """

    kind: CutoffKind
    value: str
    cutoff: int
    lifted_at: float
    by: str = ""


Entry = Revocation | Switch | Lift


class Refused:
    """What the lines say. *version* grows with each change.

    ``age`` is called when all that was added so far is known to stand elsewhere, too: it is forgotten the next time.
    """

    def __init__(self) -> None:
        self.keys: set[str] = set()
        self.cutoffs: dict[str, dict[str, int]] = {"client": {}, "partner": {}, "all": {}}
        self.lifted: dict[tuple[str, str], float] = {}
        """When the cutoff of a kind and value was last lifted, as far as that is known still."""
        self.switches: dict[str, dict[str, Switch]] = {"client": {}, "partner": {}}
        self._jtis: set[str] = set()
        self._older: set[str] = set()
        self._told: list[str | None] = []
        self._forgotten = 0

    @property
    def version(self) -> int:
        """How many changes there were."""
        return self._forgotten + len(self._told)

    def add(self, lines: Iterable[bytes]) -> None:
        """Take *lines* in; one that cannot be read is logged and left out.

        They may be lines from before, read anew: nothing comes into force that the last of them takes back.
        """
        cutoffs: dict[tuple[str, str], int] = {}
        for line in lines:
            entry = _entry(line)
            if entry is None:
                log.error("a line of the revocations cannot be read and is left out", extra={"bytes": len(line)})
            elif entry["kind"] == "jti":
                self._add_jti(entry["value"])
            elif entry.get("cutoff") is not None:
                self._add_cutoff(entry, cutoffs)
            else:
                self._add_named(entry)
        for (kind, value), cutoff in cutoffs.items():
            if cutoff != self.cutoffs[kind].get(value, NEVER):
                self.cutoffs[kind][value] = cutoff
                self._told.append(None)

    def _add_jti(self, jti: str) -> None:
        if jti not in self._jtis:
            self._jtis.add(jti)
            self._told.append(jti)

    def _add_named(self, entry: dict[str, Any]) -> None:
        kind, value = entry["kind"], entry["value"]
        if kind == "key":
            self.keys.add(value)
        elif "disabled" in entry:
            if entry["disabled"] != self.is_disabled(kind, value):
                self._told.append(None)
            self.switches[kind][value] = Switch(kind, value, entry["disabled"], entry["at"], entry.get("by", ""))

    def _add_cutoff(self, entry: dict[str, Any], cutoffs: dict[tuple[str, str], int]) -> None:
        """Put into *cutoffs* what is revoked after *entry*: up to the latest second since the last lift."""
        kind, value = entry["kind"], entry["value"]
        if "lifted_at" in entry:
            self.lifted[kind, value] = entry["lifted_at"]
            cutoffs[kind, value] = NEVER
        else:
            former = cutoffs.get((kind, value), self.cutoffs[kind].get(value, NEVER))
            cutoffs[kind, value] = max(former, entry["cutoff"])

    def has_jti(self, jti: str) -> bool:
        """Tell whether the token *jti* is refused, as far as the lines say."""
        return jti in self._jtis or jti in self._older

    def refusal(self, claims: Claims) -> str:
        """Return why the client or partner in *claims*, or all of theirs up to then, is refused; empty: it is not."""
        if claims.issued_at <= self.cutoff(claims.client, claims.partner):
            return "all tokens up to that time were revoked"
        if self.is_disabled("client", claims.client):
            return "the client is disabled"
        return "the partner is disabled" if self.is_disabled("partner", claims.partner) else ""

    def cutoff(self, client: str, partner: str) -> int:
        """Return the last second whose tokens of *client*, of *partner*, are refused; ``NEVER`` when there is none."""
        clients, partners, everybody = (self.cutoffs[kind] for kind in CUTOFF_KINDS)
        return max(clients.get(client, NEVER), partners.get(partner, NEVER), everybody.get("", NEVER))

    def own_cutoff(self, kind: str, value: str) -> int:
        """Return the last second whose tokens of *kind* and *value* itself are refused; ``NEVER``: there is none."""
        return self.cutoffs[kind].get(value, NEVER)

    def is_disabled(self, kind: str, name: str) -> bool:
        """Tell whether the client or partner *name* itself is disabled."""
        switch = self.switches[kind].get(name)
        return switch is not None and switch.disabled

    def since(self, version: int) -> list[str | None] | None:
        """Return what came after *version*: tokens by their jti, None for what concerns many; None: anything may have.

        A secret or API key is not among it.
        """
        return None if version < self._forgotten else self._told[version - self._forgotten :]

    def age(self, *, seamless: bool) -> None:
        """Forget what was added before the last call; not *seamless*: other tokens may be refused since, too."""
        self._older, self._jtis = self._jtis, set()
        if not seamless or len(self._told) > TOLD:
            self._forgotten = self.version + (not seamless)
            self._told = []


def line_of(entry: Entry) -> bytes:
    """Return *entry* as a line. Raises BadRequest for a value that cannot be a name."""
    is_everybody = entry.kind == "all" and not entry.value
    if not is_everybody and not 0 < len(entry.value) <= MAX_VALUE_CHARS:
        raise BadRequest(f"a {entry.kind} has 1 to {MAX_VALUE_CHARS} characters, not {len(entry.value)}")
    try:
        return orjson.dumps(entry)
    except orjson.JSONEncodeError as exc:
        raise BadRequest(f"this cannot be a {entry.kind}: it is not text") from exc


def entry_of(line: bytes) -> Entry | None:
    """Return what *line* says; None when it cannot be read."""
    entry = _entry(line)
    if entry is None:
        return None
    by, value = str(entry.get("by", "")), entry["value"]
    if "lifted_at" in entry:
        return Lift(entry["kind"], value, entry["cutoff"], entry["lifted_at"], by)
    if "disabled" in entry:
        return Switch(entry["kind"], value, entry["disabled"], entry["at"], by)
    revoked_at = float(entry.get("revoked_at", 0.0))
    return Revocation(entry["kind"], value, revoked_at, entry["expires_at"], entry["cutoff"], by)


def revoked_token(line: bytes) -> tuple[str, float] | None:
    """Return jti and expiry of the token that *line* revokes; None when it says something else."""
    entry = _entry(line)
    return (entry["value"], entry["expires_at"]) if entry is not None and entry["kind"] == "jti" else None


def living(lines: Iterable[bytes], now: float) -> list[bytes]:
    """Return those of *lines* that are needed, of each client and partner the last; unreadable ones stay.

    A lift takes away what it has lifted, and stays for a while itself, before what came after it.
    """
    kept: dict[object, tuple[float, bytes]] = {}
    for line in lines:
        entry = _entry(line)
        if entry is None:
            kept[line] = (0, line)
            continue
        name, rank, is_needed = _kept(entry, now)
        if "lifted_at" in entry:
            kept.pop((entry["kind"], entry["value"]), None)
        if name not in kept or kept[name][0] <= rank:
            kept.pop(name, None)
            if is_needed:
                kept[name] = (rank, line)
    return [line for _, line in kept.values()]


def _kept(entry: dict[str, Any], now: float) -> tuple[object, float, bool]:
    """Return what *entry* is about, how it stands among the others about the same, and whether anything needs it."""
    if "lifted_at" in entry:
        return ("lift", entry["kind"], entry["value"]), 0, entry["lifted_at"] + KEPT_S > now
    if "disabled" in entry:
        # The last one counts.
        return ("switch", entry["kind"], entry["value"]), 0, entry["disabled"] or entry["at"] + KEPT_S > now
    return (entry["kind"], entry["value"]), entry["cutoff"] or 0, entry["expires_at"] + KEPT_S > now


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        entry = orjson.loads(line)
        kind, value = entry["kind"], entry["value"]
        if "disabled" in entry:
            fits = _is_switch(entry)
        elif "lifted_at" in entry:
            fits = _is_lift(entry)
        else:
            fits = _is_revocation(kind, entry["cutoff"], entry["expires_at"])
    except (ValueError, TypeError, KeyError):
        return None
    return entry if fits and isinstance(value, str) else None


def _is_switch(entry: dict[str, Any]) -> bool:
    is_caller = entry["kind"] in CALLER_KINDS
    return is_caller and isinstance(entry["disabled"], bool) and isinstance(entry["at"], int | float)


def _is_lift(entry: dict[str, Any]) -> bool:
    is_cutoff = entry["kind"] in CUTOFF_KINDS and isinstance(entry["cutoff"], int)
    return is_cutoff and isinstance(entry["lifted_at"], int | float)


def _is_revocation(kind: object, cutoff: object, expires_at: object) -> bool:
    fits = cutoff is None if kind in SINGLE else isinstance(cutoff, int)
    return fits and kind in KINDS and isinstance(expires_at, int | float)
