"""What work costs beside much that is finished, waits, or follows: nothing that grows with it."""

import pytest
from ledger_support import DAY_S, NOW, attempt, key, new
from sqlalchemy import event

from entrepot.ledger.acceptance import accept
from entrepot.ledger.claim import claim, next_due, renew
from entrepot.ledger.entries import Acceptance, ClaimRequest, Filters, Memory, Quota, Renewal, Settlement, new_id
from entrepot.ledger.losses import reclaim
from entrepot.ledger.operate import cancel, replay, skip
from entrepot.ledger.reading import backlog, listing, one
from entrepot.ledger.retention import Retention, prune
from entrepot.ledger.settle import remember, settle

pytestmark = pytest.mark.slow

MUCH = 20_000


@pytest.fixture
def store_url(sqlite_url):
    return sqlite_url


def fill(ledger, count, **values):
    ledger.accept(*[Acceptance(new(**values), Quota(transactions=10**6)) for _ in range(count)])


def finish(ledger, state="delivered"):
    while leases := ledger.claim(2000):
        settled = [Settlement(lease.seq, lease.token, state, "yes", attempt()) for lease in leases]
        ledger.do(settle, settled, NOW)


def steps(ledger, function, *arguments):
    """Return about how many instructions SQLite's machine takes for *function*."""
    counted = [0]

    def count():
        counted[0] += 10

    with ledger.database.writing() as connection:
        driver = connection.connection.driver_connection
        driver.set_progress_handler(count, 10)
        try:
            function(connection, *arguments)
        finally:
            driver.set_progress_handler(None, 0)
    return counted[0]


def fill_with(ledger, state):
    order_key = "k" if state == "following" else None
    fill(ledger, MUCH, due_at=NOW + DAY_S if state == "waiting" else NOW, order_key=order_key)
    if state in {"delivered", "dead"}:
        finish(ledger, state)


@pytest.mark.parametrize("state", ["delivered", "dead", "waiting", "following", "due"])
def test_a_day_of_work_costs_no_more_beside_much_else(ledger, state):
    alone = _costs(ledger)
    fill_with(ledger, state)

    beside = _costs(ledger)

    assert all(cost > 0 for cost in alone.values())
    assert {name: cost for name, cost in beside.items() if cost > alone[name] * 2 + 1500} == {}


def _costs(ledger):
    """Return what each kind of work costs, in SQLite's instructions."""
    costs = {}

    def measure(name, function, *arguments):
        costs[name] = steps(ledger, function, *arguments)

    partner = {"partner": "small", "upstream": "carrier", "order_key": "small"}
    items = [Acceptance(new(**partner), Quota(), key(new_id() + str(number))) for number in range(4)]
    measure("accept", accept, items, NOW)
    measure("accept behind a million", accept, [Acceptance(new(order_key="k"), Quota())], NOW)
    request = [ClaimRequest("carrier", 2, "host:1", 30.0)]
    measure("claim", claim, request, NOW)
    measure("next_due", next_due, "carrier")
    measure("reclaim", reclaim, NOW)
    ledger.accept(Acceptance(new(partner="small", upstream="carrier"), Quota()))
    (lease,) = ledger.claim(1, upstream="carrier")
    measure("renew", renew, [Renewal(lease.seq, lease.token, NOW + 60)], NOW)
    measure("remember", remember, [Memory(lease.seq, lease.token, {})], NOW)
    measure("settle", settle, [Settlement(lease.seq, lease.token, "dead", "no", attempt())], NOW)
    measure("replay", replay, [lease.id], NOW)
    measure("cancel", cancel, lease.id, None, NOW)
    measure("skip", skip, [lease.id], NOW)
    measure("one", one, lease.id, "small")
    measure("listing", listing, Filters(partner="azure", states=("queued", "dead", "delivered")))
    measure("listing all", listing, Filters(limit=10))
    measure("prune", prune, Retention(), NOW, 100)
    return costs


def test_what_has_lost_its_body_is_not_looked_at_again(ledger):
    fill(ledger, MUCH)
    finish(ledger)
    ledger.now += 8 * DAY_S
    while ledger.do(prune, Retention(), ledger.now, 5000):
        pass

    assert steps(ledger, prune, Retention(), ledger.now, 100) < 1000


def test_no_statement_reads_a_whole_table(ledger):
    fill_with(ledger, "waiting")
    seen = set()

    def note(_connection, _cursor, statement, parameters, _context, executemany):
        seen.add((statement, tuple(parameters[0] if executemany else parameters)))

    event.listen(ledger.database.engine, "before_cursor_execute", note)
    _costs(ledger)
    ledger.do(backlog)
    event.remove(ledger.database.engine, "before_cursor_execute", note)

    with ledger.database.engine.connect() as connection:
        plans = [
            (statement, row[3])
            for statement, parameters in seen
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE", "WITH"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    assert len(plans) > 40
    scans = [(plan, statement) for statement, plan in plans if plan.startswith("SCAN") and _is_large(plan)]
    # A page of all is the table itself, from its end.
    assert [scan for scan in scans if "LIMIT" not in scan[1]] == []


def _is_large(plan):
    return plan.split()[1] in {"transactions", "attempts", "idempotency_keys", "follower"}
