"""The partner-facing pages: token endpoint, revocation, introspection, keys and metadata, as OAuth 2.0 has them.

``create_portal_app`` makes the Flask application. It listens on a private socket; partners reach it through the gateway
only, which hands on what it knows of the caller. Rules about tokens, secrets and revocations are those of
``entrepot.identity``: here stand the forms of the RFCs and nothing else.
"""

from __future__ import annotations

from entrepot.portal.app import create_portal_app

__all__ = ["create_portal_app"]
