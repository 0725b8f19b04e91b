"""The one assertion about everything that goes wrong: status, problem document, fields, log line, and no harm done."""

import os
import re
from uuid import UUID

from running import eventually

LEAKS = re.compile(
    rb"""traceback|file \\?"|\.py\b|site-packages|/tmp/|/home/|psycopg|sqlite|builtins\.|odoo\.(exceptions|addons)"""
    rb"""|select .* from|insert into|res\.partner|res_partner|sale\.order|sale_order|ir\.model|res\.users|jsonrpc"""
    rb"""|s3cret|<html|<!doctype""",
    re.IGNORECASE,
)
MEMBERS = {"type", "title", "status", "detail", "code", "meta", "errors"}


class ProblemCheck:
    """Checks problems of one daemon. Operation ids are kept; ``check_log`` looks for all of them at once."""

    def __init__(self, gateway):
        self._gateway = gateway
        self._seen: dict[str, str] = {}

    def __call__(self, answer, status, code, *, paths=None, path=None, detail=None, alive=True):
        """Assert that *answer* is the problem *code* with *status*.

        *paths* are all the places that ``errors`` names, *path* is one that it must name, *detail* a part of the text.
        """
        assert answer.status == status, f"{answer.status}: {answer.body[:800]!r}"
        document = self._document(answer, status, code)
        self._check_fields(answer, status)
        named = [mistake.get("path") for mistake in document["errors"]]
        if paths is not None:
            assert sorted(named) == sorted(paths), document["errors"]
        if path is not None:
            assert path in named, document["errors"]
        if detail is not None:
            assert detail.lower() in document["detail"].lower()
        found = LEAKS.search(answer.body)
        assert found is None, f"leaks {found.group()!r}: {answer.body[:800]!r}"
        self._seen[document["meta"]["operation_id"]] = os.environ.get("PYTEST_CURRENT_TEST", "")
        if alive:
            self.serves()
        return document

    def serves(self) -> None:
        """Assert that the gateway serves a good request."""
        good = self._gateway.call("GET", "/v1/echo/good", token="shop")
        assert good.status == 200, f"the gateway does not go on: {good.status} {good.body[:300]!r}"

    def check_log(self) -> None:
        """Assert that every problem so far has a line of the access log."""
        missing: set[str] = set()

        def are_there() -> bool:
            log = self._gateway.log()
            missing.clear()
            missing.update(test for id_, test in self._seen.items() if f"[{id_}] entrepot.access" not in log)
            return not missing

        # Each worker hands its lines over four times a second.
        there = eventually(are_there, every_s=0.05)
        count = len(self._seen)
        self._seen.clear()
        assert there, f"of {count} problems these have no line in the access log: {sorted(missing)}"

    def _document(self, answer, status, code) -> dict:
        assert answer.header("content-type") == "application/problem+json"
        document = answer.json()
        assert set(document) >= MEMBERS
        assert document["type"] == f"urn:entrepot:problem:{code}"
        assert (document["code"], document["status"]) == (code, status)
        assert isinstance(document["title"], str)
        assert isinstance(document["detail"], str)
        assert document["detail"]
        operation_id = document["meta"]["operation_id"]
        assert operation_id == answer.header("x-request-id")
        assert_operation_id(operation_id)
        for mistake in document["errors"]:
            assert isinstance(mistake["message"], str)
            assert mistake["message"]
        return document

    def _check_fields(self, answer, status) -> None:
        challenge = answer.header("www-authenticate")
        if status == 401:
            assert challenge is not None
            assert challenge in {'Bearer realm="entrepot"', 'Bearer realm="entrepot", error="invalid_token"'}
        retry_after = answer.header("retry-after")
        if status in {429, 503}:
            assert retry_after is not None, f"no Retry-After: {answer.fields}"
        if retry_after is not None:
            assert 1 <= int(retry_after) <= 3600
        if status == 405:
            assert answer.header("allow")


def assert_operation_id(text: str) -> None:
    """Assert that *text* is a uuid4 in its canonical form."""
    assert str(UUID(text)) == text
    assert UUID(text).version == 4
