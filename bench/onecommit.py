"""What the ledger is measured against: every request is a row and a commit of its own, synced before its 202.

uvloop and httptools, no checks, no stages; each process has its own connection to one SQLite file (WAL,
``synchronous=FULL``) and waits for the others as SQLite does.

    python onecommit.py PORT DATABASE PROCESSES
"""

import asyncio
import os
import signal
import sqlite3
import sys
import uuid

import httptools
import uvloop

PORT, DATABASE, PROCESSES = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
TABLE = "CREATE TABLE IF NOT EXISTS transactions (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, target BLOB, body BLOB)"


def connect() -> sqlite3.Connection:
    database = sqlite3.connect(DATABASE, isolation_level=None, timeout=30)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}").close()
    database.execute(TABLE)
    return database


class Client(asyncio.Protocol):
    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database

    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_message_begin(self):
        self.body = b""

    def on_url(self, url):
        self.url = url

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        key = str(uuid.uuid4())
        # Outside an explicit transaction each statement commits.
        self.database.execute(
            "INSERT INTO transactions (id, target, body) VALUES (?, ?, ?)", (key, self.url, self.body)
        )
        said = b'{"meta":{},"data":{"transaction":"%s","state":"queued"}}' % key.encode()
        self.transport.write(
            b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(said), said)
        )


async def serve() -> None:
    database = connect()
    server = await asyncio.get_running_loop().create_server(
        lambda: Client(database), "127.0.0.1", PORT, reuse_port=True, backlog=1024
    )
    await server.serve_forever()


def main() -> None:
    connect().close()
    children = []
    for _ in range(PROCESSES - 1):
        child = os.fork()
        if child == 0:
            children.clear()
            break
        children.append(child)

    def stop(*_):
        for child in children:
            os.kill(child, signal.SIGTERM)
        os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    uvloop.run(serve())


main()
