"""Reload, more workers, fewer, stop and kill: what is in flight is answered, and what was in force stays in force."""

import os
import signal
import threading
import time
from contextlib import suppress

import pytest
from beginning import begin
from catalogs import AZURE, DECO, relay
from rawclient import BrokenAnswerError
from running import START_S, eventually
from test_gateway_changes import Load
from upstream import answers, gated, hangs, resets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(make_daemon):
    """A daemon of this module's own: it is reloaded, stopped and killed."""
    return make_daemon()


@pytest.fixture
def running(own):
    if own.process.poll() is not None:
        own.start()
    own.wait_ready()
    return own


def test_reload_under_load_fails_no_request(running):
    before = running.workers()
    with Load(running, threads=4) as load:
        for _ in range(2):
            running.process.send_signal(signal.SIGHUP)
            time.sleep(1.5)
        assert eventually(lambda: len(running.workers()) == 2 and not set(before) & set(running.workers()), START_S)
        time.sleep(0.5)
        assert eventually(lambda: load.count > 500, START_S)

    assert load.failed == []


def test_workers_more_and_fewer_under_load_fail_no_request(running):
    with Load(running, threads=4) as load:
        running.process.send_signal(signal.SIGTTIN)
        assert eventually(lambda: len(running.workers()) == 3, START_S)
        time.sleep(0.5)
        running.process.send_signal(signal.SIGTTOU)
        assert eventually(lambda: len(running.workers()) == 2, START_S)
        time.sleep(0.5)

    assert load.failed == []


class Callers:
    """Threads that call until the daemon refuses connections; ``failed`` is what was taken and not answered."""

    def __init__(self, daemon, count):
        self.failed = []
        self._daemon = daemon
        self._head = daemon.head("GET", "/v1/echo/load", token="shop")
        self._threads = [threading.Thread(target=self._work) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join()

    def _work(self):
        with suppress(ConnectionRefusedError):
            while True:
                with self._daemon.wire() as wire:
                    self._keep_calling(wire)

    def _keep_calling(self, wire):
        # A connection that was still in the backlog at the end was never taken: its first request does not count.
        with suppress(BrokenAnswerError, ConnectionResetError):
            ended = self._ask(wire)
            while not ended:
                try:
                    ended = self._ask(wire)
                except (BrokenAnswerError, OSError) as exc:
                    self.failed.append(exc)
                    return

    def _ask(self, wire):
        wire.send(self._head)
        answer = wire.answer()
        if answer.status != 200:
            self.failed.append(answer)
        return answer.header("connection") == "close"


def test_stop_under_load_answers_all_that_it_has_taken(running):
    callers = Callers(running, 8)
    time.sleep(0.5)
    code = running.stop()
    callers.join()

    assert code == 0
    assert callers.failed == []


def test_stop_waits_for_a_slow_answer(running, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/lasting/{name}", gated(gate, b"late"))
    with running.wire() as wire:
        wire.send(running.head("GET", f"/v1/lasting/{name}", token="shop"))
        assert eventually(lambda: upstream.seen_at(f"/lasting/{name}"))
        running.process.terminate()
        time.sleep(1.5)
        gate.set()
        answer = wire.answer()

        assert (answer.status, answer.body) == (200, b"late")
        assert answer.header("connection") == "close"
    assert running.process.wait(START_S) == 0


def test_stop_does_not_wait_for_ever(running, upstream, name):
    upstream.plan(f"/lasting/{name}", hangs())
    with running.wire() as wire:
        wire.send(running.head("GET", f"/v1/lasting/{name}", token="shop"))
        assert eventually(lambda: upstream.seen_at(f"/lasting/{name}"))
        begun = time.monotonic()

        running.stop()

        assert time.monotonic() - begun < 8


def test_idle_connections_do_not_hold_up_a_stop(running):
    wires = [running.wire() for _ in range(20)]
    begun = time.monotonic()
    running.stop()
    took_s = time.monotonic() - begun
    for wire in wires:
        wire.close()

    assert took_s < 3


def test_killed_worker_takes_only_its_own_connections_and_is_replaced(running):
    with running.one_wire_for_each_worker() as wires:
        victim, survivor = wires
        os.kill(running.worker_of(victim), signal.SIGKILL)

        survivor.send(running.head("GET", "/v1/echo/x", token="shop"))
        assert survivor.answer().status == 200
        assert eventually(lambda: len(running.workers()) == 2, START_S)
        assert running.call("GET", "/v1/echo/x", token="shop").status == 200


def test_killed_worker_gives_its_places_back(running, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/narrow/{name}", gated(gate))
    wires = [running.wire() for _ in range(2)]
    for wire in wires:
        wire.send(running.head("GET", f"/v1/narrow/{name}", token="shop"))
    assert eventually(lambda: len(upstream.seen_at(f"/narrow/{name}")) == 2)
    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)
    for wire in wires:
        wire.close()
    gate.set()
    running.wait_ready()

    assert eventually(lambda: running.call("GET", "/v1/narrow/after", token="shop").status == 200)


def test_limit_holds_over_a_reload_and_the_kill_of_a_worker(running):
    begun = time.monotonic()
    passed = 0
    for round_ in range(8):
        for _ in range(12):
            with suppress(BrokenAnswerError, OSError):
                passed += running.call("GET", "/v1/echo/x", token="metered").status == 200
        if round_ == 2:
            running.process.send_signal(signal.SIGHUP)
        if round_ == 5:
            os.kill(running.workers()[0], signal.SIGKILL)
        time.sleep(0.4)
    took_s = time.monotonic() - begun

    assert passed <= 10 + 2 * took_s + 1
    assert passed >= 0.98 * (10 + 2 * (took_s - 1.0)) - 2


def test_revocation_outlives_a_restart_with_and_without_the_database(running):
    token = running.issue("shop")
    assert running.call("GET", "/v1/echo/x", token=token).status == 200
    running.entrepot("token", "revoke", token)
    running.stop()

    running.start()
    running.wait_ready()
    with_database = running.call("GET", "/v1/echo/x", token=token).status
    running.stop()
    for path in running.store.glob("entrepot.db*"):
        path.unlink()
    running.start()
    running.wait_ready()
    without = running.call("GET", "/v1/echo/x", token=token).status
    good = running.call("GET", "/v1/echo/x", token="shop").status

    assert (with_database, without, good) == (401, 401, 200)
    running.stop()
    begin(running)


def test_metrics_say_that_the_database_is_away_and_the_master_key_another_one(running):
    def figures():
        page = running.call("GET", "/metrics").body.decode()
        return {name: value for name, _, value in (line.partition(" ") for line in page.splitlines())}

    def both_are(value):
        found = figures()
        return found["entrepot_master_key_unusable"] == found["entrepot_store_away"] == value

    def each_worker_said(text):
        return running.log()[begun:].count(text) == len(running.workers())

    key, database = running.store / "master.key", running.store / "entrepot.db"
    assert both_are("0.0")
    running.stop()
    whole, begun = key.read_bytes(), len(running.log())
    key.write_text("0" * 64)
    database.rename(running.store / "away")
    database.mkdir()
    try:
        running.start()
        running.wait_ready()

        assert eventually(lambda: both_are("1.0"))
        assert eventually(lambda: each_worker_said("the database is away, nothing can be accepted"))
    finally:
        key.write_bytes(whole)
        database.rmdir()
        (running.store / "away").rename(database)

    assert eventually(lambda: both_are("0.0"))
    assert eventually(lambda: each_worker_said("the database is back"))
    assert each_worker_said("the database is away, nothing can be accepted")
    running.stop()
    begin(running)


def test_cache_outlives_a_restart_and_an_outage(running, upstream, name):
    assert running.call("GET", f"/v1/brief/{name}", token="shop").status == 200
    running.stop()
    upstream.plan(f"/brief/{name}", resets())
    running.start()
    running.wait_ready()

    answer = running.call("GET", f"/v1/brief/{name}", token="shop")

    assert answer.status == 200, answer.body
    assert "fwd=stale" in answer.header("cache-status")


def test_broken_settings_on_reload_leave_the_old_workers(running):
    before = running.workers()
    good = running.settings.read_text(encoding="utf-8")
    running.write_settings(more="[gatway]\nx = 1\n")
    running.process.send_signal(signal.SIGHUP)
    assert eventually(lambda: "gatway" in running.log(), START_S)
    time.sleep(1.0)

    assert running.call("GET", "/v1/echo/x", token="shop").status == 200
    assert running.workers() == before
    assert "Traceback" not in running.log()
    running.settings.write_text(good, encoding="utf-8")


def test_worker_count_in_the_settings_is_taken_on_reload(running):
    running.write_settings(workers=1)
    running.process.send_signal(signal.SIGHUP)
    one = eventually(lambda: len(running.workers()) == 1, START_S)
    running.write_settings(workers=2)
    running.process.send_signal(signal.SIGHUP)
    two = eventually(lambda: len(running.workers()) == 2, START_S)

    assert (one, two) == (True, True)
    running.wait_ready()


def test_metrics_add_up_over_workers_that_came_and_went(running, upstream, name):
    def told(wire):
        wire.send(running.head("GET", "/metrics"))
        lines = [
            line
            for line in wire.answer().body.decode().splitlines()
            if line.startswith("http_request_duration_seconds_count") and 'handler="fixed"' in line
        ]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def served():
        """What each worker says that all have served: of others it knows what they have written."""
        with running.one_wire_for_each_worker() as wires:
            return {told(wire) for wire in wires}

    upstream.plan("/fixed", answers(b"x"))
    assert eventually(lambda: len(served()) == 1)
    (before,) = served()
    for _ in range(20):
        assert running.call("GET", "/v1/fixed", token="shop").status == 200
    assert eventually(lambda: served() == {before + 20})
    os.kill(running.workers()[0], signal.SIGKILL)
    running.wait_ready()

    assert eventually(lambda: served() == {before + 20})


def test_second_sigterm_is_no_quick_stop(running, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/lasting/{name}", gated(gate, b"late"))
    with running.wire() as wire:
        wire.send(running.head("GET", f"/v1/lasting/{name}", token="shop"))
        assert eventually(lambda: upstream.seen_at(f"/lasting/{name}"))
        for pid in running.workers():
            os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
        for pid in running.workers():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        time.sleep(0.3)
        gate.set()

        assert wire.answer().body == b"late"


@pytest.fixture
def own_paths(running):
    """A relay to a path of the caller's own, taken out again; the gateway is started anew if it did not bear it."""
    mine = {**relay("/mine/{rest}", cache={"fresh": "60s"}), "relay": "/of/{partner.contact}/{rest}"}
    done = running.apply("mine.yaml", {"endpoints": {"mine": mine}})
    yield done
    running.entrepot("apply", "--prune", str(running.directory / "catalog.yaml"))
    time.sleep(0.5)
    if running.process.poll() is not None:
        running.start()
        running.wait_ready()


def test_relay_to_the_callers_own_path_leads_nowhere_else(running, own_paths, name):
    assert eventually(lambda: running.call("GET", f"/v1/mine/{name}", token="shop").status == 200)
    with running.wire() as wire:

        def status():
            wire.send(running.head("GET", f"/v1/mine/{name}", token="shop"))
            return wire.answer().status

        assert eventually(lambda: status() == 200)  # this worker has the new catalog as well
        seen = []
        for caller in ("shop", "rival", "shop", "rival"):
            wire.send(running.head("GET", f"/v1/mine/{name}", token=caller))
            seen.append(wire.answer().json()["target"])

    assert seen == [f"/of/{AZURE}/{name}", f"/of/{DECO}/{name}"] * 2


def test_catalog_that_was_applied_does_not_end_service(running, own_paths):
    time.sleep(1.5)

    assert running.call("GET", "/v1/echo/x", token="shop").status == 200
    assert len(running.workers()) == 2
    assert "Traceback" not in running.log()


def test_catalog_that_was_applied_can_always_be_started_with(running, own_paths):
    running.stop()
    running.start()
    running.wait_ready()

    assert running.call("GET", "/v1/echo/x", token="shop").status == 200


def test_damaged_snapshot_leaves_the_catalog_in_force(running):
    path = running.store / "snapshot.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    try:
        running.process.send_signal(signal.SIGHUP)
        time.sleep(1.5)

        assert running.call("GET", "/v1/echo/x", token="shop").status == 200
    finally:
        path.write_bytes(whole)


def test_lost_secret_of_one_upstream_does_not_take_the_others_away(running, upstream):
    secret = running.directory / "passing-secret"
    secret.write_text("bearer-of-the-gateway", encoding="utf-8")
    guarded = {"kind": "http", "url": upstream.url, "auth": {"bearer": f"file:{secret}"}}
    running.apply(
        "guarded.yaml",
        {"upstreams": {"guarded": guarded}, "endpoints": {"guarded": relay("/guarded/{rest}", "guarded")}},
    )
    try:
        assert eventually(lambda: running.call("GET", "/v1/guarded/x", token="shop").status == 200)
        assert upstream.seen_at("/guarded/x")[-1].header("authorization") == "Bearer bearer-of-the-gateway"
        secret.unlink()
        running.stop()
        running.start()
        running.wait_ready()

        assert running.call("GET", "/v1/echo/x", token="shop").status == 200
        assert running.call("GET", "/v1/guarded/x", token="shop").status == 502
    finally:
        secret.write_text("bearer-of-the-gateway", encoding="utf-8")
        running.entrepot("apply", "--prune", str(running.directory / "catalog.yaml"))
        if running.process.poll() is not None:
            running.start()


def test_stop_that_comes_while_a_worker_boots_is_heard(make_daemon):
    running = make_daemon()
    running.stop()
    for _ in range(5):
        running.start()
        assert eventually(running.workers, START_S, 0.001)
        begun = time.monotonic()

        assert running.stop() == 0
        assert time.monotonic() - begun < 4.0
