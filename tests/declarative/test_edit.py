"""Objects of the catalog changed without a file: checked as a whole, one more revision, and not those of files."""

import pytest
from catalog_example import WHOLE

from entrepot.catalog.revisions import Origin, current
from entrepot.catalog.snapshot import read_snapshot
from entrepot.declarative.apply import apply
from entrepot.declarative.edit import (
    Edits,
    changed_client,
    changed_partner,
    edit,
    new_client,
    new_partner,
    without_client,
    without_partner,
)
from entrepot.errors import CatalogError, Conflict, NotFound
from entrepot.store.audit import Actor, Change, audit_entries

OPERATOR = Actor("ada (command line)", "command", "an-operation-id")


@pytest.fixture
def snapshot(tmp_path):
    return tmp_path / "snapshot.json"


@pytest.fixture
def in_force(database, files, snapshot, ask):
    """Bring a text in as the only catalog file, with *prune*."""

    def bring(text=WHOLE):
        return apply(
            database, [files(text)], ask=ask, snapshot=snapshot, actor=OPERATOR, prune=True
        )  # fmt: skip

    return bring


@pytest.fixture
def change(database, snapshot):
    def change(edits_of):
        return edit(database, edits_of, snapshot=snapshot, actor=OPERATOR)

    return change


def test_a_partner_and_its_client_are_two_revisions_and_in_force(in_force, change, snapshot, database):
    in_force()

    first = change(new_partner("globex", {"name": "Globex", "values": {"contact": 9}}))
    second = change(new_client("crane", "globex", {"scopes": ["orders.read"]}))

    assert [list(done.difference.lines()) for done in (first, second)] == [
        ["+ partners.globex"],
        ["~ partners.globex", '    clients: (default) → {"crane": {"scopes": ["orders.read"]}}'],
    ]
    catalog = read_snapshot(snapshot)
    assert (catalog.revision, catalog.clients["crane"].partner) == (3, "globex")
    assert catalog.endpoints["orders"].model.fields[0].type == "char"
    assert current(database).origins["partners", "globex"] == Origin("console")
    with database.reading() as session:
        last = session.execute(audit_entries.select().order_by(audit_entries.c.seq.desc())).first()
    assert (last.actor, last.action, last.after["changes"]) == (OPERATOR.name, "apply", ["~ partners.globex"])


def audited(database, kind):
    with database.reading() as session:
        wanted = audit_entries.select().where(audit_entries.c.kind == kind).order_by(audit_entries.c.seq)
        return [(row.action, row.name, row.before, row.after) for row in session.execute(wanted)]


def test_what_is_given_is_changed_what_is_null_goes_and_the_rest_stays(change, snapshot, database):
    change(new_partner("globex", {"name": "Globex", "values": {"contact": 9, "tier": "a"}, "max_queued": 5}))
    change(new_client("crane", "globex", {"scopes": ["a"], "rate": {"per_second": 5, "burst": 9}, "api_keys": True}))

    change(changed_partner("globex", {"values": {"tier": None, "zone": 3}, "max_queued": None}))
    change(changed_client("crane", {"scopes": ["b"], "rate": {"burst": 20}, "api_keys": None}))

    catalog = read_snapshot(snapshot)
    globex, crane = catalog.partners["globex"], catalog.clients["crane"]
    assert (globex.title, globex.values) == ("Globex", {"contact": 9, "zone": 3})
    assert (crane.scopes, crane.rate.per_second, crane.rate.burst, crane.api_keys) == ({"b"}, 5, 20, False)
    assert audited(database, "partner")[1] == (
        "change", "globex", {"name": "Globex", "values": {"contact": 9, "tier": "a"}, "max_queued": 5},
        {"name": "Globex", "values": {"contact": 9, "zone": 3}},
    )  # fmt: skip
    assert audited(database, "client")[1] == (
        "change", "crane", {"scopes": ["a"], "rate": {"per_second": 5, "burst": 9}, "api_keys": True},
        {"scopes": ["b"], "rate": {"per_second": 5, "burst": 20}},
    )  # fmt: skip


def test_a_change_that_changes_nothing_is_no_revision_and_no_entry(change, database):
    change(new_partner("globex", {"name": "Globex"}))

    done = change(changed_partner("globex", {"name": "Globex", "values": {"tier": None}}))

    assert (done.is_new, done.revision) == (False, 1)
    assert [entry[0] for entry in audited(database, "partner")] == ["add"]


def test_what_is_taken_away_is_gone_and_stands_in_the_audit_log(change, snapshot, database):
    change(new_partner("globex", {"name": "Globex"}))
    for name in ("crane", "winch"):
        change(new_client(name, "globex", {"scopes": ["a"]}))

    change(without_client("crane"))
    assert sorted(read_snapshot(snapshot).clients) == ["winch"]
    change(without_partner("globex"))

    catalog = read_snapshot(snapshot)
    assert (catalog.partners, catalog.clients) == ({}, {})
    assert audited(database, "client")[-1] == ("remove", "crane", {"scopes": ["a"]}, None)
    assert audited(database, "partner")[-1] == ("remove", "globex", {"name": "Globex"}, None)


@pytest.mark.parametrize("patch", [{"colour": "red"}, {"scopes": None}, {"rate": {"burst": 1}}, {"networks": ["x"]}])
def test_a_change_is_checked_as_a_file_is(change, database, patch):
    change(new_partner("globex", {"name": "Globex"}))
    change(new_client("crane", "globex", {"scopes": ["a"]}))

    with pytest.raises(CatalogError) as raised:
        change(changed_client("crane", patch))

    assert raised.value.errors[0].path.startswith("what is given: partners.globex.clients.crane")
    assert current(database).number == 2


def test_an_empty_catalog_takes_its_first_partner_without_a_file(change, snapshot):
    change(new_partner("globex", {"name": "Globex"}))

    assert read_snapshot(snapshot).partners["globex"].title == "Globex"


def test_what_was_added_survives_an_apply_that_takes_away_what_no_file_names(in_force, change, snapshot):
    change(new_partner("globex", {"name": "Globex"}))

    in_force()

    assert sorted(read_snapshot(snapshot).partners) == ["azure", "globex"]


def test_a_file_takes_over_what_was_added_without_one(in_force, change, database):
    change(new_partner("globex", {"name": "Globex"}))

    in_force(f"{WHOLE}  globex: {{name: Globex Corporation}}\n")

    assert current(database).origins["partners", "globex"].kind == "file"


def test_an_object_of_a_file_is_refused_with_its_place(in_force, change):
    in_force()

    with pytest.raises(Conflict, match=r"partners\.azure came from .*catalog\.yaml:\d+: change it there"):
        change(new_client("crane", "azure", {"scopes": ["orders.read"]}))
    with pytest.raises(Conflict, match=r"endpoints\.orders came from"):
        change(lambda _: Edits({("endpoints", "orders"): None}, Change("remove", "endpoint", "orders")))


@pytest.mark.parametrize(
    ("edits_of", "error", "reason"),
    [
        (new_partner("azure", {"name": "Other"}), Conflict, "there is a partner 'azure' already, from "),
        (new_client("shop", "globex", {"scopes": []}), Conflict, "a client 'shop' already, of the partner 'azure'"),
        (new_client("crane", "nobody", {"scopes": []}), NotFound, "no partner 'nobody'; it has: azure"),
        (changed_partner("nobody", {"name": "X"}), NotFound, "no partner 'nobody'; it has: azure"),
        (changed_client("nobody", {"scopes": []}), NotFound, "no client 'nobody'"),
        (without_partner("nobody"), NotFound, "no partner 'nobody'; it has: azure"),
        (without_client("nobody"), NotFound, "no client 'nobody'"),
        (changed_partner("azure", {"name": "X"}), Conflict, r"partners\.azure came from .*:\d+: change it there"),
        (changed_client("shop", {"scopes": []}), Conflict, r"partners\.azure came from .*:\d+: change it there"),
        (without_partner("azure"), Conflict, r"partners\.azure came from .*:\d+: change it there"),
        (without_client("shop"), Conflict, r"partners\.azure came from .*:\d+: change it there"),
    ],
)
def test_a_name_that_is_taken_or_missing_is_told(in_force, change, database, edits_of, error, reason):
    in_force()

    with pytest.raises(error, match=reason):
        change(edits_of)
    assert current(database).number == 1


def test_a_client_whose_partner_lacks_a_value_that_an_endpoint_needs_is_refused(in_force, change):
    in_force()
    change(new_partner("globex", {"name": "Globex"}))

    with pytest.raises(CatalogError) as raised:
        change(new_client("crane", "globex", {"scopes": ["orders.read"]}))

    assert "the partners globex may call this and have no value `contact`" in raised.value.errors[0].message


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"name": "Globex", "colour": "red"}, "what is given: partners.globex.colour"),
        ({"name": "Globex", "clients": {"crane": {}}}, "what is given: partners.globex.clients.crane"),
        ({"name": "Globex", "max_queued": "many"}, "what is given: partners.globex.max_queued"),
        ([], "what is given: partners.globex"),
    ],
)
def test_every_mistake_has_its_path_and_changes_nothing(in_force, change, database, definition, path):
    in_force()

    with pytest.raises(CatalogError) as raised:
        change(new_partner("globex", definition))

    assert [mistake.path for mistake in raised.value.errors] == [path]
    assert current(database).number == 1


def test_two_that_add_at_once_are_both_in_force(in_force, database, snapshot):
    in_force()

    def while_another_adds(former):
        if former.number == 1:
            edit(
                database, new_partner("globex", {"name": "Globex"}), snapshot=snapshot, actor=OPERATOR
            )  # fmt: skip
        return new_partner("initech", {"name": "Initech"})(former)

    edit(database, while_another_adds, snapshot=snapshot, actor=OPERATOR)

    assert sorted(read_snapshot(snapshot).partners) == ["azure", "globex", "initech"]
