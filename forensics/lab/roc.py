"""How well a score separates members from non-members: ROC, area, true positives at few false ones. Pure; ties exact.

An item counts as a member where its score reaches a threshold, so items that tie stand or fall together and the curve
goes straight from one distinct score to the next. The area under it is the chance that a member scores higher than a
non-member, ties counting one half (Mann and Whitney, 1947).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.lab.intervals import RESAMPLES, Interval
from forensics.metrics import rate

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["FALSE_POSITIVE_RATES", "Separation", "least_nonmembers", "separation"]

FALSE_POSITIVE_RATES = (0.01, 0.001)
"""At which true positives are reported: few enough that a single claim means something (Carlini et al., S&P 2022)."""

_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """Members' scores against non-members'.

    Attributes
    ----------
    members, nonmembers : int
    false_positive, true_positive : tuple of float
        The ROC, from (0, 0) to (1, 1); one point a distinct score.
    auc : Interval
        With a bootstrap interval over both sides; where the two sides do not overlap at all a bootstrap knows no
        spread, and the bound is that of as many independent pairs as the smaller side has (``method`` ``all`` or
        ``zero``).
    at : mapping of float to Interval or None
        False-positive rate to the largest share of members that is reached without exceeding it; None where there are
        so few non-members that not even one may be wrong, since a rate below 1 / n cannot be stated.
    """

    members: int
    nonmembers: int
    false_positive: tuple[float, ...]
    true_positive: tuple[float, ...]
    auc: Interval
    at: Mapping[float, Interval | None]


def least_nonmembers(false_positive_rate: float) -> int:
    """Return how many non-members it takes to state a false-positive rate: one of them may be wrong."""
    return int(np.ceil(1 / false_positive_rate - 1e-9))


def separation(
    members: ArrayLike,
    nonmembers: ArrayLike,
    *,
    rates: Sequence[float] = FALSE_POSITIVE_RATES,
    level: float = 0.95,
    seed: int = 0,
) -> Separation:
    """Return how scores of members, (m,), separate from those of non-members, (n,); higher is more like a member.

    Raises
    ------
    UsageError
        If a side is empty or a score is no number.
    """
    seen, unseen = (np.asarray(side, np.float64).ravel() for side in (members, nonmembers))
    if not len(seen) or not len(unseen):
        raise UsageError(f"{len(seen)} members and {len(unseen)} non-members given, 1 or more of each needed")
    if not (np.isfinite(seen).all() and np.isfinite(unseen).all()):
        raise UsageError("scores that are no finite numbers given; a ranking needs numbers")
    values, places = np.unique(np.concatenate((seen, unseen)), return_inverse=True)
    first, second = places[: len(seen)], places[len(seen) :]
    counts = np.stack([np.bincount(side, minlength=len(values)) for side in (first, second)]).astype(np.float64)
    area, found = _area(counts[:1], counts[1:])[0], _reached(counts[:1], counts[1:], rates)[0]
    areas, reached = _resampled(first, second, len(values), rates, seed)
    curve = np.concatenate((np.zeros((2, 1)), counts[:, ::-1].cumsum(1) / counts.sum(1, keepdims=True)), axis=1)
    return Separation(
        members=len(seen),
        nonmembers=len(unseen),
        true_positive=tuple(curve[0].tolist()),
        false_positive=tuple(curve[1].tolist()),
        auc=_interval(float(area), areas, min(len(seen), len(unseen)), level, len(seen) + len(unseen)),
        at={
            rate_: _interval(float(value), draws, len(seen), level, len(seen))
            if least_nonmembers(rate_) <= len(unseen)
            else None
            for rate_, value, draws in zip(rates, found, reached.T, strict=True)
        },
    )


def _area(seen: NDArray[np.float64], unseen: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (b,) areas of (b, v) counts of each distinct value, lowest first."""
    below = unseen.cumsum(1) - unseen / 2
    return np.asarray((seen * below).sum(1) / (seen.sum(1) * unseen.sum(1)), np.float64)


def _reached(seen: NDArray[np.float64], unseen: NDArray[np.float64], rates: Sequence[float]) -> NDArray[np.float64]:
    """Return (b, r): the largest share of members at each false-positive rate that is not exceeded."""
    true = seen[:, ::-1].cumsum(1) / seen.sum(1, keepdims=True)
    false = unseen[:, ::-1].cumsum(1) / unseen.sum(1, keepdims=True)
    found = [np.where(false <= rate_ + 1e-12, true, 0.0).max(1) for rate_ in rates]
    return np.stack(found, 1) if found else np.empty((len(seen), 0))


def _resampled(
    first: NDArray[np.intp], second: NDArray[np.intp], values: int, rates: Sequence[float], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return areas and shares of resamples of both sides."""
    rng = np.random.default_rng(seed)
    weights = [np.bincount(side, minlength=values) / len(side) for side in (first, second)]
    areas, reached = [], []
    step = max(1, _AT_ONCE // values)
    for start in range(0, RESAMPLES, step):
        size = min(step, RESAMPLES - start)
        # to draw items with replacement is to draw how often each distinct value comes
        seen, unseen = (
            rng.multinomial(len(side), weight, size).astype(np.float64)
            for side, weight in zip((first, second), weights, strict=True)
        )
        areas.append(_area(seen, unseen))
        reached.append(_reached(seen, unseen, rates))
    return np.concatenate(areas), np.concatenate(reached)


def _interval(value: float, draws: NDArray[np.float64], units: int, level: float, count: int) -> Interval:
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    method = "bootstrap"
    if value in (0.0, 1.0):
        bound = rate([value == 1.0] * units, level=level)
        low, high, method = min(low, bound.low), max(high, bound.high), bound.method
    return Interval(value=value, low=float(low), high=float(high), count=count, method=method)
