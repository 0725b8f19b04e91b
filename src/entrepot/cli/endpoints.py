"""``entrepot endpoint``: what endpoints can be made of."""

from __future__ import annotations

import argparse

from entrepot.catalog.model_types import FieldTypes
from entrepot.chassis.errors import Error
from entrepot.cli.output import say_json, say_table
from entrepot.cli.startup import start
from entrepot.declarative.live import LiveTypes
from entrepot.services import Services


class UnknownUpstreamError(Error):
    """The catalog in force has no Odoo of this name."""

    code, title = "unknown-upstream", "The upstream is not known"


def fields(arguments: argparse.Namespace) -> int:
    """List the fields of a model as the live Odoo has them now."""
    settings = start(arguments).settings
    with Services.from_settings(settings) as services:
        upstreams = services.catalog().upstreams
        known = sorted(name for name, upstream in upstreams.items() if upstream.kind == "odoo")
        if arguments.upstream not in known:
            which = ", ".join(known) or "none"
            raise UnknownUpstreamError(f"no Odoo upstream {arguments.upstream!r} is in force; there are: {which}")
        with LiveTypes(settings.store.directory) as ask:
            found = ask(upstreams[arguments.upstream], arguments.model)
    if arguments.json:
        say_json(found)
    else:
        _say_fields(found)
    return 0


def _say_fields(found: FieldTypes) -> None:
    rows: list[tuple[object, ...]] = [("field", "type", "required", "read only", "relation or choices")]
    for name, field in sorted(found.items()):
        choices = " ".join(str(choice[0]) for choice in field.get("selection") or [])
        flags = ["yes" if field.get(flag) else "" for flag in ("required", "readonly")]
        rows.append((name, field["type"], *flags, field.get("relation") or choices))
    say_table(rows)
