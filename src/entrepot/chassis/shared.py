"""State that all processes of a host share: a mapped file of counters, cells and a table of processes.

Reading is one aligned 8-byte load and takes no lock; such loads and stores are never torn on x86-64 and aarch64.
Changes that depend on what was read are made under one of the robust mutexes in the file. The file belongs to one boot:
a mutex that was held when the power failed would never come free. So the first to open it after a boot makes a new file
(under a lock on the old one), takes counters and kept cells over, and puts it in the old one's place. A file that some
process has open is of this boot, whatever id it bears: in a container (LXC, systemd-nspawn) commands see an id of the
container's own, and units with a /proc of their own see the kernel's.

All processes must see the same process ids (one PID namespace) and run as the same user.

Layout, in 8-byte words: header, mutexes, process rows, lanes, records.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from entrepot.chassis import mutex
from entrepot.chassis.mutex import Descriptor, Mutex, SharedStateError

VERSION = 2
ROWS = 128
LANES = 512
SLOTS = 98_304
CELLS = 4

_MAGIC = b"HOSTCELL"
_HEADER = struct.Struct("=8sq40s16s")  # magic, version, boot id, epoch
_RECORDS = 131_072  # a power of two; SLOTS of them may be used, so that a search stays short
_MUTEXES = 64

# Words of the header that change.
_SEALED, _ROWS_USED, _LANES_USED, _RECORDS_USED = 16, 17, 18, 19
_OPEN, _SEALING, _SHUT = 0, 1, 2  # values of _SEALED
_MUTEX_WORD = 64
_ROW_WORD = _MUTEX_WORD + _MUTEXES * 8
_ROW_WORDS = 8  # pid, start time, connections
_LANE_WORD = _ROW_WORD + ROWS * _ROW_WORDS
LANE_HEAD = 8  # words of a lane that belong to no process
LANE_CELLS = 4  # words of a lane for each process, kept as LANE_CELLS columns of ROWS words
_LANE_WORDS = LANE_HEAD + LANE_CELLS * ROWS
_RECORD_WORD = _LANE_WORD + LANES * _LANE_WORDS
_RECORD_WORDS = 8  # hash (2), kind, free, CELLS cells: a cache line
_FLOCK = struct.Struct("@hhqqi4x")  # type, whence, start, length, pid (fcntl(2))
_FILE_BYTES = (_RECORD_WORD + _RECORDS * _RECORD_WORDS) * 8
_CELL, _KIND = 4, 2
_SLOT_KIND, _COUNTER_KIND, _KEPT_KIND = 1, 2, 3
_PAGE = mmap.PAGESIZE


def boot_id() -> bytes:
    """Return the id of this boot of the kernel, 36 bytes."""
    return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip()


def started_at(pid: int) -> int:
    """Return when *pid* started, in clock ticks since boot; 0 when there is no such process, or only a zombie.

    A process that exists and hides itself (``hidepid``) is -1: alive, as far as anyone can know.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return -1 if _answers(pid) else 0
    # The name, in parentheses, may hold anything; field 3 is the state, field 22 the start (proc(5)).
    fields = stat[stat.rindex(b")") + 2 :].split()
    return 0 if fields[0] in {b"Z", b"X"} else int(fields[19])


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Counter:
    """An integer that only grows, for all processes of the host."""

    __slots__ = ("_shared", "_word", "_words")

    def __init__(self, shared: SharedState, word: int) -> None:
        self._shared = shared
        self._words = shared.words
        self._word = word

    def read(self) -> int:
        """Return the present value; one load, no lock."""
        return self._words[self._word]

    def bump(self) -> int:
        """Add one and return the new value."""
        self._shared.unseal()
        with self._shared.mutex(self._word):
            value = self._words[self._word] + 1
            self._words[self._word] = value
        # Once more, because someone may have begun to seal between the first look and the change.
        self._shared.unseal()
        return value


class SharedState:
    """The shared state of this host, mapped into this process. Survives a fork; the child registers itself.

    *words* and *cells* are the same memory as signed 64-bit integers and as floats.
    *epoch* (16 bytes) changes whenever counters may have gone back: a new file, or one that no one has sealed.
    """

    def __init__(self, file: Descriptor, path: Path) -> None:
        self.path = path
        self._file = file
        self._map = mmap.mmap(file.number, _FILE_BYTES)
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self._address = ctypes.addressof(self._anchor)
        view = memoryview(self._map)
        self.words: memoryview[int] = view.cast("q")
        self.cells: memoryview[float] = view.cast("d")
        self.epoch: bytes = _HEADER.unpack_from(self._map)[3]
        self.lock = self.mutex(0)
        self._registered: tuple[int, int] | None = None

    @classmethod
    def open(cls, path: Path) -> SharedState:
        """Map the file at *path*; make it first when it is missing, damaged, of another version or another boot.

        Two that open at once get the same file. Raises SharedStateError when the file cannot be used here.
        """
        mutex.require_support()
        try:
            while True:
                file = _open_locked(path)
                try:
                    if _is_usable(file):
                        _lock(file, fcntl.F_RDLCK)
                        return cls(file, path)
                    _replace(file, path)
                finally:
                    fcntl.flock(file.number, fcntl.LOCK_UN)
        except OSError as exc:
            raise SharedStateError(f"{path}: {exc.strerror or exc}") from exc

    def mutex(self, number: int) -> Mutex:
        """Return one of the mutexes; the same *number* is the same mutex in all processes. 0 is the table's own.

        Other numbers may share one, so no one may take a second while holding a first.
        """
        index = number % (_MUTEXES - 1) + 1 if number else 0
        return Mutex(self._address + (_MUTEX_WORD + index * 8) * 8, self._file)

    def slot(self, name: str, *, kept: bool = False) -> int:
        """Return the index in ``cells`` of the ``CELLS`` floats of *name*, 0.0 at first; the same in all processes.

        They start from 0.0 again after a boot, unless they are *kept*: then they are what the kernel has written to
        disk of them, all in a boot that was asked for, all but the last half minute after a power cut. Raises
        SharedStateError when ``SLOTS`` names are in use.
        """
        return self._record(name, _KEPT_KIND if kept else _SLOT_KIND)

    def counter(self, name: str) -> Counter:
        """Return the counter *name*, 0 at first; kept over restarts and, unless ``epoch`` changes, boots."""
        return Counter(self, self._record(name, _COUNTER_KIND))

    def lane(self, name: str) -> int:
        """Return the index in ``words`` of the lane of *name*: a head, then columns of a word for each row.

        There are ``LANE_HEAD`` words of head and ``LANE_CELLS`` columns, each ``ROWS`` long, all 0 at first. The words
        of a row are 0 once its process is dead and reaped. Raises SharedStateError beyond ``LANES`` names.
        """
        slot = self.slot(f"lane:{name}")
        with self.lock:
            number = self.words[slot]
            if number == 0:
                number = self.words[_LANES_USED] + 1
                if number > LANES:
                    raise SharedStateError(f"{self.path}: no lane left for {name!r}, {LANES} are in use")
                self.words[_LANES_USED] = number
                self.words[slot] = number
        return _LANE_WORD + (number - 1) * _LANE_WORDS

    def _record(self, name: str, kind: int) -> int:
        digest = blake2b(f"{kind}:{name}".encode(), digest_size=16).digest()
        first, second = struct.unpack("=qq", digest)
        first = first or 1  # 0 stands for a free record
        words = self.words
        with self.lock:
            word = _find(words, first, second)
            if words[word] == 0:
                if words[_RECORDS_USED] >= SLOTS:
                    raise SharedStateError(f"{self.path}: no slot left for {name!r}, {SLOTS} are in use")
                words[_RECORDS_USED] += 1
                words[word + _KIND] = kind
                words[word + 1] = second
                words[word] = first  # last: from here on the record counts
        return word + _CELL

    def register(self) -> int:
        """Give this process a row and return its number, 0 up to ``ROWS`` - 1; the same one when called again.

        Also notes on disk that counters may change from now on. Raises SharedStateError when all rows live.
        """
        self.unseal()
        self.reap()
        pid = os.getpid()
        start = started_at(pid)
        with self.lock:
            row = self._free_row(pid, start)
            word = _ROW_WORD + row * _ROW_WORDS
            if self.words[word] != pid:
                self._clear(row)
                self.words[word + 1] = start
                self.words[_ROWS_USED] = max(self.words[_ROWS_USED], row + 1)
                self.words[word] = pid
        self._registered = (pid, row)
        return row

    def _free_row(self, pid: int, start: int) -> int:
        free = -1
        for row, owner, since in self._rows():
            if (owner, since) == (pid, start):
                return row
            if owner == 0 and free < 0:
                free = row
        if free < 0:
            free = self.words[_ROWS_USED]
        if free >= ROWS:
            raise SharedStateError(f"{self.path}: no row left for process {pid}, {ROWS} are in use")
        return free

    def _rows(self) -> Iterator[tuple[int, int, int]]:
        words = self.words
        for row in range(words[_ROWS_USED]):
            word = _ROW_WORD + row * _ROW_WORDS
            yield row, words[word], words[word + 1]

    @property
    def row(self) -> int:
        """The row of this process; raises RuntimeError before ``register``, and in a child that only inherited one."""
        if self._registered is None or self._registered[0] != os.getpid():
            raise RuntimeError("this process has not registered itself in the shared state")
        return self._registered[1]

    @property
    def rows_used(self) -> int:
        """Rows from 0 that may belong to a process."""
        return self.words[_ROWS_USED]

    def reap(self) -> int:
        """Free the rows of processes that are dead, with all that they hold, and return how many there were."""
        reaped = 0
        for row, pid, start in list(self._rows()):
            if pid and started_at(pid) not in {start, -1}:
                with self.lock:
                    word = _ROW_WORD + row * _ROW_WORDS
                    if (self.words[word], self.words[word + 1]) == (pid, start):
                        self._clear(row)
                        reaped += 1
        return reaped

    def _clear(self, row: int) -> None:
        for lane in range(self.words[_LANES_USED]):
            word = _LANE_WORD + lane * _LANE_WORDS + LANE_HEAD + row
            for column in range(LANE_CELLS):
                self.words[word + column * ROWS] = 0
        word = _ROW_WORD + row * _ROW_WORDS
        self.words[word + 2] = -1
        self.words[word] = 0

    def set_connections(self, count: int) -> None:
        """Say how many connections this process has open; a process that never says so is no server."""
        self.words[_ROW_WORD + self.row * _ROW_WORDS + 2] = count

    def mean_connections(self) -> float:
        """Return the mean of open connections over the processes that serve; 0.0 when there is none."""
        words = self.words
        end = _ROW_WORD + words[_ROWS_USED] * _ROW_WORDS
        counts = [words[word + 2] for word in range(_ROW_WORD, end, _ROW_WORDS) if words[word] and words[word + 2] >= 0]
        return sum(counts) / len(counts) if counts else 0.0

    def pids(self) -> list[int]:
        """Return the ids of the registered processes."""
        return [pid for _, pid, _ in self._rows() if pid]

    def unseal(self) -> None:
        """Note, on disk before this returns, that counters may change."""
        if self.words[_SEALED]:
            self.words[_SEALED] = _OPEN
            self._map.flush(0, _PAGE)

    def close(self) -> None:
        """Give up the row of this process; the last one writes all to disk and seals it: ``epoch`` outlives the boot.

        The mapping stays: what others made of it may still be called.
        """
        with mutex.exclusive(self._file):
            if self._registered is not None and self._registered[0] == os.getpid():
                with self.lock:
                    self._clear(self._registered[1])
                self._registered = None
            self.reap()
            if not self.pids() and self.words[_SEALED] != _SHUT:
                self._seal()

    def _seal(self) -> None:
        self.words[_SEALED] = _SEALING
        self._map.flush()
        # A counter that was bumped meanwhile has taken the mark away.
        if self.words[_SEALED] == _SEALING:
            self.words[_SEALED] = _SHUT
            self._map.flush(0, _PAGE)


def _find(words: memoryview[int], first: int, second: int) -> int:
    """Return the word of the record with this hash, or of the free one where it belongs."""
    index = first & (_RECORDS - 1)
    while True:
        word = _RECORD_WORD + index * _RECORD_WORDS
        if words[word] == 0 or (words[word] == first and words[word + 1] == second):
            return word
        index = (index + 1) & (_RECORDS - 1)


def _open_locked(path: Path) -> Descriptor:
    """Open the file at *path*, made when missing, and lock it, as long as it is still the one at *path*."""
    while True:
        file = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fcntl.flock(file.number, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.number), path.stat()):
                return file


def _is_usable(file: Descriptor) -> bool:
    magic, version, boot, _ = _header(file)
    whole = os.fstat(file.number).st_size == _FILE_BYTES
    return whole and (magic, version) == (_MAGIC, VERSION) and (boot == boot_id() or not _lock(file, fcntl.F_WRLCK))


def _lock(file: Descriptor, kind: int) -> bool:
    """Lock *file* for as long as it is open here, in place of what was locked; tell whether others let that be."""
    try:
        fcntl.fcntl(file.number, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, 0, 1, 0))
    except BlockingIOError:
        return False
    return True


def _header(file: Descriptor) -> tuple[bytes, int, bytes, bytes]:
    head = os.pread(file.number, _HEADER.size, 0).ljust(_HEADER.size, b"\0")
    magic, version, boot, epoch = _HEADER.unpack(head)
    return magic, version, boot.rstrip(b"\0"), epoch


def _replace(old: Descriptor, path: Path) -> None:
    """Put a new file at *path* with what *old* keeps, as far as it can be read."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        file = _created(fresh)
        with mmap.mmap(file.number, _FILE_BYTES) as new:
            epoch = _take_over(old, new) or os.urandom(16)
            _HEADER.pack_into(new, 0, _MAGIC, VERSION, boot_id(), epoch)
            _make_mutexes(new)
            new.flush()
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _created(path: Path) -> Descriptor:
    path.unlink(missing_ok=True)
    file = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    # Room is taken now: a store into a hole of a file on a full disk would kill the process (SIGBUS).
    os.posix_fallocate(file.number, 0, _FILE_BYTES)
    return file


def _make_mutexes(new: mmap.mmap) -> None:
    anchor = ctypes.c_char.from_buffer(new)
    for index in range(_MUTEXES):
        mutex.initialise(ctypes.addressof(anchor) + (_MUTEX_WORD + index * 8) * 8)


def _take_over(old: Descriptor, new: mmap.mmap) -> bytes | None:
    """Copy what *old* keeps; return its epoch when it was sealed, so that these counters are known to be the last."""
    magic, version, _, epoch = _header(old)
    if (magic, version) != (_MAGIC, VERSION) or os.fstat(old.number).st_size != _FILE_BYTES:
        return None
    with (
        mmap.mmap(old.number, _FILE_BYTES, access=mmap.ACCESS_READ) as source,
        memoryview(source) as source_bytes,
        source_bytes.cast("q") as words,
        memoryview(new) as target_bytes,
        target_bytes.cast("q") as target,
    ):
        firsts = words[_RECORD_WORD::_RECORD_WORDS].tolist()
        for index, first in enumerate(firsts):
            word = _RECORD_WORD + index * _RECORD_WORDS
            if first and words[word + _KIND] in {_COUNTER_KIND, _KEPT_KIND} and target[_RECORDS_USED] < SLOTS:
                _copy_record(words, word, target)
        return epoch if words[_SEALED] == _SHUT else None


def _copy_record(words: memoryview[int], word: int, target: memoryview[int]) -> None:
    place = _find(target, words[word], words[word + 1])
    target[place : place + _RECORD_WORDS] = words[word : word + _RECORD_WORDS]
    target[_RECORDS_USED] += 1
