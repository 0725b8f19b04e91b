"""The forms of the commands. Nothing heavy is imported here: a command names its function as text."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrepot.cli.output import say
from entrepot.identity.roles import ROLES
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
    _add_partner(commands)
    _add_client(commands)
    _add_key(commands)
    _add_operator(commands)
    _add_audit(commands)
    _add_transactions(commands)
    _add_maintenance(commands)
    _add_db(commands)
    _json(_leaf(commands, "tend", "tend:tend", "forget what need not be kept, as the courier does while it runs"))
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
    run.add_argument("daemon", choices=["gateway", "portal", "console", "courier", "all"], help="which one")


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
    revoke = _leaf(group, "revoke", "tokens:revoke", "refuse a token, or all of someone, within a second")
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("token", metavar="TOKEN", nargs="?", help="the token; - reads it from standard input")
    which.add_argument("--jti", help="the id of a token")
    which.add_argument("--client", help="all tokens of a client that have been issued")
    which.add_argument("--partner", help="all tokens of a partner that have been issued")
    which.add_argument("--all", action="store_true", help="all tokens that have been issued to anybody")
    revoke.add_argument(
        "--before", metavar="T", help="of all of them, those issued longer ago (2h), or before a moment (RFC 3339)"
    )
    _json(revoke)
    lift = _leaf(group, "lift", "tokens:lift", "take back that all of someone is refused, within a second")
    whose = lift.add_mutually_exclusive_group(required=True)
    whose.add_argument("--client", help="what was revoked of a client up to a time")
    whose.add_argument("--partner", help="what was revoked of a partner up to a time")
    whose.add_argument("--all", action="store_true", help="what was revoked of everybody up to a time")
    _json(lift)
    listing = _leaf(group, "list", "tokens:show", "list the tokens that were issued and what became of them")
    listing.add_argument("--client", help="of this client only")
    listing.add_argument("--partner", help="of this partner only")
    _limit(listing)
    _json(listing)


def _add_client(commands: Any) -> None:
    group = _group(commands, "client", "the programs of partners: add them, shut them out, their secrets and API keys")
    add = _leaf(group, "add", "partners:add_client", "add a client to a partner: one more revision of the catalog")
    add.add_argument("name", metavar="CLIENT", help="its name, which no other client has: the OAuth client_id")
    add.add_argument("--partner", metavar="P", required=True, help="its partner, which came from no file")
    _client(add, is_new=True)
    change = _leaf(group, "change", "partners:change_client", "change a client of a partner that came from no file")
    change.add_argument("name", metavar="CLIENT", help="the client")
    _client(change, is_new=False)
    _without(change, "rate, quota, plan, networks, api_keys")
    _remove(
        group, "client", "CLIENT", "take a client out of the catalog, for good: its secrets, API keys and tokens too"
    )
    listing = _leaf(group, "list", "partners:list_clients", "list the clients of the catalog in force")
    listing.add_argument("--partner", metavar="P", help="of this partner only")
    _json(listing)
    _add_standing(group, "client", "CLIENT")
    _add_credentials(group)


def _add_partner(commands: Any) -> None:
    group = _group(commands, "partner", "the companies that trade through the gateway: add them, shut them out")
    add = _leaf(group, "add", "partners:add_partner", "add a partner: one more revision of the catalog")
    add.add_argument("name", metavar="PARTNER", help="its name in the catalog")
    _partner(add, is_new=True)
    change = _leaf(group, "change", "partners:change_partner", "change a partner that came from no file")
    change.add_argument("name", metavar="PARTNER", help="the partner")
    _partner(change, is_new=False)
    _without(change, "max_queued, max_queued_bytes, values.KEY")
    _remove(group, "partner", "PARTNER", "take a partner out of the catalog, for good, with all of its clients")
    _json(_leaf(group, "list", "partners:list_partners", "list the partners of the catalog in force"))
    _add_standing(group, "partner", "PARTNER")


def _partner(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    parser.add_argument("--name", metavar="TEXT", dest="title", required=is_new, help="the company's name")
    parser.add_argument(
        "--value", metavar="KEY=VALUE", action="append", default=[], dest="values",
        help="what {partner.KEY} stands for: a number, or text",
    )  # fmt: skip
    parser.add_argument("--max-queued", metavar="N", type=int, help="so many of its writes may wait")
    parser.add_argument("--max-queued-bytes", metavar="SIZE", help="so many bytes may wait, such as 1GiB")
    _json(parser)


def _client(parser: argparse.ArgumentParser, *, is_new: bool) -> None:
    parser.add_argument(
        "--scope", metavar="S", nargs="+", action="extend", dest="scopes", required=is_new,
        help="what its tokens may do",
    )  # fmt: skip
    parser.add_argument("--rate", metavar="N", type=float, help="requests a second in the long run; goes with --burst")
    parser.add_argument("--burst", metavar="N", type=int, help="requests at once after a pause")
    parser.add_argument("--quota", metavar="N", type=int, help="requests in a day of UTC")
    parser.add_argument("--plan", metavar="PLAN", help="a plan, whose rate and quota hold where it has none of its own")
    parser.add_argument(
        "--network", metavar="CIDR", nargs="+", action="extend", dest="networks", help="where it may call from"
    )
    parser.add_argument("--api-keys", action="store_true", help="it may use API keys")
    _json(parser)


def _without(parser: argparse.ArgumentParser, keys: str) -> None:
    parser.add_argument(
        "--without", metavar="KEY", nargs="+", action="extend", default=[], help=f"take this away: {keys}"
    )


def _remove(group: Any, kind: str, metavar: str, text: str) -> None:
    remove = _leaf(group, "remove", "removing:remove", text)
    remove.add_argument("name", metavar=metavar, help=f"the {kind}, which came from no file")
    remove.add_argument("--yes", action="store_true", help="really do it: its credentials do not come back")
    remove.set_defaults(kind=kind)
    _json(remove)


def _add_standing(group: Any, kind: str, metavar: str) -> None:
    show = _leaf(group, "show", f"partners:show_{kind}", f"show one {kind}, and whether it is let in")
    disable = _leaf(
        group, "disable", "disabling:disable",
        f"refuse all that a {kind} shows, within a second; what waits of it is held",
    )  # fmt: skip
    disable.add_argument("--cancel-queued", action="store_true", help="cancel what waits of it, unless it may be sent")
    enable = _leaf(group, "enable", "disabling:enable", f"let a {kind} in again; what was held of it goes on")
    for command in (show, disable, enable):
        command.add_argument("name", metavar=metavar, help=f"the {kind}")
        command.set_defaults(kind=kind)
        _json(command)


def _add_credentials(group: Any) -> None:
    secret = _leaf(group, "secret", "credentials:make_secret", "print a new secret of a client, and nothing else")
    _new_credential(secret, label_required=False)
    _credentials(_leaf(group, "secrets", "credentials:show_secrets", "list secrets, and when each was last used"))
    api_key = _leaf(group, "api-key", "credentials:make_api_key", "print a new API key of a client, and nothing else")
    _new_credential(api_key, label_required=True)
    _credentials(_leaf(group, "api-keys", "credentials:show_api_keys", "list API keys, and when each was last used"))
    revoke = _leaf(group, "revoke-key", "credentials:revoke", "refuse a secret or an API key, within a second")
    revoke.add_argument(
        "key_id", metavar="KEY_ID", help="its key id; - reads it, or the secret itself, from standard input"
    )
    _json(revoke)


def _new_credential(parser: argparse.ArgumentParser, *, label_required: bool) -> None:
    parser.add_argument("client", metavar="CLIENT", help="a client of the catalog in force")
    parser.add_argument("--label", metavar="L", required=label_required, help="what people call it")
    parser.add_argument(
        "--expires", metavar="T", help="how long it is good for (90d), or until when (RFC 3339); default: for ever"
    )
    _json(parser)


def _credentials(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("client", metavar="CLIENT", nargs="?", help="of this client (default: of all)")
    _json(parser)


def _add_key(commands: Any) -> None:
    group = _group(commands, "key", "the keys that tokens are signed with")
    _json(_leaf(group, "list", "keys:show", "list the keys, and which one signs"))
    rotate = _leaf(group, "rotate", "keys:rotate", "sign with a new key from now on; tokens of the old one stay good")
    rotate.add_argument("--due", action="store_true", help="only when it is older than [keys] rotate_after")
    _json(rotate)
    forget = _leaf(group, "forget-master", "keys:forget_master", "take the next master key for that of the store")
    _json(forget)


def _add_operator(commands: Any) -> None:
    group = _group(commands, "operator", "the people who may sign in at the console")
    add = _leaf(group, "add", "operators:add", "make an account")
    _operator(add)
    _password(add)
    add.add_argument("--role", choices=ROLES, default="viewer", help="what it may do (default: viewer)")
    _json(add)
    _json(_leaf(group, "list", "operators:listing", "list the accounts"))
    _json(_operator(_leaf(group, "show", "operators:show", "show an account")))
    role = _operator(_leaf(group, "role", "operators:role", "give an account another role, and sign it out"))
    role.add_argument("role", metavar="ROLE", choices=ROLES, help=f"one of {', '.join(ROLES)}")
    _json(role)
    password = _operator(_leaf(group, "password", "operators:password", "change a password, and sign the account out"))
    _password(password)
    _json(password)
    _json(_operator(_leaf(group, "disable", "operators:disable", "let an account in no more, and sign it out")))
    _json(_operator(_leaf(group, "enable", "operators:enable", "let an account in again")))


def _operator(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="NAME", help="what the operator signs in with")
    return parser


def _password(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "password", metavar="-", nargs="?", help="read the password from standard input (default: ask for it)"
    )


def _add_audit(commands: Any) -> None:
    audit = _leaf(commands, "audit", "audit:show", "say who changed what, the latest first")
    filters = audit.add_argument_group("which changes")
    filters.add_argument("--actor", metavar="A", help="by this operator, client or user of the host")
    filters.add_argument("--kind", metavar="K", help="of this kind of thing: client, operator, key, catalog, …")
    filters.add_argument("--name", metavar="N", help="of the thing of this name")
    filters.add_argument("--action", metavar="A", help="of this kind of change: add, disable, revoke, apply, …")
    filters.add_argument("--since", metavar="T", help="made since then: a duration ago (2h), or a moment (RFC 3339)")
    filters.add_argument("--until", metavar="T", help="made before then")
    _limit(audit)
    _json(audit)


def _add_transactions(commands: Any) -> None:
    group = _group(commands, "transactions", "what was accepted and must be delivered")
    listing = _leaf(group, "list", "transactions:listing", "list transactions, the latest first")
    _filters(listing)
    _limit(listing)
    _json(listing)
    one = _leaf(group, "show", "transactions:show", "show one transaction: its attempts, its problem, what it follows")
    one.add_argument("id", metavar="ID", help="its id")
    one.add_argument("--body", action="store_true", help="also what was sent and answered, without private fields")
    _json(one)
    _changing(group, "replay", "deliver dead or held transactions after all, under the ids that they have")
    _changing(group, "cancel", "cancel transactions that have not been applied")
    _changing(group, "skip", "give up dead transactions, so that those that follow them go on")
    _add_erase(group)


def _limit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", metavar="N", type=int, default=100, help="at most so many (default: 100)")


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
    erase.add_argument(
        "--match", metavar="FIELD=VALUE", help="in whose body, path, query or answer this field has this value"
    )
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
    group = _group(commands, "db", "the schema of the database; back all of the store up, and restore it")
    upgrade = _leaf(group, "upgrade", "database:upgrade", "bring the schema up to date")
    status = _leaf(
        group,
        "status",
        "database:status",
        "say where the database is, and its schema; exit code 1 when an upgrade is needed",
    )
    _json(upgrade)
    _json(status)
    backup = _leaf(group, "backup", "backups:backup", "write all of the store but the master key into one file")
    backup.add_argument(
        "place", nargs="?", type=Path, metavar="FILE|DIR",
        help="a new file, or a directory, where it gets a name of its own (default: backups in the store's directory)",
    )  # fmt: skip
    backup.add_argument("--keep", type=int, metavar="N", help="then remove the oldest in DIR until N are left")
    _json(backup)
    restore = _leaf(group, "restore", "backups:restore", "replace the store by a backup, while no daemon runs")
    restore.add_argument("file", type=Path, metavar="FILE", help="the backup")
    restore.add_argument(
        "--keep-tokens", action="store_true", help="tokens and API keys that were issued before stay good"
    )
    restore.add_argument(
        "--new-keys", action="store_true", help="the master key is lost: begin with new keys; secrets are void"
    )
    _json(restore)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return what *argv* says; prints what is wrong with it and raises SystemExit(2) when it says nothing."""
    return build_parser().parse_args(argv)
