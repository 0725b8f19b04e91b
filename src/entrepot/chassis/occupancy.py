"""A directory that several processes use at once, and whose files one process may replace, as a whole.

Whoever uses it holds a lock on its file ``lock`` together with others; whoever replaces files holds it alone. New files
are made ready in ``replacement`` first. From the moment when a list of them stands beside it they count: when the
process dies between two of them, whoever opens the directory next puts the rest into their places.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from entrepot.chassis.errors import Error
from entrepot.chassis.mutex import Descriptor

LOCK = "lock"
STAGE = "replacement"
LIST = "replacement.json"

# As long as another one puts the last files into their places.
PATIENCE_S = 2.0
_AGAIN_S = 0.02


class DirectoryInUse(Error):
    """Files of the directory are to be replaced, or are being replaced, and it is in use."""

    code, title, retryable = "directory-in-use", "The directory is in use", True


class Occupant:
    """One that uses a directory, until it is closed or forgotten. A child inherits it by a fork."""

    __slots__ = ("_file",)

    def __init__(self, file: Descriptor) -> None:
        self._file: Descriptor | None = file

    def close(self) -> None:
        """Use it no more."""
        self._file = None


def occupy(directory: Path, *, patience_s: float = PATIENCE_S) -> Occupant:
    """Return what keeps the files of *directory*, which is made when it is missing, from being replaced.

    What a process that was killed has begun to replace is finished first, or thrown away. Raises DirectoryInUse when
    another one replaces files, and has not ended after *patience_s*, OSError.
    """
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    deadline = time.monotonic() + patience_s
    while True:
        file = _opened(directory)
        with suppress(BlockingIOError):
            fcntl.flock(file.number, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if not _is_unfinished(directory):
                return Occupant(file)
            del file
            with suppress(DirectoryInUse), alone(directory):
                continue
        if time.monotonic() >= deadline:
            raise DirectoryInUse(f"the files of {directory} are being replaced; come again", retry_after_s=PATIENCE_S)
        time.sleep(_AGAIN_S)


@contextmanager
def alone(directory: Path) -> Iterator[Path]:
    """Keep all others out for the block; give an empty directory to make new files ready in.

    Raises DirectoryInUse when somebody uses *directory*, OSError.
    """
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    file = _opened(directory)
    try:
        fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pids = " ".join(map(str, _holders(file)))
        raise DirectoryInUse(f"{directory} is in use{pids and f' by the processes {pids}'}") from None
    _finish(directory)
    stage = directory / STAGE
    stage.mkdir(mode=0o700)
    try:
        yield stage
    finally:
        # Nothing of it counts, unless the list says so: then it is in its place already.
        _finish(directory)


def replace(directory: Path, pieces: Iterable[tuple[Path, Path]], gone: Sequence[Path]) -> None:
    """Put each of *pieces*, files or directories, from where it is ready into its place; *gone* are removed before.

    All or nothing, also over a power cut; for whoever is ``alone``. What is ready must be synced, and lie on the file
    system of its place. Raises OSError; when it comes after the list was written, the rest follows later.
    """
    places = [(str(ready), str(place)) for ready, place in pieces]
    fresh = directory / STAGE / LIST
    with fresh.open("x", encoding="utf-8") as file:
        json.dump({"pieces": places, "gone": list(map(str, gone))}, file)
        file.flush()
        os.fsync(file.fileno())
    for folder in {Path(ready).parent for ready, _ in places} | {fresh.parent}:
        _sync(folder)
    fresh.rename(directory / LIST)
    _sync(directory)
    _finish(directory)


def _opened(directory: Path) -> Descriptor:
    return Descriptor(os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def _is_unfinished(directory: Path) -> bool:
    return (directory / STAGE).exists() or (directory / LIST).exists()


def _finish(directory: Path) -> None:
    path, stage = directory / LIST, directory / STAGE
    if path.exists():
        listed = json.loads(path.read_bytes())
        # Nobody has opened what is in its place already, so what is gone cannot belong to it.
        for one in listed["gone"]:
            Path(one).unlink(missing_ok=True)
        places = [(Path(ready), Path(place)) for ready, place in listed["pieces"]]
        for ready, place in places:
            if ready.exists():
                _put(ready, place, stage)
        for folder in {place.parent for _, place in places}:
            _sync(folder)
        path.unlink()
        _sync(directory)
    if stage.exists():
        shutil.rmtree(stage)


def _put(ready: Path, place: Path, stage: Path) -> None:
    if place.is_dir():
        # No directory takes the place of one that is not empty.
        former = stage / f"former.{place.name}"
        if former.exists():
            shutil.rmtree(former)
        place.rename(former)
    ready.rename(place)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _holders(file: Descriptor) -> list[int]:
    """Return the processes that hold a lock on *file*, as far as they can be seen from here (proc_locks(5))."""
    inode = str(os.fstat(file.number).st_ino)
    lines = [line.split() for line in Path("/proc/locks").read_text(encoding="ascii").splitlines()]
    found = {int(words[4]) for words in lines if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode}
    return sorted(pid for pid in found if pid > 0)
