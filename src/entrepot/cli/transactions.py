"""``entrepot transactions``: what was accepted and must be delivered."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice

from entrepot.chassis.errors import Error
from entrepot.cli.output import complain, say, say_json, say_table
from entrepot.cli.progress import Progress
from entrepot.cli.sights import cells, details, listed, say_details
from entrepot.cli.startup import Started, start
from entrepot.cli.times import ago
from entrepot.ledger.desk import ALLOWED, STEP, Change, LedgerDesk
from entrepot.ledger.entries import Filters
from entrepot.ledger.states import State
from entrepot.services import Services

_DONE: dict[Change, tuple[str, str]] = {
    "replay": ("replayed", "replaying"),
    "cancel": ("cancelled", "cancelling"),
    "skip": ("skipped", "skipping"),
}
_NAMED = ("endpoint", "partner", "client", "upstream")


class UnknownTransactionError(Error):
    """The ledger has no transaction of this id."""

    code, title = "unknown-transaction", "The transaction is not known"


def listing(arguments: argparse.Namespace) -> int:
    """List the transactions that the filters let through, the latest first."""
    limit = arguments.limit
    if limit < 1:
        arguments.parser.error("argument --limit: must be at least 1")
    filters_at = _filters(arguments, (arguments.state,) if arguments.state else (), min(limit + 1, STEP))
    with Services.from_settings(start(arguments).settings) as services:
        ledger = services.ledger
        found = list(islice(chain.from_iterable(ledger.pages(filters_at(ledger.clock()))), limit + 1))
    rows = [listed(sight) for sight in found[:limit]]
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(cells(rows[0])), *(list(cells(row).values()) for row in rows)])
    if len(found) > limit:
        complain(f"there are more than {limit}: see --limit")
    return 0


def _filters(arguments: argparse.Namespace, states: Sequence[State], limit: int) -> Callable[[float], Filters]:
    """Return what tells the filters of the ledger's time, by which *arguments* are older or newer."""
    older, newer = _bound(arguments, "older"), _bound(arguments, "newer")
    filters = Filters(**{name: getattr(arguments, name) for name in _NAMED}, states=tuple(states), limit=limit)
    return lambda now: replace(filters, accepted_from=newer and newer(now), accepted_to=older and older(now))


def _bound(arguments: argparse.Namespace, name: str) -> Callable[[float], float] | None:
    text, bound = getattr(arguments, name), None
    try:
        bound = None if text is None else ago(text)
    except ValueError as exc:
        arguments.parser.error(f"argument --{name}: {exc}")
    return bound


def show(arguments: argparse.Namespace) -> int:
    """Show one transaction, without the values of private fields."""
    with Services.from_settings(start(arguments).settings) as services:
        found = services.ledger.one(arguments.id)
        if found is None:
            raise UnknownTransactionError(f"there is no transaction {arguments.id!r}")
        endpoint = services.catalog().endpoints.get(found[0].endpoint)
    shown = details(*found, endpoint, with_body=arguments.body)
    if arguments.json:
        say_json(shown)
    else:
        say_details(shown)
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """Deliver dead or held transactions after all."""
    return _change(arguments, "replay", ALLOWED["replay"])


def cancel(arguments: argparse.Namespace) -> int:
    """Cancel transactions that have certainly not been applied."""
    return _change(arguments, "cancel", ALLOWED["cancel"])


def skip(arguments: argparse.Namespace) -> int:
    """Give up dead transactions; held ones only when that is said."""
    return _change(arguments, "skip", ("dead",))


def _change(arguments: argparse.Namespace, change: Change, states: Sequence[State]) -> int:
    """Make *change* to the given ids, or to what the filters let through, in steps; say what came of it."""
    has_filters = any(getattr(arguments, name) is not None for name in ("state", "older", "newer", *_NAMED))
    if has_filters == bool(arguments.ids):
        arguments.parser.error("either ids are needed, or filters that say which")
    if arguments.state and arguments.state not in ALLOWED[change]:
        arguments.parser.error(f"argument --state: to {change}, it must be one of {', '.join(ALLOWED[change])}")
    filters_at = _filters(arguments, (arguments.state,) if arguments.state else states, STEP)
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        ledger = services.ledger
        steps = _given(arguments.ids) if arguments.ids else _found(ledger, filters_at(ledger.clock()))
        total = len(arguments.ids) or None
        done, refused = _in_steps(ledger, change, steps, started, total)
        reasons = {id_: _reason(ledger, id_) for id_ in refused} if arguments.ids else {}
    _say_changed(arguments, _DONE[change][0], done, len(refused), reasons)
    return 1 if reasons else 0


def _say_changed(arguments: argparse.Namespace, past: str, done: int, left: int, reasons: dict[str, str]) -> None:
    for id_, reason in reasons.items():
        complain(f"{id_} was not {past}: {reason}")
    if left and not reasons:
        complain(f"{left} that fit the filters were not {past}: they may have been applied, or were erased")
    if arguments.json:
        refused = [{"id": id_, "reason": reason} for id_, reason in reasons.items()]
        say_json({past: done, "left": left, "refused": refused})
    else:
        say(f"{past}: {done}")


def _given(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    each = list(dict.fromkeys(ids))
    return (each[start : start + STEP] for start in range(0, len(each), STEP))


def _found(ledger: LedgerDesk, filters: Filters) -> Iterator[Sequence[str]]:
    return ([sight.id for sight in page] for page in ledger.pages(filters))


def _in_steps(
    ledger: LedgerDesk, change: Change, steps: Iterator[Sequence[str]], started: Started, total: int | None
) -> tuple[int, list[str]]:
    """Return how many transactions allowed the change, and the ids of the others."""
    count, refused = 0, []
    with Progress(_DONE[change][1], total) as progress:
        for ids in steps:
            done = set(ledger.change(change, ids, actor=started.actor))
            count += len(done)
            refused += [id_ for id_ in ids if id_ not in done]
            progress.step(len(ids))
    return count, refused


def _reason(ledger: LedgerDesk, id_: str) -> str:
    found = ledger.one(id_)
    if found is None:
        return "there is none of this id"
    sight, sent = found
    if sent.body is None:
        return f"it is {sight.state}, and what was sent was erased or dropped"
    applied = {"yes": "it was applied", "no": "it was not applied", "unknown": "it may have been applied"}
    return f"it is {sight.state}, and {applied[sight.applied]}"


def erase(arguments: argparse.Namespace) -> int:
    """Take personal data out of transactions, for good."""
    field, separator, value = (arguments.match or "").partition("=")
    if arguments.match is not None and not (field and separator):
        arguments.parser.error("argument --match: must be FIELD=VALUE")
    if arguments.partner is None and arguments.match is None:
        arguments.parser.error("either --partner or --match is needed")
    if not arguments.yes:
        arguments.parser.error("what is erased cannot be brought back; add --yes to do it")
    match = (field, value) if arguments.match is not None else None
    started, count, left = start(arguments), 0, 0
    with Services.from_settings(started.settings) as services, Progress("erasing") as progress:
        for step in services.ledger.erase(partner=arguments.partner, match=match, actor=started.actor):
            count += step.count
            left += step.left
            progress.step(step.count)
    if left:
        complain(f"{left} that fit were not erased: they are not finished; cancel or skip them, or come again")
    if arguments.json:
        say_json({"erased": count, "left": left})
    else:
        say(f"erased: {count}")
    return 1 if left else 0
