from __future__ import annotations

import pytest

from entrepot.errors import TooManyRequests
from entrepot.identity.budget import FailureBudget


def fail(budget: FailureBudget, now: float, sources: list[str], times: int = 1) -> int:
    """Let each of *sources* fail as often as it may, *times* at most; return how often that was."""
    made = 0
    for source in sources:
        for _ in range(times):
            if not is_open(budget, source, now):
                break
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


def test_a_source_has_so_many_failures_a_second():
    budget = FailureBudget(per_source=3)

    assert fail(budget, 10.0, ["192.0.2.1"], 9) == 3
    assert is_open(budget, "192.0.2.2", 10.5)
    assert is_open(budget, "192.0.2.1", 11.0)


def test_failures_of_others_lock_nobody_out():
    budget = FailureBudget()
    assert fail(budget, 10.0, hosts(50), 20) == 1000

    assert is_open(budget, "203.0.113.9", 10.2)
    assert not is_open(budget, "198.51.0.1", 10.2)


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
    budget = FailureBudget(per_source=1)
    fail(budget, 10.0, [pair[0]])

    assert not is_open(budget, pair[1], 10.5)
