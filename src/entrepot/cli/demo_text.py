"""What the demonstration prints: where things are, and calls to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from entrepot.cli.demo_erp import Example

_JSON = "-H 'Content-Type: application/json'"


@dataclass(frozen=True, slots=True)
class Files:
    """What the calls send, in files that only their owner can read.

    *client* has name and secret of the client, for curl; *header* the token, which *token* has alone; *sign_in* name
    and password of the operator; curl keeps the operator's session in *cookies*.
    """

    client: Path
    token: Path
    header: Path
    sign_in: Path
    cookies: Path


def calls(url: str, example: Example, reference: str, files: Files) -> Iterator[tuple[str, str]]:
    """Yield what each call shows and the line to paste; each stands alone and works in any shell."""
    ask = f"-K {_quoted(files.client)} -d grant_type=client_credentials {url}/oauth/token"
    yield "the client shows its secret and gets a token", f"curl -sS {ask}"
    header = 'sed \'s/.*"access_token": *"\\([^"]*\\)".*/Authorization: Bearer \\1/\''
    yield (
        "what a program does: it gets a token and shows it with the next call",
        f"curl -sS {ask} | {header} | curl -sS -H @- {url}/oauth/whoami",
    )
    curl = f"curl -sS -w '\\n' -H @{_quoted(files.header)}"
    yield "the people of the company, three at a time", f"{curl} '{url}/v1/contacts?limit=3'"
    yield "one of them; -i shows the headers", f"{curl} -i {url}/v1/contacts/{example.person_id}"
    name = quote(example.person.split()[0])
    yield (
        "a filter, some fields only, sorted",
        f"{curl} -g '{url}/v1/contacts?name[like]={name}&fields=id,name&sort=-name'",
    )
    if example.products:
        yield from _orders(curl, url, example, reference)
    else:
        yield from _contacts(curl, url)


def console_calls(console: str, files: Files) -> Iterator[tuple[str, str]]:
    """Yield the same of the console, for its operator."""
    jar, body = _quoted(files.cookies), _quoted(files.sign_in)
    yield (
        "the operator signs in at the console",
        f"curl -sS -c {jar} {_JSON} -d @{body} {console}/api/v1/session",
    )
    yield "and sees who changed what", f"curl -sS -b {jar} '{console}/api/v1/audit?limit=3'"


def _orders(curl: str, url: str, example: Example, reference: str) -> Iterator[tuple[str, str]]:
    lines = [{"product": code, "quantity": 2 + at} for at, code in enumerate(example.products)]
    order = _body({"reference": reference, "lines": lines})
    yield "an order with lines, by the codes of the products", f"{curl} {_JSON} -d {order} {url}/v1/orders"
    yield "confirm it, by your own reference", f"{curl} -X POST {url}/v1/orders/{reference}/confirm"
    later = _body({"reference": f"{reference}-Q", "lines": lines})
    key = f"-H 'Idempotency-Key: {reference}-Q' -H 'Prefer: respond-async'"
    yield (
        "an order that may wait (202): kept, delivered once however often it is sent with this key",
        f"{curl} -i {_JSON} {key} -d {later} {url}/v1/orders",
    )
    yield "what became of all that was accepted", f"{curl} '{url}/transactions?limit=3'"
    wrong = _body({"reference": f"{reference}-X", "lines": [{"product": "NO-SUCH-CODE", "quantity": "two"}]})
    yield "a wrong order: the problem names each field", f"{curl} {_JSON} -d {wrong} {url}/v1/orders"


def _contacts(curl: str, url: str) -> Iterator[tuple[str, str]]:
    good = _body({"name": "Demo Visitor", "email": "visitor@example.com"})
    yield "a new contact of the company", f"{curl} {_JSON} -d {good} {url}/v1/contacts"
    wrong = _body({"email": 7, "colour": "blue"})
    yield "a wrong contact: the problem names each field", f"{curl} {_JSON} -d {wrong} {url}/v1/contacts"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _body(value: Any) -> str:
    return shlex.quote(json.dumps(value))


def page(
    *, where: Mapping[str, str], directory: Path, token: str, steps: Sequence[tuple[str, str]], revoke: str, last: str
) -> Iterator[str]:
    """Yield the lines of the page. *revoke* is the command that revokes *token*, *last* a call that is 401 after it.

    *where* says of the gateway (``url``), its ``console`` and the ``erp`` where they are.
    """
    yield ""
    yield f"The gateway answers at  {where['url']}"
    yield f"Behind it               {where['erp']}"
    yield f"For its operators       {where['console']}"
    yield f"Settings, catalog, log  {directory}"
    yield ""
    yield "An access token of the client shop of the partner azure:"
    yield ""
    yield token
    yield ""
    yield "Paste these into another terminal (files hold what is secret):"
    for number, (what, line) in enumerate(steps, start=1):
        yield ""
        yield f"# {number}. {what}"
        yield line
    yield ""
    yield "# At last, revoke the token; a second later it is refused (401)."
    yield revoke
    yield last
    yield ""
    yield "Ctrl-C stops everything."
