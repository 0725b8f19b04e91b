import json
from itertools import pairwise
from math import ceil

import pytest

from entrepot.chassis.limits import Limiter, Rate

OFFERER = """
    from entrepot.chassis.limits import Limiter, Rate
    name, end, kill_at = sys.argv[2], float(sys.argv[5]), float(sys.argv[6])
    bucket = Limiter(shared).bucket(name, Rate(float(sys.argv[3]), int(sys.argv[4])))
    passed = []
    while (now := time.monotonic()) < end:
        if bucket.take(now) >= 0:
            passed.append(now)
        else:
            time.sleep(0.0003)
        if now > kill_at:
            print(passed, flush=True)
            bucket._mutex.__enter__()
            os.kill(os.getpid(), signal.SIGKILL)
    print(passed, flush=True)
"""


def passes(processes):
    return sorted(moment for process in processes for moment in json.loads(process.communicate()[0]))


def most_over(moments, rate):
    """Return by how much the worst window of all exceeds ``burst + per_second * w``; negative when none does."""
    worst, lowest = -1e9, 1e18
    for number, moment in enumerate(moments):
        # A window from moment i to this one holds number - i + 1.
        lowest = min(lowest, number - rate.per_second * moment)
        worst = max(worst, number + 1 - rate.per_second * moment - lowest)
    return worst - rate.burst


@pytest.mark.alone
@pytest.mark.parametrize(("count", "lasting_s"), [(1, 1.2), (9, 1.6)])
def test_a_client_gets_its_rate_and_never_more_from_any_number_of_processes(shared, spawn, clock, count, lasting_s):
    rate = Rate(300, 60)
    end = clock() + lasting_s
    processes = [spawn(OFFERER, "claim", 300, 60, end, 1e18) for _ in range(count)]

    moments = passes(processes)

    offered_s = end - moments[0]
    assert offered_s > 1.0
    assert most_over(moments, rate) <= 1e-3
    assert len(moments) >= 0.98 * (rate.burst + rate.per_second * offered_s)


@pytest.mark.alone
def test_the_limit_holds_over_a_kill_with_the_lock_held_and_a_restart(shared, spawn, clock):
    rate = Rate(300, 30)
    begin = clock()
    first = [spawn(OFFERER, "kill", 300, 30, begin + 0.6, 1e18)]
    first += [spawn(OFFERER, "kill", 300, 30, begin + 9, begin + kill_s) for kill_s in (0.3, 0.5)]
    first[0].wait()
    second = [spawn(OFFERER, "kill", 300, 30, begin + 1.4, 1e18) for _ in range(2)]

    moments = passes([*first, *second])

    assert [process.returncode for process in first] == [0, -9, -9]
    assert most_over(moments, rate) <= 1e-3
    # While the new ones start, no one asks; what was not asked for is lost only beyond the burst.
    gap = max(later - earlier for earlier, later in pairwise(moments))
    assert len(moments) >= 0.98 * (rate.burst + rate.per_second * (moments[-1] - moments[0] - gap))


def test_a_burst_passes_at_once_and_then_each_at_its_time(shared):
    bucket = Limiter(shared).bucket("shop", Rate(20, 50))

    answers = [bucket.take(1_000_000.1) for _ in range(51)]

    assert answers[:50] == [float(left) for left in range(49, -1, -1)]
    assert answers[50] == pytest.approx(-0.05, abs=1e-6)
    assert bucket.take(1_000_000.1 + 0.049) < 0
    assert bucket.take(1_000_000.1 + 0.0501) == 0.0
    assert bucket.take(1_000_010.0) == 49.0


def test_a_refused_request_costs_nothing(shared):
    bucket = Limiter(shared).bucket("shop", Rate(1, 1))
    bucket.take(10.0)

    for _ in range(100):
        assert bucket.take(10.5) == pytest.approx(-0.5, abs=1e-6)

    assert bucket.take(11.1) == 0.0


def test_names_do_not_share_a_limit(shared):
    limiter = Limiter(shared)

    assert limiter.bucket("a", Rate(1, 1)).take(5.0) == 0.0
    assert limiter.bucket("b", Rate(1, 1)).take(5.0) == 0.0


def test_a_lower_rate_is_in_force_at_once_and_does_not_lock_out(shared, clock):
    now = clock()
    limiter = Limiter(shared)
    old = limiter.bucket("shop", Rate(1, 1000))
    for _ in range(1000):
        old.take(now)

    new = limiter.bucket("shop", Rate(10, 5))

    assert new.take(now) == pytest.approx(-0.1, abs=0.05)
    assert new.take(now + 0.2) >= 0.0


def test_a_higher_rate_is_in_force_at_once_and_keeps_what_was_used(shared, clock):
    now = clock()
    limiter = Limiter(shared)
    old = limiter.bucket("shop", Rate(0.1, 10))
    for _ in range(10):
        old.take(now)
    assert old.take(now) < 0

    assert limiter.bucket("shop", Rate(0.1, 100)).take(now) == 89.0


def test_processes_that_still_hold_the_old_rate_go_by_the_new_one(shared, clock):
    now = clock()
    limiter = Limiter(shared)
    buckets = [limiter.bucket("shop", Rate(10, 200)), limiter.bucket("shop", Rate(20, 10))]

    passed = sum(buckets[step % 2].take(now + step * 0.001) >= 0 for step in range(3000))

    assert 65 <= passed <= 70


def test_the_same_rate_put_in_force_again_changes_nothing(shared, clock):
    now = clock()
    limiter = Limiter(shared)
    for left in range(9, -1, -1):
        assert limiter.bucket("shop", Rate(0.1, 10)).take(now) == left

    assert limiter.bucket("shop", Rate(0.1, 10)).take(now) < 0


def test_fields_say_what_the_draft_says(shared):
    bucket = Limiter(shared).bucket("shop", Rate(20, 50), policy="client")

    assert bucket.policy == b'"client";q=50;w=3'
    assert bucket.field(49.0) == b'"client";r=49;t=1'
    assert bucket.field(0.0) == b'"client";r=0;t=3'
    assert bucket.field(-0.05) == b'"client";r=0;t=1'
    assert bucket.field(-7.2) == b'"client";r=0;t=%d' % ceil(7.2)


@pytest.mark.parametrize("rate", [Rate(0, 5), Rate(-1, 5), Rate(5, 0)])
def test_a_rate_that_lets_nothing_through_is_refused(shared, rate):
    with pytest.raises(ValueError, match="a rate needs"):
        Limiter(shared).bucket("shop", rate)
