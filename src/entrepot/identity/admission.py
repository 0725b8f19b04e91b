"""Who is let in: the rules that the data plane, the token endpoints and introspection share, so that none disagrees.

What a caller shows has become ``Claims`` before: a token whose signature is good, or an API key that is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from entrepot.chassis.networks import lies_in
from entrepot.errors import Forbidden, InvalidToken
from entrepot.identity.claims import Claims
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocations


def admit(claims: Claims, clients: Mapping[str, Client], revocations: Revocations) -> Client:
    """Return the client, of the *clients* of the catalog in force, that may come in with *claims*.

    Raises InvalidToken when one of the two rules below says no.
    """
    check_standing(claims, revocations)
    return recognise(claims, clients.get(claims.client))


def check_standing(claims: Claims, revocations: Revocations) -> None:
    """Pass when what was shown is not revoked, and neither its client nor its partner is disabled.

    Of a token it is enough to ask once, until ``revocations`` changes: ``Verifier`` does. Raises InvalidToken.
    """
    reason = revocations.refusal(claims)
    if reason:
        raise InvalidToken(reason)


def recognise(claims: Claims, client: Client | None) -> Client:
    """Return *client*, which the catalog has by the name in *claims*, when it belongs to the same partner still.

    Raises InvalidToken.
    """
    if client is None or client.partner != claims.partner:
        raise InvalidToken("the client is not known")
    return client


def check_network(client: Client, source: str) -> None:
    """Pass when *source* lies in a network that *client* may call from. Raises Forbidden."""
    if client.networks and not lies_in(client.networks, source):
        raise Forbidden(f"the client {client.name} may not call from this network")
