"""Partners and clients as operators handle them: added without a file, shown, shut out and let in."""

import pytest
from sqlalchemy import select
from transactions_support import answer

from entrepot.store.audit import audit_entries

pytestmark = pytest.mark.slow

FILE = """
partners:
  azure: {name: Azure Interior, clients: {shop: {scopes: [orders.read]}}}
plans:
  gold: {rate: {per_second: 20, burst: 50}}
"""


@pytest.fixture
def on_store(entrepot, settings_file, tmp_path):
    """The program on a store whose catalog has one partner, from a file."""

    def run(*arguments, **more):
        return entrepot("--settings", settings_file, *arguments, **more)

    (tmp_path / "partners.yaml").write_text(FILE)
    done = run("apply", tmp_path / "partners.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    return run


def states(on_store):
    return {row["id"]: row["state"] for row in answer(on_store("transactions", "list", "--json"))}


def audited(ledger):
    with ledger.database.reading() as session:
        rows = session.execute(select(audit_entries).order_by(audit_entries.c.seq))
        return [(row.action, row.kind, row.name) for row in rows]


def test_a_partner_with_a_client_is_added_without_a_file_and_gets_a_token(on_store):
    added = on_store("partner", "add", "globex", "--name", "Globex", "--value", "contact=14", "--value", "tier=a")
    client = on_store(
        "client", "add", "globex-shop", "--partner", "globex", "--scope", "orders.read", "orders.write", "--rate", "5",
        "--burst", "10", "--network", "10.0.0.0/8", "--plan", "gold", "--api-keys",
    )  # fmt: skip

    assert (added.stdout, added.stderr) == ("added: partner globex; revision 2 is in force\n", "")
    assert (client.stdout, client.stderr) == ("added: client globex-shop; revision 3 is in force\n", "")
    assert on_store("token", "issue", "globex-shop").stdout.count(".") == 2
    assert answer(on_store("partner", "show", "globex", "--json"))["definition"] == {
        "name": "Globex",
        "values": {"contact": 14, "tier": "a"},
        "clients": {
            "globex-shop": {
                "scopes": ["orders.read", "orders.write"],
                "rate": {"per_second": 5, "burst": 10},
                "plan": "gold",
                "networks": ["10.0.0.0/8"],
                "api_keys": True,
            }
        },
    }


def test_what_came_from_a_file_is_refused_with_its_place(on_store, tmp_path):
    done = on_store("client", "add", "till", "--partner", "azure", "--scope", "orders.read")

    assert (done.returncode, done.stdout) == (1, "")
    assert f"partners.azure came from {tmp_path}/partners.yaml:3" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["partner", "add", "azure", "--name", "Other"], 1, "there is a partner 'azure' already, from "),
        (["partner", "add", "a b", "--name", "Other"], 1, "must be a name of letters"),
        (["partner", "add", "x"], 2, "--name"),
        (["partner", "add", "x", "--name", "X", "--value", "contact"], 2, "'contact' is not KEY=VALUE"),
        (["partner", "add", "x", "--name", "X", "--max-queued-bytes", "much"], 1, "partners.x.max_queued_bytes"),
        (["client", "add", "shop", "--partner", "azure", "--scope", "s"], 1, "a client 'shop' already, of the partner"),
        (["client", "add", "x", "--partner", "nobody", "--scope", "s"], 1, "no partner 'nobody'; it has: azure"),
        (["client", "show", "nobody"], 1, "no client 'nobody'; it has: shop"),
        (["partner", "show", "nobody"], 1, "no partner 'nobody'; it has: azure"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(on_store, arguments, code, complaint):
    done = on_store(*arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_lists_say_where_each_came_from_and_whether_it_is_let_in(on_store, tmp_path):
    on_store("partner", "add", "globex", "--name", "Globex")
    on_store("client", "disable", "shop")

    partners = answer(on_store("partner", "list", "--json"))
    clients = answer(on_store("client", "list", "--json"))
    shown = answer(on_store("client", "show", "shop", "--json"))

    place = f"{tmp_path}/partners.yaml:3"
    assert partners == [
        {"partner": "azure", "name": "Azure Interior", "state": "enabled", "clients": 1, "from": place},
        {"partner": "globex", "name": "Globex", "state": "enabled", "clients": 0, "from": "console"},
    ]
    assert [(row["client"], row["state"], row["from"]) for row in clients] == [("shop", "disabled", place)]
    assert (shown["state"], shown["definition"]) == ("disabled", {"scopes": ["orders.read"]})
    assert shown["by"].endswith("(command line)")


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "azure")])
def test_a_disabled_caller_gets_no_token_and_its_work_is_held_until_it_is_enabled(on_store, ledger, kind, name):
    first, second = ledger.accept(2)

    disabled = answer(on_store(kind, "disable", name, "--json"))
    again = answer(on_store(kind, "disable", name, "--json"))
    issued = on_store("token", "issue", "shop")
    (later,) = ledger.accept()

    assert disabled == {kind: name, "state": "disabled", "new": True, "stored": True, "held": 2, "cancelled": 0}
    assert (again["new"], again["held"]) == (False, 0)
    assert (issued.returncode, issued.stdout) == (1, "")
    assert f"the {kind} '{name}' is disabled" in issued.stderr
    assert states(on_store) == dict.fromkeys((first, second, later), "held")

    enabled = answer(on_store(kind, "enable", name, "--json"))

    assert enabled == {kind: name, "state": "enabled", "new": True, "released": 3, "partner_disabled": False}
    assert set(states(on_store).values()) == {"queued"}
    assert on_store("token", "issue", "shop").returncode == 0
    assert [entry for entry in audited(ledger) if entry[1] == kind] == [("disable", kind, name), ("enable", kind, name)]


@pytest.mark.slow
def test_what_waits_of_a_disabled_client_is_cancelled_when_asked_for(on_store, ledger):
    ids = ledger.accept(3)

    done = on_store("client", "disable", "shop", "--cancel-queued")

    assert (done.stdout, done.stderr) == ("disabled: client shop; 3 transactions held, 3 cancelled\n", "")
    assert states(on_store) == dict.fromkeys(ids, "cancelled")


@pytest.mark.slow
def test_a_client_stays_out_as_long_as_its_partner_does(on_store, ledger):
    ledger.accept()
    on_store("partner", "disable", "azure")
    on_store("client", "disable", "shop")

    client = on_store("client", "enable", "shop")
    assert "its partner is disabled" in client.stderr
    assert set(states(on_store).values()) == {"held"}

    assert answer(on_store("partner", "enable", "azure", "--json"))["released"] == 1
    assert set(states(on_store).values()) == {"queued"}


@pytest.mark.slow
def test_a_caller_is_shut_out_without_the_database_and_its_work_is_held_when_that_is_back(
    on_store, ledger, settings_file
):
    ledger.accept()
    database = settings_file.parent / "store" / "entrepot.db"
    with ledger.database.reading() as session:
        session.connection().exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    kept = database.read_bytes()
    database.write_bytes(b"this is no database" * 1000)
    try:
        disabled = on_store("client", "disable", "shop")
        cancelling = on_store("client", "disable", "shop", "--cancel-queued")
        enabled = on_store("client", "enable", "shop")
    finally:
        database.write_bytes(kept)

    assert (disabled.returncode, disabled.stdout) == (1, "disabled: client shop\n")
    assert "what waits of it is not sent, and held when the database is back" in disabled.stderr
    assert (cancelling.returncode, "to see it cancelled" in cancelling.stderr) == (1, True)
    assert (enabled.returncode, enabled.stdout) == (1, "")
    assert "is disabled" in on_store("token", "issue", "shop").stderr
    assert answer(on_store("client", "disable", "shop", "--json"))["held"] == 1


@pytest.mark.slow
def test_an_unknown_name_is_shut_out_all_the_same_and_told_of(on_store):
    done = on_store("client", "disable", "shopp")

    assert done.returncode == 0
    assert "the catalog in force has no client 'shopp'" in done.stderr
