"""The journal as systemd-journald sees it: datagrams of fields, and a process that waits for nobody."""

import socket
import subprocess
import sys
import time

import pytest

from entrepot.chassis.journal import JournalWriter, record
from entrepot.chassis.lines import BACKLOG_BYTES


class Journal:
    """What journald is to a process: a socket for datagrams at *path*."""

    def __init__(self, path):
        self.path = path
        self.socket = None
        self.listen()

    def listen(self):
        self.path.unlink(missing_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(5)

    def close(self):
        self.socket.close()

    def entry(self):
        """The next entry, by its fields."""
        return parsed(self.socket.recv(1 << 20))

    def entries(self):
        """All entries that are there."""
        found = []
        self.socket.setblocking(False)
        try:
            while True:
                found.append(self.entry())
        except BlockingIOError:
            return found
        finally:
            self.socket.settimeout(5)


def parsed(data):
    """Read *data* as journald does (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, has_value, value = line.partition(b"=")
        if not has_value:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[8 + size + 1 :]
        fields[name.decode("ascii")] = value
    return fields


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.close()


def test_a_record_is_a_datagram_of_its_own_and_a_line_end_in_a_value_is_no_field(journal):
    writer = JournalWriter(journal.path)

    writer.write(record({"MESSAGE": b"one\nPRIORITY=0", "PRIORITY": b"6"}))
    writer.write(record({"MESSAGE": b"two"}))
    writer.flush()
    writer.close()

    assert journal.entries() == [{"MESSAGE": b"one\nPRIORITY=0", "PRIORITY": b"6"}, {"MESSAGE": b"two"}]


def test_a_value_of_any_length_fits_into_a_datagram(journal):
    writer = JournalWriter(journal.path)

    writer.write(record({f"F{number}": b"x\n" * 100_000 for number in range(5)}))
    writer.flush()
    writer.close()

    assert [len(value) for value in journal.entry().values()] == [1 << 15] * 5
    assert writer.dropped == 0


def test_a_journal_that_does_not_read_keeps_nobody_waiting_and_what_is_too_much_is_counted(journal):
    writer = JournalWriter(journal.path)
    one = record({"MESSAGE": b"x" * 500})
    total = 2 * BACKLOG_BYTES // len(one)

    started = time.monotonic()
    for _ in range(total):
        writer.write(one)
    writer.flush()
    took_s = time.monotonic() - started
    received = 0
    while found := journal.entries():
        received += len(found)
        writer.flush()
    writer.close()

    assert took_s < 2
    assert 0 < writer.dropped < total
    assert received == total - writer.dropped


def test_a_journal_that_reads_at_once_gets_all_by_a_queue_that_holds_ten(journal):
    writer = JournalWriter(journal.path)

    received = 0
    for _ in range(100):
        writer.write(record({"MESSAGE": b"one"}))
        received += len(journal.entries())
    writer.close()

    assert received + len(journal.entries()) == 100
    assert writer.dropped == 0


def test_a_journal_that_comes_back_is_found_again(journal):
    writer = JournalWriter(journal.path)
    journal.close()
    writer.write(record({"MESSAGE": b"lost"}))
    writer.flush()
    journal.listen()

    writer.write(record({"MESSAGE": b"there"}))
    writer.flush()
    writer.close()

    assert [entry["MESSAGE"] for entry in journal.entries()] == [b"there"]
    assert writer.dropped == 1


PROGRAM = """
import logging, os, sys
from pathlib import Path
from entrepot.chassis.log import setup_logging
status = os.fstat(2)
environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
setup_logging("info", "auto", patient=False, identifier="entrepot-test", environ=environ, journal=Path(sys.argv[1]))
log = logging.getLogger("entrepot.test")
facts = {"transaction": "t-1", "client": "shop", "partner": "azure", "endpoint": "orders", "status": 503}
log.warning("it went wrong\\nPRIORITY=0", extra={**facts, "operation_id": b"op-1"})
log.info("without an operation")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a traceback")
"""


@pytest.fixture
def logged(journal):
    """What a process has logged that systemd started with its standard error in the journal."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, journal.path], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    return journal.entries()


def test_facts_are_fields_of_their_own(logged):
    first, second, _ = logged

    assert {name: value.decode() for name, value in first.items() if name != "MESSAGE"} == {
        "TRANSACTION": "t-1", "CLIENT": "shop", "PARTNER": "azure", "ENDPOINT": "orders", "STATUS": "503",
        "OPERATION_ID": "op-1", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "entrepot-test", "LOGGER": "entrepot.test",
    }  # fmt: skip
    assert first["MESSAGE"].startswith(b"[op-1] entrepot.test: it went wrong\\nPRIORITY=0 transaction=t-1")
    assert (second["PRIORITY"], "OPERATION_ID" in second) == (b"6", False)
    assert second["MESSAGE"].startswith(b"entrepot.test: ")


def test_a_traceback_is_one_record(logged):
    *_, last = logged

    assert last["PRIORITY"] == b"3"
    assert b"a traceback\n  Traceback" in last["MESSAGE"]
    assert b"ZeroDivisionError" in last["MESSAGE"]


def test_a_process_that_systemd_did_not_start_logs_to_standard_error(journal):
    code = PROGRAM.replace("{status.st_dev}", "1")

    done = subprocess.run([sys.executable, "-c", code, journal.path], check=True, capture_output=True, text=True)

    assert done.stderr.count("[WARNING][op-1] entrepot.test: it went wrong") == 1
    assert journal.entries() == []


def test_a_journal_that_was_asked_for_and_is_not_there_is_an_error(tmp_path):
    code = PROGRAM.replace('"auto"', '"journal"')

    done = subprocess.run([sys.executable, "-c", code, tmp_path / "none"], check=False, capture_output=True, text=True)

    assert done.returncode == 1
    assert "No such file" in done.stderr
