import json
from itertools import pairwise
from math import ceil
from types import SimpleNamespace

import pytest

from entrepot.chassis import limits
from entrepot.chassis.limits import DAY_S, Limiter, Rate
from entrepot.chassis.shared import SharedState

OFFERER = """
    from entrepot.chassis.limits import Limiter, Rate
    bucket = Limiter(shared).bucket(sys.argv[2], Rate(float(sys.argv[3]), int(sys.argv[4])))
    end = told_end()
    passed, asked = [], 0.0
    while (now := time.monotonic()) < end:
        asked = now
        if bucket.take(now) >= 0:
            passed.append(now)
        else:
            time.sleep(0.0003)
    print([passed, asked], flush=True)
    if len(sys.argv) > 5:
        bucket._mutex.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
"""


def passes(processes):
    """Return when something passed in *processes*, in order, and when they last asked."""
    told = [json.loads(process.communicate()[0]) for process in processes]
    return sorted(moment for passed, _ in told for moment in passed), max(asked for _, asked in told)


def most_over(moments, rate):
    """Return by how much the worst window of all exceeds ``burst + per_second * w``; negative when none does."""
    worst, lowest = -1e9, 1e18
    for number, moment in enumerate(moments):
        # A window from moment i to this one holds number - i + 1.
        lowest = min(lowest, number - rate.per_second * moment)
        worst = max(worst, number + 1 - rate.per_second * moment - lowest)
    return worst - rate.burst


def promised(moments, rate):
    """Return how many must pass up to the last of *moments*, when somebody asked last.

    While processes start, or are kept from the processor, no one asks; what was not asked for is lost beyond the burst.
    """
    saved_s = rate.burst / rate.per_second
    return rate.burst + rate.per_second * sum(min(later - earlier, saved_s) for earlier, later in pairwise(moments))


def test_what_is_sent_is_remembered_once_for_all_buckets_of_a_rate(shared):
    limiter = Limiter(shared)
    one, other = (limiter.bucket(name, Rate(5, 20), policy="burst") for name in ("one", "other"))
    slower = limiter.bucket("slower", Rate(2, 20), policy="burst")

    lines = one.lines(7.0)

    assert other.lines(7.0) is lines
    assert slower.lines(7.0) == lines.replace(b"w=4", b"w=10").replace(b"t=3", b"t=7") != lines


@pytest.mark.alone
@pytest.mark.parametrize(("count", "lasting_s"), [(1, 1.2), (9, 1.6)])
def test_a_client_gets_its_rate_and_never_more_from_any_number_of_processes(shared, spawn, begin, count, lasting_s):
    rate = Rate(300, 60)
    processes = [spawn(OFFERER, "claim", 300, 60) for _ in range(count)]
    end = begin(processes, lasting_s)

    moments, asked = passes(processes)

    assert end - moments[0] > 1.0
    assert most_over(moments, rate) <= 1e-3
    assert len(moments) >= 0.98 * promised([*moments, asked], rate)


@pytest.mark.alone
def test_the_limit_holds_over_a_kill_with_the_lock_held_and_a_restart(shared, spawn, begin):
    rate = Rate(300, 30)
    first = [spawn(OFFERER, "kill", 300, 30, *how) for how in ((), ("killed",), ("killed",))]
    for process, lasting_s in zip(first, (0.6, 0.3, 0.5), strict=True):
        begin([process], lasting_s)
    first[0].wait()
    second = [spawn(OFFERER, "kill", 300, 30) for _ in range(2)]
    begin(second, 0.5)

    moments, asked = passes([*first, *second])

    assert [process.returncode for process in first] == [0, -9, -9]
    assert most_over(moments, rate) <= 1e-3
    assert len(moments) >= 0.98 * promised([*moments, asked], rate)


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


def test_a_lower_rate_is_in_force_at_once_and_does_not_lock_out(shared, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(limits, "time", SimpleNamespace(monotonic=lambda: now))
    limiter = Limiter(shared)
    old = limiter.bucket("shop", Rate(1, 1000))
    for _ in range(1000):
        old.take(now)

    new = limiter.bucket("shop", Rate(10, 5))

    assert new.take(now) == pytest.approx(-0.1, abs=1e-6)
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


NOON = 20_000 * DAY_S + DAY_S / 2


def test_a_quota_lets_its_number_through_each_day(shared):
    day = Limiter(shared).day("shop", 3)

    assert [day.take(NOON + second) for second in range(4)] == [2, 1, 0, 3 - DAY_S / 2]
    assert day.left(NOON) == 0
    assert day.left(NOON + DAY_S / 2) == 3
    assert [day.take(NOON + DAY_S / 2 + second) for second in range(2)] == [2, 1]


def test_a_quota_is_the_same_in_all_processes_and_outlives_a_boot(shared, path, other_boot, spawn):
    Limiter(shared).day("shop", 5).take(NOON)
    worker = spawn(
        f"""
        from entrepot.chassis.limits import Limiter
        print(Limiter(shared).day("shop", 5).take({NOON}), flush=True)
        """
    )
    assert worker.communicate()[0].strip() == "3.0"

    other_boot()

    assert Limiter(SharedState.open(path)).day("shop", 5).take(NOON) == 2


def test_a_clock_that_goes_back_over_midnight_locks_no_one_out(shared):
    day = Limiter(shared).day("shop", 1)
    day.take(NOON + DAY_S)

    assert day.take(NOON) == 0


def test_a_process_that_sees_midnight_late_brings_no_day_back(shared):
    midnight = 20_000 * DAY_S
    day, late = (Limiter(shared).day("shop", 2) for _ in range(2))
    for second in range(2):
        day.take(midnight - 5 + second)

    left = [day.take(midnight + 0.05), late.take(midnight - 0.2)]

    assert left == [1, 0]
    assert late.take(midnight - 0.1) < 1 - DAY_S
    assert day.take(midnight + 0.1) < 1 - DAY_S


def test_a_smaller_quota_is_in_force_at_once(shared):
    for _ in range(4):
        Limiter(shared).day("shop", 9).take(NOON)

    smaller = Limiter(shared).day("shop", 3)

    assert smaller.take(NOON) < 0
    assert smaller.field(smaller.left(NOON), NOON) == b'"day";r=0;t=43200'


def test_kills_between_takes_lose_no_count_and_leave_no_lock(shared, spawn):
    worker = spawn(
        f"""
        from entrepot.chassis.limits import Limiter
        day = Limiter(shared).day("shop", 9)
        day.take({NOON})
        day._mutex.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    worker.wait()

    assert Limiter(shared).day("shop", 9).take(NOON) == 7
