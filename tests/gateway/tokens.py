"""Tokens as the gateway would make them, and as it never would: signed here with its own key or with an attacker's."""

import base64
import json
import time
from uuid import uuid4

import jwt

from entrepot.identity.keys import Keyring
from entrepot.identity.master import MasterKey


class Mint:
    """Makes tokens after the model of a *genuine* one, with the key in the gateway's own directory."""

    def __init__(self, genuine: str, keys):
        self.header = jwt.get_unverified_header(genuine)
        self.claims = jwt.decode(genuine, options={"verify_signature": False})
        self.key = Keyring.open(keys, MasterKey("auto", keys.parent)).current.private

    def token(self, *, header=None, key=None, drop=(), **claims) -> str:
        """Return a token with other *header* members and *claims*, without those in *drop*; a new ``jti`` each."""
        whole_header = {**self.header, **(header or {})}
        whole = {**self.claims, "jti": str(uuid4()), **claims}
        kept = [{name: value for name, value in part.items() if name not in drop} for part in (whole_header, whole)]
        signed = ".".join(encoded(json.dumps(part).encode()) for part in kept)
        signature = (key or self.key).sign(signed.encode())
        return f"{signed}.{encoded(signature)}"

    def client(self, name: str, partner: str, scopes: list[str]) -> str:
        """Return a good token of client *name*."""
        changed = {"sub": name, "client_id": name, "scope": " ".join(scopes)}
        if "partner" in self.claims:
            changed["partner"] = partner
        return self.token(**changed, exp=int(time.time()) + 3600)


def encoded(data: bytes) -> str:
    """Return *data* as base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
