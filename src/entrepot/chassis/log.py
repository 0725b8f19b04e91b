"""Logging: one format for every process, with the operation id in each line.

Messages are constant and facts go in ``extra``; a line on standard error ends with them as ``key=value``, the journal
has them as fields. Whatever a caller puts into a message or fact, a record stays one line: control characters are
escaped, and the lines of a traceback are indented, so that none can pass for a record.
"""

from __future__ import annotations

import json
import logging
import logging.config
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from entrepot.chassis.journal import SOCKET, JournalWriter
from entrepot.chassis.journal import record as journal_record
from entrepot.chassis.lines import LineWriter
from entrepot.chassis.operation import current_operation_id

__all__ = [
    "FORMAT", "NO_OPERATION", "STREAM_LOG_LEVEL", "JournalHandler", "LineHandler", "LineWriter", "OperationIdFilter",
    "OperationIdFormatter", "escaped", "facts_of", "flush_log", "get_log_config_dict", "goes_to_journal",
    "journal_fields", "setup_logging",
]  # fmt: skip

FORMAT = "%(asctime)s [%(levelname)s][%(operation_id)s] %(name)s: %(message)s"
NO_OPERATION = "No operation_id"
STREAM_LOG_LEVEL = "INFO"
STDERR_FD = 2

# The journal keeps time and priority itself, and shows them.
_JOURNAL_FORMAT = "%(name)s: %(message)s"
_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "operation_id", "taskName"}
_PLAIN_FACT = re.compile(r"[\w./:@+,%\[\]{}()<>*-]+")
_OWN_FIELDS = frozenset({"MESSAGE", "PRIORITY", "LOGGER", "SYSLOG_IDENTIFIER"})
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class OperationIdFilter(logging.Filter):
    """Gives each record its ``operation_id``: from ``extra``, else from the context, else ``No operation_id``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the id and let the record pass."""
        given = getattr(record, "operation_id", None) or current_operation_id.get() or NO_OPERATION
        record.operation_id = escaped(given.decode(errors="replace") if isinstance(given, bytes) else str(given))
        return True


class OperationIdFormatter(logging.Formatter):
    """Formats a record as ``FORMAT`` and its facts, on one line; only a traceback adds lines, each indented."""

    _filter = OperationIdFilter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of *record*."""
        self._filter.filter(record)
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Return the line without the traceback."""
        record.message = escaped(record.message)
        facts = "".join(f" {escaped(key)}={_fact(value)}" for key, value in facts_of(record).items())
        return super().formatMessage(record) + facts

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise
        """Return the traceback, indented."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - likewise
        """Return the stack, indented."""
        return _indented(super().formatStack(stack_info))


class JournalFormatter(OperationIdFormatter):
    """The same for the journal; the id stands before the text where there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - likewise
        """Return the line without the traceback."""
        line = super().formatMessage(record)
        operation_id = vars(record)["operation_id"]
        return line if operation_id == NO_OPERATION else f"[{operation_id}] {line}"


class JournalHandler(logging.Handler):
    """Sends records to the journal by *send* (``systemd.journal.send``), with ``journal_fields``."""

    def __init__(self, send: Callable[..., object], identifier: str) -> None:
        super().__init__()
        self._send = send
        self._identifier = identifier

    def emit(self, record: logging.LogRecord) -> None:
        """Send *record*."""
        try:
            self._send(self.format(record), **journal_fields(record, self._identifier))
        except Exception:  # noqa: BLE001 - what logging does: a log that fails must not end the work
            self.handleError(record)


class LineHandler(logging.Handler):
    """Hands records to *writer* at once, as *encode* makes bytes of them and their text, and waits for no reader."""

    def __init__(self, writer: LineWriter, encode: Callable[[logging.LogRecord, str], bytes]) -> None:
        super().__init__()
        self._writer = writer
        self._encode = encode

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, or keep it until the reader takes it."""
        try:
            self._writer.write(self._encode(record, self.format(record)))
            self._writer.flush()
        except Exception:  # noqa: BLE001 - what logging does: a log that fails must not end the work
            self.handleError(record)

    def flush(self) -> None:
        """Write what still waits, as far as the reader takes it now."""
        with self.lock or nullcontext():
            self._writer.flush()

    def close(self) -> None:
        """Write what still waits, as far as the reader takes it now, and drop the rest."""
        with self.lock or nullcontext():
            self._writer.close()
        super().close()


def flush_log() -> None:
    """Write what a slow reader has not taken yet; for a daemon to call about once a second."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LineHandler):
            handler.flush()


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what ``extra`` gave *record*."""
    return {key: value for key, value in vars(record).items() if key not in _OWN_ATTRIBUTES}


def journal_fields(record: logging.LogRecord, identifier: str) -> dict[str, str]:
    """Return the fields that the journal gets of *record* beside its text; *identifier* is shown before each text."""
    fields = {_field_name(key): _text(value) for key, value in facts_of(record).items()}
    fields["SYSLOG_IDENTIFIER"] = identifier
    fields["LOGGER"] = record.name
    fields["PRIORITY"] = str(_priority(record.levelno))
    operation_id = str(getattr(record, "operation_id", NO_OPERATION))
    if operation_id != NO_OPERATION:
        fields["OPERATION_ID"] = operation_id
    return fields


def escaped(text: str) -> str:
    r"""Return *text* with each control, format or unpaired surrogate character as ``\n``, ``\x1b``, ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def get_log_config_dict(name: str, level: str = STREAM_LOG_LEVEL) -> dict[str, Any]:
    """Return the ``logging.config`` dictionary of a Flask face whose logger is *name*: all to standard error.

    Loggers that exist already stay as they are.
    """
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"standard": {"()": OperationIdFormatter, "format": FORMAT}},
        "handlers": {
            "console": {"class": "logging.StreamHandler", "formatter": "standard", "level": "DEBUG"},
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {name: {"handlers": ["console"], "level": level, "propagate": False}},
    }


def setup_logging(
    level: str = "info",
    target: str = "auto",
    *,
    patient: bool = True,
    identifier: str = "entrepot",
    environ: Mapping[str, str] = os.environ,
    journal: Path = SOCKET,
) -> None:
    """Send the log of this process to *target*: ``journal``, ``stderr``, or ``auto``.

    A *patient* process waits for a slow reader; another one drops what is too much (``LineHandler``) and has to call
    ``flush_log``. ``auto`` is the journal when systemd started the process with its standard error there, where a
    patient one needs systemd-python for it. The journal shows *identifier* before each record. Raises OSError or
    ImportError for a ``journal`` that cannot be reached.
    """
    if not goes_to_journal(target, environ, journal):
        handler = _stderr_handler(patient=patient)
    elif patient:
        handler = _library_handler(target, identifier)
    else:
        encode = partial(_entry, identifier)
        handler = {"()": LineHandler, "writer": JournalWriter(journal), "encode": encode, "formatter": "journal"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "stderr": {"()": OperationIdFormatter, "format": FORMAT},
                "journal": {"()": JournalFormatter, "format": _JOURNAL_FORMAT},
            },
            "handlers": {"log": handler},
            "root": {"handlers": ["log"], "level": level.upper()},
        }
    )


def goes_to_journal(target: str, environ: Mapping[str, str] = os.environ, journal: Path = SOCKET) -> bool:
    """Tell whether the log of this process goes to the journal: *target* says so, or is ``auto`` and systemd does.

    systemd does by ``$JOURNAL_STREAM``, which names the file that standard error is (systemd.exec(5)).
    """
    return target == "journal" or (target == "auto" and _stderr_is_journal(environ) and journal.exists())


def _stderr_handler(*, patient: bool) -> dict[str, Any]:
    if patient:
        return {"class": "logging.StreamHandler", "formatter": "stderr"}
    return {"()": LineHandler, "writer": LineWriter(STDERR_FD), "encode": _line, "formatter": "stderr"}


def _library_handler(target: str, identifier: str) -> dict[str, Any]:
    send = _journal_send(required=target == "journal")
    if send is None:
        return _stderr_handler(patient=True)
    return {"()": JournalHandler, "send": send, "identifier": identifier, "formatter": "journal"}


def _line(_record: logging.LogRecord, text: str) -> bytes:
    return text.encode(errors="backslashreplace") + b"\n"


def _entry(identifier: str, record: logging.LogRecord, text: str) -> bytes:
    fields = {"MESSAGE": text, **journal_fields(record, identifier)}
    return journal_record({name: value.encode(errors="backslashreplace") for name, value in fields.items()})


def _stderr_is_journal(environ: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _journal_send(*, required: bool) -> Callable[..., object] | None:
    try:
        from systemd import journal  # noqa: PLC0415 - an extra that is compiled, and may be missing
    except ImportError:
        if required:
            raise
        return None
    send: Callable[..., object] = journal.send
    return send


def _indented(lines: str) -> str:
    return "\n".join("  " + escaped(line) for line in lines.split("\n"))


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _fact(value: object) -> str:
    text = _text(value)
    return text if _PLAIN_FACT.fullmatch(text) else escaped(json.dumps(text, ensure_ascii=False))


def _field_name(key: str) -> str:
    # Journal fields are upper-case ASCII and do not begin with an underscore or digit (systemd.journal-fields(7)).
    name = re.sub(r"[^A-Z0-9_]", "_", key.upper()).lstrip("_0123456789")
    return "FACT" if not name else f"FACT_{name}" if name in _OWN_FIELDS else name


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)
