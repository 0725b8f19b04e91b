"""Forms, exit codes and messages of the program, seen from outside."""

import json
import os
import pwd
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest


def test_help_lists_the_commands_and_is_there_at_once(entrepot):
    entrepot("--help")
    before = time.perf_counter()
    done = entrepot("--help")
    took_s = time.perf_counter() - before

    assert done.returncode == 0
    assert all(
        f" {name} " in done.stdout for name in ("demo", "run", "check", "diff", "apply", "export", "token", "db")
    )
    # 60 ms by itself; the machine that runs tests is busy.
    assert took_s < 1.0


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


@pytest.fixture
def owned_store(settings_file):
    """Return a store that belongs to nobody, in directories that nobody may enter."""
    owner = pwd.getpwnam("nobody")
    store = settings_file.parent / "store"
    beneath = Path(tempfile.gettempdir())
    for path in (settings_file.parent, *settings_file.parent.parents):
        if path.is_relative_to(beneath) and path != beneath:
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

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | bind) as gateway:
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


def test_check_tells_machines_every_mistake(entrepot, settings_file, tmp_path):
    file = tmp_path / "catalog.yaml"
    file.write_text("upstreams:\n  erp: {kind: odoo}\n  other: {kind: nothing, url: 5}\n")

    done = entrepot("check", "--json", file, "--settings", settings_file)

    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["right"]) == (1, "", False)
    assert len(found["mistakes"]) > 4
    assert all("catalog.yaml:" in mistake["path"] for mistake in found["mistakes"])
