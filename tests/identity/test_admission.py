"""Who is let in: what a token or an API key says, against the catalog, revocations and who is disabled."""

import pytest

from entrepot.errors import InvalidToken
from entrepot.identity.admission import admit
from entrepot.identity.claims import Claims
from entrepot.identity.partners import Client
from entrepot.identity.revocation import Revocation, Switch

CLIENTS = {"shop": Client("shop", "acme", frozenset({"orders.read"}))}


def shown(kid="k", **more):
    facts = {"client": "shop", "partner": "acme", "jti": "one", "issued_at": 100, **more}
    return Claims(scopes=frozenset(), expires_at=9e9, kid=kid, **facts)


@pytest.mark.parametrize("kid", ["k", ""], ids=["token", "API key"])
def test_a_client_of_the_catalog_comes_in(revocations, kid):
    assert admit(shown(kid), CLIENTS, revocations) is CLIENTS["shop"]


@pytest.mark.parametrize("more", [{"client": "gone"}, {"partner": "globex"}])
def test_a_client_that_is_gone_or_of_another_partner_now_does_not(revocations, more):
    with pytest.raises(InvalidToken, match="not known"):
        admit(shown(**more), CLIENTS, revocations)


@pytest.mark.parametrize("kid", ["k", ""], ids=["token", "API key"])
@pytest.mark.parametrize(
    "entry",
    [
        Revocation("client", "shop", 1.0, 9e9, cutoff=100),
        Revocation("partner", "acme", 1.0, 9e9, cutoff=100),
        Revocation("all", "", 1.0, 9e9, cutoff=100),
        Switch("client", "shop", disabled=True, at=1.0),
        Switch("partner", "acme", disabled=True, at=1.0),
    ],
    ids=lambda entry: f"{type(entry).__name__} of {entry.kind}",
)
def test_whatever_ends_a_token_ends_an_api_key(revocations, kid, entry):
    revocations.add(entry)

    with pytest.raises(InvalidToken, match=r"revoked|disabled"):
        admit(shown(kid), CLIENTS, revocations)


def test_a_token_and_an_api_key_of_one_id_are_revoked_apart(revocations):
    revocations.add(Revocation("jti", "one", 1.0, 9e9))
    revocations.add(Revocation("key", "two", 1.0, 9e9))

    with pytest.raises(InvalidToken):
        admit(shown(jti="one"), CLIENTS, revocations)
    with pytest.raises(InvalidToken):
        admit(shown("", jti="two"), CLIENTS, revocations)
    assert admit(shown(jti="two"), CLIENTS, revocations)
    assert admit(shown("", jti="one"), CLIENTS, revocations)
