"""What is refused although its signature is good, in two files that work without a database.

Lines of JSON are appended to the first, and synced before they count; every worker has them in memory and reads the
tail when the file has grown (``entrepot.identity.journal``). From time to time the single tokens among them go to the
second, which all workers map (``entrepot.identity.revoked_ids``), and lines that nothing needs any more go away.

A client, a partner or everybody is revoked up to a second, the *cutoff*: tokens whose ``iat`` lies in that second or
before are refused, for ``iat`` is a whole second and does not say what came first within it. Whoever issues waits for
the next second (``entrepot.identity.issuing``), so that a token made after a revocation works. A line of its own lifts
the cutoffs before it; those after it count.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from entrepot.errors import StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.durable import sync_directory
from entrepot.identity.journal import Counter, Journal
from entrepot.identity.refused import (
    KEPT_S,
    KINDS,
    NEVER,
    CallerKind,
    CutoffKind,
    Entry,
    Kind,
    Lift,
    Refused,
    Revocation,
    Switch,
    entry_of,
    line_of,
    living,
    revoked_token,
)
from entrepot.identity.revoked_ids import RevokedIds, id_of, record_of, write_ids

__all__ = [
    "KEPT_S", "KINDS", "CallerKind", "Counter", "CutoffKind", "Kind", "Lift", "Revocation", "Revocations", "Switch",
]  # fmt: skip

log = logging.getLogger(__name__)

REVOCATIONS, IDS = "revocations", "revocations.ids"
"""The names of the files in the directory of the store; the first is also that of their counter."""

# When there is enough to do that it is worth writing all ids anew.
WORTHWHILE_BYTES = 1_048_576
WORTHWHILE_AGE_S = 86_400.0


class Revocations:
    """The revocations in the file at *path* and, of very many tokens, in ``ids`` beside it; *counter* tells of changes.

    Nothing is read before ``load`` or ``refresh``. *version* grows with what this process has read or added. For
    several threads; survives a fork.
    """

    def __init__(self, path: Path, counter: Counter) -> None:
        self._path = path
        self._ids_path = path.with_name(f"{path.name}.ids")
        self._refused = Refused()
        self._journal = Journal(path, counter, self._refused.add)
        self.has_changed = self._journal.has_changed
        """Tell whether another process has revoked something since the last look; one load from memory."""
        self._counter = counter
        # The newest first. There is a second one only when someone has put a former one back.
        self._ids: tuple[RevokedIds, ...] = ()
        self._ids_seen: tuple[int, int] | None = None
        # Whether lines may have come and gone, gathered, that this process has not seen.
        self._missed = True
        self._door = Lock()

    @property
    def version(self) -> int:
        """How many changes this process has seen."""
        return self._refused.version

    @property
    def gathered_at(self) -> float:
        """When the ids of single tokens were last gathered; 0.0 when they never were, or their file was lost."""
        return self._ids[0].written_at if self._ids else 0.0

    def load(self) -> None:
        """Read the files; one that is not there holds nothing. Raises StoreUnavailable."""
        self.refresh()

    def refresh(self) -> bool:
        """Read what was added, and return whether there was anything. Raises StoreUnavailable.

        Looks at the size of the file too: whoever was killed between append and counter has revoked all the same.
        """
        with self._door:
            before, self._missed = self.version, not self._journal.is_open
            self._journal.refresh()
            with self._told():
                # After the lines: those that are gone from them stand here already.
                self._read_ids()
            return self.version != before

    # -- what is refused

    def refusal(self, claims: Claims) -> str:
        """Return why the token or API key with *claims* is refused; empty when it is not."""
        if not claims.kid:
            if claims.jti in self._refused.keys:
                return "the API key was revoked"
        elif self._has_jti(claims.jti):
            return "the token was revoked"
        return self._refused.refusal(claims)

    def refusal_of_owner(self, claims: Claims) -> str:
        """Return the same as far as it concerns the client or partner as a whole."""
        return self._refused.refusal(claims)

    def is_revoked(self, claims: Claims) -> bool:
        """Return whether the token or API key with *claims* is refused."""
        return bool(self.refusal(claims))

    def disabled(self, client: str, partner: str) -> CallerKind | None:
        """Return which of the two is disabled, so that *client* may do nothing; None when neither is."""
        if self._refused.is_disabled("partner", partner):
            return "partner"
        return "client" if self._refused.is_disabled("client", client) else None

    def switch(self, kind: CallerKind, name: str) -> Switch | None:
        """Return since when the client or partner *name* itself is disabled; None when it is not."""
        switch = self._refused.switches[kind].get(name)
        return switch if switch is not None and switch.disabled else None

    def switches(self) -> list[Switch]:
        """Return all clients and partners that are disabled."""
        known = self._refused.switches.values()
        return [switch for switches in known for switch in switches.values() if switch.disabled]

    def was_enabled_since(self, kind: CallerKind, name: str, at: float) -> bool:
        """Return whether the client or partner *name* is known to have been enabled after *at*."""
        switch = self._refused.switches[kind].get(name)
        return switch is not None and not switch.disabled and switch.at > at

    def was_lifted_since(self, kind: Kind, value: str, at: float) -> bool:
        """Return whether the cutoff of *kind* and *value* is known to have been lifted after *at*."""
        return self._refused.lifted.get((kind, value), at) > at

    def entries(self) -> list[Entry]:
        """Return what the lines say, without the tokens that were gathered. Raises StoreUnavailable."""
        with self._told():
            lines = self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []
        return [entry for entry in map(entry_of, lines) if entry is not None]

    def cutoff(self, client: str, partner: str) -> int:
        """Return the last second whose tokens of *client*, of *partner*, are refused; -1 when there is none."""
        return self._refused.cutoff(client, partner)

    def own_cutoff(self, kind: CutoffKind, value: str) -> int:
        """Return the same of what was revoked of *kind* and *value* itself."""
        return self._refused.own_cutoff(kind, value)

    def holds(self, entry: Entry) -> bool:
        """Return whether *entry* is in force already, as far as this process has read."""
        if isinstance(entry, Lift):
            return self._refused.own_cutoff(entry.kind, entry.value) == NEVER
        if isinstance(entry, Switch):
            return self._refused.is_disabled(entry.kind, entry.value) == entry.disabled
        if entry.kind == "jti":
            return self._has_jti(entry.value)
        if entry.kind == "key":
            return entry.value in self._refused.keys
        return entry.cutoff is not None and self._refused.own_cutoff(entry.kind, entry.value) >= entry.cutoff

    def missing(self, jtis: Collection[str]) -> set[str]:
        """Return those of *jtis* that are not in force as single tokens, as far as this process has read."""
        left = {id_of(jti): jti for jti in jtis if not self._refused.has_jti(jti)}
        for ids in self._ids:
            left = {id_: left[id_] for id_ in ids.missing(list(left))}
        return set(left.values())

    def since(self, version: int) -> list[str | None] | None:
        """Return what came after *version*: tokens by their jti, None for what concerns many; None: anything may have.

        A secret or API key is not among it.
        """
        return self._refused.since(version)

    def _has_jti(self, jti: str) -> bool:
        return self._refused.has_jti(jti) or (bool(self._ids) and self._is_gathered(id_of(jti)))

    def _is_gathered(self, id_: bytes) -> bool:
        return any(id_ in ids for ids in self._ids)

    # -- changes

    def add(self, entry: Entry) -> bool:
        """Put *entry* on disk and in force; return False when it was in force before, and stays as it was.

        Raises BadRequest for a value that cannot be a name, StoreUnavailable when the disk does not take it.
        """
        return self.add_all([entry]) == 1

    def add_all(self, entries: Sequence[Entry]) -> int:
        """Put *entries* on disk and in force at once; return how many were not in force before.

        Raises BadRequest for a value that cannot be a name, StoreUnavailable when the disk does not take them.
        """
        lines = [(entry, line_of(entry)) for entry in entries]
        new: list[bytes] = []

        def make() -> bytes:
            self._read_ids()
            new.extend(line for entry, line in lines if not self.holds(entry))
            return b"\n".join(new)

        with self._door:
            self._missed = not self._journal.is_open
            self._journal.add(make)
        return len(new)

    # -- compaction

    def compact(self, now: float, *, is_whole: bool = False) -> int:
        """Take out what no living token needs any more, and return how many lines there are fewer.

        *is_whole*: all that the database knows is in force; before that was so once, single tokens stay in their lines.
        Others wait for this only while the lines are written, not while the ids are. Raises StoreUnavailable.
        """
        with self._door, self._told(), self._alone():
            self._missed = not self._journal.is_open
            self._journal.refresh()
            self._read_ids()
            if not is_whole and not self._ids:
                return self._journal.rewrite(lambda lines: living(lines, now))
            return self._gather(now)

    def compact_when_due(self, now: float) -> int:
        """Do the same when it is worthwhile: there is much in the lines, or it was not done for a day."""
        with self._told():
            size = self._path.stat().st_size if self._path.exists() else 0
        is_due = size >= WORTHWHILE_BYTES or now - self.gathered_at >= WORTHWHILE_AGE_S
        return self.compact(now) if is_due else 0

    def _gather(self, now: float) -> int:
        lines = self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []
        records, named = [record for ids in self._ids for record in ids.living(now - KEPT_S)], []
        for line in lines:
            token = revoked_token(line)
            if token is None:
                named.append(line)
            elif token[1] + KEPT_S > now:
                records.append(record_of(*token))
        ready = self._ids_path.with_name(f"{self._ids_path.name}.ready")
        write_ids(ready, records, follows=self._ids[0].serial if self._ids else 0, written_at=now)

        def rest(found: Sequence[bytes]) -> Sequence[bytes]:
            ready.replace(self._ids_path)
            sync_directory(self._ids_path.parent)
            # Someone may have put another file in place of this one; then nothing is known of its lines.
            kept = [*named, *found[len(lines) :]] if found[: len(lines)] == lines else found
            return living(kept, now)

        gone = self._journal.rewrite(rest) if lines else len(rest([]))
        self._read_ids()
        return gone

    def _read_ids(self) -> None:
        try:
            status = self._ids_path.stat()
        except FileNotFoundError:
            return  # someone took the file: what is known stays in force
        seen = (status.st_ino, status.st_mtime_ns)
        if seen == self._ids_seen:
            return
        ids = RevokedIds(self._ids_path)
        self._ids_seen = seen
        is_newer = not self._ids or ids.serial > self._ids[0].serial
        is_next = bool(self._ids) and ids.follows == self._ids[0].serial
        self._refused.age(seamless=is_next and not self._missed)
        self._ids = (ids,) if is_newer else (*self._ids, ids)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process compact meanwhile."""
        lock = self._path.with_name(f"{self._path.name}.lock")
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise StoreUnavailable(f"the revocations in {self._path} cannot be used: {exc.strerror}") from exc

    def close(self) -> None:
        """Close the files; what was read stays in force."""
        self._journal.close()
