import os
import stat
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from ipaddress import ip_network

import pytest

from entrepot.catalog.definitions import CachePolicy, Catalog, Endpoint
from entrepot.catalog.snapshot import read_revision, read_snapshot, write_snapshot
from entrepot.chassis.limits import Rate
from entrepot.connectors.base import (
    Argument,
    Auth,
    BreakerPolicy,
    CallMapping,
    Field,
    ModelMapping,
    Probe,
    RelayMapping,
    Upstream,
)
from entrepot.errors import NotReady
from entrepot.identity.partners import Client, Partner
from entrepot.ledger.retry import DEFAULT_RETRY, RetryPolicy

LINE = Field("price", ("price_unit",), "float", has_default=True, default=0)
FIELDS = (
    Field("ref", ("client_order_ref",), "char", required=True, max_length=64, private=True),
    Field("state", ("state",), "selection", choices=("a", "b"), enum=("a",), read_only=True),
    Field("country", ("country_id", "code"), "char", relation="res.country", has_default=True, default=None),
    Field("lines", ("order_line",), "one2many", relation="line", fields=(LINE,)),
)
WHERE = (("partner_id", "=", "{partner.contact}"), "|", ("state", "in", ("a", "b")), ("x", "=", False))
MODEL = ModelMapping(
    "sale.order", FIELDS, ("list", "create"), WHERE, {"a": ["{client}", 1]}, "ref", ("ref",), ("id",), 5, 9
)
CALL = CallMapping(
    "sale.order",
    "go",
    "PUT",
    WHERE,
    "ref",
    (Argument("a", template={"x": [1]}), Argument("b", body_field="b", has_default=True)),
    {"a": "b"},
    WHERE,
)
RELAY = RelayMapping("/x/{rest}", ("GET", "POST"), (("X-A", "1"),), ("X-B",), {"type": "object"})
ENDPOINTS = (
    Endpoint(
        "m",
        ("/m", "/n"),
        "erp",
        ("r",),
        ("w",),
        Rate(1.5, 3),
        CachePolicy(1.0, 2.0),
        write="auto",
        patience_s=0.5,
        order="field:ref",
        idempotency="required",
        retry=RetryPolicy(1, 2.5, 60.0, 7200),
        max_body_bytes=5,
        context={"lang": "de"},
        summary="s",
        description="d",
        model=MODEL,
    ),
    Endpoint("c", ("/m/{id}/go",), "erp", call=CALL),
    Endpoint("r", ("/r/{rest...}",), "web", relay=RELAY),
)
CATALOG = Catalog(
    7,
    {
        "erp": Upstream("erp", "odoo", "http://e", breaker=BreakerPolicy(9, 1.0), probe=Probe(), context={"tz": "UTC"}),
        "web": Upstream(
            "web",
            "http",
            "http://w",
            auth=Auth("basic", "env:P", user="u"),
            headers=(("X", "y"),),
            ca="/ca",
            settle_s=5,
        ),
    },
    {endpoint.name: endpoint for endpoint in ENDPOINTS},
    {"p": Partner("p", "Päckchen", {"contact": 14, "ids": [1, 2]}, 7, 2**40)},
    {
        "s": Client("s", "p", frozenset({"r", "w"}), Rate(1, 2), (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))),
        "t": Client("t", "p", frozenset()),
    },
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshot.json"


@pytest.mark.parametrize("catalog", [Catalog(), CATALOG])
def test_every_value_comes_back_as_it_was(path, catalog):
    write_snapshot(path, catalog)

    found = read_snapshot(path)

    assert found == catalog
    assert repr(found) == repr(catalog) or catalog.clients


@pytest.mark.parametrize("policy", [DEFAULT_RETRY, RetryPolicy(1, 3, 60, 3600), RetryPolicy(0.05, 1.1, 0.3, 1e6)])
def test_a_retry_policy_comes_back_with_the_same_waits(path, policy):
    endpoint = replace(ENDPOINTS[2], retry=policy)

    write_snapshot(path, replace(CATALOG, endpoints={"r": endpoint}))

    found = read_snapshot(path).endpoints["r"].retry
    assert found == policy
    assert [found.bound_s(failures) for failures in (1, 2, 9, 1000)] == [
        policy.bound_s(failures) for failures in (1, 2, 9, 1000)
    ]


@pytest.mark.parametrize("guard", [None, (), (("state", "=", "sale"),)])
def test_no_guard_and_one_of_no_terms_are_told_apart(path, guard):
    endpoint = replace(ENDPOINTS[1], call=replace(CALL, guard=guard))

    write_snapshot(path, replace(CATALOG, endpoints={"c": endpoint}))

    assert read_snapshot(path).endpoints["c"].call.guard == guard


def test_it_is_readable_by_its_owner_alone_whatever_the_umask(path):
    before = os.umask(0o077)
    try:
        write_snapshot(path, CATALOG)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["snapshot.json"]


def test_it_is_replaced_as_a_whole(path):
    write_snapshot(path, CATALOG)
    with path.open("rb") as reader:
        write_snapshot(path, replace(CATALOG, revision=8))
        old = reader.read()

    assert b'"revision":7' in old
    assert read_snapshot(path).revision == 8
    assert read_revision(path) == (8, "")


def test_a_write_that_fails_leaves_the_old_one(path):
    write_snapshot(path, CATALOG)

    with pytest.raises(TypeError):
        write_snapshot(path, Catalog(8, partners={"p": Partner("p", "P", {"x": object()})}))

    assert read_snapshot(path) == CATALOG


def test_none_is_not_ready_and_says_how_to_make_one(path):
    with pytest.raises(NotReady, match="entrepot apply"):
        read_snapshot(path)
    assert read_revision(path) is None


@pytest.mark.parametrize("cut", [0, 1, 40, 150, 500, -1, -2])
def test_a_damaged_one_is_not_ready(path, cut):
    write_snapshot(path, CATALOG)
    content = path.read_bytes()
    path.write_bytes(content[:cut] + b"#" + content[cut + 1 :] if cut >= 0 else content[: cut - 1])

    with pytest.raises(NotReady, match=r"damaged|no snapshot of|not a snapshot|version"):
        read_snapshot(path)
    assert read_revision(path) is None


def test_one_of_another_version_says_so(path):
    write_snapshot(path, CATALOG)
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":1', 1))

    with pytest.raises(NotReady, match="has version 1; this program reads 2"):
        read_snapshot(path)


def test_reading_needs_neither_database_nor_yaml():
    program = (
        "import sys, entrepot.catalog.snapshot as s;"
        "print([m for m in ('sqlalchemy', 'ruamel', 'flask', 'jsonschema_rs') if m in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_ten_thousand_endpoints_come_back(path):
    many = {f"e{index}": replace(ENDPOINTS[2], name=f"e{index}", paths=(f"/v1/e{index}",)) for index in range(10_000)}
    catalog = replace(CATALOG, endpoints=many)

    write_snapshot(path, catalog)

    assert read_snapshot(path).endpoints["e9999"] == many["e9999"]


def test_each_of_many_clients_is_found_by_its_name(path):
    names = ["a", "a-b", "aa", "b.1", "B", 'q"uote', "back\\slash", "zoë", *(f"c{index:05}" for index in range(3000))]
    clients = {name: Client(name, "p", frozenset({"r"}), plan="usual") for name in names}

    write_snapshot(path, replace(CATALOG, clients=clients))

    found = read_snapshot(path).clients
    assert all(found[name] == clients[name] and name in found for name in names)
    assert (len(found), set(found)) == (len(names), set(names))
    assert dict(found) == clients


@pytest.mark.parametrize("name", ["", "s1", "r", "z", '"', "s\n", '","partner":"', "ß", "\ud800"])
def test_a_client_that_is_not_there_is_not_found(path, name):
    write_snapshot(path, CATALOG)

    clients = read_snapshot(path).clients

    assert name not in clients
    assert clients.get(name) is None


@pytest.mark.slow
def test_a_hundred_thousand_clients_take_little_memory(path):
    clients = {
        name: Client(name, "p", frozenset({"r"}), plan="usual") for name in (f"c{index:06}" for index in range(100_000))
    }
    write_snapshot(path, replace(CATALOG, clients=clients))

    tracemalloc.start()
    try:
        found = read_snapshot(path)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(found.clients) == 100_000
    assert kept < 16 * 2**20
