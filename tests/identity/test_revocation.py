import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from entrepot.errors import BadRequest, StoreUnavailable
from entrepot.identity.claims import Claims
from entrepot.identity.revocation import KEPT_S, Revocation, Revocations

NOW = 1_800_000_000
LATER = NOW + 3600


def jti(value, expires_at=LATER):
    return Revocation("jti", value, NOW, expires_at)


def named(kind, value, cutoff=NOW, expires_at=LATER):
    return Revocation(kind, value, NOW, expires_at, cutoff=cutoff)


def claims(jti="t", issued_at=NOW, client="shop", partner="acme"):
    return Claims(client, partner, jti, frozenset(), LATER, issued_at, "k")


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
    assert other.changed

    assert other.refresh()

    assert other.is_revoked(claims("a"))
    assert not other.changed
    assert not other.refresh()


def test_what_was_appended_by_a_process_that_died_before_it_told_is_found(revocations, open_revocations, counter):
    other = open_revocations()
    revocations.add(jti("a"))
    counter.value -= 1

    assert other.refresh()

    assert other.is_revoked(claims("a"))


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
    with revocations._locked():
        waiting = subprocess.Popen([sys.executable, "-c", APPENDER, tmp_path / "revocations", "late", "1"], stdout=-1)
        deadline = time.monotonic() + 1
        while f"{waiting.pid}" not in Path("/proc/locks").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        (tmp_path / "next").write_bytes(b"")
        (tmp_path / "next").replace(tmp_path / "revocations")
    waiting.communicate(timeout=10)

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
        process.communicate(timeout=20)

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


def test_a_hundred_thousand_entries_load_in_less_than_a_second(tmp_path, counter):
    line = '{"kind":"jti","value":"%s","revoked_at":1.0,"expires_at":9e9,"cutoff":null,"by":"test"}\n'
    (tmp_path / "many").write_text("".join(line % number for number in range(100_000)))
    revocations = Revocations(tmp_path / "many", counter)

    started = time.process_time()
    revocations.load()

    assert time.process_time() - started < 1.0
    assert revocations.is_revoked(claims("99999"))
    revocations.close()
