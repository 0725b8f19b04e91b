"""Everything is killed right after a revocation was answered: it is in force after the start, whatever was lost."""

import os
import random
import signal
import subprocess
import threading
import time
from contextlib import suppress

import pytest
from portals import PortalProcess
from rawclient import BrokenAnswerError
from running import eventually

from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor

pytestmark = pytest.mark.slow

TARGET = "/v1/echo/killed"
ANN = Actor("ann", "command", "0" * 36)
CYCLES = int(os.environ.get("ENTREPOT_TEST_CYCLES", "1"))


class Host:
    """A gateway and its portal, killed and started together."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.portal = PortalProcess(daemon)

    def start(self):
        """Start both, and return when they serve."""
        self.daemon.start()
        self.daemon.wait_ready(60.0)
        self.portal.start()

    def kill(self, *others):
        """Kill all processes at once, and *others* with them."""
        workers = self.daemon.workers()
        for process in (self.daemon.process, *others):
            process.kill()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.portal.kill()
        for process in (self.daemon.process, *others):
            process.wait()

    def lose(self, what):
        """Take files of the store away: the database, or what stands beside it."""
        for path in self.daemon.store.glob(what):
            path.unlink()

    def services(self):
        """Return the services of the store, for the length of a ``with``."""
        return Services.from_settings(load_settings(self.daemon.settings, environ={}))

    def revoke(self, *arguments):
        """Run the command line until it has answered, kill everything, and return what it said."""
        process = subprocess.Popen(self.daemon.command(*arguments), stdout=subprocess.PIPE, text=True)
        with process.stdout:
            said = process.stdout.readline()
            self.kill(process)
        return said

    def statuses(self, credential):
        """Return what each worker answers to *credential*."""
        found = set()
        with self.daemon.one_wire_for_each_worker() as wires:
            for wire in wires:
                wire.send(self.daemon.head("GET", TARGET, f"Authorization: {credential}"))
                found.add(wire.answer().status)
        return found


@pytest.fixture(scope="module")
def host(make_daemon):
    host = Host(make_daemon())
    host.daemon.wait_ready(60.0)
    host.portal.start()
    yield host
    host.portal.stop()


@pytest.fixture(scope="module")
def secret(host):
    """A secret of the client ``shop``; that it outlives all that follows is a claim of its own."""
    with host.services() as services:
        return services.credentials.make("secret", services.catalog().clients["shop"], actor=ANN).text


def by_token_endpoint(host, secret, token, _api_key):
    answer = host.portal.post("/oauth/revoke", basic=("shop", secret), token=token)
    host.kill()
    assert answer.status == 200
    return "token"


def by_token(host, _secret, token, _api_key):
    assert host.revoke("token", "revoke", token).startswith("revoked")
    return "token"


def of_client(host, _secret, _token, _api_key):
    assert host.revoke("token", "revoke", "--client", "shop").startswith("revoked")
    return "token"


def of_partner(host, _secret, _token, _api_key):
    assert host.revoke("token", "revoke", "--partner", "azure").startswith("revoked")
    return "both"


def disabled_client(host, _secret, _token, _api_key):
    assert "disabled" in host.revoke("client", "disable", "shop")
    return "token"


def disabled_partner(host, _secret, _token, _api_key):
    assert "disabled" in host.revoke("partner", "disable", "azure")
    return "both"


def of_api_key(host, _secret, _token, api_key):
    assert host.revoke("client", "revoke-key", api_key.split("_")[1]).startswith("revoked")
    return "key"


WAYS = [by_token_endpoint, by_token, of_client, of_partner, disabled_client, disabled_partner, of_api_key]
LOST = {"nothing": "no such file", "the database": "entrepot.db*", "the file of revocations": "revocations*"}


@pytest.mark.parametrize("lost", LOST)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_revocation_that_was_answered_outlives_the_kill_of_everything(host, secret, way, lost):
    for _ in range(CYCLES):
        with host.services() as services:
            keyed = services.catalog().clients["keyed"]
            api_key = services.credentials.make("api-key", keyed, actor=ANN, label="killed").text
            tokens = [
                services.desk.issue(services.catalog().clients[name], scopes=None, expires_s=3600, actor=ANN).token
                for name in ("shop", "rival")
            ]
        shown = {"token": f"Bearer {tokens[0]}", "key": f"ApiKey {api_key}", "other": f"Bearer {tokens[1]}"}
        for credential in shown.values():
            assert eventually(lambda credential=credential: host.statuses(credential) == {200})

        refused = {"both": {"token", "key"}}.get(what := way(host, secret, tokens[0], api_key), {what})
        host.lose(LOST[lost])
        host.start()

        found = {name: host.statuses(credential) for name, credential in shown.items()}
        assert found == {name: {401} if name in refused else {200} for name in shown}
        if "token" in refused and not way.__name__.startswith("disabled"):
            described = host.portal.post("/oauth/introspect", basic=("shop", secret), token=tokens[0])
            assert described.json() == {"active": False}
        with host.services() as services:
            for kind, name in (("client", "shop"), ("partner", "azure")):
                services.callers.enable(kind, name, actor=ANN)


@pytest.mark.parametrize("lost", LOST)
def test_none_of_many_revocations_that_were_answered_is_lost_by_a_kill_in_their_midst(host, secret, lost):
    dice = random.Random(4)
    for _ in range(3 * CYCLES):
        answered = []

        def revoke(answered=answered):
            with suppress(OSError, BrokenAnswerError, AssertionError):
                while True:
                    token = host.daemon.mint.token(iat=int(time.time()))
                    status = host.portal.post("/oauth/revoke", basic=("shop", secret), token=token).status
                    if status == 200:
                        answered.append(token)

        threads = [threading.Thread(target=revoke) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert eventually(lambda answered=answered: len(answered) > 3, 10.0)
        time.sleep(dice.random() * 0.5)
        host.kill()
        for thread in threads:
            thread.join(20)
        host.lose(LOST[lost])
        host.start()

        with host.daemon.one_wire_for_each_worker() as wires:
            for token in answered:
                for wire in wires:
                    wire.send(host.daemon.head("GET", TARGET, token=token))
                    assert wire.answer().status == 401
            for wire in wires:
                fresh = host.daemon.mint.token(iat=int(time.time()))
                wire.send(host.daemon.head("GET", TARGET, token=fresh))
                assert wire.answer().status == 200
