"""What a row of the table says, and what its handler is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from entrepot.console.access import Caller
from entrepot.console.console import Console
from entrepot.errors import NotSignedIn
from entrepot.identity.roles import Role
from entrepot.store.audit import Actor

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: at most *limit* items from *offset* on. A handler returns one more if there is one."""

    offset: int
    limit: int

    @property
    def wanted(self) -> int:
        """How many items to look for: one more tells of a next page."""
        return self.limit + 1

    def of(self, items: list[Any]) -> list[Any]:
        """Return the page of *items*, which are all."""
        return items[self.offset : self.offset + self.wanted]


@dataclass(frozen=True, slots=True)
class Call:
    """One request, checked: its *body* and *query* fit the schemas of the row, *names* are those of the path.

    *caller* is None where nobody need be signed in; *actor* is who the audit log names.
    """

    console: Console
    actor: Actor
    caller: Caller | None
    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Mapping[str, Any]
    page: Page

    @property
    def signed_in(self) -> Caller:
        """Who is signed in."""
        if self.caller is None:
            raise NotSignedIn
        return self.caller


Handler = Callable[[Call], Any]
"""Returns the data of the answer, or ``(data, status, headers)``, or a ready response; raises what ``errors`` has."""


@dataclass(frozen=True, slots=True)
class Row:
    """One method of one path: who may, what it takes, what it answers, and what else it may answer.

    *least* is the role that it needs, None: nobody need be signed in. *answer* is the schema of ``data`` (of one item,
    where it answers *pages*), None: there is no body. *refusals* are statuses that only this one has.
    """

    method: Method
    path: str
    summary: str
    least: Role | None
    handler: Handler
    answer: Schema | None = None
    body: Schema | None = None
    query: Mapping[str, Schema] = field(default_factory=dict)
    status: int = 200
    refusals: tuple[int, ...] = ()
    pages: bool = False
    is_raw: bool = False
