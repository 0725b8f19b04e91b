"""Errors that are answers: what went wrong, as a status, a stable code and a list of mistakes.

``Error`` is the root that the service's own tree grows from (``entrepot.errors``). ``problem`` is the only place
that makes an HTTP body of an error (RFC 9457, ``application/problem+json``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

PROBLEM_TYPE = "application/problem+json"
Applied = Literal["no", "yes", "unknown"]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing wrong with the input: a sentence, and the JSON pointer (RFC 6901) or name of the place."""

    message: str
    path: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return ``{"message": …, "path": …}``, without ``path`` when the mistake is about the whole."""
        if self.path is None:
            return {"message": self.message}
        return {"message": self.message, "path": self.path}


class Error(Exception):
    """An error that a caller is told of; subclasses set the class attributes.

    *errors* are the single mistakes; *retry_after_s* becomes ``Retry-After``; *headers* are added to the answer.
    The message is for the caller: it says what, which and how much, and never holds a secret. *applied* says whether
    the change that was asked for has been made all the same; None where nobody said so.
    """

    code: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The gateway made a mistake"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        errors: Sequence[Mistake] = (),
        retry_after_s: float | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message or self.title)
        self.applied: Applied | None = None
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        self.headers = tuple(headers)


def problem(error: Error, operation_id: str) -> dict[str, Any]:
    """Return the RFC 9457 document of *error*; ``type`` is stable: ``urn:entrepot:problem:<code>``."""
    return {
        "type": f"urn:entrepot:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": str(error),
        "code": error.code,
        "meta": {"operation_id": operation_id},
        "errors": [mistake.as_json() for mistake in error.errors],
    }
