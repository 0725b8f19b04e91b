"""Vectors that others made, against the function that verifies our tokens, each with its own key.

Wycheproof's (C2SP, Apache-2.0) include the examples of RFC 7520, sections 4.1 to 4.4; those of RFC 7515, appendix A,
and of RFC 8037, appendix A, stand here.
"""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from entrepot.errors import BadRequest, InvalidToken
from entrepot.identity import jws
from entrepot.identity.jwk import verification_key
from entrepot.identity.keys import thumbprint

VECTORS = json.loads((Path(__file__).parent / "vectors" / "wycheproof_jws.json").read_text())["groups"]

# What Wycheproof takes and we refuse, and why.
STRICTER = {
    "a header names the algorithm of the key": {346, 350},
    "the key's algorithm is misspelt there (ES521)": {347, 351},
    "a stray character is none of base64url": {372, 373},
}


def verifies(text, jwk):
    try:
        jws.verify(jws.take_apart(text.encode("latin-1")), verification_key(jwk))
    except (InvalidToken, BadRequest):
        return False
    return True


def cases(kty):
    for group in VECTORS:
        if (group["key"]["kty"] == "oct") == (kty == "oct"):
            for case in group["tests"]:
                name = f"{case['tcId']}-{group['comment']}-{case['comment']}"
                yield pytest.param(group["key"], case, id=name)


@pytest.mark.parametrize(("key", "case"), list(cases("public")))
def test_a_vector_of_wycheproof_is_taken_or_refused_as_it_says(key, case):
    stricter = case["tcId"] in set.union(*STRICTER.values())

    assert verifies(case["jws"], key) == (case["result"] == "valid" and not stricter)


def test_no_shared_secret_is_a_key():
    vectors = [(group["key"], case) for group in VECTORS if group["key"]["kty"] == "oct" for case in group["tests"]]

    assert len(vectors) == 40
    assert not any(verifies(case["jws"], key) for key, case in vectors)


def test_all_vectors_are_there_and_dozens_are_taken():
    results = [case["result"] for group in VECTORS for case in group["tests"]]

    assert (len(results), results.count("valid")) == (401, 46)


# RFC 7515, appendix A.2 and A.3.
RSA = {
    "kty": "RSA",
    "n": (
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS"
        "-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2"
        "CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9"
        "gb54h4FRWyuXpoQ"
    ),
    "e": "AQAB",
    "alg": "RS256",
}
RSA_SIGNED = (
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    "fQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7"
    "t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jz"
    "DwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe7"
    "7Rw"
)
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "alg": "ES256",
}
EC_SIGNED = (
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
    "fQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
# RFC 8037, appendix A.2 to A.4.
OKP = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "alg": "EdDSA"}
OKP_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
OKP_SIGNED = (
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
)


@pytest.mark.parametrize(
    ("key", "text"), [(RSA, RSA_SIGNED), (EC, EC_SIGNED), (OKP, OKP_SIGNED)], ids=["RS256", "ES256", "EdDSA"]
)
def test_an_example_of_an_rfc_is_taken_and_no_change_of_it(key, text):
    header, payload, signature = text.split(".")
    flipped = "A" if signature[0] != "A" else "B"

    assert verifies(text, key)
    assert not verifies(f"{header}.{payload}.{flipped}{signature[1:]}", key)
    assert not verifies(f"{header}.{'A' + payload[1:]}.{signature}", key)
    assert not verifies(text, {**key, "use": "enc"})
    assert not any(verifies(text, other) for other in (RSA, EC, OKP) if other is not key)


def test_the_unsecured_example_of_rfc_7515_is_refused():
    text = (
        "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ."
    )

    assert not any(verifies(text, key) for key in (RSA, EC, OKP))


def test_a_thumbprint_is_that_of_rfc_8037():
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

    assert thumbprint(Ed25519PublicKey.from_public_bytes(public)) == OKP_THUMBPRINT


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {"kty": "RSA", "alg": "RS256", "n": "AQAB", "e": "AQAB"},
        {**EC, "crv": "P-384"},
        {**EC, "x": "AAAA"},
        {**OKP, "x": "AAAA"},
        {**RSA, "alg": "none"},
        {**RSA, "alg": "HS256"},
        {**RSA, "key_ops": ["encrypt"]},
        {"kty": "oct", "alg": "HS256", "k": "AAAA"},
    ],
    ids=str,
)
def test_what_is_no_key_for_verifying_is_said(jwk):
    with pytest.raises(BadRequest, match="the key"):
        verification_key(jwk)
