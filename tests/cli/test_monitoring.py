"""``entrepot-check`` against servers that answer as a gateway does, and against none."""

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from entrepot.chassis.metrics import CONTENT_TYPE
from entrepot.cli.monitoring import CRITICAL, OK, PORTAL_PAGE, UNKNOWN, WARNING, main
from ports import held_port

HANGS = 0
WELL = """\
# TYPE entrepot_couriers gauge
entrepot_couriers 1.0
# TYPE entrepot_backlog gauge
entrepot_backlog{upstream="erp"} 3.0
entrepot_backlog{upstream="carrier"} 4.0
# TYPE entrepot_upstream_up gauge
entrepot_upstream_up{upstream="erp"} 1.0
# TYPE entrepot_breaker_open gauge
entrepot_breaker_open{upstream="erp"} 0.0
# TYPE entrepot_upstream_calls gauge
entrepot_upstream_calls{upstream="erp"} 2.0
# TYPE entrepot_catalog_revision gauge
entrepot_catalog_revision 12.0
# TYPE entrepot_connections gauge
entrepot_connections 5.0
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_count{handler="orders",method="GET",status="200"} 40.0
http_request_duration_seconds_count{handler="orders",method="GET",status="499"} 1.0
http_request_duration_seconds_count{handler="orders",method="GET",status="503"} 2.0
"""


@contextmanager
def gateway(metrics=WELL, ready=200, shown=200, portal=200):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            pages = {"/health/ready": (ready, "{}"), "/metrics": (shown, metrics), PORTAL_PAGE: (portal, "{}")}
            status, page = pages[self.path]
            if status == HANGS:
                self.close_connection = not self.rfile.read(1)
                return
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def said(capsys):
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    return line.strip().partition(" | ")


def test_all_is_well(capsys):
    with gateway() as url:
        assert main(["--url", url]) == OK

    text, _, figures = said(capsys)
    assert text == "ENTREPOT OK - 7 transactions wait, revision 12 is in force"
    time, *others = figures.split(" ", 1)
    assert re.fullmatch(r"time=\d+\.\d+\S*", time)
    assert others == ["connections=5;;;0 requests=43c;;;0 errors=2c;;;0 backlog=7;1000;10000;0 'calls erp'=2;;;0"]


@pytest.mark.parametrize(
    ("changed", "state", "text"),
    [
        (('up{upstream="erp"} 1', 'up{upstream="erp"} 0'), WARNING, "away: erp"),
        (('open{upstream="erp"} 0', 'open{upstream="erp"} 1'), WARNING, "away: erp"),
        (("# TYPE entrepot_couriers gauge\nentrepot_couriers 1.0\n", ""), CRITICAL,
         "no courier runs on this host: nothing that was accepted is delivered"),
        (('"carrier"} 4.0', '"carrier"} 97.0'), WARNING, "100 transactions wait"),
        (('"carrier"} 4.0', '"carrier"} 997.0'), CRITICAL, "1000 transactions wait"),
        (("entrepot_connections 5.0", "entrepot_connections 5.0\nentrepot_limits_unenforced 3.0"), WARNING,
         "3 limits of clients are not enforced"),
        (("# TYPE entrepot_couriers gauge\nentrepot_couriers 1.0", "entrepot_store_away 1.0"), CRITICAL,
         "the database is away: nothing is accepted, issued or delivered"),
        (("entrepot_connections 5.0", "entrepot_store_full 1.0"), CRITICAL,
         "the disk of the store is full: nothing is accepted, no token is issued"),
        (("entrepot_connections 5.0", "entrepot_master_key_unusable 1.0"), CRITICAL,
         "the master key cannot be used: no token is issued, no secret or API key checked"),
        (("entrepot_connections 5.0", 'entrepot_settings_refused{daemon="portal"} 1.0'), WARNING,
         "a daemon goes on with the settings of before: entrepot check --settings-only says why"),
        (("entrepot_connections 5.0", "entrepot_backup_age_seconds 133200.0"), WARNING,
         "no backup was made for 37 hours"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_else(capsys, changed, state, text):
    with gateway(WELL.replace(*changed)) as url:
        assert main(["--url", url, "-w", "100", "-c", "1000"]) == state

    assert said(capsys)[0].partition(" - ")[2] == text


def test_the_worst_stands_first(capsys):
    page = WELL.replace('up{upstream="erp"} 1', 'up{upstream="erp"} 0').replace("couriers 1", "couriers 0")

    with gateway(page) as url:
        assert main(["--url", url]) == CRITICAL

    assert said(capsys)[0].startswith("ENTREPOT CRITICAL - no courier runs")


def test_a_host_that_makes_no_backups_may_be_well(capsys):
    with gateway(f"{WELL}entrepot_backup_age_seconds 1e9\n") as url:
        assert main(["--url", url, "--no-backup"]) == OK


def test_a_host_that_has_no_courier_may_be_well(capsys):
    with gateway(WELL.replace("couriers 1", "couriers 0")) as url:
        assert main(["--url", url, "--no-courier"]) == OK

    assert said(capsys)[0].startswith("ENTREPOT OK")


def test_a_portal_that_hangs_takes_nothing_away_from_what_else_is_said(capsys):
    with gateway(portal=HANGS) as url:
        assert main(["--url", url, "-t", "2"]) == CRITICAL

    text, _, figures = said(capsys)
    assert re.fullmatch(r"ENTREPOT CRITICAL - the portal issues no token: no answer from \S+ in 2 s", text)
    assert "backlog=7" in figures


def test_a_host_that_has_no_portal_may_be_well(capsys):
    with gateway(portal=503) as url:
        assert main(["--url", url, "--no-portal"]) == OK


@pytest.mark.parametrize(
    ("answers", "state", "text"),
    [
        ({"portal": 503}, CRITICAL, "the portal issues no token: /.well-known/jwks.json is answered with 503"),
        ({"ready": 503}, CRITICAL, "no catalog in force"),
        ({"ready": 404}, CRITICAL, "is this the gateway?"),
        ({"shown": 404}, UNKNOWN, "[metrics] allow must have this host's address"),
        ({"metrics": "entrepot_backlog{"}, UNKNOWN, "/metrics is not what the gateway writes"),
    ],
)
def test_other_answers(capsys, answers, state, text):
    with gateway(**answers) as url:
        assert main(["--url", url]) == state

    assert text in said(capsys)[0]


def test_no_answer_is_critical(capsys):
    port = held_port()

    assert main(["--url", f"http://127.0.0.1:{port}"]) == CRITICAL

    assert said(capsys)[0] == f"ENTREPOT CRITICAL - no answer from 127.0.0.1:{port}: Connection refused"


@pytest.mark.parametrize(
    "arguments",
    [["--url", "https://127.0.0.1:1"], ["--url", "http://127.0.0.1:1/x"], ["--url", "http://127.0.0.1:x"], ["-w", "-1"],
     ["-w", "many"], ["-w", "2", "-c", "1"], ["-t", "0"], ["-t", "soon"], ["--what"], ["a\n|b"]],
)  # fmt: skip
def test_wrong_usage_is_unknown_and_not_critical(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)

    assert stop.value.code == UNKNOWN
    told = capsys.readouterr()
    assert told.out.startswith("ENTREPOT UNKNOWN - ")
    assert (told.out.count("\n"), told.out.count("|"), told.err) == (1, 0, "")


@pytest.mark.parametrize(("argument", "text"), [("-V", "entrepot-check 0."), ("--version", "entrepot-check 0."),
                                                ("--help", "usage: entrepot-check ")])  # fmt: skip
def test_version_and_help_are_no_news_of_the_gateway(capsys, argument, text):
    with pytest.raises(SystemExit) as stop:
        main([argument])

    told = capsys.readouterr()
    assert stop.value.code == UNKNOWN
    assert told.out.startswith(text)
    assert told.err == ""
