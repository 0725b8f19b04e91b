"""The Flask extension that sets an application up as a service."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from flask import Flask, Request
from flask.json.provider import DefaultJSONProvider

from entrepot.chassis.config import option
from entrepot.chassis.log import STREAM_LOG_LEVEL, OperationIdFormatter, get_log_config_dict
from entrepot.chassis.web import problems, request_id
from entrepot.chassis.web.health import create_blueprint

log = logging.getLogger(__name__)

_LEVELS = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}


@dataclass(slots=True)
class ChassisState:
    """What the chassis keeps for an application, in ``app.extensions["chassis"]``."""

    db: Any
    trusts: Callable[[Request], bool]


class JsonProvider(DefaultJSONProvider):
    """JSON with RFC 3339 dates, in the order of the data; NaN and infinity are errors, because JSON has none."""

    sort_keys = False

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return *obj* as JSON."""
        return super().dumps(obj, **{"allow_nan": False, **kwargs})

    @staticmethod
    def default(value: Any) -> Any:
        """Return what stands for *value*, which JSON does not know."""
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        return DefaultJSONProvider.default(value)


class Chassis:
    """Sets Flask applications up: logging, operation id, problems, JSON, health; it keeps no application itself.

    *db* is a SQLAlchemy engine or an object with one, for the health check. *trusted* says whose ``X-Request-Id`` is
    believed: networks, or a function of the request; nobody's by default.

    Read from the environment, then ``app.config``, then a default: CST_HEALTH_CHECK_ENDPOINT (``status``),
    CST_PROJECT_NAME, CST_PROJECT_VERSION (``N/A``), CST_STREAM_LOG_LEVEL or APP_STREAM_LOG_LEVEL (``INFO``),
    CST_API_DEFAULT_PAGE_SIZE (25).
    """

    def __init__(self, app: Flask | None = None, db: Any = None, *, trusted: request_id.Trusted = ()) -> None:
        if app is not None:
            self.init_app(app, db, trusted=trusted)

    def init_app(self, app: Flask, db: Any = None, *, trusted: request_id.Trusted = ()) -> None:
        """Set *app* up; a second time only changes *db* and *trusted*."""
        known = "chassis" in app.extensions
        app.extensions["chassis"] = ChassisState(db, request_id.trust(trusted))
        if known:
            return
        app.json = JsonProvider(app)
        self.setup_logging_config(app)
        request_id.install(app)
        problems.install(app)
        self.register_blueprints(app)

    def setup_logging_config(self, app: Flask) -> None:
        """Send the log of the process to standard error, unless ``setup_logging`` has arranged that already."""
        if any(isinstance(handler.formatter, OperationIdFormatter) for handler in logging.getLogger().handlers):
            return
        legacy = option("APP_STREAM_LOG_LEVEL", app.config, STREAM_LOG_LEVEL)
        level = option("CST_STREAM_LOG_LEVEL", app.config, legacy).upper()
        logging.config.dictConfig(get_log_config_dict(app.import_name, level if level in _LEVELS else STREAM_LOG_LEVEL))
        if level not in _LEVELS:
            log.warning("Invalid value for STREAM_LOG_LEVEL. The value was revised and set to INFO")

    def register_blueprints(self, app: Flask) -> None:
        """Add the health endpoint."""
        app.register_blueprint(create_blueprint(option("CST_HEALTH_CHECK_ENDPOINT", app.config, "status")))
