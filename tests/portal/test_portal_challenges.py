"""Who is not let in is told what to show, and of an error only when something was shown (RFC 6750, section 3.1)."""

import pytest

NOTHING_SHOWN = 'Bearer realm="entrepot"'
REFUSED = 'Bearer realm="entrepot", error="invalid_token"'


@pytest.mark.parametrize(
    ("authorization", "challenge"),
    [
        (None, NOTHING_SHOWN),
        ("", NOTHING_SHOWN),
        ("Basic c2hvcDpzZWNyZXQ=", NOTHING_SHOWN),
        ("Token x", NOTHING_SHOWN),
        ("Bearer", NOTHING_SHOWN),
        ("Bearer x", REFUSED),
        ("Bearer x y", REFUSED),
        ("Bearer a.b.c, Bearer a.b.c", REFUSED),
        ("Bearer a.b.c", REFUSED),
    ],
)
def test_challenge_says_of_an_error_only_when_a_token_was_shown(start_portal, authorization, challenge):
    headers = {} if authorization is None else {"Authorization": authorization}

    answer = start_portal().test_client().get("/oauth/whoami", headers=headers)

    assert (answer.status_code, answer.json["code"]) == (401, "invalid-token")
    assert answer.headers.get_all("WWW-Authenticate") == [challenge]
