"""Stores that are backed up and restored."""

import io
import time

from sqlalchemy import select

from entrepot.backup.making import make
from entrepot.backup.restoring import Choices, restore
from entrepot.identity.partners import Client
from entrepot.identity.tokens import Verifier
from entrepot.ledger.acceptance import accept
from entrepot.ledger.claim import claim
from entrepot.ledger.entries import (
    Acceptance,
    Attempt,
    ClaimRequest,
    NewTransaction,
    PlanText,
    Quota,
    Settlement,
    new_id,
)
from entrepot.ledger.settle import settle
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor
from entrepot.store.ledger import transactions

ANN = Actor("ann", "command", "0" * 36)
SHOP = Client("shop", "azure", frozenset({"orders.read"}))
URL = "http://gateway.example"
PASSWORD = "correct horse battery staple"


class Store:
    """A store in *home*; *variables* are further settings."""

    def __init__(self, home, **variables):
        self.home = home
        self.settings = load_settings(None, {
            "ENTREPOT_STORE_DIRECTORY": str(home), "ENTREPOT_GATEWAY_PUBLIC_URL": URL, "ENTREPOT_LEDGER_MIN_FREE": "0",
            **variables,
        })  # fmt: skip

    def services(self):
        return Services.from_settings(self.settings)

    def started(self):
        """The services as a daemon has them after its start."""
        services = self.services()
        services.prepare()
        return services

    def back_up(self, place, **more):
        return make(self.settings, place, lambda _count: None, **more).path

    def restore(self, source, **choices):
        data = source if isinstance(source, bytes) else source.read_bytes()
        return restore(self.settings, io.BytesIO(data), Choices(**choices), lambda _count: None, actor=ANN)

    def content(self):
        """All files but the lock, as bytes."""
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in sorted(self.home.rglob("*"))
            if path.is_file() and path.name != "lock"
        }


def bring(services, **values):
    """Accept a transaction of the client shop, and return its id."""
    now = time.time()
    usual = {
        "id": new_id(), "partner": "azure", "client": "shop", "endpoint": "orders", "upstream": "erp", "kind": "create",
        "operation_id": "op", "plan": PlanText("c" * 64, "{}"), "target": "POST /v1/orders", "facts": {},
        "body": b"{}", "order_key": None, "accepted_at": now, "expires_at": now + 86_400, "due_at": now,
    }  # fmt: skip
    new = NewTransaction(**(usual | values))
    with services.database.writing() as connection:
        (accepted,) = accept(connection, [Acceptance(new, Quota(), None, "always")], now)
    return accepted.id


def lease(services):
    """Lease what is due, and return the leases."""
    with services.database.writing() as connection:
        (leases,) = claim(connection, [ClaimRequest("erp", 100, "host:1", 30.0, "")], time.time())
    return leases


def end(services, one, state, applied, **values):
    """Settle the lease *one*."""
    now = time.time()
    attempt = Attempt("host:1", now, now, "delivered" if state == "delivered" else "transient", 201)
    with services.database.writing() as connection:
        settle(connection, [Settlement(one.seq, one.token, state, applied, attempt=attempt, **values)], now)


def rows(services):
    """Return state, reason and applied of all transactions, by id."""
    with services.database.reading() as session:
        found = session.execute(select(transactions)).all()
    return {row.id: (row.state, row.reason, row.applied) for row in found}


def lets_in(services, token):
    """Return the claims of *token*. Raises what the gateway would answer."""
    verifier = Verifier(services.keyring, services.revocations, issuer=URL, audience=URL, leeway_s=5)
    return verifier.claims(token.token.encode(), time.time())


def issue(services, client=SHOP):
    return services.desk.issue(client, scopes=None, expires_s=3600, actor=ANN)
