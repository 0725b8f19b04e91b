"""The program ``entrepot``: reads the arguments, runs one command, and turns whatever happens into an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from entrepot.chassis.errors import Error
from entrepot.chassis.operation import OperationIds, current_operation_id
from entrepot.cli.output import complain, report
from entrepot.cli.parser import parse

FAILED = 1
INTERRUPTED = 130

Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* (default: the program's arguments) names and return its exit code.

    0: success; 1: the work failed; 2: wrong usage; 130: interrupted. No error of any kind leaves a traceback.
    """
    current_operation_id.set(OperationIds().new().decode())
    try:
        code = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _forget_output()
        return FAILED
    except Error as error:
        report(error)
        return FAILED
    except OSError as exc:
        complain(f"{exc.filename or 'entrepot'}: {exc.strerror or exc}")
        _forget_output()
        return FAILED
    except Exception as exc:  # noqa: BLE001 - the edge of a command: nobody above could say it better
        _report_unexpected(exc)
        return FAILED
    return code


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = parse(argv)
        module, _, function = arguments.run.partition(":")
        command: Command = getattr(importlib.import_module(module), function)
        return command(arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0


def _report_unexpected(exc: Exception) -> None:
    import logging  # noqa: PLC0415 - takes longer than all that a good command needs of it

    operation_id = current_operation_id.get()
    # Not its text, which may hold what nobody should see.
    complain(
        f"entrepot: this should not have happened ({type(exc).__name__}); the log at level debug says where "
        f"(operation {operation_id})"
    )
    logging.getLogger(__name__).debug("a command failed", exc_info=exc)


def _forget_output() -> None:
    # Whoever read our output has gone (`entrepot export | head`), or its disk is full. Python flushes once more at
    # its end, which would fail again, with a traceback.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
