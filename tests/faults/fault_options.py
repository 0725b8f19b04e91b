"""What a run of these tests is told by its environment.

It is taken out of it, because the gateway refuses settings that it does not know.
"""

import os
import random


def _taken(name: str, default: int) -> int:
    return int(os.environ.pop(f"ENTREPOT_TEST_{name}", "") or default)


SEED = _taken("SEED", random.SystemRandom().randrange(1 << 32))
CYCLES = _taken("CYCLES", 10)
"""How often a test does its harm."""
CONTACTS = _taken("CONTACTS", 200)
ORDERS = _taken("ORDERS", 40)
