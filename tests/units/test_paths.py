"""gateway.paths: what the gateway matches is what an upstream sees."""

import pytest

from entrepot.errors import BadRequest
from entrepot.gateway.paths import can_stand_in_path, check_path, check_relayed


@pytest.mark.parametrize(
    "path",
    [
        b"/",
        b"/v1/orders",
        b"/v1/orders/",
        b"/v1/orders/a%20b",
        b"/caf%C3%A9",
        b"/v1/a.b/..c",
        b"/v1/~x;y=1",
        b"/a%2fb",
        b"/%7BA%7D",
    ],
)
def test_an_unambiguous_path_passes(path):
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [b"/a/../b", b"/a/./b", b"/..", b"/a/%2e%2e/b", b"/a/.%2E", b"/a\\b", b"//a", b"/a//b",
     b"/a%00", b"/a%0d%0a",
     b"/a%zz", b"/a%", b"/a%2", b"/%ff"],
)  # fmt: skip
def test_a_path_that_can_be_read_in_two_ways_is_refused(path):
    with pytest.raises(BadRequest):
        check_path(path)


@pytest.mark.parametrize("value", [b"a%2fb", b"a%5Cb", b"x/..%2f..%2fetc"])
def test_a_relay_passes_no_hidden_separator_on(value):
    with pytest.raises(BadRequest):
        check_relayed((value,))


def test_a_relay_passes_open_separators_and_other_escapes_on():
    check_relayed((b"a/b%20c", b"caf%C3%A9"))


@pytest.mark.parametrize(
    ("key", "can"), [("A/1", True), ("a?b", True), (".", False), ("..", False), ("", False), ("a\n", False)]
)
def test_a_key_that_no_path_can_hold_is_known(key, can):
    assert can_stand_in_path(key) is can
