"""The console in the foreground: gunicorn with threads."""

from __future__ import annotations

from collections.abc import Callable

from entrepot.console import create_console_app
from entrepot.daemons import face
from entrepot.daemons.face import Face
from entrepot.settings import Settings


def face_of(settings: Settings) -> Face:
    """Return how the console is run: by one process, which counts wrong passwords for itself."""
    console = settings.console
    return Face("console", console.bind, 1, console.threads, console.graceful_timeout_s)


def main(load_settings: Callable[[], Settings]) -> int:
    """Run the console until it is told to stop; return its exit code."""
    return face.main(load_settings, face_of, create_console_app)
