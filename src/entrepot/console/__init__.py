"""The face of the operators: the admin API under ``/api/v1``.

``create_console_app`` makes the Flask application. ``table`` lists every resource and method with the role that it
needs, what it takes and what it answers; access, checks and the OpenAPI document all come from there. The rules of the
business are those of the packages below.
"""

from __future__ import annotations

from entrepot.console.app import create_console_app

__all__ = ["create_console_app"]
