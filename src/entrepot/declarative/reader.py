"""YAML 1.2 files as trees of nodes with file and line, whatever the bytes are.

The parser's events are turned into nodes here and not by its composer: so the depth, the sum of what aliases repeat and
the scalars of the core schema are bounded and decided in one place, and nothing recurses over what a file says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from entrepot.catalog.tree import Node, Scalar
from entrepot.chassis.errors import Mistake

MAX_FILE_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 64
MAX_REPEATED = 100_000
MAX_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
_CORE_TAGS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "map", "seq"))
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNSTORABLE = "a NUL or half a surrogate pair, which JSON and Odoo refuse"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# What ruamel.yaml lets through for bytes that are no YAML, found by feeding it random ones.
_PARSER_FAULTS = (YAMLError, ValueError, ArithmeticError, LookupError, AssertionError, TypeError, AttributeError)


class _Stop(Exception):
    """The rest of the file cannot be read."""


def read_tree(path: Path) -> tuple[Node | None, list[Mistake]]:
    """Return the tree that the file at *path* holds, None when it cannot be read, and what is wrong with it."""
    mistakes: list[Mistake] = []
    text = _read_text(path, mistakes)
    if text is None:
        return None, mistakes
    builder = _Builder(str(path), mistakes)
    try:
        return builder.build(text), mistakes
    except _Stop:
        return None, mistakes


def _read_text(path: Path, mistakes: list[Mistake]) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        mistakes.append(Mistake(f"the file cannot be read: {reason}", str(path)))
        return None
    if len(content) > MAX_FILE_BYTES:
        mistakes.append(
            Mistake(
                f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB; several files may be one catalog", str(path)
            )
        )
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        mistakes.append(
            Mistake(f"the file is not UTF-8: byte 0x{content[exc.start]:02x} cannot stand here", f"{path}:{line}")
        )
        return None


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read; *size* counts the nodes in it, repeated ones too."""

    value: list[Node] | dict[str, Node]
    line: int
    anchor: str | None
    key: str | None = None
    key_line: int = 0
    size: int = 1
    lines: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Makes one tree of the events of one file."""

    def __init__(self, file: str, mistakes: list[Mistake]) -> None:
        self._file = file
        self._mistakes = mistakes
        self._stack: list[_Frame] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._repeated = 0
        self._root: Node | None = None
        self._documents = 0

    def build(self, text: str) -> Node | None:
        for event in self._events(text):
            handler = _HANDLERS.get(type(event).__name__)
            if handler is not None:
                handler(self, event)
        if self._root is None or self._root.value is None:
            self._complain("the file is empty; a catalog has upstreams, endpoints or partners", 1)
            return None
        return self._root

    def _events(self, text: str) -> Iterator[Any]:
        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except RecursionError:
            self._stop("the file is nested too deeply", 1)
        except _PARSER_FAULTS as exc:
            self._stop(*_syntax_mistake(exc, text))

    def on_document(self, event: Any) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop("a second document begins here; a file holds one document", event.start_mark.line + 1)
        if event.version not in {None, (1, 2)}:
            self._complain("the file says that it is YAML 1.1; a catalog is YAML 1.2", event.start_mark.line + 1)

    def on_alias(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if event.anchor not in self._anchors:
            self._stop(f"*{event.anchor} stands for nothing: its anchor is not, or not yet, complete here", line)
        node, size = self._anchors[event.anchor]
        self._repeated += size
        if self._repeated > MAX_REPEATED:
            self._stop(f"aliases repeat more than {MAX_REPEATED} values in this file", line)
        self._add(node.value, line, size)

    def on_scalar(self, event: Any) -> None:
        line = event.start_mark.line + 1
        self._check_tag(event, line)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self._begin_entry(frame, event.value, line)
            return
        value, complaint = _scalar(event)
        if complaint:
            self._complain(complaint, line)
        self._remember(event.anchor, self._add(value, line, 1), 1)

    def on_begin(self, event: Any) -> None:
        line = event.start_mark.line + 1
        self._check_tag(event, line)
        if len(self._stack) >= MAX_DEPTH:
            self._stop(f"the file is nested more than {MAX_DEPTH} deep", line)
        if self._stack and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None:
            self._stop("a list or mapping cannot be a name", line)
        kind: list[Node] | dict[str, Node] = {} if type(event).__name__ == "MappingStartEvent" else []
        self._stack.append(_Frame(kind, line, event.anchor))

    def on_end(self, _event: Any) -> None:
        frame = self._stack.pop()
        self._remember(frame.anchor, self._add(frame.value, frame.line, frame.size), frame.size)

    def _begin_entry(self, frame: _Frame, name: str, line: int) -> None:
        if not _is_storable(name):
            self._stop(f"a name holds {_UNSTORABLE}", line)
        frame.key, frame.key_line = name, line
        if name == "<<":
            self._complain("merge keys are not part of YAML 1.2: write the keys out", line)
        elif name in frame.lines:
            self._complain(f"{name} stands twice; first at {self._file}:{frame.lines[name]}", line)

    def _add(self, value: Any, line: int, size: int) -> Node:
        if not self._stack:
            self._root = Node(value, self._file, line)
            return self._root
        frame = self._stack[-1]
        frame.size += size
        if isinstance(frame.value, list):
            frame.value.append(node := Node(value, self._file, line))
            return node
        if frame.key is None:
            self._stop("an alias cannot be a name", line)
        node, name = Node(value, self._file, frame.key_line), str(frame.key)
        frame.key = None
        if name not in frame.lines and name != "<<":
            frame.lines[name] = node.line
            frame.value[name] = node
        return node

    def _remember(self, anchor: str | None, node: Node, size: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size)

    def _check_tag(self, event: Any, line: int) -> None:
        tag = event.tag
        if tag is not None and str(tag) not in _CORE_TAGS and str(tag) != "!":
            self._complain(f"the tag {tag} means nothing here: leave it out", line)

    def _path(self) -> str:
        return ".".join(frame.key for frame in self._stack if frame.key is not None)

    def _complain(self, message: str, line: int) -> None:
        path = self._path()
        self._mistakes.append(Mistake(message, f"{self._file}:{line}: {path}" if path else f"{self._file}:{line}"))

    def _stop(self, message: str, line: int) -> None:
        self._complain(message, line)
        raise _Stop


_HANDLERS = {
    "DocumentStartEvent": _Builder.on_document,
    "AliasEvent": _Builder.on_alias,
    "ScalarEvent": _Builder.on_scalar,
    "SequenceStartEvent": _Builder.on_begin,
    "MappingStartEvent": _Builder.on_begin,
    "SequenceEndEvent": _Builder.on_end,
    "MappingEndEvent": _Builder.on_end,
}


def _scalar(event: Any) -> tuple[Scalar, str]:
    """Return the value of a scalar by the core schema of YAML 1.2, and what is wrong with it, if anything."""
    text: str = event.value
    is_quoted = event.tag is None and not event.implicit[0]
    if is_quoted or event.tag in {"!", f"{_TAG}str"}:
        return (text, "") if _is_storable(text) else ("", f"the text holds {_UNSTORABLE}")
    return plain_scalar(text)


def plain_scalar(text: str) -> tuple[Scalar, str]:
    """Return the value that *text* has without quotes, and what is wrong with it, if anything."""
    if not _is_storable(text):
        return "", f"the text holds {_UNSTORABLE}"
    if text in _NULLS:
        return None, ""
    if text in _BOOLEANS:
        return _BOOLEANS[text], ""
    if _NOT_FINITE.fullmatch(text):
        return 0, "infinity and NaN are no numbers in JSON"
    return _number(text)


def _number(text: str) -> tuple[Scalar, str]:
    is_integer = _INTEGER.fullmatch(text) is not None
    if not is_integer and not _FLOAT.fullmatch(text):
        return text, ""
    if len(text) > MAX_DIGITS:
        return 0, f"a number of {len(text)} digits is more than the {MAX_DIGITS} that are read"
    if not is_integer:
        number = float(text)
        return (number, "") if isfinite(number) else (0, "the number is beyond what JSON can hold")
    value = int(text, 0 if text.startswith(("0o", "0x")) else 10)
    return (value, "") if -(2**63) <= value < 2**63 else (0, "the number is beyond 64 bits")


def _is_storable(text: str) -> bool:
    return "\0" not in text and (text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text))


def _syntax_mistake(exc: Exception, text: str) -> tuple[str, int]:
    """Return the sentence and the line of a fault of the parser."""
    if isinstance(exc, MarkedYAMLError):
        problem = str(exc.problem or exc.context or "it cannot be parsed")
        marks = (exc.problem_mark, exc.context_mark)
        # What is never closed is noticed at the end of the file; the line to mend is where it begins.
        mark = next((mark for mark in (reversed(marks) if "end" in problem else marks) if mark is not None), None)
        line = mark.line + 1 if mark is not None else 1
        if r"'\t'" in problem:
            return "a tab stands here; YAML is indented by spaces", line
        return f"not YAML: {problem}", line
    position = getattr(exc, "position", None)
    if isinstance(position, int):
        return "a control character stands here, which YAML does not allow", text.count("\n", 0, position) + 1
    return f"not YAML: {str(exc)[:200] or type(exc).__name__}", 1
