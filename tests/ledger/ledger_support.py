"""What tests of the ledger work with: a clock that stands still, and short ways to accept, claim and settle."""

from dataclasses import dataclass

from sqlalchemy import select

from entrepot.ledger.acceptance import accept
from entrepot.ledger.claim import claim, next_due
from entrepot.ledger.entries import (
    Acceptance,
    Accepted,
    Attempt,
    Claimed,
    ClaimRequest,
    KeptAnswer,
    NewTransaction,
    PlanText,
    Quota,
    Settlement,
    new_id,
)
from entrepot.ledger.losses import reclaim
from entrepot.ledger.reading import one
from entrepot.ledger.settle import settle
from entrepot.store.engine import Database
from entrepot.store.ledger import idempotency_keys, queues, transactions

NOW = 1_800_000_000.0
DAY_S = 86_400.0
PLAN = PlanText("c" * 64, '{"endpoint":"orders"}')
ANSWER = KeptAnswer(201, b"content-type: application/json\r\n", b'{"data":{"id":7}}')


def new(**values):
    """Return a transaction of the partner azure for the upstream erp."""
    usual = {
        "id": new_id(), "partner": "azure", "client": "azure-shop", "endpoint": "orders", "upstream": "erp",
        "kind": "create", "operation_id": "op", "plan": PLAN, "target": "POST /v1/orders",
        "facts": {"variables": {}}, "body": b'{"reference":"A1"}', "order_key": None, "accepted_at": NOW,
        "expires_at": NOW + 3 * DAY_S, "due_at": NOW,
    }  # fmt: skip
    return NewTransaction(**(usual | values))


def key(name="k", request="r", **values):
    """Return an Idempotency-Key that is leased for half a minute and kept for a day."""
    usual = {"leased_until": NOW + 30, "expires_at": NOW + DAY_S}
    return Claimed(name.ljust(64, "."), request.ljust(64, "."), **(usual | values))


def attempt(outcome="delivered", **values):
    return Attempt("host:1", NOW, **({"ended_at": NOW + 1, "outcome": outcome, "status": 201} | values))


@dataclass
class Ledger:
    """A store with a clock: *now* moves only when it is told to."""

    database: Database
    now: float = NOW

    def do(self, function, *arguments, **values):
        """Run *function* in a transaction of its own."""
        with self.database.writing() as connection:
            return function(connection, *arguments, **values)

    def accept(self, *items):
        """Accept *items*, in one batch."""
        return self.do(accept, items, self.now)

    def bring(self, *, when="always", key=None, quota=None, **values):
        """Accept one transaction, and return what became of it."""
        (admission,) = self.accept(Acceptance(new(**values), quota or Quota(), key, when))
        return admission

    def queue(self, **values):
        """Accept one transaction, and return its id."""
        admission = self.bring(**values)
        assert isinstance(admission, Accepted)
        return admission.id

    def claim(self, limit=10, *, upstream="erp", after="", lease_s=30.0):
        """Lease what is due."""
        (leases,) = self.do(claim, [ClaimRequest(upstream, limit, "host:1", lease_s, after)], self.now)
        return leases

    def settle(self, lease, state="delivered", applied="yes", **values):
        """Settle *lease*, by default as delivered in one attempt, and return whether it was ours."""
        usual = {"attempt": attempt("delivered" if state == "delivered" else "transient")}
        if state == "delivered":
            usual["answer"] = ANSWER
        (done,) = self.do(settle, [Settlement(lease.seq, lease.token, state, applied, **(usual | values))], self.now)
        return done

    def deliver(self, **values):
        """Accept a transaction and deliver it, and return its id."""
        wanted = self.queue(**values)
        for lease in self.claim():
            self.settle(lease)
        assert self.see(wanted).state == "delivered"
        return wanted

    def die(self, **values):
        """Accept a transaction and let it die, and return its id."""
        wanted = self.queue(**values)
        (lease,) = (lease for lease in self.claim() if lease.id == wanted)
        self.settle(lease, "dead", "no")
        return wanted

    def reclaim(self):
        return self.do(reclaim, self.now)

    def next_due(self, upstream="erp"):
        return self.do(next_due, upstream)

    def see(self, id_, partner=None):
        with self.database.reading() as session:
            return one(session.connection(), id_, partner)

    def row(self, id_):
        with self.database.reading() as session:
            return session.connection().execute(select(transactions).where(transactions.c.id == id_)).one()

    def count(self, table=transactions):
        with self.database.reading() as session:
            return len(session.connection().execute(select(table)).all())

    def waiting(self):
        """Return what the queues say: unfinished and bytes, by upstream and partner."""
        with self.database.reading() as session:
            rows = session.connection().execute(select(queues)).all()
        return {(row.upstream, row.partner): (row.unfinished, row.bytes) for row in rows if row.unfinished}

    def bytes(self, partner):
        """Return how many bytes of *partner* the queues say are unfinished, dead, and kept."""
        with self.database.reading() as session:
            rows = session.connection().execute(select(queues).where(queues.c.partner == partner)).all()
        return tuple(sum(getattr(row, name) for row in rows) for name in ("bytes", "dead_bytes", "kept_bytes"))

    def counted(self, partner):
        """Return the same as the tables have it."""
        found = [0, 0, 0]
        with self.database.reading() as session:
            connection = session.connection()
            rows = connection.execute(select(transactions).where(transactions.c.partner == partner)).all()
            keys = connection.execute(select(idempotency_keys).where(idempotency_keys.c.partner == partner)).all()
        for row in rows:
            place = {"dead": 1, "delivered": 2, "cancelled": 2}.get(row.state, 0)
            request = 0 if row.body is None else len(row.body) + len(row.facts) + len(row.target)
            stored = request + len(row.answer or b"")
            assert row.size == stored
            found[place] += stored
        found[2] += sum(len(row.answer) for row in keys if row.answer is not None and b'"gone"' not in row.answer)
        return tuple(found)

    def unfinished(self):
        """Return how many the queues say are unfinished."""
        return sum(count for count, _ in self.waiting().values())
