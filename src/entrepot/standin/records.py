"""Records of the stand-in's models: what Odoo's ``search``, ``read``, ``create``, ``write`` and ``unlink`` do."""

# ruff: noqa: S608 - tables and columns are those of the models; what callers send is bound

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from entrepot.standin import rules
from entrepot.standin.database import Database, referring_fields
from entrepot.standin.domains import condition, names_field, ordering
from entrepot.standin.faults import OdooError, access_error, broken_reference, mandatory, missing_record, value_error
from entrepot.standin.models import MAGIC, MODELS, Field, Json, Model
from entrepot.standin.values import field_of, from_column, now, to_column

# Names of tables and columns in the statements below come from models.py alone; values are bound. Hence S608.


class Records:
    """The records of *model*. Nothing here commits: ``Database.transaction`` is around each call."""

    def __init__(self, database: Database, model: Model, context: Mapping[str, Json]) -> None:
        self.database = database
        self.model = model
        self.context = context

    def of(self, name: str) -> Records:
        """Return the records of the model *name* under the same context."""
        return Records(self.database, MODELS[name], self.context)

    def search(self, domain: Json, offset: int = 0, limit: int | None = None, order: Json = None) -> list[int]:
        """Return ids; *limit* None or 0 means all. Archived records are left out unless the domain names ``active``."""
        sql, values = self._where(domain)
        bounds = [_bound("LIMIT", limit) or -1, _bound("OFFSET", offset)]
        sql = f"SELECT id FROM {self.model.table} WHERE {sql} ORDER BY {ordering(self.model, order)} LIMIT ? OFFSET ?"
        return self.database.ids(sql, [*values, *bounds])

    def count(self, domain: Json) -> int:
        """Return how many records *domain* matches."""
        sql, values = self._where(domain)
        return self.database.ids(f"SELECT count(*) FROM {self.model.table} WHERE {sql}", values)[0]

    def _where(self, domain: Json) -> tuple[str, list[Json]]:
        sql, values = condition(self.model, domain)
        hides = "active" in self.model.fields and self.context.get("active_test", True)
        if hides and not names_field(domain, "active"):
            sql = f"({sql}) AND {self.model.table}.active = 1"
        return sql, values

    def read(self, ids: Sequence[Json], names: Sequence[Json] | None = None) -> list[dict[str, Json]]:
        """Return the records that exist, in the order of *ids*; a many2one is ``[id, display name]``."""
        fields = [field_of(self.model, name) for name in names] if names else list(self.model.fields.values())
        kept = {row["id"]: row for row in self._rows(_integers(ids))}
        return [self._shown(kept[one], fields) for one in ids if one in kept]

    def _rows(self, ids: Sequence[int]) -> list[dict[str, Json]]:
        names = [field.name for field in self.model.columns]
        marks = ", ".join("?" for _ in ids)
        sql = f"SELECT {', '.join(names)} FROM {self.model.table} WHERE id IN ({marks})"
        return [dict(zip(names, row, strict=True)) for row in self.database.rows(sql, ids)]

    def _shown(self, row: Mapping[str, Json], fields: Iterable[Field]) -> dict[str, Json]:
        shown: dict[str, Json] = {"id": row["id"]}
        for field in fields:
            if field.type == "one2many":
                shown[field.name] = self._lines(field, row["id"])
            elif field.type == "many2one":
                shown[field.name] = self._named(field, row[field.name])
            else:
                shown[field.name] = from_column(field, row[field.name])
        return shown

    def _lines(self, field: Field, record_id: int) -> list[int]:
        return self.of(field.relation).search([[field.inverse, "=", record_id]])

    def _named(self, field: Field, record_id: int | None) -> Json:
        if record_id is None:
            return False
        sql = f"SELECT display_name FROM {MODELS[field.relation].table} WHERE id = ?"
        return [record_id, self.database.rows(sql, [record_id])[0][0]]

    def create(self, values: Mapping[str, Json], *, number: int | None = None) -> int:
        """Make a record and return its id, which is *number* when that is given (the first records)."""
        filled = {name: field.default for name, field in self.model.fields.items() if field.default is not None}
        given = {**filled, **rules.completed(self, values), "create_date": now(), "write_date": now()}
        columns = self._columns(given, magic=True)
        if number is not None:
            columns["id"] = number
        self._require(columns)
        names, marks = ", ".join(columns), ", ".join("?" for _ in columns)
        sql = f"INSERT INTO {self.model.table} ({names}) VALUES ({marks})"
        record_id = int(self.database.run(sql, list(columns.values())).lastrowid or 0)
        self._change_lines(record_id, given)
        rules.settle(self, [record_id])
        return record_id

    def write(self, ids: Sequence[Json], values: Mapping[str, Json]) -> None:
        """Change records; fields that only Odoo writes are passed over in silence, as Odoo does."""
        numbers = self.existing(ids)
        columns = {**self._columns(values, magic=False), "write_date": now()}
        self._require(columns, given_only=True)
        rules.check_write(self, numbers, columns)
        assignments = ", ".join(f"{name} = ?" for name in columns)
        for one in numbers:
            sql = f"UPDATE {self.model.table} SET {assignments} WHERE id = ?"
            self.database.run(sql, [*columns.values(), one])
            self._change_lines(one, values)
        rules.settle(self, numbers)

    def set(self, record_id: int, **columns: Json) -> None:
        """Set columns that a client cannot write, and nothing else."""
        assignments = ", ".join(f"{name} = ?" for name in columns)
        sql = f"UPDATE {self.model.table} SET {assignments} WHERE id = ?"
        self.database.run(sql, [*columns.values(), record_id])

    def unlink(self, ids: Sequence[Json]) -> None:
        """Delete records, their lines and their external ids; what a required relation leads to stays."""
        numbers = self.existing(ids)
        rules.check_unlink(self, numbers)
        for one in numbers:
            self._detach(one)
            self.database.run(f"DELETE FROM {self.model.table} WHERE id = ?", [one])
            self.database.run("DELETE FROM ir_model_data WHERE model = ? AND res_id = ?", [self.model.name, one])

    def existing(self, ids: Sequence[Json]) -> list[int]:
        """Return *ids*; raises Odoo's MissingError when one has no record."""
        numbers = _integers(ids)
        kept = {row["id"] for row in self._rows(numbers)}
        for one in numbers:
            if one not in kept:
                raise missing_record(self.model, one)
        return numbers

    def _columns(self, values: Mapping[str, Json], *, magic: bool) -> dict[str, Json]:
        columns = {}
        for name, value in values.items():
            field = field_of(self.model, name)
            silent = field.computed or name == "id" or (name in MAGIC and not magic)
            if field.type != "one2many" and not silent:
                columns[name] = to_column(self.model, field, value)
                self._check_reference(field, columns[name])
        return columns

    def _check_reference(self, field: Field, value: Json) -> None:
        if field.type != "many2one" or value is None:
            return
        sql = f"SELECT id FROM {MODELS[field.relation].table} WHERE id = ?"
        if not self.database.ids(sql, [value]):
            raise broken_reference(self.model, field)

    def _require(self, columns: Mapping[str, Json], *, given_only: bool = False) -> None:
        for name, field in self.model.fields.items():
            asked = field.required and (name in columns or not given_only)
            if asked and columns.get(name) is None:
                raise mandatory(self.model, field)

    def _change_lines(self, record_id: int, values: Mapping[str, Json]) -> None:
        for name, commands in values.items():
            field = field_of(self.model, name)
            if field.type == "one2many":
                for command in commands or []:
                    self._change_line(field, record_id, command)

    def _change_line(self, field: Field, record_id: int, command: Sequence[Json]) -> None:
        lines = self.of(field.relation)
        code, line_id, given = (*command, None, None)[:3]
        match code:
            case 0:
                lines.create({**(given or {}), field.inverse: record_id})
            case 1:
                lines.write([line_id], given or {})
            case 2 | 3:
                lines.unlink([line_id])
            case 4:
                lines.write([line_id], {field.inverse: record_id})
            case 5 | 6:
                wanted = given or [] if code == 6 else []
                lines.unlink([one for one in self._lines(field, record_id) if one not in wanted])
            case _:
                raise value_error(f"Wrong value for {self.model.name}.{field.name}: {command}")

    def _detach(self, record_id: int) -> None:
        for other, field in referring_fields(self.model):
            holders = self.of(other.name)
            sql = f"SELECT id FROM {other.table} WHERE {field.name} = ?"
            ids = self.database.ids(sql, [record_id])
            if ids and field.name == "order_id":
                holders.unlink(ids)
            elif ids and (field.required or field.restrict):
                raise broken_reference(other, field)
            else:
                for one in ids:
                    holders.set(one, **{field.name: None})


def _integers(ids: Sequence[Json]) -> list[int]:
    for one in ids:
        if isinstance(one, str):
            raise access_error(
                f"Database fetch misses ids (({one!r},)) and has extra ids (), may be caused by a type incoherence in "
                "a previous request"
            )
        if not isinstance(one, int):
            raise OdooError("builtins.TypeError", f"{type(one).__name__} is not an id")
    # More than SQLite can bind names no record.
    return [one for one in ids if abs(one) < 2**62]


def _bound(what: str, value: Json) -> int:
    if value is None or value is False:
        return 0
    if not isinstance(value, int):
        raise OdooError("builtins.TypeError", f"%d format: a number is required, not {type(value).__name__}")
    if value < 0:
        kind = "Limit" if what == "LIMIT" else "ResultOffset"
        raise OdooError(f"psycopg2.errors.InvalidRowCountIn{kind}Clause", f"{what} must not be negative\n")
    return min(value, 2**62)
