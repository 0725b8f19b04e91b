"""The reference pages name all that the code has."""

import argparse
import asyncio
import re
import shlex
import subprocess
import sys
from typing import get_args

import pytest
from pages import DOCS, blocks, page_text
from ruamel.yaml import YAML

from entrepot import errors
from entrepot.catalog.check import keys
from entrepot.chassis.errors import Error
from entrepot.chassis.exposition import exposition
from entrepot.chassis.shared import SharedState
from entrepot.cli.parser import build_parser
from entrepot.console.table import TABLE
from entrepot.gateway.gateway import Gateway
from entrepot.gateway.pages import PAGES
from entrepot.identity import jws
from entrepot.identity.keys import Keyring
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client
from entrepot.identity.roles import ROLES
from entrepot.identity.tokens import issue
from entrepot.ledger import states
from entrepot.ledger.states import STATES, Applied, Reason
from entrepot.portal import errors as oauth_errors
from entrepot.settings import load_settings

COMMAND_PAGES = ("reference/command-line.rst", "man/entrepot.rst")
NOT_ANSWERS = {"SettingsError", "CatalogError", "InputError", "UpstreamError"}


def leaves(parser, words=()):
    """Yield the words and the parser of every command."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, (*words, name))
    if not groups:
        yield " ".join(words), parser


@pytest.mark.parametrize("page", COMMAND_PAGES)
def test_every_command_and_option_stands_on_the_page(page):
    text = page_text(page).replace("**", "")

    found = list(leaves(build_parser()))
    missing = [name for name, _ in found if name not in text]
    options = {option for _, parser in found for action in parser._actions for option in action.option_strings}
    missing += [option for option in {*options, "--version"} if not re.search(rf"{option}\b", text)]

    assert len(found) >= 13
    assert not missing


def test_each_section_of_a_command_has_its_options_and_no_others():
    section = re.compile(r"^entrepot (.+)\n-+\n\n((?:.*\n)*?)(?=^\S.*\n-+\n|\Z)", re.MULTILINE)
    sections = dict(section.findall(page_text(COMMAND_PAGES[0])))

    for name, parser in leaves(build_parser()):
        own = {option for action in parser._actions for option in action.option_strings}
        own -= {"-h", "--help", "--settings"}
        named = set(re.findall(r"(?<![\w-])--[a-z-]+", sections[name]))
        assert named == own, name


def test_every_table_of_keys_stands_on_the_catalog_page():
    text = page_text("reference/catalog.rst")

    shown = {match.strip() for match in re.findall(r"^\.\. catalog-keys::(.*)$", text, re.MULTILINE)}

    assert shown == {path for path, _ in keys()}


def test_every_kind_of_key_is_shown():
    text = page_text("reference/catalog.rst")

    for path, table in keys():
        kinds = {kind for key in table.keys for kind in key.kinds}
        if kinds:
            shown = set(re.findall(rf"^\.\. catalog-keys:: {re.escape(path)}\n   :kind: (\w+)$", text, re.MULTILINE))
            assert shown == {*kinds, "all"}


def test_the_whole_catalog_passes_check(tmp_path):
    settings = tmp_path / "entrepot.ini"
    settings.write_text(f"[store]\ndirectory = {tmp_path}/store\n")
    command = [sys.executable, "-m", "entrepot.cli.main", "--settings", str(settings), "check"]

    done = subprocess.run(
        [*command, DOCS / "reference/catalog-example.yaml"], check=False, capture_output=True, text=True
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_problem_stands_on_its_page():
    shown = set(re.findall(r"^\.\. problem:: (\w+)$", page_text("reference/problems.rst"), re.MULTILINE))

    classes = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Error)}

    assert shown == classes - NOT_ANSWERS
    codes = {getattr(errors, name).code for name in shown}
    assert {getattr(errors, name).code for name in ("InputError", "UpstreamError")} <= codes


def test_every_error_of_the_token_endpoint_stands_on_its_page():
    kinds = [kind for kind in vars(oauth_errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, oauth_errors.OAuthError)}

    shown = set(re.findall(r"^``(\w+)``  +[45]\d\d  ", page_text("reference/oauth.rst"), re.MULTILINE))

    assert shown == {*codes, "temporarily_unavailable", "server_error"}


def test_every_claim_stands_on_its_page(tmp_path):
    client = Client("shop", "acme", frozenset({"read"}))
    token = issue(
        Keyring.open(tmp_path / "keys", MasterKey("auto", tmp_path)), client=client, scopes=["read"], issuer="i",
        audience="a", expires_s=60, now=0,
    )  # fmt: skip
    claims = set(jws.parse(token.token.encode()).payload)

    table = page_text("reference/oauth.rst").partition("\nClaims\n")[2].partition("All of them")[0]

    assert set(re.findall(r"``([a-z_]+)``", "".join(line[:30] for line in table.splitlines()))) == claims


def test_every_resource_of_the_console_and_every_role_stand_on_its_page():
    text = page_text("reference/console.rst")
    shown = set(" ".join(re.findall(r"^\.\. console-api:: (.*)$", text, re.MULTILINE)).split())

    assert shown == {f"/{row.path.split('/')[1]}" for row in TABLE}
    assert [role for role in ROLES if not re.search(rf"^``{role}`` ", text, re.MULTILINE)] == []


def test_every_metric_of_the_gateway_stands_on_its_page(tmp_path):
    settings = load_settings(None, {"ENTREPOT_STORE_DIRECTORY": str(tmp_path)})
    shared = SharedState.open(tmp_path / "shared")
    shared.register()
    loop = asyncio.new_event_loop()
    gateway = Gateway(settings, shared, loop, "test")
    try:
        gateway.flush_metrics()
        names = re.findall(r"^# TYPE (\w+)", exposition(gateway.metrics_directory).decode(), re.MULTILINE)
    finally:
        gateway.close()
        shared.close()
        loop.close()

    text = page_text("reference/metrics.rst")

    assert len(names) >= 6
    assert [name for name in names if f"``{name}" not in text] == []


def test_the_gateways_own_pages_are_named():
    text = page_text("reference/rest.rst")

    assert [path for path in PAGES if f"``{path.decode()}``" not in text] == []


def test_every_state_and_what_is_known_of_it_stands_on_its_page():
    text = page_text("explanation/accepted.rst")

    words = [*STATES, *get_args(Applied), *get_args(Reason)]

    assert [word for word in words if not re.search(rf"^(- )?``{word}``  ", text, re.MULTILINE)] == []


def test_the_picture_of_the_states_has_all_of_them():
    page, source = page_text("explanation/accepted.rst"), states.__doc__
    begin = re.search(r":start-after: (.+)", page)[1]
    end = re.search(r":end-before: (.+)", page)[1]

    picture = source.partition(f"{begin}\n")[2].partition(end)[0]

    assert [state for state in STATES if not re.search(rf"\b{state}\b", picture)] == []


def test_every_command_of_every_page_is_one_that_the_program_takes():
    command = re.compile(r"^(?:\$ )?entrepot (.+?)(?: \d?[|<>&#)].*)?$", re.MULTILINE)
    shown = [
        (f"{page}:{block.line}", words)
        for page in sorted(DOCS.rglob("*.rst"))
        for block in blocks(str(page.relative_to(DOCS)), "console", "bash")
        for words in command.findall(block.text)
    ]

    assert len(shown) > 20
    assert [line for line in shown if not is_taken(line[1])] == []


def is_taken(words):
    try:
        build_parser().parse_args(shlex.split(words))
    except SystemExit:
        return False
    return True


def test_the_yaml_of_every_page_is_right():
    for page in sorted(DOCS.rglob("*.rst")):
        for block in blocks(str(page.relative_to(DOCS)), "yaml"):
            assert YAML(typ="safe").load(block.text), f"{page}:{block.line}"


def test_every_module_that_a_page_names_exists():
    package = DOCS.parent / "src" / "entrepot"

    named = {
        (page.name, path)
        for page in sorted(DOCS.rglob("*.rst"))
        for path in re.findall(
            r"(?<![\w/])((?:entrepot/)?[a-z]+(?:/[a-z_]+)*/[a-z_]+\.py)\b", page.read_text(encoding="utf-8")
        )
    }

    assert named
    gone = [
        (page, path)
        for page, path in named
        if not any((root / path).exists() for root in (package, package.parent, DOCS.parent))
    ]
    assert gone == []
