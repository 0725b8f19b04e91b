"""Who answers for what: a link's places and breaker, with calls that wait, go, fail and are given up."""

import asyncio
import time

import pytest
from link_servers import OPEN_S, answer, silent

from entrepot.connectors.http import RelayCall
from entrepot.connectors.link import Fetch
from entrepot.errors import UpstreamBadAnswer, UpstreamBusy, UpstreamTimeout, UpstreamUnavailable
from entrepot.wire.call import Failure, Fault

HUGE = b"HTTP/1.1 200 OK\r\ncontent-length: 70000000\r\n\r\n{"


def post(link, *, seconds=5.0):
    return link.post("/x", b"", [], deadline=time.monotonic() + seconds)


class Asker:
    """Takes what comes of a relay call."""

    def __init__(self, link, **options):
        self.error = None
        self.call = RelayCall(link, self, b"GET", b"GET /x HTTP/1.1\r\n\r\n", **options)

    def on_reply_error(self, error):
        self.error = error

    def on_body_wanted(self):
        pass


@pytest.mark.parametrize(
    ("method", "body", "streaming", "retried"),
    [
        (b"GET", b"", None, True),
        (b"DELETE", b"", None, True),
        (b"POST", b"", None, False),
        (b"PUT", b"abc", None, False),
        (b"PUT", None, "chunked", False),
    ],
)
def test_only_an_idempotent_request_without_body_may_be_sent_again(method, body, streaming, retried):
    assert RelayCall(None, None, method, b"", body, streaming=streaming).retry is retried


def test_an_answer_that_is_too_large_is_no_failure_of_the_upstream(serving):
    async def test(link):
        with pytest.raises(UpstreamBadAnswer, match="more than the gateway takes"):
            await post(link)
        assert link.breaker.failures() == 0

    serving(test, answer(HUGE))


@pytest.mark.parametrize(
    ("failure", "blamed"),
    [
        (Failure(Fault.RESET, True, ""), True),
        (Failure(Fault.TIMEOUT, True, ""), True),
        (Failure(Fault.GARBAGE, True, ""), True),
        (Failure(Fault.REFUSED, False, ""), True),
        (Failure(Fault.RESET, True, "", owed=True), False),
        (Failure(Fault.GARBAGE, True, "", owed=True), False),
        (Failure(Fault.REFUSED, False, "", owed=True), True),
        (Failure(Fault.TIMEOUT_CONNECT, False, "", owed=True), True),
        (Failure(Fault.TIMEOUT, True, "", owed=True), True),
        (Failure(Fault.TOO_LARGE, True, ""), False),
        (Failure(Fault.UNREAD, True, ""), False),
        (Failure(Fault.CLOSED, True, ""), False),
    ],
)
def test_the_upstream_is_blamed_for_what_is_its_doing(serving, failure, blamed):
    async def test(link):
        link.places.enter(object(), time.monotonic())

        link.fail(failure)

        assert link.breaker.failures() == blamed

    serving(test)


def test_calls_that_our_own_end_breaks_off_are_no_failures_of_the_upstream(serving):
    async def test(link):
        asking = asyncio.create_task(post(link))
        await asyncio.sleep(0.05)

        link.close()

        with pytest.raises(UpstreamUnavailable):
            await asking
        assert link.breaker.failures() == 0

    serving(test, silent)


@pytest.mark.parametrize("kind", ["fetch", "relay"])
def test_a_probe_that_gets_no_place_is_given_back(serving, kind):
    async def test(link):
        link.places.enter(object(), time.monotonic())
        link.breaker.failed(time.monotonic())
        await asyncio.sleep(OPEN_S + 0.05)
        probe = Fetch(link, b"", b"", time.monotonic() + 5) if kind == "fetch" else Asker(link, body=None)
        link.enter(probe if kind == "fetch" else probe.call)
        await asyncio.sleep(0.2)

        error = probe.reply.exception() if kind == "fetch" else probe.error
        link.places.leave()

        assert isinstance(error, UpstreamBusy)
        assert link.breaker.allows(time.monotonic())

    serving(test)


def test_who_waits_no_more_leaves_the_queue_and_gives_the_probe_back(serving):
    async def test(link):
        link.places.enter(object(), time.monotonic())
        link.breaker.failed(time.monotonic())
        await asyncio.sleep(OPEN_S + 0.05)
        waiting = asyncio.create_task(post(link))
        await asyncio.sleep(0.02)
        queued = link.places.queued()

        waiting.cancel()
        await asyncio.wait([waiting])

        assert (queued, link.places.queued()) == (1, 0)
        assert link.breaker.allows(time.monotonic())
        link.places.leave()

    serving(test, wait_s=5.0)


def test_a_request_whose_time_has_passed_while_it_waited_is_not_sent(serving):
    seen = []

    async def script(reader, writer):
        seen.append(await reader.read(100))
        writer.close()

    async def test(link):
        link.places.enter(object(), time.monotonic())
        waiting = asyncio.create_task(post(link, seconds=0.05))
        await asyncio.sleep(0.1)
        link.places.leave()

        with pytest.raises(UpstreamTimeout):
            await waiting

        assert seen == []
        assert link.breaker.failures() == 0

    serving(test, script, wait_s=5.0)


def test_the_wait_for_a_place_is_not_the_upstreams_time(serving):
    async def test(link):
        link.places.enter(object(), time.monotonic())
        asker = Asker(link, body=b"")
        link.enter(asker.call)
        await asyncio.sleep(1.05)
        link.places.leave()
        await asyncio.sleep(0.1)

        assert asker.error is None
        asker.call.cancel()

    serving(test, silent, wait_s=5.0, timeout_s=1.0)


def test_a_retired_link_serves_what_began_with_it(serving):
    async def test(link):
        before = await post(link)
        link.retire()

        after = await post(link)

        assert (before.status, after.status) == (200, 200)
        assert link.pool.open == 0

    serving(test)


def test_a_link_is_relaying_while_a_call_is_under_way_for_which_no_task_waits(serving):
    async def test(link):
        fetching = asyncio.create_task(post(link))
        await asyncio.sleep(0.02)
        with_fetch = link.is_relaying
        fetching.cancel()
        link.places.leave()  # that of the fetch, which goes on
        asker = Asker(link, body=b"")
        link.enter(asker.call)

        assert (with_fetch, link.is_relaying) == (False, True)
        asker.call.cancel()
        assert not link.is_relaying
        link.places.enter(object(), time.monotonic())

    serving(test, silent)
