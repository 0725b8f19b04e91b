"""Tokens for those who ask for them: each is written down before anybody has it.

Not for the data plane: this imports the ORM.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert

from entrepot.errors import CallerDisabled, Conflict
from entrepot.identity.keys import Keyring
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocations
from entrepot.identity.tokens import IssuedToken, issue
from entrepot.store import identity as tables

# A token of the second in which its client was revoked would be refused: its issue waits for the next one.
LONGEST_WAIT_S = 1.5

Row = dict[str, Any]
Keep = Callable[[Row], object]
"""Writes a row of the tokens down for good. Raises StoreUnavailable."""


class Issuing:
    """Issues tokens of *issuer* for *audience*, each written down by *keep*. For several threads."""

    def __init__(
        self,
        keyring: Keyring,
        revocations: Revocations,
        keep: Keep,
        *,
        issuer: str,
        audience: str,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._keyring = keyring
        self._revocations = revocations
        self._keep = keep
        self._issuer = issuer
        self._audience = audience
        self._clock = clock
        self._sleep = sleep

    def issue(self, client: Client, *, scopes: Collection[str] | None, expires_s: float, by: str) -> IssuedToken:
        """Return a token of *client* for *scopes* (None: all that it has) that is good for *expires_s*.

        Takes up to a second when the client was revoked in this second. Raises BadRequest as ``tokens.issue`` does,
        CallerDisabled, StoreUnavailable when the token cannot be written down.
        """
        self._revocations.refresh()
        self._check_enabled(client)
        self._wait_for_cutoff(client)
        token = issue(
            self._keyring,
            client=client,
            scopes=client.scopes if scopes is None else scopes,
            issuer=self._issuer,
            audience=self._audience,
            expires_s=expires_s,
            now=self._clock(),
        )
        self._keep(_row(token, client, by))
        return token

    def _check_enabled(self, client: Client) -> None:
        disabled = self._revocations.disabled(client.name, client.partner)
        if disabled is not None:
            name = client.partner if disabled == "partner" else client.name
            raise CallerDisabled(f"the {disabled} {name!r} is disabled")

    def _wait_for_cutoff(self, client: Client) -> None:
        wait_s = self._revocations.cutoff(client.name, client.partner) + 1 - self._clock()
        if wait_s > LONGEST_WAIT_S:
            raise Conflict(f"{client.name!r} is revoked for {wait_s:.0f} s to come: the clock of the host went back")
        if wait_s > 0:
            self._sleep(wait_s)


def insert_tokens(connection: Connection, rows: Sequence[Row], _now: float) -> Sequence[None]:
    """Write *rows* down in the transaction of *connection*: what a group commit runs for many threads at once."""
    connection.execute(insert(tables.Token), rows)
    return [None] * len(rows)


def _row(token: IssuedToken, client: Client, by: str) -> Row:
    return {
        "jti": token.jti,
        "client": client.name,
        "partner": client.partner,
        "scopes": " ".join(sorted(token.scopes)),
        "issued_at": datetime.fromtimestamp(token.issued_at, UTC),
        "expires_at": datetime.fromtimestamp(token.expires_at, UTC),
        "kid": token.kid,
        "issued_by": by,
    }
