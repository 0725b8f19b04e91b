"""Nothing but a whole backup changes a store, and nothing but a whole backup is left behind."""

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from backup_support import Store, bring, rows

from entrepot.backup.archive import MAX_MANIFEST_BYTES, Archive, BackupError
from entrepot.backup.making import make, prune
from entrepot.errors import StoreUnavailable
from entrepot.store.engine import open_database
from kills import killed_at

LEDGER_PROCESS = Path(__file__).parents[1] / "ledger" / "ledger_process.py"
BLOCK = tarfile.BLOCKSIZE


@pytest.fixture
def backup(store, backups):
    """A backup of a store in which something waits, as bytes."""
    with store.started() as services:
        bring(services)
    return store.back_up(backups).read_bytes()


def refused(other, data):
    """Return why *data* is refused, and see that it changed nothing."""
    before = other.content()
    with pytest.raises((BackupError, StoreUnavailable)) as caught:
        other.restore(data)
    assert other.content() == before
    return str(caught.value)


# -- damaged


def test_a_backup_that_was_cut_off_anywhere_is_refused(other, backup):
    ends = {0, 1, BLOCK, BLOCK + 7, 3 * BLOCK, len(backup) // 2, len(backup) - 2 * BLOCK, len(backup) - 1 - BLOCK}

    reasons = {refused(other, backup[:end]) for end in ends}

    assert reasons == {"the backup is damaged: it ends too early"}


@pytest.mark.parametrize("place", ["header", "manifest", "database", "key"])
def test_a_flipped_bit_is_refused(other, backup, place):
    with tarfile.open(fileobj=io.BytesIO(backup)) as archive:
        members = {member.name.partition("/")[0].partition(".")[0]: member for member in archive.getmembers()}
    member = members.get({"key": "keys", "header": "database"}.get(place, place))
    offset = member.offset + 130 if place == "header" else member.offset_data + member.size // 2
    damaged = bytearray(backup)
    damaged[offset] ^= 1

    assert "damaged" in refused(other, bytes(damaged))


def test_a_database_that_is_broken_inside_is_refused(other, backup):
    parts = unpacked(backup)
    parts["database.sqlite"] = parts["database.sqlite"][:8192] + os.urandom(8192) + parts["database.sqlite"][16384:]

    assert "its database" in refused(other, packed(parts))


@pytest.mark.parametrize("data", [b"", b"\0" * 10_240, b"not a backup" * 1000, b"SQLite format 3\0" * 64])
def test_what_is_no_backup_is_refused(other, data):
    refused(other, data)


# -- hostile


def unpacked(backup):
    with tarfile.open(fileobj=io.BytesIO(backup)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive.getmembers()}


def packed(parts, *more):
    """Return an archive of *parts* whose manifest says what they are, and of *more*, pairs of a TarInfo and bytes."""
    target = io.BytesIO()
    source = dict(parts)
    manifest = orjson.loads(source.pop("manifest.json"))
    manifest["parts"] = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in source.items()
    }
    with tarfile.open(fileobj=target, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in {"manifest.json": orjson.dumps(manifest), **source}.items():
            archive.addfile(info(name, size=len(data)), io.BytesIO(data))
        for member, data in more:
            archive.addfile(member, io.BytesIO(data))
    return target.getvalue()


def info(name, **values):
    member = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(member, key, value)
    return member


def test_it_is_a_tar_archive_that_may_be_packed_again(other, backup):
    assert other.restore(packed(unpacked(backup))).held == 1


HOSTILE = {
    "a path above": info("../escaped", size=4),
    "an absolute path": info("/tmp/escaped", size=4),
    "a master key": info("master.key", size=4),
    "a key with a path": info("keys/../../escaped.key", size=4),
    "a symbolic link": info("credentials", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": info("credentials", type=tarfile.LNKTYPE, linkname="database.sqlite"),
    "a device": info("credentials", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "a pipe": info("credentials", type=tarfile.FIFOTYPE),
    "a directory": info("keys", type=tarfile.DIRTYPE),
    "a sparse file": info("credentials", type=tarfile.GNUTYPE_SPARSE, size=4),
    "a long name": info("x" * 300, size=4),
    "something twice": info("database.sqlite", size=4),
    "more than the manifest says": info("revocations", size=4),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE)
def test_what_no_backup_holds_is_refused(other, backup, tmp_path, member):
    refused(other, packed(unpacked(backup), (member, b"evil" if member.size else b"")))

    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/escaped").exists()


def test_an_extended_header_is_not_read(other, backup):
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info("manifest.json", size=2, pax_headers={"comment": "x" * 5000}), io.BytesIO(b"{}"))

    assert "type b'x'" in refused(other, target.getvalue())


MANIFEST = {
    "format": "entrepot-backup", "version": 1, "release": "1", "schema": "s1_0001", "made_at": "", "host": "",
    "database": "sqlite", "parts": {},
}  # fmt: skip
ZEROS = "0" * 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": 2},
        {"release": 7},
        {"more": 1},
        {"parts": []},
        {"parts": {"../x": {"bytes": 1, "sha256": ZEROS}}},
        {"parts": {"credentials": {"bytes": -1, "sha256": ZEROS}}},
        {"parts": {"credentials": {"bytes": True, "sha256": ZEROS}}},
        {"parts": {"credentials": {"bytes": 1, "sha256": None}}},
        {"parts": {f"keys/{number:043}.key": {"bytes": 1, "sha256": ZEROS} for number in range(10_001)}},
    ],
    ids=lambda wrong: str(wrong)[:60],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(wrong):
    with pytest.raises(BackupError, match=r"manifest|this release reads"):
        Archive(io.BytesIO(with_manifest(orjson.dumps({**MANIFEST, **wrong}))))

    assert Archive(io.BytesIO(with_manifest(orjson.dumps(MANIFEST)))).manifest.schema == "s1_0001"


@pytest.mark.parametrize("text", [b"[]", b"{", b"{}", b"null", b"\xff"])
def test_a_manifest_that_is_none_is_refused(text):
    with pytest.raises(BackupError, match="its manifest cannot be read"):
        Archive(io.BytesIO(with_manifest(text)))


def with_manifest(text):
    return info("manifest.json", size=len(text)).tobuf() + text + bytes(-len(text) % BLOCK) + bytes(2 * BLOCK)


def test_a_manifest_without_end_is_not_read():
    header = info("manifest.json", size=MAX_MANIFEST_BYTES + 1).tobuf(tarfile.GNU_FORMAT)

    with pytest.raises(BackupError, match="does not begin with a manifest"):
        Archive(io.BytesIO(header))


# -- full disks


def limited(store, bytes_, *arguments):
    """Run the program with no file larger than *bytes_*, as a disk that is full; return its exit code and complaint."""
    command = ["prlimit", f"--fsize={bytes_}", sys.executable, "-m", "entrepot.cli.main", *map(str, arguments)]
    environment = {**os.environ, "ENTREPOT_STORE_DIRECTORY": str(store.home), "CONFIG_SOURCE": os.devnull}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_no_backup(store, backups):
    code, said = limited(store, 100_000, "db", "backup", backups)

    assert (code, said.count("\n")) == (1, 1)
    assert list(backups.iterdir()) == []


@pytest.mark.slow
def test_a_disk_that_fills_up_leaves_the_store_as_it_was(other, backup, backups):
    before = other.content()
    (backups / "one.tar").write_bytes(backup)

    code, said = limited(other, 100_000, "db", "restore", backups / "one.tar")

    assert (code, said.count("\n")) == (1, 1)
    assert "cannot be unpacked" in said
    assert other.content() == before


def test_what_does_not_fit_is_not_begun(store, backups):
    full = Store(store.home, ENTREPOT_LEDGER_MIN_FREE="900000GiB")

    with pytest.raises(BackupError, match=r"MiB free, \d+ MiB are needed"):
        full.back_up(backups)

    assert list(backups.iterdir()) == []


# -- kill -9


def states(store):
    """Return the states of all transactions, after a start."""
    with store.started() as services:
        return sorted(state for state, _, _ in rows(services).values())


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_old_or_the_new(store, other, backup, tmp_path):
    with other.started() as services:
        bring(services), bring(services)
    shutil.copytree(other.home, tmp_path / "kept")
    seen = []
    event, step = 1, 7
    while True:
        shutil.rmtree(other.home)
        shutil.copytree(tmp_path / "kept", other.home)
        was_killed = killed_at(event, lambda: other.restore(backup))
        seen.append(states(other))
        assert not (other.home / "replacement").exists()
        assert not (other.home / "replacement.json").exists()
        if not was_killed:
            break
        event += step

    assert len(seen) > 10
    assert all(found in (["queued", "queued"], ["held"]) for found in seen)
    assert seen == sorted(seen, reverse=True)
    assert (seen[0], seen[-1]) == (["queued", "queued"], ["held"])


@pytest.mark.slow
def test_a_backup_that_is_killed_is_whole_or_not_there(store, other, backups):
    event = 1
    while killed_at(event, lambda: store.back_up(backups)):
        event += 5
        for path in backups.glob("*.tar"):
            assert other.restore(path).manifest.database == "sqlite"

    assert event > 20
    assert all(path.suffix == ".tar" for path in backups.iterdir())


# -- names


def test_the_last_ones_are_kept_and_nothing_else_is_touched(store, backups):
    (backups / "entrepot-my-own.tar").write_bytes(b"")
    (backups / "notes").write_bytes(b"")
    moments = [datetime(2026, 11, 21, 9, 0, second, tzinfo=UTC) for second in (1, 2, 2, 3)]
    for moment in moments:
        made = make(store.settings, backups, lambda _count: None, now=lambda moment=moment: moment)

    pruned = prune(made, 2)

    assert [path.name for path in pruned.removed] == ["entrepot-20261121T090001Z.tar", "entrepot-20261121T090002Z.tar"]
    assert sorted(path.name for path in backups.iterdir()) == [
        "entrepot-20261121T090002Z-1.tar", "entrepot-20261121T090003Z.tar", "entrepot-my-own.tar", "notes",
    ]  # fmt: skip


def test_no_file_is_written_over(store, backups):
    (backups / "one.tar").write_bytes(b"precious")

    with pytest.raises(BackupError, match="is there already"):
        store.back_up(backups / "one.tar")

    assert (backups / "one.tar").read_bytes() == b"precious"
    assert [path.name for path in backups.iterdir()] == ["one.tar"]


def test_of_two_at_once_one_is_refused(store, backups):
    inside, done = threading.Event(), threading.Event()

    def wait(_count):
        inside.set()
        done.wait(30)

    first = threading.Thread(target=make, args=(store.settings, backups, wait))
    first.start()
    try:
        assert inside.wait(30)
        with pytest.raises(BackupError, match="another backup is being written"):
            store.back_up(backups)
    finally:
        done.set()
        first.join()
    assert len(list(backups.iterdir())) == 1


# -- under load


@pytest.mark.slow
def test_what_is_accepted_meanwhile_is_in_it_whole_or_not_at_all(store, other, backups):
    """Two processes accept all the time. What was answered before the backup began is in it, with its counts."""
    url = store.settings.store.url
    command = [sys.executable, str(LEDGER_PROCESS), url, "1000000"]
    writers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answered = []
    lock = threading.Lock()

    def read(writer):
        for line in writer.stdout:
            with lock:
                answered.append(line.strip())

    try:
        for writer in writers:
            assert writer.stdout.readline() == "ready\n"
        readers = [threading.Thread(target=read, args=(writer,)) for writer in writers]
        for reader, writer in zip(readers, writers, strict=True):
            reader.start()
            writer.stdin.write("go\n")
            writer.stdin.flush()
        taken = []
        for number in range(3):
            wait_for(lambda least=300 * (number + 1): len(answered) > least)
            with lock:
                before = set(answered)
            path = store.back_up(backups / f"{number}.tar")
            with lock:
                taken.append((path, before, len(answered)))
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            writer.stdin.close()
        for reader, writer in zip(readers, writers, strict=True):
            reader.join()
            writer.stdout.close()

    assert all(after > len(before) for _, before, after in taken[:1])
    for path, before, _ in taken:
        done = other.restore(path)
        database = open_database(other.settings.store.url)
        with other.services() as services:
            found = rows(services)
        with database.engine.connect() as connection:
            counted = connection.exec_driver_sql("SELECT sum(unfinished) FROM queues").scalar_one()
        database.close()
        assert before <= found.keys()
        assert counted == len(found) == done.held


def wait_for(is_true):
    reached = threading.Event()
    for _ in range(3000):
        if is_true():
            return
        reached.wait(0.01)
    raise AssertionError("what was waited for did not come")
