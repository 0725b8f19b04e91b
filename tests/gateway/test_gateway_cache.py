"""The cache: fresh, conditional, stale when the upstream fails, ended by a write, and never another's."""

import re
import threading
import time

import pytest
from catalogs import AZURE
from running import eventually
from upstream import answers, gated, hangs, message, resets

PAST_IT_S = 0.4  # the clock of a worker ticks four times a second


def ask(wire, gateway, target, *lines, method="GET", token="shop"):
    wire.send(gateway.head(method, target, *lines, token=token))
    return wire.answer(head_only=method == "HEAD")


@pytest.fixture
def wire(gateway):
    """One connection, and so one worker: what it keeps in memory the others need not know at once."""
    with gateway.wire() as wire:
        yield wire


def status_of(answer):
    return answer.header("cache-status") or ""


def pass_time(gateway, wires, wait_s):
    """Return when *wait_s* have passed by the clocks of the workers that serve *wires*, too."""
    time.sleep(wait_s)
    for wire in wires:
        # One that stood still reads what has come before it looks at its clock.
        assert ask(wire, gateway, "/health/live").status == 200


def good_answer(wire, gateway, target):
    """Return the first good answer: an upstream that has half a second may need more on a busy machine."""
    found = []
    assert eventually(lambda: found.append(ask(wire, gateway, target)) or found[-1].status == 200)
    return found[-1]


def test_second_request_is_a_hit_with_its_age(gateway, upstream, wire, name):
    upstream.plan(f"/kept/{name}", answers(b'{"n": 1}', "content-type: application/json", "x-own: 1"))

    first, second = (ask(wire, gateway, f"/v1/kept/{name}") for _ in range(2))

    assert len(upstream.seen_at(f"/kept/{name}")) == 1
    assert (first.status, first.body) == (second.status, second.body) == (200, b'{"n": 1}')
    assert "fwd=" in status_of(first)
    assert first.header("age") is None
    assert re.search(r"entrepot; hit; ttl=\d+", status_of(second))
    assert 0 <= int(second.header("age")) <= 2
    assert second.header("x-own") == "1"
    assert second.header("content-type") == "application/json"
    assert first.header("x-request-id") != second.header("x-request-id")


def test_hit_is_private_and_varies_by_authorization(gateway, wire, name):
    for _ in range(2):
        answer = ask(wire, gateway, f"/v1/kept/{name}")

        assert "private" in answer.header("cache-control")
        assert "authorization" in answer.header("vary").lower()


def test_hit_needs_a_token_and_a_scope_all_the_same(gateway, wire, name, assert_problem):
    ask(wire, gateway, f"/v1/kept/{name}")
    wire.send(gateway.head("GET", f"/v1/kept/{name}"))

    assert_problem(wire.answer(), 401, "invalid-token")
    bare = ask(wire, gateway, f"/v1/kept/{name}", token=gateway.mint.token(scope="orders.read"))
    assert_problem(bare, 403, "insufficient-scope")


def test_query_and_path_are_answers_of_their_own(gateway, upstream, wire, name):
    for target in (name, f"{name}?a=1", f"{name}?a=2", f"{name}/more"):
        for _ in range(2):
            assert ask(wire, gateway, f"/v1/kept/{target}").json()["target"] == f"/kept/{target}"

    assert len(upstream.seen_at(f"/kept/{name}")) == 3
    assert len(upstream.seen_at(f"/kept/{name}/more")) == 1


def test_nobody_gets_the_answer_in_anothers_language(gateway, upstream, wire, name):
    def script(request):
        request.send(message((request.header("accept-language") or "none").encode(), "vary: Accept-Language"))

    upstream.plan(f"/kept/{name}", script)

    for language in ("de", "fr", "de", "fr"):
        assert ask(wire, gateway, f"/v1/kept/{name}", f"Accept-Language: {language}").body == language.encode()


def test_head_is_answered_from_the_cache_too(gateway, upstream, wire, name):
    got = ask(wire, gateway, f"/v1/kept/{name}")
    head = ask(wire, gateway, f"/v1/kept/{name}", method="HEAD")
    following = ask(wire, gateway, "/status")

    assert (head.status, following.status) == (200, 200)
    assert head.header("etag") == got.header("etag")
    assert "hit" in status_of(head)
    assert len(upstream.seen_at(f"/kept/{name}")) == 1


def test_head_that_came_first_does_not_make_an_empty_get(gateway, name):
    with gateway.wire() as wire:
        assert ask(wire, gateway, f"/v1/kept/{name}", method="HEAD").status == 200
        answer = ask(wire, gateway, f"/v1/kept/{name}")

    assert answer.json()["target"] == f"/kept/{name}"


@pytest.mark.parametrize(
    "target", ["/v1/contacts/26", "/v1/contacts?limit=1", "/v1/kept-contacts/26", "/v1/kept-contacts", "/v1/kept/etag"]
)
def test_if_none_match_is_304_without_a_body(gateway, wire, target):
    first = ask(wire, gateway, target)
    etag = first.header("etag")
    assert re.fullmatch(r'"[!#-~]+"', etag), f"not a strong validator: {etag}"

    same = ask(wire, gateway, target, f"If-None-Match: {etag}")
    among = ask(wire, gateway, target, f'If-None-Match: "x", W/{etag}')
    any_ = ask(wire, gateway, target, "If-None-Match: *")
    head = ask(wire, gateway, target, f"If-None-Match: {etag}", method="HEAD")
    other = ask(wire, gateway, target, 'If-None-Match: "other"')

    assert [answer.status for answer in (same, among, any_, head, other)] == [304, 304, 304, 304, 200]
    assert same.header("etag") == etag
    assert same.body == b""
    assert other.header("etag") == etag
    if first.header("cache-control"):
        assert same.header("cache-control") == first.header("cache-control")


def test_etag_changes_with_the_record_and_not_with_the_operation(gateway, erp, name):
    id_ = erp.contact(AZURE, name)
    tags = [gateway.call("GET", f"/v1/contacts/{id_}", token="shop").header("etag") for _ in range(2)]

    erp.call("res.partner", "write", [id_], {"email": "Graz"})
    after = gateway.call("GET", f"/v1/contacts/{id_}", token="shop").header("etag")

    assert tags[0] == tags[1] != after


def test_if_match_guards_an_update(gateway, erp, name, assert_problem):
    id_ = erp.contact(AZURE, name)
    etag = gateway.call("GET", f"/v1/contacts/{id_}", token="shop").header("etag")
    erp.call("res.partner", "write", [id_], {"email": "Graz"})

    old = gateway.call_json("PATCH", f"/v1/contacts/{id_}", {"email": "Linz"}, f"If-Match: {etag}", token="shop")
    assert_problem(old, 412, "precondition-failed")
    assert erp.read("res.partner", id_, "email")["email"] == "Graz"

    etag = gateway.call("GET", f"/v1/contacts/{id_}", token="shop").header("etag")
    new = gateway.call_json("PATCH", f"/v1/contacts/{id_}", {"email": "Linz"}, f"If-Match: {etag}", token="shop")
    assert new.status == 200, new.body
    assert new.data["email"] == "Linz"


OUTAGES = {
    "resets": (resets(), "upstream-unavailable"),
    "hangs": (hangs(), "upstream-timeout"),
    "noise": (answers(b"x", "content-length: 5"), "upstream-bad-answer"),
    "500": (answers(b"oops", status="500 Internal Server Error"), None),
    "502": (answers(b"oops", status="502 Bad Gateway"), None),
    "503": (answers(b"oops", status="503 Service Unavailable"), None),
}


@pytest.fixture(scope="module")
def outage_answers(gateway, upstream):
    """For each outage the good answer before and the one during it, all of them at once: they wait to get old."""
    found = {}
    wires = {outage: gateway.wire() for outage in OUTAGES}
    paths = {outage: f"/brief{'-hasty' * (outage == 'hangs')}/outage-{number}" for number, outage in enumerate(OUTAGES)}
    for outage, wire in wires.items():
        found[outage] = [good_answer(wire, gateway, f"/v1{paths[outage]}")]
        upstream.plan(paths[outage], OUTAGES[outage][0])
    pass_time(gateway, wires.values(), PAST_IT_S)
    for outage, wire in wires.items():
        wire.send(gateway.head("GET", f"/v1{paths[outage]}", token="shop"))
    for outage, wire in wires.items():
        found[outage].append(wire.answer())
        wire.close()
    return found


@pytest.mark.parametrize("outage", OUTAGES)
def test_stale_answer_stands_in_for_a_failing_upstream(outage_answers, outage):
    good, answer = outage_answers[outage]
    reason = OUTAGES[outage][1]

    assert (answer.status, answer.body) == (200, good.body)
    assert "fwd=stale" in status_of(answer)
    assert reason is None or reason in status_of(answer)
    assert int(answer.header("age")) >= 0


def test_old_answer_is_asked_for_again_and_a_stale_one_ends_with_its_window(
    gateway, upstream, wire, name, assert_problem
):
    for path in ("brief", "fleeting"):
        assert ask(wire, gateway, f"/v1/{path}/{name}").status == 200
    assert ask(wire, gateway, f"/v1/brief/{name}-gone").status == 200
    upstream.plan(f"/brief/{name}", answers(b"new"))
    upstream.plan(f"/brief/{name}-gone", answers(b"gone", status="404 Not Found"))
    upstream.plan(f"/fleeting/{name}", resets())
    pass_time(gateway, [wire], 0.7)

    assert ask(wire, gateway, f"/v1/brief/{name}").body == b"new"
    assert ask(wire, gateway, f"/v1/brief/{name}-gone").status == 404, "an answer of the upstream is no outage"
    assert_problem(ask(wire, gateway, f"/v1/fleeting/{name}"), 503, "upstream-unavailable")


def test_upstream_that_never_answered_has_no_stale_answer(gateway, name, assert_problem):
    assert_problem(gateway.call("GET", f"/v1/kept-gone/{name}", token="shop"), 503, "upstream-unavailable")


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("404 Not Found", "x: y"),
        ("500 Internal Server Error", "x: y"),
        ("302 Found", "location: /x"),
        ("200 OK", "cache-control: no-store"),
        ("206 Partial Content", "content-range: bytes 0-0/9"),
        ("200 OK", "set-cookie: session=1"),
        ("200 OK", "vary: *"),
    ],
)
def test_answer_that_may_not_be_kept_is_not_kept(gateway, upstream, wire, name, status, line):
    upstream.plan(f"/kept/{name}", answers(b"x", line, status=status))

    for _ in range(2):
        assert ask(wire, gateway, f"/v1/kept/{name}").status == int(status[:3])

    assert len(upstream.seen_at(f"/kept/{name}")) == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_write_in_one_worker_ends_what_the_other_keeps(gateway, upstream, name, method):
    target = f"/v1/kept/{name}"
    with gateway.one_wire_for_each_worker() as wires:
        for wire in wires:
            ask(wire, gateway, target)
            assert "hit" in status_of(ask(wire, gateway, target))
        before = len(upstream.seen_at(f"/kept/{name}"))

        assert ask(wires[0], gateway, f"/v1/kept/{name}-other", method=method).status == 200
        after = [ask(wire, gateway, target) for wire in wires]

    assert "hit" not in status_of(after[0])
    assert not re.search(r"hit", status_of(after[1])) or len(upstream.seen_at(f"/kept/{name}")) > before


def test_write_to_a_model_is_seen_by_the_next_read_in_both_workers(gateway, name):
    created = gateway.call_json("POST", "/v1/kept-contacts", {"name": name}, token="shop").data["id"]
    target = f"/v1/kept-contacts/{created}"
    with gateway.one_wire_for_each_worker() as wires:
        for round_, email in enumerate(("Graz", "Linz", "Wels")):
            for wire in wires:
                ask(wire, gateway, target)
            changed = gateway.call_json("PATCH", target, {"email": email}, token="shop")
            assert changed.status == 200, changed.body

            seen = [ask(wire, gateway, target).data["email"] for wire in wires]
            assert seen == [email, email], f"round {round_}"


def test_read_that_began_before_a_write_does_not_bring_the_old_answer_back(gateway, upstream, name):
    gate = threading.Event()
    upstream.plan(f"/kept/{name}", gated(gate, b"old"))
    reader = threading.Thread(target=gateway.call, args=("GET", f"/v1/kept/{name}"), kwargs={"token": "shop"})
    reader.start()
    assert eventually(lambda: upstream.seen_at(f"/kept/{name}"))
    assert gateway.call("POST", f"/v1/kept/{name}-write", token="shop").status == 200
    gate.set()
    reader.join()
    upstream.plan(f"/kept/{name}", answers(b"new"))

    assert gateway.call("GET", f"/v1/kept/{name}", token="shop").body == b"new"


def test_refused_write_ends_nothing(gateway, wire, name):
    ask(wire, gateway, f"/v1/kept/{name}")

    assert ask(wire, gateway, f"/v1/kept/{name}", method="POST", token="reader").status == 403

    assert "hit" in status_of(ask(wire, gateway, f"/v1/kept/{name}"))


def test_wrong_query_is_not_kept(gateway, assert_problem):
    for _ in range(2):
        assert_problem(
            gateway.call("GET", "/v1/kept-contacts?limit=0", token="shop"), 400, "unknown-parameter", path="limit"
        )
