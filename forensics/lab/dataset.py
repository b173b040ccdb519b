"""Dataset inference: is this collection among the training data? Weak evidence of many images, added up. Pure.

After Maini et al. (*LLM Dataset Inference: Did you train on my dataset?*, NeurIPS 2024) and, for image models,
Kowalczuk et al. (ICML 2025): the suspects' statistics are compared with those of images that are known not to have been
trained on and were drawn *from the same source*. Maini et al. learn from half of the images how to weigh the
statistics. Here each counts the same, fixed beforehand, and no image is spent: each is replaced by its normal score
within all images of both sides (van der Waerden, 1952), which no outlier can rule, and an image's value is their mean.

Two tests, both one-sided, of "suspects score no higher than non-members". The permutation test draws anew who is a
suspect; its p-value is exact where the two sides are exchangeable, ties included. Welch's is its approximation, and
goes further down than one over the number of permutations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.lab.membership import AGGREGATED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Scores = NDArray[np.float64]

__all__ = ["PERMUTATIONS", "DatasetInference", "Power", "aggregate", "infer", "permutation_p", "power", "welch_p"]

PERMUTATIONS = 9999
"""With the observed one 10,000: the smallest p-value is 0.0001."""

_DRAWS = 200
_FOUND = 0.95
_FALSE = 3
_AT_ONCE = 1 << 22
_SIZES = (2, 3, 5, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What smaller collections would have shown.

    Attributes
    ----------
    images : int
        Drawn from the suspects, without replacement.
    median : float
        Of Welch's p over the draws.
    found : float
        Share of the draws with p below ``level``.
    false : float or None
        The same for as many non-members against the rest of them: what happens by chance; None where too few are left.
    """

    images: int
    median: float
    found: float
    false: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetInference:
    """The answer for one collection.

    Attributes
    ----------
    suspects, nonmembers : int
    statistics : tuple of str
        What was added up.
    difference : float
        Of the two sides' means, in standard deviations of the pooled normal scores.
    permutation_p : float
    welch_p : float or None
        None where a side has one image, or neither varies.
    level : float
        What :attr:`power` counts as found.
    power : tuple of Power
    enough : int or None
        The smallest number of images from which on 95 % of the draws are found, and of non-members' draws no more than
        three times the level; None where none of the sizes does.
    """

    suspects: int
    nonmembers: int
    statistics: tuple[str, ...]
    difference: float
    permutation_p: float
    welch_p: float | None
    level: float
    power: tuple[Power, ...]
    enough: int | None


def infer(
    suspects: Mapping[str, Scores],
    nonmembers: Mapping[str, Scores],
    *,
    names: Sequence[str] = AGGREGATED,
    level: float = 0.01,
    seed: int = 0,
) -> DatasetInference:
    """Return whether a collection looks trained on.

    Parameters
    ----------
    suspects, nonmembers : mapping of str to (n,) and (m,) arrays
        Statistics of :func:`forensics.lab.membership.statistics`.
    names : sequence of str
        Those to add up; what was not measured on both sides is left out.
    level : float
        p-value from which a draw of the power curve counts as found.
    seed : int
        Of permutations and draws.

    Raises
    ------
    UsageError
        If a side is empty or nothing is left to add up.
    """
    used = tuple(name for name in names if name in suspects and name in nonmembers)
    if not used:
        raise UsageError(f"none of {', '.join(names)} was measured on both sides; there is nothing to add up")
    first, second = (
        np.stack([np.asarray(side[name], np.float64) for name in used], 1) for side in (suspects, nonmembers)
    )
    if not len(first) or not len(second):
        raise UsageError(f"{len(first)} suspects and {len(second)} non-members given, 1 or more of each needed")
    pooled = aggregate(np.concatenate((first, second)))
    one, other = pooled[: len(first)], pooled[len(first) :]
    curve = power(one, other, level=level, seed=seed)
    spread = pooled.std()
    return DatasetInference(
        suspects=len(one),
        nonmembers=len(other),
        statistics=used,
        difference=float((one.mean() - other.mean()) / spread) if spread else 0.0,
        permutation_p=permutation_p(one, other, seed=seed),
        welch_p=welch_p(one, other),
        level=level,
        power=curve,
        enough=_enough(curve, level),
    )


def aggregate(values: NDArray[np.float64]) -> Scores:
    """Return (n,) means of the normal scores of (n, k) statistics; equal values get the score of their mean rank."""
    from scipy.special import ndtri

    count = len(values)
    columns = []
    for column in values.T:
        _, places, sizes = np.unique(column, return_inverse=True, return_counts=True)
        ranks = sizes.cumsum() - (sizes - 1) / 2
        columns.append(ndtri(ranks[places] / (count + 1)))
    return np.asarray(np.mean(columns, axis=0), np.float64)


def permutation_p(suspects: Scores, nonmembers: Scores, *, permutations: int = PERMUTATIONS, seed: int = 0) -> float:
    """Return the share of random assignments whose suspects' mean reaches the observed one, itself counted."""
    pooled, count = np.concatenate((suspects, nonmembers)), len(suspects)
    rng = np.random.default_rng(seed)
    observed = suspects.sum()
    tolerance = 1e-9 * max(1.0, float(np.abs(pooled).sum()))  # sums of equal numbers in another order differ
    reached = 0
    step = max(1, _AT_ONCE // len(pooled))
    for start in range(0, permutations, step):
        keys = rng.random((min(step, permutations - start), len(pooled)))
        chosen = np.argpartition(keys, count - 1, axis=1)[:, :count]
        reached += int((pooled[chosen].sum(1) >= observed - tolerance).sum())
    return (1 + reached) / (1 + permutations)


def welch_p(suspects: Scores, nonmembers: Scores) -> float | None:
    """Return Welch's one-sided p-value (*Biometrika* 34, 1947), None where it is not defined."""
    from scipy.special import stdtr

    if min(len(suspects), len(nonmembers)) < 2:
        return None
    parts = [side.var(ddof=1) / len(side) for side in (suspects, nonmembers)]
    total = sum(parts)
    if total <= 1e-24 * (1 + float(np.abs(suspects).max()) ** 2):
        return None
    freedom = total**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (suspects, nonmembers), strict=True)
    )
    return float(stdtr(freedom, -(suspects.mean() - nonmembers.mean()) / np.sqrt(total)))


def power(suspects: Scores, nonmembers: Scores, *, level: float = 0.01, seed: int = 0) -> tuple[Power, ...]:
    """Return what draws of fewer suspects would have shown, and as many non-members against the others."""
    rng = np.random.default_rng(seed)
    found = []
    for size in _SIZES:
        if size > len(suspects):
            break
        draws = [_p(suspects[_chosen(rng, len(suspects), size)], nonmembers) for _ in range(_DRAWS)]
        false = None
        if 2 * size <= len(nonmembers):
            null = []
            for _ in range(_DRAWS):
                order = rng.permutation(len(nonmembers))
                null.append(_p(nonmembers[order[:size]], nonmembers[order[size:]]))
            false = float(np.mean(np.array(null) < level))
        found.append(
            Power(
                images=size,
                median=float(np.median(draws)),
                found=float(np.mean(np.array(draws) < level)),
                false=false,
            )
        )
    return tuple(found)


def _chosen(rng: np.random.Generator, count: int, size: int) -> NDArray[np.int64]:
    return rng.permutation(count)[:size]


def _p(suspects: Scores, nonmembers: Scores) -> float:
    found = welch_p(suspects, nonmembers)
    return 1.0 if found is None else found


def _enough(curve: Sequence[Power], level: float) -> int | None:
    enough = None
    for point in reversed(curve):
        # Welch's test is too sure of two or three images: what non-members reach as well is no finding
        if point.found < _FOUND or (point.false is not None and point.false > _FALSE * level):
            break
        enough = point.images
    return enough
