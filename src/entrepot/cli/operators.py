"""``entrepot operator``: the people who may sign in at the console."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from entrepot.cli.output import say, say_json, say_table
from entrepot.cli.startup import start
from entrepot.cli.times import moment_text
from entrepot.identity.operators import HeldOperator, Operators, SignIns
from entrepot.identity.passwords import MAX_CHARS, Passwords
from entrepot.services import Services
from entrepot.store.audit import Actor

_FROM_INPUT = "-"


def add(arguments: argparse.Namespace) -> int:
    """Make an account."""
    password = _password(arguments)
    with _operators(arguments) as (operators, actor):
        made = operators.add(arguments.name, arguments.role, password, actor=actor)
    return _said(arguments, made, f"{made.name} may sign in, as {made.role}")


def listing(arguments: argparse.Namespace) -> int:
    """List the accounts by name."""
    with _operators(arguments) as (operators, _):
        rows = [_row(operator) for operator in operators.listed()]
    if arguments.json:
        say_json(rows)
    elif rows:
        say_table([list(rows[0]), *(list(row.values()) for row in rows)])
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Show one account."""
    with _operators(arguments) as (operators, _):
        row = _row(operators.one(arguments.name))
    if arguments.json:
        say_json(row)
    else:
        say_table(list(row.items()))
    return 0


def role(arguments: argparse.Namespace) -> int:
    """Give an account another role."""
    with _operators(arguments) as (operators, actor):
        changed = operators.change_role(arguments.name, arguments.role, actor=actor)
    return _said(arguments, changed, f"{changed.name} is {changed.role}, and has to sign in again if that is new")


def password(arguments: argparse.Namespace) -> int:
    """Give an account another password."""
    text = _password(arguments)
    with _operators(arguments) as (operators, actor):
        changed = operators.set_password(arguments.name, text, actor=actor)
    return _said(arguments, changed, f"{changed.name} has another password, and is signed out")


def disable(arguments: argparse.Namespace) -> int:
    """Let an account in no more."""
    with _operators(arguments) as (operators, actor):
        changed = operators.disable(arguments.name, actor=actor)
    return _said(arguments, changed, f"{changed.name} is disabled and signed out")


def enable(arguments: argparse.Namespace) -> int:
    """Let an account in again."""
    with _operators(arguments) as (operators, actor):
        changed = operators.enable(arguments.name, actor=actor)
    return _said(arguments, changed, f"{changed.name} may sign in, as {changed.role}")


@contextmanager
def _operators(arguments: argparse.Namespace) -> Iterator[tuple[Operators, Actor]]:
    started = start(arguments)
    with Services.from_settings(started.settings) as services:
        yield Operators(services.database, Passwords(), SignIns(services.shared)), started.actor


def _password(arguments: argparse.Namespace) -> str:
    """Return what stands on standard input when ``-`` was given, and what is typed twice when not."""
    if arguments.password == _FROM_INPUT:
        text = sys.stdin.readline(MAX_CHARS + 2).rstrip("\r\n")
        if not text:
            arguments.parser.error("there is no password on standard input")
        return text
    if arguments.password is not None:
        arguments.parser.error("a password must not stand among the arguments: give - and write it to standard input")
    if not sys.stdin.isatty():
        arguments.parser.error("there is no terminal to ask on: give - and write the password to standard input")
    text = getpass.getpass(f"Password of {arguments.name}: ")
    if getpass.getpass("Again: ") != text:
        arguments.parser.error("the two are not the same")
    return text


def _said(arguments: argparse.Namespace, operator: HeldOperator, sentence: str) -> int:
    if arguments.json:
        say_json(_row(operator))
    else:
        say(sentence)
    return 0


def _row(operator: HeldOperator) -> dict[str, Any]:
    return {
        "name": operator.name,
        "role": operator.role,
        "made": moment_text(operator.made_at),
        "disabled": operator.disabled_at and moment_text(operator.disabled_at),
        "seen": operator.seen_at and moment_text(operator.seen_at),
    }
