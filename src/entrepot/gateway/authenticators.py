"""The ways in which callers say who they are; each leads to the same ``Claims``, and these to one principal.

A new way (signed requests, mutual TLS, tokens of another issuer) is one class here and one line in ``authenticators``.
"""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Protocol

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity.admission import check_standing
from entrepot.identity.api_keys import claims_of
from entrepot.identity.tokens import Claims, Verifier
from entrepot.wire.framing import Fields

if TYPE_CHECKING:
    from entrepot.gateway.exchange import Exchange
    from entrepot.gateway.gateway import Gateway


class Authenticator(Protocol):
    """One way to say who calls."""

    def credential(self, fields: Fields) -> bytes | None:
        """Return what *fields* show of this kind, None when they show nothing of it.

        It must follow from *fields* alone: it is remembered with them.
        """

    def claims(self, credential: bytes, exchange: Exchange) -> Claims:
        """Return whom *credential* of *exchange* stands for, and what it allows.

        Raises InvalidToken, and TooManyRequests when its source was wrong too often.
        """


class BearerTokens:
    """``Authorization: Bearer …``: our own tokens (RFC 6750). One seen before costs a look-up, not a signature."""

    def __init__(self, gateway: Gateway) -> None:
        self._verifier: Verifier = gateway.verifier
        self._clock = gateway.clock

    def credential(self, fields: Fields) -> bytes | None:
        """Return the token."""
        return _of_scheme(fields, b"bearer ")

    def claims(self, credential: bytes, exchange: Exchange) -> Claims:
        """Return what the token says."""
        claims = self._verifier.remembered.get(credential)
        if claims is None or claims.expires_at <= self._clock.wall:
            # The coarse clock may be a quarter of a second late: a fresh token would not be valid yet.
            return self._verifier.claims(credential, time(), exchange.source)
        return claims


class KnownApiKeys:
    """``Authorization: ApiKey …``: keys of clients that the catalog lets use them. Each check costs a hash."""

    def __init__(self, gateway: Gateway) -> None:
        self._api_keys = gateway.api_keys
        self._revocations = gateway.revocations

    def credential(self, fields: Fields) -> bytes | None:
        """Return the key."""
        return _of_scheme(fields, b"apikey ")

    def claims(self, credential: bytes, exchange: Exchange) -> Claims:
        """Return what the client of the key may do. Raises StoreUnavailable when keys cannot be checked."""
        now = time()
        try:
            found = self._api_keys.find(credential, now)
        except SettingsError as error:
            raise StoreUnavailable("API keys cannot be checked now") from error
        principal = exchange.gateway.table.principals[found.client]
        claims = claims_of(found, principal.client)
        check_standing(claims, self._revocations)
        self._api_keys.note_use(found, now)
        return claims


def authenticators(gateway: Gateway) -> tuple[Authenticator, ...]:
    """Return the ways that *gateway* knows, in the order in which they are looked for."""
    return BearerTokens(gateway), KnownApiKeys(gateway)


def _of_scheme(fields: Fields, scheme: bytes) -> bytes | None:
    header = fields.get(b"authorization", b"")
    if header[: len(scheme)].lower() != scheme:
        return None
    return header[len(scheme) :].strip()
