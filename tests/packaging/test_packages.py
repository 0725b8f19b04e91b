"""The packages that were built last: what is in them, and how large they are."""

import os
import re
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.host

ROOT = Path(__file__).parents[2]
DIST = Path(os.environ.get("ENTREPOT_TEST_DIST", ROOT / "dist"))
MOST_BYTES = 25_000_000
DOCUMENTS = (
    "usr/share/doc/entrepot/copyright",
    "usr/share/doc/entrepot/NEWS.Debian.gz",
    "usr/share/doc/entrepot/README.Debian",
    "usr/share/bash-completion/completions/entrepot",
    "usr/share/man/man1/entrepot.1.gz",
    "usr/share/man/man1/entrepot-check.1.gz",
    "usr/share/man/man5/entrepot.ini.5.gz",
)


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def package(request):
    """The package of each suite."""
    if request.param not in os.environ.get("ENTREPOT_TEST_SUITES", request.param).split():
        pytest.skip("ENTREPOT_TEST_SUITES leaves it out")
    return Path(out(ROOT / "debian/built-for", request.param, DIST).strip())


@pytest.fixture(scope="module")
def names(package):
    """The paths of the files in the package."""
    return [line.split(maxsplit=5)[5].removeprefix("./") for line in out("dpkg-deb", "-c", package).splitlines()]


def out(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_it_is_small_enough(package):
    assert package.stat().st_size < MOST_BYTES


def test_every_module_has_its_byte_code(names):
    site = re.compile(r"usr/lib/entrepot/lib/python3\.\d+/site-packages/(.*)")
    modules = {
        match[1].removesuffix(".py") for match in map(site.fullmatch, names) if match and match[1].endswith(".py")
    }
    compiled = {
        re.sub(r"__pycache__/(.*)\.cpython-3\d+\.pyc", r"\1", match[1])
        for match in map(site.fullmatch, names)
        if match and match[1].endswith(".pyc")
    }

    assert len(modules) > 1000
    assert modules == compiled


def test_it_holds_what_a_person_reads_and_types(names):
    assert set(DOCUMENTS) <= set(names)


def test_its_settings_are_its_only_conffile(package):
    conffiles = out("dpkg-deb", "-I", package, "conffiles").split()

    assert conffiles == ["/etc/entrepot/entrepot.ini"]


def test_the_copyright_says_the_licence_of_all_that_is_inside(package, names):
    text = (ROOT / "debian/copyright").read_text(encoding="utf-8")
    said = set(re.findall(r"^Files: (\S+)/\*$", text, re.MULTILINE))
    inside = {
        match[1] for match in (re.search(r"/([^/]+)-[^/-]+\.dist-info/METADATA$", name) for name in names) if match
    }

    def plain(name):
        return re.sub(r"[-_.]+", "-", name.lower())

    assert {plain(name) for name in inside} == {plain(name) for name in said} | {"entrepot"}
    assert "not said" not in text


def test_every_override_of_lintian_has_its_reason():
    lines = (ROOT / "debian/entrepot.lintian-overrides").read_text(encoding="utf-8").splitlines()

    assert len(lines) % 2 == 0
    assert all(line.startswith("# ") for line in lines[::2])
    assert all(line.startswith("entrepot: ") for line in lines[1::2])
