"""Every error of a Flask face becomes a problem (RFC 9457): own errors, abort, reqparse, routing, tokens, crashes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from math import ceil
from typing import Any

from flask import Flask, Response, current_app
from flask_jwt_extended.exceptions import JWTExtendedException, NoAuthorizationError
from jwt.exceptions import ExpiredSignatureError, PyJWTError
from werkzeug.exceptions import HTTPException, InternalServerError
from werkzeug.http import HTTP_STATUS_CODES

from entrepot.chassis.errors import PROBLEM_TYPE, Error, Mistake, problem
from entrepot.chassis.web.request_id import operation_id

# The body is another one, so what described the old one must not stay.
_BODY_HEADERS = {"content-type", "content-length"}


class TokenError(Error):
    """No token, or one that is not valid (RFC 6750)."""

    code, status, title = "invalid-token", 401, "The access token is missing or not valid"


def install(app: Flask) -> None:
    """Answer every error of *app* with a problem."""
    app.register_error_handler(Error, problem_response)
    app.register_error_handler(HTTPException, _answer_http_exception)
    # Extensions register handlers for their own exceptions, before or after this; translated here, none matches.
    app.handle_user_exception = partial(_translate, app.handle_user_exception)  # type: ignore[method-assign]  # as meant


def problem_response(error: Error, **members: Any) -> Response:
    """Return *error* as a response; *members* are added to the document where it has none of the name."""
    document = {**members, **problem(error, operation_id())}
    response = current_app.response_class(
        current_app.json.dumps(document), status=error.status, content_type=PROBLEM_TYPE
    )
    for name, value in error.headers:
        response.headers.add(name, value)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(max(1, ceil(error.retry_after_s)))
    return response


@cache
def error_class(status: int) -> type[Error]:
    """Return the class of errors that have nothing but a *status*: 404 has the code ``not-found``."""
    name = HTTP_STATUS_CODES.get(status, "Error")
    code = name.lower().replace(" ", "-").replace("'", "")
    return type(name.title().replace(" ", ""), (Error,), {"code": code, "status": status, "title": name})


def _answer_http_exception(exc: HTTPException) -> Response | HTTPException:
    if exc.code is None or exc.code < 400 or exc.response is not None:
        return exc
    if isinstance(exc, InternalServerError) and exc.original_exception is not None:
        return problem_response(Error())
    data = dict(getattr(exc, "data", None) or {})
    message = data.pop("message", exc.description or "")
    # reqparse puts a dictionary there: what is wrong, by the name of the argument.
    mistakes = [Mistake(str(text), name) for name, text in message.items()] if isinstance(message, dict) else []
    detail = "The request has mistakes" if mistakes else str(message)
    headers = [(name, value) for name, value in exc.get_headers() if name.lower() not in _BODY_HEADERS]
    return problem_response(error_class(exc.code)(detail, errors=mistakes, headers=headers), **data)


def _translate(handle: Callable[[Exception], Any], exc: Exception) -> Any:
    if isinstance(exc, NoAuthorizationError):
        return handle(TokenError("No access token came with the request", headers=_challenge()))
    if isinstance(exc, JWTExtendedException | PyJWTError):
        expired = isinstance(exc, ExpiredSignatureError)
        message = "The access token has expired" if expired else "The access token is not valid"
        return handle(TokenError(message, headers=_challenge(', error="invalid_token"')))
    return handle(exc)


def _challenge(error: str = "") -> list[tuple[str, str]]:
    return [("WWW-Authenticate", f'Bearer realm="{current_app.name}"{error}')]
