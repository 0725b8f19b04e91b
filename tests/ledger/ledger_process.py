"""A process that accepts work: ``ledger_process.py URL COUNT [KEY]``, for tests of several at once and of kill -9.

It prints ``ready``, waits for a line on its input, accepts COUNT transactions (all with the same KEY, or each without),
64 at a time, and prints the id of each as it is answered.
"""

import asyncio
import sys

from ledger_support import key, new

from entrepot.ledger.entries import Acceptance, Quota
from entrepot.ledger.intake import Intake
from entrepot.store.engine import open_database


async def main(url, count, name=None):
    database = open_database(url)
    loop = asyncio.get_running_loop()
    intake = Intake(database, loop, wake=lambda: None, clock=lambda: 1_800_000_000.0)
    left, over = count, loop.create_future()

    def submit():
        nonlocal left
        if left:
            left -= 1
            quota = Quota(transactions=10**9, bytes=10**12)
            intake.accept(Acceptance(new(), quota, key(name) if name else None), answered)
            return
        if not over.done():
            over.set_result(None)

    def answered(admission):
        sys.stdout.write(f"{getattr(admission, 'id', admission)}\n")
        sys.stdout.flush()
        submit()

    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(min(count, 64)):
        submit()
    if left:
        await over
    intake.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    database.close()


asyncio.run(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
