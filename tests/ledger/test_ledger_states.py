"""The states stand in one place; the schema says them again, in words that must be the same."""

import re

from entrepot.ledger import states
from entrepot.store import ledger


def words(text):
    return sorted(re.findall(r"'(\w+)'", text))


def test_the_schema_knows_the_states_that_there_are():
    (rule,) = (one for one in ledger.transactions.constraints if str(one.name).endswith("transactions_state"))

    assert words(str(rule.sqltext)) == sorted(states.STATES)


def test_indexes_are_about_what_has_passed():
    assert words(ledger.HOLDS_FOLLOWERS) == words(ledger.HAS_BODY) == sorted(states.PASSED)


def test_what_is_finished_moves_only_when_an_operator_or_its_partner_says_so():
    assert sorted(states.PASSED) == ["cancelled", "delivered"]
    assert sorted(states.FINISHED) == ["cancelled", "dead", "delivered"]
    assert states.UNFINISHED == ("queued", "sending", "waiting", "held")
    assert states.READY == ("queued", "waiting")
