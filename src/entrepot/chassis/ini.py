"""Read INI files line by line, so that every mistake has its file and line.

The dialect is that of :mod:`configparser` (``key = value`` or ``key: value``, keys in any case, comments with ``#`` or
``;`` at the start of a line and with `` ;`` after a value), which forgets line numbers and stops at the first mistake.
Values of several lines are a mistake here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from entrepot.chassis.errors import Mistake

_SECTION = re.compile(r"\[(?P<name>[^\[\]]+)\]")
_ENTRY = re.compile(r"(?P<key>[^=:]*?)\s*[=:]\s*(?P<value>.*)")
_INLINE_COMMENT = re.compile(r"(?:^|\s+);.*")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``key = value`` and the place where it stands (``file:line``)."""

    section: str
    key: str
    text: str
    place: str


@dataclass(slots=True)
class IniFile:
    """What a file says: the place of each section, the entries in order, and every mistake in its form."""

    sections: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)


def read_ini(name: str, content: bytes) -> IniFile:
    """Return what *content* says; *name* is the file's name in the places."""
    return _Reader(name).read(content)


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._found = IniFile()
        self._section: str | None = None
        self._places: dict[tuple[str, str], str] = {}

    def read(self, content: bytes) -> IniFile:
        for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
            place = f"{self._name}:{number}"
            try:
                line = raw.decode()
            except UnicodeDecodeError as exc:
                self._mistake(f"not UTF-8: byte 0x{raw[exc.start]:02x} at column {exc.start + 1}", place)
            else:
                self._read_line(line.rstrip(), place)
        return self._found

    def _read_line(self, line: str, place: str) -> None:
        if not line or line.lstrip()[0] in "#;":
            return
        if _CONTROL.search(line):
            self._mistake("a control character, which no setting may hold", place)
        elif line[0].isspace():
            self._mistake("the line begins with a space; a value must stand on one line", place)
        elif line[0] == "[":
            self._read_section(line, place)
        else:
            self._read_entry(line, place)

    def _read_section(self, line: str, place: str) -> None:
        match = _SECTION.fullmatch(_INLINE_COMMENT.sub("", line))
        if match is None:
            self._section = None
            self._mistake(f"not a section: {line!r}; one looks like [name]", place)
            return
        self._section = match["name"]
        first = self._found.sections.setdefault(self._section, place)
        if first != place:
            self._mistake(f"section [{self._section}] stands twice, first at {first}", place)

    def _read_entry(self, line: str, place: str) -> None:
        match = _ENTRY.fullmatch(line)
        if match is None or not match["key"]:
            # The line itself may be a secret that lost its key, so it is not repeated.
            self._mistake("neither a section nor `key = value`", place)
        elif self._section is None:
            self._mistake(f"key {match['key']!r} stands before any section", place)
        else:
            self._add(self._section, match["key"].lower(), _INLINE_COMMENT.sub("", match["value"]), place)

    def _add(self, section: str, key: str, text: str, place: str) -> None:
        first = self._places.setdefault((section, key), place)
        if first != place:
            self._mistake(f"key {key!r} stands twice in [{section}], first at {first}", place)
        else:
            self._found.entries.append(Entry(section, key, text.strip(), place))

    def _mistake(self, message: str, place: str) -> None:
        self._found.mistakes.append(Mistake(message, place))
