"""How a transaction is shown to operators: a row of a list, or all of it; nothing private in either."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import orjson

from entrepot.catalog.definitions import Endpoint
from entrepot.catalog.masking import Masking, masking
from entrepot.chassis.log import escaped
from entrepot.cli.output import say, say_table
from entrepot.cli.times import moment_text, span_text
from entrepot.ledger.contents import Contents
from entrepot.ledger.entries import Attempt, Sight

Shown = dict[str, Any]
_COLUMNS = ("id", "state", "applied", "endpoint", "partner", "accepted_at", "attempts")


def listed(sight: Sight) -> Shown:
    """Return *sight* as a row of a list: nothing of what was sent or answered."""
    return {
        "id": sight.id,
        "state": sight.state,
        "applied": sight.applied,
        "reason": sight.reason,
        "endpoint": sight.endpoint,
        "partner": sight.partner,
        "client": sight.client,
        "upstream": sight.upstream,
        "kind": sight.kind,
        "accepted_at": moment_text(sight.accepted_at),
        "due_at": _moment(sight.due_at),
        "finished_at": _moment(sight.finished_at),
        "attempts": sight.attempts,
        "problem": (sight.problem or {}).get("code"),
    }


def cells(row: Shown) -> Shown:
    """Return what of a row of a list stands in the columns of a terminal."""
    why = " ".join(filter(None, (row["reason"], row["problem"])))
    return {**{name.removesuffix("_at"): row[name] for name in _COLUMNS}, "why": why or None}


def details(sight: Sight, sent: Contents, endpoint: Endpoint | None, *, with_body: bool) -> Shown:
    """Return all of *sight*; *with_body* also what was sent and answered. *endpoint* is the one in force, if any."""
    mask = masking(sent.plan, endpoint, sent.body, sent.facts.get("variables", {}))
    shown = {
        **listed(sight),
        "operation_id": sight.operation_id,
        "target": mask.text(sight.target),
        "follows": sight.follows.id if sight.follows else None,
        "follows_state": sight.follows.state if sight.follows else None,
        "problem": mask.texts(sight.problem),
        "tries": [_tried(attempt, mask) for attempt in sight.tries],
        "status": sight.answer.status if sight.answer else None,
    }
    if with_body:
        shown["body"] = _content(sent.body, mask)
        shown["answer"] = _content(sight.answer.body, mask) if sight.answer else None
    return shown


def say_details(shown: Shown) -> None:
    """Write what ``details`` returned for a reader."""
    own = {"problem", "tries", "body", "answer"}
    say_table([(name, _plain(value)) for name, value in shown.items() if name not in own and value is not None])
    if shown["problem"]:
        say()
        say_table([("problem", ""), *_sentences(shown["problem"])])
    if shown["tries"]:
        say()
        tries = [_cells_of_try(one) for one in shown["tries"]]
        say_table([list(tries[0]), *(list(one.values()) for one in tries)])
    for name in ("body", "answer"):
        if shown.get(name) is not None:
            say(f"\n{name}")
            for line in json.dumps(shown[name], indent=2, ensure_ascii=False).splitlines():
                say(escaped(line))


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment_text(seconds)


def _tried(attempt: Attempt, mask: Masking) -> Shown:
    return {
        "number": attempt.number,
        "courier": attempt.courier,
        "started_at": moment_text(attempt.started_at),
        "took_s": round(attempt.ended_at - attempt.started_at, 3),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "code": attempt.code,
        "detail": mask.text(attempt.detail),
    }


def _cells_of_try(tried: Shown) -> Shown:
    took = tried["took_s"]
    return {
        "attempt": tried["number"],
        "at": tried["started_at"],
        "took": f"{took:g}s" if took < 60 else span_text(took),
        "by": tried["courier"],
        "outcome": tried["outcome"],
        "status": tried["status"],
        "detail": escaped(" ".join(filter(None, (tried["code"], tried["detail"])))),
    }


def _content(content: bytes | None, mask: Masking) -> Any:
    """Return *content* as JSON that may be shown, None when there is none or it was dropped."""
    if not content:
        return None
    try:
        return mask.document(orjson.loads(content))
    except orjson.JSONDecodeError:
        return _other_content(content, mask)


def _other_content(content: bytes, mask: Masking) -> Any:
    try:
        return mask.text(content.decode())
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _sentences(problem: Shown) -> Iterator[tuple[str, str]]:
    for name in ("code", "title", "detail"):
        if problem.get(name):
            yield name, _plain(problem[name])
    for mistake in problem.get("errors") or ():
        yield escaped(str(mistake.get("path", ""))), _plain(mistake.get("message", ""))


def _plain(value: object) -> str:
    return escaped(str(value))
