"""Data plane, introspection and whoami never disagree about a token, whatever is done to it, its client or its key."""

import os
import random
import time

import jwt
import pytest
from catalogs import AZURE
from portals import PortalProcess
from running import eventually

from entrepot.declarative.edit import Edits
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor, Change

pytestmark = pytest.mark.slow

TARGET = "/v1/echo/agreement"
ANN = Actor("ann", "command", "0" * 36)
STEPS = 60 * int(os.environ.get("ENTREPOT_TEST_CYCLES", "1"))
WITHIN_S = 1.0
# So close to its end nobody can say what a token is by the time of the answer: the data plane has a coarse clock.
EDGE_S = 0.6
SAMPLE = 4
NAMES = ("red", "blue", "green")
PARTNERS = ("north", "south")
GOOD, NO_SCOPE, BAD = "good", "good without the scope", "refused"


class Model:
    """What must be true of each token, as one who has read nothing but the documentation would reckon."""

    def __init__(self):
        self.tokens = []
        self.revoked = set()
        self.cutoffs = {}
        self.disabled = set()
        self.lost_keys = set()
        self.partner_of = dict.fromkeys(NAMES, "north")
        self.may_read = dict.fromkeys(NAMES, True)

    def verdict(self, token):
        """Return what the token is good for now."""
        claims, kid = token["claims"], token["kid"]
        client, partner = claims["client_id"], claims["partner"]
        owners = (("client", client), ("partner", partner), ("all", ""))
        is_bad = (
            claims["exp"] <= time.time()
            or claims["jti"] in self.revoked
            or any(claims["iat"] <= self.cutoffs.get(owner, -1) for owner in owners)
            or not self.disabled.isdisjoint(owners)
            or kid in self.lost_keys
            or self.partner_of.get(client) != partner
        )
        if is_bad:
            return BAD
        return GOOD if self.may_read[client] and "relay.read" in claims["scope"].split() else NO_SCOPE


class Changes:
    """Does one thing after the other to the running host and tells the model of it."""

    def __init__(self, daemon, portal, services, dice):
        self.daemon, self.portal, self.services, self.dice = daemon, portal, services, dice
        self.model = Model()
        self.secrets = {}
        self.put_catalog()

    def put_catalog(self):
        clients = {partner: {} for partner in PARTNERS}
        for name, partner in self.model.partner_of.items():
            clients[partner][name] = {"scopes": ["relay.read" if self.model.may_read[name] else "contacts.read"]}
        partners = {
            ("partners", name): {"name": name.title(), "values": {"contact": AZURE}, "clients": found}
            for name, found in clients.items()
        }
        edits = Edits(partners, Change("change", "partner", "north and south"))
        revision = self.services.edit(lambda _former: edits, actor=ANN).revision
        self.daemon.wait_in_force(revision)

    def one(self):
        """Do something, and return what it was."""
        weights = {
            self.issue: 12, self.ask_for: 8, self.revoke: 4, self.give_up: 3, self.cut_off: 2, self.cut_off_all: 0.5,
            self.switch_off: 2, self.switch_on: 6, self.rotate: 1, self.lose_key: 0.5, self.move: 2, self.take_out: 0.5,
            self.change_scope: 3,
        }  # fmt: skip
        change = self.dice.choices(list(weights), list(weights.values()))[0]
        return change.__name__, change()

    def issue(self):
        client = self.services.catalog().clients.get(self.dice.choice(NAMES))
        if client is not None and not self.is_shut_out(client.name):
            expires_s = self.dice.choice([3, 3600])
            self.add(self.services.desk.issue(client, scopes=None, expires_s=expires_s, actor=ANN).token)

    def ask_for(self):
        name = self.dice.choice(NAMES)
        basic = self.basic(name)
        if basic is not None:
            grant = {"grant_type": "client_credentials"}
            self.add(self.granted("/oauth/token", basic, **grant).json()["access_token"])

    def granted(self, path, basic, **form):
        """Return the good answer of the portal, which may learn of a catalog a moment later than the gateway."""
        answers = []

        def is_granted():
            answers.append(self.portal.post(path, basic=basic, **form))
            return answers[-1].status == 200

        assert eventually(is_granted, every_s=0.2), answers[-1]
        return answers[-1]

    def add(self, token):
        claims = jwt.decode(token, options={"verify_signature": False})
        kid = jwt.get_unverified_header(token)["kid"]
        self.model.tokens.append({"token": token, "claims": claims, "kid": kid})

    def any_token(self):
        return self.dice.choice(self.model.tokens) if self.model.tokens else None

    def revoke(self):
        token = self.any_token()
        if token is not None:
            self.services.desk.revoke("jti", token["claims"]["jti"], actor=ANN)
            self.model.revoked.add(token["claims"]["jti"])

    def give_up(self):
        token = self.any_token()
        if token is None or token["kid"] in self.model.lost_keys:
            return
        basic = self.basic(token["claims"]["client_id"])
        if basic is not None:
            self.granted("/oauth/revoke", basic, token=token["token"])
            self.model.revoked.add(token["claims"]["jti"])

    def cut_off(self):
        kind, name = self.any_owner()
        before = time.time() - self.dice.choice([0.0, 2.0, 5.0])
        self.services.desk.revoke(kind, name, actor=ANN, before=before)
        self.note_cutoff((kind, name), before)

    def cut_off_all(self):
        before = time.time() - 3.0
        self.services.desk.revoke("all", "", actor=ANN, before=before)
        self.note_cutoff(("all", ""), before)

    def note_cutoff(self, owner, before):
        # The last whole second whose tokens were all issued before then.
        last = int(before) if before > int(before) else int(before) - 1
        self.model.cutoffs[owner] = max(self.model.cutoffs.get(owner, -1), last)

    def any_owner(self):
        return self.dice.choice([("client", name) for name in NAMES] + [("partner", name) for name in PARTNERS])

    def switch_off(self):
        owner = self.any_owner()
        self.services.callers.disable(*owner, actor=ANN)
        self.model.disabled.add(owner)

    def switch_on(self):
        if self.model.disabled:
            owner = self.dice.choice(sorted(self.model.disabled))
            self.services.callers.enable(*owner, actor=ANN)
            self.model.disabled.remove(owner)

    def rotate(self):
        self.services.keys.rotate(actor=ANN)

    def lose_key(self):
        newest = self.services.keyring.newest.kid
        others = [kid for kid in self.services.keyring.keys if kid != newest]
        if others:
            kid = self.dice.choice(others)
            self.services.keyring.remove(kid)
            self.model.lost_keys.add(kid)

    def move(self):
        self.model.partner_of[self.dice.choice(NAMES)] = self.dice.choice(PARTNERS)
        self.put_catalog()

    def take_out(self):
        self.model.partner_of.pop(self.dice.choice(NAMES), None)
        self.put_catalog()

    def change_scope(self):
        name = self.dice.choice(NAMES)
        self.model.may_read[name] = not self.model.may_read[name]
        self.put_catalog()

    def is_shut_out(self, name):
        partner = self.model.partner_of.get(name)
        return partner is None or not self.model.disabled.isdisjoint({("client", name), ("partner", partner)})

    def basic(self, name):
        """Return name and secret of a client that is let in, else None. A client that moved has a secret of its own."""
        if self.is_shut_out(name):
            return None
        place = (name, self.model.partner_of[name])
        if place not in self.secrets:
            client = self.services.catalog().clients[name]
            self.secrets[place] = self.services.credentials.make("secret", client, actor=ANN).text
        return name, self.secrets[place]

    # -- what the host says

    def said(self, token, wires):
        """Return what all who can be asked say of *token*."""
        said = {}
        for number, wire in enumerate(wires):
            wire.send(self.daemon.head("GET", TARGET, token=token["token"]))
            said[f"worker {number}"] = {200: GOOD, 403: NO_SCOPE, 401: BAD}[wire.answer().status]
        described = self.described(token)
        if described is not None:
            said["introspection"] = described
        whoami = self.daemon.call("GET", "/oauth/whoami", token=token["token"])
        said["whoami"] = BAD if whoami.status == 401 else scope_verdict(whoami.data["scopes"])
        return said

    def agreed(self, token, wires, done):
        """Return what *token* is, by the model and all who can be asked; some may need a moment to learn of it."""
        until = time.monotonic() + WITHIN_S
        while True:
            # Between these two it may have expired, which is nobody's fault.
            asked, asked_at = time.monotonic(), time.time()
            before, said, wanted = self.model.verdict(token), self.said(token, wires), self.model.verdict(token)
            if set(said.values()) == {wanted}:
                return wanted
            near_its_end = before != wanted or asked_at - EDGE_S < token["claims"]["exp"] < time.time() + EDGE_S
            assert near_its_end or asked < until, (
                f"after {done[-5:]}: wanted {wanted}, said {said} of {token['claims']}, {token['kid']}"
            )

    def described(self, token):
        basic = self.basic(token["claims"]["client_id"])
        if basic is None:
            return None
        answer = self.portal.post("/oauth/introspect", basic=basic, token=token["token"])
        document = answer.json()
        if answer.status != 200:
            # Of a client that was just let in, or has moved, the portal may learn a moment later.
            return f"{answer.status} {document}"
        return scope_verdict(document["scope"].split()) if document["active"] else BAD


def scope_verdict(scopes):
    return GOOD if "relay.read" in scopes else NO_SCOPE


@pytest.fixture(scope="module")
def own(make_daemon):
    return make_daemon()


@pytest.fixture(scope="module")
def portal(own):
    with PortalProcess(own) as portal:
        yield portal


@pytest.mark.parametrize("seed", [1, 2])
def test_all_who_are_asked_say_of_each_token_what_was_done_to_it(own, portal, seed):
    dice = random.Random(seed)
    counts = dict.fromkeys((GOOD, NO_SCOPE, BAD), 0)
    with Services.from_settings(load_settings(own.settings, environ={})) as services:
        changes = Changes(own, portal, services, dice)
        for kind, name in [("client", name) for name in NAMES] + [("partner", name) for name in PARTNERS]:
            services.callers.enable(kind, name, actor=ANN)
        done = []
        for _ in range(STEPS):
            done.append(changes.one()[0])
            for verdict in agreed(changes, done):
                counts[verdict] += 1

    assert min(counts.values()) > 10, counts


def agreed(changes, done):
    """Return what the model says of some tokens, when all who are asked say the same in time."""
    model = changes.model
    good = [token for token in model.tokens if model.verdict(token) != BAD]
    sampled = [changes.dice.choice(tokens) for tokens in (model.tokens, good) if tokens for _ in range(SAMPLE)]
    with changes.daemon.one_wire_for_each_worker() as wires:
        return [changes.agreed(token, wires, done) for token in sampled]
