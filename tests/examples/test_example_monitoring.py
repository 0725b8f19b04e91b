"""The examples for Prometheus as they stand, and ``entrepot-check``, against a real gateway."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from example_gateway import process, wait_until
from ruamel.yaml import YAML

from ports import held_port

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
METRICS_PAGE = EXAMPLES.parent / "reference" / "metrics.rst"
PROMTOOL = "/usr/bin/promtool"


def promtool(*arguments, text=None):
    done = subprocess.run(
        [PROMTOOL, *arguments], capture_output=True, text=True, check=False, timeout=60, input=text
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_page_of_metrics_without_complaint(gateway):
    status, page = gateway.get("/metrics")

    assert status == 200
    promtool("check", "metrics", text=page)


def test_prometheus_takes_the_configuration_and_the_alerts():
    promtool("check", "config", str(EXAMPLES / "prometheus.yml"))
    promtool("check", "rules", str(EXAMPLES / "entrepot.rules.yml"))


def test_every_alert_is_about_metrics_that_there_are():
    text = METRICS_PAGE.read_text(encoding="utf-8")
    rules = YAML(typ="safe").load(EXAMPLES / "entrepot.rules.yml")["groups"][0]["rules"]

    used = {name for rule in rules for name in re.findall(r"\b(?:entrepot|http)_\w+", rule["expr"])}

    assert len(used) > 8
    assert [name for name in used if f"``{name.removesuffix('_count')}" not in text] == []


def test_prometheus_scrapes_the_gateway_and_evaluates_the_alerts(gateway, tmp_path):
    text = (EXAMPLES / "prometheus.yml").read_text(encoding="utf-8")
    text = text.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}").replace("15s", "1s")
    (tmp_path / "prometheus.yml").write_text(f"global: {{evaluation_interval: 1s}}\n{text}")
    (tmp_path / "entrepot.rules.yml").write_text((EXAMPLES / "entrepot.rules.yml").read_text(encoding="utf-8"))
    port = held_port()
    command = [
        "/usr/bin/prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip

    def data(path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", f"/api/v1/{path}")
            answer = connection.getresponse()
            if answer.status == 503:
                raise ConnectionRefusedError("Prometheus starts")
            return json.loads(answer.read())["data"]

    def values(query):
        return [each["value"][1] for each in data(f"query?query={quote(query)}")["result"]]

    def rules():
        return [rule for group in data("rules")["groups"] for rule in group["rules"]]

    def log():
        return (tmp_path / "log").read_text()

    with process(command, tmp_path / "log"):
        wait_until(lambda: values('up{job="entrepot"}') == values("entrepot_couriers") == ["1"], log)
        wait_until(lambda: {rule["health"] for rule in rules()} == {"ok"}, log)
        wait_until(lambda: {rule["state"] for rule in rules() if rule["name"].endswith("Away")} == {"inactive"}, log)


def test_the_check_finds_a_running_gateway_well(gateway):
    program = Path(sys.executable).with_name("entrepot-check")

    def check():
        command = [program, "--url", f"http://127.0.0.1:{gateway.port}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    # The courier writes what it counts once a second.
    wait_until(lambda: check().returncode == 0, lambda: check().stdout)
    said = check().stdout

    assert re.match(r"ENTREPOT OK - 0 transactions wait, revision 1 is in force \| time=\d+\.\d", said), said
    assert "backlog=0;1000;10000;0 'calls echo'=" in said
