"""Signing keys of the host: one Ed25519 key a file, named by its thumbprint.

A directory of mode 0700 holds ``<kid>.pem`` (PKCS #8, mode 0600). The newest file signs; all of them verify, so that
tokens outlive a rotation. A key that must not verify any more is a file to be deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity.durable import write_private


class SigningKey(NamedTuple):
    """What signs: the id that goes into the token's header, and the private key."""

    kid: str
    private: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Key:
    """What verifies. *made_ns* is the time of its file, nanoseconds since 1970."""

    kid: str
    public: Ed25519PublicKey
    made_ns: int


class Keyring:
    """The keys in *directory*. Private keys are read when something is signed and not kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[str, Key] = {}

    @classmethod
    def open(cls, directory: Path) -> Keyring:
        """Return the keys in *directory*, making it and a first key when there is none.

        Of several that start at once one makes the key. Raises SettingsError for a key that others can read or that
        is none, StoreUnavailable when the directory cannot be used.
        """
        keyring = cls(directory)
        with _told(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_writable(directory)
            with _locked(directory):
                for unfinished in directory.glob(".*.new"):  # by a process that was killed
                    unfinished.unlink()
                keyring._read()
                if not keyring._keys:
                    keyring._make()
        return keyring

    @property
    def keys(self) -> Mapping[str, Key]:
        """All keys by kid."""
        return MappingProxyType(self._keys)

    @property
    def current(self) -> SigningKey:
        """The newest key, read from its file. Raises SettingsError and StoreUnavailable."""
        with _told(self._directory):
            self._read()
            if not self._keys:
                raise StoreUnavailable(f"there is no signing key in {self._directory}")
            kid = max(self._keys.values(), key=_age).kid
            return SigningKey(kid, _load(self._directory / f"{kid}.pem")[0])

    def public(self, kid: str) -> Ed25519PublicKey | None:
        """Return the public key of *kid*, or None."""
        key = self._keys.get(kid)
        return None if key is None else key.public

    def refresh(self) -> bool:
        """Look for key files that came or went, and return whether any did.

        After an error (SettingsError, StoreUnavailable) the keys are what they were.
        """
        with _told(self._directory):
            return self._read()

    def rotate(self) -> str:
        """Make a key that signs from now on and return its kid. Raises SettingsError and StoreUnavailable."""
        with _told(self._directory), _locked(self._directory):
            self._read()
            return self._make()

    def _make(self) -> str:
        private = Ed25519PrivateKey.generate()
        kid = thumbprint(private.public_key())
        path = self._directory / f"{kid}.pem"
        newest = max((key.made_ns for key in self._keys.values()), default=0)
        write_private(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        if path.stat().st_mtime_ns <= newest:  # the clock went back: the new key is the newest all the same
            os.utime(path, ns=(time.time_ns(), newest + 1))
        self._read()
        return kid

    def _read(self) -> bool:
        found: dict[str, Key] = {}
        for path in sorted(self._directory.glob("[!.]*.pem")):
            known = self._keys.get(path.stem)
            found[path.stem] = known or _public_key(path)
        changed = found.keys() != self._keys.keys()
        self._keys = found
        return changed


def thumbprint(public: Ed25519PublicKey) -> str:
    """Return the RFC 7638 thumbprint (SHA-256, base64url) of *public*; its members are those of RFC 8037, section 2."""
    x = _base64url(public.public_bytes_raw())
    return _base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _age(key: Key) -> tuple[int, str]:
    return key.made_ns, key.kid


def _public_key(path: Path) -> Key:
    private, made_ns = _load(path)
    public = private.public_key()
    if thumbprint(public) != path.stem:
        raise SettingsError(f"{path} holds the key {thumbprint(public)}; a key file bears the name of its key")
    return Key(path.stem, public, made_ns)


def _load(path: Path) -> tuple[Ed25519PrivateKey, int]:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise SettingsError(
                f"{path} is a private key that others can read (mode {mode:04o}); run: chmod 600 {path}"
            )
        data = file.read()
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SettingsError(f"{path} is not a private key in PEM without a password") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"{path} is a private key of another kind than Ed25519")
    return private, status.st_mtime_ns


def _refuse_writable(directory: Path) -> None:
    if directory.stat().st_mode & 0o022:
        raise SettingsError(f"others may put keys into {directory}; run: chmod 700 {directory}")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes out for the block; the kernel lets them in when this one is killed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(f"the signing keys in {directory} cannot be used: {exc.strerror}") from exc
