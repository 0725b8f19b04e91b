"""The catalog changes while transactions wait: what was accepted keeps what it was accepted as."""

import copy
import json

import pytest
from fault_rig import Witness, pause
from fault_verdict import assert_applied_once, judge

pytestmark = pytest.mark.faults

PATHS = ["/v1/lanes/{lane}", "/v1/crowd"]


@pytest.fixture
def waiting(make_rig):
    """A rig whose upstream is away, and the writes that wait for it."""
    rig = make_rig()
    rig.witness.behave("refuses")
    with rig.load(6, *PATHS, count=40) as load:
        pass
    rig.writes = load.writes
    assert sum(rig.ledger.unfinished().values()) == len(load.writes)
    return rig


def change(rig, alter):
    """Bring in the catalog as *alter* has made it of what it was."""
    document = copy.deepcopy(rig.document)
    alter(document)
    return rig.daemon.entrepot("apply", "--prune", str(write_catalog(rig, document)))


def write_catalog(rig, document):
    path = rig.directory / "catalog.yaml"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_endpoint_that_was_removed_delivers_what_it_had_accepted(waiting):
    def without_endpoints(document):
        del document["endpoints"]["lanes"], document["endpoints"]["crowd"]

    change(waiting, without_endpoints)
    pause(1.0)
    waiting.witness.behave("ok")
    waiting.ledger.wait_drained()

    assert_applied_once(waiting.writes, waiting.witness.log)


def test_endpoint_that_was_changed_delivers_what_it_had_accepted_to_the_old_path(waiting):
    def elsewhere(document):
        document["endpoints"]["crowd"]["relay"] = "/elsewhere"

    change(waiting, elsewhere)
    pause(1.0)
    waiting.witness.behave("ok")
    waiting.ledger.wait_drained()

    assert_applied_once(waiting.writes, waiting.witness.log)
    assert "/elsewhere" not in waiting.witness.log.read_text(encoding="utf-8")


def test_upstream_that_has_moved_gets_all_at_its_new_place(waiting, tmp_path):
    moved = Witness(tmp_path)
    try:
        change(waiting, lambda document: document["upstreams"]["witness"].update(url=moved.url))
        waiting.ledger.wait_drained()

        assert_applied_once(waiting.writes, moved.log)
        assert waiting.witness.count() == 0
    finally:
        moved.stop()


def without_rival(document):
    del document["partners"]["deco"]["clients"]["rival"]


def test_client_that_was_removed_has_its_work_held_until_it_is_back(waiting):
    theirs = [write for write in waiting.writes if write.client == "rival"]
    ours = [write for write in waiting.writes if write.client != "rival"]
    change(waiting, without_rival)
    pause(1.0)
    waiting.witness.behave("ok")
    waiting.ledger.wait_states({"held": len(theirs), "delivered": len(ours)})
    assert_applied_once(ours, waiting.witness.log)
    assert len(judge(theirs, waiting.witness.log).lost) == len(theirs) > 0

    change(waiting, lambda document: None)
    waiting.ledger.wait_drained()

    assert_applied_once(waiting.writes, waiting.witness.log)


def test_apply_says_how_many_writes_are_held_with_their_client(waiting):
    theirs = [write for write in waiting.writes if write.client == "rival"]

    said = change(waiting, without_rival).stdout

    assert f"{len(theirs)} writes are held: the catalog has no client rival" in said, said
