"""The chassis of Flask faces: envelope, errors as problems, operation id, pagination, health.

``Chassis(app)`` or ``Chassis().init_app(app)`` sets a Flask application up. Resources derive from ``ApiResource``, and
from ``ApiPaginatedMixin`` where they return pages; they are added to an ``Api`` of this package, whose errors go the
way of all others.
"""

from __future__ import annotations

from entrepot.chassis.web.extension import Chassis
from entrepot.chassis.web.pagination import ApiPaginatedMixin
from entrepot.chassis.web.resources import Api, ApiResource

__all__ = ["Api", "ApiPaginatedMixin", "ApiResource", "Chassis"]
