import pytest

from entrepot.connectors.base import BreakerPolicy
from entrepot.connectors.breaker import Breaker

PROBERS = """
    from entrepot.connectors.base import BreakerPolicy
    from entrepot.connectors.breaker import Breaker
    breaker = Breaker(shared, "erp", BreakerPolicy(3, 10.0))
    while time.monotonic() < float(sys.argv[2]):
        pass
    print(sum(breaker.allows(111.0) for _ in range(500)))
"""


@pytest.fixture
def breaker(shared):
    return Breaker(shared, "erp", BreakerPolicy(3, 10.0), probe_s=30.0)


@pytest.fixture
def another(shared):
    return Breaker(shared, "erp", BreakerPolicy(3, 10.0), probe_s=30.0)


def fail(breaker, now, times=3):
    for _ in range(times):
        breaker.failed(now)


def test_it_opens_after_failures_in_a_row_in_whatever_process(breaker, another):
    breaker.failed(100.0)
    another.failed(100.0)
    assert breaker.allows(100.0)

    breaker.failed(100.0)

    assert not another.allows(109.9)
    assert another.state(109.9) == "open"
    assert another.open_for_s(101.0) == 9.0


def test_a_success_in_between_starts_the_count_anew(breaker):
    fail(breaker, 100.0, times=2)

    breaker.succeeded()
    fail(breaker, 100.0, times=2)

    assert breaker.allows(100.0)
    assert breaker.failures() == 2


def test_one_probe_at_a_time_over_all_processes(breaker, spawn, clock):
    fail(breaker, 100.0)
    begin = clock() + 0.3
    probers = [spawn(PROBERS, begin) for _ in range(4)]

    assert sorted(prober.communicate()[0] for prober in probers) == ["0\n", "0\n", "0\n", "1\n"]
    assert breaker.state(111.0) == "half-open"


def test_a_probe_that_succeeds_closes(breaker, another):
    fail(breaker, 100.0)
    assert another.allows(110.0)

    another.succeeded()

    assert breaker.allows(110.0)
    assert breaker.state(110.0) == "closed"
    fail(breaker, 111.0, times=2)
    assert breaker.allows(111.0)


def test_a_probe_that_fails_opens_again(breaker, another):
    fail(breaker, 100.0)
    assert another.allows(110.0)

    another.failed(111.0)

    assert not breaker.allows(120.9)
    assert breaker.allows(121.0)


def test_a_probe_that_does_not_come_back_is_given_up(breaker, another):
    fail(breaker, 100.0)
    assert breaker.allows(110.0)

    assert not another.allows(139.9)

    assert another.allows(140.0)
    assert not breaker.allows(140.0)


def test_a_probe_that_never_went_out_makes_room_for_another(breaker, another):
    fail(breaker, 100.0)
    assert breaker.allows(110.0)

    another.released()
    assert not another.allows(110.0)
    breaker.released()

    assert another.allows(110.0)


def test_late_failures_of_old_calls_do_not_disturb_a_probe(breaker, another):
    fail(breaker, 100.0)
    breaker.failed(109.0)
    assert another.allows(110.0)

    breaker.failed(112.0)

    assert breaker.state(112.0) == "half-open"
    another.succeeded()
    assert breaker.allows(112.0)
