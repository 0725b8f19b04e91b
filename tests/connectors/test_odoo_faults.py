from __future__ import annotations

import json
import re

import pytest
from odoo_support import ORDERS, PARTNERS, Reply, exchange

from entrepot import errors
from entrepot.connectors.base import Field, ModelMapping
from entrepot.connectors.faults import OutOfReach, UpstreamStumbled, fault_of
from entrepot.connectors.odoo.faults import Naming, load_fault, naming_of, translated
from entrepot.connectors.odoo.jsonrpc import result_of
from entrepot.connectors.odoo.wire import OdooError

NOT_NULL = "missing required (db NOT NULL): sale.order without partner"
USERS = ModelMapping("res.users", (Field("account", ("login",)),))
COUNTRIES = ModelMapping("res.country", (Field("iso", ("code",)),))
CLIENTS = ModelMapping("sale.order", (Field("client", ("partner_id",), "many2one"),))


def fault(title, verb, mapping=PARTNERS):
    """Return the gateway's error for what the real Odoo answered."""
    recorded = exchange(title)
    body = recorded["response"]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    try:
        result = result_of(Reply(recorded["status"], (), raw), 1, "erp")
    except OdooError as error:
        return translated(error, verb, naming_of(mapping))
    except errors.Error as error:
        return error
    return load_fault(result["messages"], naming_of(mapping))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (500, errors.UpstreamUnavailable),
        (502, errors.UpstreamUnavailable),
        (503, errors.UpstreamUnavailable),
        (504, errors.UpstreamTimeout),
        (429, errors.UpstreamUnavailable),
        (404, errors.UpstreamMisconfigured),
        (400, errors.UpstreamBadAnswer),
    ],
)
def test_status_of_a_server_before_odoo_has_a_meaning(status, expected):
    with pytest.raises(errors.Error) as caught:
        result_of(Reply(status, (), b"<html>"), 1, "erp")

    assert type(caught.value) is expected


@pytest.mark.parametrize(
    ("title", "verb", "expected", "kind"),
    [
        ("wrong password execute_kw", "read", errors.UpstreamMisconfigured, "upstream"),
        ("unknown db", "read", errors.UpstreamMisconfigured, "upstream"),
        ("unknown model", "read", errors.UpstreamMisconfigured, "upstream"),
        ("unknown method", "call", errors.UpstreamMisconfigured, "upstream"),
        ("private method", "call", errors.UpstreamMisconfigured, "upstream"),
        ("unknown field in domain", "list", errors.UpstreamMisconfigured, "upstream"),
        ("unknown field in fields", "list", errors.UpstreamMisconfigured, "upstream"),
        ("unknown field in write", "update", errors.UpstreamMisconfigured, "upstream"),
        ("load error: bad field", "create", errors.UpstreamMisconfigured, "upstream"),
        ("bad order syntax", "list", errors.UpstreamMisconfigured, "upstream"),
        ("bad operator", "list", errors.UpstreamMisconfigured, "upstream"),
        ("bad domain", "list", errors.UpstreamMisconfigured, "upstream"),
        ("wrong kwargs", "call", errors.UpstreamMisconfigured, "upstream"),
        ("missing required arg", "call", errors.UpstreamMisconfigured, "upstream"),
        ("ensure_one", "call", UpstreamStumbled, "record"),
        ("unknown service", "call", errors.UpstreamMisconfigured, "upstream"),
        ("unknown common method", "call", errors.UpstreamMisconfigured, "upstream"),
        ("object method other", "call", errors.UpstreamMisconfigured, "upstream"),
        ("access error create (demo user: res.users)", "create", errors.UpstreamMisconfigured, "upstream"),
        ("access error record rule (portal: res.partner read 1)", "read", OutOfReach, "record"),
        ("write to deleted", "update", errors.RecordNotFound, "record"),
        ("unlink missing", "delete", errors.RecordNotFound, "record"),
        ("unlink confirmed order", "delete", errors.Conflict, "record"),
        ("FK restrict on unlink: country in use", "delete", errors.Conflict, "record"),
        ("ValidationError: recursive parent", "update", errors.UpstreamRejected, "record"),
        ("missing required (partner check constraint)", "create", errors.UpstreamRejected, "record"),
        ("bad m2o (FK)", "create", errors.UpstreamRejected, "record"),
        ("wrong value type int", "create", errors.UpstreamRejected, "record"),
        ("bad date", "create", errors.UpstreamRejected, "record"),
        ("datetime with tz suffix", "create", errors.UpstreamRejected, "record"),
        ("NUL byte", "create", errors.UpstreamRejected, "record"),
        ("bad selection value", "create", errors.UpstreamRejected, "record"),
        ("load error: bad value", "create", errors.UpstreamRejected, "record"),
        ("array batch", "list", errors.UpstreamUnavailable, "transient"),
        ("not json", "list", errors.UpstreamBadAnswer, "transient"),
    ],
)
def test_recorded_fault_has_its_class(title, verb, expected, kind):
    error = fault(title, verb)

    assert type(error) is expected
    assert fault_of(error).kind == kind


@pytest.mark.parametrize(
    ("title", "verb", "mapping", "expected", "pointer"),
    [
        (
            NOT_NULL,
            "create",
            CLIENTS,
            errors.UpstreamRejected,
            "/client",
        ),
        ("load error: missing required", "create", CLIENTS, errors.UpstreamRejected, "/client"),
        ("unique: duplicate login", "create", USERS, errors.Conflict, "/account"),
        ("unique sql: country code", "create", COUNTRIES, errors.Conflict, "/iso"),
        ("load error: bad value", "create", PARTNERS, errors.UpstreamRejected, "/kind"),
        ("bad selection value", "create", PARTNERS, errors.UpstreamRejected, "/kind"),
        ("bad m2o (FK)", "create", PARTNERS, errors.UpstreamRejected, "/country"),
    ],
)
def test_fault_of_a_field_points_to_its_public_name(title, verb, mapping, expected, pointer):
    error = fault(title, verb, mapping)

    assert type(error) is expected
    assert [mistake.path for mistake in error.errors] == [pointer]


def test_business_rule_is_told_in_odoos_words():
    error = fault("unlink confirmed order", "delete", ORDERS)

    assert "You must first cancel it" in str(error)


@pytest.mark.parametrize("mapping", [PARTNERS, CLIENTS, USERS])
@pytest.mark.parametrize(
    "title",
    [
        NOT_NULL,
        "load error: missing required",
        "bad m2o (FK)",
        "unknown field in write",
        "unknown model",
        "unique: duplicate login",
        "access error create (demo user: res.users)",
    ],
)
def test_partners_see_no_names_of_models_tables_or_fields(title, mapping):
    error = fault(title, "create", mapping)
    text = " ".join([str(error), *(mistake.message for mistake in error.errors)])

    assert not re.search(r"partner_id|country_id|res[._]|sale[._]order|Traceback|psycopg|no\.such", text)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("psycopg2.errors.SerializationFailure", "could not serialize access", errors.UpstreamUnavailable),
        ("psycopg2.errors.DeadlockDetected", "deadlock detected", errors.UpstreamUnavailable),
        ("psycopg2.InterfaceError", "connection already closed", errors.UpstreamUnavailable),
        ("psycopg2.OperationalError", "server closed the connection unexpectedly", errors.UpstreamUnavailable),
        ("psycopg2.errors.UndefinedColumn", 'column "x" does not exist', errors.UpstreamMisconfigured),
        ("psycopg2.errors.NumericValueOutOfRange", "integer out of range", errors.UpstreamRejected),
        ("psycopg2.errors.UniqueViolation", "duplicate key", errors.Conflict),
        ("psycopg2.errors.SomethingNew", "?", UpstreamStumbled),
        ("builtins.ZeroDivisionError", "division by zero", UpstreamStumbled),
        ("builtins.ValueError", "not enough values to unpack", UpstreamStumbled),
        ("odoo.exceptions.MissingError", "gone.\n(Record: stock.move(4,), User: 2)", errors.Conflict),
        ("odoo.exceptions.RedirectWarning", "Configure a journal", errors.UpstreamRejected),
    ],
)
def test_fault_that_was_not_recorded_has_its_class_too(name, text, expected):
    assert type(translated(OdooError(name, text), "update", Naming("res.partner"))) is expected


def test_stumbling_over_one_record_is_about_that_record():
    assert fault_of(UpstreamStumbled()).kind == "record"
    assert UpstreamStumbled.status == 502


def test_serialization_failure_in_load_may_be_tried_again():
    message = {"type": "error", "record": 0, "message": "could not serialize access due to concurrent update\n"}

    assert type(load_fault([message], Naming("res.partner"))) is errors.UpstreamUnavailable


def test_exception_inside_load_is_told_by_its_class():
    text = "Unbekannter Fehler: <class 'odoo.exceptions.%s'>: Not so."
    naming = Naming("res.partner")

    assert type(load_fault([{"message": text % "ValidationError"}], naming)) is errors.UpstreamRejected
    assert type(load_fault([{"message": text % "AccessError"}], naming)) is errors.UpstreamMisconfigured


def test_load_tells_all_mistakes_and_the_gravest_class():
    unique = {"message": "The value for the field 'ref' already exists", "field": "ref"}
    other = {"message": "Value 'zzz' not found in selection field 'Address Type'", "field": "type"}
    naming = Naming("res.partner", {"type": "kind", "ref": "code"})

    error = load_fault([other, unique], naming)

    assert type(error) is errors.Conflict
    assert [mistake.path for mistake in error.errors] == ["/kind", "/code"]


def test_warning_of_load_is_a_fault():
    assert isinstance(
        load_fault([{"type": "warning", "message": "assuming yes"}], Naming("x")), errors.UpstreamRejected
    )


def test_raw_database_text_never_reaches_a_partner():
    raw = 'new row for relation "res_partner" violates check constraint "x"\nDETAIL:  Failing row contains (1, secret).'

    assert "secret" not in str(load_fault([{"message": raw}], Naming("res.partner")))


FOLLOWER = "Error, a partner cannot follow twice the same object."
UNIQUE = 'duplicate key value violates unique constraint "mail_followers_mail_followers_res_partner_res_model_id_uniq"'


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("odoo.exceptions.ValidationError", FOLLOWER),
        ("odoo.exceptions.ValidationError", UNIQUE),
        ("psycopg2.errors.UniqueViolation", UNIQUE),
    ],
)
def test_race_of_two_followers_may_be_tried_again(name, text):
    naming = Naming("sale.order")
    found = translated(OdooError(name, text), "call", naming)

    assert type(found) is errors.UpstreamUnavailable
    assert fault_of(found).kind == "transient"
    assert type(load_fault([{"message": text}], naming)) is errors.UpstreamUnavailable


def test_related_record_that_load_does_not_find_is_told_in_our_words():
    message = {
        "message": "Kein passender Datensatz für database id '2147483647' im Feld 'Salesperson'",
        "field": "user_id",
        "moreinfo": {"type": "ir.actions.act_window", "res_model": "ir.model.data"},
    }

    error = load_fault([message], Naming("res.partner", {"user_id": "seller"}))

    assert str(error) == "there is no such record"
    assert [(mistake.path, mistake.message) for mistake in error.errors] == [("/seller", "there is no such record")]


def test_hundred_mistakes_of_load_are_enough():
    error = load_fault([{"message": f"line {number}"} for number in range(300)], Naming("x"))

    assert len(error.errors) == 100
