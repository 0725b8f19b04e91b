"""What the tests of Flask faces share."""

from __future__ import annotations

from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from entrepot.chassis.web import Api, ApiResource, Chassis


def serve(app: Flask, get: Any, *, path: str = "/x", base: tuple[type, ...] = (ApiResource,)) -> FlaskClient:
    """Return a client of *app*, which answers GET *path* by the function *get* of the resource."""
    if "chassis" not in app.extensions:
        Chassis(app)
    Api(app).add_resource(type("X", base, {"get": get}), path)
    return app.test_client()


def problem_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.data
    assert response.content_type == "application/problem+json"
    document = response.get_json()
    assert document["status"] == status
    assert document["meta"]["operation_id"] == response.headers["X-Request-Id"]
    assert "data" not in document
    return document
