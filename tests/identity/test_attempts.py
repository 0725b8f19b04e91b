"""Wrong secrets are counted by name and network, in all processes of the host together, and nobody else suffers."""

import pytest

from entrepot.chassis.shared import _RECORDS_USED, SLOTS, SharedState
from entrepot.errors import TooManyRequests
from entrepot.identity.attempts import Attempts


@pytest.fixture
def shared(tmp_path):
    return SharedState.open(tmp_path / "shared")


@pytest.fixture
def tried(shared):
    """Attempts in which ``shop`` has failed from 192.0.2.1 as often as it may, at second 0."""
    tried = Attempts(shared, "test", most=3, window_s=60.0)
    for _ in range(3):
        tried.failed("shop", "192.0.2.1", 0.0)
    return tried


def test_one_too_many_says_when_to_come_again(tried):
    with pytest.raises(TooManyRequests) as refused:
        tried.failed("shop", "192.0.2.1", 20.0)

    assert refused.value.retry_after_s == 40.0


def test_another_process_counts_on(tried, tmp_path):
    another = Attempts(SharedState.open(tmp_path / "shared"), "test", most=3, window_s=60.0)

    with pytest.raises(TooManyRequests):
        another.failed("shop", "192.0.2.1", 20.0)


@pytest.mark.parametrize(("name", "source"), [("shop", "192.0.2.2"), ("other", "192.0.2.1")])
def test_other_names_and_networks_are_counted_apart(tried, name, source):
    tried.failed(name, source, 1.0)


def test_other_purposes_are_counted_apart(tried, shared):
    Attempts(shared, "another", most=1).failed("shop", "192.0.2.1", 1.0)


def test_count_begins_anew_after_the_window(tried):
    tried.failed("shop", "192.0.2.1", 60.0)


def test_count_that_is_forgotten_begins_anew(tried):
    tried.forget("other", "192.0.2.1")
    with pytest.raises(TooManyRequests):
        tried.failed("shop", "192.0.2.1", 1.0)

    tried.forget("shop", "192.0.2.1")

    for _ in range(3):
        tried.failed("shop", "192.0.2.1", 2.0)


@pytest.mark.parametrize("name", ["", "\udcff", "x" * 100_000])
def test_any_name_is_counted(shared, name):
    tried = Attempts(shared, "test", most=1)
    tried.failed(name, "192.0.2.1", 0.0)

    with pytest.raises(TooManyRequests):
        tried.failed(name, "192.0.2.1", 0.0)


def test_addresses_of_one_ipv6_network_are_one(shared):
    tried = Attempts(shared, "test", most=1)
    tried.failed("shop", "2001:db8::1", 0.0)

    with pytest.raises(TooManyRequests):
        tried.failed("shop", "2001:db8::ffff", 0.0)


def test_made_up_names_take_a_bounded_room_and_what_is_counted_of_others_with_it(shared):
    tried = Attempts(shared, "test", most=1, rooms=4)
    tried.failed("shop", "192.0.2.1", 0.0)

    for number in range(100):
        tried.failed(f"made-up-{number}", "192.0.2.1", 0.0)

    tried.failed("shop", "192.0.2.1", 0.0)
    slots = {shared.slot(f"attempts:test:{number}") for number in range(4)}
    assert shared.words[_RECORDS_USED] == len(slots)


def test_without_room_nothing_is_counted_and_the_log_says_so(shared, logged_by):
    shared.words[_RECORDS_USED] = SLOTS
    tried = Attempts(shared, "test", most=1)

    for _ in range(3):
        tried.failed("shop", "192.0.2.1", 0.0)
    tried.forget("shop", "192.0.2.1")

    assert [record.getMessage() for record in logged_by(Attempts)] == ["wrong secrets are not counted"] * 3
