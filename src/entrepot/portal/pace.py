"""How many tokens each client is given, over all processes of the host."""

from __future__ import annotations

import logging
import time

from entrepot.chassis.limits import Limiter, Rate
from entrepot.chassis.mutex import SharedStateError
from entrepot.chassis.shared import SharedState
from entrepot.errors import TooManyRequests

log = logging.getLogger(__name__)

POLICY = "token"
Fields = list[tuple[str, str]]


class Pace:
    """At most *per_minute* tokens for each client in a minute, all at once if it likes. For several threads."""

    def __init__(self, shared: SharedState, per_minute: int) -> None:
        self._limiter = Limiter(shared)
        self._rate = Rate(per_minute / 60.0, per_minute)

    def take(self, client: str) -> Fields:
        """Take one token of *client*; return the fields ``RateLimit`` and ``RateLimit-Policy`` of the answer.

        Raises TooManyRequests with the same fields when the client has to wait. Without room in the shared state the
        limit is not enforced, as that of a client on the data plane (docs/explanation/limits.rst), and there are none.
        """
        try:
            bucket = self._limiter.bucket(f"token:{client}", self._rate, policy=POLICY)
        except SharedStateError as error:
            log.error("the pace of tokens is not enforced", extra={"client": client, "reason": str(error)})
            return []
        taken = bucket.take(time.monotonic())
        fields = [
            ("RateLimit-Policy", bucket.policy.decode("ascii")),
            ("RateLimit", bucket.field(taken).decode("ascii")),
        ]
        if taken < 0:
            raise TooManyRequests(
                "the client has got as many tokens as it may for now: a token is to be used until it ends",
                retry_after_s=-taken, headers=fields,
            )  # fmt: skip
        return fields
