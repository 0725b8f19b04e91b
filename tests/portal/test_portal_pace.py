"""A client with the right secret gets so many tokens in a minute, and none while the disk is nearly full."""

import time

import pytest
from portal_support import FORM, OPERATOR

from entrepot.chassis.limits import Limiter, Rate
from entrepot.errors import TooManyRequests
from entrepot.portal import create_portal_app
from entrepot.portal.errors import answer
from entrepot.settings import load_settings


@pytest.fixture
def asked(settings, services, secret, tmp_path):
    """Return a function that asks portals with other settings for a token: each call to the next of two processes."""
    portals = []

    def asked(environ, name="shop", shown=secret):
        if len(portals) < 2:
            found = load_settings(
                tmp_path / "entrepot.ini", {"ENTREPOT_STORE_DIRECTORY": str(settings.store.directory), **environ}
            )
            portals.append(create_portal_app(found))
        else:
            portals.reverse()
        return portals[-1].test_client().post("/oauth/token", data=FORM, auth=(name, shown))

    yield asked
    for app in portals:
        app.extensions["entrepot"].close()


def test_one_token_too_many_is_429_and_says_when_to_come_again(asked):
    pace = {"ENTREPOT_TOKENS_PER_MINUTE": "3"}
    answers = [asked(pace) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"token";q=3;w=60'
    assert [answer.headers["RateLimit"].partition(";t=")[0] for answer in answers] == [
        '"token";r=2', '"token";r=1', '"token";r=0', '"token";r=0',
    ]  # fmt: skip
    refused = answers[-1]
    assert refused.json["error"] == "temporarily_unavailable"
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert refused.headers["Cache-Control"] == "no-store"


def test_whoever_comes_again_when_told_comes_not_too_early(start_portal):
    with start_portal().test_request_context():
        told = [answer(TooManyRequests("later", retry_after_s=wait_s)) for wait_s in (0.1, 2.1, 3.0)]

    assert [response.headers["Retry-After"] for response in told] == ["1", "3", "3"]


def test_one_client_takes_nothing_of_another(asked, services, shop):
    pace = {"ENTREPOT_TOKENS_PER_MINUTE": "1"}
    assert [asked(pace).status_code for _ in range(2)] == [200, 429]

    bucket = Limiter(services.shared).bucket("token:another", Rate(1.0 / 60.0, 1))

    assert bucket.take(time.monotonic()) == 0.0


def test_request_that_is_wrong_takes_no_token(asked, start_portal, secret):
    client = start_portal().test_client()
    for _ in range(70):
        assert client.post("/oauth/token", data={**FORM, "scope": "x"}, auth=("shop", secret)).status_code == 400

    assert client.post("/oauth/token", data=FORM, auth=("shop", secret)).status_code == 200


def test_disk_that_is_nearly_full_is_503_and_no_token_is_written_down(asked, services, secret):
    answer = asked({"ENTREPOT_LEDGER_MIN_FREE": "900000000GiB"})

    assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "60"
    assert "RateLimit" not in answer.headers
    assert services.desk.issued() == []
    assert services.credentials.make("secret", services.catalog().clients["shop"], actor=OPERATOR)


def test_wrong_secrets_are_counted_over_all_processes_and_the_right_one_is_let_in(asked):
    statuses = [asked({}, shown="wrong").status_code for _ in range(11)]

    assert statuses == [401] * 10 + [429]
    assert asked({}).status_code == 200
