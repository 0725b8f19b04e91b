"""What follows from each kind of outcome."""

import pytest

from entrepot.catalog.plans import Plan
from entrepot.connectors.base import CallMapping, Field, ModelMapping
from entrepot.connectors.faults import unsent
from entrepot.courier import verdict
from entrepot.courier.leases import OwnLease
from entrepot.courier.verdict import Tried
from entrepot.errors import (
    OutcomeUnclear,
    UpstreamBusy,
    UpstreamMisconfigured,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from entrepot.ledger.entries import KeptAnswer, Lease, PlanText
from entrepot.ledger.retry import RetryPolicy

NOW = 1_795_000_000.0
TRIED = Tried("host:1", NOW - 1, NOW)
RETRY = RetryPolicy(first_s=2, factor=2, ceiling_s=60, age_s=3600)
GUARDED = CallMapping("sale.order", "action_confirm", guard=[("state", "=", "sale")])


def own(*, applied="no", attempts=0, kind="update", expires_at=NOW + 3600, memory=None, sent=True, rests_until=0.0):
    lease = Lease(
        seq=1, id="id", token="t", until=NOW + 30, partner="acme", client="shop", endpoint="orders", upstream="erp",
        kind=kind, operation_id="op", plan=PlanText("d", "{}"), facts={}, body=b"", accepted_at=NOW - 10,
        expires_at=expires_at, applied=applied, attempts=attempts, memory=memory, rests_until=rests_until,
    )  # fmt: skip
    mine = OwnLease(lease, lease_s=30, margin_s=1, monotonic=lambda: 0.0, wall=lambda: NOW)
    mine.sent = sent
    return mine


def plan(kind="update", **parts):
    return Plan(endpoint="orders", upstream="erp", kind=kind, method="POST", retry=RETRY, **parts)


def failed(error, mine=None, of=None, settle_s=130.0, **options):
    return verdict.failed(mine or own(), of or plan(), error, TRIED, settle_s=settle_s, random=lambda: 0.5, **options)


def told(error, applied):
    error.applied = applied
    return error


def test_what_was_answered_is_delivered_and_applied():
    settled = verdict.delivered(own().lease, KeptAnswer(201, b"", b"{}"), TRIED)

    assert (settled.state, settled.applied, settled.attempt.outcome) == ("delivered", "yes", "delivered")
    assert (settled.attempt.status, settled.answer.body) == (201, b"{}")


def test_a_fault_of_the_record_is_final_and_says_why():
    settled = failed(UpstreamRejected("no such product"))

    assert (settled.state, settled.applied, settled.attempt.outcome) == ("dead", "no", "record")
    assert settled.problem["detail"] == "no such product"
    assert settled.problem["meta"] == {"operation_id": "op"}


def test_a_passing_fault_is_tried_again_later_each_time():
    waits = [failed(UpstreamUnavailable(), own(attempts=n), plan("create")).due_at - NOW for n in range(7)]

    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_the_upstream_says_how_long_to_wait_at_least():
    assert failed(UpstreamUnavailable(retry_after_s=40), of=plan("create")).due_at == NOW + 40


def test_after_its_age_a_passing_fault_is_the_last():
    settled = failed(told(UpstreamTimeout(), "unknown"), own(expires_at=NOW - 1))

    assert (settled.state, settled.applied) == ("dead", "unknown")


@pytest.mark.parametrize("applied", ["unknown", "no"])
def test_what_an_earlier_try_left_unknown_stays_so_after_a_passing_fault(applied):
    assert failed(told(UpstreamUnavailable(), applied), own(applied="unknown")).applied == "unknown"


def test_a_connector_that_looked_knows_better():
    settled = failed(told(UpstreamRejected(), "no"), own(applied="unknown"))

    assert (settled.state, settled.applied) == ("dead", "no")


def test_a_relay_cannot_look():
    settled = failed(told(UpstreamRejected(), "no"), own(applied="unknown", kind="relay"), plan("relay"))

    assert (settled.state, settled.applied) == ("dead", "unknown")


def test_what_found_no_place_was_not_tried():
    settled = failed(unsent(UpstreamBusy()), own(sent=False))

    assert (settled.state, settled.attempt, settled.applied) == ("queued", None, "no")
    assert NOW < settled.due_at < NOW + 1


def test_what_found_its_upstream_left_alone_comes_again_when_it_may_be_asked():
    settled = failed(unsent(UpstreamUnavailable(retry_after_s=7)), own(sent=False, attempts=2, applied="unknown"))

    assert (settled.state, settled.attempt, settled.applied) == ("waiting", None, "unknown")
    assert settled.due_at == NOW + 7


def test_a_fault_of_the_upstream_burns_no_attempt():
    settled = failed(UpstreamMisconfigured("login refused"))

    assert (settled.state, settled.attempt, settled.applied, settled.due_at) == ("queued", None, "no", NOW)


def test_an_outcome_that_cannot_be_found_out_is_for_an_operator():
    settled = failed(OutcomeUnclear("changed since"), own(applied="unknown"))

    assert (settled.state, settled.reason, settled.applied) == ("held", "conflict", "unknown")


def test_a_guarded_call_rests_until_the_upstream_has_settled():
    settled = failed(told(UpstreamUnavailable(), "unknown"), own(kind="call"), plan("call", call=GUARDED))

    assert settled.due_at == NOW + 130


def test_a_create_is_repeated_at_once():
    assert failed(told(UpstreamTimeout(), "unknown"), of=plan("create")).due_at == NOW + 1


def test_an_update_rests_only_when_the_upstream_may_still_be_at_it():
    assert failed(told(UpstreamTimeout(), "unknown")).due_at == NOW + 130
    assert failed(told(UpstreamUnavailable(), "unknown")).due_at == NOW + 1


def test_what_the_upstream_may_be_at_work_on_rests_whatever_makes_it_due():
    at_work = failed(told(UpstreamTimeout(), "unknown"))
    broken_off = failed(told(UpstreamUnavailable(), "unknown"))
    dead = failed(told(UpstreamTimeout(), "unknown"), own(expires_at=NOW - 1))

    assert [each.rests_until for each in (at_work, broken_off, dead)] == [NOW + 130, 0.0, NOW + 130]


def test_what_was_not_sent_rests_no_longer_than_before():
    fresh = failed(unsent(UpstreamBusy()), own(sent=False))
    sent_before = failed(unsent(UpstreamBusy()), own(applied="unknown", sent=False, rests_until=NOW - 5))

    assert (fresh.rests_until, sent_before.rests_until) == (0.0, NOW - 5)


def test_a_cause_that_may_quote_the_record_is_not_kept():
    error = UpstreamRejected("refused")
    error.__cause__ = ValueError("secret of the record")
    lost = UpstreamUnavailable("broken off")
    lost.__cause__ = ConnectionError("reset by peer")

    assert failed(error).attempt.detail == "refused"
    assert failed(lost).attempt.detail == "broken off (reset by peer)"


def test_an_update_that_may_make_lines_rests_whatever_kept_its_answer_from_coming():
    line = Field("lines", ("order_line",), "one2many", fields=(Field("quantity", ("product_uom_qty",), "float"),))
    with_lines = plan(model=ModelMapping("sale.order", (line,)))
    plain = plan(model=ModelMapping("sale.order", (Field("note", ("note",)),)))
    broken = told(UpstreamUnavailable("broken off"), "unknown")

    assert failed(broken, of=with_lines, settle_s=130.0).due_at >= TRIED.ended_at + 130.0
    assert failed(broken, of=plain, settle_s=130.0).due_at < TRIED.ended_at + 130.0
    assert failed(told(UpstreamUnavailable("refused"), "no"), of=with_lines).due_at < TRIED.ended_at + 130.0
