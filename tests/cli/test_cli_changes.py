"""What was made by command is changed and taken back by command: partners, clients, and revocations up to a time."""

import json

import pytest
from sqlalchemy import select
from transactions_support import answer

from entrepot.store.audit import audit_entries

pytestmark = pytest.mark.slow

FILE = """
partners:
  azure: {name: Azure Interior, clients: {till: {scopes: [orders.read]}}}
"""


@pytest.fixture
def on_store(entrepot, settings_file, tmp_path):
    """The program on a store with a partner of a file, and another with the client ``shop`` of none."""

    def run(*arguments, **more):
        return entrepot("--settings", settings_file, *arguments, **more)

    (tmp_path / "partners.yaml").write_text(FILE)
    for arguments in (
        ["apply", tmp_path / "partners.yaml"],
        ["partner", "add", "globex", "--name", "Globex", "--value", "contact=14", "--max-queued", "9"],
        ["client", "add", "shop", "--partner", "globex", "--scope", "orders.read", "--rate", "5", "--burst", "10"],
    ):
        done = run(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
    return run


def test_what_is_given_is_changed_and_the_rest_stays(on_store, ledger):
    partner = on_store(
        "partner", "change", "globex", "--name", "Globex Ltd", "--value", "tier=a", "--without", "max_queued",
        "values.contact",
    )  # fmt: skip
    client = on_store("client", "change", "shop", "--rate", "7", "--network", "10.0.0.0/8", "--api-keys")
    same = on_store("client", "change", "shop", "--rate", "7")
    without = on_store("client", "change", "shop", "--without", "networks", "api_keys")

    assert partner.stdout == "changed: partner globex; revision 4 is in force\n"
    assert client.stdout == "changed: client shop; revision 5 is in force\n"
    assert same.stdout == "nothing to do: client shop; revision 5 is in force\n"
    assert without.stdout == "changed: client shop; revision 6 is in force\n"
    assert answer(on_store("partner", "show", "globex", "--json"))["definition"] == {
        "name": "Globex Ltd",
        "values": {"tier": "a"},
        "clients": {"shop": {"scopes": ["orders.read"], "rate": {"per_second": 7, "burst": 10}}},
    }
    with ledger.database.reading() as session:
        rows = session.execute(select(audit_entries).where(audit_entries.c.kind == "client")).all()
    assert [row.action for row in rows] == ["add", "change", "change"]
    assert (rows[1].before["rate"]["per_second"], rows[1].after["rate"]["per_second"]) == (5, 7)


def test_a_client_that_is_removed_loses_what_it_got_in_with_and_its_writes_are_held(on_store, ledger):
    secret = on_store("client", "secret", "shop").stdout.strip()
    ledger.accept(2)

    unsure = on_store("client", "remove", "shop")
    removed = on_store("client", "remove", "shop", "--yes")
    again = on_store("client", "remove", "shop", "--yes")

    assert (unsure.returncode, unsure.stdout) == (2, "")
    assert "do not come back; add --yes" in unsure.stderr
    assert removed.stdout.splitlines() == [
        "removed: client shop; revision 4 is in force",
        "all its tokens are refused, and 1 secret or API key",
        "2 writes are held: the catalog has no client shop (entrepot transactions list --client shop)",
    ]
    assert (again.returncode, again.stderr) == (1, "entrepot: the catalog in force has no client 'shop'\n")
    (listed,) = answer(on_store("client", "secrets", "--json"))
    assert (listed["state"], listed["key_id"] in secret) == ("revoked", True)


def test_a_partner_is_removed_with_all_of_its_clients(on_store):
    removed = answer(on_store("partner", "remove", "globex", "--yes", "--json"))

    assert removed == {"partner": "globex", "revision": 4, "revoked": 0, "waiting": {}}
    assert [row["partner"] for row in answer(on_store("partner", "list", "--json"))] == ["azure"]
    assert [row["client"] for row in answer(on_store("client", "list", "--json"))] == ["till"]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["partner", "change", "azure", "--name", "X"], 1, "partners.azure came from {file}:3: change it there"),
        (["client", "change", "till", "--rate", "5"], 1, "partners.azure came from {file}:3: change it there"),
        (["partner", "remove", "azure", "--yes"], 1, "partners.azure came from {file}:3: change it there"),
        (["client", "remove", "till", "--yes"], 1, "partners.azure came from {file}:3: change it there"),
        (["client", "change", "nobody", "--rate", "5"], 1, "no client 'nobody'"),
        (["client", "change", "shop", "--quota", "0"], 1, "partners.globex.clients.shop.quota.day"),
        (["client", "change", "shop", "--without", "scopes"], 2, "'scopes' cannot be taken away"),
        (["client", "change", "shop", "--plan", "x", "--without", "plan"], 2, "'plan' is given as well"),
        (["partner", "change", "globex", "--without", "values"], 2, "'values' cannot be taken away"),
        (["token", "lift"], 2, "one of the arguments --client --partner --all is required"),
        (["token", "list", "--limit", "0"], 2, "argument --limit: must be at least 1"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(on_store, tmp_path, arguments, code, complaint):
    done = on_store(*arguments)

    assert (done.returncode, done.stdout) == (code, "")
    assert complaint.format(file=tmp_path / "partners.yaml") in done.stderr


def test_a_revocation_up_to_a_time_is_lifted_and_tokens_are_listed_in_part(on_store):
    for _ in range(2):
        on_store("token", "issue", "shop")
    on_store("token", "revoke", "--all")

    lifted = on_store("token", "lift", "--all")
    again = on_store("token", "lift", "--all", "--json")
    listed = on_store("token", "list", "--limit", "1", "--json")

    assert lifted.stdout.startswith("lifted: all tokens and API keys up to 2")
    assert lifted.stdout.endswith("Z are good again, unless revoked otherwise\n")
    assert json.loads(again.stdout) == {"kind": "all", "value": "", "new": False, "until": None}
    assert [row["state"] for row in json.loads(listed.stdout)] == ["good"]
    assert listed.stderr == "there are more than 1: see --limit\n"
