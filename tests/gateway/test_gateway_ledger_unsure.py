"""A hand-over whose commit is lost on its way: nobody knows whether the ledger has it, so nobody sends it twice."""

import threading
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import documents
from problems import ProblemCheck
from running import eventually
from upstream import gated

from entrepot.store import schema
from entrepot.store.engine import open_database
from lossy import lossy

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server(postgresql):
    """The URL of a database of this module's own, and the directory of its server's socket."""
    url = postgresql.create()
    with closing(open_database(url)) as database:
        schema.prepare(database)
    yield url, Path(url.partition("host=")[2].replace("%2F", "/"))
    postgresql.drop(url)


@pytest.fixture(scope="module")
def between(server):
    with lossy(server[1]) as between:
        yield between


@pytest.fixture(scope="module")
def own(make_daemon, upstream, closed_port, server, between):
    def more(daemon):
        (daemon.directory / "conf.d").mkdir()
        url = server[0].replace(str(server[1]), str(between.directory))
        (daemon.directory / "conf.d" / "store.ini").write_text(f"[store]\nurl = {url}\n", encoding="utf-8")
        return {"ledger.yaml": documents(upstream.url, closed_port, daemon.secret)}

    return make_daemon(more)


@pytest.fixture
def states(postgresql, server):
    """Return a function that returns the states of what came to a path."""
    database = server[0].partition("@/")[2].partition("?")[0]

    def states(path):
        asked = f"SELECT state, applied FROM transactions WHERE target = 'POST {path}'"
        return postgresql.do(asked, database)

    return states


def post(own, path):
    return own.call("POST", path, "Content-Type: application/json", token="shop", body=b"{}", timeout_s=20)


def test_what_was_not_sent_yet_is_left_to_the_courier(own, upstream, between, states, name):
    gate, path = threading.Event(), f"/v1/tight/{name}"
    upstream.plan(f"/tight/{name}-slow", gated(gate))
    assert post(own, f"{path}-slow").status == 202
    between.lose(path)

    answer = post(own, path)
    gate.set()

    assert between.is_lost.is_set()
    ProblemCheck(own)(answer, 503, "store-unavailable", detail="may have been accepted")
    assert eventually(lambda: post(own, f"{path}-after").status == 200, 10.0)
    assert upstream.seen_at(f"/tight/{name}") == []
    assert states(path) == [("queued", "no")]


def test_what_is_under_way_is_delivered_by_its_end(own, upstream, between, states, name):
    gate, path = threading.Event(), f"/v1/hurry-any/{name}"
    upstream.plan(f"/hurry-any/{name}", gated(gate, b"late"))
    between.lose(path)

    answer = post(own, path)
    gate.set()

    assert between.is_lost.is_set()
    ProblemCheck(own)(answer, 503, "store-unavailable", detail="may have been accepted")
    assert eventually(lambda: states(path) == [("delivered", "yes")], 10.0)
    assert len(upstream.seen_at(f"/hurry-any/{name}")) == 1
