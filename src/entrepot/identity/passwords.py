"""Passwords of operators: kept as argon2id (RFC 9106), and looked at a few at a time.

Each look takes some tens of milliseconds and 64 MiB, which is the point of it: so the number that run at once is bound,
and whoever sends many fills neither memory nor processors.
"""

from __future__ import annotations

import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from entrepot.errors import BadRequest, TooManyRequests

MIN_CHARS = 12
MAX_CHARS = 256
AT_ONCE = 2
PATIENCE_S = 5.0


class Passwords:
    """Makes digests of passwords and compares with them. For several threads. *hasher* is a test's own."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._places = BoundedSemaphore(AT_ONCE)
        self._nobodys = _of_nobody(self._hasher)

    def digest(self, password: str) -> str:
        """Return what is kept of *password*. Raises BadRequest for one that is too short or too long."""
        text = _normal(password)
        if not MIN_CHARS <= len(text) <= MAX_CHARS:
            raise BadRequest(f"a password has {MIN_CHARS} to {MAX_CHARS} characters, not {len(text)}")
        with self._place():
            return self._hasher.hash(text)

    def is_right(self, digest: str | None, password: str) -> bool:
        """Tell whether *digest* is that of *password*; None, of nobody, takes as long and never is.

        Raises BadRequest for what cannot be a password, TooManyRequests when others are looked at for too long.
        """
        text = _normal(password)
        if len(text) > MAX_CHARS:
            raise BadRequest(f"a password has at most {MAX_CHARS} characters, not {len(text)}")
        with self._place():
            try:
                return self._hasher.verify(digest or self._nobodys, text)
            except (VerificationError, InvalidHashError):
                return False

    def is_outdated(self, digest: str) -> bool:
        """Tell whether *digest* was made with other costs than new ones are."""
        return self._hasher.check_needs_rehash(digest)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=PATIENCE_S):
            raise TooManyRequests("too many sign in at once", retry_after_s=PATIENCE_S)
        try:
            yield
        finally:
            self._places.release()


def _normal(password: str) -> str:
    # One keyboard writes an accent as one character, another as two (NIST SP 800-63B, section 3.1.1.2).
    text = unicodedata.normalize("NFKC", password)
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise BadRequest("a password is text in UTF-8") from exc
    return text


def _of_nobody(hasher: PasswordHasher) -> str:
    """Return a digest that no password has, and that takes as long to look at as those of *hasher*."""
    salt, digest = (
        b64encode(secrets.token_bytes(count)).decode().rstrip("=") for count in (hasher.salt_len, hasher.hash_len)
    )
    costs = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"
