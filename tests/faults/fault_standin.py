"""A stand-in ERP in a process of its own, which may be killed at any moment.

    python fault_standin.py PORT DIRECTORY PASSWORD

Its data are in DIRECTORY and outlive it: each call is one transaction of its database. What a call has changed stands
there for a while before it is answered, so that a kill often comes in between.
"""

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from entrepot.standin.server import StandIn

CHANGES = ("load", "create", "write", "unlink")
ANSWER_S = 0.1


class LateAnswers:
    """The calls of a stand-in, of which changes are answered late."""

    def __init__(self, calls):
        self._calls = calls

    def answer(self, request: Mapping) -> dict:
        """Return the answer."""
        answer = self._calls.answer(request)
        if any(word in CHANGES for word in request["params"]["args"] if isinstance(word, str)):
            time.sleep(ANSWER_S)
        return answer


def main(port: int, directory: Path, password: str) -> None:
    with StandIn(directory, port=port, password=password) as erp:
        erp._server.calls = LateAnswers(erp._server.calls)
        signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
