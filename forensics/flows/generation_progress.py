"""The progress of single calls of a generator, turned into that of a run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forensics.types import Progress

__all__ = ["Meter"]


class Meter:
    """Reports images done, and the generator's own steps summed over all calls; measures the time that calls take.

    Parameters
    ----------
    progress : Progress
        Told both, as stages of their own.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._total = self._images = self._started = 0
        self._steps: dict[str, int] = {}
        self.seconds = 0.0
        """In calls so far."""
        self.tokens = 0
        """Drawn so far; the caller counts them."""

    def begin(self, total: int) -> None:
        """So many images are to be made."""
        self._total = total
        if total:
            self._progress("images", 0, total)

    def batch(self, size: int) -> _Batch:
        """Return the context of one call for ``size`` images; it gives the call's progress."""
        self._started += size
        return _Batch(self, size)

    def image(self) -> None:
        """One image is committed."""
        self._images += 1
        self._progress("images", self._images, self._total)

    def step(self, stage: str, done: int, total: int, size: int) -> None:
        """Report ``done`` of ``total`` steps of a call for ``size`` images; the images to come need as many each."""
        before = self._steps.get(stage, 0)
        left = total * (self._total - self._started) // size
        self._progress(stage, before + done, before + total + left)

    def end(self, seconds: float, steps: dict[str, int]) -> None:
        """Add a call that has ended, its seconds and its steps of each stage."""
        self.seconds += seconds
        for stage, count in steps.items():
            self._steps[stage] = self._steps.get(stage, 0) + count


class _Batch:
    def __init__(self, meter: Meter, size: int) -> None:
        self._meter, self._size = meter, size
        self._totals: dict[str, int] = {}
        self._start = 0.0

    def __enter__(self) -> Progress:
        self._start = time.monotonic()
        return self._report

    def __exit__(self, *_: object) -> None:
        self._meter.end(time.monotonic() - self._start, self._totals)

    def _report(self, stage: str, done: int, total: int | None) -> None:
        if total:
            self._totals[stage] = total
            self._meter.step(stage, done, total, self._size)
