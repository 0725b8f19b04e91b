"""The public keys as others fetch them: a JSON Web Key Set (RFC 7517)."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass

import orjson

from entrepot.identity.keys import Key, Keyring

# Who keeps the document meets a new kid at most this long before it can know it, and fetches it again then.
MAX_AGE_S = 300


@dataclass(frozen=True, slots=True)
class Jwks:
    """The *document*, and how long whoever fetched it may keep it."""

    document: bytes
    max_age_s: int = MAX_AGE_S


def jwks(keyring: Keyring) -> Jwks:
    """Return the keys of *keyring*, the one that signs first, with their public members alone.

    Its file is looked at anew. Raises SettingsError and StoreUnavailable.
    """
    keyring.refresh()
    keys = sorted(keyring.keys.values(), key=lambda key: key.made_at, reverse=True)
    return Jwks(orjson.dumps({"keys": [_jwk(key) for key in keys]}))


def _jwk(key: Key) -> dict[str, str]:
    x = urlsafe_b64encode(key.public.public_bytes_raw()).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key.kid, "x": x}
