from __future__ import annotations

import dataclasses
import os
from configparser import ConfigParser
from ipaddress import ip_network
from pathlib import Path
from typing import get_type_hints

import pytest
from sqlalchemy.engine import make_url

from entrepot.chassis.config import settings_of
from entrepot.chassis.ini import read_ini
from entrepot.errors import SettingsError
from entrepot.settings import PACKAGED_DEFAULTS, Settings, StoreSettings, load_settings


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "entrepot.ini"


def mistakes_of(path: Path, environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(path, environ or {})
    return {
        str(mistake.path).removeprefix(f"{path.parent}/"): mistake.message.replace(f"{path.parent}/", "")
        for mistake in caught.value.errors
    }


def test_packaged_defaults_are_the_defaults_of_the_dataclasses(ini: Path):
    ini.touch()

    assert load_settings(ini, {}) == Settings()


def test_every_setting_stands_in_the_packaged_defaults_with_its_help_and_nothing_else_does():
    lines = PACKAGED_DEFAULTS.read_text().splitlines()
    found = read_ini("default_config.ini", PACKAGED_DEFAULTS.read_bytes())
    known = settings_of(Settings)

    assert [(entry.section, entry.key) for entry in found.entries] == list(known)
    for entry in found.entries:
        line = int(entry.place.rpartition(":")[2])
        assert lines[line - 2] == f"; {known[entry.section, entry.key].help}"


def test_every_default_is_within_its_own_bounds():
    defaults = Settings()

    for (section, key), setting in settings_of(Settings).items():
        value = getattr(getattr(defaults, section), setting.name)
        assert setting.least is None or value >= setting.least, (section, key)
        assert setting.most is None or value <= setting.most, (section, key)


def test_the_file_of_the_architecture_is_read_with_its_inline_comments(ini: Path):
    ini.write_text("""
[store]
directory = /srv/entrepot
url = sqlite:////srv/entrepot/other.db
[gateway]
bind = 127.0.0.1:8080 [::1]:8080      ; under systemd the socket unit decides; a difference is a warning
workers = 3              ; one a core
public_url =             ; what partners see; issuer and audience of tokens
trusted = 10.0.0.0/8, fd00::/8    ; networks whose Forwarded and X-Request-Id are believed
header_timeout = 500ms
body_timeout = 2m
max_header = 64KiB
[metrics]
allow: 192.0.2.7
[console]
bind = unix:/run/console#1.sock
[log]
Level = WARNING
target = stderr
""")

    settings = load_settings(ini, {})

    assert settings.store == StoreSettings(Path("/srv/entrepot"), "sqlite:////srv/entrepot/other.db")
    gateway = settings.gateway
    assert gateway.bind == ("127.0.0.1:8080", "[::1]:8080")
    assert (gateway.workers, gateway.public_url) == (3, "")
    assert gateway.trusted == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert (gateway.header_timeout_s, gateway.body_timeout_s, gateway.max_header_bytes) == (0.5, 120.0, 65536)
    assert settings.metrics.allow == (ip_network("192.0.2.7/32"),)
    assert settings.console.bind == ("unix:/run/console#1.sock",)
    assert (settings.log.level, settings.log.target) == ("warning", "stderr")


def test_the_packaged_defaults_mean_to_configparser_what_they_mean_here():
    theirs = ConfigParser(inline_comment_prefixes=(";",), interpolation=None)
    theirs.read(PACKAGED_DEFAULTS)

    ours = read_ini("", PACKAGED_DEFAULTS.read_bytes())

    assert ours.mistakes == []
    assert {(entry.section, entry.key): entry.text for entry in ours.entries} == {
        (section, key): value for section in theirs.sections() for key, value in theirs[section].items()
    }


def test_conf_d_wins_over_the_file_in_the_order_of_names_and_the_environment_over_all(ini: Path):
    ini.write_text("[gateway]\nworkers = 1\nmax_fields = 11\nheader_timeout = 1s\n[log]\nlevel = debug\n")
    conf_d = ini.parent / "conf.d"
    conf_d.mkdir()
    (conf_d / "20-b.ini").write_text("[gateway]\nworkers = 3\n")
    (conf_d / "10-a.ini").write_text("[gateway]\nworkers = 2\nmax_fields = 22\n")
    (conf_d / ".hidden.ini").write_text("nonsense")
    (conf_d / "notes.txt").write_text("nonsense")

    settings = load_settings(ini, {"ENTREPOT_GATEWAY_HEADER_TIMEOUT": "4s", "HOME": "/root"})

    assert (settings.gateway.workers, settings.gateway.max_fields) == (3, 22)
    assert (settings.gateway.header_timeout_s, settings.log.level) == (4.0, "debug")


def test_all_mistakes_are_told_at_once_with_their_lines(ini: Path):
    ini.write_bytes(
        b"stray = 1\n"
        b"[gateway]\n"
        b"workers = lots\n"
        b"WORKERS = 3\n"
        b"bind = 8080\n"
        b"trusted = 10.0.0.0/8 10.0.0.1/8\n"
        b"header_timeout = 10\n"
        b"max_header = 16kb\n"
        b"access_log = maybe\n"
        b"max_feilds = 7\n"
        b"  folded\n"
        b"[gatewy]\n"
        b"anything = goes\n"
        b"[log\n"
        b"[log]\n"
        b"level = loud\n"
        b"[gateway]\n"
        b"nothing\n"
        b"max_fields = 0\n"
        b"public_url = ftp://x\n"
        b"[store]\n"
        b"directory = var/lib\n"
        b"caf\xe9 = 1\n"
        b"url = sqlite://\x00\n"
        b"[tokens]\n"
        b"expires = 400d\n"
    )

    found = mistakes_of(ini, {"ENTREPOT_LOG_TARGET": "syslog", "ENTREPOT_GATEWAY_WORKRES": "2"})

    assert found == {
        "entrepot.ini:1": "key 'stray' stands before any section",
        "entrepot.ini:3": "[gateway] workers must be auto or a whole number, not 'lots'",
        "entrepot.ini:4": "key 'workers' stands twice in [gateway], first at entrepot.ini:3",
        "entrepot.ini:5": "[gateway] bind must be host:port, [IPv6]:port or unix:/absolute/path, or several with "
        "spaces between, not '8080'",
        "entrepot.ini:6": "[gateway] trusted must be networks such as 10.0.0.0/8 or fd00::/8 "
        "(10.0.0.1/8 has host bits set), not '10.0.0.0/8 10.0.0.1/8'",
        "entrepot.ini:7": "[gateway] header_timeout must be a duration such as 500ms, 30s, 5m, 24h or 7d, not '10'",
        "entrepot.ini:8": "[gateway] max_header must be a size such as 4096, 64KiB, 1MiB or 2GiB, not '16kb'",
        "entrepot.ini:9": "[gateway] access_log must be true or false, not 'maybe'",
        "entrepot.ini:10": "unknown key 'max_feilds' in [gateway]; did you mean 'max_fields'?",
        "entrepot.ini:11": "the line begins with a space; a value must stand on one line",
        "entrepot.ini:12": "unknown section [gatewy]; did you mean 'gateway'?",
        "entrepot.ini:14": "not a section: '[log'; one looks like [name]",
        "entrepot.ini:16": "[log] level must be one of debug, info, warning, error, critical, not 'loud'",
        "entrepot.ini:17": "section [gateway] stands twice, first at entrepot.ini:2",
        "entrepot.ini:18": "neither a section nor `key = value`",
        "entrepot.ini:19": "[gateway] max_fields must be at least 10, not '0'",
        "entrepot.ini:20": "[gateway] public_url must be a URL such as https://api.example.com, without user, query "
        "and fragment, not 'ftp://x'",
        "entrepot.ini:22": "[store] directory must be an absolute path, not 'var/lib'",
        "entrepot.ini:23": "not UTF-8: byte 0xe9 at column 4",
        "entrepot.ini:24": "a control character, which no setting may hold",
        "entrepot.ini:26": "[tokens] expires must not be longer than max_expires",
        "ENTREPOT_LOG_TARGET": "[log] target must be one of auto, journal, stderr, not 'syslog'",
        "ENTREPOT_GATEWAY_WORKRES": "unknown setting ENTREPOT_GATEWAY_WORKRES; "
        "did you mean 'ENTREPOT_GATEWAY_WORKERS'?",
    }


@pytest.mark.parametrize("name", ["bodies", "keys"])
def test_nothing_of_the_ledger_is_to_outlive_the_rows_that_it_depends_on(ini: Path, name):
    ini.write_text(f"[ledger]\nbodies = 6h\nkeys = 6h\nrows = 6h\n{name} = 7h\n".replace(f"{name} = 6h\n", ""))

    with pytest.raises(SettingsError, match=rf"\[ledger\] {name} must not be longer than rows"):
        load_settings(ini, {})


def test_mistakes_of_a_file_come_in_the_order_of_its_lines(ini: Path):
    ini.write_text("[log]\nlevel = x\nodd\ntarget = y\n")

    with pytest.raises(SettingsError) as caught:
        load_settings(ini, {})

    assert [mistake.path for mistake in caught.value.errors] == [f"{ini}:2", f"{ini}:3", f"{ini}:4"]
    assert str(caught.value).splitlines()[1].startswith(f"{ini}:3: neither")


def test_a_named_file_that_is_missing_or_unreadable_is_a_mistake(ini: Path):
    assert mistakes_of(ini) == {"entrepot.ini": "cannot be read: No such file or directory"}
    ini.mkdir()
    assert mistakes_of(ini) == {"entrepot.ini": "cannot be read: Is a directory"}


def test_what_is_no_regular_file_in_conf_d_is_a_mistake_and_not_waited_for(ini: Path):
    ini.touch()
    (ini.parent / "conf.d").mkdir()
    os.mkfifo(ini.parent / "conf.d" / "pipe.ini")
    (ini.parent / "conf.d" / "folder.ini").mkdir()

    assert mistakes_of(ini) == dict.fromkeys(["conf.d/folder.ini", "conf.d/pipe.ini"], "is no regular file")


def test_a_conf_d_that_is_no_directory_is_a_mistake(ini: Path):
    ini.touch()
    (ini.parent / "conf.d").touch()

    assert mistakes_of(ini) == {"conf.d": "cannot be read: Not a directory"}


@pytest.mark.skipif(Path("/etc/entrepot").exists(), reason="this host has settings of its own")
def test_the_default_file_alone_may_be_missing():
    assert load_settings(environ={}) == Settings()


def test_config_source_names_the_file(ini: Path):
    ini.write_text("[log]\nlevel = error\n")

    assert load_settings(environ={"CONFIG_SOURCE": str(ini)}).log.level == "error"
    assert load_settings(ini, {"CONFIG_SOURCE": "/nowhere"}).log.level == "error"


def test_a_config_source_that_is_no_file_is_refused():
    with pytest.raises(SettingsError, match="must name a file, not 'kubernetes://a/b/c'"):
        load_settings(environ={"CONFIG_SOURCE": "kubernetes://a/b/c"})


@pytest.mark.parametrize("directory", ["/srv/entrepot", "/srv/50%?#", "/srv/with space"])
def test_the_database_follows_the_directory(ini: Path, directory: str):
    ini.write_text(f"[store]\ndirectory = {directory}\n")

    assert make_url(load_settings(ini, {}).store.url).database == f"{directory}/entrepot.db"


def test_a_database_url_is_not_shown(ini: Path):
    ini.write_text("[store]\nurl = postgresql://entrepot:secret@db/entrepot\n")

    assert "secret" not in repr(load_settings(ini, {}))


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///{directory}/other.db",
        "sqlite+pysqlite:////srv/50%25?timeout=3",
        "postgresql://entrepot@/entrepot?host=/run/postgresql",
        "postgresql+psycopg://entrepot:p#/?%40@db.example.com:65535/entrepot?sslmode=verify-full",
        "postgresql://me@azure:secret@[::1]:5432/entrepot",
    ],
)
def test_a_database_is_a_file_or_on_a_server(ini: Path, url: str):
    ini.write_text(f"[store]\ndirectory = /srv\nurl = {url}\n")

    taken = load_settings(ini, {}).store.url

    assert taken == url.replace("{directory}", "/srv")
    assert make_url(taken).database in {"/srv/other.db", "/srv/50%", "entrepot"}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "mysql://entrepot:secret@db/entrepot",
        "sqlite://",
        "sqlite:///relative.db",
        "sqlite:///:memory:",
        "postgresql://host",
        "postgresql+psycopg2://entrepot:secret@db/entrepot",
        "postgresql+foo://entrepot:secret@db/entrepot",
        "postgresql://entrepot:secret@db:notaport/entrepot",
        "postgresql://entrepot:secret@db:/entrepot",
        "postgresql://entrepot:secret@db:0/entrepot",
        "postgresql://entrepot:secret@db:65536/entrepot",
        "postgresql://entrepot:se@cret@db/entrepot",
    ],
)
def test_a_url_of_no_database_is_a_mistake_that_does_not_show_it(ini: Path, url: str):
    ini.write_text(f"[store]\nurl = {url}\n")

    assert mistakes_of(ini) == {
        "entrepot.ini:2": "[store] url must be sqlite:////absolute/path or "
        "postgresql+psycopg://user:password@host:port/name, with %40 for an @ of the password"
    }


def test_auto_is_one_worker_a_usable_core(ini: Path):
    ini.write_text("[gateway]\nworkers = Auto\n")

    assert load_settings(ini, {}).gateway.workers == len(os.sched_getaffinity(0))


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistake(ini: Path):
    ini.write_bytes(b"\xef\xbb\xbf[log]\r\nlevel = error\r\n")

    assert load_settings(ini, {}).log.level == "error"


def test_settings_are_frozen():
    for section in get_type_hints(Settings).values():
        assert section.__dataclass_params__.frozen
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().log.level = "debug"  # type: ignore[misc]
