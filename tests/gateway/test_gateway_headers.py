"""Header fields: bounds, duplicates, what is passed on, what never is, and whose word is believed."""

from uuid import uuid4

import pytest
from problems import assert_operation_id

TARGET = "/v1/echo/headers"
KB = 1024


def fields_seen(gateway, *lines, **options):
    answer = gateway.call("GET", TARGET, *lines, token="shop", **options)
    assert answer.status == 200, answer.body
    return answer.json()["fields"]


@pytest.mark.parametrize(
    "field",
    [
        "Authorization: Bearer {token}",
        "Content-Type: text/plain",
        "X-Request-Id: 1",
        "User-Agent: b",
        "X-HTTP-Method-Override: PUT",
        "Idempotency-Key: b",
        "If-Modified-Since: b",
    ],
)
def test_field_that_may_stand_once_is_refused_twice(gateway, upstream, name, assert_problem, field):
    line = field.format(token=gateway.tokens["shop"])
    lines = [line, line] if not field.startswith("Authorization") else [line]

    assert_problem(gateway.call("POST", f"/v1/echo/{name}", *lines, token="shop"), 400, "bad-request", detail="twice")
    assert not upstream.seen_at(f"/echo/{name}")


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        (["Accept: a", "Accept: b"], "accept", "a, b"),
        (["Cookie: a=1", "Cookie: b=2"], "cookie", "a=1; b=2"),
        (["X-List: a", "x-list: b", "X-LIST: c"], "x-list", "a, b, c"),
    ],
)
def test_field_that_is_a_list_is_joined(gateway, lines, name, value):
    assert fields_seen(gateway, *lines)[name] == value


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Large: " + "x" * 9 * KB],
        ["X-Large: " + "x" * 70 * KB],
        [f"X-{i}: {'x' * 300}" for i in range(30)],
        [f"X-{i}: y" for i in range(60)],
        ["x" * 9000 + ": y"],
    ],
)
def test_head_that_is_too_large_is_431(gateway, assert_problem, lines):
    answer = gateway.call("GET", TARGET, *lines, token="shop")

    assert_problem(answer, 431, "headers-too-large")
    assert answer.header("connection") == "close"


@pytest.mark.parametrize("size", [2100, 7000])
def test_target_that_is_too_long_is_414(gateway, assert_problem, size):
    assert_problem(gateway.call("GET", "/v1/echo/" + "x" * size, token="shop"), 414, "target-too-long")


def test_target_longer_than_any_head_is_refused(gateway, assert_problem):
    answer = gateway.call("GET", "/v1/echo/" + "x" * 100_000, token="shop")

    assert answer.status in {414, 431}
    assert_problem(answer, answer.status, {414: "target-too-long", 431: "headers-too-large"}[answer.status])


def test_endless_head_is_cut(gateway, assert_problem):
    with gateway.wire() as wire:
        wire.send(b"GET /status HTTP/1.1\r\nHost: gateway.test\r\n")
        for _ in range(64):
            wire.send(b"X-More: " + b"y" * 1000 + b"\r\n")

        assert_problem(wire.answer(), 431, "headers-too-large")


def test_head_within_the_bounds_is_taken(gateway):
    assert len(fields_seen(gateway, "X-Large: " + "x" * 5 * KB)["x-large"]) == 5 * KB


@pytest.mark.parametrize("value", ["identity", "100-Continue, x", "200-ok"])
def test_other_expectation_is_refused(gateway, assert_problem, value):
    answer = gateway.call("POST", TARGET, f"Expect: {value}", token="shop", body=b"x")

    assert answer.status in {400, 417}
    assert_problem(answer, answer.status, answer.json()["code"])


# -- what reaches the upstream


def test_token_of_the_caller_never_reaches_the_upstream(gateway, upstream, name):
    gateway.call("GET", f"/v1/echo/{name}", token="shop")

    (seen,) = upstream.seen_at(f"/echo/{name}")
    assert gateway.tokens["shop"].encode() not in seen.raw
    assert seen.header("authorization") is None


@pytest.mark.parametrize(
    "line",
    [
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Trailer: X-A",
        "Proxy-Authorization: Basic eA==",
        "Proxy-Connection: keep-alive",
    ],
)
def test_field_of_the_hop_stays_on_its_hop(gateway, line):
    assert line.partition(":")[0].lower() not in fields_seen(gateway, line)


@pytest.mark.parametrize("connection", ["X-Private", "close, X-Private", "x-private , keep-alive"])
def test_field_that_connection_names_stays_on_its_hop(gateway, connection):
    seen = fields_seen(gateway, f"Connection: {connection}", "X-Private: 1", "X-Public: 2")

    assert "x-private" not in seen
    assert "x-public" in seen


@pytest.mark.parametrize("connection", ["X-Request-Id", "X-Forwarded-For", "Host", "Forwarded", "Content-Length"])
def test_connection_cannot_take_away_what_the_gateway_adds(gateway, connection):
    answer = gateway.call("POST", TARGET, f"Connection: {connection}", token="shop", body=b"abc")

    assert answer.status == 200, answer.body
    assert answer.json()["body"] == "abc"
    assert answer.json()["fields"][connection.lower()]


def test_host_at_the_upstream_is_the_upstreams_own(gateway, upstream):
    seen = fields_seen(gateway)

    assert seen["host"] == f"127.0.0.1:{upstream.port}"
    assert seen["x-forwarded-host"] == "gateway.test"


def test_word_of_a_stranger_about_where_he_comes_from_is_not_believed(gateway):
    seen = fields_seen(
        gateway,
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "Forwarded: for=1.2.3.4;proto=https",
        "X-Real-IP: 1.2.3.4",
        "X-Forwarded-Host: evil.test",
        source="127.30.0.1",
    )

    assert seen["x-forwarded-for"] == "127.30.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == "gateway.test"
    assert "1.2.3.4" not in seen["forwarded"]
    assert "for=127.30.0.1" in seen["forwarded"]


def test_word_of_a_trusted_proxy_is_believed(gateway):
    seen = fields_seen(gateway, "X-Forwarded-For: 9.9.9.9, 1.2.3.4", "X-Forwarded-Proto: https", source="127.9.0.1")

    assert seen["x-forwarded-for"].startswith("1.2.3.4") or seen["x-forwarded-for"].endswith("1.2.3.4")
    assert seen["x-forwarded-proto"] == "https"
    assert "for=1.2.3.4" in seen["forwarded"]


def test_client_network_is_judged_by_what_a_trusted_proxy_says(gateway, assert_problem):
    inside = gateway.call("GET", TARGET, "X-Forwarded-For: 127.8.1.1", token="fenced", source="127.9.0.1")
    forged = gateway.call("GET", TARGET, "X-Forwarded-For: 127.8.1.1, 1.2.3.4", token="fenced", source="127.9.0.1")
    stranger = gateway.call("GET", TARGET, "X-Forwarded-For: 127.8.1.1", token="fenced", source="127.30.0.1")

    assert inside.status == 200, inside.body
    assert_problem(forged, 403, "forbidden")
    assert_problem(stranger, 403, "forbidden")


@pytest.mark.parametrize(
    "value", ["", "x", "1.2.3.4.5", "unknown", "1.2.3.4:99999", "::", "\xff", "," * 100, "_hidden", "[::1]:80"]
)
def test_odd_word_of_a_trusted_proxy_does_no_harm(gateway, value):
    answer = gateway.call("GET", TARGET, f"X-Forwarded-For: {value}", token="shop", source="127.9.0.1")

    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "line",
    ["X-A: a%0d%0aX-Evil: 1", "X-A: a\\r\\nX-Evil: 1", "X-A: \xe5\x98\x8a\xe5\x98\x8dX-Evil: 1", "X-A: a b", "X-A: é"],
)
def test_value_with_a_line_end_in_disguise_stays_one_value(gateway, upstream, name, line):
    answer = gateway.call("GET", f"/v1/echo/{name}", line, token="shop")

    assert answer.status == 200, answer.body
    (seen,) = upstream.seen_at(f"/echo/{name}")
    assert seen.header("x-evil") is None
    assert seen.header("x-a") == line.partition(": ")[2]


def test_host_of_the_caller_cannot_break_out_of_forwarded(gateway):
    answer = gateway.call("GET", TARGET, token="shop")
    assert answer.status == 200
    with gateway.wire() as wire:
        wire.send(gateway.head("GET", TARGET, token="shop").replace(b"gateway.test", b'a";for=1.2.3.4;x="'))

        assert wire.answer().status == 400


def test_line_ends_in_a_key_do_not_get_into_location(gateway, name):
    reference = f"{name}\r\nX-Evil: 1"

    answer = gateway.call_json("POST", "/v1/orders", {"reference": reference}, token="shop")

    if answer.status == 201:
        assert answer.header("x-evil") is None
        assert "%0D%0A" in answer.header("location")
    else:
        assert answer.status == 422, answer.body


def test_relay_adds_and_drops_what_the_catalog_says(gateway, upstream):
    gateway.call("GET", "/v1/fixed", "X-Private: 1", "X-Added: forged", token="shop")

    seen = upstream.seen_at("/fixed")[-1]
    assert seen.header("x-added") == "yes"
    assert seen.header("x-private") is None


# -- the operation id


def test_operation_id_is_one_in_answer_envelope_upstream_and_log(gateway, upstream, name):
    relayed = gateway.call("GET", f"/v1/echo/{name}", token="shop")
    read = gateway.call("GET", "/v1/contacts/26", token="shop")

    for answer in (relayed, read):
        assert_operation_id(answer.header("x-request-id"))
        assert gateway.log_lines(answer.header("x-request-id"))
    assert upstream.seen_at(f"/echo/{name}")[0].header("x-request-id") == relayed.header("x-request-id")
    assert read.json()["meta"]["operation_id"] == read.header("x-request-id")
    assert relayed.header("x-request-id") != read.header("x-request-id")


def test_operation_id_of_a_trusted_proxy_is_taken(gateway):
    given = str(uuid4())

    answer = gateway.call("GET", TARGET, f"X-Request-Id: {given}", token="shop", source="127.9.0.1")

    assert answer.header("x-request-id") == given
    assert answer.json()["fields"]["x-request-id"] == given


@pytest.mark.parametrize("source", ["127.0.0.1", "127.30.0.1"])
def test_operation_id_of_a_stranger_is_not_taken(gateway, source):
    given = str(uuid4())

    answer = gateway.call("GET", TARGET, f"X-Request-Id: {given}", token="shop", source=source)

    assert answer.header("x-request-id") != given
    assert answer.json()["fields"]["x-request-id"] == answer.header("x-request-id")


@pytest.mark.parametrize(
    "given",
    [
        "",
        "1",
        "x" * 36,
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-1000-8000-000000000000",
        "{00000000-0000-4000-8000-000000000000}",
        "000000000000400080000000000000000",
        "a\tb",
        "\xff" * 36,
    ],
)
def test_operation_id_that_is_no_uuid4_is_replaced(gateway, given):
    answer = gateway.call("GET", TARGET, f"X-Request-Id: {given}", token="shop", source="127.9.0.1")

    assert answer.header("x-request-id") != given
    assert_operation_id(answer.header("x-request-id"))


def test_upstream_cannot_set_the_operation_id_or_the_limits(gateway, upstream, name):
    from upstream import answers  # noqa: PLC0415

    upstream.plan(
        f"/echo/{name}",
        answers(
            b"x",
            "X-Request-Id: forged",
            'RateLimit: "x";r=99',
            "Keep-Alive: timeout=1",
            "Connection: X-Hop",
            "X-Hop: 1",
        ),
    )

    answer = gateway.call("GET", f"/v1/echo/{name}", token="shop")

    assert_operation_id(answer.header("x-request-id"))
    assert answer.header("ratelimit") is None
    assert answer.header("x-hop") is None
    assert answer.header("keep-alive") is None


def test_log_cannot_be_forged(gateway, name):
    path = f"/v1/echo/{name}%0a2026-01-01 00:00:00,000 [INFO] forged"

    answer = gateway.call("GET", path.replace(" ", "%20"), "User-Agent: a\x85b\xe2\x80\xa8c", token="shop")

    (line,) = gateway.log_lines(answer.header("x-request-id"))
    assert "forged" not in line.partition(name)[0]
    assert not [line for line in gateway.log().splitlines() if line.startswith("2026-01-01 00:00:00,000 [INFO] forged")]


def test_log_holds_no_token_no_query_and_no_secret(gateway, mint):
    gateway.call("GET", f"{TARGET}?iban=AT611904300234573201", token="shop")
    gateway.call_json("POST", "/v1/contacts", {"name": 7, "email": "private@example.com"}, token="shop")
    gateway.call("GET", TARGET, token=mint.token(exp=1))
    answer = gateway.call("GET", TARGET, token="shop")
    gateway.log_lines(answer.header("x-request-id"))

    log = gateway.log()
    for text in (gateway.tokens["shop"][-40:], "AT611904300234573201", gateway.password, "private@example.com"):
        assert text not in log
