"""What the services of a store do with revocations and the snapshot when a daemon starts, and now and then."""

import time

import pytest

from entrepot.declarative.edit import new_partner
from entrepot.errors import StoreUnavailable
from entrepot.identity import retention
from entrepot.identity.revocation import Revocation, Switch
from entrepot.identity.rows import moment
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store import identity as tables
from entrepot.store.audit import Actor

ANN = Actor("ann", "command", "0" * 36)


@pytest.fixture
def services(tmp_path, fill_store):
    fill_store(tmp_path / "store")
    settings = load_settings(None, {"ENTREPOT_STORE_DIRECTORY": str(tmp_path / "store")})
    with Services.from_settings(settings) as services:
        yield services


def lines(services):
    path = services.settings.store.directory / "revocations"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_start_gathers_single_tokens_once_the_database_was_asked(services):
    services.desk.revoke("jti", "a", actor=ANN)
    services.callers.disable("client", "shop", actor=ANN)

    services.prepare()

    assert lines(services) == 1
    assert services.revocations.gathered_at == pytest.approx(time.time(), abs=60)
    assert services.revocations.holds(Revocation("jti", "a", 0.0, 0.0))
    assert services.revocations.disabled("shop", "acme") == "client"


def test_a_start_without_revocations_is_one_after_which_only_the_latest_are_looked_at(services):
    services.prepare()

    assert services.revocations.gathered_at > 0


def test_what_is_over_is_forgotten_while_the_host_runs(services):
    long_ago = time.time() - retention.KEPT_S - 3600
    services.prepare()
    services.revocations.add_all(
        [Revocation("jti", f"{'over' * 20}-{number}", long_ago, long_ago + 60) for number in range(7000)]
    )
    services.revocations.add(Switch("client", "shop", disabled=True, at=long_ago))
    with services.database.transaction() as session:
        for number in range(2 * retention.STEP + 1):
            session.add(
                tables.Revocation(
                    kind="jti", value=f"t-{number}", revoked_at=moment(long_ago), expires_at=moment(long_ago),
                    revoked_by="ann",
                )
            )  # fmt: skip

    services.tend()

    assert lines(services) == 1
    assert services.revocations.disabled("shop", "acme") == "client"
    with services.database.reading() as session:
        assert session.query(tables.Revocation).count() == 0


@pytest.fixture
def unwritable(services):
    """What keeps the snapshot from being written: a directory where its lock is to be."""
    lock = services.snapshot_path.with_name("snapshot.json.lock")
    lock.mkdir()
    return lock


def test_a_revision_whose_snapshot_could_not_be_written_comes_into_force_while_the_host_runs(services, unwritable):
    with pytest.raises(IsADirectoryError):
        services.edit(new_partner("globex", {"name": "Globex"}), actor=ANN)
    unwritable.rmdir()

    services.tend()

    assert list(services.catalog().partners) == ["globex"]


def test_what_is_over_is_forgotten_although_the_snapshot_cannot_be_written(services, unwritable):
    over = moment(time.time() - retention.KEPT_S - 3600)
    with services.database.transaction() as session:
        session.add(tables.Revocation(kind="jti", value="t", revoked_at=over, expires_at=over, revoked_by="ann"))

    with pytest.raises(StoreUnavailable, match=r"snapshot\.json cannot be written: Is a directory"):
        services.tend()

    with services.database.reading() as session:
        assert session.query(tables.Revocation).count() == 0
