"""The forms of the commands. Nothing heavy is imported here: a command names its function as text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrepot.cli.output import say
from entrepot.ledger.states import STATES

_DESCRIPTION = """\
An API gateway between an Odoo ERP and the partners who trade with it.

Results go to standard output, problems to standard error. The exit code is 0 on success, 1 when the work failed,
2 on wrong usage. Run as root, a command continues as the owner of the store's directory.
"""


class _Version(argparse.Action):
    """Prints the version; reading it from the installed metadata takes time that other commands need not spend."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - see above

        say(f"entrepot {version('entrepot')}")
        parser.exit()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole program; ``run`` of its result is ``module:function`` of the command."""
    parser = argparse.ArgumentParser(
        prog="entrepot",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    _settings(parser, default=None)
    commands = _commands(parser)
    _add_demo(commands)
    _add_run(commands)
    _add_catalog(commands)
    _add_endpoint(commands)
    _add_token(commands)
    _add_transactions(commands)
    _add_maintenance(commands)
    _add_db(commands)
    status = _leaf(
        commands, "status", "status:show", "say what is in force, what waits, and whether the gateway answers"
    )
    _json(status)
    return parser


def _settings(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    # SUPPRESS below the top, so that a --settings that stands before the command is not set back to None.
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        default=default,
        help="the settings file (default: $CONFIG_SOURCE, else /etc/entrepot/entrepot.ini)",
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def _commands(parser: argparse.ArgumentParser) -> Any:
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _group(commands: Any, name: str, text: str) -> Any:
    parser = commands.add_parser(name, help=text, description=_sentence(text), allow_abbrev=False)
    _settings(parser)
    return _commands(parser)


def _leaf(commands: Any, name: str, run: str, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=_sentence(text), allow_abbrev=False
    )
    _settings(parser)
    parser.set_defaults(run=f"entrepot.cli.{run}", parser=parser)
    return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _add_demo(commands: Any) -> None:
    demo = _leaf(commands, "demo", "demo:run", "run everything on this terminal, with a stand-in ERP or a real Odoo")
    demo.add_argument("--dir", type=Path, metavar="DIR", help="keep all files here (default: a temporary directory)")
    odoo = demo.add_argument_group("a real Odoo 14 instead of the stand-in")
    odoo.add_argument("--odoo", metavar="URL", help="its base URL")
    odoo.add_argument("--database", metavar="DB", help="its database")
    odoo.add_argument("--login", metavar="L", help="the login of the gateway's account")
    odoo.add_argument("--password-file", type=Path, metavar="F", help="a file that holds its password or API key")


def _add_run(commands: Any) -> None:
    run = _leaf(commands, "run", "daemons:run", "run a daemon in the foreground, or all of them")
    run.add_argument("daemon", choices=["gateway", "courier", "all"], help="which one")


def _add_catalog(commands: Any) -> None:
    check = _leaf(commands, "check", "checking:check", "find every mistake in settings and catalog files")
    check.add_argument("--settings-only", action="store_true", help="check the settings alone")
    _files(check, nargs="*")
    _json(check)
    diff = _leaf(commands, "diff", "catalogs:diff", "compare catalog files with what is in force")
    _files(diff)
    diff.add_argument("--prune", action="store_true", help="as `apply --prune` would change it")
    _json(diff)
    apply = _leaf(commands, "apply", "catalogs:apply", "bring catalog files in: one more revision")
    _files(apply)
    apply.add_argument("--prune", action="store_true", help="remove what came from files and is in none of these")
    _json(apply)
    _json(_leaf(commands, "export", "catalogs:export", "write the catalog in force as a file, to standard output"))


def _files(parser: argparse.ArgumentParser, nargs: str = "+") -> None:
    parser.add_argument(
        "files", nargs=nargs, type=Path, metavar="FILE", help="catalog files (YAML); all are one catalog"
    )


def _add_endpoint(commands: Any) -> None:
    group = _group(commands, "endpoint", "what endpoints can be made of")
    fields = _leaf(group, "fields", "endpoints:fields", "list the fields that a model has in the live Odoo")
    fields.add_argument("upstream", metavar="UPSTREAM", help="an Odoo upstream of the catalog in force")
    fields.add_argument("model", metavar="MODEL", help="a model, such as res.partner")
    _json(fields)


def _add_token(commands: Any) -> None:
    group = _group(commands, "token", "issue, revoke and list access tokens")
    issue = _leaf(group, "issue", "tokens:issue", "print a new token of a client, and nothing else")
    issue.add_argument("client", metavar="CLIENT", help="a client of the catalog in force")
    issue.add_argument("--expires", metavar="T", help="how long it is good for (12h), or until when (RFC 3339)")
    issue.add_argument(
        "--scope", metavar="S", nargs="+", action="extend", dest="scopes", help="these scopes of the client only"
    )
    _json(issue)
    revoke = _leaf(group, "revoke", "tokens:revoke", "refuse a token, or all of a client or partner, within a second")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("token", metavar="TOKEN", nargs="?", help="the token; - reads it from standard input")
    which.add_argument("--jti", help="the id of a token")
    which.add_argument("--client", help="all tokens of a client that have been issued")
    which.add_argument("--partner", help="all tokens of a partner that have been issued")
    _json(revoke)
    listing = _leaf(group, "list", "tokens:show", "list the tokens that were issued and what became of them")
    listing.add_argument("--client", help="of this client only")
    listing.add_argument("--partner", help="of this partner only")
    _json(listing)


def _add_transactions(commands: Any) -> None:
    group = _group(commands, "transactions", "what was accepted and must be delivered")
    listing = _leaf(group, "list", "transactions:listing", "list transactions, the latest first")
    _filters(listing)
    listing.add_argument("--limit", metavar="N", type=int, default=100, help="at most so many (default: 100)")
    _json(listing)
    one = _leaf(group, "show", "transactions:show", "show one transaction: its attempts, its problem, what it follows")
    one.add_argument("id", metavar="ID", help="its id")
    one.add_argument("--body", action="store_true", help="also what was sent and answered, without private fields")
    _json(one)
    _changing(group, "replay", "deliver dead or held transactions after all, under the ids that they have")
    _changing(group, "cancel", "cancel transactions that have not been applied")
    _changing(group, "skip", "give up dead transactions, so that those that follow them go on")
    _add_erase(group)


def _filters(parser: argparse.ArgumentParser) -> None:
    filters = parser.add_argument_group("which ones")
    filters.add_argument("--state", metavar="S", choices=STATES, help=f"in this state: {', '.join(STATES)}")
    for name in ("endpoint", "partner", "client", "upstream"):
        filters.add_argument(f"--{name}", metavar=name[0].upper(), help=f"of this {name}")
    filters.add_argument("--older", metavar="T", help="accepted longer ago (2h), or before a moment (RFC 3339)")
    filters.add_argument("--newer", metavar="T", help="accepted since then")


def _changing(group: Any, name: str, text: str) -> None:
    command = _leaf(group, name, f"transactions:{name}", text)
    command.add_argument("ids", metavar="ID", nargs="*", help="these ones; or else all that the filters below say")
    _filters(command)
    _json(command)


def _add_erase(group: Any) -> None:
    erase = _leaf(group, "erase", "transactions:erase", "take personal data out of finished transactions, for good")
    erase.add_argument("--partner", metavar="P", help="of this partner")
    erase.add_argument("--match", metavar="FIELD=VALUE", help="in whose body or path this field has this value")
    erase.add_argument("--yes", action="store_true", help="really do it: it cannot be undone")
    _json(erase)


def _add_maintenance(commands: Any) -> None:
    group = _group(commands, "maintenance", "hold back all deliveries, for example while Odoo is deployed")
    on = _leaf(group, "on", "maintenance:on", "deliver nothing from now on; writes are accepted all the same")
    on.add_argument("--until", metavar="T", help="end by itself after a duration (30m), or at a moment (RFC 3339)")
    _json(on)
    _json(_leaf(group, "off", "maintenance:off", "deliver again"))
    _json(_leaf(group, "status", "maintenance:status", "say whether deliveries are held back, and until when"))


def _add_db(commands: Any) -> None:
    group = _group(commands, "db", "the schema of the database")
    upgrade = _leaf(group, "upgrade", "database:upgrade", "bring the schema up to date")
    status = _leaf(group, "status", "database:status", "say where the schema is; exit code 1 when an upgrade is needed")
    _json(upgrade)
    _json(status)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what *argv* says; prints what is wrong with it and raises SystemExit(2) when it says nothing."""
    return build_parser().parse_args(argv)
