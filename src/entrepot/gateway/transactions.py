"""``/transactions``: what became of the writes that were answered 202, for the partner whose they are.

A client sees and cancels what it sent itself. What other clients of its partner sent it sees with a scope of the
endpoint, and cancels with one that writes there.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson

from entrepot.chassis.errors import Error, Mistake
from entrepot.connectors.base import Json
from entrepot.errors import NotFound, StoreUnavailable, TransactionSent, UnknownParameter
from entrepot.gateway.accepted import HELD_S, expected_s
from entrepot.gateway.answers import WHY_GONE, Answer, data_answer
from entrepot.gateway.kept import value_of
from entrepot.gateway.ledger import Cancelled
from entrepot.gateway.queries import parameters, refuse_parameters
from entrepot.gateway.stages.authorize import has_scope, insufficient
from entrepot.ledger.entries import Filters, Head, KeptAnswer, Sight
from entrepot.ledger.states import FINISHED, STATES, STOPPED, State

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

ID_LENGTH = 36
LIMIT, MAX_LIMIT = 25, 100
OVERDUE_SHARE = 0.1
"""Such a part of the time that something has waited already is when to look again."""


def transactions(exchange: Exchange) -> bool:
    """Answer a request for one transaction or a list of them."""
    if not exchange.raw_values:
        _list(exchange)
    elif exchange.method == b"DELETE":
        _cancel(exchange, _id(exchange))
    else:
        _read(exchange, _id(exchange))
    return True


def _id(exchange: Exchange) -> str:
    refuse_parameters(exchange.query)
    raw = exchange.raw_values[0]
    if len(raw) != ID_LENGTH or not raw.replace(b"-", b"").isalnum():
        raise _unknown()
    return raw.decode("ascii").lower()


def _read(exchange: Exchange, id_: str) -> None:
    def done(found: Sight | Error | None) -> None:
        exchange.proceed(_show, exchange, found)

    exchange.gateway.ledger.read(id_, exchange.principal.partner.name, done)


def _show(exchange: Exchange, found: Sight | Error | None) -> None:
    found = _seen(exchange, found)
    fields = b"cache-control: no-store\r\n"
    if found.state not in FINISHED:
        fields += b"retry-after: %d\r\n" % _again_s(exchange, found)
    exchange.answer(data_answer(200, shown(found), fields=fields))


def _seen(exchange: Exchange, found: Sight | Error | None) -> Sight:
    """Return what was *found*. Raises NotFound when that is nothing, or nothing for this caller."""
    if isinstance(found, Error):
        raise _away(found)
    if found is None or not _may_see(exchange, found):
        raise _unknown()
    return found


def _may_see(exchange: Exchange, sight: Sight) -> bool:
    if _is_own(exchange, sight):
        return True
    endpoint = exchange.gateway.table.endpoints.get(sight.endpoint)
    return endpoint is not None and has_scope(exchange, (*endpoint.read_scopes, *endpoint.write_scopes))


def _is_own(exchange: Exchange, sight: Sight) -> bool:
    return sight.client == exchange.principal.client.name


def _list(exchange: Exchange) -> None:
    asked = _filters(exchange)

    def done(found: Sequence[Sight] | Error) -> None:
        exchange.proceed(_show_page, exchange, asked, found)

    exchange.gateway.ledger.list(asked, done)


def _show_page(exchange: Exchange, asked: Filters, found: Sequence[Sight] | Error) -> None:
    if isinstance(found, Error):
        raise _away(found)
    page, has_next = found[: asked.limit - 1], len(found) == asked.limit
    following = None
    if has_next:
        kept = [(name, value) for name, value in parameters(exchange.query) if name != "after"]
        query = urlencode([*kept, ("after", page[-1].id)])
        following = f"{exchange.gateway.public_url}{exchange.path.decode('ascii')}?{query}"
    meta = b'"pagination":' + orjson.dumps({"next": following})
    exchange.answer(data_answer(200, [summary(each) for each in page if _may_see(exchange, each)], meta=meta))


def _cancel(exchange: Exchange, id_: str) -> None:
    def done(found: Sight | Error | None) -> None:
        exchange.proceed(_cancel_seen, exchange, found)

    exchange.gateway.ledger.read(id_, exchange.principal.partner.name, done)


def _cancel_seen(exchange: Exchange, found: Sight | Error | None) -> None:
    sight = _seen(exchange, found)
    if not _is_own(exchange, sight):
        wanted = exchange.gateway.table.endpoints[sight.endpoint].write_scopes
        if not has_scope(exchange, wanted):
            raise insufficient(wanted)

    def done(result: Cancelled | Error) -> None:
        exchange.proceed(_cancelled, exchange, result)

    exchange.gateway.ledger.cancel(sight.id, exchange.principal.partner.name, done)


def _cancelled(exchange: Exchange, result: Cancelled | Error) -> None:
    if isinstance(result, Error):
        raise _away(result)
    if result == "gone":
        raise _unknown()
    if result == "sent":
        raise TransactionSent("the transaction was sent, or may have been; GET tells what became of it")
    exchange.answer(Answer(204))


def _filters(exchange: Exchange) -> Filters:
    """Return what is asked for, with one more than the page has. Raises UnknownParameter with every mistake."""
    mistakes: list[Mistake] = []
    given: dict[str, str] = {}
    for name, value in parameters(exchange.query):
        if name in given or name not in {"state", "limit", "after"}:
            mistakes.append(Mistake("stands twice" if name in given else "is not known here", name[:100]))
        given[name] = value
    states = tuple(given["state"].split(",")) if "state" in given else ()
    if any(state not in STATES for state in states):
        mistakes.append(Mistake(f"must be one or more of {', '.join(STATES)}, with commas between", "state"))
    limit = given.get("limit", str(LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 3 and 1 <= int(limit) <= MAX_LIMIT):
        mistakes.append(Mistake(f"must be a whole number from 1 to {MAX_LIMIT}", "limit"))
    after = given.get("after")
    if after is not None and (len(after) != ID_LENGTH or not after.isascii()):
        mistakes.append(Mistake("must be the id of a transaction", "after"))
    if mistakes:
        raise UnknownParameter("the query has mistakes", errors=mistakes)
    wanted: list[State] = [state for state in STATES if state in states]
    return Filters(partner=exchange.principal.partner.name, states=tuple(wanted), after=after, limit=int(limit) + 1)


# -- what partners see


def summary(sight: Sight) -> dict[str, Json]:
    """Return what a list shows of a transaction."""
    return {
        "transaction": sight.id,
        "state": sight.state,
        "applied": sight.applied,
        "endpoint": sight.endpoint,
        "request": sight.target,
        "accepted_at": moment(sight.accepted_at),
        "finished_at": moment(sight.finished_at),
        "next_attempt_at": moment(sight.due_at),
    }


def shown(sight: Sight) -> dict[str, Json]:
    """Return all that a partner sees of a transaction."""
    document = summary(sight)
    document["attempts"] = [
        {"number": each.number, "at": moment(each.started_at), "outcome": each.outcome, "status": each.status}
        | ({"code": each.code} if each.code else {})
        for each in sight.tries
    ]
    head = sight.follows
    # That of another partner is no name to be told.
    document["follows"] = head.id if head is not None and head.partner == sight.partner else None
    if sight.state == "delivered":
        document["result"] = None if sight.answer is None else result_of(sight.answer, sight.kind)
    elif sight.problem is not None:
        document["problem"] = sight.problem
    document["advice"] = advice(sight)
    return document


def result_of(answer: KeptAnswer, kind: str) -> dict[str, Json]:
    """Return what the upstream answered: status, and the data as the endpoint would have shown it.

    A relay's body that is no JSON is text, or base64 when it is no text either. Of an answer that was too long to be
    kept there is the status, and ``gone`` says so.
    """
    result: dict[str, Json] = {"status": answer.status}
    if answer.gone is not None:
        result["gone"] = WHY_GONE[answer.gone]
    place = value_of(b"location", answer.fields).decode("latin-1")
    if place:
        result["location"] = place
    media_type = value_of(b"content-type", answer.fields).decode("latin-1")
    if kind == "relay" and answer.body:
        result["content_type"] = media_type
    if not answer.body:
        return result
    try:
        result["data"] = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        try:
            result["text"] = answer.body.decode()
        except UnicodeDecodeError:
            result["base64"] = b64encode(answer.body).decode("ascii")
    return result


def moment(seconds: float | None) -> str | None:
    """Return *seconds* since 1970 as RFC 3339 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def advice(sight: Sight) -> str:
    """Return in one sentence what its partner is to do next."""
    if sight.state == "delivered":
        return "Nothing is left to do."
    if sight.state == "cancelled":
        return _ADVICE_ON_CANCELLED[sight.applied]
    if sight.state == "dead":
        return _ADVICE_ON_DEAD[sight.applied]
    if sight.state == "held":
        return _ADVICE_ON_HELD.get(sight.reason or "", "It waits for the operator; do not send it again.")
    if sight.follows is not None:
        return _advice_on_following(sight.follows, sight.partner)
    return "It will be delivered without your doing; do not send it again, look again after Retry-After."


def _advice_on_following(head: Head, partner: str) -> str:
    is_own = head.partner == partner
    which = f"transaction {head.id}" if is_own else "another partner's transaction on the same record"
    if head.state != "dead":
        return f"It waits for {which}; do not send it again."
    what = f"It waits for {which}, which is dead"
    if is_own and head.applied == "no":
        return f"{what}: delete that one, or ask the operator to replay or skip it; do not send this one again."
    return f"{what}: ask the operator, who can replay or skip it; do not send this one again."


_ADVICE_ON_CANCELLED = {
    "no": "It was not carried out and will not be; send the request again, with a new key, if it is wanted after all.",
    "yes": "It was carried out, and its result could not be had; read the record, and do not send it again.",
    "unknown": "It was given up and may have been carried out; look at the record, or ask the operator, first.",
}
_ADVICE_ON_DEAD = {
    "no": "It was not carried out; delete it, so that what follows may go, and send a corrected one with a new key.",
    "yes": "It was carried out, and its result could not be had; read the record, and do not send it again.",
    "unknown": "It may have been carried out; do not send it again, ask the operator.",
}
_ADVICE_ON_HELD = {
    "upstream": "It waits until the system behind is ready again; do not send it again.",
    "conflict": "Whether it was carried out cannot be told; do not send it again, the operator decides.",
    "client": "Your client is disabled; ask the operator.",
    "restore": "The gateway was restored from a backup; do not send it again, the operator looks whether it was done.",
}


def _again_s(exchange: Exchange, sight: Sight) -> int:
    """Return in how many seconds to look at *sight* again: the same as its 202 would say now, or later."""
    link, now = exchange.gateway.links.links.get(sight.upstream), exchange.gateway.ledger.now()
    if sight.state == "held" or link is None:
        return round(HELD_S)
    head, head_due_at = sight.follows, None
    if head is not None:
        head_due_at = inf if head.state in STOPPED else head.due_at
    again_s = expected_s(link, now, sight.ahead, sight.due_at, sight.held_until, head_due_at)
    # What is due and was not tried waits for something that has no date; the longer it has, the longer it may.
    overdue_s = 0.0 if sight.due_at is not None and sight.due_at > now else (now - sight.accepted_at) * OVERDUE_SHARE
    return max(again_s, round(min(HELD_S, overdue_s)))


def _unknown() -> NotFound:
    return NotFound("there is no such transaction")


def _away(error: Error) -> Error:
    if not isinstance(error, StoreUnavailable):
        return error
    told = StoreUnavailable("transactions cannot be looked at now", retry_after_s=error.retry_after_s or 5.0)
    told.__cause__ = error
    return told
