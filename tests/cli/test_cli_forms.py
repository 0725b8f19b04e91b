"""Forms, exit codes and messages of the program, seen from outside."""

import json
import os
import pwd
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program_support import environment

from entrepot.cli.rights import mistakes_of_credentials, mistakes_of_handed_in_keys
from entrepot.identity.master import MARK
from entrepot.settings import KeySettings, Settings


def test_help_lists_the_commands_and_is_there_at_once():
    command = [sys.executable, "-P", "-m", "entrepot.cli.main", "--help"]
    took_s = []
    for _ in range(3):
        before = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        took_s.append(time.perf_counter() - before)

    assert done.returncode == 0
    assert all(
        f" {name} " in done.stdout for name in ("demo", "run", "check", "diff", "apply", "export", "token", "db")
    )
    # 60 ms by itself; the machine that runs tests is busy.
    assert min(took_s) < 1.0


def test_the_parser_imports_no_heavy_library():
    program = (
        "import sys, entrepot.cli.main, entrepot.cli.parser as p; p.build_parser();"
        "print([m for m in ('sqlalchemy', 'cryptography', 'ruamel', 'uvloop', 'flask', 'logging', 'asyncio')"
        " if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-command"],
        ["token"],
        ["token", "revoke"],
        ["token", "revoke", "x", "--jti", "y"],
        ["run", "nothing"],
        ["apply"],
        ["demo", "--odoo", "http://127.0.0.1:1"],
        ["--sett", "x", "status"],
    ],
)
def test_wrong_usage_is_exit_code_2(entrepot, arguments):
    done = entrepot(*arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert "usage: entrepot" in done.stderr


def test_version_is_printed(entrepot):
    done = entrepot("--version")

    assert done.returncode == 0
    assert done.stdout.startswith("entrepot 0.")


def test_settings_stand_before_after_or_in_the_environment(entrepot, settings_file):
    settings_file.write_text("[gateway]\nnothing = 1\n")

    before = entrepot("--settings", settings_file, "check", "--settings-only")
    after = entrepot("check", "--settings-only", "--settings", settings_file)
    between = entrepot("token", "--settings", settings_file, "list")
    named = entrepot("check", "--settings-only", CONFIG_SOURCE=str(settings_file))

    assert before.stderr.startswith(f"{settings_file}:2: ")
    assert before.stderr == after.stderr == between.stderr == named.stderr


@pytest.mark.slow
def test_db_upgrade_makes_the_schema_once(entrepot, settings_file):
    first = entrepot("db", "upgrade", "--settings", settings_file)
    second = entrepot("db", "upgrade", "--settings", settings_file, "--json")

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith("upgraded from an empty database to ")
    assert json.loads(second.stdout)["applied"] == []


def test_every_mistake_of_the_settings_is_one_line(entrepot, tmp_path):
    path = tmp_path / "entrepot.ini"
    path.write_text("[gateway]\nworkers = many\ncolour = red\n[nowhere]\n")

    done = entrepot("check", "--settings-only", "--settings", path)

    assert done.returncode == 1
    assert done.stdout == ""
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == [f"{path}:{line}" for line in (2, 3, 4)]


def test_a_settings_file_that_is_not_there_is_one_line(entrepot, tmp_path):
    done = entrepot("check", "--settings-only", "--settings", tmp_path / "none.ini")

    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}/none.ini: cannot be read: No such file or directory\n"


def test_a_reader_that_has_gone_leaves_no_traceback():
    command = [sys.executable, "-m", "entrepot.cli.main", "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writer)

    assert done.returncode == 1
    assert done.stderr == ""


def test_a_full_disk_is_one_line():
    command = [sys.executable, "-m", "entrepot.cli.main", "--help"]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device, not a file
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr == "entrepot: No space left on device\n"


@pytest.mark.parametrize(("stream", "level"), [("{device}:{inode}", "<3>"), ("1:2", "")])
def test_journal_is_told_that_a_complaint_is_an_error(tmp_path, stream, level):
    (tmp_path / "bad.ini").write_text("[log]\nlevel = loud\n[gateway]\nport = 1\n")
    command = [sys.executable, "-P", "-m", "entrepot.cli.main", "run", "gateway", "--settings", tmp_path / "bad.ini"]
    with (tmp_path / "journal").open("w") as journal:
        status = os.fstat(journal.fileno())
        stream = stream.format(device=status.st_dev, inode=status.st_ino)
        subprocess.run(command, stderr=journal, check=False, env=os.environ | {"JOURNAL_STREAM": stream})

    lines = (tmp_path / "journal").read_text().splitlines()

    assert len(lines) == 2
    assert all(line.startswith(f"{level}{tmp_path}/bad.ini:") for line in lines)


@pytest.fixture
def owned_store(settings_file):
    """Return a store that belongs to nobody, in directories that nobody may enter."""
    owner = pwd.getpwnam("nobody")
    store = settings_file.parent / "store"
    for path in settings_file.parents:
        if path.stat().st_mode & 0o001:
            break
        path.chmod(0o755)
    os.chown(store, owner.pw_uid, owner.pw_gid)
    return store, owner.pw_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_goes_on_as_the_owner_of_the_store(entrepot, settings_file, owned_store):
    store, owner = owned_store

    done = entrepot("db", "upgrade", "--settings", settings_file)

    assert (done.returncode, done.stderr) == (0, "")
    assert {path.stat().st_uid for path in store.iterdir()} == {owner}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_gateway_that_root_starts_runs_as_the_owner_of_the_store(settings_file, owned_store):
    store, owner = owned_store
    command = [sys.executable, "-m", "entrepot.cli.main", "run", "gateway", "--settings", str(settings_file)]
    bind = {"ENTREPOT_GATEWAY_BIND": f"unix:{store}/gateway.sock", "ENTREPOT_GATEWAY_WORKERS": "1"}
    debug = {"ENTREPOT_LOG_LEVEL": "debug"}

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | bind | debug) as gateway:
        try:
            for line in gateway.stderr:
                if "Booting worker with pid: " in line:
                    worker = int(line.rsplit(" ", 1)[1])
                    break
            uids = {Path(f"/proc/{pid}").stat().st_uid for pid in (gateway.pid, worker)}
        finally:
            gateway.terminate()
            gateway.stderr.read()

    assert uids == {owner}
    assert gateway.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(
    ("place", "mode", "told"), [("sec.ini", 0o600, "conf.d/sec.ini"), (".", 0o700, "conf.d"), ("sec.ini", 0o644, "")]
)
def test_check_tells_root_of_settings_that_the_daemons_cannot_read(
    entrepot, settings_file, owned_store, place, mode, told
):
    folder = settings_file.parent / "conf.d"
    folder.mkdir()
    (folder / "sec.ini").write_text("[log]\nlevel = debug\n")
    (folder / place).chmod(mode)
    # Whoever is named, and not where the daemons look, may be a draft.
    settings_file.chmod(0o600)

    done = entrepot("check", "--settings-only", "--settings", settings_file)

    expected = f"{settings_file.parent}/{told}: the user nobody, as whom the daemons run, cannot read it\n"
    assert (done.returncode, done.stderr) == ((1, expected) if told else (0, ""))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_check_of_settings_tells_of_a_store_that_cannot_be_written(entrepot, settings_file, owned_store):
    store, _ = owned_store
    store.chmod(0o500)

    done = entrepot("check", "--settings-only", "--settings", settings_file)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"[store] directory: the user nobody cannot write {store}\n"


ON_A_HOST_WITH_UNITS = """\
import sys
from pathlib import Path
from entrepot.cli import main, owner
owner.UNIT, owner.UNITS_USER = Path("/"), "nobody"
sys.exit(main.main())
"""


def on_a_host_with_units(*arguments):
    """Run the program where the package's units are, which run as nobody."""
    command = [sys.executable, "-P", "-c", ON_A_HOST_WITH_UNITS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize(("place", "verb"), [("store", "write"), ("none", "make"), ("closed/store", "reach")])
def test_check_of_settings_tells_of_a_store_that_is_roots_beside_units(settings_file, owned_store, place, verb):
    store = settings_file.parent / place
    (settings_file.parent / "closed" / "store").mkdir(parents=True)
    (settings_file.parent / "closed").chmod(0o700)
    os.chown(owned_store[0], 0, 0)
    settings_file.write_text(f"[store]\ndirectory = {store}\n")

    done = on_a_host_with_units("check", "--settings-only", "--settings", settings_file)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == f"[store] directory: the user nobody cannot {verb} {store}"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_makes_no_store_that_is_of_no_use_to_the_units(settings_file, owned_store):
    its, owner = owned_store
    told = []
    for store in (settings_file.parent / "none", its / "sub"):
        settings_file.write_text(f"[store]\ndirectory = {store}\n")
        told.append(on_a_host_with_units("db", "upgrade", "--settings", settings_file).stderr)

    assert told == [f"[store] directory: the user nobody cannot make {settings_file.parent}/none\n", ""]
    assert not (settings_file.parent / "none").exists()
    assert {path.stat().st_uid for path in its.rglob("*")} == {owner}


def test_check_of_settings_says_where_the_store_is(entrepot, settings_file, tmp_path):
    done = entrepot(
        "check", "--settings-only", "--json", "--settings", settings_file, ENTREPOT_STORE_DIRECTORY=str(tmp_path)
    )

    assert json.loads(done.stdout) == {"right": True, "mistakes": [], "store": str(tmp_path)}


@pytest.mark.parametrize(
    ("has_begun", "content", "told"),
    [
        (False, None, ""),
        (True, None, "the master key {path} is not there: put it back from its backup\n"),
        (False, "ab" * 31, "the master key {path} ([keys] master) is not 64 hexadecimal digits\n"),
        (True, "", "the master key {path} ([keys] master) is not 64 hexadecimal digits\n"),
        (True, "ab" * 32, ""),
    ],
)
def test_check_of_settings_tells_of_a_file_that_is_no_master_key(entrepot, settings_file, has_begun, content, told):
    path = settings_file.parent / "key"
    if content is not None:
        path.touch(mode=0o600)
        path.write_text(content)
    if has_begun:
        (settings_file.parent / "store" / MARK).write_text('{"fingerprint": "f", "place": "p"}')

    done = entrepot("check", "--settings-only", "--settings", settings_file, ENTREPOT_KEYS_MASTER=f"file:{path}")

    assert (done.returncode, done.stderr) == (1 if told else 0, told.format(path=path))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_check_of_settings_tells_root_of_a_master_key_that_is_not_handed_in(entrepot, settings_file, tmp_path):
    named = {"ENTREPOT_KEYS_MASTER": "credential:nope", "CREDENTIALS_DIRECTORY": str(tmp_path)}

    done = entrepot("check", "--settings-only", "--settings", settings_file, **named)

    assert done.returncode == 1
    assert done.stderr == f"the master key {tmp_path}/nope is not there: put it back from its backup\n"


@pytest.mark.parametrize("master", ["auto", "file:/nope", "credential:other"])
def test_units_need_their_own_master_key_whatever_the_settings_name(tmp_path, monkeypatch, master):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    key = tmp_path / "master-key"
    (tmp_path / "other").write_text("cd" * 32)
    settings = Settings(keys=KeySettings(master=master))

    def told(has_units=True):
        found = mistakes_of_handed_in_keys(settings, has_units=has_units, changed=tmp_path)
        return [mistake.message for mistake in found]

    without_units = told(has_units=False)
    missing = told()
    key.write_text("12" * 31)
    too_short = told()
    key.write_text("12" * 32)

    assert without_units == told() == []
    assert missing == [f"the master key {key} is not there: put it back from its backup"]
    assert too_short == [f"the master key {key} ([keys] master) is not 64 hexadecimal digits"]


@pytest.mark.parametrize("name", ["master-key", "other"])
def test_a_master_key_that_units_are_handed_in_from_elsewhere_is_not_looked_for(tmp_path, monkeypatch, name):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    settings = Settings(keys=KeySettings(master=f"credential:{name}"))
    units = tmp_path / "entrepot-.service.d"
    units.mkdir()

    def told(line):
        (units / "own.conf").write_text(f"[Service]\n{line}\n")
        return list(mistakes_of_handed_in_keys(settings, has_units=False, changed=tmp_path))

    assert told(f"LoadCredentialEncrypted={name}:/etc/entrepot.cred") == []
    assert told(f"SetCredentialEncrypted={name}: \\") == []
    assert len(told(f"LoadCredential={name}-of-others:/srv/key")) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("command", ["diff", "apply"])
def test_catalog_file_that_root_alone_reads_is_said_to_be_so(entrepot, settings_file, owned_store, tmp_path, command):
    file = tmp_path / "catalog.yaml"
    file.write_text("upstreams: {}\n")
    file.chmod(0o600)

    done = entrepot(command, file, "--settings", settings_file)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{file}: the user nobody, as whom this goes on, cannot read it\n"


def test_more_credentials_than_systemd_hands_in_are_a_mistake(tmp_path):
    (tmp_path / "master-key").write_bytes(b"0" * 64)
    (tmp_path / "erp").mkdir()
    large = tmp_path / "erp" / "dump"
    large.write_bytes(bytes((1 << 20) - 64))
    assert list(mistakes_of_credentials(tmp_path)) == []

    large.write_bytes(bytes(1 << 20))
    (mistake,) = mistakes_of_credentials(tmp_path)

    assert mistake.path == str(large)
    assert "1 MiB" in mistake.message


@pytest.mark.parametrize("name", ["erp.2026-11-22T10:00:00", "Käse", "a\tb", "a\x7f", "a\udcff", "a" * 247])
def test_a_credential_whose_name_systemd_does_not_take_is_a_mistake(tmp_path, name):
    (tmp_path / "of partner").mkdir()
    # Nothing of this is handed in.
    (tmp_path / ".:").touch()
    (tmp_path / ":.link").symlink_to("/etc/hosts")
    for good in ("master-key", f"of partner/{'~' * 235}"):
        (tmp_path / good).touch()
    assert list(mistakes_of_credentials(tmp_path)) == []

    (tmp_path / name).touch()
    (mistake,) = mistakes_of_credentials(tmp_path)

    shown = {"a\tb": r"a\tb", "a\x7f": r"a\x7f", "a\udcff": r"a\xff"}
    assert mistake.path == f"{tmp_path}/{shown.get(name, name)}"
    assert "without a colon" in mistake.message


def test_check_tells_machines_of_a_store_that_is_below_a_file(entrepot, settings_file):
    store = {"ENTREPOT_STORE_DIRECTORY": f"{settings_file}/store"}

    done = entrepot("check", "--settings-only", "--json", "--settings", settings_file, **store)

    assert done.returncode == 1
    assert json.loads(done.stdout)["right"] is False


def test_check_tells_machines_every_mistake(entrepot, settings_file, tmp_path):
    file = tmp_path / "catalog.yaml"
    file.write_text("upstreams:\n  erp: {kind: odoo}\n  other: {kind: nothing, url: 5}\n")

    done = entrepot("check", "--json", file, "--settings", settings_file)

    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["right"]) == (1, "", False)
    assert len(found["mistakes"]) > 4
    assert all("catalog.yaml:" in mistake["path"] for mistake in found["mistakes"])
