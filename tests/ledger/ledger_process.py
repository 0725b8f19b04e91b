"""A process that accepts work: ``ledger_process.py URL COUNT [KEY…]``, for tests of several at once and of kill -9.

It prints ``ready``; then, for each KEY or once without, it waits for a line on its input, accepts COUNT transactions,
64 at a time, and prints the id of each as it is answered.
"""

import asyncio
import sys

from ledger_support import key, new

from entrepot.ledger.entries import Acceptance, Quota
from entrepot.ledger.intake import Intake
from entrepot.store.engine import open_database


async def main(url, count, *names):
    database = open_database(url)
    intake = Intake(database, asyncio.get_running_loop(), wake=lambda: None, clock=lambda: 1_800_000_000.0)
    print("ready", flush=True)
    for name in names or (None,):
        sys.stdin.readline()
        await accept(intake, count, name)
    intake.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    database.close()


async def accept(intake, count, name):
    left, under_way, over = count, 0, asyncio.get_running_loop().create_future()
    quota = Quota(transactions=10**9, bytes=10**12)

    def submit():
        nonlocal left, under_way
        if left:
            left, under_way = left - 1, under_way + 1
            intake.accept(Acceptance(new(), quota, key(name) if name else None), answered)

    def answered(admission):
        nonlocal under_way
        under_way -= 1
        sys.stdout.write(f"{getattr(admission, 'id', admission)}\n")
        sys.stdout.flush()
        submit()
        if not under_way:
            over.set_result(None)

    for _ in range(min(count, 64)):
        submit()
    await over


asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
