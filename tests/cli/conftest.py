"""The program as a user runs it: a process, its output and its exit code."""

import subprocess
import sys

import pytest
from program_support import environment, write_settings


@pytest.fixture(scope="session")
def entrepot():
    """Run the program and return its exit code, output and complaints."""

    def run(*arguments, stdin="", cwd=None, **variables):
        command = [sys.executable, "-P", "-m", "entrepot.cli.main", *map(str, arguments)]
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment(**variables),
            cwd=cwd,
        )

    return run


@pytest.fixture
def settings_file(tmp_path):
    """Return a settings file with an empty store beside it."""
    return write_settings(tmp_path)
