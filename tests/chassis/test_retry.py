from __future__ import annotations

import pytest

from entrepot.chassis.retry import retry


def test_a_true_result_is_returned_after_one_call():
    calls: list[int] = []

    @retry(sleep=lambda _: None)
    def work() -> str:
        calls.append(1)
        return "done"

    assert work() == "done"
    assert len(calls) == 1


def test_a_false_result_is_tried_three_times_and_returned():
    calls: list[int] = []

    @retry(sleep=lambda _: None)
    def work() -> int:
        calls.append(1)
        return 0

    assert work() == 0
    assert len(calls) == 3


def test_an_exception_is_tried_three_times_and_raised():
    waits: list[float] = []

    @retry(sleep=waits.append)
    def work() -> float:
        return 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()
    assert waits == [2, 4]
