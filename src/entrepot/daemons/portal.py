"""The portal in the foreground: gunicorn with threads, on a socket that the gateway alone reaches."""

from __future__ import annotations

from collections.abc import Callable

from entrepot.daemons import face
from entrepot.daemons.face import Face
from entrepot.portal import create_portal_app
from entrepot.settings import Settings


def face_of(settings: Settings) -> Face:
    """Return how the portal is run."""
    portal = settings.portal
    return Face("portal", (portal.bind,), portal.workers, portal.threads, portal.graceful_timeout_s)


def main(load_settings: Callable[[], Settings]) -> int:
    """Run the portal until it is told to stop; return its exit code."""
    return face.main(load_settings, face_of, create_portal_app)
