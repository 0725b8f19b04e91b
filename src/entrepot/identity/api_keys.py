"""API keys on the data plane: checked from memory, without the database, in some microseconds."""

from __future__ import annotations

from pathlib import Path

from entrepot.errors import InvalidToken
from entrepot.identity.claims import Claims
from entrepot.identity.credential import FILE, Credential, CredentialFile
from entrepot.identity.journal import Counter
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client
from entrepot.identity.uses import FILE as USES
from entrepot.identity.uses import Uses


class ApiKeys:
    """Says whose an API key is. *file* holds them, *uses* when each was last used."""

    def __init__(self, file: CredentialFile, uses: Uses) -> None:
        self._file = file
        self._uses = uses

    @classmethod
    def open(cls, directory: Path, counter: Counter, master: MasterKey) -> ApiKeys:
        """Return the API keys of the store in *directory*; *counter* is the host's ``credentials``.

        Raises StoreUnavailable. The master key is not read before the first API key is to be checked.
        """
        file = CredentialFile(directory / FILE, counter, master, kinds=("api-key",))
        file.load()
        return cls(file, Uses(directory / USES))

    def find(self, key: bytes, now: float) -> Credential:
        """Return what is known of *key* at *now*.

        Raises InvalidToken for one that is not known or has ended, SettingsError when the master key cannot be read.
        Whether it or its client is revoked is to be asked as of any token: see ``claims``.
        """
        found = self._file.find("api-key", key.decode("ascii", "replace"))
        if found is None:
            raise InvalidToken("the API key is not known")
        if now >= found.expires_at:
            raise InvalidToken("the API key has expired")
        return found

    def note_use(self, found: Credential, now: float) -> None:
        """Keep that *found* was good for a request at *now*: one store into memory."""
        self._uses.note(found.number, now)

    def refresh(self) -> None:
        """Read new API keys; to be called now and then, beside the look that each check takes by itself.

        Raises StoreUnavailable.
        """
        self._file.load()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def claims_of(found: Credential, client: Client) -> Claims:
    """Return what *found*, an API key of *client*, allows: all scopes of the client. Its ``jti`` is the key id.

    Raises InvalidToken when the catalog does not let the client use API keys.
    """
    if not client.api_keys:
        raise InvalidToken("the client may not use API keys")
    return Claims(
        client=found.client, partner=found.partner, jti=found.key_id, scopes=client.scopes,
        expires_at=found.expires_at, issued_at=int(found.made_at), kid="",
    )  # fmt: skip
