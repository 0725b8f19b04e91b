"""The health endpoint: name, version, and the migration that the database is at."""

from __future__ import annotations

import logging
from typing import Any

from flask import Blueprint, Response, current_app, jsonify
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from entrepot.chassis.config import option

log = logging.getLogger(__name__)


def create_blueprint(path: str) -> Blueprint:
    """Return the blueprint that answers GET *path*."""
    blueprint = Blueprint("cst-micro-chassis", __name__)
    blueprint.add_url_rule(f"/{path.lstrip('/')}", "status", _answer)
    return blueprint


def _answer() -> tuple[Response, int]:
    config = current_app.config
    health: dict[str, Any] = {
        "name": option("CST_PROJECT_NAME", config, str(current_app.import_name).title()),
        "version": option("CST_PROJECT_VERSION", config, "N/A"),
    }
    db = current_app.extensions["chassis"].db
    if db is None:
        return jsonify(health), 200
    status, found = _database(db)
    return jsonify({**health, **found}), status


def _database(db: Any) -> tuple[int, dict[str, Any]]:
    """Return the status and what there is to say of *db*: an engine, or an object that has one (Flask-SQLAlchemy)."""
    engine: Engine = getattr(db, "engine", db)
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return 200, {"last_migration": None, "degraded": "the database has no table alembic_version"}
            heads = list(connection.scalars(text("SELECT version_num FROM alembic_version ORDER BY version_num")))
    except SQLAlchemyError as exc:
        # What the driver says may name hosts and users, so it stays in the log.
        log.warning("the health check does not reach the database", extra={"cause": str(exc)})
        return 503, {"last_migration": None, "degraded": "the database does not answer"}
    return 200, {"last_migration": heads if len(heads) > 1 else next(iter(heads), None)}
