from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from entrepot.chassis.log import FORMAT, JournalHandler, OperationIdFormatter, get_log_config_dict, setup_logging
from entrepot.chassis.operation import current_operation_id

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[(?P<level>\w+)\]\[(?P<id>[^]]*)\] (?P<name>[\w.]+): (?P<rest>.*)"
)


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger = logging.Logger("entrepot.test")  # noqa: LOG001 - one that no other test shares
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OperationIdFormatter(FORMAT))
    logger.addHandler(handler)
    yield logger, stream
    handler.close()


def test_a_line_has_time_level_operation_id_name_and_message(written):
    logger, stream = written
    token = current_operation_id.set("919108f7-52d1-4320-9bac-f847db4148a8")

    logger.info("hello %s", "world")
    current_operation_id.reset(token)
    logger.warning("outside")

    first, second = [LINE.fullmatch(line) for line in stream.getvalue().splitlines()]
    assert first.groups() == ("INFO", "919108f7-52d1-4320-9bac-f847db4148a8", "entrepot.test", "hello world")
    assert second.groups() == ("WARNING", "No operation_id", "entrepot.test", "outside")


def test_an_operation_id_in_extra_wins_and_may_be_bytes(written):
    logger, stream = written

    logger.info("x", extra={"operation_id": b"919108f7-52d1-4320-9bac-f847db4148a8"})

    assert "[919108f7-52d1-4320-9bac-f847db4148a8] entrepot.test: x\n" in stream.getvalue()


def test_facts_follow_the_message(written):
    logger, stream = written

    logger.info("delivered", extra={"attempt": 2, "took_ms": 1.5, "partner": "Zażółć sp. z o.o.", "path": "/a/b"})

    assert stream.getvalue().endswith('delivered attempt=2 took_ms=1.5 partner="Zażółć sp. z o.o." path=/a/b\n')


@pytest.mark.parametrize("evil", ["\n", "\r\n", "\x0b", "\x85", "\u2028", "\x1b[2J", "\x00", "\u202e", "\udc80"])
def test_nothing_in_a_message_or_fact_begins_a_line_or_moves_the_cursor(written, evil: str):
    logger, stream = written
    forged = f"x{evil}2026-11-21 00:00:00,000 [INFO][x] root: forged"

    logger.info(forged)
    logger.info("%s", forged, extra={"fact": forged, "operation_id": forged})

    lines = stream.getvalue().removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


def fail(message: str) -> None:
    raise ValueError(message)


def test_no_line_of_a_traceback_can_pass_for_a_record(written):
    logger, stream = written

    try:
        fail("x\n2026-11-21 00:00:00,000 [INFO][x] root: forged\x1b[31m")
    except ValueError:
        logger.exception("it failed", stack_info=True)

    first, *rest = stream.getvalue().removesuffix("\n").split("\n")
    assert LINE.fullmatch(first)
    assert rest
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
    assert any("forged" in line for line in rest)


def test_the_log_config_has_a_logger_of_the_name_and_leaves_others_alone():
    config = get_log_config_dict("my-app")

    assert config["loggers"]["my-app"]["level"] == "INFO"
    assert config["formatters"]["standard"]["format"] == FORMAT
    assert config["disable_existing_loggers"] is False
    assert config["root"]["level"] == "INFO"


def test_a_logger_made_before_the_setup_still_logs_to_standard_error_at_the_level_asked_for():
    code = (
        "import logging; early = logging.getLogger('early')\n"
        "from entrepot.chassis.log import setup_logging; setup_logging('debug'); setup_logging('debug')\n"
        "early.debug('still here')"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == ""
    assert LINE.fullmatch(done.stderr.removesuffix("\n")).group("rest") == "still here"


def test_a_journal_variable_of_another_stream_means_standard_error(logging_restored: None):
    setup_logging("info", "auto", environ={"JOURNAL_STREAM": "1:1"})

    handler = logging.getLogger().handlers[0]
    assert type(handler) is logging.StreamHandler


def test_the_journal_gets_the_facts_as_fields():
    sent: list[tuple[str, dict[str, Any]]] = []
    handler = JournalHandler(lambda message, **fields: sent.append((message, fields)), "entrepot-gateway")
    handler.setFormatter(OperationIdFormatter("[%(levelname)s][%(operation_id)s] %(name)s: %(message)s"))
    record = logging.makeLogRecord(
        {"name": "a.b", "levelno": logging.ERROR, "levelname": "ERROR", "msg": "gone", "upstream": "odoo", "_x-1": 2}
    )
    record.operation_id = "919108f7-52d1-4320-9bac-f847db4148a8"
    record.priority = "forged"

    handler.handle(record)

    message, fields = sent[0]
    assert message.startswith("[ERROR][919108f7-52d1-4320-9bac-f847db4148a8] a.b: gone upstream=odoo")
    assert fields == {
        "UPSTREAM": "odoo",
        "X_1": "2",
        "FACT_PRIORITY": "forged",
        "SYSLOG_IDENTIFIER": "entrepot-gateway",
        "LOGGER": "a.b",
        "PRIORITY": "3",
        "OPERATION_ID": "919108f7-52d1-4320-9bac-f847db4148a8",
    }


def test_a_fact_called_like_a_stream_is_fine(written):
    logger, stream = written

    logger.info("x", extra={"stdin": os.devnull})

    assert stream.getvalue().endswith("x stdin=/dev/null\n")


IMPATIENT = """
import logging, os, sys, time
from entrepot.chassis.log import flush_log, setup_logging
setup_logging("info", "stderr", patient=False)
log = logging.getLogger("entrepot.test")
told = []
logging.getLogger("entrepot.chassis.lines").addFilter(lambda record: told.append(record) or True)
begun = time.monotonic()
for number in range(20_000):
    log.warning("x" * 100, extra={"number": number})
print(time.monotonic() - begun, flush=True)
sys.stdin.read()
until = time.monotonic() + 50
while not told and time.monotonic() < until:
    flush_log()
    time.sleep(0.002)
log.info("the last")
"""


def test_who_is_not_patient_drops_lines_of_a_stuck_reader_and_says_so_when_it_goes_on():
    child = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    took_s = float(child.stdout.readline())
    _, said = child.communicate(b"", timeout=60)
    lines = [LINE.fullmatch(line) for line in said.decode().splitlines()]
    dropped = [line["rest"] for line in lines if "dropped" in line["rest"]]

    assert took_s < 5
    assert all(lines)
    assert len(dropped) == 1
    assert len(lines) + int(dropped[0].rpartition("=")[2]) == 20_000 + 2
    assert lines[-1]["rest"] == "the last"


def test_an_impatient_log_writes_each_line_at_once(tmp_path):
    code = (
        "import logging, os; from entrepot.chassis.log import setup_logging;"
        "setup_logging('info', 'stderr', patient=False); logging.getLogger('a').info('one\\ntwo'); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert LINE.fullmatch(done.stderr.strip())["rest"] == r"one\ntwo"
