"""How ``entrepot status`` shows what waits to be delivered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from entrepot.chassis.log import escaped
from entrepot.cli.maintenance import sentence
from entrepot.cli.times import moment_text, span_text
from entrepot.ledger.drain import Drain, Outlook


def document(outlook: Outlook | None) -> dict[str, Any]:
    """Return *outlook* for machines; every value is None when it is not known."""
    names = ("backlog", "oldest", "rate", "eta", "dead", "maintenance", "queues")
    if outlook is None:
        return dict.fromkeys(names)
    values = (
        outlook.unfinished, _age_s(outlook.oldest, outlook.at), round(outlook.rate, 3), _rounded(outlook.eta_s),
        outlook.dead, outlook.maintenance is not None, [_queue(drain, outlook.at) for drain in outlook.drains],
    )  # fmt: skip
    return dict(zip(names, values, strict=True))


def _queue(drain: Drain, now: float) -> dict[str, Any]:
    held = None
    if drain.hold is not None:
        until = drain.hold.until
        held = {
            "reason": drain.hold.reason,
            "detail": drain.hold.detail,
            "since": moment_text(drain.hold.since),
            "until": None if until is None else moment_text(until),
        }
    return {
        "upstream": drain.upstream,
        "backlog": drain.unfinished,
        "bytes": drain.bytes,
        "oldest": _age_s(drain.oldest, now),
        "rate": round(drain.rate, 3),
        "eta": _rounded(drain.eta_s),
        "dead": drain.dead,
        "away": drain.is_away,
        "held": held,
    }


def rows(outlook: Outlook) -> list[tuple[str, object]]:
    """Return *outlook* for a reader, the upstreams where nothing waits left out."""
    now = outlook.at
    queues = (drain for drain in outlook.drains if drain.unfinished or drain.dead or drain.hold)
    return [
        ("backlog", ", ".join([*_figures(outlook, now), *_end(outlook)])),
        ("dead", outlook.dead),
        ("maintenance", sentence(outlook.maintenance)),
        *((f"queue {drain.upstream}", ", ".join([*_figures(drain, now), *_end_of(drain)])) for drain in queues),
    ]


def _figures(waiting: Outlook | Drain, now: float) -> Iterator[str]:
    yield str(waiting.unfinished)
    if waiting.oldest is not None:
        yield f"oldest {span_text(now - waiting.oldest)}"
    if waiting.rate:
        yield f"{waiting.rate:.3g} a second"


def _end(outlook: Outlook) -> Iterator[str]:
    """Yield when all will be delivered, or what that waits for; nothing when nothing waits."""
    stuck = [drain.upstream for drain in outlook.drains if drain.unfinished and (drain.hold or drain.is_away)]
    if not outlook.unfinished:
        return
    if outlook.maintenance is not None:
        yield "held: maintenance"
    elif stuck:
        yield f"waits for {', '.join(stuck)}"
    else:
        yield _span(outlook.eta_s)


def _end_of(drain: Drain) -> Iterator[str]:
    """Yield what is dead, and when all else will be delivered, or why not."""
    if drain.dead:
        yield f"{drain.dead} dead"
    if drain.hold is not None:
        why = f" ({drain.hold.detail})" if drain.hold.detail else ""
        yield f"held since {moment_text(drain.hold.since)}: {drain.hold.reason}{escaped(why)}"
    elif drain.unfinished:
        yield f"waits for {drain.upstream}" if drain.is_away else _span(drain.eta_s)


def _span(eta_s: float | None) -> str:
    return "no end in sight" if eta_s is None else f"empty in {span_text(eta_s)}"


def _age_s(moment: float | None, now: float) -> float | None:
    return None if moment is None else round(max(0.0, now - moment), 3)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
