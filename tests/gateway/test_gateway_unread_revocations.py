"""What cannot be known lets nobody in: a gateway whose revocations could not be read for longer than it may."""

import re
import time

import pytest
from running import eventually

from entrepot.identity.revocation import Revocation

pytestmark = pytest.mark.slow

TARGET = "/v1/echo/unread"
MAX_AGE_S = 5.0


@pytest.fixture
def strict(make_daemon):
    """A gateway that lets nobody in when revocations could not be read for ``MAX_AGE_S``."""
    daemon = make_daemon(workers=1)
    daemon.stop()
    text = daemon.settings.read_text()
    daemon.settings.write_text(text.replace("[gateway]\n", f"[gateway]\nmax_revocation_age = {MAX_AGE_S:g}s\n"))
    daemon.start()
    daemon.wait_ready(60.0)
    return daemon


def metric(daemon, name):
    return float(re.search(rf"^{name} (\S+)$", daemon.call("GET", "/metrics").body.decode(), re.MULTILINE)[1])


def test_nobody_is_let_in_when_revocations_could_not_be_read_for_too_long(strict):
    key = strict.credential("api-key", "keyed").text
    with strict.services() as services:
        services.revocations.add(Revocation("jti", "another", time.time(), time.time() + 60))
    lines = strict.store / "revocations"

    def status():
        return strict.call("GET", TARGET, token="shop").status

    aside = lines.rename(lines.with_name("aside"))
    lines.mkdir()
    hidden_at = time.monotonic()
    assert eventually(lambda: status() == 503)
    # They were last read a sweep before they were hidden, or earlier on a busy machine.
    assert time.monotonic() - hidden_at >= 0.7 * MAX_AGE_S

    answer = strict.call("GET", TARGET, token="shop")
    assert (answer.status, answer.json()["code"], answer.header("retry-after")) == (503, "store-unavailable", "1")
    assert strict.call("GET", TARGET, f"Authorization: ApiKey {key}").status == 503
    assert strict.call("GET", TARGET, token="x").status == 503
    assert strict.call("GET", "/health/live").status == 200
    assert metric(strict, "entrepot_revocations_age_seconds") > MAX_AGE_S
    assert metric(strict, "entrepot_revocations_unknown_total") >= 4.0

    lines.rmdir()
    aside.rename(lines)
    assert eventually(lambda: status() == 200)
    assert eventually(lambda: metric(strict, "entrepot_revocations_age_seconds") < 1.0)
    assert strict.log().count("could not be read for too long") == 1
