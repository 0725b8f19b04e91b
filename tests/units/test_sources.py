"""gateway.sources: whose address is believed."""

from types import SimpleNamespace

import pytest

from entrepot.chassis.values import networks
from entrepot.gateway.sources import Sources, lies_in


def exchange(peer, **fields):
    given = {name.replace("_", "-").encode(): value.encode() for name, value in fields.items()}
    return SimpleNamespace(connection=SimpleNamespace(peer=peer), fields=given)


def test_a_peer_that_is_no_trusted_proxy_is_the_caller_whatever_it_says():
    sources = Sources(networks("10.0.0.0/8"))

    assert sources.source(exchange("192.0.2.1", x_forwarded_for="203.0.113.9")) == "192.0.2.1"
    assert sources.host_and_scheme(exchange("192.0.2.1", host="gw", x_forwarded_proto="https")) == (b"gw", b"http")


def test_behind_trusted_proxies_the_last_address_that_is_none_of_theirs_is_the_caller():
    sources = Sources(networks("10.0.0.0/8"))

    assert sources.source(exchange("10.0.0.1", x_forwarded_for="198.51.100.7, 203.0.113.9, 10.0.0.2")) == "203.0.113.9"
    assert sources.host_and_scheme(exchange("10.0.0.1", host="gw", x_forwarded_proto="https")) == (b"gw", b"https")


@pytest.mark.parametrize("chain", ["", "unknown", "203.0.113.9, garbage", "fe80::1%x client=root"])
def test_a_chain_that_says_nothing_leaves_the_proxy_itself(chain):
    assert Sources(networks("10.0.0.0/8")).source(exchange("10.0.0.1", x_forwarded_for=chain)) == "10.0.0.1"


@pytest.mark.parametrize(
    ("source", "inside"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", False),
        ("", False),
        ("unix", False),
        ("fe80::1", False),
    ],
)
def test_an_address_lies_in_a_network_however_it_is_written(source, inside):
    assert lies_in(networks("10.0.0.0/8"), source) is inside


def test_only_the_field_that_the_proxies_write_is_believed():
    sources = Sources(networks("10.0.0.0/8"), forwarded=True)
    others = Sources(networks("10.0.0.0/8"))
    told = exchange(
        "10.0.0.1", forwarded='for=198.51.100.7, for="[2001:db8::1]:4711";proto=https, for=10.0.0.2',
        x_forwarded_for="203.0.113.9", x_forwarded_proto="http",
    )  # fmt: skip

    assert (sources.source(told), sources.host_and_scheme(told)[1]) == ("2001:db8::1", b"https")
    assert (others.source(told), others.host_and_scheme(told)[1]) == ("203.0.113.9", b"http")


@pytest.mark.parametrize("node", ["203.0.113.9:80", "203.0.113.9"])
def test_a_port_is_no_part_of_an_address(node):
    assert Sources(networks("10.0.0.0/8")).source(exchange("10.0.0.1", x_forwarded_for=node)) == "203.0.113.9"


@pytest.mark.parametrize(("said", "host"), [("api.example.com", b"api.example.com"), ('a";evil="', b"gw"), ("", b"gw")])
def test_a_trusted_proxy_names_the_host_if_it_is_one(said, host):
    assert (
        Sources(networks("10.0.0.0/8")).host_and_scheme(exchange("10.0.0.1", host="gw", x_forwarded_host=said))[0]
        == host
    )
