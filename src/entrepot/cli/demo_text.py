"""What the demonstration prints: where things are, and calls to paste."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from entrepot.cli.demo_erp import Example

_JSON = "-H 'Content-Type: application/json'"


def calls(url: str, example: Example, reference: str, header_file: Path) -> Iterator[tuple[str, str]]:
    """Yield what each call shows and the line to paste; each stands alone and works in any shell."""
    curl = f"curl -sS -w '\\n' -H @{shlex.quote(str(header_file))}"
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


def _body(value: Any) -> str:
    return shlex.quote(json.dumps(value))


def page(
    *, url: str, erp: str, directory: Path, token: str, steps: Sequence[tuple[str, str]], revoke: str, last: str
) -> Iterator[str]:
    """Yield the lines of the page. *revoke* is the command that revokes *token*, *last* a call that is 401 after it."""
    yield ""
    yield f"The gateway answers at  {url}"
    yield f"Behind it               {erp}"
    yield f"Settings, catalog, log  {directory}"
    yield ""
    yield "The access token of the client shop of the partner azure:"
    yield ""
    yield token
    yield ""
    yield "Paste these into another terminal (the file after @ sends the token):"
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
