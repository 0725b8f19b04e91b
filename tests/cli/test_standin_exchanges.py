"""The stand-in answers what a real Odoo 14 answered (``odoo14_exchanges.jsonl``, recorded, tracebacks left out)."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from entrepot.standin.server import StandIn

EXCHANGES = [json.loads(line) for line in Path(__file__).with_name("odoo14_exchanges.jsonl").read_text().splitlines()]
# Python's own words, which change from version to version, or a traceback's detail: the class of the error must do.
OWN_WORDS = {"wrong kwargs", "missing required arg", "limit as string", "id as string"}
# Nobody answers these alike twice: Odoo's own numbers of its many modules' records.
OTHER_VALUES = {"search_count", "limit 0"}


@pytest.fixture(scope="module")
def erp(tmp_path_factory):
    directory = tmp_path_factory.mktemp("erp")
    with StandIn(directory, database="demo", login="admin", password="admin") as erp:
        yield erp


def post(erp, body, kind="application/json"):
    connection = http.client.HTTPConnection(urlsplit(erp.url).netloc, timeout=5)
    try:
        connection.request("POST", "/jsonrpc", body, {"Content-Type": kind, "Connection": "keep-alive"})
        reply = connection.getresponse()
        return reply, reply.read()
    finally:
        connection.close()


def shape(value):
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return "number" if type(value) in (int, float) else type(value).__name__


def renumbered(value, numbers):
    """Return *value* with the ids of recorded new records replaced by those that the stand-in gave."""
    if isinstance(value, dict):
        return {name: renumbered(each, numbers) for name, each in value.items()}
    if isinstance(value, list):
        return [renumbered(each, numbers) for each in value]
    if isinstance(value, str):
        for recorded, ours in numbers.items():
            value = value.replace(f"({recorded},)", f"({ours},)")
        return value
    return numbers.get(value, value) if type(value) is int else value


def new_numbers(recorded, answer):
    """Return the ids in two results of a create or load, recorded to ours."""
    if isinstance(recorded, dict):
        recorded, answer = recorded.get("ids"), answer.get("ids")
    if type(recorded) is int:
        recorded, answer = [recorded], [answer]
    return dict(zip(recorded, answer, strict=True)) if recorded else {}


def method_of(request):
    args = request["params"]["args"]
    return args[4] if isinstance(request, dict) and len(args) > 4 else ""


def test_answers_are_those_of_the_recorded_odoo(erp):
    numbers, differences = {}, []
    for exchange in EXCHANGES:
        request = exchange["request"]
        plain = isinstance(request, (str, list))
        body = request if isinstance(request, str) else json.dumps(renumbered(request, numbers))

        reply, content = post(erp, body.encode())

        if reply.status != exchange["status"]:
            differences.append((exchange["title"], reply.status, content))
        elif not plain:
            answer, recorded = json.loads(content), renumbered(exchange["response"], numbers)
            if difference := compared(exchange["title"], recorded, answer):
                differences.append((exchange["title"], *difference))
            elif method_of(request) in ("create", "load") and "result" in answer:
                numbers |= new_numbers(exchange["response"]["result"], answer["result"])
    assert differences == []


def compared(title, recorded, answer):
    if recorded.keys() != answer.keys() or recorded["id"] != answer["id"]:
        return recorded, answer
    if "error" in recorded:
        kept = ("name",) if title in OWN_WORDS else ("name", "message", "arguments")
        mine, theirs = answer["error"]["data"], recorded["error"]["data"]
        same = all(mine[key] == theirs[key] for key in kept) and mine.keys() - {"debug"} == theirs.keys()
        return None if same and answer["error"]["code"] == 200 else (theirs, mine)
    mine, theirs = answer.get("result"), recorded.get("result")
    if isinstance(theirs, dict) and theirs.get("messages"):
        said = [(each["type"], each["field"], each["message"]) for each in theirs["messages"]]
        return (
            None
            if said == [(each["type"], each["field"], each["message"]) for each in mine["messages"]]
            else (theirs, mine)
        )
    return None if shape(mine) == shape(theirs) else (theirs, mine)


def test_every_connection_ends_with_its_answer(erp):
    reply, _ = post(erp, json.dumps({"id": 1, "params": {"service": "common", "method": "version", "args": []}}))

    assert reply.version == 10
    assert reply.getheader("Connection") is None
    assert reply.will_close


def test_says_everywhere_that_it_is_a_stand_in(erp):
    connection = http.client.HTTPConnection(urlsplit(erp.url).netloc, timeout=5)
    connection.request("GET", "/")
    page = connection.getresponse()
    text = page.read().decode()
    connection.close()
    _, version = post(erp, json.dumps({"id": 1, "params": {"service": "common", "method": "version", "args": []}}))

    assert "stand-in" in page.getheader("Server")
    assert "stand-in" in text
    assert "standin" in json.loads(version)["result"]["server_version"]


def test_a_body_that_is_not_json_by_its_type_is_refused(erp):
    reply, _ = post(erp, b"{}", "text/plain")

    assert reply.status == 400
