import json
import os

import pytest

from entrepot.connectors.places import Places
from entrepot.errors import UpstreamBusy

CROWD = """
    import json
    from entrepot.connectors.places import Places
    shared.register()
    places = Places(shared, "erp", limit=3, waiting=100, wait_s=5.0)
    end = told_end()
    held, spans = {}, []

    class Call:
        def on_place(self):
            held[self] = time.monotonic()
        def on_no_place(self, error):
            raise error

    def leave_old(now):
        for call, since in list(held.items()):
            if now - since > 0.004:
                spans.append((since, time.monotonic()))
                del held[call]
                places.leave()

    while (now := time.monotonic()) < end:
        if len(places._queue) < 3:
            call = Call()
            if places.enter(call, now):
                call.on_place()
        leave_old(now)
        places.poll(now)
        time.sleep(0.0005)
    for call in list(places._queue):
        places.cancel(call)
    while held:
        leave_old(time.monotonic())
        time.sleep(0.001)
    print(json.dumps(spans))
"""

RUSH = """
    from entrepot.connectors.places import Places
    from entrepot.errors import UpstreamBusy
    shared.register()
    places = Places(shared, "erp", limit=2, waiting=0, wait_s=5.0)
    end, most, refused = told_end(), 0, 0
    while (now := time.monotonic()) < end:
        try:
            places.enter(None, now)
        except UpstreamBusy:
            refused += 1
            continue
        with places._mutex:  # so that no one enters while it counts
            most = max(most, places.in_use())
        places.leave()
    print(most, refused)
"""


class Call:
    def __init__(self):
        self.got = None

    def on_place(self):
        self.got = True

    def on_no_place(self, error):
        self.got = error


@pytest.fixture
def places(shared):
    shared.register()
    return Places(shared, "erp", limit=2, waiting=2, wait_s=2.0)


def fill(places, now):
    assert places.enter(Call(), now)
    assert places.enter(Call(), now)


@pytest.mark.alone
def test_places_are_never_above_the_limit_and_no_process_starves(spawn, begin):
    crowd = [spawn(CROWD) for _ in range(4)]
    begin(crowd, 0.9)

    spans = [json.loads(process.communicate()[0]) for process in crowd]

    changes = sorted(change for each in spans for since, until in each for change in ((since, 1), (until, -1)))
    taken = most = 0
    for _, change in changes:
        taken += change
        most = max(most, taken)
    assert most == 3
    shares = [len(each) for each in spans]
    assert min(shares) > 0.3 * sum(shares) / len(shares)


@pytest.mark.alone
def test_places_are_never_above_the_limit_in_a_rush(spawn, begin):
    rush = [spawn(RUSH) for _ in range(5)]
    begin(rush, 0.6)

    said = [[int(number) for number in process.communicate()[0].split()] for process in rush]

    assert max(most for most, _ in said) == 2
    assert sum(refused for _, refused in said) > 0


def test_places_of_a_killed_process_come_back(shared, places, spawn, clock):
    holder = spawn("""
        from entrepot.connectors.places import Places
        shared.register()
        places = Places(shared, "erp", limit=2, waiting=2, wait_s=2.0)
        print(places.enter(None, time.monotonic()), places.enter(None, time.monotonic()), flush=True)
        print(places.enter(object(), time.monotonic()), flush=True)
        time.sleep(60)
    """)
    assert holder.stdout.readline() == "True True\n"
    assert holder.stdout.readline() == "False\n"
    call = Call()
    now = clock()
    assert not places.enter(call, now)
    assert (places.in_use(), places.queued()) == (2, 2)

    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    shared.reap()
    places.poll(clock())

    assert call.got is True
    assert (places.in_use(), places.queued()) == (1, 0)


def test_a_freed_place_goes_to_the_first_who_waits(places, clock):
    now = clock()
    fill(places, now)
    first, second = Call(), Call()
    assert not places.enter(first, now)
    assert not places.enter(second, now)

    places.leave()

    assert (first.got, second.got) == (True, None)
    assert places.has_waiters
    places.leave()
    assert second.got is True
    assert not places.has_waiters
    assert places.in_use() == 2


def test_one_who_comes_later_does_not_overtake(places, clock):
    now = clock()
    fill(places, now)
    first, later = Call(), Call()
    places.enter(first, now)
    places._words[places._mine] -= 1  # a place that another process has freed

    assert not places.enter(later, now)
    places.poll(now)

    assert (first.got, later.got) == (True, None)


def test_a_full_queue_is_busy_at_once(places, clock):
    now = clock()
    fill(places, now)
    places.enter(Call(), now)
    places.enter(Call(), now)

    with pytest.raises(UpstreamBusy, match="2 calls wait for a place at erp already") as busy:
        places.enter(Call(), now)

    assert busy.value.retry_after_s == 2.0


def test_who_waits_too_long_is_told_so(places):
    fill(places, 100.0)
    early, late = Call(), Call()
    places.enter(early, 100.0)
    places.enter(late, 101.0)

    places.poll(101.9)
    assert early.got is None
    places.poll(102.0)

    assert str(early.got) == "no place at erp came free within 2 s"
    assert late.got is None
    assert places.queued() == 1


def test_who_has_left_gets_no_place(places, clock):
    now = clock()
    fill(places, now)
    gone, next_one = Call(), Call()
    places.enter(gone, now)
    places.enter(next_one, now)

    assert places.cancel(gone)
    assert not places.cancel(gone)
    places.leave()

    assert (gone.got, next_one.got) == (None, True)


def test_calls_that_fail_at_once_empty_a_long_queue_without_recursion(shared, places, clock):
    places.configure(limit=2, waiting=5000, wait_s=2.0)
    now = clock()
    fill(places, now)
    failed = []

    class Failing(Call):
        def on_place(self):
            failed.append(self)
            places.leave()

    for _ in range(3000):
        places.enter(Failing(), now)

    places.leave()

    assert len(failed) == 3000
    assert places.in_use() == 1


def test_a_lower_limit_runs_in(places, clock):
    now = clock()
    fill(places, now)
    places.configure(limit=1, waiting=2, wait_s=2.0)
    call = Call()

    assert not places.enter(call, now)
    places.leave()
    assert call.got is None
    places.leave()

    assert call.got is True


def test_two_objects_of_one_process_share_its_count(shared, places, clock):
    again = Places(shared, "erp", limit=2, waiting=2, wait_s=2.0)
    now = clock()

    assert places.enter(Call(), now)
    assert again.enter(Call(), now)
    assert not places.enter(Call(), now)

    places.leave()
    again.leave()
    assert places.in_use() == 1


def test_a_place_that_was_not_taken_cannot_be_given_back(places):
    with pytest.raises(RuntimeError, match="had not been taken"):
        places.leave()
