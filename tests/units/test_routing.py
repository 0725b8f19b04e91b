"""catalog.routing: templates, precedence, time."""

import pytest

from entrepot.catalog.routing import Router


def test_a_literal_wins_over_a_variable_and_a_variable_over_the_rest():
    router = Router([("/v1/orders/{id}", "one"), ("/v1/orders/summary", "summary"), ("/v1/{rest...}", "rest")])

    assert router.match(b"/v1/orders/7") == ("one", (b"7",))
    assert router.match(b"/v1/orders/summary") == ("summary", ())
    assert router.match(b"/v1/orders/7/lines") == ("rest", (b"orders/7/lines",))


def test_a_literal_that_leads_nowhere_gives_way_to_the_variable():
    router = Router([("/v1/orders/new/draft", "draft"), ("/v1/orders/{id}/confirm", "confirm")])

    assert router.match(b"/v1/orders/new/confirm") == ("confirm", (b"new",))


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/orders", "/v1/orders/", "/v1/orders/7/", "/v2/orders/7"])
def test_a_path_without_a_place_is_nothing(path):
    assert Router([("/v1/orders/{id}", "one")]).match(path.encode()) is None


def test_the_rest_is_at_least_one_character():
    router = Router([("/files/{rest...}", "file")])

    assert router.match(b"/files/") is None
    assert router.match(b"/files/a") == ("file", (b"a",))


@pytest.mark.parametrize("second", ["/a/{y}", "/a/{x}"])
def test_a_template_that_stands_twice_is_refused(second):
    with pytest.raises(ValueError, match="twice"):
        Router([("/a/{x}", 1), (second, 2)])
