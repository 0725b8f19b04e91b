"""Secrets by reference: settings and catalogs name the place of a secret, never its value."""

from __future__ import annotations

import os
from pathlib import Path

from entrepot.errors import SettingsError
from entrepot.settings import credential_path, is_own


def read_secret(reference: str) -> str:
    """Return the secret that *reference* names, without the newline at its end.

    ``file:PATH``, ``env:NAME``, or ``credential:NAME`` (``settings.credential_path``). Read anew every time, so that a
    changed secret needs no restart. Raises SettingsError, which names the reference only, when it is of another kind,
    unreadable, empty, or Entrepot's own (``settings.is_own``).
    """
    if is_own(reference):
        raise SettingsError(f"the secret {reference} is Entrepot's own, and is shown to no upstream")
    kind, _, place = reference.partition(":")
    if kind == "file" and place:
        secret = _content(Path(place), reference)
    elif kind == "env" and place:
        secret = os.environ.get(place, "")
    elif kind == "credential" and place and "/" not in place:
        secret = _content(credential_path(place), reference)
    else:
        raise SettingsError("a secret is given as file:PATH, env:NAME or credential:NAME")
    if not secret:
        raise SettingsError(f"the secret {reference} is empty or not set")
    return secret


def _content(path: Path, reference: str) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"the secret {reference} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the secret {reference} is not UTF-8 text") from error
