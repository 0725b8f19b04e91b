"""The OpenAPI 3.1 document of the paths that every gateway has: those of its catalog are others.

It is written by hand, in ``openapi.json``; tests hold it against what the running daemons answer.
"""

from __future__ import annotations

from importlib.resources import files

from flask import Blueprint, Response

from entrepot.portal.wellknown import METADATA_AGE_S, kept

blueprint = Blueprint("description", __name__)


@blueprint.get("/docs/openapi.json")
def description() -> Response:
    """Return the document."""
    document = files("entrepot.portal").joinpath("openapi.json").read_bytes()
    return kept(Response(document, mimetype="application/json"), METADATA_AGE_S)
