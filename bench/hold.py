"""Ask COUNT requests at once, each on a connection of its own, and wait for all answers.

    python hold.py PORT PATH TOKENS COUNT

Prints how many were answered with 200, and with what else.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path


async def ask(port: int, path: str, token: str) -> str:
    """Return the status of the answer, or what went wrong."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        line = await reader.readline()
        writer.close()
    except OSError as exc:
        return type(exc).__name__
    return line[9:12].decode() or "nothing"


async def main(port: int, path: str, tokens: list[str], count: int) -> None:
    found = await asyncio.gather(*(ask(port, path, tokens[at % len(tokens)]) for at in range(count)))
    counts = Counter(found)
    print(counts.pop("200", 0), dict(counts) or "")


asyncio.run(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text().split(), int(sys.argv[4])))
