"""Which paths are the portal's, and how they are counted."""

import pytest

from entrepot.gateway.portal import is_portal_path, page_of


@pytest.mark.parametrize("path", [b"/oauth/token", b"/oauth/", b"/.well-known/jwks.json", b"/docs", b"/docs/a"])
def test_reserved_paths_go_to_the_portal(path):
    assert is_portal_path(path)


@pytest.mark.parametrize("path", [b"/oauth", b"/oauthx/a", b"/docsx", b"/v1/oauth/token", b"/.well-knownx"])
def test_other_paths_do_not(path):
    assert not is_portal_path(path)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        (b"/oauth/token", "/oauth/token"),
        (b"/oauth/made-up", "/oauth/{page}"),
        (b"/docs", "/docs"),
        (b"/docs/1/2", "/docs/{page}"),
        (b"/.well-known/x", "/.well-known/{page}"),
    ],
)
def test_made_up_page_makes_no_label_of_its_own(path, label):
    assert page_of(path) == label
