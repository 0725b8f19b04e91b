"""Tokens as attackers make them around one of ours: each is good nowhere, and the one that they began with still is."""

import hmac
import json
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tokens import encoded

ATTACKER = Ed25519PrivateKey.generate()
HOUR = 3600


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


def as_json(token, *, flat):
    """Return *token* in the JSON serialisation of RFC 7515, section 7.2."""
    header, payload, signature = token.split(".")
    signed = {"protected": header, "signature": signature}
    document = {"payload": payload, **signed} if flat else {"payload": payload, "signatures": [signed]}
    return json.dumps(document, separators=(",", ":"))


def twice(mint, *, header="", payload=""):
    """Return a token signed by our own key whose header or payload says more: members that stand there already."""
    parts = [json.dumps(part)[:-1] + more + "}" for part, more in ((mint.header, header), (mint.claims, payload))]
    signed = ".".join(encoded(part.encode()) for part in parts)
    return f"{signed}.{encoded(mint.key.sign(signed.encode()))}"


def with_hmac(header, claims, secret, digest):
    """Return a token whose signature is an HMAC under *secret*."""
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), digest).digest())}"


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
    "an extra empty part": lambda m: m.token() + ".",
    "parts of an encrypted token": lambda m: ".".join([*m.token().split("."), "AA", "AA"]),
    "a header of an encrypted token": lambda m: m.token(header={"alg": "dir", "enc": "A256GCM"}),
    "flattened JSON serialisation": lambda m: as_json(m.token(), flat=True),
    "general JSON serialisation": lambda m: as_json(m.token(), flat=False),
    "a header member twice": lambda m: twice(m, header=f',"kid":"{m.header["kid"]}"'),
    "a claim twice": lambda m: twice(m, payload=',"client_id":"rival","sub":"rival"'),
    "a claim twice in escapes": lambda m: twice(m, payload=',"client_\\u0069d":"rival"'),
    "critical extensions that are none": lambda m: m.token(header={"crit": []}),
    "compressed": lambda m: m.token(header={"zip": "DEF"}),
    "embedded jwk beside our own signature": lambda m: m.token(header={"jwk": attacker_jwk()}),
    "attacker's chain of certificates": lambda m: m.token(key=ATTACKER, header={"x5c": ["MIIB"]}),
    "chain of certificates beside our own signature": lambda m: m.token(header={"x5c": ["MIIB"]}),
    "attacker's thumbprint of a certificate": lambda m: m.token(key=ATTACKER, header={"x5t#S256": "A" * 43}),
    "kid that is SQL": lambda m: m.token(key=ATTACKER, header={"kid": "x' UNION SELECT 'AAAA' --"}),
    "kid that is SQL and ours": lambda m: m.token(header={"kid": f"{m.header['kid']}' OR '1'='1"}),
    "kid that is a command": lambda m: m.token(key=ATTACKER, header={"kid": "|/bin/true"}),
    "kid that is an absolute path": lambda m: m.token(key=ATTACKER, header={"kid": "/dev/null"}),
    "kid that is a path to itself": lambda m: m.token(header={"kid": f"../keys/{m.header['kid']}"}),
    "kid with its suffix": lambda m: m.token(header={"kid": f"{m.header['kid']}.key"}),
    "kid that is NUL": lambda m: m.token(header={"kid": "\0"}),
    "kid that is empty": lambda m: m.token(header={"kid": ""}),
    "kid that is half a surrogate": lambda m: m.token(header={"kid": "\ud800"}),
    "kid of 4 kB": lambda m: m.token(header={"kid": "k" * 4096}),
    "our signature called RS256": lambda m: m.token(header={"alg": "RS256"}),
    "our signature called ES256": lambda m: m.token(header={"alg": "ES256"}),
    "our signature called HS256": lambda m: m.token(header={"alg": "HS256"}),
    "our signature called eddsa": lambda m: m.token(header={"alg": "eddsa"}),
    "two algorithms": lambda m: m.token(header={"alg": ["EdDSA", "none"]}),
    "issued tomorrow": lambda m: m.token(iat=int(time.time()) + 24 * HOUR),
    "two audiences": lambda m: m.token(aud=[m.claims["aud"], "http://elsewhere.test"]),
    "issuer in another case": lambda m: m.token(iss=m.claims["iss"].upper()),
    "another client's name as subject": lambda m: m.token(sub="rival"),
    "another client's name beside our subject": lambda m: m.token(client_id="rival"),
    "another partner's client": lambda m: m.token(partner="deco"),
    "a client of no partner": lambda m: m.token(partner=""),
    "a token that was signed for another header": lambda m: parts_changed(
        m.token(), header=encoded(json.dumps({**m.header, "typ": "application/at+jwt"}).encode())
    ),
}
