"""The manual pages of the package: every program and every unit leads to one, and what is led to is there."""

import re
from pathlib import Path
from runpy import run_path

import pytest

from entrepot.chassis.config import settings_of
from entrepot.settings import Settings

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "debian"
UNITS = [
    path.name
    for path in sorted(DEBIAN.glob("entrepot*.*"))
    if path.suffix in {".service", ".socket", ".timer", ".target"}
]


def pages():
    """Return the names of the pages that the package holds, as ``man`` and systemd write them."""
    installed = (DEBIAN / "entrepot.manpages").read_text(encoding="utf-8").split()
    return {re.sub(r"\.(\d)$", r"(\1)", Path(path).name) for path in installed}


def test_the_documentation_and_the_package_hold_the_same_pages():
    ours, debians = (
        [(Path(page).name, *rest) for page, *rest in run_path(str(ROOT / path))["man_pages"]]
        for path in ("docs/conf.py", "debian/man/conf.py")
    )

    assert ours == debians
    assert {f"{name}({section})" for _, name, _, _, section in ours} == pages()


def test_every_program_has_a_page():
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    programs = re.findall(r"^    (entrepot[\w-]*) = ", setup, re.MULTILINE)

    assert {f"{name}(1)" for name in programs} <= pages()


@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_leads_to_pages_that_are_there(unit):
    (named,) = re.findall(r"^Documentation=(.*)$", (DEBIAN / unit).read_text(encoding="utf-8"), re.MULTILINE)

    assert {name.removeprefix("man:") for name in named.split()} <= pages()


def test_every_page_leads_to_pages_that_are_there():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "docs/man").glob("*.rst")]

    assert {name for text in texts for name in re.findall(":manpage:`(.*?)`", text)} <= pages()


def test_the_page_of_the_settings_has_every_one_with_its_help():
    lines = run_path(str(ROOT / "docs/_ext/entrepot_settings.py"))["_lines"]
    text = "\n".join(lines(ROOT / "src/entrepot/default_config.ini"))

    shown = re.findall(r"^(?:\[(\w+)\]|\*\*(\w+)\*\* =.*\n    (.*))$", text, re.MULTILINE)

    section, found = "", []
    for name, key, said in shown:
        section = name or section
        found += [(section, key, said)] if key else []
    assert found == [(*place, setting.help) for place, setting in settings_of(Settings).items()]
