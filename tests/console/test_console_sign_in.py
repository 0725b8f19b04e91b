"""Signing in and out at the console, and what others try."""

import re

import pytest
from console_support import CHEAP, HERE, PASSWORD, Browser, Script, audited, code

from entrepot.console import create_console_app
from entrepot.services import Services

PUBLIC = "https://console.example"


# -- sessions


def test_a_browser_gets_a_cookie_that_no_script_and_no_other_site_can_use(app, add):
    add("ada", "admin")
    browser = Browser(app)

    signed = browser.sign_in("ada")

    cookie = signed.headers["Set-Cookie"]
    assert re.fullmatch(r"entrepot-session=eos_[\w-]{43}; HttpOnly; Path=/; SameSite=Strict", cookie)
    assert signed.json["data"]["token"] is None
    assert browser.get("/session").json["data"]["name"] == "ada"


def test_by_the_public_name_the_cookie_is_for_https_and_this_host_alone(app, add):
    add("ada", "admin")

    signed = Script(app).ask("POST", "/session", json={"name": "ada", "password": PASSWORD}, base=PUBLIC)

    cookie = signed.headers["Set-Cookie"]
    assert cookie.startswith("__Host-entrepot-session=eos_")
    assert "; Secure;" in cookie
    assert "Domain" not in cookie
    assert signed.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_script_gets_a_token_and_no_cookie(app, add):
    add("ada", "admin")
    script = Script(app, "ada")

    session = script.get("/session")

    assert session.json["data"]["role"] == "admin"
    assert session.json["data"]["csrf_token"] is None
    assert "Set-Cookie" not in session.headers


def test_who_has_signed_out_is_asked_to_sign_in(browser):
    out = browser.delete("/session")

    assert out.status_code == 204
    assert "entrepot-session=; " in out.headers["Set-Cookie"]
    assert code(browser.get("/session")) == (401, "not-signed-in")


def test_a_session_that_has_ended_is_no_more_good_as_a_token_either(browser, app):
    text = browser.cookie
    browser.delete("/session")
    script = Script(app)
    script.headers = {"Authorization": f"Bearer {text}"}

    answer = script.get("/session")

    assert code(answer) == (401, "not-signed-in")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer eos_x", "Basic YWRhOngK", "Bearer a b", "Bearer " + "x" * 8000, "é"]
)
def test_what_is_no_session_is_401(app, value):
    script = Script(app)
    script.headers = {"Authorization": value.encode().decode("latin-1")}

    assert code(script.get("/partners")) == (401, "not-signed-in")


def test_a_token_in_the_query_is_refused(admin, app):
    answer = Script(app).get("/session", access_token=admin.token)

    assert answer.status_code in {400, 401}
    assert code(Script(app).get("/session")) == (401, "not-signed-in")


def test_the_answer_to_a_wrong_password_is_that_to_a_wrong_name(app, add):
    add("ada", "admin")
    script = Script(app)

    wrong = [script.post("/session", name=name, password="a wrong password") for name in ("ada", "nobody", "")]

    assert {code(answer) for answer in wrong} == {(401, "sign-in-failed")}
    assert len({answer.json["detail"] for answer in wrong}) == 1
    assert all("Set-Cookie" not in answer.headers for answer in wrong)


# -- fixation


def test_a_cookie_that_an_attacker_has_planted_is_not_taken_for_a_session(app, add):
    add("ada", "admin")
    planted = "eos_" + "A" * 43
    browser = Browser(app)
    browser.client.set_cookie("entrepot-session", planted, domain="127.0.0.1")

    browser.sign_in("ada")

    assert browser.cookie != planted
    attacker = Script(app)
    attacker.headers = {"Cookie": f"entrepot-session={planted}"}
    assert code(attacker.get("/session")) == (401, "not-signed-in")


def test_signing_in_again_ends_the_session_that_an_attacker_may_know(browser, app):
    known = browser.cookie

    browser.sign_in("ada")

    attacker = Script(app)
    attacker.headers = {"Cookie": f"entrepot-session={known}"}
    assert code(attacker.get("/session")) == (401, "not-signed-in")
    assert browser.get("/session").status_code == 200


# -- other sites


@pytest.mark.parametrize("token", [None, "", "x", "é"])
def test_a_cookie_alone_changes_nothing(browser, services, token):
    browser.headers = {} if token is None else {"X-CSRF-Token": token.encode().decode("latin-1")}

    answers = [browser.post("/keys"), browser.delete("/session"), browser.post("/operators/ada/enable")]

    assert {code(answer) for answer in answers} == {(403, "foreign-origin")}
    assert audited(services, kind="key") == []
    assert browser.get("/session").status_code == 200


def test_the_csrf_token_of_another_session_is_not_taken(browser, app, add):
    add("eve", "admin")
    others = Browser(app)
    others.sign_in("eve")
    browser.headers = others.headers

    assert code(browser.post("/keys")) == (403, "foreign-origin")


def test_a_page_that_is_loaded_anew_gets_its_csrf_token_again(browser):
    former, browser.headers = browser.headers, {}

    assert browser.get("/session").json["data"]["csrf_token"] == former["X-CSRF-Token"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:8082"},
        {"Origin": "http://127.0.0.1:8081.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_what_another_site_sends_is_refused_even_to_sign_in(app, browser, headers):
    credentials = {"name": "ada", "password": PASSWORD}

    assert code(browser.ask("POST", "/keys", headers=headers)) == (403, "foreign-origin")
    assert code(Script(app).ask("POST", "/session", headers=headers, json=credentials)) == (403, "foreign-origin")


@pytest.mark.parametrize(
    ("base", "origin", "status"),
    [(HERE, HERE, 201), (PUBLIC, PUBLIC, 201), (PUBLIC, "http://console.example", 403), (PUBLIC, HERE, 403)],
)
def test_the_consoles_own_pages_may_ask(app, add, base, origin, status):
    add("ada", "admin")

    signed = Script(app).ask(
        "POST", "/session", base=base, headers={"Origin": origin}, json={"name": "ada", "password": PASSWORD}
    )

    assert signed.status_code == status


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8081",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "console.example.",
        "",
        "[",
        "::1",
    ],
)
def test_a_name_that_was_rebound_to_the_console_gets_nothing(admin, host):
    for path in ("/session", "/openapi.json", "/nowhere"):
        assert code(admin.ask("GET", path, headers={"Host": host})) == (403, "foreign-origin")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8081",
        "127.0.0.1",
        "[::1]:8081",
        "192.0.2.7:80",
        "console.example",
        "Console.Example:443",
    ],
)
def test_its_own_names_and_addresses_are_the_consoles(admin, host):
    assert admin.ask("GET", "/session", headers={"Host": host}).status_code == 200


def test_a_form_of_another_site_cannot_sign_in(app, add):
    add("ada", "admin")

    sent = [
        Script(app).ask("POST", "/session", data={"name": "ada", "password": PASSWORD}),
        Script(app).ask(
            "POST", "/session", data='{"name":"ada","password":"' + PASSWORD + '"}', content_type="text/plain"
        ),
    ]

    assert {code(answer) for answer in sent} == {(415, "unsupported-media-type")}


def test_nobody_may_frame_cache_or_read_the_answers(app, browser):
    for answer in (browser.get("/session"), Script(app).get("/session"), Script(app).get("/openapi.json")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Strict-Transport-Security" not in answer.headers


# -- guessing


def from_(source):
    return {"environ_base": {"REMOTE_ADDR": source}}


def test_who_guesses_is_told_to_wait_and_the_operator_is_let_in_from_elsewhere(app, add, services):
    add("ada", "admin")
    script = Script(app)

    def guess(password, source, **headers):
        credentials = {"name": "ada", "password": password}
        return script.ask("POST", "/session", json=credentials, headers=headers, **from_(source))

    answers = [guess("a wrong password", "203.0.113.9") for _ in range(11)]

    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert guess(PASSWORD, "203.0.113.9").status_code == 429
    # Who is no trusted proxy says nothing of where it is.
    assert guess(PASSWORD, "203.0.113.9", **{"X-Forwarded-For": "198.51.100.1"}).status_code == 429
    assert guess(PASSWORD, "198.51.100.1").status_code == 201


def test_behind_a_trusted_proxy_the_audit_log_names_the_caller(app, add, services):
    add("ada", "admin")

    Script(app).ask(
        "POST", "/session", json={"name": "ada", "password": PASSWORD, "cookie": False},
        headers={"X-Forwarded-For": "198.51.100.66, 203.0.113.5, 192.0.2.3"}, **from_("192.0.2.4"),
    )  # fmt: skip

    (entry,) = audited(services, kind="session")
    assert (entry.actor.name, entry.actor.face, entry.actor.source) == ("ada", "console", "203.0.113.5")


def test_neither_logs_nor_answers_hold_a_password_or_session(app, add, caplog):
    caplog.set_level("DEBUG")
    add("ada", "admin")
    script = Script(app)

    signed = script.post("/session", name="ada", password=PASSWORD, cookie=False)
    answers = [
        signed,
        script.post("/session", name="ada", password="x" * 300),
        script.post("/session", name="ada", password=[PASSWORD]),
        script.ask("POST", "/session", json=PASSWORD),
        script.post("/session", name="ada", password="wrong " + PASSWORD),
    ]

    assert [answer.status_code for answer in answers] == [201, 422, 422, 422, 401]
    assert all(PASSWORD not in answer.text for answer in answers)
    assert "xxx" not in answers[1].text
    assert PASSWORD not in caplog.text
    assert signed.json["data"]["token"] not in caplog.text


# -- one's own password


def test_ones_own_password_needs_the_present_one_and_signs_out_everywhere(browser, app):
    other = Script(app, "ada")

    wrong = browser.put("/session/password", present="a wrong password", password="another good password")
    changed = browser.put("/session/password", present=PASSWORD, password="another good password")

    assert code(wrong) == (401, "sign-in-failed")
    assert changed.status_code == 204
    assert code(browser.get("/session")) == code(other.get("/session")) == (401, "not-signed-in")
    assert Script(app).post("/session", name="ada", password="another good password").status_code == 201


def test_without_a_database_it_says_503_and_not_401(settings):
    (settings.store.directory / "entrepot.db").write_bytes(b"no database" * 1000)
    with Services.from_settings(settings) as services:
        script = Script(create_console_app(settings, services, CHEAP))
        signed = script.post("/session", name="ada", password=PASSWORD)
        script.headers = {"Authorization": "Bearer eos_" + "A" * 43}
        seen = script.get("/session")

    assert code(signed) == code(seen) == (503, "store-unavailable")
    assert int(seen.headers["Retry-After"]) >= 1
