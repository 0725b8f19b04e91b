"""Attacks on the portal and the data plane behind it, over the socket: each is refused, and nobody else is harmed."""

import json
import re
import threading
import time
from base64 import b64encode
from urllib.parse import quote, urlencode

import jwt
import pytest
from forgeries import ATTACKER, FORGED, encoded, with_hmac
from portals import PortalProcess
from running import eventually
from test_gateway_portal import GRANT, error_of

from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor

pytestmark = pytest.mark.slow

TARGET = "/v1/echo/attack"
ANN = Actor("ann", "command", "0" * 36)
FORM_TYPE = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def portal(gateway):
    with PortalProcess(gateway) as portal:
        yield portal


@pytest.fixture(scope="module")
def services(gateway):
    """The services of the same store in this process, as the command line has them."""
    with Services.from_settings(load_settings(gateway.settings, environ={})) as services:
        yield services


@pytest.fixture(scope="module")
def secrets(services):
    """A secret of each client."""
    clients = services.catalog().clients.values()
    return {client.name: services.credentials.make("secret", client, actor=ANN).text for client in clients}


@pytest.fixture(scope="module")
def secret(secrets):
    return secrets["shop"]


@pytest.fixture(scope="module")
def keys(gateway, portal):
    """The public keys as everyone can fetch them: the whole document, and each key."""
    answer = gateway.call("GET", "/.well-known/jwks.json")
    return answer.body, {key["kid"]: key for key in answer.json()["keys"]}


def append_to_forwarded(daemon):
    """Let the proxies before *daemon* write ``Forwarded``; nothing more is brought in."""
    text = daemon.settings.read_text(encoding="utf-8")
    daemon.settings.write_text(text.replace("\ntrusted = ", "\nforwarded = forwarded\ntrusted = "), encoding="utf-8")
    return {}


@pytest.fixture(scope="module")
def appending(make_daemon):
    """The portal of a gateway behind proxies that append to ``Forwarded``."""
    with PortalProcess(make_daemon(append_to_forwarded)) as portal:
        yield portal


@pytest.fixture
def introspected(portal, secret):
    """Return a function that says what introspection answers for a token."""

    def introspected(token, source="127.0.0.1"):
        answer = portal.post("/oauth/introspect", basic=("shop", secret), token=token, source=source)
        assert answer.status == 200, answer.body
        return answer.json()

    return introspected


@pytest.fixture
def assert_refused(gateway, portal, secret, introspected, source, assert_problem):
    """Return the check that a token is good on no page and no endpoint, and that nobody is harmed by it."""

    def assert_refused(token):
        for target in (TARGET, "/oauth/whoami", "/transactions"):
            assert_problem(gateway.call("GET", target, token=token, source=source), 401, "invalid-token", alive=False)
        assert introspected(token, source) == {"active": False}
        revoked = portal.post("/oauth/revoke", basic=("shop", secret), token=token, source=source)
        assert revoked.status in {200, 400}
        assert_problem.serves()

    return assert_refused


# -- tokens


def test_untampered_token_is_good_everywhere(gateway, portal, mint, introspected):
    token = mint.token()

    assert [gateway.call("GET", target, token=token).status for target in (TARGET, "/oauth/whoami")] == [200, 200]
    assert introspected(token)["active"] is True


@pytest.mark.parametrize("case", FORGED)
def test_forged_token_is_good_nowhere(mint, assert_refused, case):
    assert_refused(FORGED[case](mint))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "EdDSA", "RS256", "ES256"])
@pytest.mark.parametrize("form", ["x", "raw", "jwk", "document"])
def test_published_key_is_no_secret_to_sign_with(portal, secret, keys, assert_refused, form, algorithm):
    document, known = keys
    genuine = portal.token("shop", secret)
    header, claims = jwt.get_unverified_header(genuine), jwt.decode(genuine, options={"verify_signature": False})
    key = known[header["kid"]]
    secrets = {
        "x": key["x"].encode(),
        "raw": jwt.utils.base64url_decode(key["x"]),
        "jwk": json.dumps(key, separators=(",", ":")).encode(),
        "document": document,
    }

    assert_refused(with_hmac({**header, "alg": algorithm}, claims, secrets[form], f"sha{algorithm[2:]}"
                             if algorithm.startswith("HS") else "sha512"))  # fmt: skip


def test_kid_of_10_kb_is_refused_as_a_head_and_in_a_form(gateway, portal, introspected, mint, assert_problem):
    token = mint.token(header={"kid": "k" * 10_240})

    assert_problem(gateway.call("GET", TARGET, token=token), 431, "headers-too-large")
    assert introspected(token) == {"active": False}


def test_tampered_copy_of_a_token_takes_nothing_from_the_genuine_one(gateway, portal, secret, introspected):
    token = portal.token("shop", secret)
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options={"verify_signature": False})
    forged = f"{header}.{encoded(json.dumps({**claims, 'scope': 'relay.write'}).encode())}.{signature}"

    for copy in (forged, f"{header}.{payload}.{encoded(bytes(64))}"):
        assert portal.post("/oauth/revoke", basic=("shop", secret), token=copy).status == 200

    time.sleep(0.3)
    assert gateway.call("GET", TARGET, token=token).status == 200
    assert introspected(token)["active"] is True


def test_revoked_token_is_refused_by_every_worker_however_often_it_is_shown(gateway, portal, secret, introspected):
    token, other = portal.token("shop", secret), portal.token("shop", secret)
    with gateway.one_wire_for_each_worker() as wires:
        assert statuses(gateway, wires, token) == [200] * len(wires)

        assert portal.post("/oauth/revoke", basic=("shop", secret), token=token).status == 200

        for _ in range(25):
            assert statuses(gateway, wires, token) == [401] * len(wires)
        assert statuses(gateway, wires, other) == [200] * len(wires)
    assert introspected(token) == {"active": False}
    assert gateway.call("GET", "/oauth/whoami", token=token).status == 401
    assert gateway.call("GET", "/transactions", token=token).status == 401


def statuses(gateway, wires, token):
    found = []
    for wire in wires:
        wire.send(gateway.head("GET", TARGET, token=token))
        found.append(wire.answer().status)
    return found


@pytest.mark.parametrize("target", [TARGET, "/transactions", "/oauth/whoami"])
def test_token_in_the_query_or_the_body_opens_nothing(gateway, portal, mint, source, target):
    token = mint.token()

    in_query = gateway.call("GET", f"{target}?access_token={token}", source=source)
    in_both = gateway.call("GET", f"{target}?access_token={token}", token=token, source=source)

    assert (in_query.status, in_both.status) == (401, 400)
    assert in_query.header("www-authenticate").startswith("Bearer")
    assert token not in gateway.log() + portal.log()


def test_token_in_a_form_body_opens_nothing(gateway, mint, source, assert_problem):
    body = urlencode({"access_token": mint.token()}).encode()

    answer = gateway.call("POST", TARGET, f"Content-Type: {FORM_TYPE}", body=body, source=source)

    assert_problem(answer, 401, "invalid-token")


# -- who is believed to call from where

CLAIMS_OF_AN_ADDRESS = [
    "X-Forwarded-For: {address}",
    "X_Forwarded_For: {address}",
    "Forwarded: for={address}",
    "X-Real-IP: {address}",
    "True-Client-IP: {address}",
    "CF-Connecting-IP: {address}",
    "Client-IP: {address}",
]


def claimed(address):
    return [line.format(address=address) for line in CLAIMS_OF_AN_ADDRESS]


def test_address_that_a_caller_claims_opens_no_network(gateway, portal, secrets, source, assert_problem):
    lines = claimed("127.8.0.1")
    basic = ("fenced", secrets["fenced"])

    endpoint = gateway.call("GET", TARGET, *lines, token="fenced", source=source)
    token = portal.post("/oauth/token", *lines, basic=basic, source=source, **GRANT)

    assert_problem(endpoint, 403, "forbidden")
    assert error_of(token) == (400, "unauthorized_client")


def test_address_that_a_caller_puts_before_that_of_its_proxy_opens_no_network(gateway, portal, secrets, assert_problem):
    line = "X-Forwarded-For: 127.8.0.1, 203.0.113.5"
    basic = ("fenced", secrets["fenced"])

    endpoint = gateway.call("GET", TARGET, line, token="fenced", source="127.9.0.1")
    token = portal.post("/oauth/token", line, basic=basic, source="127.9.0.1", **GRANT)

    assert_problem(endpoint, 403, "forbidden")
    assert error_of(token) == (400, "unauthorized_client")


@pytest.mark.parametrize(
    "forwarded",
    [
        "for={address}, for=203.0.113.9",
        'for="[{address}], for="203.0.113.9:4711"',
        'for="[{address}], for="[2001:db8::9]:4711"',
        'for=203.0.113.9;host="a;for={address}"',
        'for={address};x="\\", for=203.0.113.9',
        "for={address}, for=unknown",
        "for={address}, proto=https",
    ],
)
def test_what_a_caller_puts_before_the_word_of_an_appending_proxy_opens_nothing(appending, forwarded):
    gateway, basic, proxy = appending.daemon, ("fenced", appending.secret("fenced")), "127.9.0.1"
    inside, local = (f"Forwarded: {forwarded.format(address=address)}" for address in ("127.8.0.1", "127.0.0.1"))

    token = appending.post("/oauth/token", inside, basic=basic, source=proxy, **GRANT)
    endpoint = gateway.call("GET", TARGET, inside, token="fenced", source=proxy)
    whoami = gateway.call("GET", "/oauth/whoami", inside, token=gateway.issue("fenced"), source=proxy)
    metrics = gateway.call("GET", "/metrics", local, source=proxy)

    assert error_of(token) == (400, "unauthorized_client")
    assert [answer.status for answer in (endpoint, whoami, metrics)] == [403, 403, 404]


def test_word_of_an_appending_proxy_opens_the_networks_that_it_names(appending):
    gateway, secret = appending.daemon, appending.secret("fenced")

    line = 'Forwarded: x=", for="127.8.0.1:4711"'
    token = appending.post("/oauth/token", line, basic=("fenced", secret), source="127.9.0.1", **GRANT)
    metrics = gateway.call("GET", "/metrics", 'Forwarded: x=", for=127.0.0.1', source="127.9.0.1")

    assert (token.status, metrics.status) == (200, 200)


def test_claimed_addresses_begin_no_new_budget_of_wrong_signatures(gateway, mint, source):
    forged = mint.token(key=ATTACKER)
    heads = b"".join(gateway.head("GET", TARGET, *claimed(f"192.0.2.{n}"), token=forged) for n in range(80))

    with gateway.wire(source=source) as wire:
        wire.send(heads)
        answers = [wire.answer() for _ in range(80)]

    assert {answer.status for answer in answers} == {401, 429}
    assert all(answer.header("retry-after") for answer in answers if answer.status == 429)
    assert gateway.call("GET", TARGET, *claimed("192.0.2.1"), token="shop").status == 200


# -- brute force


def test_wrong_secrets_are_counted_alike_wherever_and_however_they_are_shown(portal, source):
    wrong = b64encode(b"s%68op:wrong").decode()
    ways = (
        lambda: portal.post("/oauth/token", basic=("shop", "wrong"), source=source, **GRANT),
        lambda: portal.post("/oauth/token", client_id="shop", client_secret="wrong", source=source, **GRANT),
        lambda: portal.post("/oauth/revoke", basic=("shop", "wrong"), source=source, token="a"),
        lambda: portal.post("/oauth/introspect", f"Authorization: Basic {wrong}", source=source, token="a"),
    )

    answers = [ways[number % 4]() for number in range(12)]

    assert [answer.status for answer in answers] == [401] * 10 + [429] * 2
    assert error_of(answers[-1]) == (429, "temporarily_unavailable")


def test_true_client_and_others_are_let_in_while_secrets_are_tried(gateway, portal, secrets, source):
    ending, tried = threading.Event(), []

    def try_secrets():
        while not ending.is_set():
            tried.append(portal.post("/oauth/token", basic=("shop", "wrong"), source=source, **GRANT).status)

    threads = [threading.Thread(target=try_secrets) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: 429 in tried, 10.0)
        true, others = [
            [portal.post("/oauth/token", basic=(name, secrets[name]), source=source, **GRANT).status for _ in range(5)]
            for name in ("shop", "reader")
        ]
        mistyped = portal.post("/oauth/token", basic=("reader", "wrong"), source=source, **GRANT)
        elsewhere = portal.post("/oauth/token", basic=("shop", "wrong"), source="127.77.0.1", **GRANT)
    finally:
        ending.set()
        for thread in threads:
            thread.join()

    assert true == others == [200] * 5
    assert (mistyped.status, elsewhere.status) == (401, 401)
    assert set(tried) == {401, 429}
    assert gateway.call("GET", TARGET, token="shop").status == 200


# -- what is another's


@pytest.mark.parametrize("owner", ["rival", "reader"])
def test_token_of_another_client_is_neither_described_nor_revoked(
    gateway, portal, secrets, secret, introspected, owner
):
    token = portal.token(owner, secrets[owner])

    answer = portal.post("/oauth/revoke", basic=("shop", secret), token=token)

    assert error_of(answer) == (400, "invalid_grant")
    assert owner not in answer.json()["error_description"]
    assert introspected(token) == {"active": False}
    assert gateway.call("GET", TARGET, token=token).status == 200


def test_parts_of_two_credentials_are_no_secret(services, portal, secrets, source):
    own, theirs = secrets["shop"].split("_", 2), secrets["rival"].split("_", 2)
    keyed = services.catalog().clients["keyed"]
    api_key = services.credentials.make("api-key", keyed, actor=ANN, label="attack").text
    shown = [
        ("shop", "_".join([*own[:2], theirs[2]])),
        ("shop", "_".join([*theirs[:2], own[2]])),
        ("rival", secrets["shop"]),
        ("keyed", api_key),
        ("keyed", api_key.replace("eak_", "esk_")),
        ("SHOP", secrets["shop"]),
        ("shop ", secrets["shop"]),
        ("shop\0", secrets["shop"]),
        ("shop", secrets["shop"] + "\n"),
        ("shop", secrets["shop"].upper()),
    ]

    answers = [portal.post("/oauth/token", basic=basic, source=source, **GRANT) for basic in shown]

    assert [error_of(answer) for answer in answers] == [(401, "invalid_client")] * len(shown)


# -- mass assignment


def test_parameters_that_no_rfc_gives_the_client_change_no_claim(gateway, portal, secret, introspected):
    asked = {
        "partner": "deco", "sub": "rival", "aud": "http://elsewhere.test", "iss": "http://elsewhere.test",
        "exp": "99999999999", "expires_in": "99999999", "expires": "365d", "iat": "0", "nbf": "0", "jti": "chosen",
        "kid": "chosen", "alg": "none", "scopes": "admin", "role": "admin", "api_keys": "true", "client": "rival",
        "audience": "elsewhere", "resource": "http://elsewhere.test", "username": "rival", "password": "x",
    }  # fmt: skip
    plain = jwt.decode(portal.token("shop", secret), options={"verify_signature": False})

    answer = portal.post("/oauth/token", client_id="shop", client_secret=secret, **GRANT, **asked)

    token = answer.json()["access_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert answer.json()["expires_in"] == 12 * 3600
    assert claims["exp"] - claims["iat"] == plain["exp"] - plain["iat"]
    assert set(claims) == set(plain)
    changing = {"iat", "exp", "jti"}
    assert {name: claims[name] for name in set(claims) - changing} == {
        name: plain[name] for name in set(plain) - changing
    }
    assert abs(claims["iat"] - time.time()) < 10
    assert claims["jti"] != "chosen"
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert introspected(token)["partner"] == "azure"


@pytest.mark.parametrize("scope", ["admin", "relay.read orders.approve", "*", "relay.read,relay.write", "relay.READ"])
def test_scope_that_the_client_does_not_have_is_invalid(portal, secret, scope):
    assert error_of(portal.post("/oauth/token", basic=("shop", secret), scope=scope, **GRANT)) == (400, "invalid_scope")


def test_client_id_of_another_beside_the_own_secret_is_refused(portal, secret):
    for name in ("rival", "reader", "SHOP"):
        answer = portal.post("/oauth/token", basic=("shop", secret), client_id=name, **GRANT)
        assert error_of(answer) == (400, "invalid_request")


# -- the form of a request


def raw(portal, secret, *parts, lines=(), path="/oauth/token"):
    return portal.post(path, *lines, basic=("shop", secret), body="&".join(parts).encode())


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("/oauth/token", ["grant_type=client_credentials", "grant_type=client_credentials"]),
        ("/oauth/token", ["grant_type=client_credentials", "scope=relay.read", "scope=relay.read"]),
        ("/oauth/token", ["grant_type=client_credentials", "scope=relay.read", "scope="]),
        ("/oauth/token", ["grant_type=client_credentials", "sc%6Fpe=relay.read", "scope=relay.write"]),
        ("/oauth/token", ["grant_type=client_credentials", "client_id=shop", "client_id=shop"]),
        ("/oauth/token", ["grant_type=client_credentials", "unknown=1", "unknown=2"]),
        ("/oauth/revoke", ["token=a", "token=b"]),
        ("/oauth/introspect", ["token=a", "token_type_hint=a", "token_type_hint=b"]),
    ],
)
def test_parameter_that_stands_twice_is_an_invalid_request(portal, secret, path, parts):
    assert error_of(raw(portal, secret, *parts, path=path)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/json", "multipart/form-data; boundary=x", "application/xml", "x", "", "/", ";", "é"],
)
def test_body_of_another_type_is_an_invalid_request(portal, secret, content_type):
    answer = raw(portal, secret, "grant_type=client_credentials", lines=[f"Content-Type: {content_type}"])

    assert error_of(answer) == (400, "invalid_request")


@pytest.mark.parametrize("content_type", [f"{FORM_TYPE}; charset=utf-8", FORM_TYPE.upper(), f"{FORM_TYPE};a=b"])
def test_form_type_is_known_in_all_its_spellings(portal, secret, content_type):
    answer = raw(portal, secret, "grant_type=client_credentials", lines=[f"Content-Type: {content_type}"])

    assert answer.status == 200


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect"])
@pytest.mark.parametrize(
    "body",
    [
        b"", b"&", b"=", b"&&==&", b"grant_type", b"%", b"%zz=%zz", b"\xff\xfe", b"\0", b"a=%00", b"{}",
        b"token=%C3%28",
        b"&".join(b"a%d=1" % n for n in range(40)), b"a=" + b"1" * 60_000, b"&" * 60_000, b"a;b=c;d",
    ],
    ids=range(16),
)  # fmt: skip
def test_body_that_is_no_form_of_ours_is_an_invalid_request(portal, secret, path, body):
    answer = portal.post(path, basic=("shop", secret), body=body)

    assert error_of(answer) == (400, "invalid_request")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/whoami", "/docs/x"])
def test_huge_body_is_413(gateway, portal, path, assert_problem):
    assert_problem(portal.post(path, body=b"a=" + b"1" * 200_000), 413, "body-too-large")


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke", "/oauth/introspect"])
def test_secret_shown_in_two_ways_is_refused_though_both_are_right(portal, secret, path):
    answer = portal.post(path, basic=("shop", secret), client_id="shop", client_secret=secret, token="a", **GRANT)

    assert error_of(answer) == (400, "invalid_request")


def test_basic_credentials_are_percent_decoded(portal, secret):
    every = "".join(f"%{ord(letter):02x}" for letter in secret)
    lines = [f"Authorization: Basic {b64encode(f's%68op:{every}'.encode()).decode()}"]

    assert portal.post("/oauth/token", *lines, **GRANT).status == 200


def test_plus_in_basic_credentials_is_a_space(portal, secret, source):
    lines = [f"Authorization: Basic {b64encode(f'shop:{quote(secret)}+'.encode()).decode()}"]

    assert error_of(portal.post("/oauth/token", *lines, source=source, **GRANT)) == (401, "invalid_client")


@pytest.mark.parametrize(
    "credentials",
    [
        "é:é".encode(), "é:é".encode("latin-1"), b"\xff:\xff", b"\0:\0", b":", b"::::", b"shop", b"", b"%:%",
        b"%ff:%ff",
        b"%ED%A0%80:x", b"shop:" + b"s" * 4000, b"s" * 4000 + b":x", "\U0001d530hop:x".encode(),
        b"shop\r\nX: y:x", b"%00:%00",
    ],
    ids=range(16),
)  # fmt: skip
def test_odd_basic_credentials_are_an_invalid_client(portal, source, credentials):
    lines = [f"Authorization: Basic {b64encode(credentials).decode()}"]

    assert error_of(portal.post("/oauth/token", *lines, source=source, **GRANT)) == (401, "invalid_client")


@pytest.mark.parametrize(
    "value",
    ["Basic", "Basic é", "Basic ====", "Basic c2hvcA", "Basic c2hvcDp4 c2hvcDp4", "Basicc2hvcDp4", "é", "Bearer x"],
)
def test_authorization_that_is_not_basic_is_an_invalid_client(portal, source, value):
    answer = portal.post("/oauth/token", f"Authorization: {value}", source=source, **GRANT)

    assert error_of(answer) == (401, "invalid_client")


@pytest.mark.parametrize("field", ["client_id", "client_secret"])
@pytest.mark.parametrize(
    "value", ["é", "\0", "\U0001d530", "x" * 600, "' OR 1=1 --", "../../etc/passwd", "%s%n", "{{7*7}}"]
)
def test_odd_credentials_in_the_form_are_an_invalid_client(portal, source, field, value):
    form = {"client_id": "shop", "client_secret": "x", **GRANT, field: value}

    answer = portal.post("/oauth/token", source=source, **form)

    assert error_of(answer) == (401, "invalid_client")
    assert re.search("[^ -~]", answer.json()["error_description"]) is None


def test_two_authorization_headers_are_refused(gateway, portal, secrets):
    lines = [
        f"Authorization: Basic {b64encode(f'{name}:{secrets[name]}'.encode()).decode()}" for name in ("shop", "rival")
    ]

    answer = portal.post("/oauth/token", *lines, **GRANT)

    assert answer.status in {400, 401}


def test_no_secret_that_was_shown_stands_in_a_log(gateway, portal, secrets):
    text = gateway.log() + portal.log()

    assert [name for name, secret in secrets.items() if secret.split("_", 2)[2] in text] == []
