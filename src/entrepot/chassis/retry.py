"""Call a function again until it succeeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

log = logging.getLogger(__name__)

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


def retry(
    tries: int = 3,
    delay: float = 2,
    back_off: float = 2,
    custom_logger: logging.Logger | None = None,
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Callable[[Callable[_Params, _Result]], Callable[_Params, _Result]]:
    """Return a decorator that calls a function up to *tries* times, until it neither raises nor returns a false value.

    It waits *delay* seconds after the first failure, and *back_off* times as long after each further one. The last
    exception is raised, the last false value returned. For scripts and commands: it blocks its thread.
    """
    logger = custom_logger or log

    def decorate(function: Callable[_Params, _Result]) -> Callable[_Params, _Result]:
        @wraps(function)
        def call(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
            wait_s = delay
            for attempt in range(1, tries):
                try:
                    result = function(*args, **kwargs)
                except Exception as exc:  # noqa: BLE001 - what to retry on is the caller's to say, and it said: all
                    logger.warning("a try failed", extra={"function": function.__name__, "cause": repr(exc)})
                else:
                    if result:
                        return result
                logger.info("trying again", extra={"function": function.__name__, "n": attempt, "wait_s": wait_s})
                sleep(wait_s)
                wait_s *= back_off
            return function(*args, **kwargs)

        return call

    return decorate
