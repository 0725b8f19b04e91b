from __future__ import annotations

from contextlib import suppress

import pytest

from entrepot.errors import TooManyRequests
from entrepot.identity.budget import FailureBudget


def fail(budget: FailureBudget, now: float, sources: list[str], times: int = 1) -> int:
    """Let each of *sources* fail as often as it is checked, *times* at most; return how often that was."""
    made = 0
    for source in sources:
        for _ in range(times):
            if not is_open(budget, source, now):
                break
            with suppress(TooManyRequests):
                budget.failed(source)
            made += 1
    return made


def is_open(budget: FailureBudget, source: str, now: float) -> bool:
    try:
        budget.check(source, now)
    except TooManyRequests:
        return False
    return True


def hosts(count: int, network: str = "198.51") -> list[str]:
    return [f"{network}.{number // 250}.{number % 250 + 1}" for number in range(count)]


def test_a_source_that_fails_too_often_is_told_so_and_checked_all_the_same():
    budget = FailureBudget(per_source=3)
    assert is_open(budget, "192.0.2.1", 10.0)
    for _ in range(3):
        budget.failed("192.0.2.1")

    assert is_open(budget, "192.0.2.1", 10.5)
    with pytest.raises(TooManyRequests):
        budget.failed("192.0.2.1")
    assert is_open(budget, "192.0.2.1", 11.0)
    budget.failed("192.0.2.1")


def test_a_source_that_fails_without_end_has_so_many_checks_more_and_takes_none_of_the_others():
    budget = FailureBudget(per_source=3, total=10, more=5)

    assert fail(budget, 10.0, ["192.0.2.1"], 99) == 8
    assert not is_open(budget, "192.0.2.1", 10.5)
    assert fail(budget, 10.5, hosts(7)) == 7


def test_failures_of_others_lock_nobody_out():
    budget = FailureBudget()
    assert fail(budget, 10.0, hosts(50), 20) == 1000

    assert is_open(budget, "203.0.113.9", 10.2)
    assert fail(budget, 10.3, hosts(50), 20) == 250
    assert not is_open(budget, "198.51.0.1", 10.4)


def test_sources_that_fail_second_after_second_cannot_use_up_what_is_spared_for_others():
    budget = FailureBudget(total=100, spare=20)
    attackers = hosts(120)
    assert fail(budget, 10.0, attackers) == 120

    assert fail(budget, 11.0, attackers) == 100
    assert is_open(budget, "203.0.113.9", 11.5)


def test_all_failures_together_are_bounded():
    budget = FailureBudget(total=100, spare=20)

    assert fail(budget, 10.0, hosts(1000)) == 120
    assert not is_open(budget, "203.0.113.9", 10.5)
    assert is_open(budget, "203.0.113.9", 11.0)


@pytest.mark.parametrize("pair", [("2001:db8::1", "2001:db8::2"), ("192.0.2.1", "::ffff:192.0.2.1")])
def test_a_host_is_one_source_by_whatever_address(pair: tuple[str, str]):
    budget = FailureBudget(per_source=1, more=0)
    fail(budget, 10.0, [pair[0]])

    assert not is_open(budget, pair[1], 10.5)
