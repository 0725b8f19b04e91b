"""A PostgreSQL server of the tests' own, in a directory that goes with it, reached by a socket there."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "entrepot"
# PostgreSQL refuses to run as root.
UNPRIVILEGED = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
START_S = 60


class Server:
    """A server in *directory*, which its user owns. With *sync* what is committed outlives a power cut, as it must."""

    def __init__(self, directory, programs, *, sync):
        self._directory = directory
        self._programs = programs
        self._sync = "on" if sync else "off"
        self._databases = 0
        self._process = None

    def initialise(self):
        options = ["--auth=trust", f"--username={USER}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run([self._programs / "initdb", f"--pgdata={self._directory}/data", *options]).check_returncode()

    def start(self):
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self._directory,
            "fsync": self._sync,
            "max_connections": 60,
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        # It is not to outlive tests that are killed.
        command = ["setpriv", "--pdeathsig=INT", *UNPRIVILEGED, self._programs / "postgres", "-D"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, self._directory / "data", *options],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def stop(self, how=signal.SIGINT):
        """End it: SIGINT breaks off what is open, SIGKILL is a crash."""
        if self._process is not None:
            file = self._directory / "data" / "postmaster.pid"
            lines = file.read_text().splitlines() if how == signal.SIGKILL else []
            self._process.send_signal(how)
            self._process.wait(START_S)
            self._process = None
            if lines:
                _wait_unused(lines[6].split()[1])

    def create(self, options=""):
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.do(f"CREATE DATABASE {name} {options}")
        return f"postgresql+psycopg://{USER}@/{name}?host={self._directory}"

    def drop(self, url):
        self.do(f"DROP DATABASE {_name(url)} WITH (FORCE)")

    def clear(self, url):
        """Make the database as it was when it was created, in a tenth of the time."""
        name = _name(url)
        self.do(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'")
        self.do("DROP SCHEMA public CASCADE", name)
        self.do("CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC", name)
        self.do(f"ALTER DATABASE {name} RESET ALL")

    def do(self, statement, database="postgres"):
        """Run *statement* as the server's superuser and return its rows."""
        with psycopg.connect(host=str(self._directory), user=USER, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def _wait(self):
        until = time.monotonic() + START_S
        while True:
            try:
                self.do("SELECT 1")
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise AssertionError((self._directory / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def _run(self, command):
        as_user = ["setpriv", *UNPRIVILEGED] if UNPRIVILEGED else []
        return subprocess.run([*as_user, *command], cwd="/", check=False, stdout=subprocess.DEVNULL)


def _wait_unused(memory):
    """Return when nobody has the shared *memory* of a server that has ended: no other would start in its place."""
    until = time.monotonic() + START_S
    while any(memory == segment[1] and segment[6] != "0" for segment in _segments()):
        assert time.monotonic() < until, f"a process of the server that was ended has its shared memory {memory} still"
        time.sleep(0.01)


def _segments():
    return [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]


def _name(url):
    return url.partition("@/")[2].partition("?")[0]


@contextmanager
def server(*, sync=False):
    """Give a running server, and remove it afterwards with all that it held."""
    # A socket's name may be 107 bytes long, and the directories of pytest are closed to others.
    directory = Path(tempfile.mkdtemp(prefix="entrepot-pg-", dir="/tmp"))
    if UNPRIVILEGED:
        shutil.chown(directory, "nobody", "nogroup")
    it = Server(directory, programs(), sync=sync)
    try:
        it.initialise()
        it.start()
        yield it
    finally:
        it.stop()
        shutil.rmtree(directory)


def programs():
    """Return the directory of PostgreSQL's programs: Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert places, 'no PostgreSQL server here: apt-get install postgresql, or leave these out by -m "not postgres"'
    return places[-1]
