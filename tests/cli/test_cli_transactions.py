"""Transactions, maintenance and backlog as an operator sees and changes them, on a store without daemons."""

import json
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from program_support import environment, rest
from transactions_support import BODY, CONTACTS, REFUSED, Ledger

from entrepot.catalog.plans import Plan
from entrepot.chassis.shared import SharedState
from entrepot.connectors.base import BreakerPolicy
from entrepot.connectors.breaker import Breaker
from entrepot.ledger import operate
from entrepot.ledger.entries import AnswerOf, Claimed, KeptAnswer, Replayed
from entrepot.ledger.keys import keep_answers

# In its digits may be any short text.
ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def ledger(settings_file, fill_store):
    fill_store(settings_file.parent / "store")
    ledger = Ledger(settings_file)
    yield ledger
    ledger.database.close()


@pytest.fixture
def on_store(entrepot, settings_file, ledger):
    """The program on the store of *ledger*."""

    def run(*arguments):
        return entrepot("--settings", settings_file, *arguments)

    return run


def transactions(on_store, *arguments):
    """Return what a command prints as JSON."""
    done = on_store("transactions", *arguments, "--json")
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def states(on_store):
    return {row["id"]: row["state"] for row in transactions(on_store, "list")}


# -- looking


@pytest.mark.slow
def test_the_latest_stand_first_and_every_filter_is_kept_to(on_store, ledger):
    now = time.time()
    (old,) = ledger.accept(accepted_at=now - 7200)
    (dead,) = ledger.accept(accepted_at=now - 60)
    ledger.end("dead", problem=REFUSED)
    (other,) = ledger.accept(plan=Plan("rates", "carrier", "relay", "POST"), partner="bolt", client="bolt-app")

    def ids(*arguments):
        return [row["id"] for row in transactions(on_store, "list", *arguments)]

    assert ids() == [other, dead, old]
    assert ids("--state", "queued") == [other]
    assert ids("--endpoint", "rates") == ids("--partner", "bolt") == ids("--client", "bolt-app") == [other]
    assert ids("--upstream", "erp", "--newer", "1h") == [dead]
    assert ids("--older", "1h") == [old]
    assert ids("--newer", "2001-01-01T00:00:00Z", "--older", "2002-01-01T00:00:00Z") == []


@pytest.mark.slow
def test_a_list_is_cut_at_its_limit_and_says_so(on_store, ledger):
    ids = ledger.accept(450)

    cut = on_store("transactions", "list", "--limit", "430")
    whole = on_store("transactions", "list", "--limit", "450", "--json")

    assert cut.stdout.splitlines()[0].split()[:3] == ["id", "state", "applied"]
    assert len(cut.stdout.splitlines()) == 431
    assert cut.stderr == "there are more than 430: see --limit\n"
    assert [row["id"] for row in json.loads(whole.stdout)] == ids[::-1]
    assert whole.stderr == ""


@pytest.mark.slow
def test_attempts_problem_and_what_is_followed_are_shown(on_store, ledger):
    (first,) = ledger.accept(order_key="k" * 64)
    (second,) = ledger.accept(order_key="k" * 64)
    ledger.end("dead", problem=REFUSED, code="upstream-rejected", detail="ValidationError: ada@example.com")

    dead = transactions(on_store, "show", first)
    waiting = transactions(on_store, "show", second)
    text = on_store("transactions", "show", first).stdout

    (tried,) = dead["tries"]
    assert (tried["outcome"], tried["status"], tried["code"]) == ("record", 422, "upstream-rejected")
    assert (dead["state"], dead["applied"], dead["problem"]["code"]) == ("dead", "no", "upstream-rejected")
    assert tried["number"] == 1
    assert (waiting["state"], waiting["follows"], waiting["follows_state"]) == ("queued", first, "dead")
    assert "The upstream refuses the record" in text
    assert "body" not in dead


@pytest.mark.slow
def test_no_form_of_any_command_shows_a_private_value(on_store, ledger):
    update = Plan("contacts", "erp", "update", "PATCH", ("id",), model=CONTACTS)
    facts = {"variables": {"id": "ada@example.com"}, "values": {}}
    (id_,) = ledger.accept(plan=update, target="PATCH /v1/contacts/ada%40example.com", facts=facts)
    ledger.end("dead", problem=REFUSED, detail="refused: +44 20 7946 0000")

    shown = transactions(on_store, "show", id_, "--body")
    forms = [("show", id_, "--body"), ("show", id_), ("show", id_, "--json"), ("list",), ("list", "--json")]
    said = "".join(on_store("transactions", *form).stdout for form in forms) + json.dumps(shown)

    assert shown["body"] == {"name": "Ada", "email": "***", "lines": [{"phone": "***"}]}
    assert shown["target"] == "PATCH /v1/contacts/***"
    assert shown["problem"]["detail"] == "no *** here"
    assert shown["tries"][0]["detail"] == "refused: ***"
    assert id_ in said
    assert "ada" not in ID.sub("", said).lower().replace('"name": "ada"', "")
    assert "7946 0000" not in said


@pytest.mark.slow
def test_the_answer_is_masked_too_and_only_shown_when_asked_for(on_store, ledger):
    (id_,) = ledger.accept()
    ledger.end("delivered")

    shown = transactions(on_store, "show", id_, "--body")
    short = transactions(on_store, "show", id_)

    assert shown["answer"] == {**BODY, "email": "***", "lines": [{"phone": "***"}]}
    assert (short["status"], "answer" in short) == (201, False)


@pytest.mark.slow
def test_what_was_dropped_hides_texts_whose_values_nobody_knows_any_more(on_store, ledger):
    (id_,) = ledger.accept()
    ledger.end("dead", problem=REFUSED)
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE transactions SET body = NULL")

    shown = transactions(on_store, "show", id_, "--body")

    assert (shown["body"], shown["problem"]["detail"], shown["target"]) == (None, "***", "***")


@pytest.mark.slow
def test_a_plan_of_another_release_shows_nothing_of_what_was_sent(on_store, ledger):
    (id_,) = ledger.accept()
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("""UPDATE ledger_plans SET document = '{"other": 1}'""")

    shown = transactions(on_store, "show", id_, "--body")

    assert (shown["body"], shown["target"]) == ("***", "***")


@pytest.mark.slow
def test_a_terminal_is_safe_from_what_a_partner_sends(on_store, ledger):
    relay = Plan("rates", "carrier", "relay", "POST")
    (id_,) = ledger.accept(plan=relay, body={"a": "\x9b2J\u202e"}, target="POST /\x1b[2J")

    done = on_store("transactions", "show", id_, "--body")

    assert "\\x9b2J" in done.stdout
    assert "\\x1b[2J" in done.stdout
    assert done.stdout.replace("\n", "").isprintable()


def test_an_unknown_id_is_one_line(on_store):
    done = on_store("transactions", "show", "nothing")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "entrepot: there is no transaction 'nothing'\n")


# -- changing


@pytest.mark.slow
def test_a_dead_transaction_is_replayed_under_its_id_and_its_followers_after_it(on_store, ledger):
    (first,) = ledger.accept(order_key="k" * 64)
    (second,) = ledger.accept(order_key="k" * 64)
    ledger.end("dead", problem=REFUSED)

    done = on_store("transactions", "replay", first)

    assert (done.returncode, done.stdout, done.stderr) == (0, "replayed: 1\n", "")
    assert states(on_store) == {first: "queued", second: "queued"}
    assert ledger.end("delivered") == [first]
    assert ledger.end("delivered") == [second]


@pytest.mark.slow
def test_ids_that_do_not_allow_it_are_told_apart_and_the_others_are_done(on_store, ledger):
    (delivered,) = ledger.accept()
    ledger.end("delivered")
    (dead,) = ledger.accept()
    ledger.end("dead", problem=REFUSED)

    done = on_store("transactions", "replay", delivered, dead, "nothing", "--json")

    said = json.loads(done.stdout)
    assert done.returncode == 1
    assert said["replayed"] == 1
    assert {one["id"] for one in said["refused"]} == {delivered, "nothing"}
    assert done.stderr.splitlines() == [
        f"{delivered} was not replayed: it is delivered, and it was applied",
        "nothing was not replayed: there is none of this id",
    ]


@pytest.mark.slow
def test_filters_replay_all_that_fit_in_steps_that_are_told(on_store, ledger):
    ledger.accept(450)
    ledger.end("dead", problem=REFUSED)
    (other,) = ledger.accept(partner="bolt")
    ledger.end("dead", problem=REFUSED)

    done = on_store("transactions", "replay", "--state", "dead", "--partner", "azure")

    assert (done.returncode, done.stdout) == (0, "replayed: 450\n")
    assert re.fullmatch(r"replaying: 200\n(replaying: \d+\n)*", done.stderr)
    left = transactions(on_store, "list", "--state", "dead")
    assert [row["id"] for row in left] == [other]


@pytest.mark.slow
def test_a_terminal_gets_one_line_that_is_rewritten(settings_file, ledger):
    ledger.accept(450)
    ours, its = pty.openpty()
    command = [sys.executable, "-P", "-m", "entrepot.cli.main", "--settings", str(settings_file)]
    command += ["transactions", "cancel", "--state", "queued"]

    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=its, env=environment(), check=True, timeout=60)
    os.close(its)
    said = rest(ours).decode()
    os.close(ours)

    assert done.stdout == b"cancelled: 450\n"
    assert "\n" not in said
    assert said.split("\r")[1:3] == ["cancelling: 200\x1b[K", "cancelling: 400\x1b[K"]
    assert said.endswith("\r\x1b[K")


@pytest.mark.slow
def test_only_what_has_certainly_not_been_applied_is_cancelled(on_store, ledger):
    (unclear,) = ledger.accept()
    ledger.end("waiting", applied="unknown", problem=REFUSED)
    (queued,) = ledger.accept()

    done = on_store("transactions", "cancel", unclear, queued)

    assert (done.returncode, done.stdout) == (1, "cancelled: 1\n")
    assert done.stderr == f"{unclear} was not cancelled: it is waiting, and it may have been applied\n"
    assert states(on_store) == {unclear: "waiting", queued: "cancelled"}


@pytest.mark.slow
def test_what_fits_the_filters_and_does_not_allow_it_is_counted(on_store, ledger):
    ledger.accept(2)
    ledger.end("waiting", applied="unknown", problem=REFUSED)
    ledger.accept(3)

    done = on_store("transactions", "cancel", "--partner", "azure", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout) == {"cancelled": 3, "left": 2, "refused": []}
    assert done.stderr == "2 that fit the filters were not cancelled: they may have been applied, or were erased\n"


@pytest.mark.slow
def test_skipping_the_dead_lets_those_that_follow_go(on_store, ledger):
    (first,) = ledger.accept(order_key="k" * 64)
    (second,) = ledger.accept(order_key="k" * 64)
    ledger.end("dead", applied="unknown", problem=REFUSED)

    done = on_store("transactions", "skip", "--upstream", "erp")

    assert (done.returncode, done.stdout) == (0, "skipped: 1\n")
    assert states(on_store)[first] == "cancelled"
    assert ledger.end("delivered") == [second]


@pytest.mark.slow
def test_what_is_erased_is_gone_from_the_store(on_store, ledger):
    (ada,) = ledger.accept()
    (grace,) = ledger.accept(body={"name": "Grace", "email": "grace@example.com"})
    ledger.end("dead", problem=REFUSED)

    by_match = on_store("transactions", "erase", "--match", "email=ada@example.com", "--yes")
    kept = {id_: transactions(on_store, "show", id_, "--body")["body"] for id_ in (ada, grace)}
    by_partner = on_store("transactions", "erase", "--partner", "azure", "--yes", "--json")

    assert (by_match.returncode, by_match.stdout) == (0, "erased: 1\n")
    assert kept == {ada: None, grace: {"name": "Grace", "email": "***"}}
    assert json.loads(by_partner.stdout) == {"erased": 1, "left": 0}
    refused = on_store("transactions", "replay", ada)
    assert refused.stderr == f"{ada} was not replayed: it is dead, and what was sent was erased or dropped\n"


@pytest.mark.slow
def test_what_is_not_finished_is_not_erased_and_that_is_said(on_store, ledger):
    ledger.accept()

    done = on_store("transactions", "erase", "--match", "email=ada@example.com", "--yes", "--json")

    assert (done.returncode, json.loads(done.stdout)) == (1, {"erased": 0, "left": 1})
    assert "1 that fit were not erased" in done.stderr


@pytest.mark.slow
def test_answers_that_are_kept_for_keys_are_erased_and_their_keys_stay(on_store, ledger):
    claimed = Claimed("k" * 64, "r" * 64, time.time() + 60, time.time() + 3600)
    answer = KeptAnswer(201, b"", b'{"data":{"email":"ada@example.com"}}')
    (id_,) = ledger.accept(key=claimed, when="never")
    with ledger.database.writing() as connection:
        keep_answers(connection, [AnswerOf(claimed.digest, answer)], time.time())

    by_match = on_store("transactions", "erase", "--match", "email=grace@example.com", "--yes", "--json")
    by_partner = on_store("transactions", "erase", "--partner", "azure", "--yes")

    assert (json.loads(by_match.stdout), by_partner.stdout) == ({"erased": 0, "left": 0}, "erased: 1\n")
    assert ledger.admit(claimed) == Replayed(id_, KeptAnswer(201, gone="erased"))


@pytest.mark.slow
def test_nothing_that_was_said_of_tries_outlives_the_erasing(on_store, ledger):
    (id_,) = ledger.accept()
    ledger.end("dead", problem=REFUSED, code="upstream-rejected", detail="ValidationError: ada@example.com")

    on_store("transactions", "erase", "--partner", "azure", "--yes")

    shown = transactions(on_store, "show", id_, "--body")
    (tried,) = shown["tries"]
    assert (tried["number"], tried["code"], tried["detail"]) == (1, "upstream-rejected", "***")
    files = (each for each in ledger.directory.glob("entrepot.db*") if each.suffix != ".turns")
    assert [each.name for each in files if b"ada@example.com" in each.read_bytes()] == []


@pytest.mark.slow
def test_couriers_are_told_and_the_log_says_who_changed_how_many(on_store, ledger, settings_file):
    settings_file.write_text(settings_file.read_text() + "[log]\nlevel = debug\n")
    ledger.accept(3)
    shared = SharedState.open(settings_file.parent / "store" / "shared")
    before = shared.counter("ledger").read()

    done = on_store("transactions", "cancel", "--partner", "azure")

    after = shared.counter("ledger").read()
    shared.close()
    assert after > before
    (line,) = [line for line in done.stderr.splitlines() if "transactions changed" in line]
    assert "change=cancel number=3 by=" in line
    assert "(command line)" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["replay"], "either ids are needed, or filters"),
        (["replay", "x", "--state", "dead"], "either ids are needed, or filters"),
        (["replay", "--state", "delivered"], "must be one of dead, held"),
        (["list", "--state", "gone"], "invalid choice"),
        (["list", "--older", "soon"], "neither a duration"),
        (["list", "--newer", "2026-01-01T00:00:00"], "does not say its zone"),
        (["list", "--limit", "0"], "must be at least 1"),
        (["erase", "--partner", "azure"], "add --yes"),
        (["erase", "--yes"], "either --partner or --match"),
        (["erase", "--match", "email", "--yes"], "must be FIELD=VALUE"),
    ],
)
def test_wrong_usage_changes_nothing_and_says_why(entrepot, settings_file, arguments, complaint):
    done = entrepot("--settings", settings_file, "transactions", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert list((settings_file.parent / "store").iterdir()) == []


# -- maintenance and backlog


@pytest.mark.slow
def test_maintenance_holds_deliveries_until_it_ends(on_store, ledger):
    ledger.accept()

    on = on_store("maintenance", "on", "--until", "30m")
    assert ledger.end("delivered") == []
    status = json.loads(on_store("maintenance", "status", "--json").stdout)
    off = on_store("maintenance", "off")
    again = on_store("maintenance", "off")

    assert on.stdout.startswith("maintenance is on since ")
    assert status["maintenance"] is True
    assert status["until"] > status["since"]
    assert (off.stdout, again.stdout) == ("maintenance is off\n", "maintenance was off already\n")
    assert len(ledger.end("delivered")) == 1


@pytest.mark.slow
def test_maintenance_says_how_many_are_in_flight_that_began_before_it(on_store, ledger):
    ledger.accept(3)
    ledger.take(count=2)

    on = on_store("maintenance", "on")
    status = json.loads(on_store("maintenance", "status", "--json").stdout)

    assert on.stdout.endswith(f"by {ledger.hold().detail.removeprefix('by ')}; in flight: 2\n")
    assert (status["maintenance"], status["in_flight"]) == (True, 2)


@pytest.mark.slow
@pytest.mark.parametrize("until", ["0s", "2020-01-01T00:00:00Z", "9999999d", "later"])
def test_maintenance_ends_within_a_year(on_store, until):
    done = on_store("maintenance", "on", "--until", until)

    assert done.returncode == 2
    assert "argument --until: " in done.stderr
    assert on_store("maintenance", "status").stdout == "maintenance is off\n"


@pytest.mark.slow
def test_status_of_an_empty_ledger_is_zero(on_store):
    found = json.loads(on_store("status", "--json").stdout)

    keys = ("backlog", "oldest", "rate", "eta", "dead", "maintenance", "queues")
    assert [found[key] for key in keys] == [0, None, 0, 0, 0, False, []]


def test_status_says_what_waits_and_when_it_is_done(on_store, ledger):
    ledger.accept(120)
    ledger.end("delivered")
    ledger.accept(2)
    ledger.end("dead", problem=REFUSED)
    ledger.accept(30, accepted_at=time.time() - 90)

    found = json.loads(on_store("status", "--json").stdout)
    text = on_store("status").stdout

    assert (found["backlog"], found["dead"], found["maintenance"]) == (30, 2, False)
    assert 90 <= found["oldest"] < 150
    assert found["rate"] == 2.0
    assert found["eta"] == 15.0
    (queue,) = found["queues"]
    assert (queue["upstream"], queue["backlog"], queue["dead"], queue["held"]) == ("erp", 30, 2, None)
    assert queue["bytes"] > 30 * 50
    assert re.search(r"^backlog +30, oldest 1m \d+s, 2 a second, empty in 15s$", text, re.MULTILINE)


@pytest.mark.slow
def test_status_says_why_an_upstream_gets_nothing(on_store, ledger):
    ledger.accept(5)
    with ledger.database.writing() as connection:
        operate.hold(connection, "erp", "misconfigured", "unknown field\x1b[2J", None, time.time())

    held = json.loads(on_store("status", "--json").stdout)
    text = on_store("status").stdout
    on_store("maintenance", "on")
    both = json.loads(on_store("status", "--json").stdout)

    assert held["eta"] is None
    assert held["queues"][0]["held"]["reason"] == "misconfigured"
    assert r"held since" in text
    assert r"misconfigured (unknown field\x1b[2J)" in text
    assert (both["maintenance"], both["queues"][0]["held"]["reason"]) == (True, "misconfigured")


def test_status_names_no_end_while_an_upstream_is_left_alone(on_store, ledger, settings_file):
    ledger.accept(120)
    ledger.end("delivered")
    ledger.accept(30)
    shared = SharedState.open(settings_file.parent / "store" / "shared")
    breaker = Breaker(shared, "erp", BreakerPolicy(failures=2))
    for _ in range(2):
        breaker.failed(time.monotonic())

    away = json.loads(on_store("status", "--json").stdout)
    text = on_store("status").stdout
    breaker.succeeded()
    back = json.loads(on_store("status", "--json").stdout)
    shared.close()

    assert (away["rate"], away["eta"]) == (2.0, None)
    assert (away["queues"][0]["eta"], away["queues"][0]["away"]) == (None, True)
    assert re.search(r"^backlog +30, oldest \d+s, 2 a second, waits for erp$", text, re.MULTILINE)
    assert re.search(r"^queue erp +30, oldest \d+s, 2 a second, waits for erp$", text, re.MULTILINE)
    assert (back["eta"], back["queues"][0]["eta"], back["queues"][0]["away"]) == (15.0, 15.0, False)


@pytest.mark.slow
def test_status_names_no_end_in_maintenance_or_when_an_upstream_is_held(on_store, ledger):
    ledger.accept(120)
    ledger.end("delivered")
    ledger.accept(30)
    with ledger.database.writing() as connection:
        operate.hold(connection, "erp", "misconfigured", "no such model", None, time.time())

    held = on_store("status").stdout
    on_store("maintenance", "on")
    maintenance = json.loads(on_store("status", "--json").stdout)
    text = on_store("status").stdout

    assert re.search(r"^backlog +30, oldest \d+s, 2 a second, waits for erp$", held, re.MULTILINE)
    assert re.search(r"^queue erp .*, held since \S+: misconfigured \(no such model\)$", held, re.MULTILINE)
    assert re.search(r"^backlog +30, oldest \d+s, 2 a second, held: maintenance$", text, re.MULTILINE)
    assert (maintenance["eta"], maintenance["queues"][0]["eta"]) == (None, None)
    assert "in sight" not in held + text
    assert "empty in" not in held + text


@pytest.mark.slow
def test_status_without_a_database_says_that_what_waits_is_not_known(entrepot, settings_file):
    (settings_file.parent / "store" / "entrepot.db").write_bytes(b"this is no database" * 1000)

    done = entrepot("--settings", settings_file, "status", "--json")

    assert done.returncode == 0
    assert json.loads(done.stdout)["backlog"] is None
    assert "what waits is not known: " in done.stderr


@pytest.mark.slow
def test_a_hundred_thousand_delivered_ones_slow_no_look_down(on_store, ledger):
    ledger.accept(1)
    with ledger.database.writing() as connection:
        columns = [row[1] for row in connection.exec_driver_sql("PRAGMA table_info(transactions)")]
        kept = ", ".join(name for name in columns if name not in {"seq", "id", "state", "finished_at", "due_at"})
        connection.exec_driver_sql(
            f"""INSERT INTO transactions (id, state, finished_at, due_at, {kept})
            WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
            SELECT printf('%036d', i), 'delivered', 1e9 + i, NULL, {kept} FROM n, transactions"""
        )
    (dead,) = ledger.accept()
    ledger.end("dead", problem=REFUSED)

    began = time.perf_counter()
    found = transactions(on_store, "list", "--state", "dead")
    status = json.loads(on_store("status", "--json").stdout)
    took_s = time.perf_counter() - began

    assert dead in [row["id"] for row in found]
    assert status["dead"] == 2
    # Two starts of the program on a busy machine.
    assert took_s < 5
