"""Entity tags (RFC 9110, section 8.8.3)."""

from __future__ import annotations

from hashlib import blake2b


def strong_etag(representation: bytes) -> str:
    """Return a strong entity tag, quotes included: a 120-bit hash of the whole *representation*."""
    return f'"{blake2b(representation, digest_size=15).hexdigest()}"'
