"""gateway.paths: what the gateway matches is what an upstream sees."""

import pytest

from entrepot.errors import BadRequest
from entrepot.gateway.paths import check_path


@pytest.mark.parametrize(
    "path", [b"/", b"/v1/orders", b"/v1/orders/", b"/v1/orders/a%20b", b"/caf%C3%A9", b"/v1/a.b/..c", b"/v1/~x;y=1"]
)
def test_an_unambiguous_path_passes(path):
    check_path(path)


@pytest.mark.parametrize(
    "path",
    [b"/a/../b", b"/a/./b", b"/..", b"/a/%2e%2e/b", b"/a/.%2E", b"/a%2fb", b"/a%5cb", b"/a\\b", b"//a", b"/a//b",
     b"/a%00", b"/a%0d%0a",
     b"/a%zz", b"/a%", b"/a%2", b"/%ff"],
)  # fmt: skip
def test_a_path_that_can_be_read_in_two_ways_is_refused(path):
    with pytest.raises(BadRequest):
        check_path(path)
