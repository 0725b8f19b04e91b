"""Writes of a relay that are delivered from the ledger, over real sockets: what is sent, and what the answers mean."""

import asyncio
import contextlib
import time
from dataclasses import replace
from email.utils import formatdate

import pytest
from link_servers import silent

from entrepot.connectors.base import BreakerPolicy, RelayMapping
from entrepot.connectors.delivery import RelayWrite, answer_fault, deliver, retry_after_s
from entrepot.connectors.faults import FaultClass, OutOfReach, fault_of
from entrepot.connectors.http import Relay
from entrepot.errors import UpstreamBadAnswer, UpstreamBusy, UpstreamTimeout, UpstreamUnavailable

ID = "01890000-0000-7000-8000-000000000001"
CREATED = (
    b"HTTP/1.1 201 Created\r\ncontent-type: text/plain\r\nx-request-id: theirs\r\nconnection: x-hop\r\nx-hop: 1\r\n"
    b"content-length: 4\r\n\r\nmade"
)
MAPPING = RelayMapping("/api/{kind}/of/{partner.number}/{rest}", ("POST",), add_headers=(("X-Own", "1"),),
                       drop_headers=("X-Dropped",))  # fmt: skip
WRITE = RelayWrite(
    method="POST",
    variables={"rest": "a/b%20c", "kind": "rates"},
    query="a=1&b=%20",
    fields=b"content-type: text/plain\r\nx-given: y: z\r\n",
    body=b"body",
    values={"partner.number": "4 2"},
    transaction_id=ID,
    operation_id="0e0e",
)


class Upstream:
    """Keeps each request, and answers it."""

    def __init__(self, answer=CREATED):
        self.answer = answer
        self.requests = []

    async def __call__(self, reader, writer):
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = dict(line.split(b": ", 1) for line in head[:-4].split(b"\r\n")[1:])
                body = await reader.readexactly(int(lines.get(b"content-length", 0)))
                self.requests.append((head.partition(b"\r\n")[0], lines, body))
                writer.write(self.answer)


def sent(link, write=WRITE, *, seconds=5.0):
    return deliver(Relay(MAPPING, link, ("kind", "rest")), write, deadline=time.monotonic() + seconds)


async def fault(delivery, error):
    with pytest.raises(error) as caught:
        await delivery
    return fault_of(caught.value)


def test_request_is_the_one_that_the_partner_sent_with_the_transaction_as_its_key(serving):
    upstream = Upstream()

    async def test(link):
        await sent(link)
        await sent(link)

    serving(test, upstream)

    [(line, fields, body), again] = upstream.requests
    assert line == b"POST /api/rates/of/4%202/a/b%20c?a=1&b=%20 HTTP/1.1"
    assert fields[b"idempotency-key"] == f'"{ID}"'.encode()
    assert (fields[b"content-type"], fields[b"x-given"], fields[b"x-own"]) == (b"text/plain", b"y: z", b"1")
    assert fields[b"x-request-id"] == b"0e0e"
    assert body == b"body"
    assert again == (line, fields, body)


@pytest.mark.parametrize(
    "name", ["Idempotency-Key", "Authorization", "X-Dropped", "X-Own", "Host", "Content-Length", "Accept-Encoding"]
)
def test_field_that_is_not_the_partners_to_choose_does_not_go_on(serving, name):
    upstream = Upstream()

    serving(lambda link: sent(link, replace(WRITE, fields=f"{name}: theirs\r\n".encode())), upstream)

    [(_, fields, _)] = upstream.requests
    assert b"theirs" not in fields.values()


def test_answer_is_whole_and_without_what_belongs_to_the_hop(serving):
    async def test(link):
        answer = await sent(link)

        assert (answer.status, answer.body) == (201, b"made")
        assert answer.fields == b"content-type: text/plain\r\n"

    serving(test, Upstream())


@pytest.mark.parametrize(("method", "length"), [("POST", b"0"), ("DELETE", None)])
def test_write_without_a_body_says_so_where_one_is_expected(serving, method, length):
    upstream = Upstream()

    serving(lambda link: sent(link, replace(WRITE, method=method, body=b"")), upstream)

    assert upstream.requests[0][1].get(b"content-length") == length


async def closing(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


@pytest.mark.parametrize(
    ("script", "seconds", "error"),
    [
        (closing, 5.0, UpstreamUnavailable),
        (silent, 0.5, UpstreamTimeout),
        (Upstream(b"nonsense\r\n\r\n"), 5.0, UpstreamBadAnswer),
    ],
)
def test_write_that_was_sent_and_not_answered_may_have_been_applied(serving, script, seconds, error):
    async def test(link):
        found = await fault(sent(link, seconds=seconds), error)

        assert (found.kind, found.applied) == ("transient", "unknown")

    serving(test, script)


def test_write_to_an_upstream_that_is_away_or_left_alone_was_not_sent(serving):
    async def test(link):
        found = await fault(sent(link), UpstreamUnavailable)
        left_alone = await fault(sent(link), UpstreamUnavailable)

        assert (found.kind, found.applied) == (left_alone.kind, left_alone.applied) == ("transient", "no")
        assert link.breaker.failures() == 1

    serving(test, url="http://127.0.0.1:1", breaker=BreakerPolicy(1, 60.0))


def test_write_that_found_no_place_or_no_time_was_not_sent(serving):
    async def test(link):
        link.places.enter(object(), time.monotonic())
        crowded = await fault(sent(link), UpstreamBusy)
        link.places.configure(limit=1, waiting=1, wait_s=5.0)
        waiting = asyncio.create_task(fault(sent(link, seconds=0.03), UpstreamTimeout))
        await asyncio.sleep(0.06)
        link.places.leave()
        late = await waiting

        assert (crowded.kind, crowded.applied) == (late.kind, late.applied) == ("transient", "no")

    serving(test)


def test_write_whose_partner_lacks_a_value_is_a_fault_of_this_write(serving):
    async def test(link):
        found = await fault(sent(link, replace(WRITE, values={})), OutOfReach)

        assert (found.kind, found.applied) == ("record", "no")

    serving(test)


@pytest.mark.parametrize(
    ("status", "kind", "applied"),
    [
        (301, "record", "unknown"),
        (303, "record", "unknown"),
        (307, "record", "no"),
        (400, "record", "no"),
        (401, "upstream", "no"),
        (403, "upstream", "no"),
        (404, "record", "no"),
        (407, "upstream", "no"),
        (408, "transient", "no"),
        (409, "record", "no"),
        (422, "record", "no"),
        (425, "transient", "no"),
        (429, "transient", "no"),
        (500, "transient", "unknown"),
        (502, "transient", "unknown"),
        (503, "transient", "unknown"),
        (599, "transient", "unknown"),
    ],
)
def test_status_has_its_class(status, kind, applied):
    assert answer_fault(status, b"") == FaultClass(kind, applied)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_write_is_delivered_by_any_2xx(status):
    assert answer_fault(status, b"retry-after: 3\r\n") is None


@pytest.mark.parametrize("status", [303, 400, 403, 409, 429, 500])
def test_refusal_proves_nothing_about_an_earlier_try(status):
    found = answer_fault(status, b"", again=True)

    assert found is not None
    assert found.applied == "unknown"


def test_conflict_with_an_earlier_try_that_is_still_in_work_passes():
    fields = b"retry-after: 4\r\n"

    assert answer_fault(409, fields, again=True) == FaultClass("transient", "unknown", 4.0)
    assert answer_fault(409, fields) == FaultClass("record", "no")


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (b"retry-after: 120\r\n", 120.0),
        (b"Retry-After:  7 \r\nx: y\r\n", 7.0),
        (b"retry-after: Wed, 21 Oct 2015 07:28:00 GMT\r\n", 0.0),
        (b"retry-after: soon\r\n", None),
        (b"retry-after: -1\r\n", None),
        (b"retry-after: \xb2\r\n", None),
        (b"retry-after: " + b"9" * 400 + b"\r\n", 9_999_999_999.0),
        (b"retry-after: Wed, 99 Oct 2015 07:28:00 GMT\r\n", None),
        (b"retry-after: Wed, 21 Oct 9999999 07:28:00 GMT\r\n", None),
        (b"retry-after: Mon, 01 Jan 99999999999999999999 00:00:00 GMT\r\n", None),
        (b"retry-after:\r\n", None),
        (b"", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(fields, seconds):
    assert retry_after_s(fields) == seconds


def test_date_to_come_counts_from_now():
    fields = f"retry-after: {formatdate(time.time() + 30, usegmt=True)}\r\n".encode()

    assert retry_after_s(fields) == pytest.approx(30, abs=2)


def test_wait_that_an_upstream_asks_for_is_part_of_the_fault():
    assert answer_fault(429, b"retry-after: 9\r\n") == FaultClass("transient", "no", 9.0)
    assert answer_fault(400, b"retry-after: 9\r\n") == FaultClass("record", "no")
