"""Bring catalog files into force: check, compare, store as a revision, publish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.catalog.check import Draft
from entrepot.catalog.fields import Resolved, resolve
from entrepot.catalog.model_types import Types
from entrepot.catalog.revisions import Origin, Revision, current, publish, record
from entrepot.catalog.written import Document, document
from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import Json
from entrepot.declarative.diff import Difference, difference
from entrepot.declarative.document import GIVEN, STANDING, check_files
from entrepot.declarative.types import AskTypes, KnownTypes, known_types
from entrepot.errors import CatalogError, StoreUnavailable
from entrepot.store.audit import Actor, Change
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
class Plan:
    """A catalog that has no mistake, as a document, and what differs from the one in force.

    *changes* are what the audit log says beside the revision.
    """

    draft: Draft
    document: Document
    difference: Difference
    changes: tuple[Change, ...] = ()


def apply(
    database: Database,
    paths: Sequence[Path],
    *,
    ask: AskTypes | None,
    snapshot: Path,
    actor: Actor,
    prune: bool = False,
) -> Applied:
    """Bring the files at *paths* into force, all or nothing, and return what that changed.

    Objects that no file names stay, unless *prune* takes away those that came from files before. *ask* reads field
    types; without it the former ones must do. The snapshot is written after the commit; nothing
    is when nothing differs. The audit log has it as *actor*'s. Raises CatalogError with every mistake,
    StoreUnavailable, OSError.
    """
    return bring_in(database, lambda former: _plan(former, paths, prune=prune), ask=ask, snapshot=snapshot, actor=actor)


def bring_in(
    database: Database,
    plan_from: Callable[[Revision], Plan],
    *,
    ask: AskTypes | None,
    snapshot: Path,
    actor: Actor,
) -> Applied:
    """Bring what *plan_from* makes of the present revision into force: see ``apply``."""
    for _ in range(MAX_ATTEMPTS):
        former = current(database)
        plan = plan_from(former)
        known = known_types(plan.draft.catalog, ask, former.types)
        resolved = _resolved(plan.draft, known)
        warnings = known.warnings + resolved.warnings
        if not plan.difference and former.number and not _is_retyped(plan.draft, former.types, resolved):
            return Applied(publish(database, snapshot), False, plan.difference, warnings)
        revision = _revision(former, plan, known.types)
        summary = plan.difference.summary() or ("field types have changed" if former.number else "an empty catalog")
        if record(database, former.number, revision, summary=summary, actor=actor, changes=plan.changes):
            publish(database, snapshot)
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


def _plan(former: Revision, paths: Sequence[Path], *, prune: bool) -> Plan:
    return planned(former, check_files(paths, _standing(former, prune=prune)))


def planned(former: Revision, draft: Draft, *changes: Change) -> Plan:
    """Return what has to be done that *draft* comes into force after *former*; the audit log has *changes* too."""
    written = document(draft.catalog)
    return Plan(draft, written, difference(former.document, written), changes)


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


def _revision(former: Revision, plan: Plan, types: Types) -> Revision:
    origins = {
        (section, name): _origin(former, section, name, plan.draft)
        for section, objects in plan.document.items()
        for name in objects
    }
    return Revision(former.number + 1, plan.document, types, origins)


def _origin(former: Revision, section: str, name: str, draft: Draft) -> Origin:
    place = draft.place(section, name)
    if place == GIVEN:
        return Origin("console")
    return former.origins[section, name] if place == STANDING else Origin("file", place)
