from __future__ import annotations

from math import inf

import pytest

from entrepot.chassis.values import addresses, duration_or_never_s, duration_s, integer, networks, size_bytes, web_url


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("24h", 86400), ("7d", 604800), ("1.5s", 1.5)]
)
def test_a_duration_has_a_unit(text: str, seconds: float):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-1s", "1 s", "1h30m", "infs", "1e3s", "٣s", "5S"])
def test_what_is_no_duration_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a duration"):
        duration_s(text)


def test_what_may_never_come_is_a_duration_or_never():
    assert (duration_or_never_s("30s"), duration_or_never_s("Never")) == (30.0, inf)
    for text in ("", "0", "inf", "never again"):
        with pytest.raises(ValueError, match=r"must be a duration .*, or never$"):
            duration_or_never_s(text)


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("4096", 4096), ("1B", 1), ("64KiB", 65536), ("2GiB", 2 << 30)])
def test_a_size_may_have_a_unit(text: str, size: int):
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1kb", "1K", "-1", "1.5MiB", "0x10"])
def test_what_is_no_size_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a size"):
        size_bytes(text)


@pytest.mark.parametrize("text", ["", "1_0", "+1", " 1", "1e3", "٣", "9" * 30])
def test_what_python_alone_takes_for_a_number_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a whole number"):
        integer(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("::ffff:a00:1", "10.0.0.1/32"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::fffe:0:0/95", "::fffe:0:0/95"),
        ("::/0", "::/0"),
        ("fd00::/8", "fd00::/8"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_a_network_of_ipv4_is_one_however_it_is_written(text: str, meant: str):
    assert [str(network) for network in networks(text)] == [meant]


@pytest.mark.parametrize("text", ["", "8080", "host:", "host:70000", "unix:relative", "::1:80", "a:1 b"])
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(ValueError, match="must be host:port"):
        addresses(text)


def test_a_url_loses_the_slash_at_its_end():
    assert web_url("https://api.example.com/") == "https://api.example.com"
    assert web_url("") == ""


@pytest.mark.parametrize(
    "text",
    [
        "api.example.com",
        "http://",
        "https://u:p@x",
        "https://x?a=1",
        "https://x#a",
        "https://x y",
        "http://[",
        "http://x:99999",
    ],
)
def test_what_is_no_plain_url_is_refused(text: str):
    with pytest.raises(ValueError, match="must be a URL"):
        web_url(text)
