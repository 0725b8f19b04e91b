from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from entrepot.chassis.exposition import living
from entrepot.chassis.metrics import Meter, exposition, http_durations, retire

CHILD = """
import sys, time
from pathlib import Path
from entrepot.chassis.metrics import Meter
meter = Meter(Path(sys.argv[1]), sys.argv[2])
counter = meter.counter("jobs_total", "Jobs.", ["kind"])
counter.labels("a").inc(int(sys.argv[3]))
meter.gauge("busy", "Busy.").labels().set(int(sys.argv[3]))
meter.histogram("wait_seconds", "Wait.", bounds=(1, 2)).labels().observe(1.5)
meter.flush()
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


@pytest.fixture
def start(directory: Path) -> Iterator:
    started: list[subprocess.Popen] = []

    def run(process: str, amount: int) -> subprocess.Popen:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(directory), process, str(amount)], stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield run
    for child in started:
        child.kill()
        child.communicate()


def read(directory: Path) -> dict[str, float]:
    """Return each sample as ``name{label=value}``."""
    found = {}
    for family in text_string_to_metric_families(exposition(directory).decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_counters_gauges_and_histograms_add_up_over_living_and_killed_processes(directory: Path, start):
    start("w-1", 3)
    victim = start("w-2", 4)

    both = read(directory)
    assert (both["jobs_total{kind=a}"], both["busy"]) == (7, 7)
    assert both["wait_seconds_bucket{le=2.0}"] == both["wait_seconds_count"] == 2
    assert (both["wait_seconds_bucket{le=1.0}"], both["wait_seconds_sum"]) == (0, 3.0)

    victim.send_signal(signal.SIGKILL)
    victim.wait()
    dead = read(directory)
    assert (dead["jobs_total{kind=a}"], dead["busy"], dead["wait_seconds_count"]) == (7, 3, 2)

    (directory / "w-2.new").touch()  # what a kill in the middle of a flush leaves
    retire(directory, "w-2")
    retire(directory, "w-2")
    assert read(directory) == dead
    assert not list(directory.glob("w-2.*"))


def test_the_living_are_told_from_the_killed(directory: Path, start):
    assert living(directory) == []
    start("courier-1", 1)
    killed = start("gateway-2", 1)
    assert living(directory) == ["courier-1", "gateway-2"]
    killed.kill()
    killed.wait()

    assert living(directory) == ["courier-1"]


def test_a_new_process_of_the_same_name_neither_loses_nor_doubles_counts(directory: Path, start):
    first = start("w-1", 3)
    first.kill()
    first.wait()

    start("w-1", 10)
    retire(directory, "w-1")  # what a master does when it learns of the first one's death too late

    assert (read(directory)["jobs_total{kind=a}"], read(directory)["busy"]) == (13, 10)


def test_a_retirement_that_was_killed_half_way_counts_nothing_twice(directory: Path, start):
    child = start("w-1", 5)
    child.kill()
    child.wait()
    left_behind = (directory / "w-1.json").read_bytes()

    retire(directory, "w-1")
    (directory / "w-1.json").write_bytes(left_behind)
    retired = (directory / "retired.json").read_bytes()
    (directory / "retired.json").write_bytes(
        retired.replace(b'"folded":{}', b'"folded":{"w-1":"%b"}' % run_of(left_behind))
    )

    assert read(directory)["jobs_total{kind=a}"] == 5
    retire(directory, "other")
    assert read(directory)["jobs_total{kind=a}"] == 5
    retire(directory, "w-1")
    assert read(directory)["jobs_total{kind=a}"] == 5
    assert not (directory / "w-1.json").exists()


def run_of(document: bytes) -> bytes:
    return json.loads(document)["run"].encode()


def test_an_orderly_end_keeps_every_count(directory: Path):
    meter = Meter(directory, "w-1")
    counter = meter.counter("jobs_total", "Jobs.").labels()
    counter.inc()
    meter.close()

    meter = Meter(directory, "w-1")
    meter.counter("jobs_total", "Jobs.").labels().inc()
    meter.flush()

    assert read(directory) == {"jobs_total": 2}
    meter.close()
    assert sorted(each.name for each in directory.iterdir()) == [".lock", "retired.json"]


def test_two_living_processes_cannot_have_one_name(directory: Path):
    meter = Meter(directory, "w-1")

    with pytest.raises(RuntimeError, match="w-1"):
        Meter(directory, "w-1")

    meter.close()


def test_a_damaged_file_is_left_out_and_logged(directory: Path, caplog: pytest.LogCaptureFixture):
    meter = Meter(directory, "w-1")
    meter.counter("jobs_total", "Jobs.").labels().inc()
    meter.flush()
    for number, damage in enumerate(
        [b"", b"{", b"[]", b"null", b'{"run":"x","families":[{"kind":"counter"}]}', b"\xff"]
    ):
        (directory / f"bad-{number}.json").write_bytes(damage)
    (directory / "retired.json").write_bytes(b'{"run":1')

    with caplog.at_level(logging.WARNING):
        assert read(directory) == {"jobs_total": 1}
    assert sum("damaged" in message for message in caplog.messages) == 7

    meter.close()
    assert read(directory) == {"jobs_total": 1}


def test_a_metric_that_changed_its_shape_counts_anew(directory: Path):
    old = Meter(directory, "old")
    old.histogram("wait_seconds", "Wait.", bounds=(1, 2)).labels().observe(1)
    old.close()
    new = Meter(directory, "new")
    new.histogram("wait_seconds", "Wait.", bounds=(5,)).labels().observe(1)
    new.flush()

    assert read(directory)["wait_seconds_count"] == 1

    new.close()
    assert read(directory)["wait_seconds_count"] == 1


def test_labels_are_escaped(directory: Path):
    meter = Meter(directory, "w-1")
    meter.counter("jobs_total", 'say "hi"\n\\', ["kind"]).labels('a"b\\c\nd\udc80').inc()
    meter.flush()

    assert read(directory) == {'jobs_total{kind=a"b\\c\nd\\udc80}': 1}
    assert b'jobs_total{kind="a\\"b\\\\c\\nd\\\\udc80"} 1.0' in exposition(directory)
    meter.close()


def test_no_caller_can_make_more_children_than_the_limit(directory: Path):
    for process in ("w-1", "w-2"):
        meter = Meter(directory, process)
        family = meter.counter("jobs_total", "Jobs.", ["path"], limit=10)
        for number in range(1000):
            family.labels(f"/{process}/{number}").inc()
        meter.close()

    samples = read(directory)
    assert len(samples) == 11
    assert sum(samples.values()) == 2000


def test_gauges_merge_as_they_say(directory: Path):
    meters = [Meter(directory, f"w-{number}") for number in (1, 2)]
    for value, meter in enumerate(meters, start=5):
        meter.gauge("newest", "x", merge="max").labels().set(value)
        meter.gauge("oldest", "x", merge="min").labels().set(value)
        meter.flush()

    assert read(directory) == {"newest": 6, "oldest": 5}
    for meter in meters:
        meter.close()


def test_requests_are_timed_under_the_name_of_the_predecessors(directory: Path):
    meter = Meter(directory, "w-1")
    http_durations(meter).labels("GET", "/404", "404").observe(0.01)
    meter.flush()

    samples = read(directory)
    assert samples["http_request_duration_seconds_bucket{handler=/404,le=0.01,method=GET,status=404}"] == 1
    assert samples["http_request_duration_seconds_bucket{handler=/404,le=0.005,method=GET,status=404}"] == 0
    meter.close()


def test_a_disk_that_takes_nothing_is_logged_once_and_ends_nothing(directory: Path, logged_by):
    meter = Meter(directory, "w-1")
    (directory / "w-1.new").mkdir()

    meter.flush()
    meter.flush()

    assert len(logged_by(Meter)) == 1
    (directory / "w-1.new").rmdir()
    meter.close()


@pytest.mark.parametrize("name", ["", "retired", "../x", "a/b", ".hidden", "a.b"])
def test_a_name_that_cannot_be_a_file_is_refused(directory: Path, name: str):
    with pytest.raises(ValueError, match="not the name of a process"):
        Meter(directory, name)


def test_misuse_is_refused(directory: Path):
    meter = Meter(directory, "w-1")
    family = meter.counter("jobs_total", "Jobs.", ["kind"])

    with pytest.raises(ValueError, match="labels"):
        family.labels()
    with pytest.raises(ValueError, match="already"):
        meter.gauge("jobs_total", "Jobs.")
    with pytest.raises(ValueError, match="_total"):
        meter.counter("jobs", "Jobs.")
    meter.close()


def test_a_directory_without_processes_exposes_nothing(directory: Path):
    assert exposition(directory) == b""


def test_a_meter_without_a_place_counts_on_and_writes_when_there_is_one(directory: Path, caplog):
    directory.write_bytes(b"")
    meter = Meter(directory, "gateway-1")
    counter = meter.counter("jobs_total", "Jobs.").labels()
    counter.inc(2)
    meter.flush()
    warned = caplog.text.count("metrics cannot be written")
    directory.unlink()

    meter.flush()
    counter.inc(1)
    meter.flush()

    assert warned == 1
    assert read(directory) == {"jobs_total": 3}
    meter.close()
    assert read(directory) == {"jobs_total": 3}


def test_counts_of_the_dead_stay_where_they_are_while_they_cannot_be_folded(directory: Path, start, caplog):
    child = start("one", 3)
    child.kill()
    child.wait()
    # Where the sum of the retired would be written.
    (directory / "retired.new").mkdir()

    retire(directory, "one")
    meter = Meter(directory, "two")
    meter.counter("jobs_total", "Jobs.", ["kind"]).labels("a").inc(4)
    meter.flush()

    assert read(directory)["jobs_total{kind=a}"] == 7
    assert "cannot be folded yet" in caplog.text
    (directory / "retired.new").rmdir()
    meter.close()
    retire(directory, "one")
    assert read(directory)["jobs_total{kind=a}"] == 7
    assert not (directory / "one.json").exists()


def test_retiring_where_nothing_ever_was_is_logged_and_no_more(directory: Path, caplog):
    retire(directory, "one")

    assert "cannot be folded yet" in caplog.text
