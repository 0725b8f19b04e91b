import os
import stat
from dataclasses import replace

import pytest

from entrepot.chassis.shared import SharedState
from entrepot.gateway.cache import AnswerCache, Entry

ENTRY = Entry(200, b"Content-Type: a/b\r\n", b"data" * 200, b"meta", b'"tag"', 1000.0, 1060.0, 2000.0)
NOW = 1001.0


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def open_cache(directory):
    opened = []

    def start(shared, memory_bytes=1_000_000, disk_bytes=1_000_000):
        opened.append(AnswerCache(directory, shared, memory_bytes=memory_bytes, disk_bytes=disk_bytes))
        return opened[-1]

    yield start
    for cache in opened:
        cache.close()


def put(cache, key=b"key", entry=ENTRY):
    return cache.put(key, "orders", cache.generation("orders"), entry)


def files(directory):
    return [path for path in directory.glob("??/*") if path.is_file()]


def test_what_was_put_is_found_again(open_cache, shared):
    cache = open_cache(shared)

    assert put(cache)

    assert cache.get(b"key", "orders", NOW) is ENTRY
    assert cache.get(b"other", "orders", NOW) is None


def test_an_entry_survives_a_restart_and_serves_other_workers(open_cache, shared, path):
    first = open_cache(shared)
    put(first)
    first.close()

    second = open_cache(SharedState.open(path))

    assert second.get(b"key", "orders", NOW) == ENTRY
    assert second.get(b"key", "orders", 1999.0) == ENTRY
    assert second.get(b"key", "orders", 2000.0) is None


def test_an_ended_generation_is_over_in_all_workers_and_on_disk(open_cache, shared, spawn):
    cache, other = open_cache(shared), open_cache(shared)
    put(cache)
    cache.close()
    assert other.get(b"key", "orders", NOW) == ENTRY

    spawn("""
        from entrepot.gateway.cache import AnswerCache
        AnswerCache(Path(sys.argv[2]), shared, memory_bytes=0, disk_bytes=0).end("orders")
    """, "elsewhere").wait()  # fmt: skip

    assert cache.get(b"key", "orders", NOW) is None
    assert other.get(b"key", "orders", NOW) is None
    assert open_cache(shared).get(b"key", "orders", NOW) is None


def test_an_answer_asked_for_before_the_end_is_not_kept(open_cache, shared):
    cache = open_cache(shared)
    asked_at = cache.generation("orders")

    cache.end("orders")

    assert not cache.put(b"key", "orders", asked_at, ENTRY)
    assert cache.get(b"key", "orders", NOW) is None
    assert cache.put(b"key", "orders", cache.generation("orders"), ENTRY)


def test_the_end_of_one_endpoint_leaves_the_others(open_cache, shared):
    cache = open_cache(shared)
    put(cache)

    cache.end("products")

    assert cache.get(b"key", "orders", NOW) is ENTRY


@pytest.mark.parametrize("sealed", [True, False])
def test_over_a_boot_entries_count_only_when_no_end_can_be_missing(open_cache, shared, path, other_boot, sealed):
    cache = open_cache(shared)
    cache.end("orders")
    put(cache)
    cache.close()
    if sealed:
        shared.close()

    other_boot()
    later = open_cache(SharedState.open(path))

    assert later.get(b"key", "orders", NOW) == (ENTRY if sealed else None)


def test_a_lost_shared_file_revives_nothing(open_cache, shared, path):
    cache = open_cache(shared)
    put(cache)
    cache.close()

    path.unlink()

    assert open_cache(SharedState.open(path)).get(b"key", "orders", NOW) is None


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "head", "foreign"])
def test_a_damaged_file_is_no_entry_and_is_removed(open_cache, shared, directory, damage):
    cache = open_cache(shared)
    put(cache)
    cache.close()
    (file,) = files(directory)
    raw = bytearray(file.read_bytes())
    if damage == "flipped":
        raw[-10] ^= 1
    if damage == "head":
        raw[40] ^= 1
    file.write_bytes({"empty": b"", "short": raw[:-1], "foreign": b"x" * 500}.get(damage, raw))

    later = open_cache(shared)

    assert later.get(b"key", "orders", NOW) is None
    assert later.damaged == 1
    assert files(directory) == []


def test_the_file_of_one_key_is_no_answer_to_another(open_cache, shared, directory):
    cache = open_cache(shared)
    put(cache)
    cache.close()
    (file,) = files(directory)
    wrong = cache._files.path(b"other")
    wrong.parent.mkdir(exist_ok=True)
    file.rename(wrong)

    assert open_cache(shared).get(b"other", "orders", NOW) is None


def test_files_and_directories_are_for_their_owner_only(open_cache, shared, directory):
    cache = open_cache(shared)
    put(cache)
    cache.close()

    (file,) = files(directory)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(each.stat().st_mode) for each in (directory, file.parent)} == {0o700}


def test_the_disk_bound_is_kept_and_the_oldest_go_first(open_cache, shared, directory):
    cache = open_cache(shared, disk_bytes=80_000)
    entry = replace(ENTRY, data=b"x" * 3000)
    for number in range(10):
        put(cache, b"%d" % number, entry)
    cache.close()
    for number in range(10):
        os.utime(cache._files.path(b"%d" % number), (1000 + 20 * number, 1000 + 20 * number))

    later = open_cache(shared, disk_bytes=80_000)
    for number in range(10, 20):
        put(later, b"%d" % number, entry)
    later.close()

    assert sum(-(-file.stat().st_size // 4096) * 4096 for file in files(directory)) <= 80_000
    left = [number for number in range(20) if cache._files.path(b"%d" % number).exists()]
    assert left == list(range(20 - len(left), 20))
    assert len(left) >= 15


def test_memory_is_bounded_and_the_longest_unused_go_first(open_cache, shared):
    cache = open_cache(shared, memory_bytes=12_000, disk_bytes=0)
    for number in range(5):
        put(cache, b"%d" % number)
        cache.get(b"0", "orders", NOW)
    for number in range(5, 12):
        put(cache, b"%d" % number)
        cache.get(b"0", "orders", NOW)

    found = [number for number in range(12) if cache.get(b"%d" % number, "orders", NOW)]

    assert found[0] == 0
    assert found[1:] == list(range(13 - len(found), 12))
    assert cache.memory_used_bytes <= 12_000


def test_an_answer_too_large_for_the_cache_drives_nothing_out(open_cache, shared, directory):
    cache = open_cache(shared, memory_bytes=100_000, disk_bytes=100_000)
    put(cache)

    put(cache, b"large", replace(ENTRY, data=bytes(60_000)))
    cache.close()

    assert cache.get(b"key", "orders", NOW) is ENTRY
    assert cache.get(b"large", "orders", NOW) is None
    assert len(files(directory)) == 1


def test_a_disk_that_refuses_leaves_the_memory_and_is_logged_once(open_cache, shared, directory, logged_by):
    directory.write_text("no directory")
    cache = open_cache(shared)
    for number in range(5):
        put(cache, b"%d" % number)
    cache.close()

    assert cache.get(b"3", "orders", NOW) is ENTRY
    assert cache.get(b"unknown", "orders", NOW) is None
    assert cache.failures == 6
    assert [record.getMessage() for record in logged_by(AnswerCache)] == ["cached answers are kept in memory only"]


def test_a_stale_answer_gives_way_to_a_fresh_one_of_another_worker(open_cache, shared):
    mine, other = open_cache(shared), open_cache(shared)
    put(mine)
    mine.close()
    fresh = replace(ENTRY, stored_at=1100.0, fresh_until=1160.0, data=b"new")
    put(other, entry=fresh)
    other.close()

    assert mine.get(b"key", "orders", 1059.0) == ENTRY
    assert mine.get(b"key", "orders", 1101.0) == fresh


def test_a_stale_answer_is_served_without_a_look_at_the_disk_each_time(open_cache, shared, directory):
    cache = open_cache(shared)
    put(cache)
    cache.close()
    assert cache.get(b"key", "orders", 1500.0) == ENTRY
    for file in files(directory):
        file.unlink()

    assert cache.get(b"key", "orders", 1500.5) == ENTRY
    assert cache.get(b"key", "orders", 1502.0) == ENTRY
