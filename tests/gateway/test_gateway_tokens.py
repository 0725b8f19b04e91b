"""Tokens: whatever is wrong with one, the answer is 401 and says no more than that."""

import base64
import json
import time
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from forgeries import ATTACKER, FORGED, parts_changed, with_hmac
from rawclient import BrokenAnswerError
from running import eventually
from tokens import encoded

TARGET = "/v1/echo/token"


def public_forms(mint):
    public = mint.key.public_key()
    raw = public.public_bytes_raw()
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": encoded(raw)}
    return {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "raw": raw,
        "jwk": json.dumps(jwk, separators=(",", ":")).encode(),
        "kid": mint.header["kid"].encode(),
        "empty": b"",
    }


def hmac_token(mint, form, algorithm):
    digest = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[algorithm]
    return with_hmac({**mint.header, "alg": algorithm}, mint.claims, public_forms(mint)[form], digest)


@pytest.mark.parametrize("case", FORGED)
def test_bad_token_is_401(gateway, mint, source, assert_problem, case):
    token = FORGED[case](mint)

    answer = gateway.call("GET", TARGET, token=token, source=source)

    assert_problem(answer, 401, "invalid-token")
    assert answer.header("www-authenticate") == 'Bearer realm="entrepot", error="invalid_token"'


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", ["pem", "der", "raw", "jwk", "kid", "empty"])
def test_hmac_with_the_public_key_as_secret_is_401(gateway, mint, source, assert_problem, form, algorithm):
    answer = gateway.call("GET", TARGET, token=hmac_token(mint, form, algorithm), source=source)

    assert_problem(answer, 401, "invalid-token")


@pytest.mark.parametrize("member", ["jku", "x5u"])
def test_key_at_a_url_in_the_token_is_never_fetched(gateway, upstream, mint, source, assert_problem, name, member):
    header = {member: f"{upstream.url}/{name}/keys.json", "kid": "attacker"}

    answer = gateway.call("GET", TARGET, token=mint.token(key=ATTACKER, header=header), source=source)

    assert_problem(answer, 401, "invalid-token")
    assert not upstream.seen_at(f"/{name}/keys.json")


CREDENTIALS = {
    "none": [],
    "empty": ["Authorization:"],
    "scheme alone": ["Authorization: Bearer"],
    "blank token": ["Authorization: Bearer   "],
    "no scheme": ["Authorization: {token}"],
    "basic": [f"Authorization: Basic {base64.b64encode(b'shop:secret').decode()}"],
    "digest": ['Authorization: Digest username="shop"'],
    "other scheme with the token": ["Authorization: Token {token}"],
    "glued": ["Authorization: Bearer{token}"],
    "two tokens": ["Authorization: Bearer {token} {token}"],
    "a comma and more": ["Authorization: Bearer {token}, Bearer {token}"],
    "another field": ["X-Authorization: Bearer {token}"],
    "a cookie": ["Cookie: access_token={token}"],
    "the proxy's field": ["Proxy-Authorization: Bearer {token}"],
}


@pytest.mark.parametrize("case", CREDENTIALS)
def test_request_without_a_bearer_token_is_401(gateway, source, assert_problem, case):
    lines = [line.format(token=gateway.tokens["shop"]) for line in CREDENTIALS[case]]

    answer = gateway.call("GET", TARGET, *lines, source=source)

    assert_problem(answer, 401, "invalid-token")
    shows_a_token = case in {"two tokens", "a comma and more"}
    assert ("error=" in answer.header("www-authenticate")) == shows_a_token


def test_token_in_the_query_is_not_taken(gateway, assert_problem):
    answer = gateway.call("GET", f"{TARGET}?access_token={gateway.tokens['shop']}")

    assert_problem(answer, 401, "invalid-token")
    assert gateway.tokens["shop"] not in gateway.log()


def test_good_token_as_the_command_line_made_it_is_taken(gateway):
    answer = gateway.call("GET", TARGET, token=gateway.genuine)

    assert answer.status == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_scheme_is_taken_in_any_case(gateway, scheme):
    answer = gateway.call("GET", TARGET, f"Authorization: {scheme} {gateway.tokens['shop']}")

    assert answer.status == 200


def test_token_expires_while_it_is_remembered(gateway, mint, assert_problem):
    tokens = []

    def is_taken():
        tokens.append(mint.token(exp=int(time.time()) + 2))
        return gateway.call("GET", TARGET, token=tokens[-1]).status == 200

    def is_refused_by_all():
        # New connections: those that waited for the processor may have been idle for too long.
        with suppress(BrokenAnswerError), gateway.one_wire_for_each_worker() as wires:
            return {status(gateway, wire, tokens[-1]) for wire in wires} == {401}
        return False

    assert eventually(is_taken, 8.0)
    # Their coarse clocks need not agree.
    assert eventually(is_refused_by_all, 8.0, 0.2)

    assert_problem(gateway.call("GET", TARGET, token=tokens[-1]), 401, "invalid-token")


def status(gateway, wire, token):
    wire.send(gateway.head("GET", TARGET, token=token))
    return wire.answer().status


def test_every_bad_signature_says_the_same(gateway, mint, source, assert_problem):
    details = {
        assert_problem(gateway.call("GET", TARGET, token=token, source=source), 401, "invalid-token")["detail"]
        for token in (mint.token(key=ATTACKER), parts_changed(mint.token(), signature=encoded(bytes(64))))
    }

    assert len(details) == 1


def test_flood_of_forged_tokens_does_not_shut_out_good_ones(gateway, mint, source):
    forged = [gateway.call("GET", TARGET, token=mint.token(key=ATTACKER), source=source) for _ in range(60)]

    assert {answer.status for answer in forged} <= {401, 429}
    assert gateway.call("GET", TARGET, token="shop").status == 200
    assert gateway.call("GET", TARGET, token=mint.token(), source=source).status == 200
    assert gateway.call("GET", TARGET, token="shop", source=source).status == 200


@pytest.mark.parametrize(
    ("method", "scope"), [("POST", "relay.write"), ("PUT", "relay.write"), ("DELETE", "relay.write")]
)
def test_missing_scope_is_403_and_names_it(gateway, assert_problem, method, scope):
    answer = gateway.call(method, TARGET, token="reader")

    assert_problem(answer, 403, "insufficient-scope", detail=scope)
    assert 'error="insufficient_scope"' in answer.header("www-authenticate")
    assert f'scope="{scope}"' in answer.header("www-authenticate")


def test_scope_that_the_client_lost_does_not_come_back_by_an_old_token(gateway, mint, assert_problem):
    token = mint.token(sub="reader", client_id="reader", scope="relay.read relay.write")

    answer = gateway.call("POST", TARGET, token=token)

    assert_problem(answer, 403, "insufficient-scope")


def test_scope_that_the_token_was_not_given_is_403(gateway, mint, assert_problem):
    answer = gateway.call("POST", TARGET, token=mint.token(scope="relay.read"))

    assert_problem(answer, 403, "insufficient-scope")


def test_endpoint_without_scopes_is_open_to_no_one(gateway, assert_problem):
    answer = gateway.call("GET", "/v1/closed", token="shop")

    assert_problem(answer, 403, "insufficient-scope")


def test_client_of_another_network_is_403(gateway, assert_problem):
    answer = gateway.call("GET", TARGET, token="fenced")

    assert_problem(answer, 403, "forbidden")
    assert gateway.call("GET", TARGET, token="fenced", source="127.8.0.7").status == 200
