"""Upgrades that bring a migration, on a host whose store has a small file system of its own, while partners call."""

import json
import os
import re
from urllib.parse import urlencode

import pytest
from hosts import Host
from pages import blocks

pytestmark = pytest.mark.host

# The scripts of the package, which this is about, are the same in both: one suite has to do.
# ENTREPOT_TEST_UPGRADES=all takes both.
SUITES = ("trixie", "bookworm") if os.environ.get("ENTREPOT_TEST_UPGRADES") == "all" else ("trixie",)
STORE = "/var/lib/entrepot"
BACKUPS = f"{STORE}/backups"
KEY = "/etc/entrepot/credentials/master-key"
BROKEN = "/etc/entrepot/conf.d/zz-broken.ini"
NEXT_SCHEMA = "s2_9999"
MIGRATION = """\
from alembic import op
import sqlalchemy as sa

revision, down_revision, branch_labels, depends_on = "{revision}", "{before}", None, None


def upgrade():
    op.add_column("transactions", sa.Column("later", sa.Text()))
"""


@pytest.fixture(scope="module", params=SUITES)
def host(request):
    """A host whose store is a file system that can be made smaller, and which holds the next release, too."""
    if not Host.is_wanted(request.param):
        pytest.skip("ENTREPOT_TEST_SUITES leaves it out")
    with Host(request.param) as host:
        host.run("mkdir", STORE)
        host.run("mount", "-t", "tmpfs", "-o", "size=2g", "entrepot", STORE)
        host.install()
        host.write("/etc/entrepot/conf.d/small.ini", "[ledger]\nmin_free = 1MiB\n")
        host.furnish()
        host.bring_next(with_a_migration)
        yield host


def with_a_migration(tree):
    """Add a migration to the package that is unpacked in *tree*: one of the schema after this one."""
    (versions,) = tree.glob("usr/lib/entrepot/lib/python3*/site-packages/entrepot/store/migrations/versions")
    before = max(path.name for path in versions.glob("s*_*.py"))[:7]
    text = MIGRATION.format(revision=NEXT_SCHEMA, before=before)
    (versions / f"{NEXT_SCHEMA}_later.py").write_text(text, encoding="utf-8")
    preinst = tree / "DEBIAN/preinst"
    schema = NEXT_SCHEMA.removeprefix("s").replace("_", ".")
    changed, count = re.subn(r'(?<= lt )"\d+\.\d+"', f'"{schema}"', preinst.read_text(encoding="utf-8"))
    assert count == 1
    preinst.write_text(changed, encoding="utf-8")


def manifest(host, name):
    """Return what the backup *name* says of itself."""
    return json.loads(host.out("tar", "--extract", "--to-stdout", "--file", f"{BACKUPS}/{name}", "manifest.json"))


def upgrade(host, *, check=True):
    return host.shell("apt-get -q -y -o Dpkg::Options::=--force-confold install /srv/next.deb", check=check)


def version(host):
    return host.out("dpkg-query", "--show", "--showformat", "${Version} ${Status}", "entrepot")


def master(host):
    return host.show("entrepot-gateway.service", "MainPID")


def in_database(host, statement):
    """Return what *statement* prints of the database, asked of SQLite itself as the daemons' user."""
    script = (
        f"import sqlite3; print(*sqlite3.connect('{STORE}/entrepot.db', isolation_level=None).execute({statement!r}))"
    )
    return host.out("runuser", "-u", "entrepot", "--", "python3", "-c", script)


def schema(host):
    return in_database(host, "SELECT version_num FROM alembic_version").strip("(),'")


def backups(host):
    return sorted(host.out("ls", BACKUPS).split())


@pytest.fixture
def small_store(host):
    """The store has room for what it holds and a little more."""
    used = int(host.out("df", "--output=used", "--block-size=1M", STORE).splitlines()[-1])
    host.run("mount", "-o", f"remount,size={used + 32}m", STORE)
    yield
    host.run("mount", "-o", "remount,size=2g", STORE)


@pytest.fixture
def small_backups(host):
    """Backups go to another file system, which is a small one."""
    host.run("mount", "-t", "tmpfs", "-o", "size=4m", "backups", BACKUPS)
    host.run("chown", "entrepot:entrepot", BACKUPS)
    yield
    host.run("umount", BACKUPS)


@pytest.fixture
def broken(host):
    """Settings that cannot be used."""
    host.write(BROKEN, "[gateway]\nworkerz = 3\n")
    yield
    host.run("rm", BROKEN)


@pytest.fixture
def bad_name(host):
    """A file lies beside the credentials that systemd starts no daemon with."""
    path = "/etc/entrepot/credentials/erp.10:00"
    host.write(path, "secret")
    yield
    host.run("rm", path)


@pytest.fixture
def store_of_root(host):
    """The store is to be in a directory that was made and not given away."""
    host.run("mkdir", "/srv/of-root")
    host.write(BROKEN, "[store]\ndirectory = /srv/of-root\n")
    yield
    host.run("rm", BROKEN)


@pytest.fixture
def no_key(host):
    """The master key was removed by mistake."""
    host.run("mv", KEY, "/srv/master-key")
    yield
    host.run("mv", "/srv/master-key", KEY)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("small_store", f"{STORE} has .* MiB free, .* MiB are needed"),
        ("small_backups", f"{BACKUPS} has .* MiB free, .* MiB are needed"),
        ("no_key", f"{KEY} is not there, .* {STORE} .* from /run/credentials/entrepot-.*.service/master-key"),
        ("broken", f"{BROKEN}:2: .*workerz.*"),
        ("bad_name", "/etc/entrepot/credentials/erp.10:00: systemd starts no daemon .*"),
        ("store_of_root", ".* the user entrepot cannot write /srv/of-root"),
    ],
)
def test_an_upgrade_that_cannot_go_well_is_refused_before_anything_is_unpacked(host, load, request, what, said):
    before = version(host), master(host), schema(host)
    request.getfixturevalue(what)

    done = upgrade(host, check=False)

    load.goes_on()
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("entrepot: ")]
    assert done.returncode != 0
    assert len(told) == 1, done.stdout + done.stderr
    assert re.fullmatch(f"entrepot: not upgraded, and nothing has been changed: .*{said}", told[0])
    assert (version(host), master(host), schema(host)) == before
    assert backups(host) == []


def test_a_store_elsewhere_is_backed_up_before_a_migration_too(host):
    host.run("install", "--directory", "--owner=entrepot", "/srv/elsewhere")
    host.run("dpkg-deb", "--control", "/srv/next.deb", "/srv/scripts")
    host.shell("ENTREPOT_STORE_DIRECTORY=/srv/elsewhere entrepot db upgrade")

    done = host.shell("ENTREPOT_STORE_DIRECTORY=/srv/elsewhere /srv/scripts/preinst upgrade 0.1 0.2")

    assert "entrepot: backed up to /srv/elsewhere/backups/entrepot-" in done.stdout


def test_an_upgrade_with_a_migration_backs_up_first_mends_a_damaged_program_and_fails_no_request(host, load):
    before = schema(host)
    host.run("find", "/usr/lib/entrepot", "-name", "rights.py", "-delete")
    damaged = host.run("entrepot", "check", "--settings-only", check=False).stderr

    upgrade(host)

    load.goes_on()
    assert "this should not have happened (ModuleNotFoundError)" in damaged
    assert host.out("entrepot", "check", "--settings-only") == "the settings are right"
    assert schema(host) == NEXT_SCHEMA
    (name,) = backups(host)
    assert manifest(host, name)["schema"] == before


def test_the_release_before_serves_on_the_schema_of_the_next(host, load):
    host.install("/srv/entrepot.deb", "--allow-downgrades")

    load.goes_on()
    accepted = len(load.accepted)
    host.until(lambda: len(load.accepted) > accepted, "nothing is accepted")
    assert schema(host) == NEXT_SCHEMA
    assert len(backups(host)) == 1


def test_after_a_removal_a_later_release_backs_up_before_it_migrates_and_makes_no_second_master_key(host):
    (first,) = backups(host)
    host.run("systemctl", "stop", "entrepot*")
    host.run("entrepot", "db", "restore", "--keep-tokens", f"{BACKUPS}/{first}")
    before = schema(host)
    host.shell("apt-get -q -y remove entrepot")
    host.run("mv", KEY, "/srv/master-key")

    done = upgrade(host)

    made = host.path(KEY).exists()
    host.run("mv", "/srv/master-key", KEY)
    assert schema(host) == NEXT_SCHEMA
    assert [manifest(host, name)["schema"] for name in backups(host)] == [before, before]
    assert f"entrepot: {KEY} is not there and not made anew" in done.stdout + done.stderr
    assert not made
    host.until(lambda: host.call("GET", "/v1/contacts?limit=1")[0] == 200, "contacts are not served")


def test_a_store_that_is_moved_as_the_page_says_is_served_and_backed_up(host):
    (block,) = blocks("howto/install.rst", "sh")

    host.shell(block.text)

    secret = host.out("entrepot", "client", "secret", "shop", "--label", "moved")
    form = urlencode({"grant_type": "client_credentials", "client_id": "shop", "client_secret": secret})
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    host.until(lambda: host.call("POST", "/oauth/token", form, token=None, **head)[0] == 200, "no token is issued")
    assert host.call("GET", "/v1/contacts?limit=1", token=host.out("entrepot", "token", "issue", "shop"))[0] == 200
    before = len(host.out("ls", "/srv/entrepot/backups").split())
    host.run("systemctl", "start", *(f"entrepot-{name}.service" for name in ("backup", "keys", "retention")))
    assert len(host.out("ls", "/srv/entrepot/backups").split()) == before + 1


def test_a_purge_succeeds_where_the_store_is_mounted_and_a_process_of_the_user_lives_on(host):
    host.run("systemd-run", "-q", "--uid=entrepot", "sleep", "infinity")
    host.run("touch", f"{STORE}/something")

    host.shell("apt-get -q -y purge entrepot")

    assert host.run("dpkg-query", "--show", "entrepot", check=False).returncode == 1
    assert host.out("ls", "-A", STORE) == ""
