"""Tokens: whatever is wrong with one, the answer is 401 and says no more than that."""

import base64
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tokens import encoded

TARGET = "/v1/echo/token"
ATTACKER = Ed25519PrivateKey.generate()
HOUR = 3600


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
    header = {**mint.header, "alg": algorithm}
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(mint.claims).encode())}"
    return f"{signed}.{encoded(hmac.new(public_forms(mint)[form], signed.encode(), digest).digest())}"


def attacker_jwk():
    return {"kty": "OKP", "crv": "Ed25519", "x": encoded(ATTACKER.public_key().public_bytes_raw())}


def resigned(mint, algorithm, key):
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return jwt.encode(mint.claims, pem, algorithm, headers={**mint.header, "alg": algorithm})


def parts_changed(token, header=None, payload=None, signature=None):
    parts = token.split(".")
    for index, new in enumerate((header, payload, signature)):
        if new is not None:
            parts[index] = new
    return ".".join(parts)


def unsigned(mint, algorithm):
    header = {**mint.header, "alg": algorithm}
    return f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(mint.claims).encode())}."


FORGED = {
    "a word": lambda m: "token",
    "two parts": lambda m: "a.b",
    "three short parts": lambda m: "a.b.c",
    "four parts": lambda m: m.token() + ".x",
    "empty parts": lambda m: "..",
    "json serialisation": lambda m: '{"payload":"","signatures":[]}',
    "obs-text": lambda m: "\xff\xfe.\xe9.\xe9",
    "base64 with padding": lambda m: parts_changed(m.token(), header=m.token().split(".")[0] + "=="),
    "a header that is a list": lambda m: parts_changed(m.token(), header=encoded(b"[]")),
    "a header nested 2 000 deep": lambda m: parts_changed(m.token(), header=encoded(b"[" * 2000)),
    "a payload that is no JSON": lambda m: parts_changed(m.token(), payload=encoded(b"\xff\x00")),
    "6 KB of letters": lambda m: "a" * 6000,
    "a cut signature": lambda m: m.token()[:-5],
    "another payload": lambda m: parts_changed(m.token(), payload=encoded(json.dumps(m.claims).encode())),
    "another token's signature": lambda m: parts_changed(m.token(), signature=m.token().split(".")[2]),
    "a zero signature": lambda m: parts_changed(m.token(), signature=encoded(bytes(64))),
    "expired": lambda m: m.token(iat=int(time.time()) - 2 * HOUR, exp=int(time.time()) - HOUR),
    "expired just beyond any leeway": lambda m: m.token(exp=int(time.time()) - 10),
    "not yet valid": lambda m: m.token(nbf=int(time.time()) + HOUR),
    "wrong audience": lambda m: m.token(aud="http://elsewhere.test"),
    "audience with a slash more": lambda m: m.token(aud=m.claims["iss"] + "/"),
    "wrong issuer": lambda m: m.token(iss="http://elsewhere.test"),
    "unknown client": lambda m: m.token(sub="nobody", client_id="nobody"),
    "no expiry": lambda m: m.token(drop=("exp",)),
    "no jti": lambda m: m.token(drop=("jti",)),
    "no audience": lambda m: m.token(drop=("aud",)),
    "no issuer": lambda m: m.token(drop=("iss",)),
    "no client": lambda m: m.token(drop=("client_id",)),
    "expiry as text": lambda m: m.token(exp="tomorrow"),
    "expiry true": lambda m: m.token(exp=True),
    "expiry null": lambda m: m.token(exp=None),
    "expiry a list": lambda m: m.token(exp=[int(time.time()) + HOUR]),
    "expiry NaN": lambda m: m.token(exp=float("nan")),
    "expiry infinite": lambda m: m.token(exp=float("inf")),
    "expiry of 400 digits": lambda m: m.token(exp=10**400),
    "nbf as text": lambda m: m.token(nbf="0"),
    "scope a list": lambda m: m.token(scope=["relay.read"]),
    "client an object": lambda m: m.token(client_id={"a": 1}),
    "jti a number": lambda m: m.token(jti=7),
    "an ID token": lambda m: m.token(header={"typ": "JWT"}),
    "no type": lambda m: m.token(drop=("typ",)),
    "critical extension": lambda m: m.token(header={"crit": ["exp"]}),
    "unencoded payload": lambda m: m.token(header={"crit": ["b64"], "b64": False}),
    "unknown kid": lambda m: m.token(header={"kid": "A" * 43}),
    "missing kid": lambda m: m.token(drop=("kid",)),
    "kid a path": lambda m: m.token(header={"kid": "../../../../dev/null"}),
    "kid with a NUL": lambda m: m.token(header={"kid": m.header["kid"] + "\0"}),
    "kid a list": lambda m: m.token(header={"kid": [m.header["kid"]]}),
    "kid a number": lambda m: m.token(header={"kid": 0}),
    "attacker's key under our kid": lambda m: m.token(key=ATTACKER),
    "attacker's embedded jwk": lambda m: m.token(key=ATTACKER, header={"jwk": attacker_jwk()}),
    "attacker's jwk without kid": lambda m: m.token(key=ATTACKER, header={"jwk": attacker_jwk()}, drop=("kid",)),
    "alg none": lambda m: unsigned(m, "none"),
    "alg None": lambda m: unsigned(m, "None"),
    "alg nOnE with a signature": lambda m: m.token(header={"alg": "nOnE"}),
    "alg empty": lambda m: m.token(header={"alg": ""}),
    "alg null": lambda m: m.token(header={"alg": None}),
    "alg Ed25519ph": lambda m: m.token(header={"alg": "Ed25519ph"}),
    "RS256 by an attacker": lambda m: resigned(m, "RS256", rsa.generate_private_key(65537, 2048)),
    "ES256 by an attacker": lambda m: resigned(m, "ES256", ec.generate_private_key(ec.SECP256R1())),
}


@pytest.mark.parametrize("case", FORGED)
def test_bad_token_is_401(gateway, mint, source, assert_problem, case):
    token = FORGED[case](mint)

    answer = gateway.call("GET", TARGET, token=token, source=source)

    assert_problem(answer, 401, "invalid-token")


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
    token = mint.token(exp=int(time.time()) + 2)
    assert gateway.call("GET", TARGET, token=token).status == 200

    until = time.monotonic() + 8
    while time.monotonic() < until and gateway.call("GET", TARGET, token=token).status == 200:
        time.sleep(0.2)
    time.sleep(0.5)  # the other worker's coarse clock

    assert_problem(gateway.call("GET", TARGET, token=token), 401, "invalid-token")


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
