"""Means with intervals, for shares that are not only 0 and 1. Pure; NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.metrics import clopper_pearson, rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["RESAMPLES", "Interval", "at_least_one_interval", "mean_interval", "share_interval"]

RESAMPLES = 2000
"""Of a bootstrap: its bounds then move by about a fiftieth of their distance from run to run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A measured value and the bounds between which the true one may lie.

    Attributes
    ----------
    value, low, high : float
        NaN where nothing was measured.
    count : int
        Items that it rests on.
    method : str
        ``exact`` (Clopper and Pearson), ``zero`` or ``all`` (the one-sided bound), ``bootstrap``, or ``none``.
    """

    value: float
    low: float
    high: float
    count: int
    method: str


def share_interval(hits: Sequence[bool], *, level: float = 0.95) -> Interval:
    """Return the share of independent hits with the exact interval of :func:`forensics.metrics.rate`."""
    if not len(hits):
        return _nothing()
    found = rate([bool(hit) for hit in hits], level=level)
    return Interval(value=found.value, low=found.low, high=found.high, count=found.total, method=found.method)


def mean_interval(values: ArrayLike, *, level: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean of n independent values with its interval.

    Where all values are 0 or 1 the interval is the exact one of a share; else it is the bootstrap's percentile interval
    (Efron, *Annals of Statistics* 7, 1979; 2,000 resamples of the items), which is too short below some ten items.

    Parameters
    ----------
    values : (n,) array
        NaN is left out.
    level : float
        Confidence in (0, 1).
    seed : int
        Of the resamples.
    """
    given = np.asarray(values, np.float64).ravel()
    given = given[~np.isnan(given)]
    if not len(given):
        return _nothing()
    if bool(((given == 0) | (given == 1)).all()):
        return share_interval((given == 1).tolist(), level=level)
    rng = np.random.default_rng(seed)
    means = given[rng.integers(0, len(given), (RESAMPLES, len(given)))].mean(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=float(given.mean()), low=float(low), high=float(high), count=len(given), method="bootstrap")


def at_least_one_interval(copies: int, samples: int, draws: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return bounds of the probability that of ``draws`` samples one or more is a copy, where ``copies`` of some were.

    The exact bounds p of the rate of copies, each taken to 1 - (1 - p)^draws, which grows with p.
    """
    low, high = clopper_pearson(copies, samples, level=level)
    return 1.0 - (1.0 - low) ** draws, 1.0 - (1.0 - high) ** draws


def _nothing() -> Interval:
    return Interval(value=float("nan"), low=float("nan"), high=float("nan"), count=0, method="none")
