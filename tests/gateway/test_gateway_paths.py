"""Paths and methods: what is not there, what is not allowed there, and what would mean two things at once."""

import pytest

UNKNOWN = [
    "/",
    "/v1",
    "/v1/",
    "/v1/nothing",
    "/v2/contacts",
    "/V1/contacts",
    "/v1/contacts/26/more",
    "/v1/contacts/26/confirm",
    "/v1/orders/X/confirm/now",
    "/favicon.ico",
    "/v1/%C3%A9",
    "/v1/contacts;v=1",
    "/v1/{id}",
    "/v1/contactsx",
]


@pytest.mark.parametrize("path", UNKNOWN)
def test_unknown_path_is_404(gateway, assert_problem, path):
    if "{" in path:
        assert gateway.call("GET", path, token="shop").status in {400, 404}
        return

    assert_problem(gateway.call("GET", path, token="shop"), 404, "not-found")


def test_long_unknown_path_is_not_repeated_whole(gateway, assert_problem):
    document = assert_problem(gateway.call("GET", "/v1/" + "x" * 1500, token="shop"), 404, "not-found")

    assert len(document["detail"]) < 1000


ALLOWED = {
    "/v1/contacts": "GET HEAD OPTIONS POST",
    "/v1/people": "GET HEAD OPTIONS POST",
    "/v1/contacts/26": "DELETE GET HEAD OPTIONS PATCH",
    "/v1/orders/AZ-1001/confirm": "OPTIONS POST",
    "/v1/checked": "OPTIONS POST PUT",
    "/v1/rated": "GET HEAD OPTIONS",
    "/v1/echo/x/y": "DELETE GET HEAD OPTIONS PATCH POST PUT",
}


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/v1/contacts", "PUT"),
        ("/v1/contacts", "DELETE"),
        ("/v1/contacts/26", "POST"),
        ("/v1/contacts/26", "PUT"),
        ("/v1/orders/AZ-1001/confirm", "GET"),
        ("/v1/checked", "GET"),
        ("/v1/checked", "HEAD"),
        ("/v1/rated", "POST"),
        ("/v1/echo/x", "TRACE"),
        ("/v1/echo/x", "PROPFIND"),
        ("/v1/echo/x", "LOCK"),
    ],
)
def test_wrong_method_is_405_and_says_which_are_right(gateway, assert_problem, path, method):
    answer = gateway.call(method, path, token="shop")

    if method == "HEAD":
        assert answer.status == 405
    else:
        assert_problem(answer, 405, "method-not-allowed", detail=method)
    allowed = ALLOWED.get(path, ALLOWED["/v1/echo/x/y"])
    assert set(answer.header("allow").replace(",", " ").split()) == set(allowed.split())


@pytest.mark.parametrize("path", ALLOWED)
def test_options_lists_the_methods_without_a_token(gateway, path):
    answer = gateway.call("OPTIONS", path)

    assert answer.status in {200, 204}
    assert set(answer.header("allow").replace(",", " ").split()) == set(ALLOWED[path].split())
    assert answer.body == b""
    assert answer.header("x-request-id")


def test_options_of_an_unknown_path_is_404(gateway, assert_problem):
    assert_problem(gateway.call("OPTIONS", "/v1/nothing"), 404, "not-found")


@pytest.mark.parametrize("method", ["get", "Get", "G E T", "GET\t", "M" * 300, "FOO", "\xc9"])
def test_made_up_method_is_refused(gateway, assert_problem, method):
    answer = gateway.call(method, "/v1/echo/x", token="shop")

    assert answer.status in {400, 405, 501}
    codes = {400: "bad-request", 405: "method-not-allowed", 501: "not-implemented"}
    assert_problem(answer, answer.status, codes[answer.status])


def test_connect_is_not_implemented(gateway, assert_problem):
    with gateway.wire() as wire:
        wire.send(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n")

        assert_problem(wire.answer(), 501, "not-implemented")
        assert wire.ends() == b""


# -- HEAD


@pytest.mark.parametrize("path", ["/v1/contacts/26", "/v1/contacts", "/v1/kept-contacts", "/v1/echo/head", "/status"])
def test_head_is_get_without_a_body(gateway, path):
    with gateway.wire() as wire:
        wire.send(gateway.head("GET", path, token="shop"))
        got = wire.answer()
        wire.send(gateway.head("HEAD", path, token="shop") + gateway.head("GET", "/status"))
        head = wire.answer(head_only=True)
        following = wire.answer()

    assert (got.status, head.status, following.status) == (200, 200, 200)
    assert head.header("content-type") == got.header("content-type")
    assert head.header("etag") == got.header("etag")
    assert (
        head.header("content-length") is None
        or path.startswith("/v1/echo")
        or (head.header("content-length") == got.header("content-length"))
    )


def test_head_of_a_problem_has_no_body(gateway):
    with gateway.wire() as wire:
        wire.send(gateway.head("HEAD", "/v1/nothing") + gateway.head("GET", "/status"))

        assert wire.answer(head_only=True).status == 404
        assert wire.answer().status == 200


# -- X-HTTP-Method-Override


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "GET", "put"])
def test_override_on_post_is_the_method(gateway, upstream, name, method):
    answer = gateway.call("POST", f"/v1/echo/{name}", f"X-HTTP-Method-Override: {method}", token="shop")

    assert answer.status == 200, answer.body
    (seen,) = upstream.seen_at(f"/echo/{name}")
    assert seen.method == method.upper().encode()
    assert seen.header("x-http-method-override") is None


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_override_on_anything_else_is_ignored(gateway, upstream, name, method):
    gateway.call(method, f"/v1/echo/{name}", "X-HTTP-Method-Override: DELETE", token="shop")

    (seen,) = upstream.seen_at(f"/echo/{name}")
    assert seen.method == method.encode()


def test_override_does_not_go_around_scopes(gateway, assert_problem):
    lines = ["X-HTTP-Method-Override: DELETE"]

    assert_problem(gateway.call("POST", "/v1/contacts/26", *lines, token="reader"), 403, "insufficient-scope")


@pytest.mark.parametrize("value", ["CONNECT", "TRACE", "FOO", "", "GET,DELETE", "GET DELETE", "\xff"])
def test_override_to_a_method_that_cannot_be_is_400(gateway, assert_problem, value):
    answer = gateway.call("POST", "/v1/echo/x", f"X-HTTP-Method-Override: {value}", token="shop")

    assert_problem(answer, 400, "bad-request", detail="X-HTTP-Method-Override")


def test_override_to_a_method_that_the_endpoint_lacks_is_405(gateway, assert_problem):
    answer = gateway.call("POST", "/v1/checked", "X-HTTP-Method-Override: DELETE", token="shop")

    assert_problem(answer, 405, "method-not-allowed")


# -- paths that mean one thing to the gateway and another to the upstream

AMBIGUOUS = [
    "/v1/echo/../contacts",
    "/v1/echo/x/../../secret",
    "/v1/echo/..",
    "/v1/echo/.",
    "/v1/echo/./x",
    "/v1/echo/%2e%2e/x",
    "/v1/echo/%2E%2E%2Fx",
    "/v1/echo/.%2e/x",
    "/v1/echo/x%2fy",
    "/v1/echo/x%2Fy",
    "/v1/echo/x%5cy",
    "/v1/echo/x\\y",
    "/v1/echo/..\\x",
    "/v1/echo//x",
    "//v1/echo/x",
    "/v1//echo/x",
    "/v1/echo/x//",
    "/v1/echo/%00",
    "/v1/echo/x%0d%0aX-Evil:%201",
    "/v1/echo/%0a",
    "/v1/echo/%7f",
    "/v1/echo/%",
    "/v1/echo/%2",
    "/v1/echo/%zz",
    "/v1/echo/%c0%ae%c0%ae/x",
    "/v1/echo/%ff",
    "/v1/echo/%ed%a0%80",
]


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_path_that_could_be_read_in_two_ways_is_400(gateway, upstream, assert_problem, path):
    before = len(upstream.seen)

    answer = gateway.call("GET", path, token="shop")

    # The gateway itself asks whether an ERP is well, at its own time.
    assert not [request for request in upstream.seen[before:] if request.path not in {"/echo/good", "/jsonrpc"}]
    assert_problem(answer, 400, "bad-request")


@pytest.mark.parametrize(
    "path",
    ["a/b/c", "a%20b", "%C3%A9", "a.b", "..a", "...", "a;b=1", "a:b@c", "a+b", "%E2%82%AC", "a,b'()*!$&=~-_", "a/"],
)
def test_plain_path_reaches_the_upstream_as_it_was_sent(gateway, path):
    answer = gateway.call("GET", f"/v1/echo/{path}", token="shop")

    assert answer.status == 200, answer.body
    assert answer.json()["target"] == f"/echo/{path}"


@pytest.mark.parametrize(
    "query", ["a=1&b=2", "a=%0d%0aX-Evil:1", "a=/../x", "%", "a=b?c=d", "a=%00", "", "a=1&a=2", "q='%20OR%201=1--"]
)
def test_query_reaches_the_upstream_as_it_was_sent(gateway, query):
    answer = gateway.call("GET", f"/v1/echo/q?{query}", token="shop")

    assert answer.status == 200, answer.body
    assert answer.json()["target"] in {f"/echo/q?{query}", "/echo/q"}
    assert answer.json()["target"].partition("?")[2] == query
    assert "x-evil" not in answer.json()["fields"]


def test_escaped_letter_in_a_relay_path_cannot_reach_another_endpoint(gateway, upstream):
    answer = gateway.call("GET", "/v1/%65cho/x", token="shop")

    assert answer.status in {400, 404} or answer.json()["target"] == "/echo/x"


# -- the gateway's own pages


@pytest.mark.parametrize("path", ["/status", "/health/live", "/health/ready", "/metrics"])
def test_own_page_answers_without_a_token(gateway, path):
    assert gateway.call("GET", path).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_own_page_is_only_read(gateway, assert_problem, method):
    assert_problem(gateway.call(method, "/metrics"), 405, "method-not-allowed")


def test_metrics_and_details_are_for_allowed_networks(gateway, assert_problem):
    document = gateway.call("GET", "/status", source="127.5.0.1").json()

    assert_problem(gateway.call("GET", "/metrics", source="127.5.0.1"), 404, "not-found")
    assert set(document) == {"name", "version"}
    assert "upstreams" in gateway.call("GET", "/status").json()


def test_status_says_the_sockets_that_the_gateway_has(gateway):
    assert gateway.call("GET", "/status").json()["listening"] == [f"127.0.0.1:{gateway.port}"]


def test_forwarded_for_does_not_open_the_metrics(gateway, assert_problem):
    answer = gateway.call(
        "GET", "/metrics", "X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", source="127.5.0.1"
    )

    assert_problem(answer, 404, "not-found")
