"""A socket before a PostgreSQL server's that behaves as one does whose server is killed at a certain moment."""

import select
import shutil
import socket
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = ".s.PGSQL.5432"
PIECE = 1 << 16


class Lossy:
    """What is said to *server* goes through *directory*.

    When *left* is a number, so many pieces are passed on; then every connection ends as soon as something is said.
    """

    def __init__(self, server: Path, directory: Path):
        self.directory = directory
        self.is_lost = threading.Event()
        self._server = server
        self._mark: bytes | None = None
        self.left: int | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / NAME))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def lose(self, mark: str) -> None:
        """Let the commit of what holds *mark* be made, and end its connection before the answer comes."""
        self.is_lost.clear()
        self._mark = mark.encode()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        has_mark = is_doomed = False
        with client, socket.socket(socket.AF_UNIX) as server, suppress(OSError):
            server.connect(str(self._server / NAME))
            while True:
                for peer, other in self._readable(client, server):
                    said = peer.recv(PIECE)
                    if not said:
                        return
                    if peer is client:
                        if self.left is not None:
                            if self.left == 0:
                                return
                            self.left -= 1
                        has_mark |= self._mark is not None and self._mark in said
                        is_doomed = has_mark and b"COMMIT" in said
                    elif is_doomed:
                        self.is_lost.set()
                        return
                    other.sendall(said)

    @staticmethod
    def _readable(client: socket.socket, server: socket.socket) -> list[tuple[socket.socket, socket.socket]]:
        ready = select.select([client, server], [], [])[0]
        return [(peer, server if peer is client else client) for peer in ready]


@contextmanager
def lossy(server: Path):
    """Give a way to the server whose socket is in the directory *server*."""
    directory = Path(tempfile.mkdtemp(prefix="entrepot-pg-", dir="/tmp"))
    between = Lossy(server, directory)
    try:
        yield between
    finally:
        between.close()
        shutil.rmtree(directory)
