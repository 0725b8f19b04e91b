"""A request to an upstream, and who gets its answer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from entrepot.wire.client import ClientConnection

AnswerFields = list[tuple[bytes, bytes]]
Streaming = Literal["chunked", "length"]


class Fault(Enum):
    """What kept an answer from coming, or from coming whole."""

    REFUSED = "refused"
    """There was no connection, so nothing was sent."""
    RESET = "reset"
    """The connection ended before the answer did."""
    TIMEOUT_CONNECT = "timeout-connect"
    """There was no connection in time, so nothing was sent."""
    TIMEOUT = "timeout"
    """The answer was not complete at the deadline."""
    GARBAGE = "garbage"
    """What came is not HTTP/1.x, or ambiguous (two lengths, a length beside a transfer coding)."""
    TOO_LARGE = "too-large"
    """The body is longer than the caller allowed."""
    UNREAD = "unread"
    """The call paused the answer for longer than the pool allows."""
    CLOSED = "closed"
    """The pool was closed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no (whole) answer; *sent* when the upstream may have seen the request; *text* is for a log.

    *owed*: a streamed body had not come to its end, so what went wrong may be the sender's doing.
    """

    fault: Fault
    sent: bool
    text: str
    owed: bool = False


class Answer(NamedTuple):
    """The head of an answer, without what differs from one to the next: its date and its length.

    Names in *fields* are in lower case, duplicates stand. Answers with the same head share it, and with it *notes*:
    what was made of it, by a key of whoever noted it.
    """

    status: int
    fields: AnswerFields
    notes: dict[Any, Any]


class Call(Protocol):
    """A request to an upstream, and who gets its answer.

    *data* is sent as it stands. *head_only*: the method is HEAD. *retry*: may be sent once more, on a fresh connection,
    when a kept connection turns out closed before a byte of the answer; for idempotent methods without a body.
    *deadline*: when the answer must be complete, as ``clock.now``; the connection may move it. *max_body_bytes*: a
    longer answer is a failure.

    *streaming*: the body follows by ``upstream.write_body`` and ``end_body``, framed as the head says. Then
    ``Patience.body_s`` counts, and *deadline* must be ``inf``.

    *upstream* is the connection (another one after a retry) from ``Pool.send`` until the answer is complete, has failed
    or was cancelled: None from before the last ``on_`` call on, because the connection may then serve someone else.
    """

    data: bytes
    head_only: bool
    retry: bool
    deadline: float
    streaming: Streaming | None
    max_body_bytes: int | None
    upstream: ClientConnection | None

    def on_answer(self, answer: Answer, body: bytes, complete: bool, length: int | None) -> None:
        """Take the head, once, with what came of the body in the same read.

        *length* is what Content-Length says, also for HEAD.
        """

    def on_data(self, chunk: bytes, complete: bool) -> None:
        """Take more of the body; *complete* with the last part, which may be empty."""

    def on_failure(self, failure: Failure) -> None:
        """There is no answer, or no more of it; nothing else follows."""

    def on_pause_upstream(self) -> None:
        """Stop producing the request's body: the upstream does not read it."""

    def on_resume_upstream(self) -> None:
        """Go on producing: the upstream reads again."""
