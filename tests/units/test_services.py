"""What services open they let go of: at their end, and when they cannot be had."""

import gc
from contextlib import contextmanager

import pytest

from entrepot.chassis.shared import SharedState
from entrepot.errors import SettingsError
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor
from open_files import open_below


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "entrepot.ini").write_text(f"[store]\ndirectory = {tmp_path}/store\n")
    return load_settings(tmp_path / "entrepot.ini", {})


@contextmanager
def nothing_left_open(directory):
    """Check that as many files below *directory* are open at the end as at the beginning."""
    before = open_below(directory)
    gc.disable()
    try:
        yield
        assert open_below(directory) == before
    finally:
        gc.enable()


def test_services_that_cannot_be_had_leave_nothing_open(settings):
    Services.from_settings(settings).close()
    key = next((settings.store.directory / "keys").glob("*.key"))
    key.chmod(0o644)

    with nothing_left_open(settings.store.directory), pytest.raises(SettingsError, match="chmod 600"):
        Services.from_settings(settings)


def test_another_master_key_is_told_at_the_start_with_both_places_and_the_rest_is_served(
    settings, logged_by, monkeypatch
):
    directory = settings.store.directory
    Services.from_settings(settings).close()
    handed_in = directory.parent / "credentials"
    handed_in.mkdir()
    (handed_in / "master-key").write_text("ab" * 32)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(handed_in))

    with Services.from_settings(settings) as services:
        services.prepare()
        services.desk.revoke("client", "shop", actor=Actor("ann", "command", ""))

    (told,) = [record.reason for record in logged_by(Services) if record.levelname == "ERROR"]
    assert "the systemd credential master-key" in told
    assert f"{directory}/master.key" in told


def test_counters_are_known_to_be_the_last_after_the_next_boot(settings):
    with Services.from_settings(settings) as services:
        services.ledger_counter.bump()
        epoch = services.shared.epoch
    path = settings.store.directory / "shared"
    content = bytearray(path.read_bytes())
    content[16:52] = b"0" * 36
    path.write_bytes(content)

    after = SharedState.open(path)

    assert (after.epoch, after.counter("ledger").read()) == (epoch, 1)
