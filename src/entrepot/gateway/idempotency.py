"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07): the keys that writes claim, and the answers kept."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import orjson

from entrepot.chassis.envelope import envelope_bytes
from entrepot.chassis.errors import Applied, Error, Mistake
from entrepot.connectors.base import Json, Withdrawn
from entrepot.connectors.faults import unsent
from entrepot.errors import AnswerGone, BadRequest
from entrepot.gateway.answers import WHY_GONE, Answer, Outcome, data_answer, problem_answer
from entrepot.ledger.entries import AnswerOf, Claimed, KeptAnswer, LeaseOf, MemoryOf

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange

log = logging.getLogger(__name__)

NAME = "Idempotency-Key"
FIELD = b"idempotency-key"
MAX_CHARS = 255
REPLAYED = b"idempotency-replayed: true\r\n"

_NEVER_KEPT = frozenset({401, 403, 408, 429})
_QUOTED = re.compile(rb'"((?:[ !#-\[\]-~]|\\["\\])*)"')  # a string of RFC 8941, section 3.3.3
_BARE = re.compile(rb"[!#-~][!-~]*")


def key_of(fields: Mapping[bytes, bytes]) -> str | None:
    """Return the key in *fields*, None when there is none. Quoted and bare are the same.

    Raises BadRequest when it is empty, longer than ``MAX_CHARS``, given twice, or holds something else than visible
    ASCII; between quotes there may be spaces.
    """
    given = fields.get(FIELD)
    if given is None:
        return None
    quoted = _QUOTED.fullmatch(given)
    if quoted is not None:
        key = re.sub(rb"\\(.)", rb"\1", quoted.group(1))
    elif _BARE.fullmatch(given):
        key = given
    else:
        raise _bad("must be one key, a quoted string or visible ASCII without spaces" if given else "must not be empty")
    if not key:
        raise _bad("must not be empty")
    if len(key) > MAX_CHARS:
        raise _bad(f"must have at most {MAX_CHARS} characters, has {len(key)}")
    return key.decode("ascii")


def require_key() -> BadRequest:
    """Return the error of a write that must have a key and has none."""
    return _bad("is required here")


def replayed_answer(kept: KeptAnswer) -> Answer:
    """Return *kept*, the answer to an earlier request, for the request that brings its key again.

    Of one that only the status was kept of, there is that, and why. Raises AnswerGone when it was a refusal.
    """
    if kept.gone is not None:
        return _remains(kept.status, WHY_GONE[kept.gone])
    return Answer(kept.status, kept.fields + REPLAYED, kept.body)


class KeyClaim:
    """The *key* of the write of *exchange*: what comes of the write is kept for whoever brings the key again.

    *leased_until* is until when nobody else goes on with the write, whatever becomes of it here.
    """

    __slots__ = ("_exchange", "claimed")

    def __init__(self, exchange: Exchange, key: str, *, leased_until: float) -> None:
        names = exchange.principal.client.name, exchange.operation.endpoint.name, key
        self._exchange = exchange
        self.claimed = Claimed(
            digest=hashlib.sha256("\0".join(names).encode()).hexdigest(),
            request=_request_digest(exchange),
            leased_until=leased_until,
            expires_at=exchange.gateway.ledger.now() + exchange.gateway.settings.ledger.keys_s,
        )

    def is_over(self) -> bool:
        """Tell whether others may go on with the write by now: whoever had it did not end it in time."""
        return self._exchange.gateway.ledger.now() >= self.claimed.leased_until

    async def note(self, memory: dict[str, Json]) -> None:
        """Keep *memory*, which the connector noted, for whoever goes on with the write.

        Raises StoreUnavailable, and Withdrawn once others may go on with it: what they noted stays.
        """
        if self.is_over():
            raise unsent(Withdrawn("the write may be another's by now", retry_after_s=1.0))
        gateway = self._exchange.gateway
        kept: asyncio.Future[None] = gateway.loop.create_future()
        item = MemoryOf(self.claimed.digest, self.claimed.leased_until, memory)
        gateway.ledger.keep_memory(item, lambda result: _settle(kept, result))
        await kept

    def keep(self, outcome: Outcome, applied: Applied, *, rest_s: float, then: Callable[[], None]) -> None:
        """Keep *outcome* if it is final, and call *then* when it is kept, or cannot be.

        Otherwise the key is free again when nothing was *applied*; when that is not known, whoever brings it goes on
        with the write *rest_s* from now. It stays as it is when others may go on with the write already.
        """

        def done(result: Error | None) -> None:
            self._exchange.proceed(self._kept, then, result)

        ledger, claimed = self._exchange.gateway.ledger, self.claimed
        if _is_final(outcome.status, applied):
            ledger.keep_answer(AnswerOf(claimed.digest, _whole(self._exchange, outcome)), done)
        elif self.is_over():
            then()
        else:
            until = None if applied == "no" else ledger.now() + rest_s
            ledger.let_go(LeaseOf(claimed.digest, claimed.leased_until, until), done)

    def _kept(self, then: Callable[[], None], result: Error | None) -> None:
        if result is not None:
            log.warning(
                "what came of a write could not be kept for its repetition",
                extra={"operation_id": self._exchange.operation_id.decode("ascii"), "reason": str(result)},
            )
        then()


def _request_digest(exchange: Exchange) -> str:
    """Return what tells this request from another one with the same key: method, path, query and body."""
    asked = b"%b %b?%b\n" % (exchange.method, exchange.path, exchange.query)
    return hashlib.sha256(asked + exchange.body).hexdigest()


def _is_final(status: int, applied: Applied) -> bool:
    """Tell whether an answer is the one that repetitions get, too."""
    if status >= 500 or status in _NEVER_KEPT:
        return False
    return status < 400 or applied != "unknown"


def _whole(exchange: Exchange, outcome: Outcome) -> KeptAnswer:
    operation_id = exchange.operation_id
    answer = problem_answer(outcome, operation_id.decode("ascii")) if isinstance(outcome, Error) else outcome
    body = answer.body if answer.data is None else envelope_bytes(operation_id, answer.data, answer.meta)
    return KeptAnswer(answer.status, answer.fields, body)


def _remains(status: int, why: str) -> Answer:
    if status >= 400:
        raise AnswerGone(f"{why} Its status was {status}.", headers=[("Idempotency-Replayed", "true")])
    if status == 204:
        return Answer(status, REPLAYED)
    return data_answer(status, None, meta=b'"gone":%b' % orjson.dumps(why), fields=REPLAYED)


def _settle(future: asyncio.Future[None], result: Error | None) -> None:
    if future.done():
        return
    if result is None:
        future.set_result(None)
    else:
        future.set_exception(result)


def _bad(why: str) -> BadRequest:
    return BadRequest(f"{NAME} {why}", errors=[Mistake(why, NAME)])
