import json

import pytest

BASE = {
    "upstreams": {
        "erp": {"kind": "odoo", "url": "http://erp", "database": "d", "login": "l", "secret": "env:ERP"},
        "web": {"kind": "http", "url": "http://web"},
    },
    "endpoints": {
        "contacts": {
            "path": "/v1/contacts",
            "upstream": "erp",
            "model": "res.partner",
            "fields": {"name": "name", "mail": "email"},
            "scopes": ["all"],
        },
        "push": {
            "path": "/v1/contacts/{id}/push",
            "upstream": "erp",
            "call": "res.partner.push",
            "where": [["active", "=", True]],
        },
        "pass": {"path": "/v1/pass/{rest...}", "upstream": "web", "relay": "/{rest}", "methods": ["GET"]},
    },
    "partners": {
        "a": {"name": "A", "values": {"contact": 1, "lang": "de"}, "clients": {"shop": {"scopes": ["all"]}}},
        "b": {"name": "B", "values": {"contact": 2}, "clients": {"till": {"scopes": ["other"]}}},
    },
}


MAIL = "endpoints/contacts/fields/mail"


def changed(path: str, value):
    """Return BASE with *value* at the dotted *path*; None takes away what is there."""
    document = json.loads(json.dumps(BASE))
    *steps, last = path.split("/")
    node = document
    for step in steps:
        node = node.setdefault(step, {})
    if value is None:
        del node[last]
    else:
        node[last] = value
    return json.dumps(document)


@pytest.fixture
def told(mistakes):
    """Return what a change of BASE is told, without the line, which is always the first."""

    def check(path, value):
        return {place.removeprefix("1: "): message for place, message in mistakes(changed(path, value)).items()}

    return check


def test_the_base_of_these_tests_is_right(told):
    assert told("endpoints/contacts/summary", "Contacts") == {}


@pytest.mark.parametrize(
    ("path", "value", "place", "message"),
    [
        ("endpoints/contacts/upstream", "web", "upstream", "`web` is HTTP: use `relay`"),
        ("endpoints/pass/upstream", "erp", "upstream", "`erp` is Odoo: use `model` or `call`"),
        ("endpoints/contacts/model", None, "", "needs `model`, `call` or `relay`"),
        ("endpoints/contacts/fields", None, "", "`fields` is missing"),
        ("endpoints/contacts/path", "/v1/{a}/{a}", "path", "twice"),
        ("endpoints/contacts/path", "/v1/{rest...}/x", "path", "must stand last"),
        ("endpoints/contacts/path", "/v1/x{a}", "path", "fills a whole segment"),
        ("endpoints/contacts/path", "/v1//x", "path", "empty segment"),
        ("endpoints/contacts/path", "/v1/%41", "path", "unescaped"),
        ("endpoints/contacts/path", "/status", "path", "below /status"),
        ("endpoints/contacts/path", "/v1/contacts/{id}", "path", "by adding /{id}"),
        ("endpoints/contacts/path", "/v1/{rest...}", "path", "only a relay"),
        ("endpoints/contacts/aliases", ["/v1/people/{x}"], "aliases.0", "the same path values"),
        ("endpoints/contacts/aliases", ["/v1/contacts"], "aliases.0", "this endpoint itself"),
        ("endpoints/contacts/key", "nam", "key", "did you mean `name`?"),
        ("endpoints/contacts/search", ["phone"], "search", "no public field"),
        ("endpoints/contacts/sort", ["id", "mial"], "sort", "did you mean `mail`?"),
        (MAIL, {"from": "email", "read_only": True, "write_only": True}, "fields.mail", "no one"),
        (MAIL, {"from": "email", "required": True, "default": 1}, "fields.mail", "never acts"),
        (MAIL, "a.b.c", "fields.mail.from", "two steps"),
        (MAIL, {"type": "char"}, "fields.mail", "`from` is missing"),
        (MAIL, {"from": "x_ids", "fields": {}}, "fields.mail", "at least one field"),
        (MAIL, {"from": "email", "enum": ["a", "a"]}, "fields.mail.enum.1", "twice"),
        ("endpoints/contacts/fields/id", "code", "fields.id", "Odoo's id alone"),
        ("endpoints/contacts/context", [1], "context", "a mapping"),
        ("endpoints/contacts/where", [["a", "in", 5]], "where.0.2", "wants a list"),
        ("endpoints/contacts/where", [["a", "=", [5]]], "where.0.2", "`in` takes a list"),
        ("endpoints/contacts/where", ["&", ["a", "=", 5]], "where", "lacks 1 of its terms"),
        ("endpoints/contacts/where", ["x"], "where.0", '"&", "|", "!"'),
        ("endpoints/contacts/where", [["a-b", "=", 5]], "where.0.0", "an Odoo field"),
        ("endpoints/contacts/where", [["a", "=", "{client"]], "where.0.2", "a brace stands alone"),
        ("endpoints/contacts/where", [["a", "=", "{thing}"]], "where", "no value `thing`"),
        ("endpoints/contacts/where", [["a", "=", "{partner.contatc}"]], "where", "did you mean `contact`?"),
        ("endpoints/contacts/set", {"parent-id": 1}, "set.parent-id", "an Odoo field"),
        ("endpoints/contacts/set", {"id": 1}, "set", "cannot be forced"),
        ("endpoints/contacts/cache", {}, "cache", "`fresh` is missing"),
        ("endpoints/contacts/cache", {"fresh": "99d"}, "cache.fresh", "from 0s to 30d"),
        ("endpoints/push/call", "action_confirm", "call", "a model and its method"),
        ("endpoints/push/path", "/v1/push", "where", "the path has no {id}"),
        ("endpoints/push/method", "SEND", "method", "one of GET"),
        ("endpoints/push/cache", {"fresh": "1s"}, "cache", "nothing is read"),
        ("endpoints/push/fields", {"a": "b"}, "fields", "for a model only; this is a call"),
        ("endpoints/push/arguments", {"a": {"type": "strng"}}, "arguments.a.type", "one of string"),
        ("endpoints/push/arguments", {"a": {"template": 1, "type": "string"}}, "arguments.a", "not both"),
        ("endpoints/pass/relay", "/{other}", "relay", "no value `other`"),
        ("endpoints/pass/relay", "/a?b=c", "relay", "without space, query"),
        ("endpoints/pass/relay", "/a/../b", "relay", "segments"),
        ("endpoints/pass/methods", [], "methods", "at least 1"),
        ("endpoints/pass/body", {"schema": {}}, "body", "none of the methods has a body"),
        ("endpoints/contacts/write", "queue", "write", "nothing is written here"),
        ("endpoints/contacts/write", "auto", "write", "nothing is written here"),
        ("endpoints/contacts/write", "later", "write", "one of direct, queue, auto"),
        ("endpoints/contacts/patience", 2, "patience", "a duration"),
        ("endpoints/contacts/patience", "2h", "patience", "from 0s to 1h"),
        ("endpoints/contacts/idempotency", True, "idempotency", "optional or required"),
        ("endpoints/contacts/order", "client", "order", "record, partner, endpoint, none, or field:"),
        ("endpoints/contacts/order", "field:", "order", "record, partner, endpoint, none, or field:"),
        ("endpoints/contacts/order", ["record"], "order", "it is a list"),
        ("endpoints/contacts/order", "field:nmae", "order", "no field `nmae`; did you mean `name`?"),
        ("endpoints/contacts/order", "field:email", "order", "no field `email`; did you mean `mail`?"),
        ("endpoints/contacts/order", "field:id", "order", "no field `id`"),
        ("endpoints/push/order", "field:note", "order", "no field `note`"),
        ("endpoints/pass/order", "field:note", "order", "no field `note`"),
        ("endpoints/contacts/retry", {"first": "2m", "ceiling": "90s"}, "retry", "`ceiling`, 90s"),
        ("endpoints/contacts/retry", {"first": "11m"}, "retry", "at most `ceiling`, 10m"),
        ("endpoints/contacts/retry", {"ceiling": "1s"}, "retry", "`first` is 2s"),
        ("endpoints/contacts/retry", {"factor": 0.5}, "retry.factor", "from 1 to 100"),
        ("endpoints/contacts/retry", {"age": "0s"}, "retry.age", "from 1s to 365d"),
        ("endpoints/contacts/retry", {"times": 5}, "retry.times", "a retry policy has no key `times`"),
        ("endpoints/contacts/retry", "2s", "retry", "must be a retry policy: a mapping"),
        ("endpoints/contacts/guard", [["a", "=", 1]], "guard", "for a call only; this is a model"),
        ("endpoints/push/guard", [], "guard", "looks at no field"),
        ("endpoints/push/guard", [[1, "=", 1]], "guard", "looks at no field"),
        ("endpoints/push/guard", [["a", "==", 1]], "guard.0.1", "no operator of Odoo"),
        ("endpoints/push/guard", [["a", "=", "{thing}"]], "guard", "no value `thing`"),
        ("endpoints/pass/headers", {"add": {"Host": "x"}}, "headers.add.Host", "belongs to the connection"),
        ("endpoints/pass/headers", {"add": {"X-Api-Key": "x"}}, "headers.add.X-Api-Key", "use `auth`"),
        ("endpoints/pass/headers", {"add": {"X-A": "x\ny"}}, "headers.add.X-A", "without line ends"),
    ],
)  # fmt: skip
def test_what_an_endpoint_must_not_say(told, path, value, place, message):
    name = path.split("/")[1]
    found = told(path, value)

    assert list(found) == [f"endpoints.{name}.{place}".rstrip(".")]
    assert message in next(iter(found.values()))


@pytest.mark.parametrize(
    ("path", "value", "place", "message"),
    [
        ("upstreams/web/probe", {"every": "5s"}, "upstreams.web.probe", "needs a `path`"),
        ("upstreams/erp/probe", {"path": "/x"}, "upstreams.erp.probe", "common.version"),
        ("upstreams/web/auth", {"bearer": "abc"}, "upstreams.web.auth.bearer", "where the secret is"),
        ("upstreams/web/auth", {"bearer": "credential:master-key"}, "upstreams.web.auth.bearer", "the master key"),
        ("upstreams/erp/secret", "file:/etc/entrepot/credentials/master-key", "upstreams.erp.secret", "the master key"),
        ("upstreams/web/auth", {}, "upstreams.web.auth", "exactly one"),
        ("upstreams/web/headers", {"Authorization": "x"}, "upstreams.web.headers.Authorization", "use `auth`"),
        ("upstreams/web/settle", "2d", "upstreams.web.settle", "from 0s to 1d"),
        ("upstreams/erp/kind", "odo", "upstreams.erp.kind", "odoo or http"),
        ("upstreams/erp/kind", None, "upstreams.erp", "`kind` is missing"),
        ("upstreams/erp/protocol", "xmlrpc", "upstreams.erp.protocol", "auto or jsonrpc"),
        ("upstreams/erp/concurrency", True, "upstreams.erp.concurrency", "a whole number"),
        ("upstreams/a b", {"kind": "http", "url": "http://x"}, "upstreams.a b", "must be a name"),
        ("upstreams/erp", [], "upstreams.erp", "must be an upstream: a mapping"),
        ("partners/a/values", {"contact": {"a": 1}, "lang": 1}, "partners.a.values.contact", "a text, a number"),
        (
            "partners/a/clients/shop",
            {"scopes": ["all"], "networks": ["x"]},
            "partners.a.clients.shop.networks.0",
            "10.0.0.0/8",
        ),
        ("partners/a/clients", {"shop": {}}, "partners.a.clients.shop", "`scopes` is missing"),
        ("partners/a/name", None, "partners.a", "`name` is missing"),
        ("partners/a/max_queued", -1, "partners.a.max_queued", "from 0 to 100000000"),
        ("partners/a/max_queued", "5", "partners.a.max_queued", "a whole number"),
        ("partners/a/max_queued_bytes", "0KiB", "partners.a.max_queued_bytes", "from 1B to 1024GiB"),
        ("partners/a/max_queued_bytes", "lots", "partners.a.max_queued_bytes", "a size such as"),
    ],
)  # fmt: skip
def test_what_upstreams_and_partners_must_not_say(told, path, value, place, message):
    found = told(path, value)

    assert list(found) == [place]
    assert message in found[place]


def test_a_guard_needs_the_id_of_a_record_in_the_path(told):
    push = {"path": "/v1/push", "upstream": "erp", "call": "res.partner.push", "guard": [["active", "=", True]]}

    assert told("endpoints/push", push) == {"endpoints.push.guard": "is asked of one record, and the path has no {id}"}
    assert told("endpoints/push", {**push, "path": "/v1/{id}/push"}) == {}


def test_a_guard_is_filled_for_every_partner_that_may_call(told):
    push = {**BASE["endpoints"]["push"], "guard": [["lang", "=", "{partner.lang}"]], "scopes": ["other"]}

    assert told("endpoints/push", push) == {
        "endpoints.push.guard": "{partner.lang}: the partners b may call this and have no value `lang`"
    }


@pytest.mark.parametrize("write", ["queue", "auto"])
@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("endpoints/push", {"path": "/v1/ask", "upstream": "erp", "call": "res.partner.ask", "method": "GET"}),
        ("endpoints/pass", {"path": "/v1/pass", "upstream": "web", "relay": "/", "methods": ["GET"]}),
        ("endpoints/contacts", {**BASE["endpoints"]["contacts"], "operations": ["list"]}),
    ],
)
def test_what_only_reads_cannot_be_queued(told, path, endpoint, write):
    name = path.partition("/")[2]

    assert told(path, {**endpoint, "write": "direct"}) == {}
    assert list(told(path, {**endpoint, "write": write})) == [f"endpoints.{name}.write"]


@pytest.mark.parametrize("operation", ["create", "update", "delete"])
def test_whatever_writes_can_be_queued_also_by_odoos_own_id(told, operation):
    endpoint = {**BASE["endpoints"]["contacts"], "operations": ["read", operation], "write": "queue"}

    assert told("endpoints/contacts", endpoint) == {}


def test_order_goes_by_what_a_body_can_say(told):
    fields = {"name": "name", "number": {"from": "ref", "read_only": True}, "rows": {"from": "x", "fields": {"a": "b"}}}
    contacts = {**BASE["endpoints"]["contacts"], "fields": fields, "operations": ["create"]}
    push = {**BASE["endpoints"]["push"], "arguments": {"note": {"body": "text"}, "who": "{client}"}}
    relay = {**BASE["endpoints"]["pass"], "methods": ["POST"], "body": {"schema": {"properties": {"ref": {}}}}}

    for name, endpoint, right, wrong in (
        ("contacts", contacts, ("name",), ("number", "rows", "id")),
        ("push", push, ("text",), ("note", "who")),
        ("pass", relay, ("ref",), ("reff", "properties")),
    ):
        for field in right:
            assert told(f"endpoints/{name}", {**endpoint, "order": f"field:{field}"}) == {}
        for field in wrong:
            found = told(f"endpoints/{name}", {**endpoint, "order": f"field:{field}"})
            assert list(found) == [f"endpoints.{name}.order"]


def test_patience_ends_before_the_upstream_is_given_up(told):
    contacts = {**BASE["endpoints"]["contacts"], "operations": ["create"], "write": "auto"}

    assert told("endpoints/contacts", {**contacts, "patience": "19s"}) == {}
    assert told("endpoints/contacts", {**contacts, "patience": "20s"}) == {
        "endpoints.contacts.patience": "`auto` waits 20s, and `erp` is given up after 20s:"
        " `patience` must be shorter than its `timeout`"
    }
    assert told("endpoints/contacts", {**contacts, "patience": "1m", "write": "queue"}) == {}


def test_the_patience_that_nobody_wrote_is_checked_too(mistakes):
    document = json.loads(changed("upstreams/erp/timeout", "2s"))
    assert mistakes(json.dumps(document)) == {}

    document["endpoints"]["contacts"] |= {"operations": ["create"], "write": "auto"}

    assert list(mistakes(json.dumps(document))) == ["1: endpoints.contacts"]


@pytest.mark.parametrize("name", ["contacts", "push", "pass"])
def test_a_body_that_is_stored_is_bounded(told, name):
    endpoint = {**BASE["endpoints"][name], "max_body": "17MiB"}
    endpoint |= {"operations": ["create"]} if name == "contacts" else {}
    endpoint |= {"methods": ["PUT"]} if name == "pass" else {}

    assert told(f"endpoints/{name}", endpoint) == {}
    for write in ("queue", "auto"):
        assert told(f"endpoints/{name}", {**endpoint, "write": write}) == {
            f"endpoints.{name}.max_body": f"must be at most 16MiB, because `write: {write}` stores bodies"
        }
        assert told(f"endpoints/{name}", {**endpoint, "write": write, "max_body": "16MiB"}) == {}


def test_a_partner_that_may_call_and_lacks_a_value_is_named(mistakes):
    document = json.loads(changed("endpoints/contacts/where", [["lang", "=", "{partner.lang}"]]))
    assert mistakes(json.dumps(document)) == {}

    document["partners"]["b"]["clients"]["till"]["scopes"] = ["all"]

    assert mistakes(json.dumps(document)) == {
        "1: endpoints.contacts.where": "{partner.lang}: the partners b may call this and have no value `lang`"
    }


def test_a_field_that_set_forces_cannot_be_required_of_the_body(told):
    endpoint = {
        **BASE["endpoints"]["contacts"],
        "operations": ["create"],
        "set": {"email": "x"},
        "fields": {"mail": {"from": "email", "required": True}, "name": "name"},
    }

    assert list(told("endpoints/contacts", endpoint)) == ["endpoints.contacts.fields.mail"]


def test_a_field_that_where_looks_at_cannot_be_written(told):
    endpoint = {**BASE["endpoints"]["contacts"], "operations": ["update"], "where": [["email", "=", "{client}"]]}

    assert list(told("endpoints/contacts", endpoint)) == ["endpoints.contacts.fields.mail"]
    assert told("endpoints/contacts", {**endpoint, "set": {"email": "{client}"}}) == {}


def test_only_one_field_writes_to_a_relation(told):
    fields = {"country": "country_id.code", "country_name": "country_id.name"}
    endpoint = {**BASE["endpoints"]["contacts"], "fields": fields}

    assert told("endpoints/contacts", endpoint) == {}
    assert list(told("endpoints/contacts", {**endpoint, "operations": ["create"]})) == [
        "endpoints.contacts.fields.country_name"
    ]


def test_endpoints_may_share_a_path_with_other_methods_only(told, tmp_path):
    delete = {"path": "/v1/contacts/{id}", "upstream": "erp", "call": "res.partner.archive", "method": "DELETE"}

    assert told("endpoints/archive", delete) == {}
    assert told("endpoints/archive", {**delete, "method": "GET"}) == {
        "endpoints.archive.path": f"GET /v1/contacts/{{id}} is taken already: `contacts` ({tmp_path}/catalog.yaml:1)"
        " has /v1/contacts/{id}"
    }


def test_the_name_of_a_path_value_does_not_make_another_path(told):
    relay = {"path": "/v1/pass/{other...}", "upstream": "web", "relay": "/", "methods": ["GET", "POST"]}

    found = told("endpoints/second", relay)
    assert "GET /v1/pass/{other...} is taken already" in found["endpoints.second.path"]
    found = told("endpoints/second", {**relay, "methods": ["POST"]})
    assert "the same names" in found["endpoints.second.path"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "must be a mapping"),
        (b'{"type": "strang"}', "no valid JSON Schema 2020-12"),
        (b'{"$ref": "https://example.com/schema"}', "only references into itself"),
        (b'{"$schema": "http://json-schema.org/draft-07/schema#"}', "2020-12"),
        (b'{"$ref": "#/$defs/none"}', "no valid JSON Schema"),
        (b'{"pattern": "("}', "no valid JSON Schema"),
        (b'{"items":' * 100 + b"{}" + b"}" * 100, "nested more than 64 deep"),
        (None, "cannot be read"),
    ],
)
def test_the_schema_of_a_relay_is_read_beside_the_catalog_and_checked(told, tmp_path, content, message):
    if content is not None:
        (tmp_path / "body.json").write_bytes(content)
    relay = {**BASE["endpoints"]["pass"], "methods": ["POST"], "body": {"schema": "body.json"}}

    found = told("endpoints/pass", relay)

    assert list(found) == ["endpoints.pass.body.schema"]
    assert message in found["endpoints.pass.body.schema"]
