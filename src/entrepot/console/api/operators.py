"""The accounts of operators."""

from __future__ import annotations

from typing import Any

from entrepot.console.api.moments import shown, shown_or_none
from entrepot.console.rows import Call
from entrepot.identity.operators import HeldOperator

Data = dict[str, Any]


def listing(call: Call) -> list[Data]:
    """List the accounts by name."""
    return [_data(operator) for operator in call.page.of(call.console.operators.listed())]


def show(call: Call) -> Data:
    """Show one account."""
    return _data(call.console.operators.one(call.names["name"]))


def add(call: Call) -> Data:
    """Make an account."""
    body = call.body
    return _data(call.console.operators.add(body["name"], body["role"], body["password"], actor=call.actor))


def change_role(call: Call) -> Data:
    """Give an account another role."""
    return _data(call.console.operators.change_role(call.names["name"], call.body["role"], actor=call.actor))


def set_password(call: Call) -> Data:
    """Give another account another password."""
    return _data(call.console.operators.set_password(call.names["name"], call.body["password"], actor=call.actor))


def disable(call: Call) -> Data:
    """Let an account in no more."""
    return _data(call.console.operators.disable(call.names["name"], actor=call.actor))


def enable(call: Call) -> Data:
    """Let an account in again."""
    return _data(call.console.operators.enable(call.names["name"], actor=call.actor))


def _data(operator: HeldOperator) -> Data:
    return {
        "name": operator.name,
        "role": operator.role,
        "made_at": shown(operator.made_at),
        "password_at": shown(operator.password_at),
        "disabled_at": shown_or_none(operator.disabled_at),
        "seen_at": shown_or_none(operator.seen_at),
    }
