"""``entrepot check``: every mistake in settings and catalog files, without touching the store or an upstream.

Of settings alone it also says what keeps the daemons of this host from using them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from entrepot.chassis.errors import Error, Mistake
from entrepot.cli.output import report, say, say_json
from entrepot.cli.rights import mistakes_of
from entrepot.declarative.document import check_files
from entrepot.errors import SettingsError
from entrepot.settings import load_settings


def check(arguments: argparse.Namespace) -> int:
    """Check the settings and, unless they alone are asked for, catalog files; 1 when anything is wrong."""
    if arguments.settings_only == bool(arguments.files):
        arguments.parser.error("catalog files are needed, or else --settings-only")
    counts: dict[str, int] = {}
    store: dict[str, str] = {}
    checks: list[Callable[[], object]] = [lambda: _check_settings(arguments, store)]
    if arguments.files:
        checks.append(lambda: counts.update(_counts(arguments)))
    errors = list(filter(None, map(_error_of, checks)))
    if arguments.json:
        mistakes = [mistake.as_json() for error in errors for mistake in error.errors or [Mistake(str(error))]]
        say_json({"right": not errors, "mistakes": mistakes, **store, **counts})
    else:
        for error in errors:
            report(error)
        _say_right(arguments, errors, counts)
    return 1 if errors else 0


def _error_of(checking: Callable[[], object]) -> Error | None:
    try:
        checking()
    except Error as error:
        return error
    except OSError as exc:
        return SettingsError(str(exc), errors=[Mistake(exc.strerror or str(exc), str(exc.filename or "entrepot"))])
    return None


def _check_settings(arguments: argparse.Namespace, store: dict[str, str]) -> None:
    settings = load_settings(arguments.settings)
    if arguments.settings_only:
        store["store"] = str(settings.store.directory)
        mistakes = mistakes_of(settings, arguments.settings)
        if mistakes:
            raise SettingsError("the daemons cannot use the settings", errors=mistakes)


def _counts(arguments: argparse.Namespace) -> dict[str, int]:
    catalog = check_files(arguments.files).catalog
    return {
        "upstreams": len(catalog.upstreams),
        "endpoints": len(catalog.endpoints),
        "partners": len(catalog.partners),
        "clients": len(catalog.clients),
    }


def _say_right(arguments: argparse.Namespace, errors: list[Error], counts: dict[str, int]) -> None:
    if counts:
        words = (f"{count} {what if count != 1 else what[:-1]}" for what, count in counts.items())
        say(f"the catalog is right: {', '.join(words)}")
    elif arguments.settings_only and not errors:
        say("the settings are right")
