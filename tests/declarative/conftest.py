from pathlib import Path

import pytest
from catalog_example import TYPES

from entrepot.declarative.document import check_files
from entrepot.errors import CatalogError


@pytest.fixture
def files(tmp_path):
    def write(text: str | bytes, name: str = "catalog.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def mistakes(files):
    """Return what is wrong with a catalog: ``{"line: path": message}``, in the order of the report."""

    def check(text: str | bytes, *more: str) -> dict[str, str]:
        paths = [files(part, f"catalog{index or ''}.yaml") for index, part in enumerate((text, *more))]
        try:
            check_files(paths)
        except CatalogError as error:
            found = [
                (str(mistake.path).rpartition("/")[2].removeprefix("catalog.yaml:"), mistake.message)
                for mistake in error.errors
            ]
            assert len(dict(found)) == len(found)
            return dict(found)
        return {}

    return check


@pytest.fixture
def draft(files):
    return lambda text: check_files([files(text)])


@pytest.fixture
def ask():
    return lambda _upstream, model: TYPES[model]
