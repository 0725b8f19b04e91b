"""``entrepot tend``: forget what need not be kept, as the courier does while it runs."""

from __future__ import annotations

import argparse

from entrepot.cli.output import say, say_json
from entrepot.cli.startup import start
from entrepot.ledger.retention import Retention
from entrepot.services import Services


def tend(arguments: argparse.Namespace) -> int:
    """Forget what is over of the ledger, tokens, keys and sessions, and say how much the ledger forgot."""
    settings = start(arguments).settings
    kept = settings.ledger
    with Services.from_settings(settings) as services:
        forgotten = services.ledger.prune(Retention(kept.bodies_s, kept.rows_s, kept.keys_s, kept.kept_bytes))
        services.tend()
    if arguments.json:
        say_json({"forgotten": forgotten})
    else:
        say(f"forgotten: {forgotten}" if forgotten else "nothing to forget")
    return 0
