"""The Puppet module knows the catalog and the settings of this version: no key more, none less."""

import configparser
import json
import re
from pathlib import Path

import pytest

from entrepot.catalog.check import keys
from entrepot.settings import PACKAGED_DEFAULTS

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "puppet" / "modules" / "entrepot"
PARAMETER = re.compile(r"^  \S.* +\$(\w+)(?: += .*)?,$", re.MULTILINE)
STRUCT_KEY = re.compile(r"^ {4}(?:Optional\[)?'?(\w+)'?\]? +=>", re.MULTILINE)
# Puppet keeps the word `name` for the title.
NAMED_OTHERWISE = {"company": "name"}
STRUCTS = {
    "auth": None,
    "body": "endpoints.NAME.body",
    "breaker": "upstreams.NAME.breaker",
    "cache": "endpoints.NAME.cache",
    "client": "partners.NAME.clients.NAME",
    "headers": "endpoints.NAME.headers",
    "page": "endpoints.NAME.page",
    "probe": "upstreams.NAME.probe",
    "quota": "partners.NAME.clients.NAME.quota",
    "rate": "endpoints.NAME.rate",
    "repository": None,
    "retry": "endpoints.NAME.retry",
    "scopes": None,
    "settings": None,
}


def source(path):
    return (MODULE / path).read_text(encoding="utf-8")


def names(path):
    """Return the names of the keys of the catalog's objects at *path*."""
    return {key.name for key in dict(keys())[path].keys}


def parameters(path):
    (header,) = re.findall(r"^(?:class|define) \S+ \(\n(.*?)^\)", source(path), re.MULTILINE | re.DOTALL)
    return PARAMETER.findall(header)


@pytest.mark.parametrize("kind", ["upstream", "endpoint", "partner", "plan"])
def test_a_defined_type_has_every_key_of_the_catalog_and_no_other(kind):
    found = [NAMED_OTHERWISE.get(name, name) for name in parameters(f"manifests/{kind}.pp")]

    assert sorted(found) == sorted(names(f"{kind}s.NAME"))


def test_every_section_of_the_catalog_has_a_defined_type():
    assert {f"{path.stem}s" for path in (MODULE / "manifests").glob("*.pp")} >= names("")


@pytest.mark.parametrize("kind", ["upstream", "endpoint", "partner", "plan"])
def test_every_key_that_is_given_is_written(kind):
    written = dict(re.findall(r"^ {6}'(\w+)' +=> \$(\w+),$", source(f"manifests/{kind}.pp"), re.MULTILINE))

    assert {NAMED_OTHERWISE.get(variable, variable): variable for variable in written.values()} == written
    assert set(written.values()) == set(parameters(f"manifests/{kind}.pp"))


@pytest.mark.parametrize("name", [name for name, path in STRUCTS.items() if path])
def test_a_type_has_every_key_of_the_catalog_and_no_other(name):
    text = source(f"types/{name}.pp")
    found = STRUCT_KEY.findall(text) or re.findall(r"Struct\[\{ (\w+) =>", text)

    assert sorted(found) == sorted(names(STRUCTS[name]))


def test_no_type_is_left_out_here():
    structs = {path.stem for path in (MODULE / "types").glob("*.pp") if "Struct[" in path.read_text(encoding="utf-8")}

    assert structs == set(STRUCTS)


def test_settings_have_every_key_of_every_section_and_no_other():
    defaults = configparser.RawConfigParser(inline_comment_prefixes=())
    defaults.read_string(PACKAGED_DEFAULTS.read_text(encoding="utf-8"))

    sections = re.findall(r"^ {4}Optional\[(\w+)\] +=> Struct\[\{\n(.*?)^ {4}\}\],$", source("types/settings.pp"),
                          re.MULTILINE | re.DOTALL)  # fmt: skip

    found = {name: set(re.findall(r"^ {8}Optional\[(\w+)\]", keys, re.MULTILINE)) for name, keys in sections}
    assert found == {name: set(defaults.options(name)) for name in defaults.sections()}


@pytest.mark.parametrize("path", sorted((MODULE / "manifests").glob("*.pp")), ids=lambda path: path.stem)
def test_every_parameter_says_what_follows_from_it(path):
    text = path.read_text(encoding="utf-8")
    found = parameters(f"manifests/{path.name}") if " (\n" in text else []

    assert text.startswith("# @summary ")
    assert re.findall(r"^# @param (\w+)\n#   \S", text, re.MULTILINE) == found
    assert path.stem in {"init", "upstream", "endpoint", "partner", "plan"} or "# @api private" in text


def test_the_version_is_that_of_the_package():
    settings = configparser.RawConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")

    version = settings["metadata"]["version"]

    assert json.loads(source("metadata.json"))["version"] == version
    assert f"tag: 'v{version}'" in (ROOT / "puppet/control-repo/Puppetfile").read_text(encoding="utf-8")
