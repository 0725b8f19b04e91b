"""Orders that partners make, change, delete and make again, and what must stand in the ERP's own records at the end."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import count
from uuid import uuid4

from fault_erp import PRODUCT, Erp
from fault_senders import Write
from fault_verdict import REPORT

Order = tuple[str, str, list[str]]
"""Reference, note and texts of the lines."""
REFERENCES = 3


def order_writes(paths: list[str], seed: str, product: str = PRODUCT) -> Iterator[Write]:
    """Yield writes without end, by turns to *paths*, to a few orders that are this caller's own.

    An order is made, changed with other lines of *product*, now and then deleted, and made again. Each note and each
    text of a line is there once.
    """
    chance, own = random.Random(f"orders-{seed}"), uuid4().hex[:12]
    standing: set[str] = set()
    for number in count():
        path, reference = chance.choice(paths), f"fault-{own}-{chance.randrange(REFERENCES)}"
        texts = [f"{own} {number} {at}" for at in range(1 + chance.randrange(3))]
        lines = [{"product": product, "quantity": 1, "price": 2.5, "text": text} for text in texts]
        content = {"note": f"{own} {number}", "lines": lines}
        key, place = uuid4().hex, f"{path}/{reference}"
        if reference not in standing:
            standing.add(reference)
            yield Write(key, path, {"reference": reference, **content})
        elif chance.random() < 0.25:
            standing.remove(reference)
            yield Write(key, place, None, method="DELETE")
        else:
            yield Write(key, place, content, method="PATCH")


def reference_of(write: Write) -> str:
    """Return the reference of the order that *write* is about."""
    return write.body["reference"] if write.method == "POST" else write.path.rpartition("/")[2]


def standing(writes: Iterable[Write]) -> list[Order]:
    """Return the orders that there are when all *writes* were applied once and in order, sorted."""
    orders: dict[str, Order] = {}
    for write in writes:
        reference = reference_of(write)
        if write.method == "DELETE":
            del orders[reference]
        else:
            orders[reference] = (reference, write.body["note"], sorted(line["text"] for line in write.body["lines"]))
    return sorted(orders.values())


def told(writes: Iterable[Write]) -> dict[str, list[tuple[str, str]]]:
    """Return what the journal tells of each order when all *writes* were applied once and in order."""
    changes: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for write in writes:
        of_order = changes[reference_of(write)]
        if write.method == "DELETE":
            of_order.append(("gone", of_order[-1][1]))
        else:
            of_order.append(("made" if write.method == "POST" else "noted", write.body["note"]))
    return changes


def assert_orders_are_as_written(writes: list[Write], orders: list[Order]) -> None:
    """Assert that *orders* is all that *writes* leave: each line once, deleted ones gone, the last change of each."""
    wanted = standing(writes)
    methods = Counter(write.method for write in writes)
    tries = sum(len(write.statuses) for write in writes)
    lines = sum(len(texts) for _, _, texts in orders)
    REPORT.append(f"{dict(methods)} in {tries} tries, {len(orders)} orders with {lines} lines stand")
    wrong = [(order, other) for order, other in zip(wanted, orders, strict=False) if order != other]
    assert orders == wanted, f"{len(orders)} stand instead of {len(wanted)}, wanted and found: {wrong[:3]}"


def assert_changes_were_made_once(writes: list[Write], erp: Erp) -> None:
    """Assert that the journal of *erp* tells each of *writes* once, in order, and nothing else."""
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    lines: Counter[str] = Counter()
    for what, reference, text in erp.journal():
        if what == "line":
            lines[text] += 1
        else:
            found[reference].append((what, text))
    sent = [line["text"] for write in writes if write.body for line in write.body["lines"]]
    assert lines == Counter(sent), (lines - Counter(sent), Counter(sent) - lines)
    wanted = told(writes)
    wrong = {reference: found[reference] for reference in wanted if found[reference] != wanted[reference]}
    assert wrong == {}, {reference: wanted[reference] for reference in wrong}
    assert found.keys() == wanted.keys()
