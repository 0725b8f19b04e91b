"""gateway.sources: whose address is believed."""

from time import process_time
from types import SimpleNamespace

import pytest

from entrepot.chassis.values import networks
from entrepot.gateway.sources import Sources, lies_in

BEHIND = Sources(networks("10.0.0.0/8"), forwarded=True)


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


@pytest.mark.parametrize(
    "chain", ["unknown", "203.0.113.9, garbage", "203.0.113.9,", "fe80::1%x client=root", "_hidden"]
)
@pytest.mark.parametrize("peer", ["10.0.0.1", "127.0.0.1"])
def test_a_caller_whose_address_cannot_be_read_lies_in_no_network(peer, chain):
    sources = Sources(networks("10.0.0.0/8 127.0.0.1"))

    source = sources.source(exchange(peer, x_forwarded_for=chain))

    assert source == ""
    assert not lies_in(networks("0.0.0.0/0 ::/0"), source)


def test_a_proxy_that_names_nobody_asks_for_itself():
    told = [exchange("10.0.0.1"), exchange("10.0.0.1", x_forwarded_for="", forwarded="")]

    assert {Sources(networks("10.0.0.0/8")).source(each) for each in told} == {"10.0.0.1"}
    assert {BEHIND.source(each) for each in told} == {"10.0.0.1"}


def test_of_trusted_proxies_alone_the_first_asks_for_itself():
    sources = Sources(networks("10.0.0.0/8 127.0.0.1"))

    assert sources.source(exchange("127.0.0.1", x_forwarded_for="10.0.0.3, 10.0.0.2")) == "10.0.0.3"


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


def told(value):
    """Return what the proxy at 10.0.0.1 says by *value*: whose address, what host and scheme."""
    said = exchange("10.0.0.1", host="gw", forwarded=value)
    return BEHIND.source(said), *(each.decode() for each in BEHIND.host_and_scheme(said))


@pytest.mark.parametrize(
    ("value", "source"),
    [
        # RFC 7239, sections 4, 6 and 7.1
        ('for="_gazonk"', ""),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("for=192.0.2.60; proto=http; by=203.0.113.43", "192.0.2.60"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
        ("for=_SEVKISEK", ""),
        ('for="192.0.2.43:47011"', "192.0.2.43"),
        ('for="192.0.2.43:_port"', "192.0.2.43"),
        ('for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown', ""),
        ("for=_hidden, for=_SEVKISEK", ""),
        ("for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http;host=example.com", "198.51.100.17"),
        # what proxies write
        ("host=api.example.com;proto=https;for=192.0.2.1", "192.0.2.1"),
        ('host=api.example.com;proto=https;for="[2001:db8::1]"', "2001:db8::1"),
        ('proto=https;host="api.example.com:8443";by="[::1]";for="192.0.2.1:5"', "192.0.2.1"),
        ("for=192.0.2.1;host=api.example.com:8443", "192.0.2.1"),
        ("for=[2001:db8::1]:4711;proto=https", "2001:db8::1"),
        ("for=2001:db8::1;proto=https", "2001:db8::1"),
        ('for="::ffff:192.0.2.1"', "192.0.2.1"),
        ('for=192.0.2.1;x-id_2="a=b, c;d"', "192.0.2.1"),
        # blanks, and elements that are empty
        ("FOR=192.0.2.1", "192.0.2.1"),
        ("for=192.0.2.1 ;\tproto=https", "192.0.2.1"),
        ("for=198.51.100.7\t,\tfor=192.0.2.1", "192.0.2.1"),
        (", ,;for=198.51.100.7,, ,for=192.0.2.1;;proto=http; ,,", "192.0.2.1"),
        # two proxies that are trusted
        ("for=198.51.100.7, for=192.0.2.1, for=10.0.0.2", "192.0.2.1"),
        ('for=192.0.2.1;by=_a, by=_b;for="10.0.0.2:80", for=10.0.0.3', "192.0.2.1"),
        ("for=unknown, for=10.0.0.2", ""),
        ("for=, for=10.0.0.2", ""),
    ],
)
def test_what_an_honest_proxy_writes_is_understood(value, source):
    assert told(value)[0] == source


TRICKS = [
    "for=10.1.1.1",
    'for="10.1.1.1',
    'for="[10.1.1.1]',
    'for="10.1.1.1"',
    'x="',
    '"',
    '""',
    "\\",
    'x="\\"',
    'x="\\", for=10.1.1.1;y="',
    'for=10.1.1.1;x="\\',
    "for=10.1.1.1;",
    "for=10.1.1.1,",
    "for=10.1.1.1;for",
    "for=10.1.1.1;for=",
    "for",
    "for=",
    "=",
    "for=10.1.1.1\t",
    "for=10.1.1.1 x",
    "FOR=10.1.1.1;host=evil.example;proto=https",
    "for=unknown",
    "for=_hidden",
    'for=10.1.1.1, x="a, b',
    "",
]


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ('for="203.0.113.9:4711"', "203.0.113.9"),
        ('for="[2001:db8::9]"', "2001:db8::9"),
        ('for="[2001:db8::9]:4711"', "2001:db8::9"),
        ('host="api.example.com";proto=http;for="[2001:db8::9]"', "2001:db8::9"),
        ('for=203.0.113.9;host="a;for=10.1.1.1"', "203.0.113.9"),
        ('for=203.0.113.9;host="a, for=10.1.1.1"', "203.0.113.9"),
        ("for=203.0.113.9, for=10.0.0.2", "203.0.113.9"),
    ],
)
@pytest.mark.parametrize("trick", TRICKS)
def test_what_a_caller_wrote_before_its_proxy_changes_nothing(trick, own, source):
    assert told(f"{trick}, {own}") == told(own)
    assert told(own)[0] == source


@pytest.mark.parametrize("trick", TRICKS)
def test_what_a_caller_wrote_never_makes_it_one_of_the_network_when_its_proxy_hides_it(trick):
    assert {told(f"{trick}, {own}")[0] for own in ("for=unknown", "for=_x", "proto=https", "by=_x;for=")} == {""}


@pytest.mark.parametrize(
    "value",
    [
        'for=203.0.113.9;host="a";for="10.1.1.1"',
        'for="10.1.1.1";for=203.0.113.9',
        'for=203.0.113.9;host="a"b"',
        'for=203.0.113.9;host="a\\"b"',
        'for="10.1.1.1\\"',
        "for=10.1.1.1 proto=https",
        "for = 10.1.1.1",
        "for=10.1.1.1=",
        "for=10.1.1.1\xa0",
        "10.1.1.1",
        'for="10.1.1.1, 10.1.1.2"',
        "for=010.1.1.1",
        "for=fe80::1%eth0",
    ],
)
def test_a_malformed_word_of_the_proxy_itself_is_an_unknown_caller(value):
    assert told(value)[0] == ""


@pytest.mark.parametrize(
    ("value", "host", "scheme"),
    [
        ("for=192.0.2.1;proto=HTTPS;host=api.example.com", "api.example.com", "https"),
        ("for=192.0.2.1;proto=https, for=10.0.0.2", "gw", "https"),
        ("for=192.0.2.1;proto=https;host=a, for=10.0.0.2;proto=http;host=b", "b", "http"),
        ("for=10.1.1.1;proto=https;host=evil, for=192.0.2.1", "gw", "http"),
        ('for=192.0.2.1;proto="https";host="api.example.com:8443"', "api.example.com:8443", "https"),
        ("for=192.0.2.1;proto=https;proto=http;host=a;host=b", "gw", "http"),
        ('for=192.0.2.1;host="a b"', "gw", "http"),
        ('proto=https;host=evil;x=", for=192.0.2.1', "gw", "http"),
    ],
)
def test_host_and_scheme_are_of_the_nearest_proxy_that_says_them_and_never_the_callers(value, host, scheme):
    assert told(value)[1:] == (host, scheme)


@pytest.mark.parametrize(
    "hostile",
    [
        b'"', b'\\"', b"for=", b'="', b"for=10.0.0.2,", b"a", b",", b"; ", b'a="b";', b" ", b"\t=", b'"for=', b"=a;b",
        b'x="', b"for=10.0.0.2;host=a,",
    ],
)  # fmt: skip
def test_time_grows_with_the_length_of_the_header_and_no_faster(hostile):
    def spent_s(size):
        text = hostile * (size // len(hostile)) + b", for=10.0.0.2"
        said = SimpleNamespace(connection=SimpleNamespace(peer="10.0.0.1"), fields={b"forwarded": text})
        begun = process_time()
        BEHIND.source(said), BEHIND.host_and_scheme(said)
        return process_time() - begun

    # Of 256 KiB, 32 times what a header may have: quadratic, it would take minutes.
    assert spent_s(262_144) < 5.0
