"""Flask-RESTful with the envelope, and with errors that go the way of all others of the application."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import flask_restful
from flask import Response, current_app
from werkzeug.wrappers import Response as BaseResponse

from entrepot.chassis.envelope import envelope
from entrepot.chassis.errors import Mistake
from entrepot.chassis.operation import current_operation_id
from entrepot.chassis.web.pagination import ApiPaginatedMixin
from entrepot.chassis.web.problems import error_class, problem_response
from entrepot.chassis.web.request_id import operation_id

_WITHOUT_BODY = {204, 304}


class Api(flask_restful.Api):  # type: ignore[misc]  # Flask-RESTful has no types
    """Flask-RESTful's Api, without its own error bodies and JSON encoder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.representations = OrderedDict({"application/json": _as_json})

    def error_router(self, original_handler: Callable[[Exception], Any], e: Exception) -> Any:
        """Leave every error to the application, whose handlers Flask-RESTful passes over otherwise."""
        return original_handler(e)


class ApiResource(flask_restful.Resource):  # type: ignore[misc]  # it has no types
    """A resource whose methods return data, which goes into the envelope.

    A method returns the data alone, ``(data, status)``, ``(data, status, headers)``, or a ready response. A tuple is
    taken apart only if its second item is a status (100 to 599) and its third, if any, a mapping; all else is data.
    After ``add_error`` the answer is a problem, whatever the method returns.
    """

    errors: list[Mistake]

    def add_error(self, message: str, path: str | None = None) -> None:
        """Add a mistake of the caller; *path* says where it stands."""
        self.errors.append(Mistake(message, path))

    def dispatch_request(self, *args: Any, **kwargs: Any) -> Any:
        """Call the method of the request, and return its answer for Flask-RESTful to serialise."""
        self.errors = []
        # A hook of the application may have set another one.
        current_operation_id.set(operation_id())
        if isinstance(self, ApiPaginatedMixin):
            self.read_page(self.add_error)
        if self.errors:
            return self._problem(400)
        data, status, headers = _taken_apart(super().dispatch_request(*args, **kwargs))
        if self.errors:
            return self._problem(status)
        if isinstance(data, BaseResponse):
            return data
        if status in _WITHOUT_BODY:
            return current_app.response_class(status=status, headers=dict(headers))
        meta = self.page_meta() if isinstance(self, ApiPaginatedMixin) else {}
        return envelope(operation_id(), data, **meta), status, headers

    def _problem(self, status: int) -> Response:
        cls = error_class(max(status, 400))
        return problem_response(cls("The request has mistakes", errors=self.errors))


def _taken_apart(result: Any) -> tuple[Any, int, Mapping[str, str]]:
    if isinstance(result, BaseResponse):
        return result, result.status_code, {}
    if isinstance(result, tuple) and len(result) in {2, 3} and _is_status(result[1]):
        data, status, headers = result if len(result) == 3 else (*result, {})
        if isinstance(headers, Mapping):
            return data, int(status), headers
    return result, 200, {}


def _is_status(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599


def _as_json(data: Any, code: int, headers: Mapping[str, str] | None = None) -> Response:
    response = current_app.response_class(current_app.json.dumps(data), status=code, mimetype="application/json")
    response.headers.extend(headers or {})
    return response
