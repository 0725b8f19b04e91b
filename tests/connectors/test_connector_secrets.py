from __future__ import annotations

import pytest

from entrepot.connectors.secrets import read_secret
from entrepot.errors import SettingsError


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
