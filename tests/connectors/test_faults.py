"""The class of a fault, by its error and by what is known of the write."""

from __future__ import annotations

import pytest

from entrepot import errors
from entrepot.connectors.faults import FaultClass, OutOfReach, UpstreamStumbled, fault_of, unsent


@pytest.mark.parametrize(
    ("error", "kind", "applied"),
    [
        (errors.InvalidBody(), "record", "no"),
        (errors.RecordNotFound(), "record", "no"),
        (errors.Conflict(), "record", "no"),
        (errors.UpstreamRejected(), "record", "no"),
        (UpstreamStumbled(), "record", "unknown"),
        (OutOfReach(), "record", "no"),
        (errors.UpstreamMisconfigured(), "upstream", "no"),
        (errors.SettingsError(), "upstream", "no"),
        (errors.UpstreamBusy(), "transient", "no"),
        (errors.StoreUnavailable(), "transient", "no"),
        (errors.UpstreamUnavailable(), "transient", "unknown"),
        (errors.UpstreamTimeout(), "transient", "unknown"),
        (errors.UpstreamBadAnswer(), "transient", "unknown"),
    ],
)
def test_error_of_which_nothing_is_said_has_the_class_of_its_kind(error, kind, applied):
    assert fault_of(error) == FaultClass(kind, applied)


def test_what_an_error_says_counts_more_than_its_kind():
    error = errors.UpstreamTimeout(retry_after_s=3.0)
    error.applied = "yes"

    assert fault_of(error) == FaultClass("transient", "yes", 3.0)


def test_result_that_cannot_be_read_is_not_asked_for_again():
    error = errors.UpstreamBadAnswer()
    error.applied = "yes"

    assert fault_of(error).kind == "record"


def test_copy_that_says_nothing_was_sent_leaves_the_error_as_it_was():
    error = errors.UpstreamUnavailable("x", retry_after_s=2.0, headers=[("a", "b")])
    error.__cause__ = ConnectionError("refused")

    told = unsent(error)

    assert (type(told), str(told), told.retry_after_s, told.headers) == (type(error), "x", 2.0, (("a", "b"),))
    assert (told.applied, error.applied) == ("no", None)
    assert told.__cause__ is error.__cause__
