"""Puppet in a fresh host: the example environment as it stands, with the package by name from a signed repository."""

import re
import shutil

import pytest
from following import WORK, follow
from hosts import ERP_PORT, ROOT, Host

pytestmark = pytest.mark.host

# Where Debian's Puppet looks for it.
ENVIRONMENT = "/etc/puppet/code/environments/production"
PUPPET = ["puppet-agent", "puppet-module-puppetlabs-stdlib", "hiera-eyaml"]
# What the example leaves to the host: its secrets, and upstreams that refuse at once in a host without a way out.
NODE = """\
entrepot::secrets: {erp: not-to-be-seen, carrier: neither}
entrepot::settings: {gateway: {bind: "0.0.0.0:8080", workers: 1}}
entrepot::upstreams:
  erp: {url: "http://127.0.0.1:9"}
  carrier: {url: "http://127.0.0.1:9"}
entrepot::repository:
  url: file:/srv/repository
  key: |
"""
# An ERP that answers, and an endpoint that a load may go to.
SERVED = f"""\
entrepot::secrets: {{erp: secret, carrier: neither}}
entrepot::settings: {{gateway: {{bind: "0.0.0.0:8080", workers: 1}}}}
entrepot::upstreams:
  erp: {{url: "http://127.0.0.1:{ERP_PORT}", database: standin}}
  carrier: {{url: "http://127.0.0.1:9"}}
entrepot::endpoints:
  contacts:
    path: /v1/contacts
    upstream: erp
    model: res.partner
    fields: {{name: {{from: name, type: char, required: true}}}}
    operations: [list, create]
    write: queue
    scopes: {{read: contacts.read, write: contacts.write}}
    summary: As before.
entrepot::partners:
  loaded: {{company: Loaded, clients: {{load: {{scopes: [contacts.read, contacts.write]}}}}}}
"""
ONE_SUITE = "trixie"
SOCKET = "/etc/systemd/system/entrepot-gateway.socket.d"
MASTER_KEY = "/etc/entrepot/credentials/master-key"
# What an operator has put beside Puppet's files.
HAND = "plans: {hand: {quota: {day: 1}}}\n"


class Run:
    """What a run of Puppet did: its exit code (2: changed, 0: nothing to do, 4 and 6: failed) and what it printed."""

    def __init__(self, done):
        self.code = done.returncode
        self.said = done.stdout + done.stderr


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def host(request, tmp_path_factory):
    """A host with Puppet, the example environment, and a repository: the package is not installed yet."""
    if not Host.is_wanted(request.param):
        pytest.skip("ENTREPOT_TEST_SUITES leaves it out")
    repository = tmp_path_factory.mktemp("published") / "repository"
    with Host(request.param) as host:
        host.publish(host.bring(), repository)
        host.shell(f"apt-get -qq update && apt-get -q -y --no-install-recommends install {' '.join(PUPPET)}")
        shutil.copytree(repository, host.path("/srv/repository"))
        shutil.copytree(ROOT / "puppet" / "control-repo", host.path(ENVIRONMENT))
        shutil.copytree(ROOT / "puppet" / "modules", host.path(f"{ENVIRONMENT}/modules"))
        key = (repository / "entrepot.asc").read_text(encoding="ascii")
        node(host, NODE + "".join(f"    {line}\n" for line in key.splitlines()))
        host.run("puppet", "config", "set", "certname", "host", "--section", "main")
        host.run("mkdir", WORK)
        yield host


def node(host, text):
    host.write(f"{ENVIRONMENT}/data/nodes/host.yaml", text)


def node_text(host):
    return host.path(f"{ENVIRONMENT}/data/nodes/host.yaml").read_text(encoding="utf-8")


def apply(host):
    """Run Puppet once."""
    # apt-get of a first run needs the network of this machine; what else is done does not depend on it.
    return Run(
        host.shell(
            f"puppet apply --color=false --detailed-exitcodes {ENVIRONMENT}/manifests/site.pp # apt-get", check=False
        )
    )


@pytest.fixture
def settled(host):
    """The host after a run that has put everything right; the node's data are put back afterwards, for the next run."""
    before = node_text(host)
    assert apply(host).code in {0, 2}
    yield host
    node(host, before)


@pytest.fixture
def once(host, request):
    """The settled host, for what takes long: in one suite."""
    if host.suite != ONE_SUITE:
        pytest.skip(f"takes long: only in {ONE_SUITE}")
    return request.getfixturevalue("settled")


def serves(host):
    return host.run("curl", "-fsS", "http://127.0.0.1:8080/health/ready", check=False).returncode == 0


def test_the_first_run_installs_and_serves_and_the_second_changes_nothing(host):
    first = apply(host)
    second = apply(host)

    assert (first.code, second.code) == (2, 0), first.said + second.said
    assert "File[/etc/entrepot/catalog" not in second.said
    assert "not-to-be-seen" not in first.said
    assert "neither" not in first.said
    assert "deprecated" not in (first.said + second.said).lower()
    assert serves(host)
    assert host.out("stat", "-c", "%U:%G %a", "/etc/entrepot/credentials/erp") == "root:entrepot 640"
    assert "1 partner" in host.shell("entrepot check /etc/entrepot/catalog/*.yaml").stdout
    assert host.out("systemctl", "is-system-running") == "running"


def test_drift_is_put_right(settled):
    host = settled
    host.shell("echo '; by hand' >>/etc/entrepot/entrepot.ini; rm /etc/entrepot/catalog/plans-small.yaml")
    host.write("/etc/entrepot/catalog/hand.yaml", HAND)
    host.run("entrepot", "apply", "/etc/entrepot/catalog/hand.yaml")
    # A mistake in what goes is none of what comes.
    host.write("/etc/entrepot/conf.d/hand.ini", "[gateway]\nworkerz = 3\n")
    host.run("chmod", "644", "/etc/entrepot/credentials/erp")
    host.run("systemctl", "stop", "entrepot-courier")

    first, second = apply(host), apply(host)

    assert (first.code, second.code) == (2, 0), first.said + second.said
    assert not host.path("/etc/entrepot/conf.d/hand.ini").exists()
    assert "by hand" not in host.path("/etc/entrepot/entrepot.ini").read_text(encoding="utf-8")
    assert "hand" not in host.out("entrepot", "export")
    assert host.path("/etc/entrepot/catalog.before/hand.yaml").read_text(encoding="utf-8") == HAND
    assert host.out("stat", "-c", "%a", "/etc/entrepot/credentials/erp") == "640"
    assert host.out("systemctl", "is-active", "entrepot-courier") == "active"


def test_a_wrong_catalog_fails_the_run_and_the_gateway_goes_on(settled):
    host = settled
    before = host.out("entrepot", "export")
    node(host, node_text(host) + "entrepot::endpoints: {rates: {upstream: carier}}\n")

    first, second = apply(host), apply(host)

    for run in (first, second):
        assert run.code in {4, 6}
        assert "endpoints.rates.upstream: there is no upstream `carier`; did you mean `carrier`?" in run.said
    assert host.out("entrepot", "export") == before
    assert "carier" not in host.shell("cat /etc/entrepot/catalog/*.yaml").stdout
    assert serves(host)


def test_a_wrong_setting_fails_the_run_and_the_gateway_goes_on(settled):
    host = settled
    process = host.show("entrepot-gateway.service", "MainPID")
    by_hand = "[gateway]\nworkers = 3\n"
    host.write("/etc/entrepot/conf.d/hand.ini", by_hand)
    node(host, node_text(host).replace("workers: 1", "workers: 1, max_header: 2KiB, max_target: 4KiB"))

    run = apply(host)

    assert run.code in {4, 6}
    assert "[gateway] max_target must not be larger than max_header" in run.said
    assert "max_header" not in host.path("/etc/entrepot/entrepot.ini").read_text(encoding="utf-8")
    assert host.path("/etc/entrepot/conf.d/hand.ini").read_text(encoding="utf-8") == by_hand
    assert host.show("entrepot-gateway.service", "MainPID") == process
    assert serves(host)


def test_an_address_that_cannot_be_listened_on_fails_the_run_and_all_goes_on_as_it_was_until_it_can(once):
    host = once
    host.run("systemd-run", "-q", "--unit=other", "python3", "-m", "http.server", "--bind", "127.0.0.1", "8090")
    host.until(
        lambda: host.run("curl", "-fsS", "http://127.0.0.1:8090/", check=False).returncode == 0, "nobody is there"
    )
    courier = host.show("entrepot-courier.service", "MainPID")
    wrong = node_text(host).replace("0.0.0.0:8080", "127.0.0.1:8090").replace("workers: 1", "workers: 2")
    node(host, wrong)

    first = apply(host)
    # What a run leaves that is killed on its way; it goes back behind that.
    host.shell(f"cd {SOCKET} && cp -p puppet.conf puppet.before && cp -p puppet.staged puppet.conf")
    second = apply(host)

    for run in (first, second):
        assert run.code in {4, 6}
        assert "[gateway] bind: the socket cannot listen at 127.0.0.1:8090, and goes on where it" in run.said
    assert serves(host)
    assert host.show("entrepot-courier.service", "MainPID") == courier
    host.run("systemctl", "stop", "other")
    assert apply(host).code == 2
    assert host.run("curl", "-fsS", "http://127.0.0.1:8090/health/ready", check=False).returncode == 0
    # It has taken up the settings of the first run, which are as they were since.
    assert host.show("entrepot-courier.service", "MainPID") != courier


def test_a_key_that_does_not_exist_fails_before_anything_is_done(settled):
    host = settled
    node(host, node_text(host).replace("workers: 1", "workers: 1, worker: 2"))

    run = apply(host)

    assert run.code == 1
    assert re.search(r"parameter 'settings'.*unrecognized key 'worker'", run.said)
    assert serves(host)


def test_other_settings_are_taken_by_a_reload_and_other_secrets_by_a_restart_of_the_daemon_alone(settled):
    host = settled
    socket = host.show("entrepot-gateway.socket", "ActiveEnterTimestampMonotonic")
    process = host.show("entrepot-gateway.service", "MainPID")

    node(host, node_text(host).replace("workers: 1", "workers: 2"))
    settings = apply(host)
    reloaded = host.show("entrepot-gateway.service", "MainPID")
    node(host, node_text(host).replace("not-to-be-seen", "another-one"))
    secrets = apply(host)

    assert (settings.code, secrets.code) == (2, 2), settings.said + secrets.said
    assert reloaded == process
    assert host.show("entrepot-gateway.service", "MainPID") != process
    assert host.show("entrepot-gateway.socket", "ActiveEnterTimestampMonotonic") == socket
    assert "another-one" not in secrets.said
    assert serves(host)


def test_settings_that_the_daemons_refuse_hold_them_and_new_secrets_back_until_they_are_right(settled):
    host = settled
    daemons = ("gateway", "courier")
    before = [host.show(f"entrepot-{daemon}.service", "MainPID") for daemon in daemons]
    right = node_text(host).replace("not-to-be-seen", "another-one")
    # Their user may write there; the sandbox of the units does not let them.
    host.run("install", "-d", "-o", "entrepot", "-g", "entrepot", "/srv/elsewhere")
    node(host, right.replace("workers: 1}", "workers: 1}, store: {directory: /srv/elsewhere}"))

    wrong = apply(host)
    held = [host.show(f"entrepot-{daemon}.service", "MainPID") for daemon in daemons]
    node(host, right)
    mended = apply(host)
    # The clock was wrong for a while.
    host.run("touch", "-d", "tomorrow", "/etc/entrepot/credentials/erp")
    again = apply(host)

    assert (wrong.code, mended.code, again.code) == (6, 2, 0), wrong.said + mended.said + again.said
    assert "Job for entrepot-gateway.service failed" in wrong.said
    assert held == before
    for daemon in daemons:
        assert host.out("cat", f"/run/credentials/entrepot-{daemon}.service/entrepot_erp") == "another-one"


def test_settings_may_name_a_secret_that_comes_in_the_same_run(once):
    host = once
    node(host, node_text(host).replace("workers: 1}", "workers: 1}, keys: {master: 'credential:own'}"))
    node(host, node_text(host).replace("neither}", f"neither, own: {host.out('cat', MASTER_KEY)}}}"))

    first, second = apply(host), apply(host)

    assert (first.code, second.code) == (2, 0), first.said + second.said
    host.run("entrepot", "token", "issue", "shop")
    assert serves(host)


@pytest.fixture
def served(host):
    """The host with an ERP and an endpoint over it, and a token for it."""
    if not host.path("/etc/entrepot").exists():
        assert apply(host).code == 2
    host.start_erp()
    before = node_text(host)
    node(host, SERVED + before[before.index("entrepot::repository:") :])
    assert apply(host).code == 2
    host.token = host.out("entrepot", "token", "issue", "load")
    host.until(lambda: host.call("GET", "/v1/contacts?limit=1")[0] == 200, "contacts are not served")
    yield host
    node(host, before)
    host.run("systemctl", "stop", "erp")


def test_what_is_to_be_stopped_stays_away_with_its_sockets_and_timers(once):
    host = once
    units = [f"entrepot-{name}" for name in ("gateway.socket", "courier.service", "backup.timer", "retention.timer")]
    node(host, f"entrepot::service_ensure: stopped\nentrepot::service_enable: false\n{node_text(host)}")

    first, second = apply(host), apply(host)

    assert (first.code, second.code) == (2, 0), first.said + second.said
    assert set(host.run("systemctl", "is-active", *units, check=False).stdout.split()) == {"inactive"}
    assert set(host.run("systemctl", "is-enabled", *units, check=False).stdout.split()) == {"disabled"}


def test_no_request_fails_while_a_run_changes_settings_and_catalog(served, load):
    host = served
    node(host, node_text(host).replace("workers: 1", "workers: 2").replace("As before.", "As after."))

    run = apply(host)

    load.goes_on()
    assert run.code == 2, run.said
    assert "workers = 2" in host.path("/etc/entrepot/entrepot.ini").read_text(encoding="utf-8")
    assert "As after." in host.out("entrepot", "export")


def test_the_page_leads_to_secrets_that_stand_encrypted_in_hiera(host):
    host.write("/root/erp-password", "shown-by-nobody\n")
    node(host, node_text(host).replace("erp: not-to-be-seen, ", ""))

    printed = follow(host, "puppet")

    assert host.path("/etc/entrepot/credentials/erp").read_text(encoding="utf-8") == "shown-by-nobody\n"
    assert "shown-by-nobody" not in "".join(printed)
    assert "shown-by-nobody" not in host.path(f"{ENVIRONMENT}/data/secrets.eyaml").read_text(encoding="utf-8")
