"""A throw-away Debian host with systemd as PID 1, what tests do in it, and partners who call it from outside."""

import http.client
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT.parent / "shared" / "host"
DIST = Path(os.environ.get("ENTREPOT_TEST_DIST", ROOT / "dist"))
RELEASES = {"bookworm": "12", "trixie": "13"}
ERP_PORT = 18069
PACKAGE = "entrepot.deb"
NEXT_VERSION = "99.0.0"
ERP_PASSWORD = "nobody-but-the-erp-hears-it"
ERP = """\
import signal
from pathlib import Path
from entrepot.standin.server import StandIn
Path("/srv/erp").mkdir(exist_ok=True)
with StandIn(Path("/srv/erp"), port={port}, password="{password}"):
    signal.pause()
"""
CATALOG = f"""\
upstreams:
  erp: {{kind: odoo, url: "http://127.0.0.1:{ERP_PORT}", database: standin, login: gateway, secret: "credential:erp"}}
endpoints:
  contacts:
    path: /v1/contacts
    upstream: erp
    model: res.partner
    fields: {{name: {{from: name, required: true}}, country: country_id.code}}
    operations: [list, read, create]
    write: queue
    scopes: {{read: contacts.read, write: contacts.write}}
partners:
  azure: {{name: Azure, clients: {{shop: {{scopes: [contacts.read, contacts.write]}}}}}}
"""
_NOT_OURS = (
    "/proc", "/sys", "/dev", "/run", "/tmp", "/srv", "/root",
    "/var/tmp", "/var/log", "/var/cache", "/var/lib/apt", "/var/lib/dpkg",
)  # fmt: skip
# Two runs at once, and the processes of one, shall not meet.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_networks = itertools.count(os.getpid() % 60 * 4 + WORKER % 2, 2)


class Host:
    """A host of *suite* with 8 GB and a network of its own; ``address`` is where it is reached from outside.

    Two at a time differ in *name*. ``secrets`` are what no log may show.
    """

    def __init__(self, suite, name="test"):
        self.suite = suite
        third = next(_networks) % 250
        self.address, gateway = f"10.211.{third}.2", f"10.211.{third}.1"
        hosts = Path(os.environ.get("HOSTS", "/var/tmp/entrepot-hosts"))
        # Two hosts of one name would end each other.
        self.home = hosts / f"{hosts.name}-{name}{WORKER}-{suite}"
        self._environment = {
            **os.environ, "HOST_SUITE": suite, "HOST_HOME": str(self.home), "HOST_NET": "private",
            "HOST_IP": self.address, "HOST_GW": gateway, "HOST_MEM": "8G",
        }  # fmt: skip
        self.token = ""
        self.secrets = [ERP_PASSWORD]

    @staticmethod
    def is_wanted(suite):
        """Tell whether ENTREPOT_TEST_SUITES, by which a run may be kept short, has *suite*."""
        return suite in os.environ.get("ENTREPOT_TEST_SUITES", " ".join(RELEASES)).split()

    def twin(self):
        """Return another host of the same suite, made of the same pristine copy."""
        twin = Host(self.suite, "twin")
        twin.home.mkdir(parents=True, exist_ok=True)
        base = twin.home / "base"
        base.unlink(missing_ok=True)
        base.symlink_to(self.home / "base")
        (twin.home / "base.ok").touch()
        return twin

    def __enter__(self):
        if not TOOLS.is_dir():
            pytest.fail(f"the scripts that boot a host are not in {TOOLS}")
        self._tool("host-up", "--fresh")
        return self

    def __exit__(self, *_):
        self._tool("host-down", "--now", "--quiet")

    # -- commands

    def _tool(self, name, *arguments, check=True, **options):
        done = subprocess.run(
            [TOOLS / name, *arguments], capture_output=True, text=True, check=False, timeout=300,
            env={**self._environment, **options.pop("variables", {})}, **options,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done

    def run(self, *command, check=True, **options):
        """Run *command* as root in the host."""
        return self._tool("host-run", *command, check=check, **options)

    def shell(self, script, *, check=True):
        """Run *script* by the host's shell, with the network of this machine: for what speaks to Debian's mirrors."""
        variables = {"HOST_VIA": "vm"} if "apt-get" in script else {}
        return self.run("sh", "-c", script, check=check, variables=variables)

    def out(self, *command):
        """Return what *command* prints."""
        return self.run(*command).stdout.strip()

    def path(self, path):
        """Return where *path* of the host is on this machine."""
        return self.home / "root" / str(path).lstrip("/")

    def write(self, path, text):
        """Write *text* to *path* of the host."""
        self.path(path).write_text(text, encoding="utf-8")

    def show(self, unit, name):
        """Return the property *name* of *unit*."""
        return self.out("systemctl", "show", "--value", "-p", name, unit)

    def now(self):
        """Return the host's time, for ``journal``: what was said before is stamped with an earlier one."""
        self.run("journalctl", "--sync")
        return self.out("date", "+@%s.%N")

    def journal(self, unit, *, since, only_own=False):
        """Return the messages of *unit* and, unless *only_own* are wanted, of systemd about it."""
        self.run("journalctl", "--sync")
        which = [f"_SYSTEMD_UNIT={unit}.service"] if only_own else ["-u", unit]
        return self.out("journalctl", "-q", "-o", "cat", "--since", since, *which).splitlines()

    def files(self):
        """Return the paths of all files and directories but those of this boot and of what Debian writes by itself."""
        options = [word for path in _NOT_OURS for word in ("-path", path, "-prune", "-o")]
        return set(self.out("find", "/", "-xdev", *options, "-print").splitlines())

    # -- the package

    def bring(self):
        """Put the package that was built for this suite into the host, and return its path there."""
        found = sorted(DIST.glob(f"entrepot_*+deb{RELEASES[self.suite]}_*.deb"), key=lambda path: path.stat().st_mtime)
        assert found, f"there is no package for {self.suite} in {DIST}: make deb"
        shutil.copy(found[-1], self.path(f"/srv/{PACKAGE}"))
        return f"/srv/{PACKAGE}"

    def bring_next(self, change=lambda tree: None):
        """Put a release that is one later into the host, and return its path: the same code by another number.

        *change* is called with the folder of its files, to make more of it another.
        """
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            subprocess.run(["dpkg-deb", "-R", self.path(f"/srv/{PACKAGE}"), tree], check=True)
            control = tree / "DEBIAN/control"
            lines = control.read_text(encoding="utf-8").splitlines(keepends=True)
            changed = [f"Version: {NEXT_VERSION}\n" if line.startswith("Version:") else line for line in lines]
            control.write_text("".join(changed), encoding="utf-8")
            with (tree / "etc/entrepot/entrepot.ini").open("a", encoding="utf-8") as conffile:
                conffile.write("; The next release.\n")
            change(tree)
            place = self.path("/srv/next.deb")
            # As quick as can be: it is not to be small.
            subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "-b", tree, place], check=True)
        return "/srv/next.deb"

    def publish(self, package, repository):
        """Put *package*, a path of the host, into the signed repository of this suite, as `make publish` makes it."""
        with tempfile.TemporaryDirectory() as dist:
            shutil.copy(self.path(package), Path(dist) / f"entrepot_0+deb{RELEASES[self.suite]}_amd64.deb")
            command = [ROOT / "debian" / "publish", repository, dist, self.suite]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self, path=None, *options):
        """Install the package at *path* of the host: the one that was built, if none is named."""
        path = path or self.bring()
        if path == f"/srv/{PACKAGE}":
            self.shell("apt-get -qq -o APT::Update::Error-Mode=any update")
        return self.shell(f"apt-get -q -y {' '.join(options)} install {path}")

    def start_erp(self, password="secret"):
        """Start an ERP in the host, and write the catalog files of a partner who may use it."""
        self.write("/srv/erp.py", ERP.format(port=ERP_PORT, password=password))
        self.run("systemd-run", "--unit=erp", "-q", "/usr/lib/entrepot/bin/python", "/srv/erp.py")
        self.until(lambda: self.out("ss", "-Hltn", f"sport = :{ERP_PORT}"), "the ERP does not start")
        self.write("/etc/entrepot/catalog/catalog.yaml", CATALOG)

    def furnish(self):
        """Start an ERP, and bring into force what a partner needs; keep a token."""
        self.start_erp(ERP_PASSWORD)
        self.write("/etc/entrepot/conf.d/here.ini", f"[gateway]\npublic_url = http://{self.address}:8080\n")
        self.shell(f"echo {ERP_PASSWORD} | install -m 640 -g entrepot /dev/stdin /etc/entrepot/credentials/erp")
        self.run("systemctl", "restart", "entrepot-gateway", "entrepot-portal", "entrepot-courier")
        self.shell("entrepot apply /etc/entrepot/catalog/*.yaml")
        self.token = self.out("entrepot", "token", "issue", "shop")
        self.secrets += [self.token.rpartition(".")[2], self.out("cat", "/etc/entrepot/credentials/master-key")]
        self.until(lambda: self.call("GET", "/v1/contacts?limit=1")[0] == 200, "the catalog is not served")

    # -- from outside

    def call(self, method, target, body=None, *, token="", timeout_s=60.0, **fields):
        """Return status and body of the answer to one request with *token*, else that of the client."""
        connection = http.client.HTTPConnection(self.address, 8080, timeout=timeout_s)
        with closing(connection):
            head = fields if token is None else {"Authorization": f"Bearer {token or self.token}", **fields}
            connection.request(method, target, body, head)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def until(self, claim, otherwise, timeout_s=60.0):
        """Return when *claim* comes true; fail with *otherwise* when it does not."""
        end = time.monotonic() + timeout_s
        while True:
            with suppress(OSError, http.client.HTTPException):
                if claim():
                    return
            assert time.monotonic() < end, otherwise
            time.sleep(0.05)


class Load:
    """Requests from outside on new and on kept connections, reads and writes, one after the other in each thread.

    ``failures`` are those that were not answered with 200 or 202, ``accepted`` the ids of what got a 202.
    """

    def __init__(self, host, threads=4):
        self.host = host
        self.count = 0
        self.slowest_s = 0.0
        self.failures = []
        self.accepted = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._go_on, args=(number,), daemon=True) for number in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, more=100):
        """Return when *more* requests have been answered from now on."""
        wanted = self.count + more
        self.host.until(lambda: self.count + len(self.failures) >= wanted, "the load does not go on")

    def _go_on(self, number):
        connection = None
        for turn in itertools.count():
            if self._ended.is_set():
                break
            begun = time.monotonic()
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self.host.address, 8080, timeout=30)
                status, keeps = self._once(connection, number, turn)
                if status not in {200, 202}:
                    self.failures.append(status)
                if not keeps or number % 2:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
                connection = None
            self.count += 1
            self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
            self._ended.wait(0.005)
        if connection is not None:
            connection.close()

    def _once(self, connection, number, turn):
        head = {"Authorization": f"Bearer {self.host.token}"}
        if turn % 10:
            connection.request("GET", "/v1/contacts?limit=1", headers=head)
        else:
            head |= {"Content-Type": "application/json", "Idempotency-Key": f"{id(self)}-{number}-{turn}"}
            connection.request("POST", "/v1/contacts", b'{"name": "Ada"}', head)
        answer = connection.getresponse()
        answer.read()
        if answer.status == 202:
            self.accepted.append(answer.headers["Location"])
        return answer.status, answer.headers.get("Connection", "").lower() != "close"
