"""Access tokens (RFC 9068): issued to clients, verified on the data plane.

A token that was verified once is remembered, so that the usual request costs one look into a dict::

    claims = verifier.remembered.get(token)
    if claims is None or now >= claims.expires_at:
        claims = verifier.claims(token, now, source)

Times are seconds since 1970.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from entrepot.errors import BadRequest, InvalidToken, SettingsError, StoreUnavailable
from entrepot.identity import jws
from entrepot.identity.admission import check_standing
from entrepot.identity.budget import FailureBudget
from entrepot.identity.claims import Claims, claims_of, time_of
from entrepot.identity.jwk import ed25519_key
from entrepot.identity.keys import Keyring
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocations

__all__ = ["Claims", "IssuedToken", "Verifier", "issue", "read"]

log = logging.getLogger(__name__)

LEEWAY_S = 1.0
# How often an unknown kid makes the verifier look for new keys; a look costs 50 µs.
KEYS_EVERY_S = 0.1
MAX_LIFETIME_S = 10 * 366 * 86_400
REMEMBERED_BYTES = 32 * 1_048_576
_TYPES = frozenset({"at+jwt", "application/at+jwt"})
# Keys that a token brings along, and extensions that would have to be understood (RFC 8725, sections 3.1 and 3.10).
_REFUSED = frozenset({"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"})
_ENTRY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A fresh token; *token* is shown once and kept nowhere."""

    token: str
    jti: str
    issued_at: int
    expires_at: int
    kid: str
    scopes: frozenset[str]


def issue(
    keyring: Keyring,
    *,
    client: Client,
    scopes: Collection[str],
    issuer: str,
    audience: str,
    expires_s: float,
    now: float,
) -> IssuedToken:
    """Return a token of *client* for *scopes* that is good for *expires_s*, 1 second to ten years.

    Raises BadRequest for a scope that the client does not have and for other lifetimes.
    """
    if not 1 <= expires_s <= MAX_LIFETIME_S:
        raise BadRequest(f"a token lives for 1 to {MAX_LIFETIME_S} seconds, not {expires_s:g}")
    if foreign := sorted(set(scopes) - client.scopes):
        owned = ", ".join(sorted(client.scopes)) or "none"
        raise BadRequest(f"the client {client.name!r} does not have the scope {foreign[0]!r}; it has: {owned}")
    key, issued_at, jti = keyring.current, int(now), str(uuid4())
    expires_at = issued_at + int(expires_s)
    payload = {
        "iss": issuer,
        "aud": audience,
        "sub": client.name,
        "client_id": client.name,
        "partner": client.partner,
        "scope": " ".join(sorted(scopes)),
        "iat": issued_at,
        "exp": expires_at,
        "jti": jti,
    }
    token = jws.sign(key, {"typ": "at+jwt"}, payload).decode()
    return IssuedToken(token, jti, issued_at, expires_at, key.kid, frozenset(scopes))


class Verifier:
    """Says whose a token is. Made once a worker; used by one thread.

    *leeway_s* is how far the issuer's clock may be off, both ways. *remembered* maps tokens that were verified to
    their claims, at most *remembered_bytes* of them; ``refresh`` takes those out that were revoked. *refused* counts
    wrong signatures.
    """

    def __init__(
        self,
        keyring: Keyring,
        revocations: Revocations,
        *,
        issuer: str,
        audience: str,
        leeway_s: float = LEEWAY_S,
        failures: FailureBudget | None = None,
        remembered_bytes: int = REMEMBERED_BYTES,
    ) -> None:
        self.remembered: dict[bytes, Claims] = {}
        self._by_jti: dict[str, bytes] = {}
        self.refused = 0
        self._keyring = keyring
        self._kids = keyring.keys.keys()
        self._revocations = revocations
        self._version = revocations.version
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._failures = failures or FailureBudget()
        self._room_bytes = remembered_bytes
        self._to_prune: list[bytes] = []
        self._keys_read_at = float("-inf")

    def claims(self, token: bytes, now: float, source: str = "") -> Claims:
        """Return what *token*, which came from the address *source*, says.

        Raises InvalidToken, whatever is wrong with it, and TooManyRequests when the signature is wrong and *source*
        has sent too many such; a good one is let in as long as ``FailureBudget`` has checks left for the source. What
        is cheap to check is checked before the signature, which costs 0.2 ms.
        """
        remembered = self.remembered.get(token)
        if remembered is not None and now < remembered.expires_at + self._leeway_s:
            return remembered
        parts = jws.parse(token)
        key = self._key(parts.header, now)
        claims = claims_of(parts)
        self._check_addressee(parts.payload)
        self._check_times(parts.payload, now)
        check_standing(claims, self._revocations)
        self._failures.check(source, now)
        try:
            jws.verify(parts, ed25519_key(key))
        except InvalidToken:
            self.refused += 1
            self._failures.failed(source)
            raise
        self._remember(token, claims)
        return claims

    def refresh(self) -> None:
        """Take note of revocations and of keys that came or went, and forget the tokens that they end.

        Cheap when nothing has changed, and when single tokens were revoked, whatever their number; to be called several
        times a second. Raises StoreUnavailable when the revocations cannot be read.
        """
        self._read_keys()
        # Whoever else looks, as for an unknown kid, takes the news from this look.
        kids = self._keyring.keys.keys()
        if kids != self._kids:
            self._kids = kids
            self._forget([token for token, claims in self.remembered.items() if claims.kid not in kids])
        self._revocations.refresh()
        if self._version != self._revocations.version:
            self._forget(self._refused())

    def _refused(self) -> list[bytes]:
        """Return the remembered tokens that are refused since the last look."""
        version = self._revocations.version
        changes = self._revocations.since(self._version)
        self._version = version
        if changes is None:
            return self._those(self._revocations.refusal)
        single = [self._by_jti[jti] for jti in set(changes) if jti in self._by_jti]
        if None not in changes:
            return single
        return list({*single, *self._those(self._revocations.refusal_of_owner)})

    def _those(self, refusal: Callable[[Claims], str]) -> list[bytes]:
        return [token for token, claims in self.remembered.items() if refusal(claims)]

    def prune(self, now: float, steps: int = 256) -> None:
        """Forget tokens that have expired; looks at *steps* of them, and at others the next time."""
        if not self._to_prune:
            self._to_prune = list(self.remembered)
        some, self._to_prune = self._to_prune[:steps], self._to_prune[steps:]
        for token in some:
            claims = self.remembered.get(token)
            if claims is not None and now >= claims.expires_at + self._leeway_s:
                self._forget([token])

    def _key(self, header: dict[str, Any], now: float) -> Ed25519PublicKey:
        if header.get("alg") != jws.ALGORITHM:
            raise InvalidToken("the token is signed with another algorithm than EdDSA")
        if not _REFUSED.isdisjoint(header):
            raise InvalidToken("the header of the token holds a parameter that is refused")
        # Media types know no upper and lower case (RFC 7515, section 4.1.9).
        typ = header.get("typ")
        if not isinstance(typ, str) or typ.lower() not in _TYPES:
            raise InvalidToken("the token is not an access token (typ)")
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise InvalidToken("the header of the token has no kid")
        key = self._keyring.public(kid)
        if key is None and abs(now - self._keys_read_at) >= KEYS_EVERY_S:
            self._keys_read_at = now
            self._read_keys()
            key = self._keyring.public(kid)
        if key is None:
            raise InvalidToken("the key of the token is not known (kid)")
        return key

    def _read_keys(self) -> None:
        try:
            self._keyring.refresh()
        except (SettingsError, StoreUnavailable) as exc:
            log.warning("signing keys cannot be read again, the known ones stay in use", extra={"reason": str(exc)})

    def _check_addressee(self, payload: dict[str, Any]) -> None:
        if payload.get("iss") != self._issuer:
            raise InvalidToken("the token is of another issuer (iss)")
        if payload.get("aud") != self._audience:
            raise InvalidToken("the token is for another audience (aud)")

    def _check_times(self, payload: dict[str, Any], now: float) -> None:
        if now >= time_of(payload, "exp") + self._leeway_s:
            raise InvalidToken("the token has expired")
        for name in ("iat", "nbf"):
            if (name in payload or name == "iat") and time_of(payload, name) > now + self._leeway_s:
                raise InvalidToken(f"the token is not valid yet ({name})")

    def _remember(self, token: bytes, claims: Claims) -> None:
        former = self._by_jti.get(claims.jti)
        if former is not None:
            self._forget([former])
        self._room_bytes -= len(token) + _ENTRY_BYTES
        self.remembered[token] = claims
        self._by_jti[claims.jti] = token
        while self._room_bytes < 0:
            self._forget([next(iter(self.remembered))])

    def _forget(self, tokens: Collection[bytes]) -> None:
        for token in tokens:
            del self._by_jti[self.remembered.pop(token).jti]
            self._room_bytes += len(token) + _ENTRY_BYTES


def read(keyring: Keyring, token: bytes) -> Claims:
    """Return what *token* says when one of our keys signed it, whether or not it is still good.

    Raises InvalidToken, and SettingsError or StoreUnavailable when a key may be its own and cannot be read.
    """
    parts = jws.parse(token)
    claims = claims_of(parts)
    key = keyring.public(claims.kid)
    if key is None:
        # Another process may have made it; whoever revokes must not take such a token for a foreign one.
        keyring.refresh()
        key = keyring.public(claims.kid)
    if key is None:
        raise InvalidToken("the key of the token is not known (kid)")
    jws.verify(parts, ed25519_key(key))
    return claims


def addressee(public_url: str) -> str:
    """Return issuer and audience of a gateway's tokens: what partners see, ``entrepot`` when that is not set."""
    return public_url.rstrip("/") or "entrepot"
