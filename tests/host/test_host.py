"""The package in a host: units, sandbox, reload, restart, upgrade, and what becomes of it when something is wrong."""

import json
import shutil
import signal
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

import pytest
from hosts import CATALOG, ERP_PASSWORD, Load

pytestmark = pytest.mark.host

SERVICES = ("gateway", "portal", "console", "courier")
MASTERS = ("gateway", "portal", "console")
TIMERS = ("backup", "keys", "retention")
MOST_EXPOSED = 1.5
HERE = "/etc/entrepot/conf.d/here.ini"
BROKEN = "/etc/entrepot/conf.d/zz-broken.ini"
STORE = "/var/lib/entrepot"
BACKUPS = f"{STORE}/backups"
# What takes long, and depends on no release of Debian, is done in one.
ONE_SUITE = "trixie"


def services(*names):
    return [f"entrepot-{name}.service" for name in names or SERVICES]


def pid(host, unit="entrepot-gateway"):
    return int(host.show(f"{unit}.service", "MainPID"))


def workers(host, unit="entrepot-gateway"):
    found = host.run("cat", f"/proc/{pid(host, unit)}/task/{pid(host, unit)}/children", check=False)
    return [int(each) for each in found.stdout.split()]


def write(host):
    """Ask for a contact, and return the status and what the answer holds."""
    head = {"Content-Type": "application/json", "Idempotency-Key": str(uuid4())}
    status, body = host.call("POST", "/v1/contacts", b'{"name": "Ada"}', **head)
    return status, json.loads(body)


def state(host, place):
    """Return the state of the transaction at *place*, a URL."""
    status, body = host.call("GET", urlsplit(place).path)
    return json.loads(body)["data"]["state"] if status == 200 else status


def assert_delivered(host, places):
    for place in places:
        host.until(lambda place=place: state(host, place) == "delivered", f"{place} is not delivered")


@pytest.fixture
def once(host):
    """For what is done in one suite."""
    if host.suite != ONE_SUITE:
        pytest.skip(f"takes long: only in {ONE_SUITE}")


# -- as installed


def test_every_unit_is_up(host):
    states = host.out("systemctl", "is-active", *services(), "entrepot.target")

    assert states.split() == ["active"] * 5
    assert host.out("systemctl", "is-system-running") == "running"


def test_every_timer_waits_for_its_hour_and_its_work_succeeds(host):
    for name in TIMERS:
        assert host.out("systemctl", "is-active", f"entrepot-{name}.timer") == "active"
        host.run("systemctl", "start", f"entrepot-{name}.service")

    assert host.out("ls", BACKUPS)


def test_the_last_seven_backups_are_kept(host):
    older = [f"{BACKUPS}/entrepot-2020010{day}T000000Z.tar" for day in range(1, 8)]
    host.run("touch", *older)

    host.run("systemctl", "start", "entrepot-backup.service")

    kept = host.out("ls", BACKUPS).split()
    host.run("rm", *older[1:], check=False)
    assert len(kept) == 7
    assert "entrepot-20200101T000000Z.tar" not in kept


def test_the_target_stops_all_and_starts_all_again(host):
    units = [*services(), *(f"entrepot-{name}.timer" for name in TIMERS)]

    def states():
        return set(host.run("systemctl", "is-active", *units, check=False).stdout.split())

    # systemctl waits for the target alone, and not for what it takes along.
    host.run("systemctl", "stop", "entrepot.target")
    host.until(lambda: states() == {"inactive"}, "something runs on")

    host.run("systemctl", "start", "entrepot.target")
    host.until(lambda: states() == {"active"}, "something stays away")
    host.until(lambda: host.call("GET", "/v1/contacts?limit=1")[0] == 200, "contacts are not served")


def test_no_unit_is_more_exposed_than_it_must_be(host):
    for unit in (*services(), *services(*TIMERS)):
        verdict = host.out("systemd-analyze", "security", "--no-pager", unit).splitlines()[-1]
        assert float(verdict.rpartition(":")[2].split()[0]) <= MOST_EXPOSED, verdict


def test_units_are_as_systemd_wants_them(host):
    done = host.run(
        "systemd-analyze", "verify", "--man=no", *services(), *services(*TIMERS), "entrepot.target", check=False
    )

    assert [line for line in done.stderr.splitlines() if "entrepot" in line] == []


def test_the_limits_of_all_units_fit_a_host_with_8_gb(host):
    daemons = [int(host.show(unit, "MemoryMax")) for unit in services()]
    once_a_day = [int(host.show(unit, "MemoryMax")) for unit in services(*TIMERS)]

    assert sum(daemons) <= 6 << 30
    assert max(once_a_day) <= 512 << 20
    assert sum(daemons + once_a_day) < 8 << 30


def test_commands_and_daemons_share_one_state_whatever_boot_they_see(host):
    daemons = [*workers(host), pid(host, "entrepot-courier")]

    host.run("entrepot", "token", "issue", "shop")

    for daemon in daemons:
        mapped = host.out("grep", f"{STORE}/shared", f"/proc/{daemon}/maps")
        assert "(deleted)" not in mapped


def test_the_processes_see_no_secret_but_their_own(host):
    for unit in services("gateway", "portal"):
        master = host.show(unit, "MainPID")
        seen = host.run("nsenter", "-t", master, "-m", "ls", "/etc/entrepot/credentials", check=False)
        owner = host.out("stat", "-c", "%U", f"/proc/{master}")

        assert "master-key" not in seen.stdout
        assert owner == "entrepot"


def test_a_request_from_outside_is_answered_by_the_erp(host):
    status, body = host.call("GET", "/v1/contacts?limit=1")

    assert status == 200
    assert json.loads(body)["data"]


def test_a_program_gets_its_token_through_gateway_and_portal(host):
    secret = host.out("entrepot", "client", "secret", "shop", "--label", "test")
    host.secrets.append(secret)
    form = urlencode({"grant_type": "client_credentials", "client_id": "shop", "client_secret": secret})

    status, body = host.call(
        "POST", "/oauth/token", form, token=None, **{"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert status == 200, body


def test_the_manual_page_and_the_completion_are_there(host):
    assert host.path("/usr/share/man/man1/entrepot.1.gz").exists()
    script = (
        ". /usr/share/bash-completion/completions/entrepot; "
        "COMP_WORDS=(entrepot token re); COMP_CWORD=2; _entrepot 2>/dev/null; echo ${COMPREPLY[@]}; "
        "COMP_WORDS=(entrepot transactions list --state de); COMP_CWORD=4; _entrepot 2>/dev/null; echo ${COMPREPLY[@]}"
    )
    assert host.out("bash", "-c", script).split() == ["revoke", "dead", "delivered"]


# -- changes under load


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_no_request_fails_while_the_gateway_is_renewed(host, load, how):
    before = workers(host)

    for _ in range(3):
        host.run("systemctl", how, "entrepot-gateway")
        load.goes_on()

    host.until(lambda: workers(host) and not set(workers(host)) & set(before), "the workers are those of before")


@pytest.mark.parametrize("name", ["portal", "console", "courier"])
def test_no_request_fails_while_another_unit_is_restarted(host, load, name):
    host.run("systemctl", "restart", f"entrepot-{name}")
    load.goes_on()


def test_no_request_fails_while_workers_come_and_go(host, load):
    for number in (signal.SIGTTIN, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTTOU):
        host.run("kill", f"-{int(number)}", str(pid(host)))
        load.goes_on()


def test_no_request_fails_while_the_catalog_changes(host, load):
    host.write("/etc/entrepot/catalog/catalog.yaml", CATALOG.replace("name: Azure", "name: Lazur"))

    applied = json.loads(host.shell("entrepot apply --json /etc/entrepot/catalog/*.yaml").stdout)

    served = f"serves revision {applied['revision']}"
    host.until(lambda: served in host.out("entrepot", "status"), f"nobody {served}")
    load.goes_on()


def test_what_was_accepted_meanwhile_is_delivered(host, load):
    host.run("systemctl", "restart", "entrepot-gateway", "entrepot-courier", "entrepot-portal")
    load.goes_on()
    host.until(lambda: load.accepted, "nothing is accepted")

    assert_delivered(host, list(load.accepted))


def test_nine_workers_under_load_leave_most_of_8_gb_to_others(host, load):
    more = "/etc/entrepot/conf.d/more.ini"
    host.write(more, "[gateway]\nworkers = 9\n")

    def serve(number):
        host.run("systemctl", "reload", "entrepot-gateway")
        status = f"{number} of {number} workers serve"
        host.until(lambda: host.show("entrepot-gateway.service", "StatusText") == status, f"not {status}")
        load.goes_on(300)

    before = len(workers(host))
    try:
        serve(9)
        used = sum(int(host.show(unit, "MemoryCurrent")) for unit in services())
    finally:
        host.run("rm", more)
    serve(before)

    assert used < 2 << 30


def test_a_request_is_found_in_the_journal_by_whatever_is_known_of_it(host):
    since = host.now()
    status, body = write(host)
    operation, transaction = body["meta"]["operation_id"], body["data"]["transaction"]
    known = {
        "OPERATION_ID": operation, "PARTNER": "azure", "CLIENT": "shop", "ENDPOINT": "contacts",
        "STATUS": status, "TRANSACTION": transaction,
    }  # fmt: skip

    def found(name, value):
        said = host.out("journalctl", "-q", "-u", "entrepot-gateway", "--since", since, "-o", "json", f"{name}={value}")
        return [line for line in said.splitlines() if json.loads(line).get("OPERATION_ID") == operation]

    host.until(lambda: all(found(name, value) for name, value in known.items()), "it is not found")
    assert not found("STATUS", 404)


# -- what is wrong does no harm


@pytest.fixture
def broken(host):
    """Settings that cannot be used; they are right again afterwards."""
    host.write(BROKEN, "[gateway]\nworkerz = 3\n")
    yield "workerz"
    host.run("rm", "-f", BROKEN)
    host.run("systemctl", "restart", *services())


@pytest.mark.parametrize("name", MASTERS)
def test_a_reload_of_broken_settings_fails_and_all_goes_on(host, load, broken, name):
    before = pid(host, f"entrepot-{name}"), workers(host, f"entrepot-{name}")
    since = host.now()

    done = host.run("systemctl", "reload", f"entrepot-{name}", check=False)

    load.goes_on()
    assert done.returncode == 1
    assert (pid(host, f"entrepot-{name}"), workers(host, f"entrepot-{name}")) == before
    assert len([line for line in host.journal(f"entrepot-{name}", since=since) if broken in line]) == 1


def test_check_tells_root_what_keeps_the_units_from_starting(host):
    key = "/etc/entrepot/credentials/master-key"

    def told(script):
        done = host.shell(f"{script}; entrepot check --settings-only 2>&1", check=False)
        return done.returncode, done.stdout.strip()

    try:
        missing = told(f"mv {key} {key}.away")
        empty = told(f"touch {key}")
    finally:
        host.run("mv", f"{key}.away", key)
    try:
        nowhere = told(f"printf '[store]\\ndirectory = /srv/nowhere\\n' >{BROKEN}")
        of_another_kind = told(f"printf '[store]\\nurl = mysql://u:{ERP_PASSWORD}@db/x\\n' >{BROKEN}")
    finally:
        host.run("rm", "-f", BROKEN)
    right = told("true")

    assert missing == (1, f"the master key {key} is not there: put it back from its backup")
    assert empty == (1, f"the master key {key} ([keys] master) is not 64 hexadecimal digits")
    assert nowhere == (1, "[store] directory: the user entrepot cannot make /srv/nowhere")
    assert of_another_kind[1].startswith(f"{BROKEN}:2: [store] url must be ")
    assert ERP_PASSWORD not in of_another_kind[1]
    assert right == (0, "the settings are right")


def test_a_start_that_cannot_succeed_says_why_in_one_line_and_succeeds_once_it_can(host, broken):
    host.run("systemctl", "stop", "entrepot-gateway")
    since = host.now()

    done = host.run("systemctl", "start", "entrepot-gateway", check=False)
    host.run("systemctl", "stop", "entrepot-gateway")

    told = set(host.journal("entrepot-gateway", since=since, only_own=True))
    assert done.returncode == 1
    assert len(told) == 1
    assert broken in told.pop()
    host.run("rm", BROKEN)
    host.run("systemctl", "start", "entrepot-gateway")
    assert host.call("GET", "/v1/contacts?limit=1")[0] == 200


def test_callers_wait_while_a_gateway_that_cannot_start_is_put_right(host, broken):
    host.run("systemctl", "restart", "entrepot-gateway", check=False)
    host.run("rm", BROKEN)

    assert host.call("GET", "/v1/contacts?limit=1")[0] == 200


def test_a_fault_of_new_workers_leaves_the_old_ones_serving(host, load):
    before, since = workers(host), host.now()
    host.run("mv", "/var/lib/entrepot/shared", "/var/lib/entrepot/shared.away")
    host.run("mkdir", "/var/lib/entrepot/shared")
    try:
        host.run("kill", "-HUP", str(pid(host)))
        host.until(
            lambda: any("goes on as it was" in line for line in host.journal("entrepot-gateway", since=since)),
            "the fault is not told",
        )
        load.goes_on()
        assert set(before) <= set(workers(host))
    finally:
        host.run("rmdir", "/var/lib/entrepot/shared")
        host.run("mv", "/var/lib/entrepot/shared.away", "/var/lib/entrepot/shared")


def test_a_worker_that_is_killed_in_mid_upgrade_is_replaced_by_one_of_the_same_code(host):
    host.run("mv", "/usr/lib/entrepot", "/usr/lib/entrepot.away")
    try:
        for name in MASTERS:
            unit = f"entrepot-{name}"
            before = workers(host, unit)
            host.run("kill", "-KILL", *map(str, before))
            host.until(
                lambda unit=unit, before=before: (
                    len(set(workers(host, unit)) - set(before)) == len(before)
                    and "serve" in host.show(f"{unit}.service", "StatusText")
                ),
                f"no new worker of {unit}",
            )
        host.until(lambda: host.call("GET", "/v1/contacts?limit=1")[0] == 200, "contacts are not served")
        host.until(lambda: host.call("GET", "/.well-known/jwks.json")[0] == 200, "keys are not served")
    finally:
        host.run("mv", "/usr/lib/entrepot.away", "/usr/lib/entrepot")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_that_dies_is_started_again(host, name):
    unit = f"entrepot-{name}"
    before = pid(host, unit)

    host.run("kill", "-KILL", str(before))

    host.until(lambda: pid(host, unit) not in {0, before}, f"{unit} stays dead")
    host.until(lambda: host.show(f"{unit}.service", "ActiveState") == "active", f"{unit} is not ready")


def test_a_worker_that_is_killed_fails_only_what_was_in_flight_on_it(host):
    def connections(worker):
        return host.out("ss", "-Htnp", "state", "established").count(f"pid={worker},")

    with Load(host, threads=8) as load:
        busiest = max(workers(host), key=connections)
        # It takes no more of them from now on.
        host.run("kill", "-STOP", str(busiest))
        held = connections(busiest)
        host.run("kill", "-KILL", str(busiest))
        load.goes_on(300)

    assert 0 < len(load.failures) <= held
    assert all(isinstance(failure, str) for failure in load.failures), load.failures
    assert_delivered(host, load.accepted)


@pytest.fixture
def quick_watchdog(host, once):
    """The gateway's watchdog waits for 5 s instead of 90 s."""
    folder = "/etc/systemd/system/entrepot-gateway.service.d"
    host.run("mkdir", "-p", folder)
    host.write(f"{folder}/quick.conf", "[Service]\nWatchdogSec=5\n")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "entrepot-gateway")
    yield
    host.run("rm", "-r", folder)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", "entrepot-gateway")


def test_a_master_that_hangs_is_started_again_and_nothing_accepted_is_lost(host, quick_watchdog):
    before, unit = pid(host), "entrepot-gateway.service"
    with Load(host) as load:
        host.run("kill", "-STOP", str(before))
        host.until(lambda: pid(host) not in {0, before}, "it hangs on")
        load.goes_on()

    assert host.show(unit, "NRestarts") == "1"
    assert all(isinstance(failure, str) for failure in load.failures), load.failures
    assert_delivered(host, load.accepted)


# -- another host


@pytest.fixture(scope="module")
def twin(host):
    """Another host, onto which a backup of *host* that was made under load is restored as its page says.

    Its store is a file system that can be made smaller; ``accepted`` is what got a 202 before the backup.
    """
    if host.suite != ONE_SUITE:
        pytest.skip(f"takes long: only in {ONE_SUITE}")
    with Load(host) as load:
        host.until(lambda: load.accepted, "nothing is accepted")
        accepted = list(load.accepted)
        host.run("systemctl", "start", "entrepot-backup.service")
        load.goes_on()
    assert load.failures == []
    host.run("tar", "-C", "/", "-cf", "/srv/etc.tar", "etc/entrepot")
    with host.twin() as twin:
        twin.accepted, twin.token = accepted, host.token
        twin.run("mkdir", STORE)
        twin.run("mount", "-t", "tmpfs", "-o", "size=1g", "entrepot", STORE)
        twin.install()
        shutil.copy(host.path(f"{BACKUPS}/{host.out('ls', BACKUPS).split()[-1]}"), twin.path("/srv/backup.tar"))
        shutil.copy(host.path("/srv/etc.tar"), twin.path("/srv/etc.tar"))
        twin.run("systemctl", "stop", "entrepot*")
        twin.run("tar", "-C", "/", "-xpf", "/srv/etc.tar")
        twin.start_erp(ERP_PASSWORD)
        twin.write("/etc/entrepot/conf.d/small.ini", "[ledger]\nmin_free = 0\n")
        twin.run("entrepot", "db", "restore", "/srv/backup.tar")
        twin.run("systemctl", "start", "entrepot.target", *services())
        yield twin


def test_a_backup_that_was_made_under_load_is_served_by_another_host(twin):
    refused = twin.call("GET", "/v1/contacts?limit=1")[0]

    twin.run("entrepot", "token", "lift", "--all")

    twin.until(lambda: twin.call("GET", "/v1/contacts?limit=1")[0] == 200, "contacts are not served")
    assert refused == 401
    assert {state(twin, place) for place in twin.accepted} <= {"delivered", "held"}


def test_a_full_disk_refuses_writes_and_nothing_else_until_there_is_room(twin):
    def resize(size):
        twin.run("mount", "-o", f"remount,size={size}", STORE)

    restarts = [twin.show(unit, "NRestarts") for unit in services()]
    accepted, refused = [], []

    def is_refused():
        status, body = write(twin)
        (accepted if status == 202 else refused).append(body)
        return status == 503

    resize(twin.out("df", "--output=used", "-B1", STORE).split()[-1])
    for _ in range(5):
        twin.until(is_refused, "writes are accepted")
        assert twin.call("GET", "/v1/contacts?limit=1")[0] == 200
    resize("1g")

    twin.until(lambda: not is_refused(), "writes are refused")
    assert {body["code"] for body in refused} == {"store-unavailable"}
    assert_delivered(twin, [f"/transactions/{body['data']['transaction']}" for body in accepted])
    assert twin.out("systemctl", "is-active", *services()).split() == ["active"] * 4
    assert [twin.show(unit, "NRestarts") for unit in services()] == restarts


# -- the package


def test_upgrade_and_downgrade_under_load_fail_no_request_and_leave_settings_alone(host, load):
    token = host.token
    host.write("/etc/entrepot/entrepot.ini", "; Edited.\n[log]\nlevel = info\n")
    sockets = host.show("entrepot-gateway.socket", "ActiveEnterTimestampMonotonic")
    backups = host.out("ls", "/var/lib/entrepot/backups")

    for path, *options in ((host.bring_next(),), ("/srv/entrepot.deb", "--allow-downgrades")):
        before = pid(host)
        host.shell(f"apt-get -q -y -o Dpkg::Options::=--force-confold {' '.join(options)} install {path}")
        load.goes_on()
        assert pid(host) != before

    assert host.show("entrepot-gateway.socket", "ActiveEnterTimestampMonotonic") == sockets
    assert host.path("/etc/entrepot/entrepot.ini").read_text(encoding="utf-8").startswith("; Edited.")
    assert host.token == token
    # There was nothing to migrate.
    assert host.out("ls", "/var/lib/entrepot/backups") == backups
    assert host.out("systemctl", "is-active", *services()).split() == ["active"] * 4


def test_nothing_secret_is_in_the_journal(host):
    host.call("GET", f"/v1/contacts?access_token={host.token}")
    host.call("GET", f"/v1/contacts/{host.token}")
    host.run("journalctl", "--sync")
    host.write("/srv/secrets", "\n".join(host.secrets))

    def lines(*which):
        return int(host.shell(f"journalctl -a -o export | grep -acF {' '.join(which)}", check=False).stdout)

    assert lines("LOGGER=entrepot.access") > 0
    assert lines("-f", "/srv/secrets") == 0


def test_remove_keeps_what_purge_takes(fresh, host):
    key = host.path("/etc/entrepot/credentials/master-key").read_text(encoding="ascii")
    host.run("systemctl", "stop", "erp")

    host.shell("apt-get -q -y remove entrepot")
    units = host.out("systemctl", "list-units", "--state=loaded,active,failed", "--no-legend", "--plain", "entrepot*")
    kept = host.path("/etc/entrepot/credentials/master-key").read_text(encoding="ascii")
    store = host.path("/var/lib/entrepot/entrepot.db").exists()
    # As a store has it that began without the package.
    host.run("install", "-o", "entrepot", "-m", "600", "/etc/entrepot/credentials/master-key", f"{STORE}/master.key")
    host.run("rm", "/etc/entrepot/credentials/master-key")
    host.install("/srv/entrepot.deb")
    taken = host.path("/etc/entrepot/credentials/master-key").read_text(encoding="ascii")
    served = host.call("GET", "/health/ready")[0]
    host.run("entrepot", "token", "issue", "shop")
    host.shell("apt-get -q -y purge entrepot")

    assert (units, kept, store, taken, served) == ("", key, True, key, 200)
    left = {path for path in host.files() - fresh.before if "libpq" not in path}
    assert sorted(path for path in left if "entrepot" in path) == []
    assert host.run("getent", "passwd", "entrepot", check=False).returncode == 2
    assert host.out("systemctl", "is-system-running") == "running"
