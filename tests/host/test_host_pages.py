"""The how-tos of a host's life, from the installation to the end, whose commands are run as they stand on the pages."""

import json
import shutil

import pytest
import trustme
from following import WORK, follow
from hosts import NEXT_VERSION, PACKAGE, Host

pytestmark = pytest.mark.host


@pytest.fixture(params=["bookworm", "trixie"])
def host(request, tmp_path):
    """A fresh host: a repository with the package is at http://apt.example.com/entrepot."""
    if not Host.is_wanted(request.param):
        pytest.skip("ENTREPOT_TEST_SUITES leaves it out")
    with Host(request.param) as host:
        host.shell("apt-get -qq update && apt-get -qq -y install jq")
        host.before = host.files()
        host.path("/etc/apt/apt.conf.d/assent").write_text('APT::Get::Assume-Yes "true";\n', encoding="ascii")
        host.run("mkdir", "-p", WORK)
        host.bring()
        publish(host, f"/srv/{PACKAGE}", tmp_path)
        shutil.copy(tmp_path / "repository" / "entrepot.asc", host.path(WORK))
        host.shell(f"echo {host.address} apt.example.com >>/etc/hosts")
        host.run("systemd-run", "-q", "--unit=apt", "python3", "-m", "http.server", "--directory", "/srv/apt", "80")
        key = "http://apt.example.com/entrepot/entrepot.asc"
        host.until(lambda: host.run("curl", "-fsS", key, check=False).returncode == 0, "there is no repository")
        host.write(f"{WORK}/erp-password", "secret\n")
        yield host


def publish(host, package, folder):
    """Bring *package*, a path of the host, into the repository that is kept in *folder* and served by the host."""
    host.publish(package, folder / "repository")
    shutil.copytree(folder / "repository", host.path("/srv/apt/entrepot"), dirs_exist_ok=True)


def certify(host):
    """Lay a certificate of a private CA ready in the host, with its key and the CA's root."""
    authority = trustme.CA()
    issued = authority.issue_cert("api.example.com")
    for name, blobs in {
        "root.pem": [authority.cert_pem],
        "api.example.com.pem": issued.cert_chain_pems,
        "api.example.com.key": [issued.private_key_pem],
    }.items():
        host.path(f"{WORK}/{name}").write_bytes(b"".join(blob.bytes() for blob in blobs))


def accept(host, count):
    """Let so many writes of the page's client be accepted, which are not delivered yet."""
    for number in range(count):
        accepted = host.shell(
            "curl -fsS -X POST http://127.0.0.1:8080/v1/contacts -H 'Content-Type: application/json' "
            f"-H 'Authorization: Bearer '$(cat {WORK}/token) -H 'Idempotency-Key: {number}' -d '{{\"name\": \"Ada\"}}'"
        )
        assert json.loads(accepted.stdout)["data"]["state"] == "queued"


def test_the_how_tos_lead_from_the_installation_to_a_host_without_a_trace(host, tmp_path):
    follow(host, "install")
    host.start_erp()

    follow(host, "configure")
    # Metrics are written once a second.
    host.until(
        lambda: "revision 1" in host.run("entrepot-check", check=False).stdout, "no metrics tell of the revision"
    )
    follow(host, "monitor")
    follow(host, "size")

    host.run("entrepot", "maintenance", "on")
    accept(host, 2)
    follow(host, "back-up")
    host.run("entrepot", "maintenance", "off")

    publish(host, host.bring_next(), tmp_path)
    assert f"entrepot\t{NEXT_VERSION}\n" in follow(host, "upgrade")

    # tests/examples has the proxies of Debian 12.
    if host.suite == "trixie":
        certify(host)
        # It is where nginx wants to listen.
        host.run("systemctl", "stop", "apt")
        follow(host, "proxy")

    host.until(lambda: host.out("entrepot", "status", "--json").find('"backlog": 0') > 0, "what waits is not delivered")
    follow(host, "uninstall")
    left = [path for path in host.files() - host.before if "entrepot" in path]
    assert [path for path in left if not path.startswith(("/etc/nginx/", "/etc/ssl/"))] == []
