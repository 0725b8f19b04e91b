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
        ("upstreams/web/auth", {}, "upstreams.web.auth", "exactly one"),
        ("upstreams/web/headers", {"Authorization": "x"}, "upstreams.web.headers.Authorization", "use `auth`"),
        ("upstreams/web/settle", "1s", "upstreams.web.settle", "does not act on `settle` yet"),
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
    ],
)  # fmt: skip
def test_what_upstreams_and_partners_must_not_say(told, path, value, place, message):
    found = told(path, value)

    assert list(found) == [place]
    assert message in found[place]


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
