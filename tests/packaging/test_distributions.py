"""What is shipped: the source distribution holds what git holds, the wheel what the program needs to run."""

import subprocess
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def out(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Copy what git holds, as it is now: a build leaves files where it runs, and takes in what lies about."""
    copy = tmp_path_factory.mktemp("checkout")
    names = [name for name in out("git", "ls-files", "-z", cwd=ROOT).split("\0") if name and (ROOT / name).exists()]
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    return copy, names


@pytest.fixture(scope="module")
def distributions(checkout, tmp_path_factory):
    """Build the source distribution, and the wheel from it; return the paths of both."""
    directory = tmp_path_factory.mktemp("dist")
    venv.create(directory / "tools", with_pip=True)
    python = str(directory / "tools" / "bin" / "python")
    out(python, "-m", "pip", "install", "--quiet", "build", cwd=directory)
    out(python, "-m", "build", "--outdir", str(directory), str(checkout[0]), cwd=directory)
    (source,) = directory.glob("*.tar.gz")
    (wheel,) = directory.glob("*.whl")
    return source, wheel


def test_source_distribution_holds_what_git_holds(checkout, distributions):
    with tarfile.open(distributions[0]) as archive:
        held = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}

    assert [name for name in checkout[1] if not name.startswith(".") and name not in held] == []


def test_wheel_holds_every_file_of_the_package_and_nothing_else(checkout, distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert held == {name.removeprefix("src/") for name in checkout[1] if name.startswith("src/entrepot/")}


def test_wheel_is_for_every_machine_and_makes_the_command(distributions):
    with zipfile.ZipFile(distributions[1]) as archive:
        (points,) = [archive.read(name) for name in archive.namelist() if name.endswith("entry_points.txt")]

    assert distributions[1].name.endswith("-py3-none-any.whl")
    assert b"entrepot = entrepot.cli.main:main" in points


def test_metadata_pass_the_check_of_the_index(distributions, tmp_path):
    python = str(distributions[0].parent / "tools" / "bin" / "python")
    out(python, "-m", "pip", "install", "--quiet", "twine", cwd=tmp_path)

    said = out(python, "-m", "twine", "check", "--strict", *map(str, distributions), cwd=tmp_path)

    assert said.count("PASSED") == 2
