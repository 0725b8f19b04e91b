"""The units, beside what the daemons do by their settings."""

from configparser import RawConfigParser
from pathlib import Path

import pytest

from entrepot.daemons.gateway import HEARTBEAT_TIMEOUT_S
from entrepot.settings import load_settings

DEBIAN = Path(__file__).parents[2] / "debian"


@pytest.mark.parametrize("name", ["gateway", "portal", "console", "courier"])
def test_systemd_waits_longer_than_a_daemon_takes_to_stop_or_to_replace_a_worker(name):
    unit = RawConfigParser(strict=False)
    unit.read(DEBIAN / f"entrepot-{name}.service", encoding="utf-8")
    graceful_s = getattr(load_settings(None, {}), name).graceful_timeout_s

    assert unit.getfloat("Service", "TimeoutStopSec") > graceful_s
    assert unit.getfloat("Service", "WatchdogSec") > max(graceful_s, HEARTBEAT_TIMEOUT_S)


def test_only_what_seals_or_checks_gets_the_master_key():
    units = {path.stem.removeprefix("entrepot-"): path.read_text(encoding="utf-8") for path in DEBIAN.glob("*.service")}

    holders = {name for name, text in units.items() if "LoadCredential=master-key:" in text}

    assert holders == {"gateway", "portal", "console", "courier", "keys"}
    assert set(units) - holders == {"backup", "retention"}
