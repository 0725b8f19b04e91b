from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import pytest
from chassis_faces import problem_of, serve
from flask import Blueprint, Flask, abort, g, jsonify, redirect
from flask.testing import FlaskClient
from flask_jwt_extended import JWTManager, create_access_token, jwt_required
from flask_restful import abort as restful_abort
from flask_restful import reqparse
from sqlalchemy import Engine, create_engine, text

from entrepot.chassis.errors import Error, Mistake
from entrepot.chassis.operation import current_operation_id
from entrepot.chassis.web import Api, ApiResource, Chassis

ID = "919108f7-52d1-4320-9bac-f847db4148a8"


# What the predecessor tested.


def test_health_says_name_and_version_as_they_are_at_the_request(app: Flask):
    Chassis(app)
    app.config["CST_PROJECT_VERSION"] = "1.2"

    response = app.test_client().get("/status")

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.get_json() == {"name": "Test-Chassis", "version": "1.2"}


def test_status_of_the_view_is_kept_and_data_is_enveloped_on_a_blueprint_too(app: Flask):
    class Hello(ApiResource):
        def get(self) -> tuple[str, int]:
            return "Hello world", 201

    Chassis(app)
    blueprint = Blueprint("v1", __name__)
    Api(blueprint).add_resource(Hello, "/hello")
    app.register_blueprint(blueprint, url_prefix="/v1")

    response = app.test_client().get("/v1/hello")

    assert (response.status_code, response.content_type) == (201, "application/json")
    document = response.get_json()
    assert list(document) == ["meta", "data"]
    assert document["data"] == "Hello world"
    assert uuid.UUID(document["meta"]["operation_id"]).version == 4


def test_mistakes_that_the_view_adds_are_listed(app: Flask):
    def get(self):
        self.add_error("first", path="a.b")
        self.add_error("second")
        return None, 400

    document = problem_of(serve(app, get).get("/x"), 400)

    assert document["errors"] == [{"message": "first", "path": "a.b"}, {"message": "second"}]
    assert uuid.UUID(document["meta"]["operation_id"]).version == 4


def test_a_crash_is_a_problem_that_says_nothing_of_the_cause_and_is_logged_with_the_id(
    app: Flask, caplog: pytest.LogCaptureFixture
):
    ids: list[str | None] = []
    handler = logging.Handler()
    handler.emit = lambda record: ids.append(current_operation_id.get())  # type: ignore[method-assign]
    client = serve(app, lambda _: 1 / 0)
    app.logger.addHandler(handler)

    response = client.get("/x")

    app.logger.removeHandler(handler)
    document = problem_of(response, 500)
    assert (document["code"], document["errors"]) == ("internal-error", [])
    assert "division" not in response.text
    assert ids == [response.headers["X-Request-Id"]]


# Defects of the predecessor, one after the other.


@pytest.mark.parametrize(
    "value",
    [
        "text",
        5,
        True,
        None,
        1.5,
        {"a": 1, "Set-Cookie": "x=y"},
        ["a", "b"],
        ["a"],
        [],
        {},
        (1, 2, 3),
        ("a", "b"),
        (1, True),
    ],
    ids=repr,
)
def test_a_bare_value_is_data(app: Flask, value: Any):
    response = serve(app, lambda _: value).get("/x")

    assert response.status_code == 200
    assert response.get_json()["data"] == (list(value) if isinstance(value, tuple) else value)
    assert "Set-Cookie" not in response.headers


def test_status_and_headers_may_go_with_the_data(app: Flask):
    response = serve(app, lambda _: ({"a": 1}, 201, {"Location": "/x/1"})).get("/x")

    assert (response.status_code, response.headers["Location"]) == (201, "/x/1")
    assert response.get_json()["data"] == {"a": 1}


def test_no_content_has_no_body(app: Flask):
    response = serve(app, lambda _: (None, 204)).get("/x")

    assert (response.status_code, response.data) == (204, b"")
    assert "X-Request-Id" in response.headers


def test_one_chassis_serves_several_applications_and_may_be_set_up_twice(app: Flask, engine: Engine):
    other = Flask("other")
    chassis = Chassis(app)
    chassis.init_app(other)
    chassis.init_app(app, engine)

    assert other.test_client().get("/status").get_json() == {"name": "Other", "version": "N/A"}
    assert "last_migration" in app.test_client().get("/status").get_json()
    assert app.test_client().get("/status").headers.getlist("X-Request-Id")[1:] == []


@pytest.mark.parametrize(
    ("heads", "said"), [([], None), (["a1"], "a1"), (["b2", "a1"], ["a1", "b2"])], ids=["none", "one", "two"]
)
def test_health_says_the_last_migration(app: Flask, engine: Engine, heads: list[str], said: Any):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        for head in heads:
            connection.execute(text("INSERT INTO alembic_version VALUES (:head)"), {"head": head})
    Chassis(app, engine)

    response = app.test_client().get("/status")

    assert response.status_code == 200
    assert response.get_json() == {"name": "Test-Chassis", "version": "N/A", "last_migration": said}


def test_health_without_the_table_is_degraded_and_not_a_crash(app: Flask, engine: Engine):
    Chassis(app, engine)

    response = app.test_client().get("/status")

    assert response.status_code == 200
    assert (response.get_json()["last_migration"], "degraded" in response.get_json()) == (None, True)


def test_health_without_the_database_is_503_and_says_nothing_of_the_driver(app: Flask, tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path}/missing/db")
    Chassis(app, engine)

    response = app.test_client().get("/status")

    assert response.status_code == 503
    assert response.get_json()["degraded"] == "the database does not answer"
    engine.dispose()


def test_a_ready_response_passes_through(app: Flask):
    response = serve(app, lambda _: jsonify({"a": 1})).get("/x")

    assert (response.status_code, response.get_json()) == (200, {"a": 1})


def test_an_added_mistake_makes_any_answer_a_400(app: Flask):
    def get(self):
        self.add_error("no")
        return jsonify({"a": 1})

    def post(self):
        self.add_error("no")
        return None, 409

    Chassis(app)
    Api(app).add_resource(type("X", (ApiResource,), {"get": get, "post": post}), "/x")
    client = app.test_client()

    problem_of(client.get("/x"), 400)
    problem_of(client.post("/x"), 409)


def _parse(_: Any) -> None:
    parser = reqparse.RequestParser()
    parser.add_argument("age", type=int, required=True, location="args", help="a number, please")
    parser.parse_args()


def _raise_own(_: Any) -> None:
    class TeapotError(Error):
        code, status, title = "teapot", 418, "Short and stout"

    raise TeapotError("no coffee", errors=[Mistake("wrong", "/drink")], retry_after_s=2.1, headers=[("X-A", "b")])


def test_abort_is_a_problem(app: Flask):
    document = problem_of(serve(app, lambda _: abort(409, "taken")).get("/x"), 409)

    assert (document["code"], document["title"], document["detail"]) == ("conflict", "Conflict", "taken")
    assert document["type"] == "urn:entrepot:problem:conflict"


def test_abort_of_flask_restful_is_a_problem_with_its_members(app: Flask):
    client = serve(app, lambda _: restful_abort(404, message="no such product", product=7, status="forged"))

    document = problem_of(client.get("/x"), 404)

    assert (document["detail"], document["product"]) == ("no such product", 7)


def test_a_mistake_that_reqparse_finds_names_the_argument(app: Flask):
    document = problem_of(serve(app, _parse).get("/x?age=old"), 400)

    assert document["errors"] == [{"message": "a number, please", "path": "age"}]


def test_own_errors_are_problems_with_their_headers(app: Flask):
    response = serve(app, _raise_own).get("/x")

    document = problem_of(response, 418)
    assert (document["code"], document["errors"]) == ("teapot", [{"message": "wrong", "path": "/drink"}])
    assert (response.headers["Retry-After"], response.headers["X-A"]) == ("3", "b")


def test_unknown_paths_and_methods_are_problems(app: Flask):
    client = serve(app, lambda _: 1)

    problem_of(client.get("/nowhere"), 404)
    refused = client.delete("/x")
    problem_of(refused, 405)
    assert "GET" in refused.headers["Allow"]
    problem_of(client.delete("/status"), 405)


def test_a_redirect_stays_a_redirect(app: Flask):
    client = serve(app, lambda _: 1)
    app.add_url_rule("/there/", "there", lambda: "x")
    app.add_url_rule("/away", "away", lambda: abort(redirect("/x")))

    assert client.get("/there").status_code == 308
    assert client.get("/away").status_code == 302


@pytest.fixture(params=["before", "after"])
def guarded(request: pytest.FixtureRequest, app: Flask) -> FlaskClient:
    app.config["JWT_SECRET_KEY"] = "k" * 32
    if request.param == "before":
        JWTManager(app)
    client = serve(app, jwt_required()(lambda _: "in"))
    if request.param == "after":
        JWTManager(app)
    return client


def test_every_bad_token_is_401_with_a_challenge(guarded: FlaskClient, app: Flask):
    with app.app_context():
        good = create_access_token("me")
        expired = create_access_token("me", expires_delta=timedelta(seconds=-10))

    assert guarded.get("/x", headers={"Authorization": f"Bearer {good}"}).get_json()["data"] == "in"
    missing = guarded.get("/x")
    problem_of(missing, 401)
    assert missing.headers["WWW-Authenticate"] == f'Bearer realm="{app.name}"'
    for token in (expired, "garbage", f"{good}x", "a.b.c"):
        refused = guarded.get("/x", headers={"Authorization": f"Bearer {token}"})
        assert problem_of(refused, 401)["code"] == "invalid-token"
        assert refused.headers["WWW-Authenticate"] == f'Bearer realm="{app.name}", error="invalid_token"'


def test_an_invalid_level_is_info_and_said_once(app: Flask, capsys: pytest.CaptureFixture):
    app.config["APP_STREAM_LOG_LEVEL"] = "WARN"

    Chassis(app)

    assert logging.getLogger().level == logging.INFO
    assert capsys.readouterr().err.count("Invalid value for STREAM_LOG_LEVEL") == 1


def test_health_can_stand_at_another_path(app: Flask, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CST_HEALTH_CHECK_ENDPOINT", "/health/live")
    monkeypatch.setenv("CST_PROJECT_NAME", "Shop")
    app.config["CST_PROJECT_NAME"] = "Other"

    Chassis(app)

    assert app.test_client().get("/health/live").get_json()["name"] == "Shop"


def test_requests_in_one_outer_context_have_ids_of_their_own(app: Flask):
    client = serve(app, lambda _: 1)

    with app.app_context():
        ids = {client.get("/x").get_json()["meta"]["operation_id"] for _ in range(3)}

    assert len(ids) == 3
    assert current_operation_id.get() is None


# The operation id.


@pytest.mark.parametrize("trusted", [[ip_network("127.0.0.0/8")], lambda request: request.remote_addr == "127.0.0.1"])
def test_the_id_of_a_trusted_peer_is_taken(app: Flask, trusted: Any):
    Chassis(app, trusted=trusted)
    client = serve(app, lambda _: current_operation_id.get())

    response = client.get("/x", headers={"X-Request-Id": ID})

    assert response.headers["X-Request-Id"] == ID
    assert response.get_json() == {"meta": {"operation_id": ID}, "data": ID}


@pytest.mark.parametrize(
    ("peer", "sent"), [("127.0.0.1", "x"), ("127.0.0.1", f"{ID},{ID}"), ("127.0.0.1", "é"), ("192.0.2.1", ID), ("", ID)]
)
def test_another_id_or_peer_gets_a_fresh_one(app: Flask, peer: str, sent: str):
    Chassis(app, trusted=[ip_network("127.0.0.0/8")])
    client = serve(app, lambda _: 1)

    response = client.get("/x", headers={"X-Request-Id": sent}, environ_base={"REMOTE_ADDR": peer})

    assert uuid.UUID(response.headers["X-Request-Id"]).version == 4
    assert response.headers["X-Request-Id"] != ID


def test_nobody_is_trusted_unless_said(app: Flask):
    assert serve(app, lambda _: 1).get("/x", headers={"X-Request-Id": ID}).headers["X-Request-Id"] != ID


def test_an_id_that_a_hook_of_the_application_sets_is_kept(app: Flask):
    Chassis(app)
    app.before_request(lambda: setattr(g, "operation_id", ID))
    client = serve(app, lambda _: current_operation_id.get())

    response = client.get("/x")

    assert response.get_json() == {"meta": {"operation_id": ID}, "data": ID}
    assert response.headers["X-Request-Id"] == ID


# JSON.


def test_dates_decimals_and_uuids_are_json(app: Flask):
    values = {"at": datetime(2026, 11, 21, 8, 0, tzinfo=UTC), "price": Decimal("1.10"), "id": uuid.UUID(ID)}

    data = serve(app, lambda _: values).get("/x").get_json()["data"]

    assert data == {"at": "2026-11-21T08:00:00+00:00", "price": "1.10", "id": ID}


def test_nan_is_no_json(app: Flask):
    problem_of(serve(app, lambda _: float("nan")).get("/x"), 500)


def test_members_of_an_answer_stay_in_their_order(app: Flask):
    assert '{"z": 1, "a": 2}' in serve(app, lambda _: {"z": 1, "a": 2}).get("/x").text
