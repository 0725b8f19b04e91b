import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
from catalog_example import TYPES, WHOLE

from entrepot.catalog.revisions import current, publish
from entrepot.catalog.snapshot import mark_of, read_snapshot, write_snapshot
from entrepot.catalog.watch import CatalogWatch
from entrepot.declarative.apply import apply, diff_files
from entrepot.errors import CatalogError, UpstreamMisconfigured, UpstreamUnavailable
from entrepot.store.audit import Actor, Wanted, entries

OPERATOR = Actor("ada (command line)", "command", "an-operation-id")

PARTNER = "partners:\n  globex: {name: Globex, values: {contact: 9}, clients: {crane: {scopes: [orders.read]}}}\n"


@pytest.fixture
def snapshot(tmp_path):
    return tmp_path / "snapshot.json"


@pytest.fixture
def bring(database, files, snapshot, ask):
    def bring(text=WHOLE, *, ask=ask, prune=False, name="catalog.yaml"):
        return apply(database, [files(text, name)], ask=ask, snapshot=snapshot, actor=OPERATOR, prune=prune)

    return bring


def test_the_first_apply_is_revision_one_and_in_force(bring, snapshot, database):
    applied = bring()

    assert (applied.revision, applied.is_new) == (1, True)
    catalog = read_snapshot(snapshot)
    assert catalog.revision == 1
    assert catalog.endpoints["orders"].model.fields[0].type == "char"
    assert catalog.clients["shop"].partner == "azure"
    assert current(database).origins["endpoints", "orders"].place.endswith("catalog.yaml:13")


def test_applying_the_same_again_changes_nothing(bring, snapshot):
    bring()
    before = mark_of(snapshot)

    applied = bring(WHOLE.replace("cache: {fresh: 30s", "cache: {fresh: 30000ms").replace("    method: POST\n", ""))

    assert (applied.revision, applied.is_new) == (1, False)
    assert not applied.difference
    assert mark_of(snapshot) == before


def test_a_change_is_told_key_by_key(bring):
    bring()

    applied = bring(
        WHOLE.replace("max_length: 64", "max_length: 80").replace("{contact: 14}", "{contact: 14, tier: 2}")
    )

    assert applied.revision == 2
    assert list(applied.difference.lines()) == [
        "~ endpoints.orders",
        "    fields.reference.max_length: 64 → 80",
        "~ partners.azure",
        "    values.tier: (default) → 2",
    ]
    assert applied.difference.as_json()[0] == {
        "section": "endpoints",
        "name": "orders",
        "change": "changed",
        "keys": [{"key": "fields.reference.max_length", "old": 64, "new": 80}],
    }


def test_what_no_file_names_stays(bring, snapshot):
    bring()

    applied = bring(PARTNER, name="more.yaml")

    assert list(applied.difference.lines()) == ["+ partners.globex"]
    assert set(read_snapshot(snapshot).partners) == {"azure", "globex"}


def test_a_file_may_refer_to_what_is_in_force(bring, snapshot):
    bring()

    bring("endpoints:\n  fast: {path: /v1/fast, upstream: carrier, relay: /fast, methods: [GET]}\n", name="more.yaml")

    assert read_snapshot(snapshot).endpoints["fast"].upstream == "carrier"


def test_a_file_must_agree_with_what_is_in_force(bring, tmp_path):
    bring()

    with pytest.raises(CatalogError) as caught:
        bring(PARTNER.replace("crane", "shop"), name="more.yaml")

    assert "azure has it too" in caught.value.errors[0].message or "globex has it too" in caught.value.errors[0].message


def test_prune_takes_away_what_files_do_not_name_any_more(bring, snapshot):
    bring()
    bring(PARTNER, name="more.yaml")

    applied = bring(prune=True)

    assert list(applied.difference.lines()) == ["- partners.globex"]
    assert set(read_snapshot(snapshot).partners) == {"azure"}


def test_prune_leaves_what_came_from_the_console(bring, database):
    bring()
    bring(PARTNER, name="more.yaml")
    with database.transaction() as session:
        session.connection().exec_driver_sql("UPDATE catalog_objects SET origin = 'console' WHERE name = 'globex'")

    applied = bring(prune=True)

    assert not applied.is_new
    assert current(database).origins["partners", "globex"].kind == "console"


def test_a_catalog_with_mistakes_changes_nothing(bring, snapshot, database):
    bring()

    with pytest.raises(CatalogError):
        bring(WHOLE.replace("client_order_ref, required", "client_order_reff, required"))

    assert current(database).number == read_snapshot(snapshot).revision == 1


def test_without_odoo_the_former_types_stand(bring, snapshot):
    bring()

    def away(_upstream, _model):
        raise UpstreamUnavailable("erp does not answer")

    applied = bring(WHOLE.replace("max_length: 64", "max_length: 65"), ask=away)

    assert applied.warnings[0] == "upstreams.erp: erp does not answer; field types of the former revision stand, if any"
    assert read_snapshot(snapshot).endpoints["orders"].model.fields[2].choices == ("draft", "sale")
    assert bring(WHOLE.replace("max_length: 64", "max_length: 66"), ask=None).is_new


def test_without_odoo_and_former_types_a_catalog_is_refused(bring):
    with pytest.raises(CatalogError) as caught:
        bring(ask=None)

    assert len(caught.value.errors) == 5
    assert all("erp" in mistake.message for mistake in caught.value.errors)


def test_a_model_that_odoo_does_not_know_is_told(bring):
    def unknown(_upstream, model):
        if model == "sale.order":
            raise UpstreamMisconfigured("Object sale.order doesn't exist")
        return TYPES[model]

    with pytest.raises(CatalogError) as caught:
        bring(ask=unknown)

    assert "Object sale.order doesn't exist" in caught.value.errors[0].message


def test_a_guard_on_a_field_that_odoo_does_not_have_is_told(bring, database):
    with pytest.raises(CatalogError) as caught:
        bring(WHOLE.replace("guard: [[state, in", "guard: [[sate, in"))

    (mistake,) = caught.value.errors
    assert mistake.path.endswith("catalog.yaml:40: endpoints.confirm-order.guard")
    assert mistake.message == "sale.order has no field `sate`; did you mean `state`?"
    assert current(database).number == 0


def test_the_model_of_a_guard_is_asked_for_when_nothing_else_needs_it(bring):
    lone = (
        "upstreams:\n  erp: {kind: odoo, url: http://erp, database: d, login: l, secret: env:S}\n"
        "endpoints:\n  go: {path: '/v1/{id}/go', upstream: erp, call: sale.order.go, guard: [[sate, '=', sale]]}\n"
    )

    with pytest.raises(CatalogError) as caught:
        bring(lone)

    assert [mistake.path.rpartition(": ")[2] for mistake in caught.value.errors] == ["endpoints.go.guard"]


def test_the_keys_of_the_ledger_are_in_force_after_publish_too(bring, database, snapshot):
    bring(WHOLE.replace("write: auto\n    cache", "write: auto\n    retry: {age: 7d}\n    cache"))
    snapshot.unlink()

    publish(database, snapshot)

    found = read_snapshot(snapshot)
    assert (found.endpoints["orders"].write, found.endpoints["orders"].retry.age_s) == ("auto", 604_800.0)
    assert found.endpoints["confirm-order"].call.guard == (("state", "in", ("sale", "done")),)


def test_types_that_changed_in_odoo_make_a_revision(bring, snapshot):
    bring()
    more = [["draft", "Quotation"], ["sale", "Order"], ["done", "Locked"]]
    order = {**TYPES["sale.order"], "state": {"type": "selection", "selection": more}, "unused": {"type": "char"}}

    applied = bring(ask=lambda _, model: order if model == "sale.order" else TYPES[model])

    assert (applied.revision, applied.is_new, bool(applied.difference)) == (2, True, False)
    assert read_snapshot(snapshot).endpoints["orders"].model.fields[2].choices == ("draft", "sale", "done")


def test_fields_of_odoo_that_are_not_mapped_make_no_revision(bring):
    bring()
    order = {**TYPES["sale.order"], "unused": {"type": "char"}}

    assert not bring(ask=lambda _, model: order if model == "sale.order" else TYPES[model]).is_new


def test_a_diff_changes_nothing(bring, files, database, snapshot):
    bring()

    found = diff_files(database, [files(PARTNER, "more.yaml")], prune=True)

    assert list(found.lines())[-2:] == ["- partners.azure", "+ partners.globex"]
    assert current(database).number == read_snapshot(snapshot).revision == 1


def test_publish_makes_the_snapshot_that_a_crash_prevented(bring, database, snapshot):
    bring()
    right = read_snapshot(snapshot)
    snapshot.unlink()

    assert publish(database, snapshot) == 1
    assert read_snapshot(snapshot) == right
    mark = mark_of(snapshot)
    assert publish(database, snapshot) == 1
    assert mark_of(snapshot) == mark


def test_publish_replaces_an_old_and_a_damaged_snapshot(bring, database, snapshot):
    bring()
    old = read_snapshot(snapshot)
    bring(PARTNER, name="more.yaml")
    right = read_snapshot(snapshot)

    for spoil in (lambda: write_snapshot(snapshot, old), lambda: snapshot.write_bytes(b"{}")):
        spoil()
        publish(database, snapshot)
        assert read_snapshot(snapshot) == right


def test_publish_before_the_first_apply_makes_nothing(database, snapshot):
    assert publish(database, snapshot) == 0
    assert not snapshot.exists()


def test_applies_at_once_are_done_one_after_the_other(bring, database, snapshot):
    bring()

    def add(name):
        return bring(f"partners:\n  {name}: {{name: {name}}}\n", name=f"{name}.yaml").revision

    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(add, ["p0", "p1", "p2", "p3"]))

    assert sorted(revisions) == [2, 3, 4, 5]
    assert current(database).number == read_snapshot(snapshot).revision == 5
    assert set(read_snapshot(snapshot).partners) == {"azure", "p0", "p1", "p2", "p3"}


def test_who_looks_all_the_time_takes_each_revision_once(bring, snapshot):
    taken, ended = SimpleQueue(), threading.Event()

    async def look():
        watch = CatalogWatch(
            snapshot, asyncio.get_running_loop(), prepare=lambda catalog: catalog.revision, enforce=taken.put
        )
        while not ended.is_set():
            watch.refresh()
            await asyncio.sleep(0)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(asyncio.run, look())
        try:
            for number in range(1, 11):
                bring(f"partners:\n  p{number}: {{name: P}}\n")
                assert taken.get(timeout=10) == number
        finally:
            ended.set()
        looking.result()

    assert taken.empty()


def test_a_number_that_comes_again_after_a_restore_is_another_revision(bring, database, snapshot):
    bring()
    right = snapshot.read_bytes()
    write_snapshot(snapshot, read_snapshot(snapshot), digest="of the database before it was restored")

    publish(database, snapshot)

    assert snapshot.read_bytes() == right


def test_each_revision_stands_in_the_audit_log(bring, database):
    bring()
    bring(PARTNER)
    bring(PARTNER)

    with database.reading() as session:
        second, first = entries(session, Wanted(kind="catalog"), 10)

    assert (first.actor, first.change.action, first.change.name) == (OPERATOR, "apply", "revision 1")
    assert (second.change.before, second.change.after) == (
        {"revision": 1},
        {"revision": 2, "number": 1, "changes": ["+ partners.globex"]},
    )
