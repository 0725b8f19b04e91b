"""Query strings of lists: paging, filters, search, sort and fields (the REST shape of a model endpoint)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from entrepot.chassis.errors import Mistake
from entrepot.connectors.base import ListQuery, ModelMapping
from entrepot.errors import UnknownParameter

OPERATORS = {"ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "in": "in", "like": "like"}
MAX_OFFSET = 2**31 - 1
MAX_PARAMETERS = 50


def list_query(query: bytes, mapping: ModelMapping) -> ListQuery:
    """Return what *query* asks for. Raises UnknownParameter with every parameter that cannot be."""
    return _Reader(mapping, parameters(query)).read()


def parameters(query: bytes) -> list[tuple[str, str]]:
    """Return the decoded parameters in order. Raises UnknownParameter when they are too many or no UTF-8."""
    try:
        return parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError as exc:
        raise UnknownParameter(f"the query is not URL-encoded UTF-8 with at most {MAX_PARAMETERS} parameters") from exc


def refuse_parameters(query: bytes) -> None:
    """Raise UnknownParameter when *query* has any: the operation takes none."""
    if query:
        mistakes = [Mistake("is not known here", name[:100]) for name, _ in parameters(query)]
        raise UnknownParameter("this operation takes no query parameters", errors=mistakes)


def shown_fields(query: bytes, mapping: ModelMapping) -> tuple[str, ...] | None:
    """Return the fields that a single record is asked for by ``?fields=``, None for all."""
    reader = _Reader(mapping, parameters(query))
    reader.only({"fields"})
    return reader.fields()


def page_links(path: str, query: bytes, asked: ListQuery, *, has_next: bool) -> dict[str, str | None]:
    """Return ``{"next": …, "prev": …}``: *path* with the query's other parameters kept and limit and offset set."""
    kept = [(name, value) for name, value in parameters(query) if name not in {"limit", "offset"}]

    def link(offset: int, limit: int) -> str:
        return f"{path}?{urlencode([*kept, ('offset', offset), ('limit', limit)])}"

    previous = min(asked.limit, asked.offset)
    return {
        "next": link(asked.offset + asked.limit, asked.limit) if has_next else None,
        "prev": link(asked.offset - previous, previous) if asked.offset else None,
    }


class _Reader:
    """The parameters of one list request, read one by one; mistakes are gathered."""

    def __init__(self, mapping: ModelMapping, given: list[tuple[str, str]]) -> None:
        self._mapping = mapping
        self._given = given
        self._mistakes: list[Mistake] = []
        self._public = {field.public: field for field in mapping.fields}

    def read(self) -> ListQuery:
        asked = ListQuery(
            filters=self._filters(), search=self._search(), sort=self._sort(), fields=self.fields(),
            limit=self._number("limit", self._mapping.page_default, 1, self._mapping.page_max),
            offset=self._number("offset", 0, 0, MAX_OFFSET), total=self._total(),
        )  # fmt: skip
        self._refuse()
        return asked

    def only(self, names: set[str]) -> None:
        for name, _ in self._given:
            if name not in names:
                self._wrong(name, "is not known here")
        self._refuse()

    def fields(self) -> tuple[str, ...] | None:
        text = self._single("fields")
        if text is None:
            return None
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
        for name in names:
            field = self._public.get(name)
            if name != "id" and (field is None or field.write_only):
                self._wrong("fields", f"{name!r} is no field of this endpoint")
        self._refuse()
        return names

    def _refuse(self) -> None:
        if self._mistakes:
            raise UnknownParameter("the query has mistakes", errors=self._mistakes)

    def _wrong(self, name: str, why: str) -> None:
        self._mistakes.append(Mistake(f"Invalid parameter '{name[:100]}': {why}", name[:100]))

    def _single(self, name: str) -> str | None:
        values = [value for key, value in self._given if key == name]
        if len(values) > 1:
            self._wrong(name, "stands more than once")
        return values[0] if values else None

    def _number(self, name: str, default: int, least: int, most: int) -> int:
        text = self._single(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
            self._wrong(name, f"must be a whole number from {least} to {most}, is {text[:40]!r}")
            return default
        return int(text)

    def _total(self) -> bool:
        text = self._single("total")
        if text not in {None, "true", "false"}:
            self._wrong("total", "must be true or false")
        return text == "true"

    def _search(self) -> str | None:
        text = self._single("search")
        if text is not None and not self._mapping.search:
            self._wrong("search", "this endpoint has no search")
        return text

    def _sort(self) -> tuple[tuple[str, bool], ...]:
        text = self._single("sort")
        if text is None:
            return ()
        keys = []
        for key in text.split(","):
            name = key.strip().removeprefix("-")
            if name != "id" and name not in self._mapping.sort:
                self._wrong("sort", f"{name[:40]!r} cannot be sorted by")
            keys.append((name, key.strip().startswith("-")))
        return tuple(keys)

    def _filters(self) -> tuple[tuple[str, str, object], ...]:
        found = []
        for key, value in self._given:
            if key in {"limit", "offset", "sort", "fields", "search", "total"}:
                continue
            name, bracket, rest = key.partition("[")
            operator = OPERATORS.get(rest.removesuffix("]")) if bracket else "="
            field = self._public.get(name)
            if (field is None and name != "id") or (field is not None and (field.write_only or field.fields)):
                self._wrong(key, "is not known here")
            elif operator is None or (bracket and not rest.endswith("]")):
                self._wrong(key, f"the operator must be one of {', '.join(OPERATORS)}")
            else:
                found.append((name, operator, value.split(",") if operator == "in" else value))
        return tuple(found)
