"""What the stages of a flow took."""

from __future__ import annotations

import time

__all__ = ["Clock"]


class Clock:
    """Seconds by stage, in the order of the stages: :attr:`laps`."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        """End a stage."""
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 3)
        self._last = now
