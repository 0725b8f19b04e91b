"""Public keys as RFC 7517 writes them, each with the one algorithm that it verifies.

Shared secrets (``oct``) are none: who verifies with such a key could sign with it too.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from entrepot.errors import BadRequest

Check = Callable[[bytes, bytes], None]
MIN_RSA_BITS = 2048
_HASHES: dict[str, HashAlgorithm] = {"256": SHA256(), "384": SHA384(), "512": SHA512()}
# RFC 7518, section 3.4: an algorithm means one curve.
_CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and its *algorithm*. *check* takes signature and signed bytes and raises InvalidSignature."""

    algorithm: str
    check: Check


def ed25519_key(public: ed25519.Ed25519PublicKey) -> VerificationKey:
    """Return *public* as a key for EdDSA (RFC 8037)."""
    return VerificationKey("EdDSA", public.verify)


def verification_key(jwk: Mapping[str, Any]) -> VerificationKey:
    """Return the key that *jwk* describes. Raises BadRequest for one that is incomplete or not for verifying.

    ``alg`` must be there: a key without it could be used for more than one algorithm.
    """
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise BadRequest("the key is not for verifying (use, key_ops)")
    algorithm = jwk.get("alg")
    try:
        if algorithm == "EdDSA" and (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519"):
            return ed25519_key(ed25519.Ed25519PublicKey.from_public_bytes(_bytes(jwk["x"])))
        if algorithm in _CURVES and (jwk["kty"], jwk["crv"]) == ("EC", _CURVES[algorithm][0]):
            return _elliptic(jwk, algorithm)
        if (
            isinstance(algorithm, str)
            and algorithm[:2] in {"RS", "PS"}
            and algorithm[2:] in _HASHES
            and jwk["kty"] == "RSA"
        ):
            return _rsa(jwk, algorithm)
    except (KeyError, TypeError, ValueError) as exc:
        raise BadRequest("the key is incomplete or damaged") from exc
    raise BadRequest("the key has an algorithm that is not taken, or none (alg)")


def _elliptic(jwk: Mapping[str, Any], algorithm: str) -> VerificationKey:
    curve = _CURVES[algorithm][1]
    public = ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve).public_key()
    size, hashed = (curve.key_size + 7) // 8, ec.ECDSA(_HASHES[algorithm[2:]])

    def check(signature: bytes, signed: bytes) -> None:
        # RFC 7518, section 3.4: both numbers in full length; not the ASN.1 that the library takes.
        if len(signature) != 2 * size:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:size]), int.from_bytes(signature[size:])
        public.verify(encode_dss_signature(r, s), signed, hashed)

    return VerificationKey(algorithm, check)


def _rsa(jwk: Mapping[str, Any], algorithm: str) -> VerificationKey:
    public = rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if public.key_size < MIN_RSA_BITS:
        raise ValueError(f"an RSA key has at least {MIN_RSA_BITS} bits")
    hashed = _HASHES[algorithm[2:]]
    # RFC 7518, section 3.5: the salt is as long as the hash.
    filling = padding.PSS(padding.MGF1(hashed), hashed.digest_size) if algorithm[0] == "P" else padding.PKCS1v15()

    def check(signature: bytes, signed: bytes) -> None:
        public.verify(signature, signed, filling, hashed)

    return VerificationKey(algorithm, check)


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
