"""How often an unrelated picture would score as high: the tail of best scores of unrelated queries. Pure.

A calibration holds, for each of n queries that show nothing of the index, the best score that the whole audit gave it
(candidates, verification, score model). From these come the chance that an unrelated query reaches a score, the score
that only a stated share reaches, and how far the sample supports a claim.

==========  ===========================================================================================================
symbol      meaning
==========  ===========================================================================================================
b, s        belief in [0, 1], and its logit ln(b / (1 - b)): where the tail of beliefs is one of a line, not of a bound
n           unrelated queries
u, k        where the tail begins, and how many scores lie above it: the highest tenth, at least :data:`TAIL_LEAST`
xi, sigma   shape and scale of the generalised Pareto distribution of s - u above u
==========  ===========================================================================================================

Below u the chance is the share that was seen. Above it, it is (k / n) (1 + xi (s - u) / sigma)^(-1 / xi), the method of
peaks over a threshold (Pickands 1975; Coles, *An Introduction to Statistical Modeling of Extreme Values*, 2001, chapter
4), fitted by probability-weighted moments (Hosking and Wallis, *Technometrics* 29, 1987), which small samples bear
better than maximum likelihood; but never less than the share that was seen. A negative shape would say that no
unrelated picture can ever score above some bound; no sample of hundreds supports that, so the shape is kept at 0 (an
exponential tail) or above.

The interval is the wider of two: the percentiles of a bootstrap over queries with the whole fit repeated, and the exact
binomial interval of the share that was seen. Where nothing was seen the upper end is the rule of three, so that no
likelihood ratio exceeds a third of n.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.metrics import clopper_pearson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = [
    "LEAST_QUERIES",
    "TAIL_LEAST",
    "Calibration",
    "Chance",
    "Tail",
    "fit_tail",
    "from_logit",
    "logit",
    "one_in",
    "verbal",
]

LEAST_QUERIES = 50
"""Fewer unrelated queries say too little of a tail."""

TAIL_LEAST = 20
_TAIL_SHARE = 0.1
_LEVEL = 0.95
_RESAMPLES = 1000
_FLOOR = 1e-9
_LARGEST_SHAPE = 0.9
_SMALLEST_SCALE = 1e-3

_WORDS = (
    (1e6, "extremely strong support"),
    (1e4, "very strong support"),
    (1e3, "strong support"),
    (1e2, "moderately strong support"),
    (1e1, "moderate support"),
    (2.0, "weak support"),
)


def logit(belief: float) -> float:
    """Return ln(b / (1 - b)), with b kept off 0 and 1 by 1e-9."""
    kept = min(max(belief, _FLOOR), 1 - _FLOOR)
    return math.log(kept / (1 - kept))


def from_logit(value: float) -> float:
    """Return the belief of a logit."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The fitted tail of logits.

    Attributes
    ----------
    start : float
        Where it begins: u.
    share : float
        k / n.
    shape, scale : float
        xi >= 0 and sigma > 0.
    """

    start: float
    share: float
    shape: float
    scale: float

    def above(self, value: float) -> float:
        """Return the chance of a score of at least ``value``, which lies in the tail."""
        excess = max(0.0, value - self.start) / self.scale
        if self.shape < 1e-9:
            return self.share * math.exp(-excess)
        return float(self.share * (1 + self.shape * excess) ** (-1 / self.shape))

    def reached_by(self, rate: float) -> float:
        """Return the score that the share ``rate`` of unrelated queries reaches; ``rate`` is at most ``share``."""
        ratio = self.share / rate
        if self.shape < 1e-9:
            return self.start + self.scale * math.log(ratio)
        return float(self.start + self.scale / self.shape * (ratio**self.shape - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A probability with its interval.

    Attributes
    ----------
    value, low, high : float
        The estimate and its 95 % interval.
    seen, of : int
        How many of how many unrelated queries reached the score.
    """

    value: float
    low: float
    high: float
    seen: int
    of: int


def fit_tail(scores: Floats) -> Tail:
    """Fit the tail of logits by probability-weighted moments; the shape is kept in [0, 0.9].

    Parameters
    ----------
    scores : ndarray
        (n,) in any order, n >= 2.
    """
    tails = _fit(np.sort(scores)[None, ::-1])
    return Tail(start=float(tails[0, 0]), share=_tail_size(len(scores)) / len(scores), shape=float(tails[0, 1]),
                scale=float(tails[0, 2]))  # fmt: skip


def _tail_size(count: int) -> int:
    return min(max(math.ceil(_TAIL_SHARE * count), TAIL_LEAST), count // 2)


def _fit(ordered: Floats) -> Floats:
    """Return (r, 3) start, shape and scale of r samples, (r, n) in descending order."""
    many = _tail_size(ordered.shape[1])
    start = ordered[:, many]
    excess = ordered[:, :many][:, ::-1] - start[:, None]  # ascending
    weight = 1 - (np.arange(1, many + 1) - 0.35) / many
    mean, second = excess.mean(axis=1), (excess * weight).mean(axis=1)
    # Hosking and Wallis write k = -xi
    spread = np.maximum(mean - 2 * second, 1e-12)
    shape = np.clip(2 - mean / spread, 0.0, _LARGEST_SHAPE)
    scale = np.maximum(mean * (1 - shape), _SMALLEST_SCALE)
    return np.stack([start, shape, scale], axis=1)


class Calibration:
    """Best scores of unrelated queries against one index, with one set-up of the audit.

    Parameters
    ----------
    scores : sequence of float
        (n,) logits, one a query.
    key : mapping
        Everything that the scores depend on, as plain values: the index's fingerprint, the embedders', the score model,
        effort. A calibration speaks only for an audit with the same key.
    population : str
        What the queries were, in words that go into a sentence: ``references as queries, each searched without its …``.

    Raises
    ------
    UsageError
        If there are fewer than :data:`LEAST_QUERIES` scores.
    """

    def __init__(self, scores: Sequence[float], *, key: Mapping[str, Any], population: str) -> None:
        if len(scores) < LEAST_QUERIES:
            raise UsageError(
                f"{len(scores)} unrelated queries given; a calibration needs {LEAST_QUERIES} or more: add references, "
                "or name a folder of unrelated pictures with --background"
            )
        # rounded as they are written, so that a calibration says the same when it is read again
        kept: Floats = np.asarray([round(float(score), 4) for score in scores], np.float64)
        self.scores: Floats = np.sort(kept)[::-1]
        self.key, self.population = dict(key), population
        self.tail = fit_tail(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def _resampled(self) -> tuple[Floats, Floats]:
        """(r, n) scores of resampled queries in descending order, and (r, 3) their tails."""
        rng = np.random.default_rng(0)
        drawn = self.scores[rng.integers(0, len(self), (_RESAMPLES, len(self)))]
        ordered = np.sort(drawn, axis=1)[:, ::-1]
        return ordered, _fit(ordered)

    def chance(self, belief: float) -> Chance:
        """Return the chance that an unrelated query's best score is at least ``belief``."""
        value = logit(belief)
        seen, of = int((self.scores >= value).sum()), len(self)
        share = seen / of
        # no fit states less than what was seen
        p = max(self.tail.above(value), share) if value > self.tail.start else share
        ordered, tails = self._resampled
        start, shape, scale = tails[:, 0], tails[:, 1], tails[:, 2]
        excess = np.maximum(value - start, 0) / scale
        bent = np.maximum(shape, 1e-9)
        beyond = self.tail.share * np.exp(-np.log1p(bent * excess) / bent)
        drawn = np.where(value > start, beyond, (ordered >= value).mean(axis=1))
        low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
        exact_low, exact_high = clopper_pearson(seen, of, level=_LEVEL)
        if not seen:
            exact_high = 1 - (1 - _LEVEL) ** (1 / of)  # the rule of three, exactly
        return Chance(
            value=p,
            low=float(min(low, exact_low, p)),
            high=float(max(high, exact_high, p)),
            seen=seen,
            of=of,
        )

    def belief_at(self, rate: float) -> float:
        """Return the belief from which on only the share ``rate`` of unrelated queries scores.

        Raises
        ------
        UsageError
            If ``rate`` is not between 0 and 1, or rarer than one in as many queries as were made.
        """
        if not 0 < rate < 1:
            raise UsageError(f"a rate of false alarms of {rate:g} given; a share between 0 and 1 accepted, e.g. 0.01")
        if rate * len(self) < 1:
            raise UsageError(
                f"a rate of false alarms of {rate:g} given; the calibration has {len(self)} unrelated queries, which "
                f"support {1 / len(self):.2g} or more: calibrate with --queries {math.ceil(1 / rate)}"
            )
        # the next score above what the share may reach, halfway, so that no query stands on the threshold itself
        place = int(rate * len(self))
        above, below = float(self.scores[place - 1]), float(self.scores[min(place, len(self) - 1)])
        seen = (above + below) / 2 if above > below else math.nextafter(above, math.inf)
        return from_logit(max(seen, self.tail.reached_by(rate)) if rate < self.tail.share else seen)

    def likelihood_ratio(self, belief: float) -> float:
        """Return how many times likelier a copy reaches the score than an unrelated picture, at least.

        One over the upper end of :meth:`chance`: a copy is taken to reach it, and the sample bounds how rare it is
        among unrelated pictures: never above about a third of the sample.
        """
        return 1 / self.chance(belief).high

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "key": dict(self.key),
            "population": self.population,
            "queries": len(self),
            "scores": self.scores.tolist(),
            "tail": {
                "start": round(self.tail.start, 4),
                "share": round(self.tail.share, 4),
                "shape": round(self.tail.shape, 4),
                "scale": round(self.tail.scale, 4),
            },
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Read what :meth:`to_dict` gave; the tail is fitted anew."""
        return cls([float(v) for v in values["scores"]], key=values["key"], population=str(values["population"]))


def one_in(chance: float) -> str:
    """Return a chance in words: ``1 in 4,000``, ``3 in 100``; never more digits than it bears."""
    if chance <= 0:
        return "none"
    if chance >= 0.01:
        return f"{100 * chance:.2g} in 100" if chance < 0.995 else "all"
    digits = 10 ** max(0, math.floor(math.log10(1 / chance)) - 1)
    return f"1 in {round(1 / chance / digits) * digits:,}"


def verbal(ratio: float) -> str:
    """Return the band of a likelihood ratio in words (ENFSI, Guideline for Evaluative Reporting, 2015, table 1)."""
    return next((words for bound, words in _WORDS if ratio >= bound), "no support")
