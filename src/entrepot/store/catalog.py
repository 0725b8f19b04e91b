"""The tables of the catalog: its objects as they are now, and every revision that was."""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import JSON, CheckConstraint, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from entrepot.store.base import Base


class CatalogObject(Base):
    """An upstream, endpoint or partner of the catalog in force."""

    __tablename__ = "catalog_objects"
    __table_args__ = (
        UniqueConstraint("kind", "name"),
        CheckConstraint("origin IN ('file', 'console')", name="origin"),
    )

    kind: Mapped[str] = mapped_column(String(16), comment="upstreams, endpoints or partners.")
    name: Mapped[str] = mapped_column(String(80), comment="Unique within its kind.")
    definition: Mapped[dict[str, Any]] = mapped_column(JSON, comment="As a catalog file writes it, without defaults.")
    origin: Mapped[Literal["file", "console"]] = mapped_column(String(8), comment="Where it is changed.")
    place: Mapped[str] = mapped_column(Text, comment="The file:line it came from; empty when from no file.")


class CatalogRevision(Base):
    """The whole catalog of one revision. Rows are added and never changed."""

    __tablename__ = "catalog_revisions"
    __table_args__ = (UniqueConstraint("number"), CheckConstraint("number > 0", name="number"))

    number: Mapped[int] = mapped_column(Integer, comment="From 1, one more at each change.")
    document: Mapped[dict[str, Any]] = mapped_column(JSON, comment="Kind, name, definition of every object.")
    types: Mapped[dict[str, Any]] = mapped_column(JSON, comment="Upstream, model, and what Odoo says of its fields.")
    digest: Mapped[str] = mapped_column(String(64), comment="SHA-256 of document and types.")
    summary: Mapped[str] = mapped_column(Text, comment="What changed, one line an object.")
    made_by: Mapped[str] = mapped_column(String(255), comment="Who applied it.")
