import pytest
from catalog_example import EVERYTHING, WHOLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.catalog.check import check
from entrepot.catalog.tree import plain, rooted
from entrepot.catalog.written import document
from entrepot.declarative.diff import difference
from entrepot.declarative.document import check_files
from entrepot.declarative.export import export
from entrepot.declarative.reader import read_tree


def checked(value):
    mistakes = []
    draft = check(rooted(value, "test"), mistakes)
    assert mistakes == []
    return draft.catalog


def test_what_is_written_is_what_was_read():
    assert document(checked(EVERYTHING)) == EVERYTHING
    assert list(document(checked(EVERYTHING))["endpoints"]["orders"]["fields"]) == [
        "ref",
        "state",
        "pin",
        "country",
        "lines",
    ]


@pytest.mark.parametrize("source", [WHOLE, None])
def test_an_export_is_taken_back_and_differs_in_nothing(files, source):
    catalog = check_files([files(source)]).catalog if source else checked(EVERYTHING)
    written = document(catalog)

    again = check_files([files(export(written), "export.yaml")]).catalog

    assert again == catalog
    assert not difference(written, document(again))
    assert export(document(again)) == export(written)


def test_an_empty_catalog_is_exported_too(files):
    assert check_files([files(export({}))]).catalog == checked({})


def test_defaults_are_left_out(files):
    spelled = EVERYTHING["upstreams"]["basic"] | {"timeout": "20000ms", "waiting": 256, "verify": True, "headers": {}}

    assert (
        document(checked({"upstreams": {"basic": spelled}}))["upstreams"]["basic"] == EVERYTHING["upstreams"]["basic"]
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
NAMES = TEXTS.filter(lambda name: name != "<<")
TRAPS = [
    "null",
    "~",
    "0x1F",
    "0o7",
    "1e5",
    "+.5",
    "yes",
    "on",
    "=",
    "<<",
    "1_000",
    "- a",
    "# x",
    "!t",
    "a: b",
    " a",
    "a ",
]
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False, width=32)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.sampled_from(TRAPS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_survives_yaml(tmp_path, value):
    path = tmp_path / "any.yaml"
    path.write_text(export({"partners": {"p": value}}), encoding="utf-8", newline="")

    tree, mistakes = read_tree(path)

    assert mistakes == []
    assert plain(tree) == {"partners": {"p": value}}
