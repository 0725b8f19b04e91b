"""Errors in Odoo's shape: the name of the exception class and its text, over HTTP 200."""

from __future__ import annotations

from typing import Any

from entrepot.standin.models import Field, Model

USER_ID = 2
"""The only user, as Odoo numbers its first administrator."""


class OdooError(Exception):
    """An error that the caller sees; *name* is Odoo's ``error.data.name``."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def access_denied() -> OdooError:
    """Return the fault of a wrong password or user."""
    return OdooError("odoo.exceptions.AccessDenied", "Access Denied")


def access_error(message: str) -> OdooError:
    """Return the fault of what the account may not do."""
    return OdooError("odoo.exceptions.AccessError", message)


def missing_record(model: Model, record_id: Any) -> OdooError:
    """Return the fault of a write to a record that is not there."""
    text = f"Record does not exist or has been deleted.\n(Record: {model.name}({record_id},), User: {USER_ID})"
    return OdooError("odoo.exceptions.MissingError", text)


def user_error(message: str) -> OdooError:
    """Return the fault of a broken rule of the business."""
    return OdooError("odoo.exceptions.UserError", message)


def validation_error(message: str) -> OdooError:
    """Return the fault of a broken constraint."""
    return OdooError("odoo.exceptions.ValidationError", message)


def mandatory(model: Model, field: Field) -> OdooError:
    """Return the fault of a required field that has no value."""
    return validation_error(
        "The operation cannot be completed:\n- Create/update: a mandatory field is not set.\n- Delete: another model "
        "requires the record being deleted. If possible, archive it instead.\n\n"
        f"Model: {model.label} ({model.name}), Field: {field.label} ({field.name})"
    )


def broken_reference(model: Model, field: Field) -> OdooError:
    """Return the fault of a relation to a record that is not there, or is taken away under it."""
    return validation_error(
        "The operation cannot be completed: another model requires the record being deleted. If possible, archive it "
        f"instead.\n\nModel: {model.label} ({model.name}), Constraint: {model.table}_{field.name}_fkey"
    )


def value_error(message: str) -> OdooError:
    """Return the fault of a value that does not fit its field."""
    return OdooError("builtins.ValueError", message)


def unknown_field(model: Model, name: str) -> OdooError:
    """Return the fault of a field that the model does not have."""
    return value_error(f"Invalid field {name!r} on model {model.name!r}")
