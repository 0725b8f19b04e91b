"""The factory of the operators' Flask application."""

from __future__ import annotations

import logging
from importlib.metadata import version

from flask import Flask

from entrepot.chassis.web import Api, Chassis
from entrepot.console import guard
from entrepot.console.console import Console
from entrepot.console.resources import resources
from entrepot.console.table import PREFIX, TABLE
from entrepot.identity.passwords import Passwords
from entrepot.services import Services
from entrepot.settings import ConsoleSettings, Settings

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024


def create_console_app(
    settings: Settings, services: Services | None = None, passwords: Passwords | None = None
) -> Flask:
    """Build the application of the operators. Tests hand in their own *services*, and *passwords* of less cost."""
    _warn(settings.console)
    app = Flask("entrepot.console", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["CST_PROJECT_NAME"] = "Entrepot console"
    app.config["CST_PROJECT_VERSION"] = version("entrepot")
    Chassis(app, trusted=settings.console.trusted)
    app.extensions["entrepot"] = Console(settings, services, passwords)
    guard.install(app, settings.console)
    api = Api(app, prefix=PREFIX)
    for path, resource in resources(TABLE).items():
        api.add_resource(resource, path)
    return app


def _warn(settings: ConsoleSettings) -> None:
    far = [bind for bind in settings.bind if not bind.startswith(("unix:", "127.", "[::1]", "localhost:"))]
    if far and not settings.public_url.startswith("https:"):
        log.warning("passwords of operators cross the network in the clear", extra={"bind": ", ".join(far)})
