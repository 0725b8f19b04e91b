"""How old the newest backup is, as the metrics say it."""

import os

import pytest

from entrepot.gateway.backups import LOOK_S, Backups
from entrepot.settings import MASTER_MARK

NOW = 1_000_000.0


@pytest.fixture
def made(tmp_path):
    (tmp_path / "backups").mkdir()

    def made(name, at):
        path = tmp_path / name
        path.touch()
        os.utime(path, (at, at))

    made(MASTER_MARK, NOW - 500)
    return made


def test_the_newest_backup_counts_and_nothing_else(tmp_path, made):
    for name, at in (("entrepot-1.tar", NOW - 90), ("entrepot-2.tar", NOW - 30), ("notes", NOW)):
        made(f"backups/{name}", at)

    assert Backups(tmp_path).age_s(0.0, NOW) == 30


def test_without_any_backup_it_is_the_age_of_the_store(tmp_path, made):
    assert Backups(tmp_path).age_s(0.0, NOW) == 500


def test_without_their_folder_nothing_is_said(tmp_path, made):
    (tmp_path / "backups").rmdir()

    assert Backups(tmp_path).age_s(0.0, NOW) is None


def test_backups_are_looked_at_once_a_minute(tmp_path, made):
    backups = Backups(tmp_path)
    assert backups.age_s(0.0, NOW) == 500
    made("backups/entrepot-1.tar", NOW)

    assert backups.age_s(LOOK_S - 1, NOW + LOOK_S - 1) == 500 + LOOK_S - 1
    assert backups.age_s(LOOK_S, NOW + LOOK_S) == LOOK_S
