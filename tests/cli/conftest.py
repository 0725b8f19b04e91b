"""The program as a user runs it: a process, its output and its exit code."""

import subprocess
import sys

import pytest
from demo_support import environment


@pytest.fixture
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
    path = tmp_path / "entrepot.ini"
    (tmp_path / "store").mkdir(mode=0o700)
    path.write_text(
        f"[store]\ndirectory = {tmp_path}/store\n[gateway]\nbind = 127.0.0.1:1\npublic_url = http://127.0.0.1:1\n"
    )
    return path
