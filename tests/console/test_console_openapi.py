"""The OpenAPI document says what the console does, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from console_support import PASSWORD, Script
from openapi_spec_validator import OpenAPIV31SpecValidator

from entrepot.console.table import PREFIX, TABLE


@pytest.fixture
def document(app):
    return Script(app).get("/openapi.json").json


def test_the_document_is_openapi_31(document):
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_the_document_has_each_row_of_the_table_and_each_route_of_the_application(app, document):
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}

    routed = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule.removeprefix(PREFIX)), method)
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(PREFIX)
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }

    assert described == routed
    assert len(described) == len(TABLE)


def test_each_operation_has_a_name_of_its_own(document):
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]

    assert len(set(names)) == len(names)


def test_all_but_signing_in_and_the_document_itself_need_a_session(document):
    open_to_all = {
        (path, method)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if not operation["security"]
    }

    assert open_to_all == {("/session", "post"), ("/openapi.json", "get")}


DETERMINISTIC = "--generation-deterministic"
SCHEMATHESIS = """
hooks = "hooks.py"

checks.negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 429, 431]

[[operations]]
include-path-regex = "^/(partners|clients|tokens|revocations|revocations/token|revocations/all)$"
# What a schema cannot say: a name of the catalog, a token of ours, a moment that is past.
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422, 429]
"""

HOOKS = """
import schemathesis

@schemathesis.hook
def filter_query(context, query):
    # On the wire a list of one is what is in it, and one of nothing is not there: neither breaks the schema.
    return not any(isinstance(value, list | dict) for value in (query or {}).values())
"""


@pytest.mark.slow
def test_whatever_is_asked_the_answer_is_one_that_the_document_has(process, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    (tmp_path / "hooks.py").write_text(HOOKS)
    program = Path(sys.executable).with_name("schemathesis")
    options = [
        DETERMINISTIC, "--checks=all", "--phases=examples,coverage,fuzzing", "--max-examples=40",
        "--continue-on-failure",
        # Ends the session that asks, or lasts as long as a password does.
        "--exclude-path-regex=^/session", f"--header=Authorization: Bearer {process.token()}", "--no-color",
    ]  # fmt: skip

    done = subprocess.run(
        [program, "--config-file", tmp_path / "schemathesis.toml", "run", *options,
         f"{process.base}{PREFIX}/openapi.json"],
        capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-20_000:]
    # The document itself is not asked for again.
    asked = [row for row in TABLE if not row.path.startswith(("/session", "/openapi.json"))]
    assert re.search(r"Tested: (\d+)", done.stdout)[1] == str(len(asked))
    assert "Traceback" not in process.log()


@pytest.mark.slow
def test_who_is_not_signed_in_gets_nothing_but_the_answers_of_the_document(process, tmp_path):
    program = Path(sys.executable).with_name("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"

    done = subprocess.run(
        [program, "run", DETERMINISTIC, f"--checks={checks}", "--max-examples=10", "--phases=coverage,fuzzing",
         "--no-color", "--continue-on-failure", "--warnings=off", f"{process.base}{PREFIX}/openapi.json"],
        capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-20_000:]


SESSION_HOOKS = """
from pathlib import Path

import schemathesis
from sqlalchemy import select

from entrepot.identity.operators import held
from entrepot.identity.sessions import Sessions
from entrepot.services import Services
from entrepot.settings import load_settings
from entrepot.store.audit import Actor
from entrepot.store.identity import Operator

services = Services.from_settings(load_settings(Path({settings!r}), {{}}))
sessions = Sessions(services.database, idle_s=3600.0, longest_s=3600.0)
with services.database.reading() as session:
    admin = held(session.scalar(select(Operator).where(Operator.name == "eve")))


@schemathesis.hook
def before_call(context, case, kwargs):
    # Each call may end its session, so each has one of its own.
    begun = sessions.begin(admin, actor=Actor("eve", "console", "fuzz"))
    case.headers = {{**(case.headers or {{}}), "Authorization": f"Bearer {{begun.text}}"}}
"""


@pytest.mark.slow
def test_whatever_an_admin_asks_of_the_session_the_answer_is_one_that_the_document_has(process, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(SCHEMATHESIS)
    (tmp_path / "hooks.py").write_text(HOOKS + SESSION_HOOKS.format(settings=str(process.home / "entrepot.ini")))
    process.entrepot("operator", "add", "--role", "admin", "eve", "-", stdin=PASSWORD)
    program = Path(sys.executable).with_name("schemathesis")
    # The hook shows a session whatever is tried without one.
    options = [
        "--checks=all", "--exclude-checks=ignored_auth", "--phases=examples,coverage,fuzzing", "--max-examples=30",
        DETERMINISTIC, "--continue-on-failure", "--include-path-regex=^/session", "--no-color",
    ]  # fmt: skip

    done = subprocess.run(
        [program, "--config-file", tmp_path / "schemathesis.toml", "run", *options,
         f"{process.base}{PREFIX}/openapi.json"],
        capture_output=True, text=True, cwd=tmp_path, timeout=600, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout[-20_000:]
    assert re.search(r"Tested: (\d+)", done.stdout)[1] == str(sum(row.path.startswith("/session") for row in TABLE))
    assert "Traceback" not in process.log()
