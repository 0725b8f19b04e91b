"""Bring catalog files into force: check, compare, store as a revision, publish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.catalog.check import Draft
from entrepot.catalog.fields import Resolved, resolve
from entrepot.catalog.model_types import Types
from entrepot.catalog.revisions import Counter, Origin, Revision, current, publish, record
from entrepot.catalog.written import Document, document
from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Json
from entrepot.declarative.diff import Difference, difference
from entrepot.declarative.document import STANDING, check_files
from entrepot.declarative.types import AskTypes, KnownTypes, known_types
from entrepot.errors import CatalogError, StoreUnavailable
from entrepot.store.engine import Database

MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class Applied:
    """What an apply did. *revision* is the one in force now; *is_new* says whether this apply made it.

    *difference* is empty for a new revision when only field types have changed.
    """

    revision: int
    is_new: bool
    difference: Difference
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    draft: Draft
    document: Document
    difference: Difference


def apply(
    database: Database,
    paths: Sequence[Path],
    *,
    ask: AskTypes | None,
    snapshot: Path,
    counter: Counter,
    by: str,
    prune: bool = False,
) -> Applied:
    """Bring the files at *paths* into force, all or nothing, and return what that changed.

    Objects that no file names stay, unless *prune* takes away those that came from files before. *ask* reads field
    types; without it the former ones must do. The snapshot is written after the commit, then *counter* bumped; nothing
    is when nothing differs. Raises CatalogError with every mistake, StoreUnavailable, OSError.
    """
    for _ in range(MAX_ATTEMPTS):
        former = current(database)
        plan = _plan(former, paths, prune=prune)
        known = known_types(plan.draft.catalog, ask, former.types)
        resolved = _resolved(plan.draft, known)
        warnings = known.warnings + resolved.warnings
        if not plan.difference and former.number and not _is_retyped(plan.draft, former.types, resolved):
            return Applied(publish(database, snapshot, counter), False, plan.difference, warnings)
        revision = _revision(former, plan, known.types)
        summary = plan.difference.summary() or ("field types have changed" if former.number else "an empty catalog")
        if record(database, former.number, revision, summary=summary, by=by):
            publish(database, snapshot, counter)
            return Applied(revision.number, True, plan.difference, warnings)
    raise StoreUnavailable("others change the catalog all the time; try again", retry_after_s=1.0)


def _resolved(draft: Draft, known: KnownTypes) -> Resolved:
    try:
        return resolve(draft, known.types)
    except CatalogError as exc:
        # Why an upstream did not say its types is the cause of the other mistakes, so it stands before them.
        causes = [Mistake(warning) for warning in known.warnings]
        raise CatalogError(str(exc), errors=[*causes, *exc.errors]) from exc


def diff_files(database: Database, paths: Sequence[Path], *, prune: bool = False) -> Difference:
    """Return what applying *paths* would change. Raises CatalogError, StoreUnavailable."""
    return _plan(current(database), paths, prune=prune).difference


def _plan(former: Revision, paths: Sequence[Path], *, prune: bool) -> _Plan:
    draft = check_files(paths, _standing(former, prune=prune))
    written = document(draft.catalog)
    return _Plan(draft, written, difference(former.document, written))


def _standing(former: Revision, *, prune: bool) -> Mapping[tuple[str, str], Json]:
    return {
        (section, name): definition
        for section, objects in former.document.items()
        for name, definition in objects.items()
        if not prune or former.origins[section, name].kind == "console"
    }


def _is_retyped(draft: Draft, former: Types, resolved: Resolved) -> bool:
    try:
        return resolve(draft, former).catalog != resolved.catalog
    except CatalogError:
        return True


def _revision(former: Revision, plan: _Plan, types: Types) -> Revision:
    origins = {
        (section, name): _origin(former, section, name, plan.draft)
        for section, objects in plan.document.items()
        for name in objects
    }
    return Revision(former.number + 1, plan.document, types, origins)


def _origin(former: Revision, section: str, name: str, draft: Draft) -> Origin:
    place = draft.place(section, name)
    return former.origins[section, name] if place == STANDING else Origin("file", place)
