from base64 import urlsafe_b64encode

import orjson
import pytest

from entrepot.identity.keys import Keyring
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocations
from entrepot.identity.tokens import Verifier, issue

NOW = 1_800_000_000.0
ISSUER = "https://gateway.example"


class Counter:
    """A counter of this process, where the host's would be a mapped one."""

    value = 0

    def read(self):
        return self.value

    def bump(self):
        self.value += 1


class Clock:
    """A clock that moves when someone sleeps."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def clock(now):
    return Clock(now)


@pytest.fixture
def issuer():
    return ISSUER


@pytest.fixture
def client():
    return Client("shop", "acme", frozenset({"orders:read", "orders:write"}))


@pytest.fixture
def master(tmp_path):
    """The master key of the store, made by the first who needs it."""
    return MasterKey("auto", tmp_path)


@pytest.fixture
def keyring(tmp_path, master):
    return Keyring.open(tmp_path / "keys", master)


@pytest.fixture
def counter():
    return Counter()


@pytest.fixture
def open_revocations(tmp_path, counter):
    """Return a function that gives the revocations as another process would see them."""
    opened = []

    def open_it(path=tmp_path / "revocations"):
        opened.append(Revocations(path, counter))
        opened[-1].load()
        return opened[-1]

    yield open_it
    for revocations in opened:
        revocations.close()


@pytest.fixture
def revocations(open_revocations):
    return open_revocations()


@pytest.fixture
def verifier(keyring, revocations):
    return Verifier(keyring, revocations, issuer=ISSUER, audience=ISSUER)


@pytest.fixture
def make_token(keyring, client, now):
    """Return a function that issues a token, as bytes."""

    def make(client=client, *, now=now, expires_s=3600):
        token = issue(
            keyring,
            client=client,
            scopes=client.scopes,
            issuer=ISSUER,
            audience=ISSUER,
            expires_s=expires_s,
            now=now,
        )
        return token.token.encode()

    return make


def base64url(data):
    return urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture
def header(keyring):
    return {"alg": "EdDSA", "typ": "at+jwt", "kid": keyring.current.kid}


@pytest.fixture
def payload():
    return {
        "iss": ISSUER,
        "aud": ISSUER,
        "sub": "shop",
        "client_id": "shop",
        "partner": "acme",
        "scope": "orders:read",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
        "jti": "a-jti",
    }


@pytest.fixture
def forge(keyring, header, payload):
    """Return a function that signs any header and payload with the key of the host; bytes are taken as they are."""

    def make(header=header, payload=payload):
        texts = [part if isinstance(part, bytes) else orjson.dumps(part) for part in (header, payload)]
        signed = b".".join(base64url(text) for text in texts)
        return signed + b"." + base64url(keyring.current.private.sign(signed))

    return make
