"""Whatever is wrong with a token, the answer is InvalidToken. The classes follow RFC 8725 and C2SP wycheproof's
json_web_signature_test, whose own vectors have no Ed25519."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from entrepot.errors import InvalidToken

ORDER = 2**252 + 27742317777372353535851937790883648493


def base64url(data):
    return urlsafe_b64encode(data).rstrip(b"=")


def refused(verifier, token, now, reason="."):
    with pytest.raises(InvalidToken, match=reason) as told:
        verifier.claims(token, now)
    assert verifier.remembered == {}
    if len(token) > 20:
        assert token.decode("latin-1") not in str(told.value)
    assert len(str(told.value)) < 100


def test_the_forged_token_that_the_others_change_is_good(verifier, forge, now):
    assert verifier.claims(forge(), now).jti == "a-jti"


STRUCTURES = {
    "modified signature": lambda h, p, s: (h, p, b"A" + s[1:] if s[:1] != b"A" else b"B" + s[1:]),
    "missing signature": lambda h, p, s: (h, p, b""),
    "missing signature and separator": lambda h, p, s: (h, p),
    "modified payload": lambda h, p, s: (h, base64url(b"x") + p, s),
    "missing payload": lambda h, p, s: (h, b"", s),
    "missing payload and separator": lambda h, p, s: (h, s),
    "missing header": lambda h, p, s: (b"", p, s),
    "only separators": lambda h, p, s: (b"", b"", b""),
    "nothing": lambda h, p, s: (b"",),
    "one part": lambda h, p, s: (p,),
    "extra empty part": lambda h, p, s: (h, p, s, b""),
    "extra part": lambda h, p, s: (h, p, s, b"foo"),
    "parts of an encrypted token": lambda h, p, s: (h, p, s, s, s),
    "short signature": lambda h, p, s: (h, p, s[:-4]),
    "long signature": lambda h, p, s: (h, p, s + b"AAAA"),
    "zero signature": lambda h, p, s: (h, p, b"A" * 86),
    "spaces in signature": lambda h, p, s: (h, p, b"    " + s),
    "space before": lambda h, p, s: (b" " + h, p, s),
    "newline after": lambda h, p, s: (h, p, s + b"\n"),
    "stray character in header": lambda h, p, s: (h + b"####", p, s),
    "stray character in payload": lambda h, p, s: (h, b"?" + p, s),
    "padding": lambda h, p, s: (h, p, s + b"=="),
    "padding in header": lambda h, p, s: (h + b"=", p, s),
    "base64 of the other alphabet": lambda h, p, s: (h, p, b"+/" + s[2:]),
    "unused bits in signature": lambda h, p, s: (h, p, s[:-1] + bytes([s[-1] + 1])),
    "length that no base64 has": lambda h, p, s: (h + b"AA", p + b"AAAAA", s),
    "NUL": lambda h, p, s: (h, p, s[:-1] + b"\0"),
    "bytes beyond ASCII": lambda h, p, s: (h, p, b"\xff\xfe" + s[2:]),
    "letters beyond ASCII": lambda h, p, s: ("é".encode() + h, p, s),
    "a megabyte": lambda h, p, s: (h, b"A" * 1_048_576, s),
    "a megabyte of dots": lambda h, p, s: (b"." * 1_048_576,),
    "header swapped with payload": lambda h, p, s: (p, h, s),
}


@pytest.mark.parametrize("change", STRUCTURES.values(), ids=STRUCTURES)
def test_another_structure_is_refused(verifier, forge, now, change):
    refused(verifier, b".".join(change(*forge().split(b"."))), now)


def test_json_serialisation_is_refused(verifier, forge, now):
    header, payload, signature = (part.decode() for part in forge().split(b"."))
    flat = {"protected": header, "payload": payload, "signature": signature}
    general = {"payload": payload, "signatures": [{"protected": header, "signature": signature}]}

    refused(verifier, json.dumps(flat).encode(), now, "not a signed JWT")
    refused(verifier, json.dumps(general).encode(), now, "not a signed JWT")


def test_a_signature_that_is_another_form_of_a_good_one_is_refused(verifier, forge, now):
    signed, _, signature = forge().rpartition(b".")
    raw = urlsafe_b64decode(signature + b"==")
    scalar = int.from_bytes(raw[32:], "little") + ORDER

    refused(verifier, signed + b"." + base64url(raw[:32] + scalar.to_bytes(32, "little")), now, "signature")


@pytest.mark.parametrize(
    "algorithm",
    ["none", "None", "NONE", "HS256", "RS256", "ES256", "Ed25519", "eddsa", "EdDSA ", "", None, 7, ["EdDSA"]],
)
def test_another_algorithm_is_refused(verifier, forge, header, now, algorithm):
    refused(verifier, forge(header={**header, "alg": algorithm}), now, "algorithm")


def test_an_unsigned_token_is_refused(verifier, header, payload, now):
    parts = [base64url(json.dumps(part).encode()) for part in ({**header, "alg": "none"}, payload)]

    refused(verifier, b".".join(parts) + b".", now)


@pytest.mark.parametrize("algorithm", ["HS256", "HS512", "EdDSA"])
def test_the_public_key_is_no_secret_to_sign_with(verifier, keyring, header, payload, now, algorithm):
    public = keyring.public(header["kid"])
    signed = b".".join(base64url(json.dumps(part).encode()) for part in ({**header, "alg": algorithm}, payload))
    for secret in (public.public_bytes_raw(), public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):
        for digest in (hashlib.sha256, hashlib.sha512):
            refused(verifier, signed + b"." + base64url(hmac.digest(secret, signed, digest)), now)


def test_a_key_that_the_token_brings_along_is_refused(verifier, header, payload, now):
    private = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64url(private.public_key().public_bytes_raw()).decode()}
    for brought in (
        {"jwk": jwk},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example"},
        {"x5c": ["AA"]},
    ):
        parts = [base64url(json.dumps(part).encode()) for part in (header | brought, payload)]
        signed = b".".join(parts)

        refused(verifier, signed + b"." + base64url(private.sign(signed)), now, "refused")


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"])
def test_a_header_parameter_that_changes_the_meaning_is_refused_though_signed(verifier, forge, header, now, name):
    refused(verifier, forge(header={**header, name: None}), now, "refused")


@pytest.mark.parametrize("kid", [None, 7, "", "unknown", "../../etc/passwd", ["k"], {"k": 1}, "\ud800", "x" * 5000])
def test_another_kid_is_refused(verifier, forge, header, now, kid):
    refused(verifier, forge(header=json.dumps({**header, "kid": kid}).encode()), now, "kid")


def test_a_token_without_kid_is_refused(verifier, forge, header, now):
    del header["kid"]

    refused(verifier, forge(header=header), now, "kid")


@pytest.mark.parametrize("typ", ["JWT", "jwt", None, "", 7, "at+jwt;x=1", "application/jwt", "id+jwt"])
def test_a_token_of_another_type_is_refused(verifier, forge, header, now, typ):
    refused(verifier, forge(header={**header, "typ": typ}), now, "typ")


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_of_rfc_9068_is_taken_in_all_its_spellings(verifier, forge, header, now, typ):
    assert verifier.claims(forge(header={**header, "typ": typ}), now)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "client_id", "partner", "scope", "iat", "exp", "jti"])
def test_a_token_without_a_claim_is_refused(verifier, forge, payload, now, name):
    del payload[name]

    refused(verifier, forge(payload=payload), now, name)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "client_id", "partner", "scope", "jti"])
@pytest.mark.parametrize("value", [None, 7, True, [], {}, ["https://gateway.example"], [["a"]]])
def test_a_claim_that_is_no_text_is_refused(verifier, forge, payload, now, name, value):
    refused(verifier, forge(payload={**payload, name: value}), now, name)


@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", ["1800000000", None, True, [], {}, -1, -1e300, 1e300, 2**53])
def test_a_time_that_is_none_is_refused(verifier, forge, payload, now, name, value):
    refused(verifier, forge(payload=json.dumps({**payload, name: value}).encode()), now, name)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "-Infinity", "1e999", "1" * 18, "1" * 5000, "01", "0x10", "1_000"]
)
def test_a_number_that_json_does_not_have_is_refused(verifier, forge, payload, now, number):
    text = json.dumps({**payload, "exp": "HERE"}).replace('"HERE"', number).encode()

    refused(verifier, forge(payload=text), now)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://gateway.example/"}, "iss"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"aud": "https://GATEWAY.example"}, "aud"),
        ({"aud": "https://gateway.example.evil"}, "aud"),
        ({"sub": "another"}, "sub"),
        ({"exp": 1_799_999_998}, "expired"),
        ({"exp": 0}, "expired"),
        ({"nbf": 1_800_000_002}, "not valid yet"),
        ({"iat": 1_800_000_002}, "not valid yet"),
        ({"jti": ""}, "jti"),
    ],
)
def test_a_wrong_claim_is_refused(verifier, forge, payload, now, changes, reason):
    refused(verifier, forge(payload=payload | changes), now, reason)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'"text"',
        b"7",
        b"null",
        b"{",
        b"[" * 5000,
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b'{"alg":"EdDSA","alg":"EdDSA"}',
        b'{"a":{"b":1,"b":2}}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b'{"a":"\xff"}',
        "{}".encode("utf-32"),
        b"{} {}",
        b"{'a': 1}",
    ],
)
def test_what_is_no_plain_json_object_is_refused_in_header_and_payload(verifier, forge, now, text):
    refused(verifier, forge(header=text), now)
    refused(verifier, forge(payload=text), now)


def test_duplicate_members_are_refused_though_signed(verifier, forge, payload, now):
    text = json.dumps(payload)[:-1] + ',"client_id":"victim","sub":"victim"}'

    refused(verifier, forge(payload=text.encode()), now)


def test_garbage_does_not_reach_the_signature_check(verifier, forge, payload, now):
    for token in (b"x", forge(header={"alg": "none"}), forge(payload=payload | {"exp": 1})):
        refused(verifier, token[:-2] + b"AA", now)

    assert verifier.refused == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fuzzing = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@fuzzing
@given(
    token=st.binary(max_size=400) | st.from_regex(rb"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{86}", fullmatch=True)
)
def test_any_bytes_are_an_invalid_token(verifier, now, token):
    refused(verifier, token, now)


@fuzzing
@given(data=st.data())
def test_any_signed_json_is_claims_or_an_invalid_token(verifier, forge, header, payload, now, data):
    changed = []
    for members in (header, payload):
        names = st.sampled_from([*members, "nbf", "crit", "x"])
        changes = data.draw(st.dictionaries(names, json_values, max_size=2))
        changed.append(json.dumps({**members, **changes}).encode())

    try:
        claims = verifier.claims(forge(*changed), now)
    except InvalidToken:
        return

    assert claims.client == "shop"


@fuzzing
@given(position=st.integers(0, 600), change=st.binary(max_size=2), length=st.integers(0, 3))
def test_any_change_of_a_good_token_is_refused(verifier, forge, now, position, change, length):
    good = forge()
    position %= len(good)
    token = good[:position] + change + good[position + length :]

    if token != good:
        refused(verifier, token, now)
