from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.chassis.lines import BACKLOG_BYTES, BATCH_LINES, LineWriter

LINE = b"x" * 99 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_lines_wait_for_the_batch_or_the_flush(tmp_path: Path):
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    writer = LineWriter(fd)

    writer.write(b"one\n")
    assert path.read_bytes() == b""
    writer.flush()
    assert path.read_bytes() == b"one\n"
    for _ in range(BATCH_LINES):
        writer.write(b"two\n")
    assert path.read_bytes() == b"one\n" + b"two\n" * BATCH_LINES
    for _ in range(3):
        writer.write(b"x" * 9_999 + b"\n")
    assert len(path.read_bytes()) == 4 + 4 * BATCH_LINES + 30_000
    writer.close()
    os.close(fd)


def test_a_reader_that_does_not_read_blocks_nobody_and_loses_only_what_is_too_much(pipe: tuple[int, int]):
    reader, writer_fd = pipe
    writer = LineWriter(writer_fd)
    total = BACKLOG_BYTES // len(LINE) * 2

    started = time.monotonic()
    for _ in range(total):
        writer.write(LINE)
    took_s = time.monotonic() - started
    dropped = writer.dropped
    received = b""
    os.set_blocking(reader, False)
    for _ in range(1000):
        try:
            received += os.read(reader, 1 << 16)
        except BlockingIOError:
            break
        writer.flush()
    writer.close()

    assert took_s < 2
    assert 0 < dropped < total
    assert received == LINE * (total - dropped)
    assert writer.dropped == dropped


def test_the_flags_of_the_descriptor_stay_as_they_are_because_others_share_it(pipe: tuple[int, int]):
    flags = fcntl.fcntl(pipe[1], fcntl.F_GETFL)

    LineWriter(pipe[1]).close()

    assert fcntl.fcntl(pipe[1], fcntl.F_GETFL) == flags
    os.write(pipe[1], b"still open")


def test_lines_of_two_writers_on_one_pipe_stay_whole(pipe: tuple[int, int]):
    one, two = LineWriter(pipe[1]), LineWriter(pipe[1])
    for _ in range(100):
        one.write(b"1" * 200 + b"\n")
        two.write(b"2" * 200 + b"\n")

    one.close()
    two.close()

    lines = os.read(pipe[0], 1 << 16).splitlines()
    assert len(lines) == 200
    assert set(lines) == {b"1" * 200, b"2" * 200}


def test_a_reader_that_is_gone_costs_the_lines_and_not_the_process():
    reader, writer_fd = os.pipe()
    writer = LineWriter(writer_fd)
    os.close(reader)

    writer.write(b"one\n")
    writer.flush()
    writer.write(b"two\n")
    writer.close()

    assert writer.dropped == 2
    os.close(writer_fd)


def test_a_full_socket_blocks_nobody_and_keeps_the_rest():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer = LineWriter(ours.fileno())
        for _ in range(5000):
            writer.write(LINE)
        received = 0
        theirs.settimeout(1)
        while received < 5000 * len(LINE) - writer.dropped * len(LINE):
            received += len(theirs.recv(1 << 16))
            writer.flush()
        writer.close()

    assert writer.dropped == 0
    assert received == 5000 * len(LINE)


def test_what_was_dropped_is_told_when_it_goes_on(pipe: tuple[int, int], logged_by):
    reader, writer_fd = pipe
    os.set_blocking(reader, False)
    writer = LineWriter(writer_fd)
    for _ in range(BACKLOG_BYTES // len(LINE) * 2):
        writer.write(LINE)
    stuck = logged_by(LineWriter)
    while not logged_by(LineWriter):
        os.read(reader, 1 << 16)
        writer.flush()
    writer.close()

    assert stuck == []
    assert [record.lines for record in logged_by(LineWriter)] == [writer.dropped]


def test_a_reader_that_is_gone_is_told_nothing(logged_by):
    reader, writer_fd = os.pipe()
    writer = LineWriter(writer_fd)
    os.close(reader)
    for _ in range(3):
        writer.write(LINE)
        writer.flush()
    writer.close()
    os.close(writer_fd)

    assert writer.dropped == 3
    assert logged_by(LineWriter) == []


def test_a_writer_that_is_closed_touches_no_other_file(tmp_path: Path, pipe: tuple[int, int]):
    writer = LineWriter(pipe[1])
    writer.close()
    with (tmp_path / "other").open("wb") as other:
        writer.write(LINE)
        writer.close()
        other.write(b"mine")

    assert (tmp_path / "other").read_bytes() == b"mine"
