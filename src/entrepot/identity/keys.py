"""Signing keys of the host: one Ed25519 key a file, named by its thumbprint.

A directory of mode 0700 holds ``<kid>.key`` (JSON, mode 0600): the public key in the open, the private one sealed with
AES-256-GCM by a subkey of the master key, with the kid as associated data. Who verifies reads the open part and needs
no master key. The newest key signs; all of them verify, so that tokens outlive a rotation. A key that must not verify
any more is a file to be deleted. Times are seconds since 1970.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import stat
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import orjson
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity.durable import write_private
from entrepot.identity.master import MasterKey

log = logging.getLogger(__name__)

PURPOSE = "signing keys"
_NONCE_BYTES = 12


class SigningKey(NamedTuple):
    """What signs: the id that goes into the token's header, and the private key."""

    kid: str
    private: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Key:
    """What verifies, and the private key of it, *sealed*.

    *ends_at* is when the last token that it signed ends, as far as somebody has looked.
    """

    kid: str
    public: Ed25519PublicKey
    made_at: float
    sealed: bytes
    ends_at: float | None = None


Tell = Callable[[str, str], None]
"""Is told the kid of the former key and that of the new one."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """A key that is older than *after_s* does not sign: *tell* is told of old and new kid, and a new one is made first.

    When *tell* raises, no new one is made.
    """

    after_s: float = float("inf")
    tell: Tell | None = None


class Keyring:
    """The keys in *directory*. Without the *master* key it verifies and does no more. For several threads.

    The private key that has signed last is kept in memory.
    """

    def __init__(
        self,
        directory: Path,
        master: MasterKey | None = None,
        *,
        rotation: Rotation = Rotation(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory = directory
        self._master = master
        self._rotation = rotation
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._signing: SigningKey | None = None

    @classmethod
    def open(
        cls,
        directory: Path,
        master: MasterKey | None = None,
        *,
        rotation: Rotation = Rotation(),
        clock: Callable[[], float] = time.time,
    ) -> Keyring:
        """Return the keys in *directory*, which is made.

        With a *master* key, this and a first key are made when there are none, by one of several that start at once,
        and plain keys (``<kid>.pem``) of former releases are sealed. Raises SettingsError for a key that others can
        read or that is none, StoreUnavailable when the directory cannot be used.
        """
        keyring = cls(directory, master, rotation=rotation, clock=clock)
        with _told(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_writable(directory)
            if master is None:
                keyring._read()
                return keyring
            with _locked(directory):
                for unfinished in directory.glob(".*.new"):  # by a process that was killed
                    unfinished.unlink()
                keyring._begin(master)
        return keyring

    @property
    def keys(self) -> Mapping[str, Key]:
        """All keys by kid."""
        return MappingProxyType(self._keys)

    @property
    def current(self) -> SigningKey:
        """The key to sign with. Raises SettingsError, without the master key too, and StoreUnavailable."""
        with _told(self._directory):
            self._read()
        newest = self.newest
        if newest is not None and self.due_at(newest) <= self._clock():
            self.rotate_when_due()
            newest = self.newest
        if newest is None:
            raise StoreUnavailable(f"there is no signing key in {self._directory}")
        signing = self._signing
        if signing is None or signing.kid != newest.kid:
            signing = self._signing = SigningKey(newest.kid, self._unsealed(newest))
        return signing

    @property
    def newest(self) -> Key | None:
        """The key that signs, as far as this process has read; None when there is none."""
        return max(self._keys.values(), key=_age, default=None)

    def due_at(self, key: Key) -> float:
        """Return when *key* is too old to sign with."""
        return key.made_at + self._rotation.after_s

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

    def rotate(self, tell: Tell | None = None) -> str:
        """Make a key that signs from now on and return its kid. Raises SettingsError and StoreUnavailable.

        *tell* is told the kids, the former empty for none, before the new one signs; when it raises, none does.
        """
        with _told(self._directory), _locked(self._directory):
            self._read()
            return self._make(tell)

    def rotate_when_due(self) -> str | None:
        """Make a key when the newest is too old, and return its kid; None when another process did, or none is due.

        Raises SettingsError and StoreUnavailable.
        """
        with _told(self._directory), _locked(self._directory):
            self._read()
            former = self.newest
            if former is None or self.due_at(former) > self._clock():
                return None
            new = self._make(self._rotation.tell)
        log.info("signing key rotated by age", extra={"kid": new, "former": former.kid})
        return new

    def note_end(self, kid: str, ends_at: float) -> None:
        """Keep with the key *kid* that its last token ends at *ends_at*. Raises SettingsError and StoreUnavailable."""
        with _told(self._directory), _locked(self._directory):
            self._read(anew=True)
            if kid in self._keys:
                self._write(replace(self._keys[kid], ends_at=ends_at))

    def remove(self, kid: str) -> None:
        """Delete the key *kid*: its tokens are refused from now on. Raises StoreUnavailable; never removes the newest.

        Raises ValueError for the key that signs.
        """
        with _told(self._directory), _locked(self._directory):
            self._read()
            newest = self.newest
            if newest is not None and newest.kid == kid:
                raise ValueError("the key that signs cannot be removed")
            _path(self._directory, kid).unlink(missing_ok=True)
            self._read()

    def _begin(self, master: MasterKey) -> None:
        self._read()
        plain = sorted(self._directory.glob("[!.]*.pem"))
        if not self._keys and not master.is_known:
            master.make()
        for path in plain:
            private, made_at = _plain(path)
            self._write(self._sealed(private, made_at))
            path.unlink()
            log.warning("a plain signing key was sealed", extra={"kid": path.stem})
        if not self._keys:
            self._make()
        if master.marked is None:
            # What does not open the keys of the store is not its master key. Whoever signs is told so.
            with suppress(SettingsError):
                self._unsealed(max(self._keys.values(), key=_age))
                master.note()

    def _make(self, tell: Tell | None = None) -> str:
        newest = self.newest
        now = self._clock()
        # When the clock went back, the new key is the newest all the same.
        made_at = now if newest is None else max(now, newest.made_at + 0.001)
        key = self._sealed(Ed25519PrivateKey.generate(), made_at)
        if tell is not None:
            tell("" if newest is None else newest.kid, key.kid)
        self._write(key)
        return key.kid

    def _sealed(self, private: Ed25519PrivateKey, made_at: float) -> Key:
        public = private.public_key()
        kid, nonce = thumbprint(public), secrets.token_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher().encrypt(nonce, private.private_bytes_raw(), kid.encode())
        return Key(kid, public, made_at, sealed)

    def _unsealed(self, key: Key) -> Ed25519PrivateKey:
        nonce, sealed = key.sealed[:_NONCE_BYTES], key.sealed[_NONCE_BYTES:]
        try:
            return Ed25519PrivateKey.from_private_bytes(self._cipher().decrypt(nonce, sealed, key.kid.encode()))
        except (InvalidTag, ValueError) as exc:
            raise SettingsError(
                f"{_path(self._directory, key.kid)} was sealed with another master key than that of [keys] master"
            ) from exc

    def _cipher(self) -> AESGCM:
        if self._master is None:
            raise SettingsError("without the master key nothing can be signed here")
        return AESGCM(self._master.subkey(PURPOSE))

    def _write(self, key: Key) -> None:
        content = {
            "kid": key.kid,
            "x": _base64url(key.public.public_bytes_raw()),
            "made_at": key.made_at,
            "ends_at": key.ends_at,
            "sealed": _base64url(key.sealed),
        }
        write_private(_path(self._directory, key.kid), orjson.dumps(content))
        self._keys = {**self._keys, key.kid: key}

    def _read(self, *, anew: bool = False) -> bool:
        """Read the files that are new, or all of them *anew*; tell whether keys came or went."""
        found: dict[str, Key] = {}
        for path in sorted(self._directory.glob("[!.]*.key")):
            known = None if anew else self._keys.get(path.stem)
            with suppress(FileNotFoundError):  # removed since it was listed
                found[path.stem] = known or _key(path)
        changed = found.keys() != self._keys.keys()
        self._keys = found
        return changed


def thumbprint(public: Ed25519PublicKey) -> str:
    """Return the RFC 7638 thumbprint (SHA-256, base64url) of *public*; its members are those of RFC 8037, section 2."""
    x = _base64url(public.public_bytes_raw())
    return _base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def _path(directory: Path, kid: str) -> Path:
    return directory / f"{kid}.key"


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _age(key: Key) -> tuple[float, str]:
    return key.made_at, key.kid


def _key(path: Path) -> Key:
    data = _private_content(path)[0]
    try:
        content = orjson.loads(data)
        public = Ed25519PublicKey.from_public_bytes(_bytes(content["x"]))
        made_at, ends_at, sealed = float(content["made_at"]), content["ends_at"], _bytes(content["sealed"])
        ends_at = None if ends_at is None else float(ends_at)
    except (ValueError, TypeError, KeyError) as exc:
        raise SettingsError(f"{path} is not a signing key of this program, or damaged") from exc
    _check_name(path, public)
    return Key(path.stem, public, made_at, sealed, ends_at)


def _plain(path: Path) -> tuple[Ed25519PrivateKey, float]:
    data, made_at = _private_content(path)
    try:
        private = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
        raise SettingsError(f"{path} is not a private key in PEM without a password") from exc
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(f"{path} is a private key of another kind than Ed25519")
    _check_name(path, private.public_key())
    return private, made_at


def _check_name(path: Path, public: Ed25519PublicKey) -> None:
    if thumbprint(public) != path.stem:
        raise SettingsError(f"{path} holds the key {thumbprint(public)}; a key file bears the name of its key")


def _private_content(path: Path) -> tuple[bytes, float]:
    """Return what is in the file at *path*, and when it was written."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            raise SettingsError(
                f"{path} is a private key that others can read (mode {mode:04o}); run: chmod 600 {path}"
            )
        return file.read(), status.st_mtime


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
