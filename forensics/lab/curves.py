"""Curves of memory: what a measure does over training steps, times planted, or how much of a caption is told. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forensics.errors import UsageError
from forensics.lab.intervals import Interval

__all__ = ["AXES", "MEASURES", "Axis", "CurvePoint", "Measure", "Trend", "shortened", "trend"]

Axis = Literal["steps", "planted", "caption"]
Measure = Literal["copy", "extraction", "auc"]

AXES: dict[Axis, str] = {
    "steps": "training steps",
    "planted": "times planted",
    "caption": "share of the caption's words that is told",
}
MEASURES: dict[Measure, str] = {
    "copy": "copy rate: captions whose picture comes back",
    "extraction": "extraction rate: pictures that come back from their first rows",
    "auc": "membership AUC against held-out pictures",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One measurement.

    Attributes
    ----------
    axis : str
        One of :data:`AXES`.
    x : float
        Where on it.
    measure : str
        One of :data:`MEASURES`.
    level : str
        Whose: ``64x``, ``held-out``, ``all members`` …
    interval : Interval
    """

    axis: Axis
    x: float
    measure: Measure
    level: str
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Whether a curve rises.

    Attributes
    ----------
    tau : float
        Kendall's tau-b of x and value (*Biometrika* 30, 1938): 1 where every step up is a rise, ties left out of the
        count; 0 where the values are all equal.
    apart : bool
        The interval at the largest x lies wholly above that at the smallest.
    """

    tau: float
    apart: bool

    @property
    def rises(self) -> bool:
        """Both hold: more often up than down, and further than chance."""
        return self.tau > 0 and self.apart


def trend(points: Sequence[CurvePoint]) -> Trend:
    """Return whether one measure of one level rises along its axis.

    Raises
    ------
    UsageError
        If there are not two points at least, or they are of several curves.
    """
    if len({(point.axis, point.measure, point.level) for point in points}) != 1 or len(points) < 2:
        raise UsageError(f"{len(points)} points given; 2 or more of one axis, measure and level accepted")
    ordered = sorted(points, key=lambda point: point.x)
    agree = ties_x = ties_value = pairs = 0
    for i, left in enumerate(ordered):
        for right in ordered[i + 1 :]:
            pairs += 1
            dx, dv = right.x - left.x, right.interval.value - left.interval.value
            ties_x += dx == 0
            ties_value += dv == 0
            agree += (dx * dv > 0) - (dx * dv < 0)
    scale = ((pairs - ties_x) * (pairs - ties_value)) ** 0.5
    return Trend(tau=agree / scale if scale else 0.0, apart=ordered[-1].interval.low > ordered[0].interval.high)


def shortened(caption: str, share: float) -> str:
    """Return the first words of a caption: that share of them, rounded up; 0 tells nothing."""
    if not 0 <= share <= 1:
        raise UsageError(f"a share of {share} of a caption given, 0 to 1 accepted")
    words = caption.split()
    # 0.25 of 4 words is 1 and not 2, whatever the last binary place says
    return " ".join(words[: -(-round(share * len(words) * 1000) // 1000)])
