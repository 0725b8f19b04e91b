"""What introspection says of what is no access token."""

from dataclasses import replace

import pytest
from portal_support import OPERATOR


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}, {"token_type_hint": "api_key"}])
@pytest.mark.parametrize("kind", ["api-key", "secret"])
def test_good_api_key_or_secret_is_no_token_of_oauth(services, shop, secret, ask, kind, hint):
    key = services.credentials.make(kind, replace(shop, api_keys=True), actor=OPERATOR).text

    answer = ask("/oauth/introspect", ("shop", secret), token=key, **hint)

    assert (answer.status_code, answer.json) == (200, {"active": False})
