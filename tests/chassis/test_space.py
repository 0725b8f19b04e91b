"""How much room a disk has is what the system says, and none where it says nothing."""

import shutil

import pytest

from entrepot.chassis.space import free_bytes


def test_free_space_is_what_a_process_without_rights_may_write(tmp_path):
    assert free_bytes(tmp_path) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)


def test_there_is_no_room_where_nobody_can_look(tmp_path):
    assert free_bytes(tmp_path / "missing") == 0
