"""The keys of upstreams, partners and clients, and of the small objects that several kinds share."""

from __future__ import annotations

from typing import Any

from entrepot.catalog import values as v
from entrepot.catalog.definitions import CachePolicy
from entrepot.catalog.keys import BAD, Key, Spot, Table, Values, describe, leaf, list_of, mapping_of, object_of, read
from entrepot.catalog.tree import Node, plain
from entrepot.chassis.limits import Rate
from entrepot.connectors.base import Auth, BreakerPolicy, Probe
from entrepot.identity.partners import Quota
from entrepot.ledger.retry import RetryPolicy

DAY_S = 86_400.0
ODOO_CONTEXT = {"tz": "UTC", "lang": "en_US"}
ODOO_CONCURRENCY, HTTP_CONCURRENCY = 8, 256


def json_mapping(node: Node, spot: Spot) -> Any:
    """Return *node*, a mapping of names to any JSON. A parser of keys."""
    if not isinstance(node.value, dict):
        return spot.wrong(node, f"must be a mapping of names to values; it is {describe(node)}")
    return plain(node)


def _auth(node: Node, spot: Spot) -> Any:
    before = len(spot.mistakes)
    values = read(AUTH, node, spot)
    if not isinstance(values, Values) or len(spot.mistakes) > before:
        return BAD
    if len(values.given) != 1:
        return spot.wrong(node, "must be exactly one of bearer, basic and header")
    return next(value for value in values.found.values() if value is not None)


def _bearer(value: Any) -> Auth:
    return Auth("bearer", v.secret(value))


RATE = Table(
    "a rate",
    (
        Key("per_second", leaf(v.number_above_zero), "requests a second in the long run", required=True),
        Key("burst", leaf(v.whole(1, 1_000_000)), "requests at once after a pause", required=True),
    ),
)
rate = object_of(RATE, lambda found: Rate(found["per_second"], found["burst"]))

QUOTA = Table(
    "a quota",
    (Key("day", leaf(v.whole(1, 1_000_000_000)), "requests in a day of UTC", required=True),),
)
quota = object_of(QUOTA, lambda found: Quota(found["day"]))

CACHE = Table(
    "a cache policy",
    (
        Key("fresh", leaf(v.duration(0.0, 30 * DAY_S)), "how long an answer is served without asking", required=True),
        Key(
            "stale_if_error",
            leaf(v.duration(0.0, 30 * DAY_S)),
            "how much longer it is served when the upstream fails",
            default=0.0,
            shown="0s",
        ),
    ),
)
cache = object_of(CACHE, lambda found: CachePolicy(found["fresh"], found["stale_if_error"]))

RETRY = Table(
    "a retry policy",
    (
        Key("first", leaf(v.duration(0.05, DAY_S)), "longest wait after the first failure", default=2.0, shown="2s"),
        Key("factor", leaf(v.factor), "by which it grows", default=2.0, shown="2"),
        Key("ceiling", leaf(v.duration(0.05, 30 * DAY_S)), "beyond which it does not", default=600.0, shown="10m"),
        Key("age", leaf(v.duration(1.0, 365 * DAY_S)), "after which it is given up", default=3 * DAY_S, shown="3d"),
    ),
)
retry = object_of(RETRY, lambda found: RetryPolicy(found["first"], found["factor"], found["ceiling"], found["age"]))

BREAKER = Table(
    "a breaker",
    (
        Key("failures", leaf(v.whole(1, 1000)), "failures in a row that open it", default=5, shown="5"),
        Key("open", leaf(v.duration(0.1, DAY_S)), "how long the upstream is left alone", default=10.0, shown="10s"),
    ),
)

PROBE = Table(
    "a probe",
    (
        Key("path", leaf(v.probe_path), "what is asked for by GET (HTTP upstreams)"),
        Key("every", leaf(v.duration(0.5, DAY_S)), "how often", default=10.0, shown="10s"),
    ),
)

BASIC = Table(
    "a user and password",
    (
        Key("user", leaf(v.text), "the user's name", required=True),
        Key("password", leaf(v.secret), "where the password is", required=True),
    ),
)
HEADER = Table(
    "a header field with a secret",
    (
        Key("name", leaf(v.header_name), "the field's name", required=True),
        Key("value", leaf(v.secret), "where its value is", required=True),
    ),
)
AUTH = Table(
    "an account at an HTTP upstream",
    (
        Key("bearer", leaf(_bearer), "a bearer token"),
        Key(
            "basic", object_of(BASIC, lambda found: Auth("basic", found["password"], user=found["user"])), "HTTP Basic"
        ),
        Key("header", object_of(HEADER, lambda found: Auth("header", found["value"], name=found["name"])), "any field"),
    ),
)
headers = mapping_of(leaf(v.header_value), "header fields and their values", v.open_header_name)

UPSTREAM = Table(
    "an upstream",
    (
        Key("kind", leaf(v.one_of("odoo", "http")), "odoo or http", required=True),
        Key("url", leaf(v.base_url), "base URL", required=True),
        Key("timeout", leaf(v.duration(0.05, 3600.0)), "for a whole answer", default=20.0, shown="20s"),
        Key("connect_timeout", leaf(v.duration(0.05, 300.0)), "for a connection", default=3.0, shown="3s"),
        Key(
            "concurrency",
            leaf(v.whole(1, 100_000)),
            "calls in flight on this host altogether",
            shown="8 odoo, 256 http",
        ),
        Key("waiting", leaf(v.whole(0, 1_000_000)), "how many may wait for a place", default=256, shown="256"),
        Key("wait", leaf(v.duration(0.0, 3600.0)), "how long each may wait", default=2.0, shown="2s"),
        Key(
            "breaker",
            object_of(BREAKER, lambda found: BreakerPolicy(found["failures"], found["open"])),
            "when the upstream is left alone; shared by all processes of the host",
            default=BreakerPolicy(),
            shown="{failures: 5, open: 10s}",
        ),
        Key("ca", leaf(v.absolute_file), "file with a private CA", shown="of the system"),
        Key(
            "verify",
            leaf(v.boolean),
            "false leaves TLS unchecked, and warns on every start",
            default=True,
            shown="true",
        ),
        Key(
            "probe",
            object_of(PROBE, lambda found: Probe(found["path"], found["every"])),
            "how the upstream is asked whether it is well",
            shown="Odoo: common.version; http: none",
        ),
        Key(
            "settle",
            leaf(v.duration(0.0, DAY_S)),
            "how long it may work on a call after a time-out",
            default=130.0,
            shown="130s",
        ),
        Key("database", leaf(v.text), "Odoo's database", required=True, kinds=("odoo",)),
        Key("login", leaf(v.text), "the gateway's own account", required=True, kinds=("odoo",)),
        Key("secret", leaf(v.secret), "where its password or API key is", required=True, kinds=("odoo",)),
        Key(
            "protocol",
            leaf(v.one_of("auto", "jsonrpc")),
            "how Odoo is spoken to",
            default="auto",
            shown="auto",
            kinds=("odoo",),
        ),
        Key(
            "context",
            json_mapping,
            "sent with every call, over the default",
            default={},
            shown="{tz: UTC, lang: en_US}",
            kinds=("odoo",),
        ),
        Key("auth", _auth, "the gateway's own account", shown="none", kinds=("http",)),
        Key("headers", headers, "added to every request", default={}, kinds=("http",)),
    ),
)

CLIENT = Table(
    "a client",
    (
        Key("scopes", list_of(leaf(v.scope), "scopes", least=0), "what its tokens may do", required=True),
        Key("rate", rate, "its own limit", shown="none"),
        Key("quota", quota, "how much it may ask for in a day", shown="none"),
        Key("networks", list_of(leaf(v.network), "networks"), "where it may call from", default=(), shown="any"),
        Key("api_keys", leaf(v.boolean), "may use API keys", default=False, shown="false"),
        Key("plan", leaf(v.name), "a plan, whose rate and quota hold where it has none of its own", shown="none"),
    ),
)

PLAN = Table(
    "a plan",
    (
        Key("rate", rate, "the limit of each client that has the plan", shown="none"),
        Key("quota", quota, "how much each of them may ask for in a day", shown="none"),
    ),
)

PARTNER = Table(
    "a partner",
    (
        Key("name", leaf(v.text), "the company's name", required=True),
        Key(
            "values",
            mapping_of(leaf(v.plain_value), "values for templates", v.value_key),
            "what {partner.KEY} stands for",
            default={},
        ),
        Key("clients", mapping_of(lambda node, _: node, "clients", v.name), "its programs, by name", default={}),
        Key("max_queued", leaf(v.whole(0, 100_000_000)), "writes that may wait", default=100_000, shown="100000"),
        Key("max_queued_bytes", leaf(v.size(2**40)), "bytes that may wait", default=2**30, shown="1GiB"),
    ),
)
