"""A real Odoo that is killed, and its PostgreSQL stopped, while partners write; counted in Odoo's own database."""

import copy
import json
from itertools import islice
from uuid import uuid4

import pytest
from fault_erp import order_fields
from fault_ledger import Ledger
from fault_options import CONTACTS, ORDERS
from fault_orders import assert_orders_are_as_written, order_writes, reference_of
from fault_rig import Courier, pause
from fault_senders import Load, Sender, Write
from fault_verdict import REPORT
from real_catalog import catalog
from real_machine import why_not
from running import Daemon

pytestmark = [pytest.mark.faults, pytest.mark.odoo, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

SENDERS = 4
DRAINED_S = 120.0 + (CONTACTS + 5 * ORDERS) / 5
RETRY = {"first": "200ms", "factor": 2, "ceiling": "2s", "age": "1h"}
UPSTREAM = {
    "timeout": "5s", "connect_timeout": "1s", "settle": "8s", "concurrency": 4,
    "breaker": {"failures": 3, "open": "1s"}, "probe": {"every": "1h"},
}  # fmt: skip


@pytest.fixture(scope="module")
def service(machine, erp):
    """The code of a product that is ordered."""
    code = f"{uuid4().hex}-s"
    values = {"name": f"Service {code}", "default_code": code, "type": "service", "taxes_id": []}
    product = erp.call("product.product", "create", values)
    yield code
    machine.up()
    erp.remove("product.template", ["product_variant_ids", "in", [product]])


@pytest.fixture(scope="module")
def company(service, company):
    """The company of the calling partner: made after what it orders, it goes before it."""
    return company


def queued(erp, company, secret):
    """Return the catalog over *erp* in which what partners write waits when it must."""
    partners = {"ours": {"company": company.id, "mark": company.mark}}
    document = copy.deepcopy(catalog(erp, secret=str(secret), upstream=UPSTREAM, partners=partners))
    endpoints = {name: document["endpoints"][name] for name in ("contacts", "orders", "confirm-order")}
    endpoints["contacts"] |= {"write": "queue", "retry": RETRY}
    endpoints["orders"] |= {"write": "auto", "patience": "1s", "retry": RETRY}
    told = {"path": "/v1/told-orders", "fields": order_fields(), "sort": ["reference"]}
    endpoints["told-orders"] = {**endpoints["orders"], **told}
    guard = [["state", "in", ["sale", "done"]]]
    endpoints["confirm-order"] |= {"write": "auto", "patience": "1s", "retry": RETRY, "guard": guard}
    return {**document, "endpoints": endpoints}


@pytest.fixture
def gateway(tmp_path, erp, company):
    daemon = Daemon(tmp_path)
    daemon.secret = tmp_path / "erp-secret"
    daemon.secret.write_text(erp.password, encoding="utf-8")
    daemon.document = queued(erp, company, daemon.secret)
    daemon.apply("catalog.yaml", daemon.document)
    daemon.start()
    daemon.wait_ready()
    daemon.tokens["ours"] = daemon.issue("ours")
    daemon.ledger = Ledger.of_store(daemon.store)
    courier = Courier(daemon)
    yield daemon
    courier.stop()
    daemon.stop()


def contacts(mark, first, last):
    """Yield the creation of each contact from number *first* on."""
    for number in range(first, last):
        yield Write(uuid4().hex, "/v1/contacts", {"name": f"{mark} {number}", "email": f"c{number}@example.com"})


def orders(mark, product, first, last):
    """Yield the creation of an order of two lines and, by the partner's own reference, its confirmation."""
    for number in range(first, last):
        reference = f"{mark}-{number}"
        lines = [{"product": product, "quantity": quantity, "price": 2.5} for quantity in (1, 2)]
        yield Write(uuid4().hex, "/v1/orders", {"reference": reference, "lines": lines})
        yield Write(uuid4().hex, f"/v1/orders/{reference}/confirm", {})


def senders(gateway, mark, product, seed):
    """Return the partner's programs: half of them make contacts, half of them orders; and one changes orders."""
    works = [
        islice(order_writes(["/v1/told-orders"], seed, product), ORDERS),
        *(contacts(mark, at * CONTACTS // SENDERS, (at + 1) * CONTACTS // SENDERS) for at in range(SENDERS)),
        *(orders(mark, product, at * ORDERS // SENDERS, (at + 1) * ORDERS // SENDERS) for at in range(SENDERS)),
    ]
    return [
        Sender(gateway.port, "ours", gateway.tokens["ours"], work, seed=f"{seed}-{at}", pause_s=0.4)
        for at, work in enumerate(works)
    ]


def changed_orders(machine, writes):
    """Return the orders that *writes* name as they stand in Odoo's database: reference, note, texts of the lines."""
    references = ", ".join(f"'{reference}'" for reference in {reference_of(write) for write in writes})
    found = machine.sql(
        "SELECT coalesce(json_agg(json_build_array(o.client_order_ref, o.note,"
        " (SELECT coalesce(json_agg(l.name), '[]') FROM sale_order_line l WHERE l.order_id = o.id))), '[]')"
        f" FROM sale_order o WHERE o.client_order_ref IN ({references})"
    )
    return sorted((reference, note, sorted(texts)) for reference, note, texts in json.loads(found))


def break_and_mend(machine, dice, how):
    """Break Odoo as *how* says for a while."""
    pause(1.0 + 2.0 * dice.random())
    machine.down(how)
    pause(1.0 + 2.0 * dice.random())
    machine.up()


def test_odoo_that_is_killed_and_loses_its_database_holds_each_record_once(machine, service, gateway, dice):
    mark = uuid4().hex[:12]
    changes, *others = senders(gateway, mark, service, str(dice.random()))
    load = Load([changes, *others], to_its_end=True, within_s=DRAINED_S)

    with load:
        for how in ("--hard", "--db", "--hard", "--odoo") * max(1, CONTACTS // 200):
            break_and_mend(machine, dice, how)
    gateway.ledger.wait_drained(DRAINED_S)

    tries = gateway.ledger.ask("SELECT outcome, code, count(*) FROM attempts GROUP BY 1, 2 ORDER BY 3 DESC")
    REPORT.append(f"{sum(len(write.statuses) for write in load.writes)} tries of {len(load.writes)}, attempts {tries}")
    made = machine.sql(f"SELECT count(*), count(DISTINCT name) FROM res_partner WHERE name LIKE '{mark} %'")
    assert made == f"{CONTACTS}|{CONTACTS}"
    ordered = machine.sql(
        "SELECT count(*), count(DISTINCT client_order_ref), count(*) FILTER (WHERE state = 'sale'),"
        " (SELECT count(*) FROM sale_order_line l JOIN sale_order o ON o.id = l.order_id"
        f"  WHERE o.client_order_ref LIKE '{mark}-%') FROM sale_order WHERE client_order_ref LIKE '{mark}-%'"
    )
    assert ordered == f"{ORDERS}|{ORDERS}|{ORDERS}|{2 * ORDERS}"
    assert_orders_are_as_written(changes.writes, changed_orders(machine, changes.writes))


def test_orders_are_made_and_confirmed_by_reference_while_odoo_is_down_all_the_time(machine, service, gateway):
    mark = uuid4().hex[:12]
    machine.down("--odoo")
    work = list(orders(mark, service, 0, 10))
    sender = Sender(gateway.port, "ours", gateway.tokens["ours"], work, seed="down", pause_s=0.0, hangs_up=0.0)

    with Load([sender], to_its_end=True):
        pass
    machine.up()

    assert {write.statuses[-1] for write in work} == {202}
    gateway.ledger.wait_drained(60.0)
    confirmed = f"WHERE state = 'sale' AND client_order_ref LIKE '{mark}-%'"
    assert machine.sql(f"SELECT count(*), count(DISTINCT client_order_ref) FROM sale_order {confirmed}") == "10|10"


def test_half_upgraded_odoo_holds_its_upstream_and_nothing_dies(machine, erp, company, gateway):
    mark = uuid4().hex[:12]
    field = f"x_{mark}"
    [model] = erp.search("ir.model", ["model", "=", "res.partner"])
    values = {"name": field, "field_description": "Fault", "model_id": model, "ttype": "char", "state": "manual"}
    made = erp.call("ir.model.fields", "create", values)
    gateway.document["endpoints"]["contacts"]["fields"]["fault"] = field
    gateway.apply("catalog.yaml", gateway.document)
    pause(1.0)
    erp.call("ir.model.fields", "unlink", [made])
    work = [Write(uuid4().hex, "/v1/contacts", {"name": f"{mark} {number}", "fault": "x"}) for number in range(20)]

    with Load([Sender(gateway.port, "ours", gateway.tokens["ours"], work, seed="half", pause_s=0.0)], to_its_end=True):
        pass
    pause(5.0)
    states = gateway.ledger.unfinished()
    made = erp.call("ir.model.fields", "create", values)
    gateway.ledger.wait_drained()

    assert sum(states.values()) == 20, states
    assert machine.sql(f"SELECT count(*), count(DISTINCT name) FROM res_partner WHERE name LIKE '{mark} %'") == "20|20"
    erp.call("ir.model.fields", "unlink", [made])
