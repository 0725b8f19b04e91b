"""Ports for the servers of tests."""

import atexit
import socket
from contextlib import ExitStack

_holders = ExitStack()
atexit.register(_holders.close)


def held_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on, and that nobody else is given as long as this process lives.

    Who asks for it by its number may listen there, again and again.
    """
    holder = _holders.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder.getsockname()[1]
