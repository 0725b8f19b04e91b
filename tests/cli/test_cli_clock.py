"""A host whose clock is wrong goes by the clock of the database that it shares with others."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from program_support import environment, write_settings
from transactions_support import Ledger

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

CLOCK = Path(__file__).parents[1] / "faults" / "clock"


@pytest.fixture
def settings_file(tmp_path, postgresql_url):
    path = write_settings(tmp_path)
    path.write_text(path.read_text().replace("[store]\n", f"[store]\nurl = {postgresql_url}\n"))
    return path


@pytest.fixture
def ledger(settings_file, postgresql_url):
    ledger = Ledger(settings_file, postgresql_url)
    yield ledger
    ledger.database.close()


@pytest.mark.parametrize("ahead_s", [-900, 900])
def test_a_host_whose_clock_is_wrong_goes_by_that_of_the_database(settings_file, ledger, ahead_s):
    (id_,) = ledger.accept()
    wrong = environment(PYTHONPATH=str(CLOCK), FAULT_CLOCK_AHEAD_S=str(ahead_s))

    def on_host(*arguments):
        command = [sys.executable, "-m", "entrepot.cli.main", "--settings", str(settings_file), *arguments, "--json"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=wrong)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    on = on_host("maintenance", "on", "--until", "10m")
    listed = on_host("transactions", "list", "--newer", "5m")
    status = on_host("status")

    assert on["maintenance"]
    assert ledger.hold().until == pytest.approx(time.time() + 600, abs=30)
    assert [row["id"] for row in listed] == [id_]
    assert status["oldest"] < 60
