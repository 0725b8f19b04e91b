"""The master key of a store: what seals private keys at rest, and what secrets of clients are hashed with.

It is 32 bytes, written as 64 hexadecimal digits. Nothing is sealed or hashed with the master key itself: each purpose
has a subkey (HKDF with SHA-256, RFC 5869), so that what leaks of one says nothing about another.

A store knows its master key again by a mark, in the file ``master.mark`` and in the database: with another key nothing
could be opened that was sealed, and no secret be checked, so another one is refused.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from entrepot.errors import SettingsError, StoreUnavailable
from entrepot.identity.durable import write_private
from entrepot.settings import MASTER_CREDENTIAL, MASTER_MARK, credential_path

KEY_BYTES = 32
MARK = MASTER_MARK
"""The name of the file in the directory of the store that holds the mark."""
_MARKED = b"entrepot master key"
_HEX = re.compile(rf"[0-9A-Fa-f]{{{2 * KEY_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a master key is known again by: a *fingerprint*, which tells nothing of it, and the *place* it was in."""

    fingerprint: str
    place: str


class MasterKey:
    """The key that *reference* names: ``file:/PATH``, ``credential:NAME`` (systemd), or ``auto``.

    ``auto`` is the credential ``master-key`` when systemd hands it in, and else ``master.key`` in *directory*. The key
    is read when a subkey is first asked for; only subkeys are kept. For several threads.
    """

    def __init__(self, reference: str, directory: Path) -> None:
        self._reference = reference
        self._directory = directory
        self._subkeys: dict[str, bytes] = {}
        self._expected: list[Mark] = []
        self._is_usable = False

    def expect(self, mark: Mark) -> None:
        """Refuse from now on a key that has not this *mark*; that of the file counts without this."""
        self._expected.append(mark)

    @property
    def marked(self) -> Mark | None:
        """The mark that the file holds, None when there is none. Raises SettingsError when it cannot be read."""
        path = self._directory / MARK
        try:
            found = orjson.loads(path.read_bytes())
            return Mark(str(found["fingerprint"]), str(found["place"]))
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise SettingsError(f"the mark of the master key {path} cannot be read: {exc.strerror}") from exc
        except (ValueError, TypeError, KeyError) as exc:
            raise SettingsError(
                f"the mark of the master key {path} is damaged; once it is gone, it is made again"
            ) from exc

    @property
    def is_known(self) -> bool:
        """Whether the store has a master key already, wherever that is. Raises SettingsError."""
        return bool(self._expected) or self.marked is not None

    @property
    def is_usable(self) -> bool:
        """Whether it can be read, and is that of the store; once it was, it is not looked at again."""
        if not self._is_usable:
            try:
                self._check(self._read())
            except SettingsError:
                return False
            self._is_usable = True
        return True

    def require(self) -> None:
        """Raise SettingsError for a key that is missing, damaged, or in a file that others can read."""
        self._content()

    def note(self) -> None:
        """Make the present key that of the store, when it has none yet.

        Raises SettingsError as ``subkey`` does, StoreUnavailable when that cannot be put on disk.
        """
        if self.marked is not None:
            return
        key = self._read()
        self._check(key)
        path = self._directory / MARK
        try:
            write_private(path, orjson.dumps(asdict(self._mark(key))))
        except OSError as exc:
            raise StoreUnavailable(f"the mark of the master key {path} cannot be made: {exc.strerror}") from exc

    def subkey(self, purpose: str) -> bytes:
        """Return the 32 bytes for *purpose*, always the same ones.

        Raises SettingsError for a key that is missing, damaged, in a file that others can read, or another one than
        that of the store.
        """
        subkey = self._subkeys.get(purpose)
        if subkey is None:
            key = self._read()
            self._check(key)
            subkey = self._subkeys[purpose] = _derived(key, purpose)
        return subkey

    def make(self) -> None:
        """Make the key when it is a file that is not there. For a store in which nothing depends on a key yet.

        Raises StoreUnavailable when the file cannot be written.
        """
        path = self.path
        if path is None or path.exists():
            return
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, f"{secrets.token_hex(KEY_BYTES)}\n".encode())
        except OSError as exc:
            raise StoreUnavailable(f"the master key {path} cannot be made: {exc.strerror}") from exc

    @property
    def path(self) -> Path | None:
        """The file of the key; None when systemd hands it in."""
        kind, _, place = self._reference.partition(":")
        if kind == "file":
            return Path(place)
        if kind == "auto" and not credential_path(MASTER_CREDENTIAL).exists():
            return self._directory / "master.key"
        return None

    @property
    def place(self) -> str:
        """Where the key is looked for, in words."""
        host = os.uname().nodename
        if self.path is None:
            return f"the systemd credential {self._reference.partition(':')[2] or MASTER_CREDENTIAL} on {host}"
        return f"the file {self.path} on {host}"

    def _mark(self, key: bytes) -> Mark:
        return Mark(hmac.digest(_derived(key, "mark"), _MARKED, "sha256").hex(), self.place)

    def _check(self, key: bytes) -> None:
        present = self._mark(key)
        for known in self._marks():
            if not hmac.compare_digest(known.fingerprint.encode(), present.fingerprint.encode()):
                raise SettingsError(
                    f"{present.place} holds another master key than that of the store, which began with {known.place}: "
                    "see [keys] master; after a theft, entrepot key forget-master"
                )

    def _marks(self) -> list[Mark]:
        marked = self.marked
        return self._expected if marked is None else [marked, *self._expected]

    def _read(self) -> bytes:
        try:
            return self._content()
        except SettingsError as error:
            elsewhere = [known.place for known in self._marks() if known.place != self.place]
            if not elsewhere:
                raise
            raise SettingsError(f"{error}. This store began with {elsewhere[0]}: see [keys] master") from error

    def _content(self) -> bytes:
        own = self.path
        path = own or credential_path(self._reference.partition(":")[2] or MASTER_CREDENTIAL)
        text = _text(path, private=own is not None)
        if _HEX.fullmatch(text) is None:
            raise SettingsError(f"the master key {path} ([keys] master) is not {2 * KEY_BYTES} hexadecimal digits")
        return bytes.fromhex(text)


def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=f"entrepot {purpose}".encode()).derive(key)


def _text(path: Path, *, private: bool) -> str:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(1024)
    except FileNotFoundError as exc:
        raise SettingsError(f"the master key {path} is not there: put it back from its backup") from exc
    except OSError as exc:
        raise SettingsError(f"the master key {path} cannot be read: {exc.strerror}") from exc
    # systemd grants its credentials by an ACL, which looks like a right of the group.
    if private and mode & 0o077:
        raise SettingsError(f"others can read the master key {path} (mode {mode:04o}); run: chmod 600 {path}")
    return data.decode("ascii", "replace").strip()
