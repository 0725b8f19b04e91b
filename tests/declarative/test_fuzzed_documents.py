import json
import random
from contextlib import suppress

from catalog_example import EVERYTHING, TYPES, WHOLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.catalog.check import check, keys
from entrepot.catalog.fields import resolve
from entrepot.catalog.tree import rooted
from entrepot.catalog.written import document
from entrepot.declarative.document import check_files
from entrepot.errors import CatalogError

NAMES = [*sorted({key.name for _, table in keys() for key in table.keys}), "NAME", "id", "a"]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["odoo", "http", "http://x", "{partner.a}", "{id}", "/v1/{id}", "/v1/{rest...}", "5s", "1KiB", "a.b.c"]
    )
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=30,
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.fixed_dictionaries({"upstreams": TREES, "endpoints": TREES, "partners": TREES}) | TREES)
@QUICK
def test_any_tree_gets_mistakes_and_never_a_traceback(tree):
    mistakes = []

    check(rooted(tree, "fuzz"), mistakes)

    assert all(mistake.path and mistake.message for mistake in mistakes)
    json.dumps([mistake.as_json() for mistake in mistakes])


def told(path):
    with suppress(CatalogError):
        check_files([path])


@given(st.binary(max_size=200))
@QUICK
def test_any_bytes_get_mistakes_and_never_a_traceback(tmp_path, content):
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(content)

    told(path)


def test_a_good_file_with_damage_gets_mistakes_and_never_a_traceback(tmp_path):
    path = tmp_path / "fuzz.yaml"
    dice = random.Random(2)
    for _ in range(150):
        content = bytearray(WHOLE.encode())
        for _ in range(dice.randrange(1, 4)):
            index = dice.randrange(len(content))
            content[index : index + dice.randrange(3)] = dice.choice(
                [
                    b"",
                    b"{",
                    b"]",
                    b"*x",
                    b"&x ",
                    b"\t",
                    b"!",
                    b"'",
                    b'"',
                    b"|",
                    b"\n",
                    b": ",
                    b"- ",
                    b"\xff",
                    b"\xe2\x80\xa8",
                ]
            )
        path.write_bytes(content)
        told(path)


def spots(value, found):
    """Return every (container, key) of *value*."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], dict | list):
            spots(value[key], found)
    return found


def test_a_good_tree_with_damage_gets_mistakes_or_goes_all_the_way():
    dice = random.Random(3)
    strange = [
        None,
        True,
        0,
        -1,
        1.5,
        "",
        "x",
        "{partner.contact}",
        "{",
        "a.b",
        [],
        [[]],
        {},
        {"a": 1},
        {"from": "x"},
        10**9,
    ]
    through = 0
    for _ in range(400):
        tree = json.loads(json.dumps(EVERYTHING))
        places = spots(tree, [])
        for _ in range(dice.randrange(1, 3)):
            container, key = dice.choice(places)
            container[key] = dice.choice([*strange, dice.choice(places)[0]])
            if dice.random() < 0.2 and isinstance(container, dict):
                container.pop(key)
        mistakes = []
        draft = check(rooted(bounded(tree), "fuzz"), mistakes)
        assert all(mistake.path and mistake.message for mistake in mistakes)
        if not mistakes:
            through += 1
            with suppress(CatalogError):
                resolve(draft, {"erp": TYPES})
            again = []
            assert document(check(rooted(document(draft.catalog), "again"), again).catalog) == document(draft.catalog)
            assert again == []
    assert through > 10


def bounded(value, depth=0):
    """Return *value* without what is nested more than 12 deep: damage may have put a part into itself."""
    if depth > 12:
        return None
    if isinstance(value, dict):
        return {key: bounded(item, depth + 1) for key, item in value.items()}
    return [bounded(item, depth + 1) for item in value] if isinstance(value, list) else value
