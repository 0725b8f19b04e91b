"""Whether the daemons get at what their settings name: what no file says, and only the host knows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from entrepot.chassis.errors import Mistake
from entrepot.cli.owner import UNIT, become_owner, become_units_user, unwritable, user_name
from entrepot.errors import SettingsError
from entrepot.identity.master import MasterKey
from entrepot.settings import CREDENTIALS, MASTER_CREDENTIAL, Settings, settings_files

# CREDENTIALS_TOTAL_SIZE_MAX of systemd (src/shared/creds-util.h): beyond it, none of the units starts.
MAX_CREDENTIALS_BYTES = 1 << 20
# What fdname_is_valid of systemd (src/basic/fd-util.c) takes after the "entrepot_" that each name begins with there.
_NAME = re.compile(r"[ -9;-~]{1,246}")
# Where a host puts what it changes of the units.
CHANGED_UNITS = Path("/etc/systemd/system")
# LoadCredential=, LoadCredentialEncrypted=, SetCredential= and SetCredentialEncrypted= of systemd.exec(5).
_CREDENTIAL = re.compile(r"^\w+Credential\w*=\s*([^\s:]+)", re.MULTILINE)


def mistakes_of(settings: Settings, named: Path | None) -> list[Mistake]:
    """Return what keeps daemons with *settings*, which are those at *named*, from starting on this host.

    Run as root, this process goes on as the owner of the store, or as the user of the units when it has no other one.
    The file that is *named* need not be readable for them: it may be a draft of whoever is about to put it in place.
    """
    directory, master = settings.store.directory, settings.keys.master
    found = list(mistakes_of_credentials(CREDENTIALS))
    if os.geteuid() == 0:
        # systemd reads them as root.
        found += mistakes_of_handed_in_keys(settings, has_units=UNIT.exists(), changed=CHANGED_UNITS)
        become_owner(directory)
        become_units_user(directory)
    if master.startswith("file:"):
        found += _mistakes_of_key(master, directory)
    return [*found, *_unreadable(named), *unwritable(directory)]


def mistakes_of_credentials(directory: Path) -> Iterator[Mistake]:
    """Yield a mistake for each file in *directory* whose name systemd does not take, and when they are too large.

    None when they cannot be seen.
    """
    try:
        files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
        # What is hidden, and links, systemd leaves out.
        sizes = {path: path.stat().st_size for path in files if "/." not in f"/{path.relative_to(directory)}"}
    except OSError:
        return
    for path in sizes:
        if not _NAME.fullmatch(str(path.relative_to(directory))):
            most = "printable ASCII without a colon, 246 characters at most"
            yield Mistake(f"systemd starts no daemon beside a file of such a name: {most}", _readable(path))
    total = sum(sizes.values())
    if total > MAX_CREDENTIALS_BYTES:
        most = f"systemd hands in {MAX_CREDENTIALS_BYTES >> 20} MiB of credentials at most, all files together"
        largest = max(sizes, key=sizes.__getitem__)
        yield Mistake(f"{most}; there are {total} bytes, most of them here", _readable(largest))


def _readable(path: Path) -> str:
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)


def mistakes_of_handed_in_keys(settings: Settings, *, has_units: bool, changed: Path) -> Iterator[Mistake]:
    """Yield a mistake for each credential that is to be a master key and is missing, or no key.

    With *has_units*, that of the packaged units is one, whatever *settings* name: none of them starts without it. What
    the units in *changed* are handed in from another place is not looked for.
    """
    kind, _, name = settings.keys.master.partition(":")
    needed = {MASTER_CREDENTIAL} if has_units else set()
    if kind == "credential":
        needed.add(name)
    for each in sorted(needed - _handed_in_by(changed)):
        yield from _mistakes_of_key(f"credential:{each}", settings.store.directory)


def _handed_in_by(units: Path) -> set[str]:
    found = [*units.glob("entrepot-*.service"), *units.glob("entrepot-*.service.d/*.conf")]
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in found if path.is_file()]
    return {name for text in texts for name in _CREDENTIAL.findall(text)}


def _mistakes_of_key(reference: str, directory: Path) -> Iterator[Mistake]:
    key = MasterKey(reference, directory)
    try:
        # A store that has not begun makes the file itself.
        if key.path is None or key.is_known or os.access(key.path, os.F_OK):
            key.require()
    except SettingsError as error:
        yield Mistake(str(error))


def _unreadable(named: Path | None) -> Iterator[Mistake]:
    reason = f"the user {user_name()}, as whom the daemons run, cannot read it"
    try:
        files = settings_files(named)
    except OSError as exc:
        yield Mistake(reason, str(exc.filename))
        return
    for path in files:
        if path != named and not os.access(path, os.R_OK):
            yield Mistake(reason, str(path))
