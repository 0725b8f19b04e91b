"""The portal through the gateway: tokens by the book, errors as the RFCs have them, and no harm when it is away."""

import json
import signal
import time

import jwt
import pytest
from portals import PortalProcess
from running import ANN, PUBLIC_URL, START_S, eventually

TARGET = "/v1/echo/portal"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def portal(gateway):
    with PortalProcess(gateway) as portal:
        yield portal


@pytest.fixture(scope="module")
def secret(portal):
    return portal.secret("shop")


@pytest.fixture(scope="module")
def rival_secret(portal):
    return portal.secret("rival")


def error_of(answer) -> tuple[int, str]:
    """Return status and code of an OAuth error, whose form is checked."""
    document = answer.json()
    assert answer.header("content-type") == "application/json"
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-request-id")
    assert set(document) == {"error", "error_description"}
    assert document["error_description"]
    if answer.status == 401:
        assert answer.header("www-authenticate").startswith("Basic ")
    return answer.status, document["error"]


def status(gateway, wire, token) -> int:
    """Return what the worker at the end of *wire* answers to *token*."""
    wire.send(gateway.head("GET", TARGET, token=token))
    return wire.answer().status


# -- tokens


def test_secret_by_basic_is_a_token_that_the_data_plane_takes(gateway, portal, secret):
    answer = portal.post("/oauth/token", basic=("shop", secret), **GRANT)

    document = answer.json()
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert (answer.header("cache-control"), answer.header("pragma")) == ("no-store", "no-cache")
    assert set(document) == {"access_token", "token_type", "expires_in", "scope"}
    assert (document["token_type"], document["expires_in"]) == ("Bearer", 12 * 3600)
    assert answer.header("ratelimit-policy") == '"token";q=6000;w=60'
    assert answer.header("ratelimit").startswith('"token";r=')
    assert gateway.call("GET", TARGET, token=document["access_token"]).status == 200


def test_secret_in_the_form_is_as_good(gateway, portal, secret):
    answer = portal.post("/oauth/token", client_id="shop", client_secret=secret, **GRANT)

    assert gateway.call("GET", TARGET, token=answer.json()["access_token"]).status == 200


def test_token_has_the_form_of_rfc_9068(portal, secret):
    token = portal.token("shop", secret, scope="relay.read")

    claims = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert {"iss", "exp", "aud", "sub", "client_id", "iat", "jti", "scope"} <= set(claims)
    assert (claims["client_id"], claims["sub"], claims["scope"]) == ("shop", "shop", "relay.read")


def test_token_of_one_scope_opens_that_scope_alone(gateway, portal, secret, assert_problem):
    token = portal.token("shop", secret, scope="relay.read")

    assert gateway.call("GET", TARGET, token=token).status == 200
    assert_problem(gateway.call("POST", TARGET, token=token), 403, "insufficient-scope")


def test_issued_token_is_in_the_list_of_operators(gateway, portal, secret):
    jti = jwt.decode(portal.token("shop", secret), options={"verify_signature": False})["jti"]

    listed = json.loads(gateway.entrepot("token", "list", "--client", "shop", "--json").stdout)
    assert jti in {row["jti"] for row in listed}


def test_second_secret_works_beside_the_first(portal, secret):
    another = portal.secret("shop", "rotation")

    assert portal.token("shop", secret)
    assert portal.token("shop", another)


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ({}, (400, "invalid_request")),
        ({"grant_type": ""}, (400, "invalid_request")),
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"grant_type": "CLIENT_CREDENTIALS"}, (400, "unsupported_grant_type")),
        ({**GRANT, "scope": "relay.read nothing.such"}, (400, "invalid_scope")),
        ({**GRANT, "scope": '"'}, (400, "invalid_scope")),
        ({**GRANT, "scope": " "}, (400, "invalid_scope")),
        ({**GRANT, "client_secret": "x"}, (400, "invalid_request")),
        ({**GRANT, "client_id": "rival"}, (400, "invalid_request")),
    ],
)
def test_wrong_form_with_the_right_secret_has_the_code_of_the_rfc(portal, secret, form, wanted):
    assert error_of(portal.post("/oauth/token", basic=("shop", secret), **form)) == wanted


@pytest.mark.parametrize("basic", [("shop", "wrong"), ("nobody", "wrong"), ("shop", "")])
def test_wrong_secret_is_an_invalid_client(portal, basic):
    assert error_of(portal.post("/oauth/token", basic=basic, **GRANT)) == (401, "invalid_client")


def test_secret_of_another_client_is_an_invalid_client(portal, rival_secret):
    assert error_of(portal.post("/oauth/token", basic=("shop", rival_secret), **GRANT)) == (401, "invalid_client")


def test_unknown_and_known_clients_are_refused_in_the_same_words(portal):
    known, unknown = (portal.post("/oauth/token", basic=(name, "wrong"), **GRANT) for name in ("reader", "nobody"))

    assert known.json() == unknown.json()


@pytest.mark.parametrize("name", ["client_secret", "access_token", "grant_type"])
def test_parameter_in_the_url_is_refused(gateway, portal, secret, name):
    answer = portal.post(f"/oauth/token?{name}=s3cret", basic=("shop", secret), **GRANT)

    assert error_of(answer) == (400, "invalid_request")
    assert "s3cret" not in gateway.log() + portal.log()


def test_body_of_another_type_is_refused(portal, secret):
    answer = portal.post(
        "/oauth/token", "Content-Type: application/json", basic=("shop", secret), body=json.dumps(GRANT).encode()
    )

    assert error_of(answer) == (400, "invalid_request")


def test_client_gets_tokens_from_its_networks_only(gateway, portal):
    secret = portal.secret("fenced")
    form = {"client_id": "fenced", "client_secret": secret, **GRANT}

    outside = portal.post("/oauth/token", **form)
    inside = portal.post("/oauth/token", "X-Forwarded-For: 127.8.0.1", source="127.9.0.1", **form)
    forged = portal.post("/oauth/token", "X-Forwarded-For: 127.8.0.1", **form)

    assert error_of(outside) == error_of(forged) == (400, "unauthorized_client")
    assert inside.status == 200


def test_client_revoked_in_this_second_gets_a_token_that_works(gateway, portal):
    secret = portal.secret("keyed")
    with gateway.services() as services:
        services.desk.revoke("client", "keyed", actor=ANN)

    token = portal.token("keyed", secret)

    assert gateway.call("GET", TARGET, token=token).status == 200


# -- brute force


def test_wrong_secrets_lead_to_429_and_the_right_one_is_let_in_all_the_same(portal, secret, source):
    answers = [portal.post("/oauth/token", basic=("shop", "wrong"), source=source, **GRANT) for _ in range(11)]

    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert error_of(answers[-1]) == (429, "temporarily_unavailable")
    assert 1 <= int(answers[-1].header("retry-after")) <= 60
    assert portal.post("/oauth/token", basic=("shop", secret), source=source, **GRANT).status == 200


def test_forged_address_does_not_begin_a_new_count(portal, source):
    statuses = [
        portal.post(
            "/oauth/token",
            f"X-Forwarded-For: 192.0.2.{number}",
            f"X_Forwarded_For: 192.0.2.{number}",
            f"Forwarded: for=192.0.2.{number}",
            basic=("shop", "wrong"),
            source=source,
            **GRANT,
        ).status
        for number in range(11)
    ]

    assert statuses[-1] == 429


# -- revocation


def test_revoked_token_is_refused_within_a_second(gateway, portal, secret, assert_problem):
    token = portal.token("shop", secret)
    assert gateway.call("GET", TARGET, token=token).status == 200

    answer = portal.post("/oauth/revoke", basic=("shop", secret), token=token)

    assert (answer.status, answer.body) == (200, b"")
    assert eventually(lambda: gateway.call("GET", TARGET, token=token).status == 401, 1.0)
    assert portal.post("/oauth/revoke", basic=("shop", secret), token=token).status == 200


def test_only_its_owner_revokes_a_token(gateway, portal, secret, rival_secret):
    token = portal.token("shop", secret)

    answer = portal.post("/oauth/revoke", basic=("rival", rival_secret), token=token)

    assert error_of(answer) == (400, "invalid_grant")
    # What was revoked later is refused by now, and this is not.
    later = portal.token("shop", secret)
    assert portal.post("/oauth/revoke", basic=("shop", secret), token=later).status == 200
    with gateway.one_wire_for_each_worker() as wires:
        assert eventually(lambda: {status(gateway, wire, later) for wire in wires} == {401}, 5.0)
        assert {status(gateway, wire, token) for wire in wires} == {200}


@pytest.mark.parametrize("token", ["a", "a.b.c", "x" * 9000, "\0", "é"])
def test_unknown_token_is_revoked_already(portal, secret, token):
    assert portal.post("/oauth/revoke", basic=("shop", secret), token=token).status == 200


def test_revocation_wants_a_secret_and_a_token(portal, secret):
    assert error_of(portal.post("/oauth/revoke", token="a")) == (401, "invalid_client")
    assert error_of(portal.post("/oauth/revoke", basic=("shop", secret))) == (400, "invalid_request")


def test_revocation_that_cannot_be_stored_is_503_and_no_success(gateway, portal, secret):
    token = portal.token("shop", secret)
    file = gateway.store / "revocations"
    aside = gateway.store / "revocations.aside"
    if file.exists():
        file.rename(aside)
    file.mkdir()
    try:
        answer = portal.post("/oauth/revoke", basic=("shop", secret), token=token)
    finally:
        file.rmdir()
        if aside.exists():
            aside.rename(file)

    assert error_of(answer) == (503, "temporarily_unavailable")
    assert int(answer.header("retry-after")) >= 1
    assert gateway.call("GET", TARGET, token=token).status == 200


# -- introspection


def test_good_token_is_described(portal, secret):
    token = portal.token("shop", secret, scope="relay.read")
    claims = jwt.decode(token, options={"verify_signature": False})

    answer = portal.post("/oauth/introspect", basic=("shop", secret), token=token, token_type_hint="access_token")

    document = answer.json()
    assert answer.header("cache-control") == "no-store"
    assert document["active"] is True
    assert (document["scope"], document["client_id"], document["token_type"]) == ("relay.read", "shop", "Bearer")
    assert {name: document[name] for name in ("exp", "iat", "jti", "iss", "aud", "sub")} == {
        name: claims[name] for name in ("exp", "iat", "jti", "iss", "aud", "sub")
    }


def test_revoked_foreign_expired_and_unknown_tokens_are_inactive_and_no_more(portal, mint, secret, rival_secret):
    revoked = portal.token("shop", secret)
    portal.post("/oauth/revoke", basic=("shop", secret), token=revoked)
    foreign = portal.token("rival", rival_secret)
    expired = mint.token(iat=int(time.time()) - 100, exp=int(time.time()) - 50)
    unknown_client = mint.token(sub="nobody", client_id="nobody")

    for token in (revoked, foreign, expired, unknown_client, "a.b.c", "x"):
        answer = portal.post("/oauth/introspect", basic=("shop", secret), token=token)
        assert (answer.status, answer.json()) == (200, {"active": False})


def test_introspection_and_data_plane_agree_on_a_token_revoked_by_the_command_line(gateway, portal, secret):
    token = portal.token("shop", secret)

    gateway.entrepot("token", "revoke", "-", stdin=token)

    assert portal.post("/oauth/introspect", basic=("shop", secret), token=token).json() == {"active": False}
    assert eventually(lambda: gateway.call("GET", TARGET, token=token).status == 401, 1.0)


# -- who am I


def test_who_am_i_says_whose_the_token_is(gateway, portal):
    answer = gateway.call("GET", "/oauth/whoami", token="reader")

    assert (answer.data["client"], answer.data["partner"]) == ("reader", "azure")
    assert answer.json()["meta"]["operation_id"] == answer.header("x-request-id")


def test_who_am_i_takes_what_the_data_plane_takes_and_no_more(gateway, portal, mint, source, assert_problem):
    good = mint.token()
    bad = [
        mint.token(exp=int(time.time()) - 50),
        mint.token(drop=("jti",)),
        mint.token(aud="other"),
        mint.token(header={"kid": "../x"}),
        mint.token(header={"alg": "none"}),
        f"{good.rpartition('.')[0]}.{'A' * 86}",
        "a.b.c",
        "x",
    ]

    for token in bad:
        assert_problem(gateway.call("GET", "/oauth/whoami", token=token, source=source), 401, "invalid-token")
    nowhere = gateway.call("GET", f"/oauth/whoami?access_token={good}")
    assert (nowhere.status, nowhere.json()["code"]) == (401, "invalid-token")
    assert nowhere.header("www-authenticate").startswith("Bearer")
    assert_problem(gateway.call("GET", f"/oauth/whoami?access_token={good}", token=good), 400, "bad-request")


def test_token_in_the_url_beside_one_in_its_place_is_refused(gateway, assert_problem):
    answer = gateway.call("GET", f"{TARGET}?a=1&access_token={gateway.tokens['shop']}", token="shop")

    assert_problem(answer, 400, "bad-request", detail="access_token")


# -- what everyone may see


def test_metadata_name_the_issuer_of_the_tokens(gateway, portal, secret):
    answer = gateway.call("GET", "/.well-known/oauth-authorization-server")

    document = answer.json()
    issuer = jwt.decode(portal.token("shop", secret), options={"verify_signature": False})["iss"]
    assert document["issuer"] == issuer == PUBLIC_URL
    assert document["token_endpoint"] == f"{PUBLIC_URL}/oauth/token"
    assert document["grant_types_supported"] == ["client_credentials"]
    assert document["response_types_supported"] == []
    assert "max-age" in answer.header("cache-control")


def test_keys_verify_tokens_and_hold_nothing_private(gateway, portal, secret):
    answer = gateway.call("GET", "/.well-known/jwks.json")
    token = portal.token("shop", secret)

    keys = {key["kid"]: key for key in answer.json()["keys"]}
    assert all("d" not in key for key in keys.values())
    key = jwt.PyJWK(keys[jwt.get_unverified_header(token)["kid"]])
    assert jwt.decode(token, key, ["EdDSA"], audience=PUBLIC_URL, issuer=PUBLIC_URL)["client_id"] == "shop"
    again = gateway.call("GET", "/.well-known/jwks.json", f"If-None-Match: {answer.header('etag')}")
    assert again.status == 304


def test_head_announces_what_get_has(gateway, portal):
    whole = gateway.call("GET", "/.well-known/jwks.json")

    head = gateway.call("HEAD", "/.well-known/jwks.json")

    assert (head.status, head.header("content-length")) == (200, str(len(whole.body)))


# -- the way there


@pytest.mark.parametrize("path", ["/oauth/nothing", "/.well-known/security.txt", "/docs", "/docs/x"])
def test_reserved_path_without_a_page_is_404(gateway, portal, assert_problem, path):
    assert_problem(gateway.call("GET", path), 404, "not-found")


def test_method_that_a_page_lacks_is_405(gateway, portal, assert_problem):
    assert_problem(gateway.call("GET", "/oauth/token"), 405, "method-not-allowed")


def test_operation_id_is_the_same_on_both_sides(gateway, portal):
    given = "3f0d9f6e-52cf-4f0e-8d0b-2a7a6a1b7c11"

    answer = gateway.call(
        "GET", "/oauth/whoami", f"X-Request-Id: {given}", source="127.9.0.1", token=gateway.tokens["reader"]
    )

    assert answer.json()["meta"]["operation_id"] == answer.header("x-request-id") == given


def test_headers_of_the_caller_mean_nothing_to_the_portal(gateway, portal):
    lines = ["SCRIPT_NAME: /oauth", "PATH_INFO: /x", "X-Forwarded-Prefix: /x", "X-Forwarded-Host: evil.test"]

    answer = gateway.call("GET", "/oauth/whoami", *lines, token="reader")

    assert answer.status == 200
    assert answer.header("server") is None


def test_body_in_chunks_is_read_whole(gateway, portal, secret):
    head = (
        b"POST /oauth/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    form = f"client_id=shop&client_secret={secret}&grant_type=client_credentials".encode()
    with gateway.wire() as wire:
        for part in (head, b"%x\r\n%b\r\n" % (20, form[:20]), b"%x\r\n%b\r\n0\r\n\r\n" % (len(form) - 20, form[20:])):
            wire.send(part)
            time.sleep(0.05)
        answer = wire.answer()

    assert answer.status == 200


def test_body_of_100_kib_is_413(gateway, portal, secret, assert_problem):
    answer = portal.post("/oauth/token", basic=("shop", secret), body=b"a" * 102_400)

    assert_problem(answer, 413, "body-too-large")


def test_socket_is_for_its_owner_alone(gateway, portal):
    assert (gateway.store / "portal.sock").stat().st_mode & 0o777 == 0o600


# -- when it is away


def test_portal_that_was_killed_is_503_and_harms_nobody(gateway, portal, secret, assert_problem):
    portal.kill()

    assert_problem(portal.post("/oauth/token", basic=("shop", secret), **GRANT), 503, "upstream-unavailable")
    for _ in range(20):
        assert portal.post("/oauth/token", basic=("shop", secret), **GRANT).status == 503
        assert gateway.call("GET", TARGET, token="shop").status == 200

    portal.start()
    assert portal.token("shop", secret)


def test_stop_answers_what_is_under_way_and_exits_with_0(gateway, portal, secret):
    assert portal.stop() == 0

    portal.start()
    assert portal.token("shop", secret)


def test_reload_takes_new_settings_without_a_failed_request(gateway, portal, secret):
    before = portal.workers()
    gateway.write_settings(more="[portal]\nthreads = 3\n")
    portal.process.send_signal(signal.SIGHUP)
    begun, changed_at = time.monotonic(), None

    # A while longer than until the new ones are there: those before them end then.
    while changed_at is None or time.monotonic() < changed_at + 2.0:
        assert portal.token("shop", secret)
        if changed_at is None and portal.workers() - before:
            changed_at = time.monotonic()
        assert time.monotonic() < begun + START_S
    gateway.write_settings()
