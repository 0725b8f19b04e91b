"""Tables of keys: what an object of the catalog may say, and the reader that finds every mistake in it at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import Any

from entrepot.catalog.tree import Node, plain
from entrepot.chassis.errors import Mistake


class Bad(Enum):
    """What a parser returns for a value that has a mistake, which it has reported."""

    BAD = "bad"


BAD = Bad.BAD


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a reader stands: the names that led here, and the list that every mistake goes to."""

    mistakes: list[Mistake]
    steps: tuple[str, ...] = ()

    def at(self, step: str | int) -> Spot:
        """Return the spot one step down."""
        return Spot(self.mistakes, (*self.steps, str(step)))

    def wrong(self, node: Node, message: str) -> Bad:
        """Report that *node*, which stands here, is not right; *message* says what would be."""
        self.mistakes.append(mistake_at(node.place, self.steps, message))
        return BAD


def mistake_at(place: str, steps: Iterable[str], message: str) -> Mistake:
    """Return the mistake of the value that *steps* lead to: its path is ``file:line: a.b.c``."""
    path = ".".join(steps)
    return Mistake(message, f"{place}: {path}" if path else place)


Parser = Callable[[Node, Spot], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an object. *kinds* are the kinds of object that have it, all when empty.

    *shown* is the default as the reference documentation writes it; *default* is what a missing key stands for.
    """

    name: str
    parse: Parser
    meaning: str
    default: Any = None
    required: bool = False
    shown: str = ""
    kinds: tuple[str, ...] = ()


@dataclass(slots=True)
class Values:
    """What an object says: a value for every key of its table.

    *given* are the keys that are written, *bad* those that have a mistake.
    """

    found: dict[str, Any] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> Any:
        return self.found[name]

    def are_right(self, *names: str) -> bool:
        """Return whether none of *names* has a mistake, so that a rule about them may be checked."""
        return self.bad.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class Table:
    """The keys of one kind of object; *what* is the noun for messages, with its article."""

    what: str
    keys: tuple[Key, ...]

    def by_name(self) -> dict[str, Key]:
        """Return the keys by their names."""
        return {key.name: key for key in self.keys}


def read(table: Table, node: Node, spot: Spot, kind: str = "") -> Values | Bad:
    """Return what *node* says by *table*; every mistake in it is reported.

    *kind* chooses among keys that not all kinds have; empty when the kind itself is in doubt: then none is missed.
    """
    if not isinstance(node.value, dict):
        return spot.wrong(node, f"must be {table.what}: a mapping of keys to values; it is {describe(node)}")
    values = Values()
    known = table.by_name()
    for name, child in node.entries.items():
        key = known.get(name)
        if _is_taken(key, name, child, spot, table, kind) and key is not None:
            _read_key(key, child, spot, values)
    meant = {nearest(name, known) for name in node.entries if name not in known}
    for key in table.keys:
        if key.name not in values.found:
            values.found[key.name] = key.default
            if key.required and key.name not in node.entries and (not key.kinds or kind in key.kinds):
                values.bad.add(key.name)
                # A misspelt key has been reported; that it is missing too would be the same mistake twice.
                if key.name not in meant:
                    spot.wrong(node, f"`{key.name}` is missing: {key.meaning}")
    return values


def _read_key(key: Key, node: Node, spot: Spot, values: Values) -> None:
    before = len(spot.mistakes)
    values.given.add(key.name)
    value = key.parse(node, spot.at(key.name))
    values.found[key.name] = key.default if value is BAD else value
    if len(spot.mistakes) > before:
        values.bad.add(key.name)


def _is_taken(key: Key | None, name: str, node: Node, spot: Spot, table: Table, kind: str) -> bool:
    """Return whether *name* is a key that this object has; report it otherwise."""
    here = spot.at(name)
    if key is None:
        names = [known.name for known in table.keys if not known.kinds or not kind or kind in known.kinds]
        here.wrong(node, f"{table.what} has no key `{name}`{did_you_mean(name, names)}")
    elif key.kinds and kind and kind not in key.kinds:
        here.wrong(node, f"`{name}` is for {_listed(key.kinds)} only; this is {_article(kind)}")
    else:
        return True
    return False


def leaf(convert: Callable[[Any], Any]) -> Parser:
    """Return the parser of one value; *convert* raises ValueError with what would be right."""

    def parse(node: Node, spot: Spot) -> Any:
        try:
            return convert(plain(node))
        except ValueError as exc:
            return spot.wrong(node, f"{exc}; it is {describe(node)}" if _is_other_shape(node) else str(exc))

    return parse


def list_of(item: Parser, what: str, *, least: int = 1) -> Parser:
    """Return the parser of a list without repetitions of at least *least* values; *what* names them in messages."""

    def parse(node: Node, spot: Spot) -> Any:
        if not isinstance(node.value, list):
            return spot.wrong(node, f"must be a list of {what}; it is {describe(node)}")
        if len(node.value) < least:
            return spot.wrong(node, f"must list at least {least} of {what}")
        values: list[Any] = []
        for index, child in enumerate(node.value):
            value = item(child, spot.at(index))
            if value is not BAD and any(value == other and type(value) is type(other) for other in values):
                spot.at(index).wrong(child, f"stands twice in the list: {child.value}")
            elif value is not BAD:
                values.append(value)
        return tuple(values)

    return parse


def mapping_of(item: Parser, what: str, name: Callable[[str], str] | None = None) -> Parser:
    """Return the parser of a mapping of names to values; *name* raises ValueError for a name that is not allowed."""

    def parse(node: Node, spot: Spot) -> Any:
        if not isinstance(node.value, dict):
            return spot.wrong(node, f"must be a mapping of {what}; it is {describe(node)}")
        values = {}
        for key, child in node.value.items():
            try:
                right = key if name is None else name(key)
            except ValueError as exc:
                spot.at(key).wrong(child, str(exc))
                continue
            value = item(child, spot.at(key))
            if value is not BAD:
                values[right] = value
        return values

    return parse


def object_of(table: Table, build: Callable[[Values], Any]) -> Parser:
    """Return the parser of an object that *build* makes of what it says, once all of it is right."""

    def parse(node: Node, spot: Spot) -> Any:
        before = len(spot.mistakes)
        values = read(table, node, spot)
        if isinstance(values, Bad) or len(spot.mistakes) > before:
            return BAD
        return build(values)

    return parse


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown *name*: the nearest of *names*, or all when they are few."""
    choices = sorted(set(names))
    near = nearest(name, choices)
    if near is not None:
        return f"; did you mean `{near}`?"
    return f"; there are {', '.join(choices)}" if 0 < len(choices) <= 30 else ""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of *names* that *name* may be a misspelling of, or None."""
    return next(iter(get_close_matches(name, list(names), n=1, cutoff=0.7)), None)


def describe(node: Node) -> str:
    """Return what kind of value *node* is, without the value: it may be a secret."""
    match node.value:
        case None:
            return "empty"
        case bool():
            return str(node.value).lower()
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _is_other_shape(node: Node) -> bool:
    return not isinstance(node.value, str)


_ARTICLES: Mapping[str, str] = {"odoo": "an Odoo upstream", "http": "an HTTP upstream"}


def _article(kind: str) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


def _listed(kinds: tuple[str, ...]) -> str:
    return " or ".join(_article(kind) for kind in kinds)
