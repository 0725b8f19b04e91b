"""What was revoked, and who was disabled, while the database was away: it learns of all of that once it is back."""

import time
from contextlib import contextmanager

import pytest
from sqlalchemy import select

from entrepot.callers import Callers
from entrepot.catalog.definitions import Catalog
from entrepot.catalog.snapshot import write_snapshot
from entrepot.errors import StoreUnavailable
from entrepot.identity.agreement import write_back
from entrepot.identity.disabling import Disabling
from entrepot.identity.partners import Client, Partner
from entrepot.identity.revocation import Revocation
from entrepot.ledger.acceptance import accept
from entrepot.ledger.desk import LedgerDesk
from entrepot.ledger.entries import Acceptance, Filters, NewTransaction, PlanText, Quota, new_id
from entrepot.ledger.operate import disabled_clients, held_clients
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor, Wanted, entries
from entrepot.store.identity import DisabledCaller
from entrepot.store.identity import Revocation as RevocationRow

ANN = Actor("ann", "command", "an-operation-id")


@pytest.fixture
def settings(tmp_path, fill_store):
    fill_store(tmp_path / "store")
    return load_settings(None, {"ENTREPOT_STORE_DIRECTORY": str(tmp_path / "store")})


@pytest.fixture
def services(settings):
    """The services of a process that had the database before it went away, as a courier has."""
    with Services.from_settings(settings) as services:
        let_belong(services, "azure")
        yield services


def let_belong(services, partner):
    """Bring a catalog in whose one client, shop, is of *partner*."""
    partners = {name: Partner(name, name.title()) for name in ("azure", "bolt")}
    shop = Client("shop", partner, frozenset({"orders.write"}))
    write_snapshot(services.snapshot_path, Catalog(1, partners=partners, clients={"shop": shop}))


@pytest.fixture
def waiting(services):
    """The id of a transaction of the client that waits to be delivered."""
    return brought(services, "azure")


def brought(services, partner):
    """Accept a transaction of the client, which is of *partner*, and return its id."""
    now = time.time()
    new = NewTransaction(
        id=new_id(), partner=partner, client="shop", endpoint="orders", upstream="erp", kind="create",
        operation_id="op", plan=PlanText("c" * 64, '{"endpoint":"orders"}'), target="POST /v1/orders",
        facts={"variables": {}}, body=b"{}", order_key=None, accepted_at=now, expires_at=now + 3600, due_at=now,
    )  # fmt: skip
    with services.database.writing() as connection:
        accept(connection, [Acceptance(new, Quota(), when="always")], now)
    return new.id


@contextmanager
def without_database(settings):
    """Give the services of another process, which finds no database."""
    path = settings.store.directory / "entrepot.db"
    aside = path.with_name("aside")
    path.rename(aside)
    path.mkdir()
    try:
        with Services.from_settings(settings) as alone:
            yield alone
    finally:
        path.rmdir()
        aside.rename(path)


@pytest.fixture
def disabled(settings):
    """Return a function that disables while the database is away."""

    def disabled(kind, name):
        with without_database(settings) as alone:
            return alone.callers.disable(kind, name, actor=ANN)

    return disabled


def states(services):
    return [sight.state for page in services.ledger.pages(Filters(limit=100)) for sight in page]


def audited(services):
    with services.database.reading() as session:
        found = entries(session, Wanted(), 100)
    return [(one.actor.name, one.actor.face, one.change.action, one.change.name) for one in found]


@pytest.mark.parametrize(("kind", "name"), [("client", "shop"), ("partner", "azure")])
def test_what_waits_is_held_and_the_audit_log_told_when_the_database_is_back(services, waiting, disabled, kind, name):
    before = services.unwritten.read()

    done = disabled(kind, name)

    assert (done.new, done.stored, done.held) == (True, False, 0)
    assert services.unwritten.read() == before + 1
    assert states(services) == ["queued"]
    services.catch_up()
    services.catch_up()
    assert states(services) == ["held"]
    assert audited(services) == [("ann", "system", "disable", name)]


def test_what_cannot_be_held_is_not_said_to_be_stored(services, waiting):
    before = services.unwritten.read()

    def ledger():
        raise StoreUnavailable("the database went away after the row was written")

    disabling = Disabling(services.revocations, services.database)
    callers = Callers(disabling, services.revocations, services.catalog, ledger, services.unwritten)

    done = callers.disable("client", "shop", actor=ANN)

    assert (done.new, done.stored, done.held) == (True, False, 0)
    assert services.unwritten.read() == before + 1
    services.catch_up()
    assert states(services) == ["held"]


def test_disabling_with_the_database_leaves_nothing_to_catch_up(services, waiting):
    before = services.unwritten.read()

    assert services.callers.disable("client", "shop", actor=ANN).held == 1

    assert services.unwritten.read() == before


def test_who_was_disabled_while_the_database_was_away_and_enabled_since_is_in_the_audit_log_twice(
    services, waiting, disabled
):
    disabled("client", "shop")

    services.callers.enable("client", "shop", actor=ANN)

    assert audited(services) == [("ann", "command", "enable", "shop"), ("ann", "system", "disable", "shop")]
    services.catch_up()
    assert states(services) == ["queued"]
    assert len(audited(services)) == 2


def test_as_long_as_the_database_is_away_nothing_can_be_caught_up(settings, services):
    with without_database(settings) as alone, pytest.raises(StoreUnavailable):
        alone.catch_up()


DAY_S = 86_400.0


def test_the_database_is_told_of_a_token_before_that_is_gathered(settings, services):
    services.revocations.compact(time.time() - 2 * DAY_S, is_whole=True)
    with without_database(settings) as alone:
        assert not alone.desk.revoke("jti", "leaked", actor=ANN).stored

    services.tend()

    assert services.revocations.gathered_at == pytest.approx(time.time(), abs=DAY_S)
    assert [one.value for one in services.desk.revoked()] == ["leaked"]
    assert audited(services) == [("ann", "system", "revoke", "leaked")]


def test_a_start_without_the_database_gathers_nothing(settings, services):
    services.prepare()
    with without_database(settings) as alone:
        alone.desk.revoke("jti", "leaked", actor=ANN)
        alone.prepare()
        assert alone.revocations.holds(Revocation("jti", "leaked", 0.0, 0.0))

    services.prepare()

    assert [one.value for one in services.desk.revoked()] == ["leaked"]


def enable_its_partner(services):
    services.callers.enable("partner", "azure", actor=ANN)


@pytest.mark.parametrize("then", [Services.tend, Services.catch_up, enable_its_partner])
def test_a_client_that_went_to_another_partner_is_not_held_for_its_former_one(services, then):
    services.callers.disable("partner", "azure", actor=ANN)
    let_belong(services, "bolt")

    then(services)

    brought(services, "bolt")
    assert states(services) == ["queued"]


def test_what_is_held_of_who_is_disabled_stays_so_whatever_is_looked_after(services, waiting):
    services.callers.disable("partner", "azure", actor=ANN)

    services.catch_up()
    services.tend()

    assert services.callers.release_all() == 0
    assert states(services) == ["held"]


def test_who_is_enabled_while_all_are_held_is_not_held(settings, services, waiting):
    services.callers.disable("client", "shop", actor=ANN)
    enabled = []

    def ledger():
        if not enabled:
            with Services.from_settings(settings) as other:
                enabled.append(other.callers.enable("client", "shop", actor=ANN))
        return services.ledger

    disabling = Disabling(services.revocations, services.database)
    Callers(disabling, services.revocations, services.catalog, ledger, services.unwritten).hold_all()

    assert enabled[0].released == 1
    assert states(services) == ["queued"]


class Meddled:
    """A database in which *meddle* is called before the turn to write of this *number*."""

    def __init__(self, database, number, meddle):
        self.database, self.number, self.meddle = database, number, meddle

    def writing(self):
        return self._ask(self.database.writing)

    def transaction(self):
        return self._ask(self.database.transaction)

    def reading(self):
        return self.database.reading()

    def _ask(self, what):
        self.number -= 1
        if self.number == 0:
            self.meddle()
        return what()


@pytest.mark.parametrize(("do", "number"), [("hold all", 1), ("hold all", 2), ("disable", 1), ("disable", 2)])
def test_who_is_enabled_in_the_midst_of_being_held_is_not_held(settings, services, waiting, do, number):
    if do == "hold all":
        services.callers.disable("client", "shop", actor=ANN)

    def enable():
        with Services.from_settings(settings) as other:
            other.callers.enable("client", "shop", actor=ANN)

    database = Meddled(services.database, number, enable)
    desk = LedgerDesk(database, services.ledger_counter, services.database.now)
    disabling = Disabling(services.revocations, services.database)
    callers = Callers(disabling, services.revocations, services.catalog, lambda: desk, services.unwritten)
    if do == "hold all":
        callers.hold_all()
    else:
        callers.disable("client", "shop", actor=ANN)

    assert database.number <= 0
    assert states(services) == ["queued"]
    with services.database.reading() as session:
        assert held_clients(session.connection()) == disabled_clients(session.connection()) == []


@pytest.mark.parametrize("what", ["switch", "cutoff"])
def test_what_was_taken_back_meanwhile_is_not_written_down(settings, services, what):
    with without_database(settings) as alone:
        if what == "switch":
            alone.callers.disable("client", "shop", actor=ANN)
        else:
            alone.desk.revoke("client", "shop", actor=ANN)

    def take_back():
        with Services.from_settings(settings) as other:
            if what == "switch":
                other.callers.enable("client", "shop", actor=ANN)
            else:
                other.desk.lift("client", "shop", actor=ANN)

    services.revocations.refresh()
    database = Meddled(services.database, 1, take_back)
    write_back(database, services.revocations, time.time())

    assert database.number <= 0
    with services.database.reading() as session:
        assert session.scalars(select(DisabledCaller)).all() == session.scalars(select(RevocationRow)).all() == []
