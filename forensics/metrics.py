"""Rates with intervals: how often something happened, and between which bounds that rate may lie. Pure.

Symbols: ``n`` images, ``k`` of them with a finding, ``p = k / n``, ``G`` clusters (prompts), ``t`` Student's quantile.

Images made from one prompt are not independent: if one is a copy, its sisters often are. Where clusters are known the
interval is Korn and Graubard's (*Survey Methodology* 24, 1998; the presentation standard for proportions of the US
National Center for Health Statistics): the variance of ``p`` between clusters, with the ``G / (G - 1)`` small-sample
correction, gives the number of independent images that would be as informative, and the exact binomial interval
(Clopper and Pearson, *Biometrika* 26, 1934) is taken at that number.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

__all__ = ["Rate", "beta_quantile", "clopper_pearson", "rate", "student_quantile", "wilson"]

_STEPS = 200  # of bisection: more than a double resolves


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share of images and the interval it may lie in.

    Attributes
    ----------
    count, total : int
        ``k`` and ``n``.
    value, low, high : float
        The share and its interval, in [0, 1]. With ``total`` 0 nothing is known: 0, and the interval [0, 1].
    level : float
        Confidence, e.g. 0.95.
    method : {"exact", "clustered", "zero", "all", "none"}
        ``zero`` and ``all``: the one-sided bound for no (or only) hits, the exact form of the rule of three.
    clusters : int
        ``G``; 0 where images were taken as independent.
    effective : float
        The number of independent images that the interval rests on.
    """

    count: int
    total: int
    value: float
    low: float
    high: float
    level: float
    method: str
    clusters: int
    effective: float


def rate(hits: Sequence[bool], clusters: Sequence[Hashable] | None = None, *, level: float = 0.95) -> Rate:
    """Return the share of hits with its interval.

    Parameters
    ----------
    hits : sequence of bool
        One an image.
    clusters : sequence of hashable, optional
        The cluster of each image, in the same order. Without it, or where every image is a cluster of its own, images
        count as independent.
    level : float
        Confidence in (0, 1).

    Returns
    -------
    Rate
        Two-sided, except where no image or every image is a hit: there the one bound that says something takes the
        whole error, ``1 - (1 - level)^(1/m)``, near ``3 / m`` at 95 %. ``m`` is then the number of clusters: with no
        hits nothing is known about how alike the images of one prompt are, so each prompt counts once.

    Raises
    ------
    ValueError
        If the lengths differ or ``level`` is not in (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level {level} given; a confidence between 0 and 1 is needed")
    if clusters is not None and len(clusters) != len(hits):
        raise ValueError(f"{len(hits)} hits and {len(clusters)} clusters given; one cluster an image is needed")
    n, k = len(hits), sum(map(bool, hits))
    groups: dict[Hashable, list[int]] = {}
    for name, hit in zip(clusters or (), hits, strict=bool(clusters)):
        members = groups.setdefault(name, [0, 0])
        members[0] += int(bool(hit))
        members[1] += 1
    clustered = 0 < len(groups) < n
    count = len(groups) if clustered else 0
    if n == 0:
        return Rate(count=0, total=0, value=0.0, low=0.0, high=1.0, level=level, method="none", clusters=0, effective=0)
    p = k / n
    if k in (0, n):
        m = count or n
        bound = 1.0 - (1.0 - level) ** (1.0 / m)
        low, high, method = (0.0, bound, "zero") if k == 0 else (1.0 - bound, 1.0, "all")
        return Rate(
            count=k, total=n, value=p, low=low, high=high, level=level, method=method, clusters=count, effective=m
        )
    effective = _effective_size(list(groups.values()), n, p, level) if clustered else float(n)
    low, high = clopper_pearson(p * effective, effective, level=level)
    return Rate(
        count=k,
        total=n,
        value=p,
        low=low,
        high=high,
        level=level,
        method="clustered" if clustered else "exact",
        clusters=count,
        effective=effective,
    )


def _effective_size(groups: list[list[int]], n: int, p: float, level: float) -> float:
    """Korn and Graubard's degrees-of-freedom adjusted number of independent images, never more than ``n``."""
    g = len(groups)
    if g < 2:
        return 1.0
    # ratio estimator p = sum k_g / sum n_g; its linearised residuals sum to zero
    variance = g / (g - 1) * math.fsum((hits - p * size) ** 2 for hits, size in groups) / n**2
    if variance <= 0.0:
        return float(n)
    tail = (1.0 + level) / 2.0
    penalty = (student_quantile(tail, n - 1) / student_quantile(tail, g - 1)) ** 2
    return max(1.0, min(float(n), p * (1.0 - p) / variance * penalty))


def clopper_pearson(k: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval for ``k`` of ``n``; fractions are allowed (effective sizes)."""
    if not 0 <= k <= n or n <= 0:
        raise ValueError(f"{k} of {n} given; 0 <= k <= n and n > 0 are needed")
    tail = (1.0 - level) / 2.0
    low = 0.0 if k <= 0 else beta_quantile(tail, k, n - k + 1.0)
    high = 1.0 if k >= n else beta_quantile(1.0 - tail, k + 1.0, n - k)
    return low, high


def wilson(k: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval for ``k`` of ``n`` (*JASA* 22, 1927): shorter than the exact one, for charts."""
    if not 0 <= k <= n or n <= 0:
        raise ValueError(f"{k} of {n} given; 0 <= k <= n and n > 0 are needed")
    from statistics import NormalDist

    z = NormalDist().inv_cdf((1.0 + level) / 2.0)
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def beta_quantile(q: float, a: float, b: float) -> float:
    """Return x with ``I_x(a, b) = q``, the quantile of the beta distribution."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        low, high = (middle, high) if _incomplete_beta(middle, a, b) < q else (low, middle)
    return (low + high) / 2.0


def student_quantile(q: float, degrees: float) -> float:
    """Return Student's quantile for ``q`` in [0.5, 1): ``I_x(nu/2, 1/2) = 2 (1 - q)`` with ``x = nu / (nu + t^2)``."""
    x = beta_quantile(2.0 * (1.0 - q), degrees / 2.0, 0.5)
    return math.sqrt(degrees * (1.0 - x) / x)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function ``I_x(a, b)`` by its continued fraction (NIST DLMF 8.17.22)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):  # the fraction converges fast only on the other side
        return 1.0 - _incomplete_beta(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    tiny = 1e-300
    c, d, fraction = 1.0, 0.0, 1.0
    for i in range(100_000):
        m = i // 2
        if i == 0:
            term = 1.0
        elif i % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / (1.0 + term * d or tiny)
        c = 1.0 + term / c or tiny
        fraction *= c * d
        if abs(1.0 - c * d) < 1e-14:
            break
    # modified Lentz starts at f = 1 for 0 + 1/(1 + …): the first pass contributes 1 + 1, taken out here
    return front * (fraction - 1.0)
