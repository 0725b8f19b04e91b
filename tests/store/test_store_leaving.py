"""A server that goes away while a process starts, at any moment: between any two things that are said to it."""

import gc
from pathlib import Path

import pytest

from entrepot.daemons.gateway import prepare
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor
from lossy import lossy

pytestmark = pytest.mark.postgres

MOST = 1000


@pytest.fixture
def between(postgresql_url):
    with lossy(Path(postgresql_url.partition("host=")[2].replace("%2F", "/"))) as between:
        yield between


@pytest.fixture
def settings(tmp_path, postgresql_url, between):
    url = f"{postgresql_url.partition('host=')[0]}host={between.directory}"
    (tmp_path / "entrepot.ini").write_text(f"[store]\ndirectory = {tmp_path}/store\nurl = {url}\n")
    return load_settings(tmp_path / "entrepot.ini", {})


@pytest.mark.filterwarnings("ignore:.*ServerCursor:ResourceWarning")
def test_a_gateway_that_the_database_leaves_at_any_moment_of_its_start_goes_on(settings, between):
    prepare(settings)
    for said in range(MOST):
        between.left = said
        prepare(settings)
        if between.left > 0:
            break

    # SQLAlchemy leaves the cursor of a connection that is gone to be collected.
    gc.collect()

    assert 10 < said < MOST - 1
    between.left = None
    with Services.from_settings(settings) as services:
        services.desk.revoke("client", "shop", actor=Actor("ann", "command", ""))
