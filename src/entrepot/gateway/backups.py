"""How old the newest backup of the store is, so that somebody is told when backups have stopped."""

from __future__ import annotations

from pathlib import Path

from entrepot.settings import MASTER_MARK

FOLDER = "backups"
LOOK_S = 60.0


class Backups:
    """The backups in the folder *backups* of the store in *directory*, looked at once a minute."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._newest: float | None = None
        self._look_at = 0.0

    def age_s(self, now: float, wall: float) -> float | None:
        """Return the age in seconds of the newest one at *wall*; *now* is a clock that nobody sets.

        While there is none it is that of the store; None without the folder: then backups are made elsewhere.
        """
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._newest = self._look()
        return None if self._newest is None else max(0.0, wall - self._newest)

    def _look(self) -> float | None:
        try:
            found = [path.stat().st_mtime for path in (self._directory / FOLDER).glob("entrepot-*.tar")]
            if not found and (self._directory / FOLDER).is_dir():
                found = [(self._directory / MASTER_MARK).stat().st_mtime]
        except OSError:
            return None
        return max(found, default=None)
