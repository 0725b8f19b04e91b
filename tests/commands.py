"""The program ``entrepot`` as processes that need no imports: forks of one that has done them.

Imports are nine parts in ten of what a command takes, and half of what a daemon takes to start. Here one process does
them once and forks itself: each fork has its own arguments, environment, directory, files and exit code, as if it had
been started. How the program itself comes up is seen in ``tests/cli/test_cli_forms.py``.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

PATIENCE_S = 60
LONGEST = 1 << 20


class Running:
    """A fork that runs, with the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, arguments, minder):
        self.args = arguments
        self.returncode = None
        self._minder = minder
        self.pid = self._heard(PATIENCE_S)

    def poll(self):
        """Return its exit code, or None while it runs."""
        return self._wait(0)

    def wait(self, timeout=None):
        """Return its exit code. Raises TimeoutExpired."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def send_signal(self, number):
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            # It may end just now.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self):
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self):
        """End it."""
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout):
        if self.returncode is None:
            self.returncode = self._heard(timeout)
            if self.returncode is not None:
                self._minder.close()
        return self.returncode

    def _heard(self, timeout):
        ready, _, _ = select.select([self._minder], [], [], timeout)
        return int(self._minder.recv(16)) if ready else None


def start(*arguments, output, given=None, cwd=None, env=None, complaints=None):
    """Start the program with *arguments*; *given*, *output* and *complaints* are its three files.

    Without *given* there is nothing to read; complaints go where the output goes, unless *complaints* is given.
    """
    words = [str(one) for one in arguments]
    environment = dict(os.environ if env is None else env)
    asked = {"arguments": words, "cwd": str(cwd or Path.cwd()), "environment": environment}
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, Path(os.devnull).open("rb") as nothing:
        files = [given or nothing, output, complaints or output, its]
        socket.send_fds(_server(), [json.dumps(asked).encode()], [one.fileno() for one in files])
    return Running(words, ours)


def run(*arguments, stdin="", cwd=None, env=None):
    """Run the program with *arguments*, and return exit code, output and complaints as ``subprocess.run`` does."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        given.write(stdin.encode())
        given.seek(0)
        running = start(*arguments, given=given, output=said, complaints=complained, cwd=cwd, env=env)
        try:
            code = running.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
        said.seek(0)
        complained.seek(0)
        return subprocess.CompletedProcess(running.args, code, said.read().decode(), complained.read().decode())


@cache
def _server():
    """Return the connection to the process that forks; it ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen([sys.executable, "-P", __file__, str(its.fileno())], pass_fds=[its.fileno()])

    def end():
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _serve(connection):
    """Fork for each command that *connection* asks for. Returns in each fork, too: with its exit code."""
    from entrepot import cli  # noqa: PLC0415 - this process alone has them all

    heavy = [
        "alembic.command", "sqlalchemy.dialects.sqlite", "entrepot.services", "entrepot.declarative.apply",
        "entrepot.daemons.gateway",
    ]  # fmt: skip
    for name in [*(module.name for module in pkgutil.iter_modules(cli.__path__, "entrepot.cli.")), *heavy]:
        importlib.import_module(name)
    gc.freeze()
    while True:
        message, files, _, _ = socket.recv_fds(connection, LONGEST, 4)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not message:
            return 0
        if os.fork() == 0:
            connection.close()
            return _mind(json.loads(message), files)
        for file in files:
            os.close(file)


def _mind(asked, files):
    """Tell the last of *files* the id of the process that does what was *asked*, and its exit code."""
    from entrepot.cli.main import main  # noqa: PLC0415 - see above

    *files, told = files
    pid = os.fork()
    if pid == 0:
        os.close(told)
        _become(asked, files)
        return main()
    for file in (*files, 0, 1, 2):
        os.close(file)
    os.write(told, b"%d" % pid)
    os.write(told, b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _become(asked, files):
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv[1:] = asked["arguments"]


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asking:
        sys.exit(_serve(asking))
