"""``entrepot-check``: whether the gateway of a host is well, as a plugin of Nagios, Icinga and their kin.

It asks the gateway alone, by HTTP, so it needs neither the rights nor the settings of the daemons. Exit codes, the line
and the figures behind ``|`` are those of the plugins' guidelines
(https://www.monitoring-plugins.org/doc/guidelines.html).
"""

from __future__ import annotations

import argparse
import http.client
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NoReturn
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
# What is worse stands first.
_WORST_FIRST = (CRITICAL, WARNING, UNKNOWN, OK)
MAX_PAGE_BYTES = 16 << 20
# They are made daily: so old is half a day late.
MAX_BACKUP_AGE_S = 36 * 3600
LISTENING = "http://127.0.0.1:8080"
PORTAL_PAGE = "/.well-known/jwks.json"

Finding = tuple[int, str]
Figures = Mapping[str, Mapping[str, float]]
"""By the name of a metric, its values by upstream; without that label by the empty text, added up."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From how many transactions that wait on there is a warning, and from how many on it is critical."""

    warning: int
    critical: int


class Unanswered(Exception):
    """The gateway did not give the answer that was asked for: the text says why, *state* how bad it is."""

    def __init__(self, state: int, text: str) -> None:
        super().__init__(text)
        self.state = state


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # A monitor shows one line of standard output, up to a bar.
        line = " ".join(message.replace("|", " ").split())
        sys.stdout.write(f"ENTREPOT UNKNOWN - {line}\n")
        self.exit()

    def exit(self, status: int = UNKNOWN, message: str | None = None) -> NoReturn:  # noqa: ARG002 - argparse's own
        # Wrong usage, help and version are no news of the gateway: 2 would say that it is critical, 0 that it is well.
        sys.exit(UNKNOWN)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one line about the gateway that *argv* names; return 0 (well), 1 (warning), 2 (critical) or 3 (unknown)."""
    arguments = _arguments(argv)
    try:
        findings, figures = _look(arguments)
    except Unanswered as exc:
        findings, figures = [(exc.state, str(exc))], ""
    except Exception as exc:  # noqa: BLE001 - the edge of a command: a traceback is no answer to a monitor
        findings, figures = [(UNKNOWN, f"this should not have happened ({type(exc).__name__})")], ""
    state = next(each for each in _WORST_FIRST if each in {found for found, _ in findings})
    ordered = sorted(findings, key=lambda finding: _WORST_FIRST.index(finding[0]))
    said = ", ".join(text for found, text in ordered if found != OK or state == OK)
    sys.stdout.write(f"ENTREPOT {_WORDS[state]} - {said}{figures}\n")
    return state


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="entrepot-check",
        description="Say whether the gateway of this host is well, for Nagios and Icinga.",
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"entrepot-check {version('entrepot')}")
    parser.add_argument("--url", default=LISTENING, type=_url, help=f"where the gateway listens (default: {LISTENING})")
    parser.add_argument("-w", "--warning", metavar="N", type=_count, default=1000,
                        help="warn when so many transactions wait (default: 1000)")  # fmt: skip
    parser.add_argument("-c", "--critical", metavar="N", type=_count, default=10000,
                        help="critical when so many transactions wait (default: 10000)")  # fmt: skip
    parser.add_argument("-t", "--timeout", metavar="S", type=_seconds, default=10.0,
                        help="seconds that each answer may take (default: 10)")  # fmt: skip
    parser.add_argument("--no-backup", action="store_true", help="no backups are meant to be made on this host")
    parser.add_argument("--no-courier", action="store_true", help="no courier is meant to run on this host")
    parser.add_argument("--no-portal", action="store_true", help="no portal is meant to run on this host")
    arguments = parser.parse_args(argv)
    if arguments.critical < arguments.warning:
        parser.error("--critical must not be smaller than --warning")
    return arguments


def _url(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(text)
        port = parts.port or 80
    except ValueError:
        raise argparse.ArgumentTypeError("must be http://HOST:PORT") from None
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.username:
        raise argparse.ArgumentTypeError("must be http://HOST:PORT, as the gateway itself listens")
    return parts.hostname, port


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise argparse.ArgumentTypeError("must be a whole number")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 600:
        raise argparse.ArgumentTypeError("must be seconds, above 0 and at most 600")
    return seconds


def _look(arguments: argparse.Namespace) -> tuple[list[Finding], str]:
    begun = time.monotonic()
    status, _ = _get(arguments, "/health/ready")
    took_s = time.monotonic() - begun
    if status == 503:
        raise Unanswered(CRITICAL, "the gateway has no catalog in force: every path of partners is 404")
    if status != 200:
        raise Unanswered(CRITICAL, f"/health/ready is answered with {status}: is this the gateway?")
    status, page = _get(arguments, "/metrics")
    if status != 200:
        raise Unanswered(UNKNOWN, f"/metrics is answered with {status}: [metrics] allow must have this host's address")
    figures = _figures(page)
    bounds = Bounds(arguments.warning, arguments.critical)
    needs = {"needs_courier": not arguments.no_courier, "needs_backup": not arguments.no_backup}
    found = list(findings(figures, bounds, **needs))
    if not arguments.no_portal:
        found += _portal(arguments)
    return found, _written(figures, bounds, took_s)


def _portal(arguments: argparse.Namespace) -> Iterator[Finding]:
    """Yield what is wrong with the portal, which is asked for what anybody may see."""
    try:
        status, _ = _get(arguments, PORTAL_PAGE)
    except Unanswered as exc:
        yield exc.state, f"the portal issues no token: {exc}"
        return
    if status != 200:
        yield CRITICAL, f"the portal issues no token: {PORTAL_PAGE} is answered with {status}"


def _get(arguments: argparse.Namespace, path: str) -> tuple[int, bytes]:
    host, port = arguments.url
    connection = http.client.HTTPConnection(host, port, timeout=arguments.timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        page = answer.read(MAX_PAGE_BYTES + 1)
    except TimeoutError:
        raise Unanswered(CRITICAL, f"no answer from {host}:{port} in {arguments.timeout:g} s") from None
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, "strerror", None) or type(exc).__name__
        raise Unanswered(CRITICAL, f"no answer from {host}:{port}: {reason}") from None
    finally:
        connection.close()
    if len(page) > MAX_PAGE_BYTES:
        raise Unanswered(UNKNOWN, f"{path} has more than {MAX_PAGE_BYTES >> 20} MiB")
    return answer.status, page


def _figures(page: bytes) -> Figures:
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    try:
        for family in text_string_to_metric_families(page.decode()):
            for sample in family.samples:
                found[sample.name][sample.labels.get("upstream", "")] += sample.value
                if sample.name == "http_request_duration_seconds_count" and sample.labels.get("status", "").startswith(
                    "5"
                ):
                    found["errors"][""] += sample.value
    except (ValueError, KeyError) as exc:
        raise Unanswered(UNKNOWN, "/metrics is not what the gateway writes") from exc
    return found


def findings(
    figures: Figures, bounds: Bounds, *, needs_courier: bool = True, needs_backup: bool = True
) -> Iterator[Finding]:
    """Yield what *figures* say of the gateway: a state and a sentence each, at least one."""
    away = {name for name, up in figures.get("entrepot_upstream_up", {}).items() if not up}
    away |= {name for name, is_open in figures.get("entrepot_breaker_open", {}).items() if is_open}
    if away:
        yield WARNING, f"away: {', '.join(sorted(away))}"
    yield from _store(figures, needs_courier=needs_courier)
    backlog = _sum(figures, "entrepot_backlog")
    waiting = f"{backlog:g} {'transaction waits' if backlog == 1 else 'transactions wait'}"
    if backlog >= bounds.critical:
        yield CRITICAL, waiting
    elif backlog >= bounds.warning:
        yield WARNING, waiting
    else:
        yield OK, waiting
    if _sum(figures, "entrepot_master_key_unusable"):
        yield CRITICAL, "the master key cannot be used: no token is issued, no secret or API key checked"
    if _sum(figures, "entrepot_settings_refused"):
        yield WARNING, "a daemon goes on with the settings of before: entrepot check --settings-only says why"
    backup_age_s = _sum(figures, "entrepot_backup_age_seconds")
    if needs_backup and backup_age_s > MAX_BACKUP_AGE_S:
        yield WARNING, f"no backup was made for {backup_age_s / 3600:.0f} hours"
    if unenforced := _sum(figures, "entrepot_limits_unenforced"):
        yield WARNING, f"{unenforced:g} limits of clients are not enforced"
    yield OK, f"revision {_sum(figures, 'entrepot_catalog_revision'):g} is in force"


def _store(figures: Figures, *, needs_courier: bool) -> Iterator[Finding]:
    if _sum(figures, "entrepot_store_away"):
        # A courier that waits for it is not counted among those that run.
        yield CRITICAL, "the database is away: nothing is accepted, issued or delivered"
    elif needs_courier and not _sum(figures, "entrepot_couriers"):
        yield CRITICAL, "no courier runs on this host: nothing that was accepted is delivered"
    if _sum(figures, "entrepot_store_full"):
        yield CRITICAL, "the disk of the store is full: nothing is accepted, no token is issued"


def _written(figures: Figures, bounds: Bounds, took_s: float) -> str:
    """Return *figures* for the monitor's graphs: ``'label'=value;warning;critical;least``, ``c`` being a counter."""
    counts = {name: _sum(figures, metric) for name, metric in (
        ("requests", "http_request_duration_seconds_count"), ("errors", "errors"),
    )}  # fmt: skip
    values = [f"time={took_s:.6f}s;;;0", f"connections={_sum(figures, 'entrepot_connections'):g};;;0"]
    values += [f"{name}={count:.0f}c;;;0" for name, count in counts.items()]
    values += [f"backlog={_sum(figures, 'entrepot_backlog'):.0f};{bounds.warning};{bounds.critical};0"]
    calls = figures.get("entrepot_upstream_calls", {})
    values += [f"'calls {upstream}'={count:g};;;0" for upstream, count in sorted(calls.items())]
    return f" | {' '.join(values)}"


def _sum(figures: Figures, name: str) -> float:
    return sum(figures.get(name, {}).values())
