"""An ERP that is not itself: partners get the class of the fault, and nothing of its insides."""

import json
import time

import pytest
from upstream import answers, hangs, message, sends, streams

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
BAD = (502, "upstream-bad-answer")
MISFIT = (502, "upstream-misconfigured")
AWAY = (503, "upstream-unavailable")
LATE = (504, "upstream-timeout")
LOGIN = "authenticate"


def says(**members):
    """Return a script that answers a call with *members* as Odoo would frame them."""

    def script(request):
        number = json.loads(request.read_body())["id"]
        request.send(message(json.dumps({"jsonrpc": "2.0", "id": number, **members}).encode()))

    return script


def raises(name, text):
    """Return a script that answers with an exception inside Odoo, its traceback too."""
    debug = f'Traceback (most recent call last):\n  File "/usr/lib/odoo/x.py", line 1\n{name}: {text}'
    data = {"name": name, "debug": debug, "message": text, "arguments": [text], "context": {}}
    return says(error={"code": 200, "message": "Odoo Server Error", "data": data})


def after_login(script):
    """Return *script* for every call but the login, which goes well."""
    return by_method(**{LOGIN: says(result=2)}, execute_kw=script)


def by_method(**scripts):
    def script(request):
        method = json.loads(request.read_body())["params"]["method"]
        # Probes ask for the version, whatever a test has planned.
        return scripts.get(method, says(result={}))(request)

    return script


FAULTS = {
    "no such database": (raises("psycopg2.OperationalError", 'FATAL:  database "x" does not exist\n'), MISFIT),
    "access denied": (raises("odoo.exceptions.AccessDenied", "Access Denied"), MISFIT),
    "no access": (
        raises("odoo.exceptions.AccessError", "You are not allowed to access (res.partner) records."),
        MISFIT,
    ),
    "no such model": (raises("odoo.exceptions.UserError", "Object res.partner doesn't exist"), MISFIT),
    "no such field": (raises("builtins.ValueError", "Invalid field 'x' on model 'res.partner'"), MISFIT),
    "no database": (raises("psycopg2.InterfaceError", "connection already closed"), AWAY),
    "concurrent update": (raises("psycopg2.errors.SerializationFailure", "could not serialize access"), AWAY),
    "a mistake of its own": (raises("builtins.ZeroDivisionError", "division by zero"), BAD),
    "HTML": (answers(b"<html>Odoo is being updated</html>", "content-type: text/html"), BAD),
    "500": (answers(b"<h1>Internal Server Error</h1>", status="500 Internal Server Error"), AWAY),
    "502": (answers(b"<h1>nginx</h1>", status="502 Bad Gateway"), AWAY),
    "503": (answers(b"<h1>maintenance</h1>", status="503 Service Unavailable"), AWAY),
    "404": (answers(b"<h1>Not Found</h1>", status="404 Not Found"), MISFIT),
    "400": (answers(b"<h1>Invalid JSON data</h1>", status="400 Bad Request"), BAD),
    "a redirect": (answers(b"", "location: /web/login", status="303 See Other"), MISFIT),
    "nothing": (answers(b""), BAD),
    "a list": (answers(b"[]"), BAD),
    "a text": (answers(b'"ok"'), BAD),
    "broken JSON": (answers(b'{"jsonrpc": "2.0", "resu'), BAD),
    "no UTF-8": (answers(b'{"result": "\xff"}'), BAD),
    "10 000 lists": (answers(b"[" * 10_000 + b"]" * 10_000), BAD),
    "the answer to another call": (answers(b'{"jsonrpc": "2.0", "id": 987654, "result": []}'), BAD),
    "an error that is a text": (says(error="no"), BAD),
    "an error without data": (says(error={"code": 200, "message": "x"}), BAD),
    "a number for records": (says(result=2), BAD),
    "texts for records": (says(result=["a"]), BAD),
    "records without fields": (says(result=[{}]), BAD),
    "no result": (says(), BAD),
    "a closed connection": (sends(b""), AWAY),
    "half an answer": (sends(OK + b'content-length: 100\r\n\r\n{"result"'), AWAY),
    "two lengths": (sends(OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} "), BAD),
    "silence": (hangs(), LATE),
    "silence in the body": (hangs(OK + b"content-length: 100\r\n\r\n{"), LATE),
    "100 MB": (streams(OK + b"content-length: 100000000\r\n\r\n", b" " * 1_000_000, times=100), BAD),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_of_the_erp_is_a_problem_that_tells_nothing_of_it(gateway, upstream, assert_problem, fault):
    script, wanted = FAULTS[fault]
    path = "/v1/unheard" if wanted == LATE else "/v1/misread"
    with upstream.planned("/jsonrpc", after_login(script)):
        answer = gateway.call("GET", path, token="shop")

    assert_problem(answer, *wanted)


@pytest.mark.parametrize("fault", ["access denied", "a mistake of its own", "a closed connection"])
def test_fault_in_a_write_is_a_problem_too(gateway, upstream, assert_problem, fault):
    script, wanted = FAULTS[fault]
    with upstream.planned("/jsonrpc", after_login(script)):
        answer = gateway.call_json("POST", "/v1/misread", {"name": "x"}, token="shop")

    assert_problem(answer, *wanted)


def test_endless_answer_of_the_erp_is_bounded(gateway, upstream, assert_problem):
    before = gateway.memory_bytes()
    endless = streams(CHUNKED, b" " * 1_000_000, framed=True)
    with upstream.planned("/jsonrpc", after_login(endless)):
        answer = gateway.call("GET", "/v1/misread", token="shop")

    assert answer.status in {502, 504}
    assert_problem(answer, answer.status, answer.json()["code"])
    assert gateway.memory_bytes() - before < 150_000_000


def test_refused_login_is_a_fault_of_the_gateway_and_not_of_the_caller(gateway, assert_problem):
    assert_problem(gateway.call("GET", "/v1/locked-out", token="shop"), *MISFIT)


def test_write_is_not_sent_twice(gateway, upstream, name):
    before = len(upstream.seen)
    with upstream.planned("/jsonrpc", after_login(sends(b""))):
        assert gateway.call_json("POST", "/v1/misread", {"name": name}, token="shop").status == 503

    writes = [seen for seen in upstream.seen[before:] if seen.path == "/jsonrpc" and b'"execute_kw"' in seen.raw]
    assert len(writes) == 1


def test_erp_that_was_bad_is_asked_again(gateway, upstream):
    with upstream.planned("/jsonrpc", after_login(answers(b"[]"))):
        assert gateway.call("GET", "/v1/misread", token="shop").status == 502

    with upstream.planned("/jsonrpc", after_login(says(result=[{"id": 1, "name": "Good"}]))):
        answer = gateway.call("GET", "/v1/misread", token="shop")

    assert answer.status == 200, answer.body
    assert answer.data == [{"id": 1, "name": "Good"}]


@pytest.mark.slow
def test_login_that_was_refused_is_tried_again(gateway, upstream):
    with upstream.planned(
        "/jsonrpc", by_method(authenticate=says(result=False), execute_kw=raises("odoo.exceptions.AccessDenied", "x"))
    ):
        assert {gateway.call("GET", "/v1/misread", token="shop").status for _ in range(6)} == {502}

    with upstream.planned("/jsonrpc", after_login(says(result=[]))):
        until = time.monotonic() + 15
        statuses = [502]
        while time.monotonic() < until and statuses[-6:] != [200] * 6:
            statuses.append(gateway.call("GET", "/v1/misread", token="shop").status)
            time.sleep(0.2)

    assert statuses[-6:] == [200] * 6
