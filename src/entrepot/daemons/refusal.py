"""Settings that a reload could not use, as long as a daemon goes on with those of before: for people and metrics."""

from __future__ import annotations

import os
from pathlib import Path

from entrepot.chassis.metrics import Gauge, Meter

MAX_CHARACTERS = 300


class Refusal:
    """Whether the daemon of this process goes on with the settings of before, and why.

    *text* is what its status says of it, empty when all is well. Before the first refusal there is no file of metrics.
    """

    def __init__(self) -> None:
        self.text = ""
        self._meter: Meter | None = None
        self._gauge: Gauge | None = None

    def note(self, reason: str, daemon: str, directory: Path) -> None:
        """Note that *daemon* cannot use new settings for *reason*; *directory* is that of the metrics."""
        self.text = f"goes on with the settings of before: {' '.join(reason.split())}"[:MAX_CHARACTERS]
        if self._meter is None:
            self._meter = Meter(directory, f"master-{daemon}-{os.getpid()}")
            self._gauge = self._meter.gauge(
                "entrepot_settings_refused", "Whether the daemon goes on with the settings of before.", ("daemon",)
            ).labels(daemon)
        self._show(1)

    def end(self) -> None:
        """Note that the settings of the files are in use."""
        self.text = ""
        self._show(0)

    def _show(self, value: int) -> None:
        if self._meter is not None and self._gauge is not None:
            self._gauge.set(value)
            self._meter.flush()
