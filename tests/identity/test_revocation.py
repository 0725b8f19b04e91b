import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from entrepot.errors import BadRequest, StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.refused import Refused
from entrepot.identity.revocation import KEPT_S, Revocation, Revocations, Switch

NOW = 1_800_000_000
LATER = NOW + 3600


def jti(value, expires_at=LATER):
    return Revocation("jti", value, NOW, expires_at)


def named(kind, value, cutoff=NOW, expires_at=LATER):
    return Revocation(kind, value, NOW, expires_at, cutoff=cutoff)


def claims(jti="t", issued_at=NOW, client="shop", partner="acme"):
    return Claims(client, partner, jti, frozenset(), LATER, issued_at, "k")


def api_key(key_id, issued_at=NOW):
    return Claims("shop", "acme", key_id, frozenset(), LATER, issued_at, "")


def test_a_revoked_token_is_refused_and_no_other(revocations):
    assert not revocations.is_revoked(claims("a"))

    assert revocations.add(jti("a"))

    assert revocations.is_revoked(claims("a"))
    assert not revocations.is_revoked(claims("b"))


@pytest.mark.parametrize("kind", ["client", "partner"])
def test_a_revoked_name_ends_tokens_up_to_that_second_and_no_later_ones(revocations, kind):
    name = {"client": "shop", "partner": "acme"}[kind]

    revocations.add(named(kind, name))

    assert revocations.is_revoked(claims(issued_at=NOW - 1))
    assert revocations.is_revoked(claims(issued_at=NOW))
    assert not revocations.is_revoked(claims(issued_at=NOW + 1))
    assert not revocations.is_revoked(claims(client="x", partner="y"))
    assert revocations.cutoff("shop", "acme") == NOW


def test_a_client_and_a_partner_of_one_name_are_two(revocations):
    revocations.add(named("client", "acme"))

    assert not revocations.is_revoked(claims(partner="acme"))


def test_an_earlier_cutoff_takes_nothing_back(revocations, open_revocations):
    revocations.add(named("client", "shop"))

    assert not revocations.add(named("client", "shop", cutoff=NOW - 100))

    assert open_revocations().is_revoked(claims())


def test_second_revocation_adds_nothing(revocations, tmp_path):
    revocations.add(jti("a"))

    assert not revocations.add(jti("a"))
    assert (tmp_path / "revocations").read_bytes().count(b"\n") == 1


def test_the_file_is_readable_by_its_owner_alone(revocations, tmp_path):
    revocations.add(jti("a"))

    assert stat.S_IMODE((tmp_path / "revocations").stat().st_mode) == 0o600


def test_a_restart_revives_nothing(revocations, open_revocations):
    revocations.add(jti("a"))
    revocations.add(named("partner", "other"))

    again = open_revocations()

    assert again.is_revoked(claims("a"))
    assert again.is_revoked(claims(partner="other"))


def test_another_process_sees_the_counter_and_reads_the_tail(revocations, open_revocations):
    other = open_revocations()
    revocations.add(jti("a"))
    assert other.has_changed()

    assert other.refresh()

    assert other.is_revoked(claims("a"))
    assert not other.has_changed()
    assert not other.refresh()


def test_what_was_appended_by_a_process_that_died_before_it_told_is_found(revocations, open_revocations, counter):
    other = open_revocations()
    revocations.add(jti("a"))
    counter.value -= 1

    assert other.refresh()

    assert other.is_revoked(claims("a"))


def test_a_directory_in_place_of_the_file_is_told_and_the_file_is_read_when_it_is_back(open_revocations):
    # In memory, where a directory that was removed keeps its size.
    with TemporaryDirectory(dir="/dev/shm") as directory:
        path, aside = Path(directory) / "revocations", Path(directory) / "aside"
        revocations, worker = open_revocations(path), open_revocations(path)
        revocations.add(jti("a"))
        path.rename(aside)
        path.mkdir()
        with pytest.raises(StoreUnavailable, match="no regular file"):
            worker.refresh()
        path.rmdir()
        aside.rename(path)
        revocations.add(jti("b"))

        worker.refresh()

        assert [worker.is_revoked(claims(each)) for each in "ab"] == [True, True]


@pytest.mark.parametrize("later", ["b", "a longer one"])
def test_what_could_not_be_synced_and_was_taken_back_hides_nothing_that_comes_after_it(
    revocations, open_revocations, monkeypatch, logged_by, later
):
    revocations.add(jti("first"))
    worker = open_revocations()

    def fail(_descriptor):
        worker.refresh()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreUnavailable):
        revocations.add(jti("a"))
    monkeypatch.undo()

    revocations.add(jti(later))
    worker.refresh()

    assert worker.is_revoked(claims(later))
    assert logged_by(Refused) == []


@pytest.mark.parametrize("torn", [b'{"kind":"jti","va', b"\x00\x00\x00", b"{"])
def test_a_torn_last_line_is_ignored_and_healed_by_the_next(revocations, open_revocations, tmp_path, torn):
    revocations.add(jti("a"))
    with (tmp_path / "revocations").open("ab") as file:
        file.write(torn)

    other = open_revocations()
    assert other.is_revoked(claims("a"))
    revocations.add(jti("b"))
    other.refresh()

    assert other.is_revoked(claims("b"))
    assert [json.loads(line)["value"] for line in (tmp_path / "revocations").read_bytes().splitlines()] == ["a", "b"]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"[]",
        b"7",
        b"{}",
        b'{"kind":"jti","value":7,"cutoff":null}',
        b"\xff",
        b'{"kind":"x","value":"a"}',
        b"",
    ],
)
def test_a_line_that_cannot_be_read_leaves_the_others_in_force(revocations, open_revocations, tmp_path, line, caplog):
    revocations.add(jti("a"))
    with (tmp_path / "revocations").open("ab") as file:
        file.write(line + b"\n")
    revocations.add(jti("b"))

    again = open_revocations()

    assert again.is_revoked(claims("a"))
    assert again.is_revoked(claims("b"))
    assert "cannot be read" in caplog.text
    assert again.compact(NOW) == 0


@pytest.mark.parametrize("value", ["", "x" * 256, "lone \ud800"])
def test_what_cannot_be_a_name_is_refused(revocations, value):
    with pytest.raises(BadRequest):
        revocations.add(jti(value))


def test_a_disk_that_takes_nothing_leaves_it_not_revoked(open_revocations, tmp_path):
    revocations = open_revocations(tmp_path / "missing/revocations")

    with pytest.raises(StoreUnavailable):
        revocations.add(jti("a"))

    assert not revocations.is_revoked(claims("a"))


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from entrepot.errors import StoreUnavailable
from entrepot.identity.revocation import Revocation, Revocations
class Counter:
    def read(self): return 0
    def bump(self): print("told")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
revocations = Revocations(Path(sys.argv[1]), Counter())
for value in "abc":
    try:
        revocations.add(Revocation("jti", value, 1.0, 2.0))
    except StoreUnavailable as exc:
        print("refused", exc)
"""


def test_a_file_that_cannot_grow_in_the_middle_of_a_line_stays_whole(tmp_path, open_revocations):
    path = tmp_path / "revocations"

    ran = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)

    assert ran.stdout.count("told") + ran.stdout.count("refused") == 3
    assert "File too large" in ran.stdout
    assert path.read_bytes().endswith(b"\n")
    assert path.read_bytes().count(b"\n") == ran.stdout.count("told")


def test_the_file_taken_away_from_a_running_process_revives_nothing(revocations, tmp_path):
    revocations.add(jti("a"))
    (tmp_path / "revocations").unlink()

    revocations.refresh()
    assert revocations.is_revoked(claims("a"))

    revocations.add(jti("b"))
    assert revocations.is_revoked(claims("a"))


def test_compaction_keeps_what_a_living_token_needs(revocations, open_revocations, tmp_path):
    for it in (jti("old", NOW - KEPT_S), jti("new"), named("client", "shop"), named("client", "shop", NOW + 5)):
        revocations.add(it)

    assert revocations.compact(NOW) == 2

    lines = [json.loads(line) for line in (tmp_path / "revocations").read_bytes().splitlines()]
    assert [(line["value"], line["cutoff"]) for line in lines] == [("new", None), ("shop", NOW + 5)]
    assert revocations.compact(NOW) == 0
    again = open_revocations()
    assert not again.is_revoked(claims("old", NOW + 6))
    assert again.is_revoked(claims("new", NOW + 6))


def test_compaction_of_no_file_makes_none(revocations, tmp_path):
    assert revocations.compact(NOW) == 0
    assert not (tmp_path / "revocations").exists()


def test_workers_notice_the_compacted_file_and_go_on_in_it(revocations, open_revocations):
    other = open_revocations()
    revocations.add(jti("old", NOW - KEPT_S))
    revocations.add(jti("a"))
    other.refresh()

    revocations.compact(NOW)
    revocations.add(jti("b"))
    assert other.refresh()

    assert all(other.is_revoked(claims(name)) for name in "ab")


def test_an_append_that_waited_for_a_compaction_goes_into_the_new_file(revocations, open_revocations, tmp_path):
    revocations.add(jti("old", NOW - KEPT_S))
    with revocations._journal._locked():
        waiting = subprocess.Popen([sys.executable, "-c", APPENDER, tmp_path / "revocations", "late", "1"], stdout=-1)
        deadline = time.monotonic() + 60
        while f" {waiting.pid} " not in Path("/proc/locks").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (tmp_path / "next").write_bytes(b"")
        (tmp_path / "next").replace(tmp_path / "revocations")
    waiting.communicate(timeout=60)

    assert open_revocations().is_revoked(claims("late-0"))


APPENDER = """
import sys
from pathlib import Path
from entrepot.identity.revocation import Revocation, Revocations
class Counter:
    def read(self): return 0
    def bump(self): pass
revocations = Revocations(Path(sys.argv[1]), Counter())
for number in range(int(sys.argv[3])):
    revocations.add(Revocation("jti", f"{sys.argv[2]}-{number}", 1.0, 9e9))
    print(number, flush=True)
"""


def appender(path, name, count):
    return subprocess.Popen([sys.executable, "-c", APPENDER, path, name, str(count)], stdout=subprocess.PIPE, text=True)


def test_processes_that_append_at_once_lose_nothing(tmp_path, open_revocations):
    running = [appender(tmp_path / "revocations", name, 30) for name in "ab"]
    for process in running:
        process.communicate(timeout=60)

    revocations = open_revocations()

    assert all(revocations.is_revoked(claims(f"{name}-{number}")) for name in "ab" for number in range(30))


def test_what_was_confirmed_before_a_kill_is_in_force(tmp_path, open_revocations):
    for cycle in range(3):
        process = appender(tmp_path / "revocations", f"{cycle}", 100_000)
        seen = [process.stdout.readline() for _ in range(5 + cycle)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.communicate()[0].splitlines(keepends=True)
        confirmed = [int(line) for line in seen if line.endswith("\n")]

        revocations = open_revocations()

        assert confirmed
        assert all(revocations.is_revoked(claims(f"{cycle}-{number}")) for number in confirmed)


def key(value, expires_at=LATER):
    return Revocation("key", value, NOW, expires_at)


def switch(kind, value, *, disabled=True, at=NOW):
    return Switch(kind, value, disabled, at)


def test_an_api_key_is_revoked_by_its_id_and_no_token_of_that_name_is(revocations, open_revocations):
    revocations.add(key("k1"))

    for seen in (revocations, open_revocations()):
        assert seen.refusal(api_key("k1")) == "the API key was revoked"
        assert not seen.is_revoked(api_key("k2"))
        assert not seen.is_revoked(claims("k1"))


def test_all_that_was_issued_to_anybody_ends_with_its_second(revocations, open_revocations):
    revocations.add(named("all", ""))

    for seen in (revocations, open_revocations()):
        assert seen.is_revoked(claims(issued_at=NOW, client="x", partner="y"))
        assert seen.is_revoked(api_key("k1", issued_at=NOW))
        assert not seen.is_revoked(claims(issued_at=NOW + 1))
        assert seen.cutoff("x", "y") == NOW


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "acme")])
def test_a_disabled_caller_is_refused_whatever_it_shows_until_it_is_enabled(revocations, open_revocations, kind, name):
    assert revocations.add(switch(kind, name))

    for seen in (revocations, open_revocations()):
        assert seen.refusal(claims(issued_at=NOW + 100)) == f"the {kind} is disabled"
        assert seen.refusal(api_key("k", issued_at=NOW + 100)) == f"the {kind} is disabled"
        assert seen.disabled("shop", "acme") == kind
        assert not seen.is_revoked(claims(client="x", partner="y"))
    assert not revocations.add(switch(kind, name, at=NOW + 1))
    assert revocations.switch(kind, name).at == NOW

    assert revocations.add(switch(kind, name, disabled=False))

    for seen in (revocations, open_revocations()):
        assert not seen.is_revoked(claims())
        assert seen.disabled("shop", "acme") is None


def test_a_worker_that_slept_over_enabling_and_compaction_lets_the_client_in(revocations, open_revocations):
    revocations.add(switch("client", "shop"))
    worker = open_revocations()
    revocations.add(switch("client", "shop", disabled=False))
    revocations.compact(NOW, is_whole=True)

    worker.refresh()

    assert not worker.is_revoked(claims())


def test_compaction_keeps_of_each_caller_what_it_is_and_forgets_enabled_ones_in_the_end(revocations, tmp_path):
    for it in (switch("client", "a"), switch("client", "b"), switch("client", "b", disabled=False)):
        revocations.add(it)

    revocations.compact(NOW)
    assert lines_of(tmp_path) == [("a", True), ("b", False)]

    revocations.compact(NOW + KEPT_S + 1)
    assert lines_of(tmp_path) == [("a", True)]


def lines_of(tmp_path):
    entries = [json.loads(line) for line in (tmp_path / "revocations").read_bytes().splitlines()]
    return [(entry["value"], entry["disabled"]) for entry in entries]


# -- very many


def test_tokens_are_gathered_and_stay_refused_in_running_processes_and_new_ones(
    revocations, open_revocations, tmp_path
):
    worker = open_revocations()
    for it in (jti("old", NOW - KEPT_S), jti("a"), key("k"), named("client", "x"), switch("client", "y")):
        revocations.add(it)

    assert revocations.compact(NOW, is_whole=True) == 2
    worker.refresh()

    assert (tmp_path / "revocations").read_bytes().count(b"\n") == 3
    for seen in (revocations, worker, open_revocations()):
        assert seen.refusal(claims("a")) == "the token was revoked"
        assert not seen.is_revoked(claims("b"))
        assert seen.is_revoked(api_key("k"))
        assert seen.is_revoked(claims("c", client="x"))
        assert seen.is_revoked(claims("c", client="y"))
    assert not open_revocations().is_revoked(claims("old"))


def test_what_is_added_after_gathering_counts_at_once_and_is_gathered_with_the_rest(revocations, open_revocations):
    for number in range(3):
        revocations.add(jti(f"t-{number}"))
        revocations.compact(NOW + number, is_whole=True)
    assert not revocations.add(jti("t-0"))
    revocations.add(jti("last"))

    for seen in (revocations, open_revocations()):
        assert [seen.is_revoked(claims(name)) for name in ("t-0", "t-1", "t-2", "last", "t-3")] == [True] * 4 + [False]


def test_gathered_tokens_that_have_expired_go_away(revocations, open_revocations):
    revocations.add(jti("a"))
    revocations.compact(NOW, is_whole=True)

    revocations.compact(LATER + KEPT_S + 1)

    assert not open_revocations().is_revoked(claims("a"))


def test_a_token_revoked_while_others_are_gathered_is_not_lost(revocations, open_revocations):
    late = open_revocations()
    revocations.add(jti("a"))
    rewrite = revocations._journal.rewrite

    def rewrite_later(kept):
        late.add(jti("in between"))
        return rewrite(kept)

    revocations._journal.rewrite = rewrite_later
    revocations.compact(NOW, is_whole=True)

    for seen in (revocations, late, open_revocations()):
        seen.refresh()
        assert all(seen.is_revoked(claims(name)) for name in ("a", "in between"))


def test_a_worker_that_never_saw_the_lines_that_were_gathered_looks_at_everything(revocations, open_revocations):
    revocations.compact(NOW, is_whole=True)
    worker = open_revocations()
    version = worker.version
    revocations.add(jti("a"))
    revocations.compact(NOW + 1)

    worker.refresh()

    assert worker.since(version) is None
    assert worker.is_revoked(claims("a"))


def test_a_worker_learns_what_came_token_by_token_also_when_others_gathered_it_meanwhile(revocations, open_revocations):
    revocations.add(jti("first"))
    revocations.compact(NOW, is_whole=True)
    worker = open_revocations()
    version = worker.version
    revocations.add(jti("a"))
    revocations.compact(NOW + 1)
    revocations.add(jti("b"))

    worker.refresh()

    assert worker.since(version) == ["a", "b"]


def test_a_worker_that_slept_over_two_gatherings_looks_at_everything(revocations, open_revocations):
    revocations.compact(NOW, is_whole=True)
    worker = open_revocations()
    version = worker.version
    for number in (1, 2):
        revocations.add(jti(f"t-{number}"))
        revocations.compact(NOW + number)

    worker.refresh()

    assert worker.since(version) is None
    assert worker.version > version
    assert all(worker.is_revoked(claims(f"t-{number}")) for number in (1, 2))


def test_gathered_tokens_taken_away_from_a_running_process_stay_refused(revocations, open_revocations, tmp_path):
    revocations.add(jti("a"))
    revocations.compact(NOW, is_whole=True)
    (tmp_path / "revocations.ids").unlink()

    revocations.refresh()

    assert revocations.is_revoked(claims("a"))
    assert open_revocations().gathered_at == 0.0


def test_an_older_copy_put_back_takes_nothing_out_of_force(revocations, open_revocations, tmp_path):
    revocations.compact(NOW, is_whole=True)
    old = (tmp_path / "revocations.ids").read_bytes()
    revocations.add(jti("a"))
    revocations.compact(NOW + 1)
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "old").replace(tmp_path / "revocations.ids")

    revocations.refresh()

    assert revocations.is_revoked(claims("a"))


@pytest.mark.parametrize("content", [b"", b"x" * 40, b"REVOKED1" + b"\xff" * 24])
def test_damaged_ids_are_no_reason_to_let_anybody_in(revocations, tmp_path, counter, content):
    (tmp_path / "revocations.ids").write_bytes(content)

    with pytest.raises(StoreUnavailable, match="damaged"):
        Revocations(tmp_path / "revocations", counter).load()


def test_tokens_are_not_gathered_before_the_database_was_asked(revocations, tmp_path):
    revocations.add(jti("a"))

    assert revocations.compact(NOW) == 0

    assert not (tmp_path / "revocations.ids").exists()


def test_compaction_waits_until_it_is_worthwhile(revocations, tmp_path):
    revocations.compact(NOW, is_whole=True)
    revocations.add(jti("a"))

    assert revocations.compact_when_due(NOW + 3600) == 0
    assert revocations.compact_when_due(NOW + KEPT_S) == 1


def test_thousands_are_put_on_disk_at_once(revocations, open_revocations, tmp_path):
    assert revocations.add_all([jti(f"t-{number}") for number in range(5000)]) == 5000
    assert revocations.add_all([jti("t-1"), jti("new"), named("client", "shop")]) == 2

    assert (tmp_path / "revocations").read_bytes().count(b"\n") == 5002
    assert open_revocations().is_revoked(claims("t-4999", client="x"))


@pytest.mark.slow
def test_a_million_gathered_tokens_take_no_memory_of_their_own_and_load_at_once(tmp_path, counter):
    line = '{"kind":"jti","value":"%s","revoked_at":1.0,"expires_at":9e9,"cutoff":null,"by":"test"}\n'
    (tmp_path / "many").write_text("".join(line % number for number in range(1_000_000)))
    first = Revocations(tmp_path / "many", counter)
    assert first.compact(NOW, is_whole=True) == 1_000_000

    started, before = time.process_time(), private_bytes()
    worker = Revocations(tmp_path / "many", counter)
    worker.load()
    took_s = time.process_time() - started

    assert took_s < 0.1
    assert private_bytes() - before < 1_000_000
    assert worker.is_revoked(claims("999999"))
    assert not worker.is_revoked(claims("1000000"))


def private_bytes():
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(("Private_Dirty", "Swap:")))


def test_a_hundred_thousand_entries_load_in_less_than_a_second(tmp_path, counter):
    line = '{"kind":"jti","value":"%s","revoked_at":1.0,"expires_at":9e9,"cutoff":null,"by":"test"}\n'
    (tmp_path / "many").write_text("".join(line % number for number in range(100_000)))
    revocations = Revocations(tmp_path / "many", counter)

    started = time.process_time()
    revocations.load()

    assert time.process_time() - started < 1.0
    assert revocations.is_revoked(claims("99999"))
    revocations.close()
