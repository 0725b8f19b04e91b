"""Files of a directory that is in use are not replaced, and those that are replaced are replaced together."""

import os
import shutil

import pytest

from entrepot.chassis.occupancy import DirectoryInUse, alone, occupy, replace
from kills import killed_at


@pytest.fixture
def home(tmp_path):
    """A directory with two files, a log beside the first, and a directory of one file."""
    home = tmp_path / "home"
    (home / "keys").mkdir(parents=True)
    for name in ("data", "data-log", "names", "keys/old"):
        (home / name).write_text("old")
    return home


def renew(home):
    """Replace all of *home* by new files, without a log."""
    with alone(home) as stage:
        (stage / "keys").mkdir()
        for name in ("data", "names", "keys/new"):
            (stage / name).write_text("new")
        pieces = [(stage / name, home / name) for name in ("keys", "names", "data")]
        replace(home, pieces, [home / "data-log"])


def content(home):
    return {str(path.relative_to(home)): path.read_text() for path in home.rglob("*") if path.is_file()}


OLD = {"data": "old", "data-log": "old", "names": "old", "keys/old": "old", "lock": ""}
NEW = {"data": "new", "names": "new", "keys/new": "new", "lock": ""}


def test_all_files_are_replaced_together(home):
    renew(home)

    assert content(home) == NEW


def test_what_was_made_ready_and_not_put_in_place_is_thrown_away(home):
    with alone(home) as stage:
        (stage / "data").write_text("new")

    assert content(home) == OLD


def test_a_directory_in_use_is_left_alone(home):
    occupants = [occupy(home), occupy(home)]

    with pytest.raises(DirectoryInUse, match=f"is in use by the processes {os.getpid()}"):
        renew(home)
    for occupant in occupants:
        occupant.close()
    renew(home)

    assert content(home) == NEW


def test_a_child_keeps_what_its_parent_gave_up(home):
    occupant = occupy(home)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    occupant.close()

    with pytest.raises(DirectoryInUse):
        renew(home)
    os.close(write)
    os.waitpid(pid, 0)
    os.close(read)
    renew(home)

    assert content(home) == NEW


def test_nobody_comes_in_while_files_are_replaced(home):
    with alone(home), pytest.raises(DirectoryInUse, match="are being replaced"):
        occupy(home, patience_s=0.05)

    occupy(home).close()


@pytest.mark.parametrize(
    "again", [None, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 8))], ids="killed again at {}".format
)
def test_a_kill_at_any_step_leaves_all_old_or_all_new(home, tmp_path, again):
    shutil.copytree(home, tmp_path / "kept")
    seen = []
    event = 1
    while killed_at(event, lambda: renew(home)):
        if again is not None:
            killed_at(again, lambda: occupy(home))
        occupy(home).close()
        seen.append(content(home))
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "kept", home)
        event += 1

    assert all(found in (OLD, NEW) for found in seen)
    assert (seen[0], seen[-1]) == (OLD, NEW)
    assert seen == sorted(seen, key=lambda found: found == NEW)
