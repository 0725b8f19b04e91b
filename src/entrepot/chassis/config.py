"""Load settings: INI files in layers and the environment, into frozen dataclasses, with every mistake at once.

A tree of settings is a dataclass whose fields are sections; a section is a dataclass whose fields are made with
``setting``. The key of a field is its name without the unit: ``header_timeout_s`` is set by ``header_timeout = 10s``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from entrepot.chassis.errors import Mistake
from entrepot.chassis.ini import Entry, IniFile, read_ini
from entrepot.chassis.values import absolute_path, boolean, duration_s, integer, networks, size_bytes

__all__ = [
    "Complaint", "ConfigError", "Setting", "duration_s", "integer", "layered_files", "load", "networks", "option",
    "setting", "settings_of", "size_bytes",
]  # fmt: skip

_Tree = TypeVar("_Tree")
_UNITS: dict[str, tuple[Callable[[str], Any], str]] = {"_s": (duration_s, " s"), "_bytes": (size_bytes, " bytes")}
_TYPES: dict[object, Callable[[str], Any]] = {bool: boolean, int: integer, Path: absolute_path, str: str}


class ConfigError(Exception):
    """Settings that cannot be used; *mistakes* are all of them, in the order in which they were read."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__(f"{len(mistakes)} mistakes in the settings")
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a check of the whole tree has against the value of one key."""

    section: str
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Setting:
    """How one key is read. *least* and *most* bound numbers, in the field's unit; a *secret* is never shown."""

    section: str
    key: str
    name: str
    help: str
    parse: Callable[[str], Any]
    least: float | None
    most: float | None
    unit: str
    secret: bool

    def read(self, text: str) -> Any:
        """Return the value of *text*. Raises ValueError with a sentence that begins with "must"."""
        value = self.parse(text)
        if self.least is not None and value < self.least:
            raise ValueError(f"must be at least {self.least:g}{self.unit}")
        if self.most is not None and value > self.most:
            raise ValueError(f"must be at most {self.most:g}{self.unit}")
        return value


def setting(
    default: Any,
    consequence: str,
    *,
    parse: Callable[[str], Any] | None = None,
    least: float | None = None,
    most: float | None = None,
    secret: bool = False,
) -> Any:
    """Return a dataclass field that a settings file can set.

    *default* is the value, or a function that makes it; *consequence* is the help. Without *parse*, the unit at the end
    of the field's name or its type says how text is read.
    """
    metadata = {"help": consequence, "parse": parse, "least": least, "most": most, "secret": secret}
    if callable(default):
        return field(default_factory=default, metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


def settings_of(tree: type[Any]) -> dict[tuple[str, str], Setting]:
    """Return every setting of *tree* by section and key."""
    found = {}
    for section_name, section in get_type_hints(tree).items():
        types = get_type_hints(section)
        for each in fields(section):
            made = _setting(section_name, each.name, types[each.name], each.metadata)
            found[section_name, made.key] = made
    return found


def _setting(section: str, name: str, kind: object, metadata: Mapping[str, Any]) -> Setting:
    unit = next((unit for unit in _UNITS if name.endswith(unit)), "")
    parse, shown = _UNITS[unit] if unit else (_TYPES.get(kind), "")
    parse = metadata["parse"] or parse
    if parse is None:
        raise TypeError(f"{section}.{name}: nothing says how text becomes {kind!r}; give parse=")
    return Setting(
        section=section,
        key=name.removesuffix(unit),
        name=name,
        help=metadata["help"],
        parse=parse,
        least=metadata["least"],
        most=metadata["most"],
        unit=shown,
        secret=metadata["secret"],
    )


def option(name: str, config: Mapping[str, Any], default: str) -> str:
    """Return the environment variable *name*, else what *config* has by that name, else *default*; empty is unset."""
    return os.environ.get(name) or str(config.get(name) or default)


def layered_files(path: Path) -> list[Path]:
    """Return *path* and the ``conf.d/*.ini`` beside it in the order of their names; hidden ones are left out.

    Raises OSError if ``conf.d`` exists and cannot be read, and ConfigError for what is no regular file there: a pipe
    would be waited for.
    """
    directory = path.parent / "conf.d"
    try:
        names = sorted(each for each in directory.iterdir() if each.suffix == ".ini" and each.name[0] != ".")
    except FileNotFoundError:
        names = []
    # A link to /dev/null takes a file of this name away, as systemd has it.
    odd = [each for each in names if each.exists() and not (each.is_file() or each.is_char_device())]
    if odd:
        raise ConfigError([Mistake("is no regular file", str(each)) for each in odd])
    return [path, *names]


def load(
    tree: type[_Tree],
    files: Sequence[Path],
    environ: Mapping[str, str],
    *,
    prefix: str,
    check: Callable[[_Tree], Iterable[Complaint]] = lambda _: (),
) -> _Tree:
    """Return *tree* filled from *files*, a later one winning, and then from variables ``<prefix>_<SECTION>_<KEY>``.

    *check* looks at the whole once each value is right by itself. Raises ConfigError with every mistake, each with
    ``file:line`` or the name of its variable.
    """
    return _Loading(tree, prefix).load(files, environ, check)


class _Loading(Generic[_Tree]):
    def __init__(self, tree: type[_Tree], prefix: str) -> None:
        self._tree = tree
        self._prefix = prefix
        self._settings = settings_of(tree)
        self._sections = sorted({section for section, _ in self._settings})
        self._entries: dict[tuple[str, str], Entry] = {}
        self._values: dict[str, dict[str, Any]] = {section: {} for section in self._sections}
        self._mistakes: list[Mistake] = []
        self._unsound: set[str] = set()

    def load(
        self, files: Sequence[Path], environ: Mapping[str, str], check: Callable[[_Tree], Iterable[Complaint]]
    ) -> _Tree:
        for path in files:
            self._take_file(self._read(path))
        self._take_environment(environ)
        tree = self._build()
        self._take_complaints(check(tree))
        if self._mistakes:
            raise ConfigError(self._mistakes)
        return tree

    def _read(self, path: Path) -> IniFile:
        try:
            return read_ini(str(path), path.read_bytes())
        except OSError as exc:
            return IniFile(mistakes=[Mistake(f"cannot be read: {exc.strerror}", str(path))])

    def _take_file(self, found: IniFile) -> None:
        before = len(self._mistakes)
        self._mistakes += found.mistakes
        for section, place in found.sections.items():
            if section not in self._values:
                self._unknown(f"unknown section [{section}]", section, self._sections, place)
        for entry in found.entries:
            if entry.section in self._values:
                self._take(entry)
        self._mistakes[before:] = sorted(self._mistakes[before:], key=_line_of)

    def _take(self, entry: Entry) -> None:
        known = self._settings.get((entry.section, entry.key))
        if known is None:
            keys = [key for section, key in self._settings if section == entry.section]
            self._unknown(f"unknown key {entry.key!r} in [{entry.section}]", entry.key, keys, entry.place)
            return
        self._entries[entry.section, entry.key] = entry
        try:
            self._values[entry.section][known.name] = known.read(entry.text)
        except ValueError as exc:
            got = "" if known.secret else f", not {entry.text!r}"
            self._mistakes.append(Mistake(f"[{entry.section}] {entry.key} {exc}{got}", entry.place))
            self._unsound.add(entry.section)

    def _take_environment(self, environ: Mapping[str, str]) -> None:
        names = {f"{self._prefix}_{section}_{key}".upper(): (section, key) for section, key in self._settings}
        for name in sorted(environ):
            if not name.startswith(f"{self._prefix}_"):
                continue
            if name in names:
                self._take(Entry(*names[name], environ[name].strip(), name))
            else:
                self._unknown(f"unknown setting {name}", name, list(names), name)

    def _take_complaints(self, complaints: Iterable[Complaint]) -> None:
        for complaint in complaints:
            # With a bad value in the section, the default stands in its place, and the complaint may be about that.
            if complaint.section not in self._unsound:
                entry = self._entries.get((complaint.section, complaint.key))
                message = f"[{complaint.section}] {complaint.key} {complaint.message}"
                self._mistakes.append(Mistake(message, entry.place if entry else None))

    def _unknown(self, message: str, name: str, known: Sequence[str], place: str) -> None:
        near = get_close_matches(name, known, n=1)
        self._mistakes.append(Mistake(f"{message}; did you mean {near[0]!r}?" if near else message, place))

    def _build(self) -> _Tree:
        types = get_type_hints(self._tree)
        return self._tree(**{section: types[section](**values) for section, values in self._values.items()})


def _line_of(mistake: Mistake) -> int:
    line = (mistake.path or "").rpartition(":")[2]
    return int(line) if line.isdecimal() else 0
