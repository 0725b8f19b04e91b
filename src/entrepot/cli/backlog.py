"""How ``entrepot status`` shows what waits to be delivered."""

from __future__ import annotations

from typing import Any

from entrepot.chassis.log import escaped
from entrepot.cli.maintenance import sentence
from entrepot.cli.times import moment_text, span_text
from entrepot.ledger.drain import Drain, Outlook


def document(outlook: Outlook | None, now: float) -> dict[str, Any]:
    """Return *outlook* for machines; every value is None when it is not known."""
    names = ("backlog", "oldest", "rate", "eta", "dead", "maintenance", "queues")
    if outlook is None:
        return dict.fromkeys(names)
    values = (
        outlook.unfinished, _age_s(outlook.oldest, now), round(outlook.rate, 3), _rounded(outlook.eta_s), outlook.dead,
        outlook.maintenance is not None, [_queue(drain, now) for drain in outlook.drains],
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
        "held": held,
    }


def rows(outlook: Outlook, now: float) -> list[tuple[str, object]]:
    """Return *outlook* for a reader, the upstreams where nothing waits left out."""
    queues = (drain for drain in outlook.drains if drain.unfinished or drain.dead or drain.hold)
    return [
        ("backlog", _sentence(outlook, now)),
        ("dead", outlook.dead),
        ("maintenance", sentence(outlook.maintenance)),
        *((f"queue {drain.upstream}", _sentence(drain, now) + _held(drain)) for drain in queues),
    ]


def _sentence(waiting: Outlook | Drain, now: float) -> str:
    parts = [str(waiting.unfinished)]
    if waiting.oldest is not None:
        parts.append(f"oldest {span_text(now - waiting.oldest)}")
    if waiting.rate:
        parts.append(f"{waiting.rate:.3g} a second")
    if waiting.unfinished:
        parts.append("no end in sight" if waiting.eta_s is None else f"empty in {span_text(waiting.eta_s)}")
    return ", ".join(parts)


def _held(drain: Drain) -> str:
    dead = f", {drain.dead} dead" if drain.dead else ""
    if drain.hold is None:
        return dead
    why = f" ({drain.hold.detail})" if drain.hold.detail else ""
    return f"{dead}, held since {moment_text(drain.hold.since)}: {drain.hold.reason}{escaped(why)}"


def _age_s(moment: float | None, now: float) -> float | None:
    return None if moment is None else round(max(0.0, now - moment), 3)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
