"""Out at once: from the answer of a revocation on, no worker lets in what was revoked, whatever is killed or lost."""

import json
import os
import signal
import threading
import time
import uuid

import pytest
from running import eventually
from test_gateway_changes import claims_of, statuses

from entrepot.identity.revocation import Revocation
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor

pytestmark = pytest.mark.slow

WORKERS = 4
TARGET = "/v1/echo/out"
ANN = Actor("ann", "command", "0" * 36)


@pytest.fixture(scope="module")
def own(make_daemon):
    """A gateway of four workers that these tests may kill."""
    return make_daemon(workers=WORKERS)


@pytest.fixture
def running(own):
    if own.process.poll() is not None:
        own.start()
    own.wait_ready(60.0)
    return own


@pytest.fixture
def services(running):
    with Services.from_settings(load_settings(running.settings, environ={})) as services:
        yield services


def kill_all(daemon):
    """Kill master and workers at once, so that none of them can put anything in order."""
    # A worker whose master has gone ends by itself, and a master starts others for those that have.
    daemon.process.send_signal(signal.SIGSTOP)
    for pid in daemon.workers():
        os.kill(pid, signal.SIGKILL)
    daemon.process.kill()
    daemon.process.wait()


def test_the_next_request_on_every_worker_is_refused(running, services):
    token = running.issue("shop")
    with running.one_wire_for_each_worker(WORKERS) as wires:
        assert statuses(running, wires, TARGET, token) == [200] * WORKERS

        services.desk.revoke("jti", claims_of(token)["jti"], actor=ANN)

        assert statuses(running, wires, TARGET, token) == [401] * WORKERS


@pytest.mark.parametrize(("kind", "name"), [("client", "keyed"), ("partner", "acme")])
def test_the_next_request_of_a_disabled_caller_is_refused_and_of_an_enabled_one_taken(running, services, kind, name):
    token = running.issue("keyed")
    key = json.loads(running.entrepot("client", "api-key", "keyed", "--label", "test", "--json").stdout)["api_key"]
    name = name if kind == "client" else claims_of(token)["partner"]

    def asked(wires):
        found = []
        for wire in wires:
            for credential in (f"Bearer {token}", f"ApiKey {key}"):
                wire.send(running.head("GET", TARGET, f"Authorization: {credential}"))
                found.append(wire.answer().status)
        return set(found)

    with running.one_wire_for_each_worker(WORKERS) as wires:
        assert asked(wires) == {200}
        services.callers.disable(kind, name, actor=ANN)
        assert asked(wires) == {401}
        services.callers.enable(kind, name, actor=ANN)
        assert asked(wires) == {200}


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("all", "")])
def test_what_is_lifted_is_good_on_every_worker_with_the_next_request_and_after_kill_9(running, services, kind, name):
    token = running.issue("shop")
    with running.one_wire_for_each_worker(WORKERS) as wires:
        services.desk.revoke(kind, name, actor=ANN)
        assert statuses(running, wires, TARGET, token) == [401] * WORKERS

        services.desk.lift(kind, name, actor=ANN)

        assert statuses(running, wires, TARGET, token) == [200] * WORKERS
    kill_all(running)
    running.start()
    running.wait_ready(60.0)
    assert running.call("GET", TARGET, token=token).status == 200


def test_no_request_that_began_after_the_answer_is_let_in_under_load(running, services):
    token = running.issue("shop")
    head, ending, seen = running.head("GET", TARGET, token=token), threading.Event(), []

    def work():
        with running.wire() as wire:
            while not ending.is_set():
                began = time.monotonic()
                wire.send(head)
                status = wire.answer().status
                seen.append((began, time.monotonic(), status))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    some = eventually(lambda: len(seen) > 100)
    asked = time.monotonic()
    services.desk.revoke("jti", claims_of(token)["jti"], actor=ANN)
    answered, count = time.monotonic(), len(seen)
    more = eventually(lambda: len(seen) > count + 100)
    ending.set()
    for thread in threads:
        thread.join(10)

    assert (some, more) == (True, True)
    assert {status for _, ended, status in seen if ended < asked} == {200}
    assert {status for began, _, status in seen if began > answered} == {401}


def test_what_was_revoked_right_before_everything_was_killed_stays_out_without_the_database_too(running, services):
    token, other = running.issue("shop"), running.issue("shop")
    services.desk.revoke("jti", claims_of(token)["jti"], actor=ANN)
    services.callers.disable("client", "keyed", actor=ANN)
    kill_all(running)

    keyed = running.store / "entrepot.db"
    kept = keyed.read_bytes()
    try:
        keyed.write_bytes(b"this is no database" * 1000)
        for _ in range(2):
            running.start()
            running.wait_ready(60.0)
            with running.one_wire_for_each_worker(WORKERS) as wires:
                assert statuses(running, wires, TARGET, token) == [401] * WORKERS
                assert statuses(running, wires, TARGET, other) == [200] * WORKERS
            running.stop()
    finally:
        keyed.write_bytes(kept)
        services.callers.enable("client", "keyed", actor=ANN)


@pytest.mark.slow
def test_a_million_revoked_tokens_are_neither_let_in_nor_in_the_way(running, services):
    tokens = [running.issue("shop") for _ in range(2)]
    memory = running.memory_bytes()
    later = time.time() + 3600
    entries = [Revocation("jti", str(uuid.uuid4()), 1.0, later) for _ in range(1_000_000)]
    for start in range(0, len(entries), 50_000):
        services.revocations.add_all(entries[start : start + 50_000])
    services.revocations.compact(time.time(), is_whole=True)
    services.desk.revoke("jti", claims_of(tokens[0])["jti"], actor=ANN)
    running.stop()

    running.start()
    running.wait_ready(60.0)

    with running.one_wire_for_each_worker(WORKERS) as wires:
        assert statuses(running, wires, TARGET, tokens[0]) == [401] * WORKERS
        assert statuses(running, wires, TARGET, tokens[1]) == [200] * WORKERS
    # The ids are mapped, and so counted once for each worker, though they are there but once.
    assert running.memory_bytes() - memory < WORKERS * 40_000_000
