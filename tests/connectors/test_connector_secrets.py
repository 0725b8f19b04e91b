from __future__ import annotations

import pytest

from entrepot.connectors.secrets import read_secret
from entrepot.errors import SettingsError
from entrepot.identity.master import MasterKey
from entrepot.settings import CREDENTIALS, credential_path


def test_secret_is_read_from_its_file_without_the_last_newline(tmp_path):
    (tmp_path / "erp").write_text(" pass word \n")

    assert read_secret(f"file:{tmp_path}/erp") == " pass word "


def test_secret_is_read_from_environment_and_credentials(tmp_path, monkeypatch):
    (tmp_path / "erp").write_text("two")
    monkeypatch.setenv("ERP_SECRET", "one")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert read_secret("env:ERP_SECRET") == "one"
    assert read_secret("credential:erp") == "two"


@pytest.mark.parametrize("reference", ["file:/no/such/place", "env:NO_SUCH_NAME", "credential:erp"])
def test_missing_secret_names_the_reference(reference, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    with pytest.raises(SettingsError, match=reference):
        read_secret(reference)


@pytest.mark.parametrize("literal", ["hunter2", "plain:hunter2", "file:", "credential:../hunter2", ""])
def test_what_is_no_reference_is_refused_and_not_repeated(literal):
    with pytest.raises(SettingsError) as caught:
        read_secret(literal)

    assert "hunter2" not in str(caught.value)


def test_file_that_is_empty_or_no_text_is_refused(tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff")

    for name in ("empty", "bytes"):
        with pytest.raises(SettingsError, match=name):
            read_secret(f"file:{tmp_path}/{name}")


def test_files_of_a_directory_that_systemd_hands_in_are_found_by_their_own_names(tmp_path, monkeypatch):
    (tmp_path / "entrepot_erp").write_text("three")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    assert read_secret("credential:erp") == "three"


@pytest.mark.parametrize("name", ["master-key", "entrepot_master-key"])
def test_master_key_is_no_secret_of_an_upstream(name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("0" * 64)
    (tmp_path / "innocent").symlink_to(tmp_path / name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    for reference in (f"credential:{name}", f"file:{tmp_path}/{name}", f"file:{tmp_path}/innocent"):
        with pytest.raises(SettingsError, match="shown to no upstream") as caught:
            read_secret(reference)
        assert "0000" not in str(caught.value)


def test_no_file_of_a_store_is_a_secret_of_an_upstream(tmp_path):
    master = MasterKey("auto", tmp_path)
    master.make()
    master.note()
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "one").write_text("sealed")

    for place in ("master.key", "keys/one", "keys/../master.key"):
        with pytest.raises(SettingsError, match="shown to no upstream"):
            read_secret(f"file:{tmp_path}/{place}")


def test_without_systemd_credentials_are_the_files_from_which_it_takes_them(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)

    assert credential_path("erp") == CREDENTIALS / "erp"
