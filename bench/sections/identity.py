"""``identity``: how soon a revocation ends all access, and what very many clients and revoked tokens cost.

Each part has gateways of its own. Very many clients and revocations are brought in by the functions that ``entrepot
apply`` and the desk work with, without the reading of YAML.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

from sqlalchemy import func, insert, select

from bench import Bench, start_upstream
from children import Children, connections, cpu_s, family, memory_mib
from entrepot.catalog.revisions import Origin, Revision, current, publish, record
from entrepot.identity.partners import Client
from entrepot.identity.refused import Revocation
from entrepot.identity.rows import moment
from entrepot.identity.tokens import MAX_LIFETIME_S, addressee, issue
from entrepot.services import Services
from entrepot.store import identity as tables
from figures import BenchError, Figure, Goal, Result, Table, median
from load import CONNECTIONS, Load, Target, drive, middle, ratio, refuse_bad, take_turns, wrk
from subject import (
    ACTOR,
    CLIENTS,
    SCOPE,
    TOKENS_S,
    Store,
    Subject,
    issue_tokens,
    lay_out,
    partners,
    relays,
    serve,
    start_daemon,
)

WORKERS = 4
USERS = 16
TOKENS = 200
# So many different tokens that a worker just about remembers all of them.
CALLING = 20_000
ENDPOINTS = 10_000
STARTS = 5
# How long ago the very many tokens were revoked.
AGE_S = 7 * 86_400.0
SECRETS = 50
FORM = "application/x-www-form-urlencoded"
_USERS = Path(__file__).parent.with_name("users.py")
_STEP = 50_000
_PLAN = "plans:\n  usual: {rate: {per_second: 1000000, burst: 1000000}}\n"
_ENDING = Goal(1000, 200, upward=False)
_MANY = Goal(0.95, 0.99)
_ISSUED = Goal(300, 1000)
_START = Goal(5, 2, upward=False)


def measure(bench: Bench, result: Result) -> None:
    """Add all figures of identity, one part after the other: each shall have the machine to itself."""
    for part in (_endings, _many, _issued, _starts):
        with Children() as children:
            part(replace(bench, children=children), result)


# -- how soon access ends


def _endings(bench: Bench, result: Result) -> None:
    upstream = start_upstream(bench, cpus="0,1")
    store = lay_out(bench, "endings", relays(upstream.url) + partners(CLIENTS), workers=WORKERS)
    repeats = 3 * bench.rounds
    with store.services() as services:
        leaver, shut, *_ = services.catalog().clients.values()
        secret = services.credentials.make("secret", leaver, actor=ACTOR).text
        tokens = [_token(services, leaver) for _ in range(repeats)]
        subject = serve(bench, store, issue_tokens(services)[2:], cpus="0,1")
        _start_portal(bench, store, subject, cpus="0,1")
        with _users(subject) as users, _load(bench, subject):
            ends = [_ended(users, token, partial(_give_up, subject, leaver.name, secret, token)) for token in tokens]
            token = _token(services, shut)
            shuts = [_shut(services, users, shut, token) for _ in range(repeats)]
    _add_ending(result, "a token's revocation by the portal to its last acceptance", ends)
    _add_ending(result, "a client's disabling to its last acceptance", shuts)


def _add_ending(result: Result, what: str, found: Sequence[tuple[float, float]]) -> None:
    took, asked = ([pair[at] * 1000 for pair in found] for at in (0, 1))
    note = f"worst of {len(took)}; median {median(took):.0f} ms; itself done after {median(asked):.0f} ms"
    result.add(Figure(f"{what}, {WORKERS} workers", max(took), " ms", _ENDING, note))


@contextmanager
def _users(subject: Subject) -> Iterator[subprocess.Popen[str]]:
    """Give a process that uses tokens at every worker."""
    command = ["taskset", "-c", "0,1", sys.executable, str(_USERS), str(subject.port), "/v1/items/1", str(USERS)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        _said(child, "connected")
        time.sleep(0.5)
        if not all(connections(pid, subject.port) for pid in subject.workers):
            raise BenchError("the users are not connected to every worker")
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def _load(bench: Bench, subject: Subject) -> Iterator[None]:
    target = replace(subject.target(), cpus="0,1")
    child = bench.children.start(*wrk(target, 3600), cpus="0,1", log=bench.home / "wrk.log")
    time.sleep(1)
    yield
    if child.poll() is not None:
        raise BenchError(f"wrk has ended: {(bench.home / 'wrk.log').read_text()[-400:]}")
    child.terminate()
    child.wait()


def _said(child: subprocess.Popen[str], wanted: str = "") -> str:
    line = child.stdout.readline().strip() if child.stdout else ""
    if not line or (wanted and line != wanted):
        raise BenchError(f"users.py said {line!r}, not {wanted!r}")
    return line


def _ended(users: subprocess.Popen[str], token: str, end: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds from when *end* was done to the last acceptance of *token*, and those that *end* took."""
    if users.stdin is None:
        raise BenchError("users.py cannot be told")
    users.stdin.write(f"{token}\n")
    users.stdin.flush()
    _said(users, "ready")
    begun = time.monotonic()
    end()
    done = time.monotonic()
    found = json.loads(_said(users))
    if found["others"]:
        raise BenchError(f"{found['others']} answers were neither 200 nor 401")
    return max(0.0, found["last_ok"] - done), done - begun


def _shut(services: Services, users: subprocess.Popen[str], client: Client, token: str) -> tuple[float, float]:
    found = _ended(users, token, lambda: services.callers.disable("client", client.name, actor=ACTOR))
    services.callers.enable("client", client.name, actor=ACTOR)
    return found


def _give_up(subject: Subject, client: str, secret: str, token: str) -> None:
    """Have *token* revoked by its client, over the gateway."""
    peer = HTTPConnection("127.0.0.1", subject.port, timeout=30)
    fields = {"Authorization": f"Basic {_basic(client, secret)}", "Content-Type": FORM}
    peer.request("POST", "/oauth/revoke", urlencode({"token": token}), fields)
    answer = peer.getresponse()
    answer.read()
    peer.close()
    if answer.status != 200:
        raise BenchError(f"a revocation was answered with {answer.status}")


def _start_portal(bench: Bench, store: Store, subject: Subject, *, cpus: str) -> subprocess.Popen[bytes]:
    child = start_daemon(bench, store, "portal", cpus=cpus)
    end = time.monotonic() + 60
    while _status(subject, "/.well-known/jwks.json") != 200:
        if time.monotonic() > end or child.poll() is not None:
            raise BenchError(f"the portal does not answer: {(store.home / 'portal.log').read_text()[-400:]}")
        time.sleep(0.1)
    return child


def _status(subject: Subject, path: str) -> int:
    peer = HTTPConnection("127.0.0.1", subject.port, timeout=30)
    try:
        peer.request("GET", path)
        return peer.getresponse().status
    finally:
        peer.close()


def _basic(client: str, secret: str) -> str:
    return b64encode(f"{client}:{secret}".encode()).decode()


# -- very many


def _many(bench: Bench, result: Result) -> None:
    upstream = start_upstream(bench)
    one, one_s = _filled(bench, "one", upstream.url, clients=1, revoked=1)
    many, many_s = _filled(bench, "many", upstream.url, clients=bench.clients, revoked=bench.revoked)
    found = take_turns({"one": one.target(), "many": many.target()}, bench.rounds, bench.seconds)
    rows = [_grown(name, subject, found[name]) for name, subject in (("one", one), ("many", many))]
    turns = _calling(bench, one, many)
    rows.append(_grown("many, calling in turn", many, turns["calling"]))
    for name, loads in [*found.items(), *turns.items()]:
        refuse_bad(name, loads)
    value, note = ratio(found["many"], found["one"])
    what = f"{bench.revoked} revoked tokens and {bench.clients} clients against 1 and 1"
    result.add(Figure(what, value, "x", _MANY, note))
    value, note = ratio(turns["calling"], turns["one"])
    result.add(
        Figure(f"{min(CALLING, bench.clients)} of these clients calling in turn, against 1", value, "x", None, note),
        Figure("a worker's start with them", _first_answer_s(many), " s", None, f"with 1 {_first_answer_s(one):.2f} s"),
        Figure("the daemon's start with them", many_s, " s", None, f"with 1 {one_s:.2f} s"),
        Table(
            "Clients and revoked tokens", ("", "req/s", "cpu us/req", "p99 ms", "worker RSS MiB", "PSS MiB"),
            tuple(rows),
        ),
    )  # fmt: skip


def _calling(bench: Bench, one: Subject, many: Subject) -> dict[str, list[Load]]:
    target = replace(many.target(), tokens=many.home / "calling")
    # Until the worker has seen all of them.
    drive(target, 2 + CALLING / 2000)
    return take_turns({"one": one.target(), "calling": target}, bench.rounds, bench.seconds)


def _filled(bench: Bench, name: str, url: str, *, clients: int, revoked: int) -> tuple[Subject, float]:
    """Start a gateway with so many clients and revoked tokens, and return it with the seconds that its start took.

    Its tokens are those of few clients, spread over all; in the file ``calling`` are those of very many.
    """
    store = _lay_out_many(bench, name, url, clients=clients)
    with store.services() as services:
        _revoke(services, revoked)
        known = list(services.catalog().clients.values())
        tokens = [_token(services, known[at * len(known) // TOKENS]) for at in range(TOKENS)]
        calling = [_token(services, client) for client in known[:: max(1, len(known) // CALLING)]]
        (store.home / "calling").write_text("".join(f"{token}\n" for token in calling))
    return _served(bench, store, tokens)


def _served(bench: Bench, store: Store, tokens: Sequence[str]) -> tuple[Subject, float]:
    begun = time.monotonic()
    return serve(bench, store, tokens), time.monotonic() - begun


def _lay_out_many(bench: Bench, name: str, url: str, *, clients: int, endpoints: int = 0) -> Store:
    partner = f"partners:\n  bench:\n    name: Bench\n    clients:\n      c: {{scopes: [{SCOPE}], plan: usual}}\n"
    store = lay_out(bench, name, relays(url) + _PLAN + partner)
    with store.services() as services:
        former = current(services.database)
        document = {section: dict(objects) for section, objects in former.document.items()}
        bench_partner, item = document["partners"]["bench"], document["endpoints"]["items"]
        written = {f"c{at:06}": bench_partner["clients"]["c"] for at in range(clients)}
        document["partners"]["bench"] = bench_partner | {"clients": written}
        document["endpoints"] |= {f"e{at:05}": item | {"path": f"/v1/e{at:05}/items/{{id}}"} for at in range(endpoints)}
        origins = {(section, each): Origin("console") for section, objects in document.items() for each in objects}
        revision = Revision(former.number + 1, document, former.types, origins)
        if not record(services.database, former.number, revision, summary="very many", actor=ACTOR):
            raise BenchError("the catalog of very many was not taken")
        publish(services.database, services.snapshot_path, services.revision_counter)
    return store


def _revoke(services: Services, count: int) -> None:
    """Revoke *count* tokens that nobody has, in the files and in the database, as time leaves them there."""
    now = time.time()
    ends = now + MAX_LIFETIME_S
    same = {"kind": "jti", "revoked_at": moment(now - AGE_S), "expires_at": moment(ends), "revoked_by": ACTOR.name}
    for start in range(0, count, _STEP):
        jtis = [str(uuid4()) for _ in range(min(_STEP, count - start))]
        services.revocations.add_all([Revocation("jti", jti, now - AGE_S, ends, by=ACTOR.name) for jti in jtis])
        with services.database.writing() as connection:
            connection.execute(insert(tables.Revocation), [same | {"value": jti} for jti in jtis])
    services.revocations.compact(now, is_whole=True)


def _token(services: Services, client: Client) -> str:
    issuer = addressee(services.settings.gateway.public_url)
    return issue(
        services.keyring, client=client, scopes=client.scopes, issuer=issuer, audience=issuer, expires_s=TOKENS_S,
        now=time.time(),
    ).token  # fmt: skip


def _grown(name: str, subject: Subject, loads: Sequence[Load]) -> tuple[str, ...]:
    rss, pss = memory_mib(subject.worker)
    rps, p99 = middle(loads, lambda one: one.rps), middle(loads, lambda one: one.p99_ms)
    used = middle(loads, lambda one: one.server_us)
    return name, f"{rps:.0f}", f"{used:.1f}", f"{p99:.2f}", f"{rss:.1f}", f"{pss:.1f}"


# -- the token endpoint


def _issued(bench: Bench, result: Result) -> None:
    store = lay_out(bench, "issued", relays("http://127.0.0.1:9") + partners(SECRETS))
    with store.services() as services:
        clients = services.catalog().clients.values()
        make = services.credentials.make
        shown = [_basic(client.name, make("secret", client, actor=ACTOR).text) for client in clients]
    subject = serve(bench, store, shown)
    portal = _start_portal(bench, store, subject, cpus="0")
    body = store.home / "form"
    body.write_text("grant_type=client_credentials")
    target = Target(
        f"{subject.url}/oauth/token", subject.child.pid, subject.tokens, body=body, scheme="Basic", media_type=FORM
    )
    drive(target, 1)
    before = cpu_s(family(portal.pid))
    loads = [drive(target, bench.seconds) for _ in range(bench.rounds)]
    used = (cpu_s(family(portal.pid)) - before) / sum(load.requests for load in loads) * 1e6
    refuse_bad("the token endpoint", loads)
    _refuse_unwritten(store, sum(load.requests for load in loads))
    rps, p99, gateway = (
        middle(loads, what) for what in (lambda one: one.rps, lambda one: one.p99_ms, lambda one: one.server_us)
    )
    note = f"processor time of each: portal {used:.0f} us, gateway {gateway:.0f} us"
    result.add(
        Figure("tokens issued a second, gateway and portal on one processor", rps, "/s", _ISSUED, note),
        Figure("p99 of them", p99, " ms", None, f"{CONNECTIONS} connections that ask all the time"),
    )


def _refuse_unwritten(store: Store, answered: int) -> None:
    with store.services() as services, services.database.reading() as session:
        rows = session.scalar(select(func.count()).select_from(tables.Token)) or 0
    if rows < answered:
        raise BenchError(f"{answered} tokens were given out, {rows} are written down")


# -- the start of a worker


def _starts(bench: Bench, result: Result) -> None:
    upstream = start_upstream(bench)
    store = _lay_out_many(bench, "starts", upstream.url, clients=bench.clients, endpoints=ENDPOINTS)
    with store.services() as services:
        client = next(iter(services.catalog().clients.values()))
        token = _token(services, client)
    subject, daemon_s = _served(bench, store, [token])
    took = [_first_answer_s(subject) for _ in range(min(STARTS, bench.rounds))]
    what = f"{bench.clients} clients and {ENDPOINTS} endpoints"
    note = f"worst of {len(took)}, median {median(took):.2f} s; from the end of the one before to the first answer"
    result.add(
        Figure(f"a worker's start, {what}", max(took), " s", _START, note),
        Figure(
            "the daemon's start then", daemon_s, " s", None, "from `entrepot run gateway` to when all workers serve"
        ),
    )


def _first_answer_s(subject: Subject) -> float:
    """Return how long it takes from the end of the only worker to the first answer of its successor."""
    request = next(subject.requests("/v1/items/1"))
    former = subject.worker
    os.kill(former, signal.SIGKILL)
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", subject.port), timeout=120) as peer:
        peer.sendall(request)
        if not peer.recv(65_536).startswith(b"HTTP/1.1 200 "):
            raise BenchError("the first answer of a worker was none")
    took = time.monotonic() - begun
    if subject.worker == former:
        raise BenchError("the worker has not ended")
    return took
