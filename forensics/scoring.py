"""One belief from all measurements of a pair: the chance that the query was made from the reference.

A logistic model over a few monotone features, its coefficients in ``coefficients/pair.json``, a text file that anyone
can read and check. ``bench/fit_score.py`` fits it on edits of redistributable pictures.

============  =====================================================================================================
feature       from the measurements
============  =====================================================================================================
sscd          cosine of the best pair of views, SSCD, less what the query's view gives unrelated pictures, in [0, 1]
sscd_aligned  the same of the two parts that lie over one another, where a place was found
geometry      ln(1 - log10_nfa), at most 5: evidence of a common plane transform beyond chance
aligned       geometry x max(0, similarity): the same, where the aligned pixels show the same structure
placed        max(0, (correlation - 0.6) / 0.4) x max(0, similarity), where features found nothing but a placing did
hash          how far the better of pHash and PDQ lies above chance: max(0, (score - 0.75) / 0.25)
============  =====================================================================================================

What unrelated pictures are given is measured on a background set (:mod:`forensics.normalisation`) and never on the
references or the queries.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from forensics.types import Scalar

__all__ = ["FEATURES", "ScoreModel", "features", "load_model"]

FEATURES = ("sscd", "sscd_aligned", "geometry", "aligned", "placed", "hash")

_HASH_CHANCE = 0.75
_PLACING_CHANCE = 0.6
# Of builds of SSCD for which no background is shipped: the median of sscd-int8.
_TYPICAL_UNRELATED = 0.17


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreModel:
    """A fitted logistic model.

    Attributes
    ----------
    name : str
        ``sscd-int8``, ``sscd-disc-mixup`` …, or ``no-sscd`` where no copy descriptor ran.
    intercept : float
    weights : mapping of str to float
        A non-negative weight a feature.
    source : str
        One sentence: what it was fitted on.
    """

    name: str
    intercept: float
    weights: Mapping[str, float]
    source: str

    def belief(self, measurements: Mapping[str, Scalar]) -> float:
        """Return the belief in [0, 1] that the pair is a copy."""
        values = features(measurements)
        logit = self.intercept + sum(self.weights[name] * values[name] for name in self.weights)
        if logit >= 0:
            return 1.0 / (1.0 + math.exp(-logit))
        return math.exp(logit) / (1.0 + math.exp(logit))


def features(measurements: Mapping[str, Scalar]) -> dict[str, float]:
    """Turn measurements (columns of the candidates table) into the model's features; what is missing counts as 0.

    Parameters
    ----------
    measurements : mapping
        ``sscd``, ``sscd_unrelated``, ``sscd_aligned``, ``sscd_aligned_unrelated``, ``phash``, ``pdq``, ``log10_nfa``,
        ``similarity``, ``correlation``.

    Returns
    -------
    dict of str to float
        One value for each of :data:`FEATURES`, all >= 0, larger meaning more alike.
    """
    geometry = min(5.0, math.log(1.0 + max(0.0, -_number(measurements, "log10_nfa"))))
    similarity = max(0.0, _number(measurements, "similarity"))
    placed = max(0.0, (_number(measurements, "correlation") - _PLACING_CHANCE) / (1.0 - _PLACING_CHANCE))
    better_hash = max(_number(measurements, "phash"), _number(measurements, "pdq"))
    return {
        "sscd": _above_unrelated(measurements, "sscd"),
        "sscd_aligned": _above_unrelated(measurements, "sscd_aligned"),
        "geometry": geometry,
        "aligned": geometry * similarity,
        "placed": placed * similarity,
        "hash": max(0.0, (better_hash - _HASH_CHANCE) / (1.0 - _HASH_CHANCE)),
    }


def _above_unrelated(measurements: Mapping[str, Scalar], name: str) -> float:
    unrelated = _number(measurements, f"{name}_unrelated") or _TYPICAL_UNRELATED
    return min(1.0, max(0.0, _number(measurements, name) - unrelated))


def _number(measurements: Mapping[str, Scalar], name: str) -> float:
    value = measurements.get(name)
    if value is None or isinstance(value, str) or math.isnan(value):
        return 0.0
    return float(value)


@lru_cache
def load_model(descriptor: str | None) -> ScoreModel:
    """Return the shipped model for a copy descriptor.

    Parameters
    ----------
    descriptor : str or None
        Name of the SSCD embedder in use; None where none ran.
    """
    table = json.loads((files("forensics") / "coefficients" / "pair.json").read_text(encoding="utf-8"))
    name = "no-sscd" if descriptor is None else descriptor if descriptor in table["models"] else "sscd-int8"
    entry = table["models"][name]
    source = str(table["source"])
    if descriptor is not None and name != descriptor:
        source += f" Fitted with {name}; taken over unmeasured for {descriptor}."
    return ScoreModel(name=name, intercept=entry["intercept"], weights=entry["weights"], source=source)
