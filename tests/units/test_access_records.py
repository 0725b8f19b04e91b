"""What is written down of requests: by a whole gateway, whose transports are none, into a journal that a test reads."""

import asyncio
import base64
import re
import socket
import time
from functools import partial
from itertools import product

import pytest

from entrepot.catalog.definitions import Catalog, Endpoint, RelayMapping, Upstream
from entrepot.chassis.journal import JournalWriter
from entrepot.chassis.limits import Rate
from entrepot.chassis.lines import LineWriter
from entrepot.chassis.shared import SharedState
from entrepot.errors import UpstreamUnavailable
from entrepot.gateway import accesslog
from entrepot.gateway.accesslog import AccessLog, JournalAccessLog
from entrepot.gateway.exchange import Exchange
from entrepot.gateway.gateway import MOST_FAULTS, Gateway
from entrepot.identity.credential import new_text
from entrepot.identity.keys import Keyring
from entrepot.identity.master import MasterKey
from entrepot.identity.partners import Client, Partner
from entrepot.identity.tokens import issue
from entrepot.settings import load_settings
from entrepot.wire.limits import Limits
from entrepot.wire.server import Server

SHOP = Client("shop", "azure", frozenset({"read"}), Rate(1e6, 1_000_000))


class FakeTransport(asyncio.Transport):
    """Takes what is written; says that it came from loopback."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 40000)})
        self.written = b""

    def write(self, data):
        self.written += data

    def set_write_buffer_limits(self, high=None, low=None):
        """Nothing is buffered."""

    def get_write_buffer_size(self):
        return 0

    def is_closing(self):
        return False

    def pause_reading(self):
        """Nothing is read."""

    def resume_reading(self):
        """Nothing is read."""

    def close(self):
        """Nothing is open."""

    abort = write_eof = close


class Stand:
    """A gateway in this process. The client shop may do nothing at its endpoint, so that nobody asks the upstream."""

    def __init__(self, directory):
        self.directory = directory
        self.settings = load_settings(None, {"ENTREPOT_STORE_DIRECTORY": str(directory)})
        self.loop = asyncio.new_event_loop()
        self.shared = SharedState.open(directory / "shared")
        self.shared.register()
        self.gateway = Gateway(self.settings, self.shared, self.loop, "test")
        endpoint = Endpoint(
            "items", ("/v1/items/{id}",), "up", ("admin",), relay=RelayMapping("/v1/items/{id}", ("GET",))
        )
        upstream = Upstream("up", "http", "http://127.0.0.1:1")
        catalog = Catalog(
            1, {"up": upstream}, {"items": endpoint}, {"azure": Partner("azure", "Azure")}, {"shop": SHOP}
        )
        self.gateway.enforce(self.gateway.prepare(catalog))
        keys = Keyring.open(directory / "keys", MasterKey("auto", directory))
        self.token = issue(
            keys, client=SHOP, scopes=["read"], issuer="entrepot", audience="entrepot", expires_s=60, now=time.time()
        ).token  # fmt: skip
        self.gateway.keyring.refresh()

    def log(self, writer, kind=JournalAccessLog, **settings):
        """Write down by *writer* as *settings* say."""
        names = {f"ENTREPOT_LOG_{name.upper()}": value for name, value in settings.items()}
        self.gateway.access = kind(writer, load_settings(None, names).log)
        return self.gateway.access

    def ask(self, head, body=b""):
        """Send a request on a connection of its own, and return what was answered, as far as it is there."""
        server = Server(self.loop, Limits(), partial(Exchange, self.gateway), self.gateway.clock)
        connection, transport = server.protocol(), FakeTransport()
        connection.connection_made(transport)
        connection.data_received(head + body)
        return transport.written

    def get(self, path, *fields):
        lines = [f"GET {path} HTTP/1.1", "Host: gateway", *fields, "", ""]
        return self.ask("\r\n".join(lines).encode())

    def settle(self):
        """Let what asks the portal find that there is none."""
        while tasks := asyncio.all_tasks(self.loop):
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=5))

    def close(self):
        self.settle()
        self.gateway.close()
        self.shared.close()
        self.loop.close()


@pytest.fixture
def stand(tmp_path):
    (tmp_path / "store").mkdir()
    stand = Stand(tmp_path / "store")
    yield stand
    stand.close()


@pytest.fixture
def journal(tmp_path):
    """A socket as journald's, and a function that returns what came there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(tmp_path / "socket"))
        reader.setblocking(False)

        def entries():
            found = []
            try:
                while True:
                    lines = reader.recv(1 << 16).decode().splitlines()
                    found.append(dict(line.split("=", 1) for line in lines))
            except BlockingIOError:
                return found

        yield tmp_path / "socket", entries


def test_a_request_is_a_record_of_fields(stand, journal):
    path, entries = journal
    stand.log(JournalWriter(path))

    answered = stand.get("/v1/nothing?secret=value", f"Authorization: Bearer {stand.token}")
    stand.gateway.access.flush()

    (entry,) = entries()
    operation_id = re.search(rb"x-request-id: (\S+)", answered)[1].decode()
    assert re.fullmatch(r"\d+\.\d", entry.pop("TOOK_MS"))
    assert re.fullmatch(r"GET /v1/nothing 404 \d+\.\dms endpoint=- client=- source=127\.0\.0\.1", entry.pop("MESSAGE"))
    assert entry == {
        "PRIORITY": "6", "SYSLOG_IDENTIFIER": "entrepot-gateway", "LOGGER": "entrepot.access", "METHOD": "GET",
        "PATH": "/v1/nothing", "STATUS": "404", "ENDPOINT": "-", "CLIENT": "-", "SOURCE": "127.0.0.1",
        "OPERATION_ID": operation_id,
    }  # fmt: skip


def test_a_record_names_client_partner_and_endpoint(stand, journal):
    path, entries = journal
    stand.log(JournalWriter(path))

    stand.get("/v1/items/7", f"Authorization: Bearer {stand.token}")
    stand.get("/transactions/0198-some-id", f"Authorization: Bearer {stand.token}")
    stand.gateway.access.flush()

    names = ("STATUS", "ENDPOINT", "CLIENT", "PARTNER", "TRANSACTION", "PRIORITY")
    assert [tuple(map(entry.get, names)) for entry in entries()] == [
        ("403", "items", "shop", "azure", None, "6"),
        ("404", "-", "shop", "azure", "0198-some-id", "6"),
    ]


def outcomes(log, entries, stand, *requests):
    found = []
    for status, took_s in requests:
        exchange = Exchange(stand.gateway, None)
        exchange.method, exchange.path, exchange.source = b"GET", b"/v1/items/7", "127.0.0.1"
        log.write(exchange, status, took_s)
        log.flush()
        found += [int(entry["STATUS"]) for entry in entries()]
    return found


def test_errors_and_slow_ones_alone(stand, journal):
    path, entries = journal
    log = stand.log(JournalWriter(path), access="errors", access_slow="500ms")

    assert outcomes(log, entries, stand, (200, 0.1), (201, 0.5), (404, 0.0), (304, 0.499), (503, 3.0)) == [
        201,
        404,
        503,
    ]
    assert log.left_out == 0


def test_one_in_so_many_of_the_others(stand, journal):
    path, entries = journal
    log = stand.log(JournalWriter(path), access="sampled", access_sample="10")

    assert outcomes(log, entries, stand, *[(200, 0.1)] * 95, (500, 0.1)) == [200] * 9 + [500]


def test_the_journal_gets_so_many_a_second_and_errors_have_a_share_of_their_own(stand, journal, monkeypatch):
    path, entries = journal
    monkeypatch.setattr(accesslog, "time", lambda: 1_800_000_000.5)
    log = stand.log(JournalWriter(path), access_most="20")

    found = outcomes(log, entries, stand, *[(200, 0.1)] * 100, *[(401, 0.1)] * 100)

    assert (found.count(200), found.count(401)) == (20, 20)
    assert log.left_out == 160
    stand.gateway.metrics.observe(stand.gateway)
    stand.gateway.metrics.observe(stand.gateway)
    assert stand.gateway.metrics._lost_lines.labels("most").value == 160


def test_a_file_gets_all(stand, tmp_path):
    with (tmp_path / "log").open("wb") as file:
        log = stand.log(LineWriter(file.fileno()), AccessLog, access_most="1")
        outcomes(log, list, stand, *[(200, 0.1)] * 700)

    assert (tmp_path / "log").read_bytes().count(b"entrepot.access: GET /v1/items/7 200 100.0ms") == 700


def test_of_very_many_failures_some_lines_are_written_and_the_rest_is_counted(stand, caplog):
    exchange = Exchange(stand.gateway, None)
    exchange.operation_id = b"an-id"
    for second in (100.0, 101.0):
        stand.gateway.clock.wall = second
        for _ in range(MOST_FAULTS + 20):
            stand.gateway.note_fault(exchange, UpstreamUnavailable("erp is left alone"))

    found = [record.getMessage() for record in caplog.records if record.name == "entrepot.gateway.gateway"]
    assert found.count("erp is left alone") == 2 * MOST_FAULTS
    (surplus,) = [record.requests for record in caplog.records if hasattr(record, "requests")]
    assert surplus == 20


PATHS = (
    "/v1/items/7", "/v1/items/{secret}", "/v1/items/7?access_token={secret}", "/{secret}", "/transactions/{secret}",
    "/v1/items/7;{secret}", "/oauth/{secret}", "/v1/items/x%2F{secret}", "/v1/{secret}/items?{secret}={secret}",
    "//{secret}@host/", "http://shop:{secret}@gateway/v1/items/7",
)  # fmt: skip
FIELDS = (
    "Accept: text/plain", "Authorization: Bearer {secret}", "Authorization: Basic {basic}", "Authorization: {secret}",
    "X-Api-Key: {secret}", "X-Request-Id: {secret}", "Cookie: token={secret}", "User-Agent: {secret}",
    "Forwarded: for={secret}", "X-Forwarded-For: {secret}", "traceparent: {secret}", "{secret}: 1",
    "Idempotency-Key: {secret}", "X-HTTP-Method-Override: {secret}", "Host: {secret}", "Transfer-Encoding: {secret}",
    "Content-Length: {secret}", "Expect: {secret}",
)  # fmt: skip


@pytest.fixture(params=[JournalAccessLog, AccessLog])
def written(request, stand, journal, tmp_path):
    """A function that returns what was written down since the last time: in the journal, or in a file."""
    path, entries = journal
    with (tmp_path / "log").open("wb") as file, (tmp_path / "log").open() as lines:
        writer = JournalWriter(path) if request.param is JournalAccessLog else LineWriter(file.fileno())
        log = stand.log(writer, request.param, access_most="1000000")

        def read():
            log.flush()
            return "".join(map(str, entries())) + lines.read()

        yield read


def test_no_secret_stands_in_what_is_written(stand, written, caplog):
    """Tokens, secrets and API keys where they belong, and wherever else somebody may put them."""
    caplog.set_level("DEBUG")
    secrets = [stand.token, new_text("secret")[1], new_text("api-key")[1], f"eos_{'s' * 43}", f"{stand.token}x"]
    everything, count = "", 0
    for secret in secrets:
        basic = base64.b64encode(f"shop:{secret}".encode()).decode()
        values = {"secret": secret, "basic": basic}
        heads = [f"{secret} / HTTP/1.1\r\n\r\n", f"GET / {secret}\r\n\r\n"]
        heads += [
            f"GET {path} HTTP/1.1\r\nHost: gateway\r\n{field}\r\n\r\n".format(**values)
            for path, field in product(PATHS, FIELDS)
        ]
        for head in heads:
            stand.ask(head.encode())
            stand.settle()
            everything += written()
            count += 1

    everything += "".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert everything.count(" source=127.0.0.1") >= count
    for secret in secrets:
        # Not the part of it that is public: of a token what says its kind, of others the key id. A signature may have
        # any number of underscores itself.
        private = secret.rpartition(".")[2] if "." in secret else secret.split("_", 2)[-1]
        for piece in (secret, private, f"shop:{secret}"):
            assert piece not in everything
            assert base64.b64encode(piece.encode()).decode() not in everything
