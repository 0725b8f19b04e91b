"""All that one portal process serves with; its threads share it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import current_app

from entrepot.catalog.definitions import Catalog
from entrepot.catalog.watch import CatalogWatch
from entrepot.chassis.space import free_bytes
from entrepot.errors import CallerDisabled, Conflict, InvalidToken, StoreUnavailable
from entrepot.identity.admission import recognise
from entrepot.identity.attempts import Attempts
from entrepot.identity.issuing import Issuing
from entrepot.identity.partners import Client
from entrepot.identity.tokens import Claims, IssuedToken, Verifier, addressee, read
from entrepot.portal.callers import Shown
from entrepot.portal.errors import InvalidClient
from entrepot.portal.keeper import TokenKeeper
from entrepot.portal.pace import Fields, Pace
from entrepot.services import Services
from entrepot.settings import Settings
from entrepot.standing_services import StandingServices
from entrepot.store.audit import Actor
from entrepot.store.engine import Database

log = logging.getLogger(__name__)

LOOK_S = 0.1
CLOCK_AGAIN_S = 5.0
SPACE_AGAIN_S = 60.0
"""When whoever was refused for want of space may come again."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who shows a good token: what it says, and the client that it is of."""

    claims: Claims
    client: Client


class Portal:
    """What one process serves with. *services* are those of the store in *settings*, or a test's own."""

    def __init__(self, settings: Settings, services: Services | None = None) -> None:
        self.settings = settings
        self.issuer = addressee(settings.gateway.public_url)
        self.catalog = Catalog()
        self._standing = StandingServices(settings, services)
        first = self._standing.present
        self._shared = first.shared
        self._attempts = Attempts(self._shared, "secrets")
        self._pace = Pace(self._shared, settings.tokens.per_minute)
        self._keeping = threading.Lock()
        self._keyring = first.keyring
        self._verifier = Verifier(
            self._keyring, first.revocations, issuer=self.issuer, audience=self.issuer,
            leeway_s=settings.tokens.leeway_s,
        )  # fmt: skip
        self._verifying = threading.Lock()
        self._tokens: TokenKeeper | None = None
        self._follower: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def services(self) -> Services:
        """The services; a database that was away is looked for again."""
        return self._standing.present

    def follow_catalog(self) -> None:
        """Take the catalog into force, and each new revision in a thread of its own."""
        loop = asyncio.new_event_loop()
        watch = CatalogWatch(self.services.snapshot_path, loop, prepare=lambda catalog: catalog, enforce=self._enforce)
        self._enforce(watch.load() or Catalog())
        self._follower = threading.Thread(target=self._follow, args=(watch, loop), name="catalog", daemon=True)
        self._follower.start()

    def close(self) -> None:
        """Write down what was issued, and let go of the services, at the end of the process."""
        self._ended.set()
        if self._follower is not None:
            self._follower.join()
        with self._keeping:
            if self._tokens is not None:
                self._tokens.close()
        self._standing.close()

    def _follow(self, watch: CatalogWatch[Catalog], loop: asyncio.AbstractEventLoop) -> None:
        async def look() -> None:
            while not self._ended.is_set():
                await asyncio.sleep(LOOK_S)
                watch.refresh()

        with closing(loop):
            loop.run_until_complete(look())

    def _enforce(self, catalog: Catalog) -> None:
        self.catalog = catalog

    # -- who asks

    def authenticated(self, shown: Shown, source: str) -> Client:
        """Return the client that *shown* is of, which asks from the address *source*.

        Raises InvalidClient, TooManyRequests when its secret was wrong too often, StoreUnavailable.
        """
        # Looked for whether or not there is such a client: how long the answer takes must not tell.
        services = self.services
        secret = services.credentials.check_secret(shown.client, shown.secret)
        if secret is None:
            self._attempts.failed(shown.client, source, time.monotonic())
            raise InvalidClient
        client = self.catalog.clients.get(shown.client)
        # One that went to another partner gets a new secret; that it has the name of a former one must not be enough.
        if client is None or client.partner != secret.partner:
            raise InvalidClient
        if services.revocations.disabled(client.name, client.partner):
            raise InvalidClient
        return client

    def caller(self, token: bytes, source: str) -> Caller:
        """Return whose *token* is, as the data plane would. Raises InvalidToken, TooManyRequests, StoreUnavailable."""
        with self._verifying:
            self._verifier.refresh()
            claims = self._verifier.claims(token, time.time(), source)
        return Caller(claims, recognise(claims, self.catalog.clients.get(claims.client)))

    def key(self, kid: str) -> Ed25519PublicKey | None:
        """Return the public key *kid* that tokens are verified with, None when it is not known."""
        # Once the database came back, the services have another keyring, which nobody looks for new keys with.
        return self._keyring.public(kid)

    # -- tokens

    def take_turn(self, client: Client) -> Fields:
        """Return the fields about the pace of *client*, which may have a token now.

        Raises TooManyRequests when it has got too many, StoreUnavailable when the disk has no room for one more.
        """
        if free_bytes(self.settings.store.directory) < self.settings.ledger.min_free_bytes:
            raise StoreUnavailable("there is not enough free space to issue a token", retry_after_s=SPACE_AGAIN_S)
        return self._pace.take(client.name)

    def issue(self, client: Client, scopes: Collection[str]) -> IssuedToken:
        """Return a token of *client* for *scopes*.

        Raises InvalidClient when it was disabled meanwhile, StoreUnavailable when the token cannot be written down.
        """
        services = self.services
        issuing = Issuing(
            services.keyring, services.revocations, self._keeper(services.database).keep, issuer=self.issuer,
            audience=self.issuer,
        )  # fmt: skip
        expires_s = self.settings.tokens.expires_s
        try:
            return issuing.issue(client, scopes=scopes, expires_s=expires_s, by=f"{client.name} (token endpoint)")
        except CallerDisabled as error:
            raise InvalidClient from error
        except Conflict as error:
            # Revoked for some seconds to come, because the clock went back: the client may try again.
            raise StoreUnavailable(str(error), retry_after_s=CLOCK_AGAIN_S) from error

    def owner(self, token: str) -> str | None:
        """Return the client that *token* was issued to, None when it is none of ours."""
        try:
            return read(self.services.keyring, token.encode()).client
        except InvalidToken:
            return None

    def revoke(self, token: str, actor: Actor) -> None:
        """Refuse *token* from now on, everywhere. Raises StoreUnavailable when that cannot be put on disk."""
        self.services.desk.revoke_token(token.encode(), actor=actor)

    def _keeper(self, database: Database) -> TokenKeeper:
        with self._keeping:
            if self._tokens is None:
                self._tokens = TokenKeeper(database)
            return self._tokens


def portal() -> Portal:
    """Return the portal of the application that serves the present request."""
    found: Portal = current_app.extensions["entrepot"]
    return found
