from __future__ import annotations

import os
import uuid
from threading import Thread

import pytest

from entrepot.chassis.operation import OperationIds, is_operation_id


def test_every_id_is_a_canonical_uuid4_and_none_comes_twice():
    ids = OperationIds()

    made = [ids.new() for _ in range(2000)]

    assert len(set(made)) == 2000
    parsed = [uuid.UUID(each.decode()) for each in made]
    assert all(each.version == 4 and each.variant == uuid.RFC_4122 for each in parsed)
    assert [str(each).encode() for each in parsed] == made


def test_all_random_bits_vary():
    ids = OperationIds()

    seen_or, seen_and = 0, (1 << 128) - 1
    for _ in range(1000):
        value = uuid.UUID(ids.new().decode()).int
        seen_or |= value
        seen_and &= value

    fixed = ((1 << 128) - 1) ^ (seen_or & ~seen_and)
    assert fixed == (0xF << 76) | (0b11 << 62)


def test_a_forked_child_never_repeats_the_ids_of_its_parent():
    ids = OperationIds()
    ids.new()
    reader, writer = os.pipe()

    pid = os.fork()
    if pid == 0:
        os.write(writer, b"".join(ids.new() for _ in range(300)))
        os._exit(0)
    os.waitpid(pid, 0)
    text = os.read(reader, 300 * 36)
    os.close(reader)
    os.close(writer)

    of_child = {text[start : start + 36] for start in range(0, len(text), 36)}
    assert len(of_child) == 300
    assert of_child.isdisjoint(ids.new() for _ in range(300))


def test_threads_share_a_maker_without_repeating_an_id():
    ids = OperationIds()
    made: list[list[bytes]] = [[], [], [], []]

    threads = [Thread(target=lambda own=own: own.extend(ids.new() for _ in range(3000))) for own in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({each for own in made for each in own}) == 12000


def test_an_id_is_known_in_upper_and_lower_case():
    text = str(uuid.uuid4()).encode()

    assert is_operation_id(text)
    assert is_operation_id(text.upper())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"0" * 36,
        b"c232ab00-9414-11ec-b3c8-9f6bdeced846",  # version 1
        b"919108f7-52d1-4320-cbac-f847db4148a8",  # not the variant of RFC 9562
        b"919108f7-52d1-4320-9bac-f847db4148a8\n",
        b"{919108f7-52d1-4320-9bac-f847db4148a}",
        b"919108f752d143209bacf847db4148a8",
        b"919108f7-52d1-4320-9bac-f847db4148g8",
    ],
)
def test_what_is_no_canonical_uuid4_is_no_operation_id(text: bytes):
    assert not is_operation_id(text)
