"""The factory of the partner-facing Flask application."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from entrepot.chassis.web import Api, Chassis
from entrepot.portal import bearer, description, wellknown
from entrepot.portal.oauth import Introspect, Revoke, Token, WhoAmI
from entrepot.portal.portal import Portal
from entrepot.services import Services
from entrepot.settings import Settings

MAX_BODY_BYTES = 64 * 1024


def create_portal_app(settings: Settings, services: Services | None = None) -> Flask:
    """Build the partner-facing application. Tests hand in their own *services*.

    Whoever reaches it is believed: what X-Forwarded-For and its like say of the caller, and the operation id.
    """
    app = Flask("entrepot.portal", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # The gateway has told the caller's address from what others claim, and says it alone.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]  # Flask's way
    Chassis(app, trusted=lambda _request: True)
    app.extensions["entrepot"] = portal = Portal(settings, services)
    portal.follow_catalog()
    bearer.install(app, portal.issuer, settings.tokens.leeway_s)
    app.register_blueprint(wellknown.blueprint)
    app.register_blueprint(description.blueprint)
    api = Api(app)
    api.add_resource(Token, "/oauth/token")
    api.add_resource(Revoke, "/oauth/revoke")
    api.add_resource(Introspect, "/oauth/introspect")
    api.add_resource(WhoAmI, "/oauth/whoami")
    return app
