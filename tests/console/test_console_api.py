"""The admin API at work, and what each role may."""

import re

import pytest
from console_support import PASSWORD, ROOT, Script, audited, code

from entrepot.console.table import TABLE
from entrepot.identity.roles import ROLES, may

# -- roles


def path_of(row):
    return re.sub(r"<\w+>", "nobody", row.path)


@pytest.mark.parametrize("row", [row for row in TABLE if row.least], ids=lambda row: f"{row.method} {row.path}")
def test_who_is_not_signed_in_gets_nothing(nobodys_app, row):
    assert code(Script(nobodys_app).ask(row.method, path_of(row), json={})) == (401, "not-signed-in")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_what_the_table_says_and_nothing_else(sign_in, role):
    script = sign_in("eve", role)
    refused = {}

    for row in TABLE:
        if row.least and row.path not in {"/session", "/session/password"}:
            # A body that is no object: who may is told of that, or of what is not there, and nothing happens.
            answer = script.ask(row.method, path_of(row), json=[])
            refused[row.method, row.path] = answer.status_code == 403

    assert refused == {
        (row.method, row.path): not may(role, row.least) for row in TABLE if (row.method, row.path) in refused
    }
    assert len(refused) == 35


def test_only_reading_and_ones_own_session_are_for_viewers():
    assert {row.path for row in TABLE if row.least == "viewer" and row.method != "GET"} == {
        "/session",
        "/session/password",
    }


def test_only_signing_in_and_the_description_are_for_everybody():
    assert {(row.method, row.path) for row in TABLE if row.least is None} == {
        ("POST", "/session"),
        ("GET", "/openapi.json"),
    }


# -- operators


def test_an_admin_makes_changes_and_disables_accounts(admin, app, services):
    made = admin.post("/operators", name="eve", role="viewer", password=PASSWORD)
    eve = Script(app, "eve")
    raised = admin.put("/operators/eve/role", role="editor")
    again = Script(app, "eve")
    disabled = admin.post("/operators/eve/disable")

    assert (made.status_code, made.json["data"]["role"], made.json["data"]["seen_at"]) == (201, "viewer", None)
    assert raised.json["data"]["role"] == "editor"
    assert disabled.json["data"]["disabled_at"] is not None
    assert {code(script.get("/session")) for script in (eve, again)} == {(401, "not-signed-in")}
    assert code(Script(app).post("/session", name="eve", password=PASSWORD)) == (401, "sign-in-failed")
    changes = [
        (entry.actor.name, entry.actor.face, entry.change.action)
        for entry in audited(services, name="eve", kind="operator")
    ]
    assert changes == [("ada", "console", action) for action in ("disable", "role", "add")]
    assert PASSWORD not in repr(audited(services))


def test_an_operation_id_leads_from_the_answer_to_the_audit_log(admin, services):
    made = admin.post("/operators", name="eve", role="viewer", password=PASSWORD)

    (entry,) = audited(services, name="eve")

    assert entry.actor.operation_id == made.json["meta"]["operation_id"] == made.headers["X-Request-Id"]
    assert entry.actor.source == "127.0.0.1"


@pytest.mark.parametrize("role", ["viewer", "editor"])
def test_nobody_raises_their_own_role(sign_in, operators, role):
    script = sign_in("eve", role)

    answers = [
        script.put("/operators/eve/role", role="admin"),
        script.post("/operators", name="eve2", role="admin", password=PASSWORD),
        script.put("/operators/ada/password", password=PASSWORD),
        script.put("/session/password", present=PASSWORD, password="another good password", role="admin"),
    ]

    assert [code(answer) for answer in answers] == [(403, "insufficient-role")] * 3 + [(422, "invalid-body")]
    assert operators.one("eve").role == role


def test_an_admin_cannot_lock_out_oneself(admin):
    answers = [
        admin.put("/operators/ada/role", role="viewer"),
        admin.post("/operators/ada/disable"),
        admin.put("/operators/ada/password", password=PASSWORD),
    ]

    assert {code(answer) for answer in answers} == {(409, "conflict")}
    assert admin.get("/session").json["data"]["role"] == "admin"


@pytest.mark.parametrize(
    "more",
    [
        {"disabled_at": None},
        {"id": "00000000-0000-4000-8000-000000000000"},
        {"password_at": "2020-01-01T00:00:00Z"},
        {"__class__": "x"},
    ],
)
def test_what_is_not_to_be_set_cannot_be_set(admin, more):
    answer = admin.post("/operators", name="eve", role="viewer", password=PASSWORD, **more)

    assert code(answer) == (422, "invalid-body")
    assert answer.json["errors"] == [{"message": "is not a field of this endpoint", "path": f"/{next(iter(more))}"}]
    assert code(admin.get("/operators/eve")) == (404, "not-found")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"role": "viewer", "password": PASSWORD}, "/name"),
        ({"name": "Eve", "role": "viewer", "password": PASSWORD}, "/name"),
        ({"name": "eve\n", "role": "viewer", "password": PASSWORD}, "/name"),
        ({"name": "eve", "role": "root", "password": PASSWORD}, "/role"),
        ({"name": "eve", "role": ["admin"], "password": PASSWORD}, "/role"),
        ({"name": "eve", "role": "viewer", "password": "short"}, "/password"),
        ({"name": "eve", "role": "viewer", "password": None}, "/password"),
    ],
)
def test_every_mistake_names_its_field(admin, body, path):
    answer = admin.post("/operators", **body)

    assert code(answer) == (422, "invalid-body")
    assert [mistake["path"] for mistake in answer.json["errors"]] == [path]
    assert "short" not in answer.text


# -- partners and clients


def test_a_partner_and_a_client_are_added_and_get_in(admin, editor, catalog, services):
    partner = editor.post("/partners", name="globex", title="Globex", values={"contact": 9})
    client = editor.post(
        "/clients", name="crane", partner="globex", scopes=["orders.read"], rate={"per_second": 5, "burst": 9}
    )
    secret = editor.post("/credentials", client="crane", kind="secret", label="first")
    token = editor.post("/tokens", client="crane", expires_in=60)

    assert (partner.status_code, client.status_code, secret.status_code, token.status_code) == (201, 201, 201, 201)
    assert (partner.json["data"]["title"], partner.json["data"]["values"]) == ("Globex", {"contact": 9})
    assert partner.json["data"]["origin"] == client.json["data"]["origin"] == {"kind": "console", "place": ""}
    assert (client.json["data"]["scopes"], client.json["data"]["rate"]) == (
        ["orders.read"],
        {"per_second": 5, "burst": 9},
    )
    assert services.catalog().clients["crane"].partner == "globex"
    assert services.credentials.check_secret("crane", secret.json["data"]["secret"])
    assert token.json["data"]["token"].count(".") == 2
    assert secret.json["data"]["secret"] not in editor.get("/credentials").text
    assert token.json["data"]["token"] not in editor.get("/tokens").text
    everything = repr(audited(services))
    assert secret.json["data"]["secret"] not in everything
    assert token.json["data"]["token"] not in everything


def test_a_number_without_a_fraction_is_an_integer_however_it_is_written(editor, catalog, services):
    editor.post("/partners", name="globex", title="Globex", values={})

    answer = editor.ask("PATCH", "/partners/globex", json={"max_queued": 7.0, "max_queued_bytes": 4096.0})

    assert answer.status_code == 200, answer.text
    partner = services.catalog().partners["globex"]
    assert (partner.max_queued, partner.max_queued_bytes) == (7, 4096)


def test_what_came_from_a_file_is_changed_there(editor, catalog):
    answer = editor.post("/clients", name="crane", partner="azure", scopes=["orders.read"])

    assert code(answer) == (409, "conflict")
    assert "catalog.yaml:" in answer.json["detail"]
    assert editor.get("/clients/shop").json["data"]["origin"]["kind"] == "file"


def test_a_partner_and_a_client_of_no_file_are_changed(editor, catalog, services):
    editor.post("/partners", name="globex", title="Globex", values={"contact": 9, "tier": "a"}, max_queued=5)
    editor.post("/clients", name="crane", partner="globex", scopes=["orders.read"], quota={"day": 5}, api_keys=True)

    partner = editor.ask("PATCH", "/partners/globex", json={"title": "Globex Ltd", "values": {"tier": None, "zone": 3}})
    client = editor.ask(
        "PATCH", "/clients/crane", json={"scopes": ["orders.write"], "quota": None, "networks": ["10.0.0.0/8"]}
    )

    assert (partner.status_code, client.status_code) == (200, 200)
    assert (partner.json["data"]["title"], partner.json["data"]["values"]) == ("Globex Ltd", {"contact": 9, "zone": 3})
    assert partner.json["data"]["max_queued"] == 5
    changed = client.json["data"]
    assert (changed["scopes"], changed["quota"], changed["networks"], changed["api_keys"]) == (
        ["orders.write"],
        None,
        ["10.0.0.0/8"],
        True,
    )
    (entry,) = audited(services, kind="client", action="change")
    assert (entry.actor.name, entry.change.name) == ("ed", "crane")
    assert entry.change.before == {"scopes": ["orders.read"], "quota": {"day": 5}, "api_keys": True}
    assert entry.change.after == {"scopes": ["orders.write"], "networks": ["10.0.0.0/8"], "api_keys": True}


def test_what_is_removed_is_gone_with_all_that_it_got_in_with(editor, catalog, services):
    editor.post("/partners", name="globex", title="Globex")
    for name in ("crane", "winch"):
        editor.post("/clients", name=name, partner="globex", scopes=["orders.read"])
    secrets = [editor.post("/credentials", client=name, kind="secret").json["data"] for name in ("crane", "winch")]
    token = editor.post("/tokens", client="crane").json["data"]

    client = editor.delete("/clients/crane")
    partner = editor.delete("/partners/globex")

    assert client.json["data"] == {"revision": 5, "revoked": 1, "waiting": {}}
    assert partner.json["data"] == {"revision": 6, "revoked": 1, "waiting": {}}
    assert [code(editor.get(path)) for path in ("/clients/crane", "/clients/winch", "/partners/globex")] == [
        (404, "not-found")
    ] * 3
    states = {each["key_id"]: each["state"] for each in editor.get("/credentials").json["data"]}
    assert states == {secret["key_id"]: "revoked" for secret in secrets}
    assert [each["state"] for each in editor.get("/tokens").json["data"] if each["jti"] == token["jti"]] == ["revoked"]
    # One of the same name has nothing of the former.
    editor.post("/partners", name="globex", title="Globex")
    editor.post("/clients", name="crane", partner="globex", scopes=["orders.read"])
    assert services.credentials.check_secret("crane", secrets[0]["secret"]) is None
    assert [entry.change.kind for entry in audited(services, action="remove")] == ["partner", "client"]


@pytest.mark.parametrize("path", ["/clients/crane", "/partners/globex"])
def test_what_is_removed_gets_no_token_once_its_tokens_are_revoked(editor, catalog, services, monkeypatch, path):
    editor.post("/partners", name="globex", title="Globex")
    editor.post("/clients", name="crane", partner="globex", scopes=["orders.read"])
    secret = editor.post("/credentials", client="crane", kind="secret").json["data"]["secret"]
    revoke, found = services.desk.revoke, []

    def look_and_revoke(*arguments, actor):
        found.append(services.credentials.check_secret("crane", secret))
        return revoke(*arguments, actor=actor)

    monkeypatch.setattr(services.desk, "revoke", look_and_revoke)

    assert editor.delete(path).status_code == 200

    assert found == [None]


def test_what_came_from_a_file_is_neither_changed_nor_removed_and_loses_nothing(editor, catalog, services):
    secret = editor.post("/credentials", client="shop", kind="secret").json["data"]["secret"]

    answers = [
        editor.ask("PATCH", "/partners/azure", json={"title": "Other"}),
        editor.ask("PATCH", "/clients/shop", json={"scopes": []}),
        editor.delete("/partners/azure"),
        editor.delete("/clients/shop"),
    ]

    assert {code(answer) for answer in answers} == {(409, "conflict")}
    assert all("catalog.yaml:" in answer.json["detail"] for answer in answers)
    assert services.credentials.check_secret("shop", secret)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"partner": "azure"}, "/partner"),
        ({"name": "winch"}, "/name"),
        ({"scopes": None}, "/scopes"),
        ({"rate": {"burst": 5}}, "/rate"),
        ({"api_keys": "yes"}, "/api_keys"),
    ],
)
def test_what_of_a_client_cannot_be_changed_is_told(editor, catalog, body, path):
    editor.post("/partners", name="globex", title="Globex")
    editor.post("/clients", name="crane", partner="globex", scopes=["orders.read"])

    answer = editor.ask("PATCH", "/clients/crane", json=body)

    assert code(answer) == (422, "invalid-body")
    assert path in {mistake["path"] for mistake in answer.json["errors"]}


def test_what_the_catalog_refuses_is_told_of_the_body(editor, catalog):
    editor.post("/partners", name="globex", title="Globex")

    answer = editor.post("/clients", name="crane", partner="globex", scopes=["unheard.of"], networks=["nowhere"])

    assert code(answer) == (422, "invalid-body")
    assert answer.json["errors"]


def test_who_is_not_in_the_catalog_is_404(editor, catalog):
    answers = [
        editor.get("/partners/nobody"),
        editor.get("/clients/nobody"),
        editor.post("/clients/nobody/disable"),
        editor.post("/tokens", client="nobody"),
        editor.post("/credentials", client="nobody", kind="secret"),
        editor.delete("/credentials/nobody"),
        editor.delete("/credentials/%00"),
        editor.get("/clients/%ff%0a"),
        editor.post("/clients", name="crane", partner="nobody", scopes=[]),
        editor.ask("PATCH", "/clients/nobody", json={}),
        editor.ask("PATCH", "/partners/nobody", json={}),
        editor.delete("/clients/nobody"),
        editor.delete("/partners/nobody"),
    ]

    assert {code(answer) for answer in answers} == {(404, "not-found")}


def test_a_client_is_shut_out_and_let_in_again(editor, viewer, catalog, services):
    shut = editor.post("/clients/shop/disable", cancel_queued=True)
    seen = viewer.get("/clients/shop").json["data"]["disabled"]
    refused = editor.post("/tokens", client="shop")
    enabled = editor.post("/clients/shop/enable")

    assert shut.json["data"] == {"new": True, "stored": True, "held": 0, "cancelled": 0}
    assert seen["by"] == "ed"
    assert code(refused) == (409, "caller-disabled")
    assert enabled.json["data"]["new"]
    assert viewer.get("/clients/shop").json["data"]["disabled"] is None
    assert [entry.change.action for entry in audited(services, name="shop")] == ["enable", "disable"]


def test_a_partner_is_shut_out_with_its_clients(editor, catalog):
    editor.post("/partners/azure/disable")

    assert code(editor.post("/tokens", client="till")) == (409, "caller-disabled")
    assert editor.get("/partners/azure").json["data"]["disabled"]["by"] == "ed"


# -- tokens and keys


def test_tokens_are_issued_listed_and_revoked(editor, admin, catalog):
    one, two, three = (editor.post("/tokens", client=name).json["data"] for name in ("shop", "shop", "till"))

    by_token = editor.post("/revocations/token", token=one["token"])
    by_jti = editor.post("/revocations", kind="jti", value=two["jti"])
    listed = {token["jti"]: token["state"] for token in editor.get("/tokens").json["data"]}
    everybody = admin.post("/revocations/all")

    assert by_token.json["data"] == {"kind": "jti", "value": one["jti"], "new": True, "stored": True}
    assert by_jti.json["data"]["new"]
    assert listed == {one["jti"]: "revoked", two["jti"]: "revoked", three["jti"]: "good"}
    assert everybody.json["data"]["kind"] == "all"
    assert [token["state"] for token in editor.get("/tokens", client="till").json["data"]] == ["revoked"]
    assert {each["kind"] for each in editor.get("/revocations").json["data"]} == {"jti", "all"}


def test_a_single_token_is_not_revoked_up_to_a_time(editor, catalog):
    token = editor.post("/tokens", client="shop").json["data"]

    answer = editor.post("/revocations", kind="jti", value=token["jti"], before="2020-01-01T00:00:00Z")

    assert code(answer) == (400, "bad-request")
    assert answer.json["detail"].startswith("before: ")
    assert [each["state"] for each in editor.get("/tokens").json["data"]] == ["good"]


def test_what_was_revoked_up_to_a_time_is_lifted(editor, admin, catalog, services):
    token = editor.post("/tokens", client="shop").json["data"]
    editor.post("/revocations", kind="client", value="shop")
    admin.post("/revocations/all")

    lifted = editor.post("/revocations/lift", kind="client", value="shop")
    again = editor.post("/revocations/lift", kind="client", value="shop")
    refused = editor.post("/revocations/all/lift")
    between = editor.get("/tokens").json["data"]
    everybody = admin.post("/revocations/all/lift")

    assert lifted.json["data"]["until"] is not None
    assert again.json["data"] == {"kind": "client", "value": "shop", "until": None}
    assert code(refused) == (403, "insufficient-role")
    assert everybody.json["data"]["kind"] == "all"
    assert [(each["jti"], each["state"]) for each in between] == [(token["jti"], "revoked")]
    assert [each["state"] for each in editor.get("/tokens").json["data"]] == ["good"]
    assert editor.get("/revocations").json["data"] == []
    assert [(entry.actor.name, entry.change.name) for entry in audited(services, action="lift")] == [
        ("ada", "all"),
        ("ed", "shop"),
    ]


def test_a_token_of_somebody_else_is_a_mistake_of_the_body_and_is_not_shown(editor, catalog):
    answer = editor.post("/revocations/token", token="a.b.c-a-secret")

    assert code(answer) == (422, "invalid-body")
    assert "a-secret" not in answer.text


def test_an_api_key_needs_the_catalog_and_is_revoked_at_once(editor, catalog, services):
    refused = editor.post("/credentials", client="till", kind="api-key")
    made = editor.post("/credentials", client="shop", kind="api-key", label="nightly", expires_in=60).json["data"]
    gone = editor.delete(f"/credentials/{made['key_id']}")

    (listed,) = editor.get("/credentials", kind="api-key", client="shop").json["data"]

    assert code(refused) == (409, "conflict")
    assert gone.json["data"] == {"key_id": made["key_id"], "new": True, "stored": True}
    assert (listed["state"], listed["label"], listed["made_by"]) == ("revoked", "nightly", "ed")


def test_an_admin_rotates_the_key_and_an_editor_does_not(admin, editor, catalog):
    editor.post("/tokens", client="shop")
    refused = editor.post("/keys")
    rotated = admin.post("/keys")

    keys = editor.get("/keys").json["data"]

    assert code(refused) == (403, "insufficient-role")
    assert rotated.status_code == 201
    assert [(key["kid"] == rotated.json["data"]["kid"], key["state"]) for key in keys] == [
        (True, "signing"),
        (False, "verifying"),
    ]


# -- lists and input


def test_lists_come_in_pages_that_link_to_each_other(admin, operators):
    for number in range(4):
        operators.add(f"op-{number}", "viewer", PASSWORD, actor=ROOT)

    first = admin.get("/operators", limit="2")
    last = admin.get("/operators", limit="2", offset="4")

    assert [row["name"] for row in first.json["data"]] == ["ada", "op-0"]
    assert first.json["meta"]["pagination"]["next"].endswith("/api/v1/operators?limit=2&offset=2")
    assert [row["name"] for row in last.json["data"]] == ["op-3"]
    assert last.json["meta"]["pagination"]["next"] is None


def test_the_audit_log_is_shown_with_filters(admin, viewer):
    admin.post("/operators", name="eve", role="viewer", password=PASSWORD)

    (entry,) = viewer.get("/audit", actor="ada", kind="operator", name="eve", since="2020-01-01T00:00:00Z").json["data"]

    assert (entry["action"], entry["face"], entry["before"], entry["after"]["role"]) == (
        "add",
        "console",
        None,
        "viewer",
    )
    assert viewer.get("/audit", until="2020-01-01T00:00:00+01:00").json["data"] == []


@pytest.mark.parametrize("moment", ["2020-01-01t00:00:00z", "2020-01-01T00:00:00.123456789Z", "0001-01-01T00:00:00Z"])
def test_a_moment_is_taken_as_rfc_3339_has_it(viewer, moment):
    assert viewer.get("/audit", until=moment).json["data"] == []


@pytest.mark.parametrize(
    "moment",
    [
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2020-02-30T00:00:00Z",
        "2020-01-01T00:00:00",
        "2020-01-01",
        "now",
    ],
)
def test_a_moment_that_cannot_be_is_refused(viewer, editor, admin, moment):
    answers = [viewer.get("/audit", since=moment), viewer.get("/audit", until=moment)]
    answers += [
        editor.post("/revocations", kind="client", value="shop", before=moment),
        admin.post("/revocations/all", before=moment),
    ]

    assert [answer.status_code for answer in answers[:2]] == [400, 400]
    assert {answer.status_code for answer in answers[2:]} <= {400, 422}
    names = ("since", "until", "before", "before")
    assert [name for name, answer in zip(names, answers, strict=True) if name not in answer.text] == []


@pytest.mark.parametrize(
    "query",
    [
        "nobody=1",
        "client=",
        "client=a&client=b",
        "limit=0",
        "offset=",
        "limit=1000",
        "offset=-1",
        "kind=x",
        "client=%00",
        "client=%ff%0a",
    ],
)
def test_a_parameter_that_cannot_be_is_400(viewer, query):
    answer = viewer.ask("GET", f"/credentials?{query}")

    assert answer.status_code == 400
    assert answer.json["errors"][0]["path"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "application/json", (400, "malformed-json")),
        (b"{", "application/json", (400, "malformed-json")),
        (b'{"name":NaN}', "application/json", (400, "malformed-json")),
        (b'{"name":"\\ud800"}', "application/json", (400, "malformed-json")),
        (b"\xff", "application/json", (400, "malformed-json")),
        (b"[]", "application/json", (422, "invalid-body")),
        (b"null", "application/json", (422, "invalid-body")),
        (b"[" * 5000, "application/json", (400, "malformed-json")),
        (b" " * 70_000, "application/json", (413, "request-entity-too-large")),
        (b"{}", "", (415, "unsupported-media-type")),
        (b"<a/>", "application/xml", (415, "unsupported-media-type")),
    ],
)
def test_a_body_that_cannot_be_is_refused(editor, body, content_type, expected):
    assert code(editor.ask("POST", "/tokens", data=body, content_type=content_type)) == expected


@pytest.mark.parametrize("levels", [200, 201, 254, 255, 256, 300, 450, 1000, 1024, 1025])
@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ('{"name":', "}")])
def test_a_body_that_is_nested_too_deeply_is_refused_to_who_has_not_signed_in(app, levels, opened, closed):
    body = opened * levels + "0" + closed * levels

    answer = Script(app).ask("POST", "/session", data=body, content_type="application/json")

    assert code(answer) == ((422, "invalid-body") if levels <= 200 else (400, "malformed-json"))
    if 200 < levels <= 1024:
        assert answer.json["detail"] == "the body is nested too deeply: 200 levels at most"


def test_what_is_not_there_is_404_and_what_cannot_be_done_405(admin):
    nowhere, wrong = admin.get("/nowhere"), admin.delete("/keys")

    assert code(nowhere) == (404, "not-found")
    assert code(wrong)[0] == 405
    assert set(wrong.headers["Allow"].split(", ")) >= {"GET", "POST"}
