"""JSON-RPC, the protocol of Odoo 8 to 18 (``POST /jsonrpc``; Odoo's ``odoo/http.py`` and ``odoo/service/``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from itertools import count

import orjson

from entrepot.chassis.errors import Error
from entrepot.connectors.base import HttpReply, Json, Post, Upstream, Withdrawn
from entrepot.connectors.faults import unsent
from entrepot.connectors.fence import note_look, raise_fence
from entrepot.connectors.odoo.refusals import Attempts, OwnRefusals, Refusals
from entrepot.connectors.odoo.wire import OdooError
from entrepot.connectors.secrets import read_secret
from entrepot.errors import (
    InvalidBody,
    SettingsError,
    UpstreamBadAnswer,
    UpstreamMisconfigured,
    UpstreamTimeout,
    UpstreamUnavailable,
)

PATH = "/jsonrpc"
SETTLED_S = 0.5
_MISPLACED = frozenset({301, 302, 303, 307, 308, 401, 403, 404})


@dataclass(frozen=True, slots=True)
class Account:
    """The gateway's own account, logged in: JSON-RPC proves it with user id and secret at every call.

    *since* is when its login began (``time.monotonic``).
    """

    uid: int
    secret: str
    since: float


class JsonRpcWire:
    """Odoo over JSON-RPC. Logs in when first needed, keeps the user id, and logs in again when Odoo refuses it.

    Callers that need the login at the same time share one. An account that Odoo refuses is used no more, by no process
    that shares *refusals*, and ``Attempts`` says when a refused login is tried again.
    """

    def __init__(self, upstream: Upstream, post: Post, *, refusals: Refusals | None = None) -> None:
        self._upstream = upstream
        self._post = post
        self._numbers = count(1)
        self._account: Account | None = None
        self._renewal: asyncio.Task[Account] | None = None
        self._refusals = OwnRefusals() if refusals is None else refusals
        self._attempts = Attempts(self._refusals, self._secret)
        self._is_first = False
        self._login_sent = False

    async def execute(
        self,
        model: str,
        method: str,
        args: Sequence[Json],
        kwargs: Mapping[str, Json],
        *,
        deadline: float,
        operation_id: str = "",
    ) -> Json:
        """Call *method* of *model*. Raises OdooError for an exception inside Odoo."""
        account = self._usable() or await self._renewed(None, deadline)
        work = (model, method, args, kwargs)
        try:
            return await self._execute(account, work, deadline, operation_id)
        except Withdrawn:
            if self._usable() is account:
                raise
        except OdooError as error:
            if not _refuses(error, account.uid):
                raise
            self._drop(account)
        # Odoo looks at the account before it does anything, so nothing has happened and the call may go again.
        account = await self._renewed(account, deadline)
        return await self._execute(account, work, deadline, operation_id)

    async def login(self, *, deadline: float) -> int:
        """Log in anew and return the user id. Raises UpstreamMisconfigured when Odoo refuses the account."""
        return (await self._renewed(self._account, deadline)).uid

    async def version(self, *, deadline: float) -> Mapping[str, Json]:
        """Return ``common.version``: answered only when Odoo and its database are up."""
        answer = await self._ask("common", "version", [], deadline, "")
        if not isinstance(answer, dict):
            raise UpstreamBadAnswer(f"{self._upstream.name} does not say which version it is")
        return answer

    async def _execute(
        self,
        account: Account,
        work: tuple[str, str, Sequence[Json], Mapping[str, Json]],
        deadline: float,
        operation_id: str,
    ) -> Json:
        args = [self._upstream.database, account.uid, account.secret, *work]

        def is_void() -> bool:
            # What waits for a place must not go out with an account that was refused meanwhile: each one counts.
            return account.since < self._refusals.dropped()

        return await self._ask("object", "execute_kw", args, deadline, operation_id, is_void)

    def _usable(self) -> Account | None:
        account = self._account
        return None if account is None or account.since < self._refusals.dropped() else account

    def _drop(self, account: Account) -> None:
        if self._account is account:
            self._account = None
        if self._refusals.dropped() <= account.since:
            self._is_first = True
            self._refusals.drop(time.monotonic())

    async def _renewed(self, stale: Account | None, deadline: float) -> Account:
        present = self._usable()
        if present is not None and present is not stale:
            return present
        if self._renewal is None:
            # All callers share it: the fence of one, which stands in its context, is none before this.
            self._renewal = asyncio.get_running_loop().create_task(self._log_in(), context=Context())
            self._renewal.add_done_callback(self._renewal_ended)
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await asyncio.shield(self._renewal)
        except TimeoutError as error:
            note_look()
            raise unsent(UpstreamTimeout(f"{self._upstream.name} did not answer the login in time")) from error
        except Error as error:
            if self._login_sent:
                note_look()
            raise unsent(error) from error.__cause__

    def _renewal_ended(self, renewal: asyncio.Task[Account]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()

    async def _log_in(self) -> Account:
        self._login_sent = False
        raise_fence(self._login_goes_out)
        await self._let_the_first_try()
        now = time.monotonic()
        if not self._attempts.may_try(now):
            raise self._refusal()
        secret = self._secret()
        uid = await self._authenticated(secret)
        # A bad login is answered with the result False (odoo/service/common.py, exp_authenticate).
        if not isinstance(uid, int) or isinstance(uid, bool):
            self._attempts.refused(secret, time.monotonic())
            raise self._refusal()
        self._attempts.accepted()
        self._account = Account(uid, secret, now)
        return self._account

    def _login_goes_out(self) -> bool:
        self._login_sent = True
        return False

    async def _let_the_first_try(self) -> None:
        """Wait a little for the login of the process that was refused first: if that fails too, ours would as well."""
        is_first, self._is_first = self._is_first, False
        if not is_first and not self._refusals.until():
            patience_s = min(SETTLED_S, self._upstream.timeout_s / 4)
            await asyncio.sleep(max(0.0, self._refusals.dropped() + patience_s - time.monotonic()))

    async def _authenticated(self, secret: str) -> Json:
        upstream = self._upstream
        args = [upstream.database, upstream.login, secret, {}]
        try:
            return await self._ask("common", "authenticate", args, time.monotonic() + upstream.timeout_s, "")
        except OdooError as error:
            if error.name.endswith("AccessDenied"):
                return False
            self._attempts.unanswered(time.monotonic())
            raise
        except Error:
            self._attempts.unanswered(time.monotonic())
            raise

    def _secret(self) -> str:
        try:
            return read_secret(self._upstream.secret)
        except SettingsError as error:
            raise UpstreamMisconfigured(
                f"the account at {self._upstream.name} has no secret that can be read"
            ) from error

    def _refusal(self) -> Error:
        return UpstreamMisconfigured(f"{self._upstream.name} refuses the login of the gateway's account")

    async def _ask(
        self,
        service: str,
        method: str,
        args: Sequence[Json],
        deadline: float,
        operation_id: str,
        is_void: Callable[[], bool] | None = None,
    ) -> Json:
        number = next(self._numbers)
        params = {"service": service, "method": method, "args": args}
        try:
            body = orjson.dumps({"jsonrpc": "2.0", "method": "call", "id": number, "params": params})
        except TypeError as error:
            raise InvalidBody("a value cannot be written as JSON") from error
        headers = [(b"content-type", b"application/json"), (b"accept", b"application/json")]
        if operation_id:
            headers.append((b"x-request-id", operation_id.encode("ascii")))
        reply = await self._post(PATH, body, headers, deadline=deadline, is_void=is_void)
        return result_of(reply, number, self._upstream.name)


def result_of(reply: HttpReply, number: int, upstream: str) -> Json:
    """Return the result in *reply* to request *number*; a method that returns None gives no result, which is None.

    Raises OdooError for an exception inside Odoo, else UpstreamUnavailable (5xx: its database is away), UpstreamTimeout
    (504), UpstreamMisconfigured (nothing answers there) or UpstreamBadAnswer.
    """
    if reply.status != 200:
        raise _status_error(reply.status, upstream)
    try:
        answer = orjson.loads(reply.body)
    except orjson.JSONDecodeError as error:
        raise UpstreamBadAnswer(f"{upstream} answered with something that is not JSON") from error
    if not isinstance(answer, dict):
        raise UpstreamBadAnswer(f"{upstream} answered with JSON that is no object")
    if "error" in answer:
        raise _odoo_error(answer["error"], upstream)
    if answer.get("id") != number or isinstance(answer.get("id"), bool):
        raise UpstreamBadAnswer(f"{upstream} answered another request than the one it was sent")
    return answer.get("result")


def _status_error(status: int, upstream: str) -> Error:
    # A proxy before it has lost patience, and Odoo goes on working.
    if status == 504:
        return UpstreamTimeout(f"{upstream} answered {status}", retry_after_s=1.0)
    if status >= 500 or status == 429:
        return UpstreamUnavailable(f"{upstream} answered {status}", retry_after_s=1.0)
    if status in _MISPLACED:
        return UpstreamMisconfigured(f"{upstream} answered {status}: no Odoo is at that address")
    return UpstreamBadAnswer(f"{upstream} answered {status}")


def _odoo_error(error: Json, upstream: str) -> Exception:
    data = error.get("data") if isinstance(error, dict) else None
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        return UpstreamBadAnswer(f"{upstream} answered with an error that does not say what it is")
    if data["name"].startswith("werkzeug.exceptions.NotFound"):
        return UpstreamMisconfigured(f"{upstream} does not answer JSON-RPC at that address")
    return OdooError(data["name"], str(data.get("message") or ""))


def _refuses(error: OdooError, uid: int) -> bool:
    if error.name == "odoo.exceptions.AccessDenied":
        return True
    gone = f"res.users({uid},), User: {uid})"
    return error.name == "odoo.exceptions.MissingError" and gone in error.message
