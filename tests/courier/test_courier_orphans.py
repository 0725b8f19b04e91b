"""Work whose client, upstream or endpoint is taken from the catalog: what ``apply`` says of it, what comes of it."""

import json
import time

import pytest
from stand import eventually, relay_catalog

from entrepot.ledger import operate

pytestmark = pytest.mark.slow


@pytest.fixture
def document(receiver):
    """A catalog with a second upstream and an endpoint of it."""
    document = relay_catalog(receiver.url)
    document["upstreams"]["other"] = document["upstreams"]["carrier"]
    document["endpoints"]["others"] = {**document["endpoints"]["notes"], "path": "/v1/others", "upstream": "other"}
    return document


def without(document, **names):
    """Return *document* without one object of each section in *names*."""
    return {
        section: {name: spec for name, spec in objects.items() if name != names.get(section)}
        for section, objects in document.items()
    }


def applied(stand, document, *options):
    path = stand.directory / "catalog.yaml"
    path.write_text(json.dumps(document))
    return stand.entrepot("apply", "--prune", *options, str(path)).splitlines()


def test_work_of_a_removed_endpoint_is_named_and_delivered(bare_stand, receiver, document):
    bare_stand.apply(document)
    ids = bare_stand.put("one", "two", endpoint="brief")
    bare_stand.put("three")

    said = applied(bare_stand, without(document, endpoints="brief"))
    bare_stand.run()
    bare_stand.wait_state(ids, "delivered")

    assert said[-1] == (
        "2 writes are delivered all the same: the catalog has no endpoint brief "
        "(entrepot transactions list --endpoint brief)"
    )


def test_work_for_a_removed_upstream_is_named_and_held_until_it_is_back(bare_stand, receiver, document):
    bare_stand.apply(document)
    ids = bare_stand.put("one", "two", endpoint="others")
    bare_stand.put("three")

    said = applied(bare_stand, without(document, upstreams="other", endpoints="others"))
    courier = bare_stand.run()
    assert eventually(lambda: [hold.upstream for hold in bare_stand.holds()] == ["other"])
    waiting = bare_stand.states(ids)
    applied(bare_stand, document)
    bare_stand.wait_state(ids, "delivered")

    assert said[-1] == (
        "2 writes are held: the catalog has no upstream other (entrepot transactions list --upstream other)"
    )
    assert [line for line in said if "writes are" in line or "write is" in line] == said[-1:]
    assert waiting == ["queued", "queued"]
    assert courier.poll() is None


def test_what_waits_of_what_was_removed_is_there_for_machines(bare_stand, document):
    bare_stand.apply(document)
    bare_stand.put("one", endpoint="others")
    bare_stand.put("two", endpoint="brief")
    bare_stand.put("three", partner="bolt")

    removed = without(document, upstreams="other", endpoints="others", partners="bolt")
    del removed["endpoints"]["brief"]
    (said,) = [json.loads("\n".join(applied(bare_stand, removed, "--json")))]

    assert said["waiting"] == {"clients": {"bolts": 1}, "upstreams": {"other": 1}, "endpoints": {"brief": 1}}


def test_nothing_is_said_when_nothing_waits(bare_stand, document):
    bare_stand.apply(document)

    said = applied(bare_stand, without(document, upstreams="other", endpoints="others"))

    assert said[-1] == "revision 2 is in force"


def test_work_of_a_disabled_client_waits_also_when_a_courier_starts_or_the_catalog_changes(
    bare_stand, receiver, document
):
    bare_stand.apply(document)
    ids = bare_stand.put("one", "two")
    (other,) = bare_stand.put("three", partner="bolt")
    bare_stand.entrepot("partner", "disable", "acme")

    bare_stand.run()
    bare_stand.wait_state([other], "delivered")
    applied(bare_stand, without(document, upstreams="other", endpoints="others"))
    bare_stand.wait_state(bare_stand.put("four", partner="bolt"), "delivered")
    assert bare_stand.states(ids) == ["held", "held"]

    bare_stand.entrepot("partner", "enable", "acme")
    bare_stand.wait_state(ids, "delivered")


def held_by_another_courier(stand):
    with stand.database.writing() as connection:
        operate.hold_client(connection, "shop", time.time())


def enabled_again(stand):
    stand.entrepot("client", "disable", "shop")
    stand.entrepot("client", "enable", "shop")


@pytest.mark.parametrize("meanwhile", [held_by_another_courier, enabled_again])
def test_a_client_that_is_back_is_let_go_though_this_courier_did_not_hold_it(stand, receiver, meanwhile):
    document = relay_catalog(receiver.url)
    stand.run()
    stand.wait_state(stand.put("before"), "delivered")
    stand.apply(without(document, partners="acme"))
    assert eventually(lambda: stand.log().count("catalog in force") == 2)

    meanwhile(stand)
    assert [hold.reason for hold in stand.holds()] == ["client"]
    stand.apply(document)

    stand.wait_state(stand.put("after"), "delivered")
    assert receiver.bodies == ["before", "after"]


def test_an_upstream_that_is_back_is_let_go_though_what_waited_for_it_was_cancelled(bare_stand, document):
    bare_stand.apply(document)
    ids = bare_stand.put("one", endpoint="others")
    bare_stand.apply(without(document, upstreams="other", endpoints="others"))
    first = bare_stand.run()
    assert eventually(lambda: [hold.upstream for hold in bare_stand.holds()] == ["other"])
    bare_stand.entrepot("transactions", "cancel", *ids)
    first.terminate()
    first.wait()

    bare_stand.run()
    assert eventually(lambda: bare_stand.log().count("catalog in force") == 2)
    bare_stand.apply(document)

    bare_stand.wait_state(bare_stand.put("two", endpoint="others"), "delivered")
