"""The settings of Entrepot: one frozen dataclass for each section of the settings files.

``default_config.ini`` beside this module holds every key with its default and its help.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from math import inf
from pathlib import Path
from urllib.parse import quote

from entrepot.chassis.config import Complaint, ConfigError, layered_files, load, setting
from entrepot.chassis.errors import Mistake
from entrepot.chassis.values import (
    addresses,
    choice,
    cores_or_integer,
    database_url,
    duration_or_never_s,
    networks,
    usable_cores,
    web_url,
)
from entrepot.errors import SettingsError

DEFAULT_PATH = Path("/etc/entrepot/entrepot.ini")
CREDENTIALS = Path("/etc/entrepot/credentials")
_CREDENTIALS_ID = "entrepot"
MASTER_CREDENTIAL = "master-key"
MASTER_MARK = "master.mark"
"""The file by which a store, and nothing else, knows its master key."""
PACKAGED_DEFAULTS = Path(__file__).with_name("default_config.ini")

_LOOPBACK = networks("127.0.0.0/8 ::1/128")


def _unix_socket(text: str) -> str:
    """Return *text*, ``unix:`` and an absolute path, which may begin with ``{directory}``."""
    path = text.removeprefix("unix:").replace("{directory}", "/", 1)
    if not text.startswith("unix:") or not Path(path).is_absolute():
        raise ValueError("must be unix:/absolute/path: who reaches the portal is believed")
    return text


def _master_key(text: str) -> str:
    """Return *text*: ``auto``, ``file:`` and an absolute path, or ``credential:`` and a name."""
    kind, _, place = text.partition(":")
    if text == "auto" or (kind == "file" and Path(place).is_absolute()):
        return text
    if kind == "credential" and place and "/" not in place:
        return text
    raise ValueError("must be auto, file:/absolute/path or credential:NAME")


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Where Entrepot keeps what must last."""

    directory: Path = setting(
        Path("/var/lib/entrepot"), "Database, keys, snapshot, sockets; must last and be backed up."
    )
    url: str = setting(
        "sqlite:///{directory}/entrepot.db",
        "The database: sqlite:////path, {directory} being the one above, or postgresql+psycopg://user@host/name.",
        parse=database_url,
        secret=True,
    )

    def __post_init__(self) -> None:
        # SQLAlchemy unquotes the path of a URL, so a directory named with % or ? has to be quoted.
        url = self.url.replace("{directory}", quote(str(self.directory)))
        object.__setattr__(self, "url", url)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The data plane: what partners reach."""

    bind: tuple[str, ...] = setting(
        ("0.0.0.0:8080",),
        "Where partners reach the gateway; under systemd the socket unit decides, and a difference is a warning.",
        parse=addresses,
    )
    workers: int = setting(
        usable_cores,
        "Worker processes; auto is one a core. More than cores gain nothing, fewer leave cores idle.",
        parse=cores_or_integer,
        least=1,
        most=512,
    )
    public_url: str = setting(
        "", "What partners see; issuer and audience of tokens. A change makes all tokens invalid.", parse=web_url
    )
    trusted: tuple[IPv4Network | IPv6Network, ...] = setting(
        (), "Networks whose Forwarded and X-Request-Id are believed: the proxies in front, nobody else.", parse=networks
    )
    forwarded: str = setting(
        "x-forwarded-for",
        "Whether these write x-forwarded-for (with -proto and -host) or forwarded; a caller could forge the other.",
        parse=choice("x-forwarded-for", "forwarded"),
    )
    header_timeout_s: float = setting(
        10.0, "A head that is not whole by then is 408; longer holds slow senders.", least=0.1
    )
    body_timeout_s: float = setting(60.0, "A body that is not whole by then is 408.", least=0.1)
    idle_timeout_s: float = setting(
        75.0,
        "A kept-alive connection without a request is closed after this; longer than that of the proxy in front.",
        least=1,
    )
    write_timeout_s: float = setting(
        60.0,
        "A peer that reads nothing of its answer for this long is cut; an upstream waits no longer for it.",
        least=1,
    )
    graceful_timeout_s: float = setting(30.0, "What is in flight at a stop or reload may take this long.", least=0)
    max_header_bytes: int = setting(16 * 1024, "A larger head is 431.", least=1024, most=1 << 20)
    max_target_bytes: int = setting(8 * 1024, "A longer URL is 414.", least=256, most=1 << 16)
    max_fields: int = setting(100, "More header fields are 431.", least=10, most=10_000)
    max_connections: int = setting(10_000, "Open connections a worker; further ones wait in the backlog.", least=1)
    cache_memory_bytes: int = setting(64 << 20, "Answers that each worker keeps in memory.", least=0)
    cache_disk_bytes: int = setting(512 << 20, "Answers that the host keeps on disk; they survive a restart.", least=0)
    max_revocation_age_s: float = setting(
        inf,
        "Callers are 503 when revocations could not be read for this long; never: the known ones stay in force.",
        parse=duration_or_never_s,
        least=1,
    )
    access_log: bool = setting(True, "Lines for requests, as [log] access says; false saves about 1 µs a request.")


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """The partner-facing pages; reached through the gateway only."""

    bind: str = setting(
        "unix:{directory}/portal.sock",
        "The socket by which the gateway reaches the portal, {directory} being that of the store; nobody else may.",
        parse=_unix_socket,
    )
    workers: int = setting(
        1, "Worker processes; each gives out some hundred tokens a second.", least=1, most=64
    )  # fmt: skip
    threads: int = setting(16, "Requests that a worker serves at once; others wait in the gateway.", least=1, most=256)
    graceful_timeout_s: float = setting(10.0, "What is in flight at a stop or reload may take this long.", least=0)


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """The admin API and web pages of the operators."""

    bind: tuple[str, ...] = setting(
        ("127.0.0.1:8081",),
        "Where operators reach the console; put TLS in front before it leaves loopback.",
        parse=addresses,
    )
    public_url: str = setting(
        "",
        "What operators' browsers see; at other names than its, localhost and addresses the console answers nothing.",
        parse=web_url,
    )
    trusted: tuple[IPv4Network | IPv6Network, ...] = setting(
        (),
        "Networks whose X-Forwarded-For is believed: the proxies in front. Wrong passwords are counted by address.",
        parse=networks,
    )
    threads: int = setting(8, "Requests that are served at once; others wait.", least=2, most=256)
    idle_timeout_s: float = setting(
        1800.0, "Who does nothing for this long is signed out; longer leaves open browsers open.", least=120
    )
    session_s: float = setting(
        12 * 3600.0, "Who has signed in is signed out after this, whatever is done meanwhile.", least=120
    )
    graceful_timeout_s: float = setting(10.0, "What is in flight at a stop or reload may take this long.", least=0)


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """Who may read what the gateway counts."""

    allow: tuple[IPv4Network | IPv6Network, ...] = setting(
        _LOOPBACK, "Networks that may read /metrics and the details of /status; others get 404.", parse=networks
    )


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """What was accepted, and how long it is remembered."""

    bodies_s: float = setting(
        7 * 86400.0,
        "Bodies and answers of delivered and cancelled transactions are dropped after this; dead ones keep theirs.",
        least=0,
    )
    rows_s: float = setting(
        90 * 86400.0, "Finished transactions are forgotten after this; partners then get 404 for them.", least=60
    )
    kept_bytes: int = setting(
        1 << 30,
        "Bodies and answers of one partner that are kept at most; beyond it the oldest are dropped before their time.",
        least=1 << 20,
    )
    keys_s: float = setting(
        24 * 3600.0,
        "An Idempotency-Key is remembered this long after the end of its write; a later repeat is a new request.",
        least=60,
    )
    min_free_bytes: int = setting(
        256 << 20, "With less free space under the store nothing more is accepted and no token issued: 503.", least=0
    )


@dataclass(frozen=True, slots=True)
class CourierSettings:
    """The courier: what delivers the work that was accepted."""

    lease_s: float = setting(
        30.0, "Work of a courier that died is taken up again after this; longer hides it longer.", least=1, most=3600
    )
    poll_s: float = setting(
        0.02,
        "How often a courier looks for new work, a read of memory; after 2s without any every 50ms at most.",
        least=0.001,
    )
    graceful_timeout_s: float = setting(
        30.0, "Deliveries in flight at a stop may take this long; later their outcome is unknown.", least=0
    )


@dataclass(frozen=True, slots=True)
class KeySettings:
    """The keys that tokens are signed with, and the master key that all secrets of the store depend on."""

    master: str = setting(
        "auto",
        "file:/PATH, credential:NAME, or auto: systemd's master-key, else a file in the store. Lost, all secrets are.",
        parse=_master_key,
        secret=True,
    )
    rotate_after_s: float = setting(
        90 * 86400.0, "An older key signs no more: a new one is made; tokens of the old one stay good.", least=60
    )


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Access tokens."""

    expires_s: float = setting(12 * 3600.0, "How long a token is good for when nothing else is said.", least=60)
    max_expires_s: float = setting(
        365 * 86400.0, "No token may be good for longer; stolen ones are good until then.", least=60
    )
    leeway_s: float = setting(5.0, "How far the clocks of two hosts may differ.", least=0, most=300)
    per_minute: int = setting(
        60,
        "Tokens that a client gets at the token endpoint in a minute, more are 429; rows stay 30 days past their end.",
        least=1,
        most=1_000_000,
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where the log goes."""

    level: str = setting(
        "info",
        "debug, info, warning, error or critical.",
        parse=choice("debug", "info", "warning", "error", "critical"),
    )
    target: str = setting(
        "auto",
        "journal, stderr, or auto: the journal when started by systemd.",
        parse=choice("auto", "journal", "stderr"),
    )
    access: str = setting(
        "all",
        "Which requests get a line: all, errors and slow ones (errors), or these and one in so many others (sampled).",
        parse=choice("all", "errors", "sampled"),
    )
    access_slow_s: float = setting(1.0, "A request that takes longer is slow.", least=0)
    access_sample: int = setting(
        100, "With access = sampled, of so many requests without error that are not slow, one gets a line.", least=1
    )
    access_most: int = setting(
        500,
        "Lines of requests that a worker sends the journal in a second, and as many of errors and slow ones; 0: none.",
        least=0,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; ``Settings()`` holds the defaults."""

    store: StoreSettings = field(default_factory=StoreSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    portal: PortalSettings = field(default_factory=PortalSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    ledger: LedgerSettings = field(default_factory=LedgerSettings)
    courier: CourierSettings = field(default_factory=CourierSettings)
    keys: KeySettings = field(default_factory=KeySettings)
    tokens: TokenSettings = field(default_factory=TokenSettings)
    log: LogSettings = field(default_factory=LogSettings)

    def __post_init__(self) -> None:
        bind = self.portal.bind.replace("{directory}", str(self.store.directory))
        object.__setattr__(self, "portal", replace(self.portal, bind=bind))


def load_settings(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: packaged defaults, then *path*, then ``conf.d/*.ini`` beside it, then *environ*.

    Without *path*, ``$CONFIG_SOURCE`` names the file, and without that it is ``DEFAULT_PATH``, which alone may be
    missing. Raises SettingsError with every mistake; the path of each is ``file:line`` or the name of the variable.
    """
    try:
        files = settings_files(path, environ)
        return load(Settings, [PACKAGED_DEFAULTS, *files], environ, prefix="ENTREPOT", check=_check)
    except ConfigError as exc:
        raise SettingsError(_summary(exc.mistakes), errors=exc.mistakes) from exc
    except OSError as exc:
        mistake = Mistake(f"cannot be read: {exc.strerror}", str(exc.filename))
        raise SettingsError(_summary([mistake]), errors=[mistake]) from exc


def credential_path(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the secret ``credential:NAME`` is to be found.

    That is in ``$CREDENTIALS_DIRECTORY``, where systemd puts what ``LoadCredential=NAME:…`` names, and by the names
    ``entrepot_*`` the files of a directory (``LoadCredential=entrepot:DIRECTORY``). Of a program that systemd has not
    started it is the file of that name in ``CREDENTIALS``.
    """
    handed_in = environ.get("CREDENTIALS_DIRECTORY")
    if not handed_in:
        return CREDENTIALS / name
    path = Path(handed_in) / name
    of_directory = path.with_name(f"{_CREDENTIALS_ID}_{name}")
    return of_directory if of_directory.exists() and not path.exists() else path


def is_own(reference: str) -> bool:
    """Tell whether the secret that *reference* names is Entrepot's own: the master key, or a file of a store.

    It is shown to no upstream. *reference* is ``file:PATH`` or ``credential:NAME``; anything else is not.
    """
    kind, _, place = reference.partition(":")
    path = os.path.realpath(place) if kind == "file" else place
    if kind in {"file", "credential"} and Path(path).name.removeprefix(f"{_CREDENTIALS_ID}_") == MASTER_CREDENTIAL:
        return True
    return kind == "file" and any(os.access(above / MASTER_MARK, os.F_OK) for above in Path(path).parents)


def settings_files(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Return the files that ``load_settings`` reads after the packaged defaults.

    Raises ConfigError for a name that is none of a file and for what is no regular file in ``conf.d``, OSError for a
    directory that cannot be read.
    """
    named = path or environ.get("CONFIG_SOURCE", "")
    if "://" in str(named):
        raise ConfigError([Mistake(f"must name a file, not {named!r}", "CONFIG_SOURCE")])
    if named:
        return layered_files(Path(named))
    found, *more = layered_files(DEFAULT_PATH)
    return [found, *more] if found.exists() else more


def _check(settings: Settings) -> Iterator[Complaint]:
    if settings.tokens.expires_s > settings.tokens.max_expires_s:
        yield Complaint("tokens", "expires", "must not be longer than max_expires")
    if settings.ledger.bodies_s > settings.ledger.rows_s:
        yield Complaint("ledger", "bodies", "must not be longer than rows, which they are part of")
    if settings.ledger.keys_s > settings.ledger.rows_s:
        yield Complaint("ledger", "keys", "must not be longer than rows, which tell when a write ended")
    if settings.gateway.max_target_bytes > settings.gateway.max_header_bytes:
        yield Complaint("gateway", "max_target", "must not be larger than max_header, which it is part of")


def _summary(mistakes: Sequence[Mistake]) -> str:
    return "\n".join(f"{mistake.path}: {mistake.message}" if mistake.path else mistake.message for mistake in mistakes)
