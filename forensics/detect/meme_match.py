"""How much an image has of each meme template: descriptors of its views against those of the templates.

============  =====================================================================================================
feature       of one image and one template, all >= 0, larger meaning more alike
============  =====================================================================================================
sscd          SSCD cosine of the chosen pair of views
layout        correlation of their thumbnails, channel by channel, above what unrelated pictures often have
fine          the same without the coarsest part
hash          how far the best pHash agreement (whole, or without the caption bands; plain or mirrored) is above chance
geometry      ln(1 - log10_nfa), at most 5: a common plane transform beyond chance, as in :mod:`forensics.scoring`
aligned       geometry x max(0, similarity): the same, where the aligned pixels show the same structure
============  =====================================================================================================

The chosen pair of views is the one with the largest sum of SSCD cosine and fine correlation. The belief is a logistic
model with non-negative weights, in ``coefficients/meme.json``; ``bench/fit_memes.py`` fits it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from forensics.types import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array, Verification

__all__ = [
    "CAPTION_BAND",
    "FEATURES",
    "HASH_VIEWS",
    "LAYOUT_VIEWS",
    "VECTOR_VIEWS",
    "Matches",
    "MemeModel",
    "QueryRows",
    "TemplateRows",
    "geometry_features",
    "load_model",
    "match",
]

FEATURES = ("sscd", "layout", "fine", "hash", "geometry", "aligned")

CAPTION_BAND = 0.18
"""Share of the height, above and below, in which captions stand; the masked hash leaves it out."""

_MIRRORED = 4
_SIDE = 0.72
_FAR = 1.0 - _SIDE


def _views(name: str, box: tuple[float, float, float, float]) -> tuple[View, View]:
    return View(name=name, box=box), View(name=f"{name}-mirrored", box=box, orientation=_MIRRORED)


LAYOUT_VIEWS: tuple[View, ...] = _views("whole", (0.0, 0.0, 1.0, 1.0))

VECTOR_VIEWS: tuple[View, ...] = (
    *LAYOUT_VIEWS,
    *_views("upper-left", (0.0, 0.0, _SIDE, _SIDE)),
    *_views("upper-right", (_FAR, 0.0, 1.0, _SIDE)),
    *_views("lower-left", (0.0, _FAR, _SIDE, 1.0)),
    *_views("lower-right", (_FAR, _FAR, 1.0, 1.0)),
    *_views("centre", (_FAR / 2, _FAR / 2, 1.0 - _FAR / 2, 1.0 - _FAR / 2)),
)
"""What is described of a template, so that a crop or a mirror image of it costs nothing to look for."""

HASH_VIEWS: tuple[View, ...] = (*LAYOUT_VIEWS, *_views("middle", (0.0, CAPTION_BAND, 1.0, 1.0 - CAPTION_BAND)))

# What unrelated pictures have often: a light sky above a dark ground correlates with any other.
_LAYOUT_CHANCE = 0.4
_FINE_CHANCE = 0.15
_HASH_CHANCE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TemplateRows:
    """Descriptors of n templates.

    Attributes
    ----------
    vectors : ndarray or None
        (n, len(VECTOR_VIEWS), d) float32 of the copy descriptor, unit rows; None where none runs.
    layouts, fines : ndarray
        (n, len(LAYOUT_VIEWS), k) float32: thumbnails, and those without their coarsest part, unit rows.
    hashes : ndarray
        (n, len(HASH_VIEWS), 8) uint8 pHashes.
    """

    vectors: FloatArray | None
    layouts: FloatArray
    fines: FloatArray
    hashes: UInt8Array

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryRows:
    """Descriptors of v views of one image.

    Attributes
    ----------
    vectors : ndarray or None
        (v, d) float32.
    layouts, fines : ndarray
        (v, k) float32.
    hashes : ndarray
        (2, 8) uint8: of the whole picture and of its middle.
    """

    vectors: FloatArray | None
    layouts: FloatArray
    fines: FloatArray
    hashes: UInt8Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches:
    """What one image has in common with n templates.

    Attributes
    ----------
    features : mapping of str to ndarray
        (n,) float32 for each of :data:`FEATURES`; those of geometry are 0.
    view : ndarray
        (n,) int: the view of the image that was chosen.
    mirrored : ndarray
        (n,) bool: it was compared with the mirrored template.
    """

    features: Mapping[str, FloatArray]
    view: NDArray[np.int64]
    mirrored: NDArray[np.bool_]


def match(query: QueryRows, templates: TemplateRows) -> Matches:
    """Compare one image with all templates."""
    n = len(templates)
    if not n:
        nothing = np.zeros(0, np.float32)
        return Matches(
            features=dict.fromkeys(FEATURES, nothing), view=np.zeros(0, np.int64), mirrored=np.zeros(0, np.bool_)
        )
    fine = np.einsum("qk,nvk->nqv", query.fines, templates.fines)
    layout = np.einsum("qk,nvk->nqv", query.layouts, templates.layouts)
    if query.vectors is not None and templates.vectors is not None:
        sscd = np.einsum("qd,nvd->nqv", query.vectors, templates.vectors)
        rest = ((0, 0), (0, 0), (0, sscd.shape[2] - fine.shape[2]))  # tiles have no thumbnails
        fine, layout = np.pad(fine, rest), np.pad(layout, rest)
    else:
        sscd = np.zeros_like(fine)
    best = (np.maximum(sscd, 0.0) + np.maximum(fine, 0.0)).reshape(n, -1).argmax(axis=1)

    def chosen(values: FloatArray, chance: float) -> FloatArray:
        picked = np.take_along_axis(values.reshape(n, -1), best[:, None], axis=1)[:, 0]
        return np.asarray(np.clip((picked - chance) / (1.0 - chance), 0.0, 1.0), np.float32)

    agreement = _agreement(query.hashes, templates.hashes)
    features = {
        "sscd": chosen(sscd, 0.0),
        "layout": chosen(layout, _LAYOUT_CHANCE),
        "fine": chosen(fine, _FINE_CHANCE),
        "hash": np.asarray(np.maximum(0.0, (agreement - _HASH_CHANCE) / (1.0 - _HASH_CHANCE)), np.float32),
    }
    features |= {"geometry": np.zeros(n, np.float32), "aligned": np.zeros(n, np.float32)}
    return Matches(features=features, view=best // sscd.shape[2], mirrored=best % 2 == 1)


def _agreement(query: UInt8Array, templates: UInt8Array) -> FloatArray:
    """Return (n,) the best share of equal bits: whole with whole, middle with middle, plain or mirrored."""
    sides = templates.reshape(len(templates), 2, 2, 8)  # (n, whole or middle, plain or mirrored, bytes)
    differing = np.unpackbits(sides ^ query[None, :, None, :], axis=-1).sum(axis=-1)
    return np.asarray(1.0 - differing.reshape(len(templates), -1).min(axis=1) / 64.0, np.float32)


def geometry_features(verification: Verification | None) -> dict[str, float]:
    """Return the two features that need pixels; 0 where the pair was not verified."""
    if verification is None or verification.status != "verified":
        return {"geometry": 0.0, "aligned": 0.0}
    geometry = min(5.0, math.log(1.0 + max(0.0, -float(verification.log10_nfa))))
    return {"geometry": geometry, "aligned": geometry * max(0.0, float(verification.similarity))}


@dataclass(frozen=True, slots=True, kw_only=True)
class MemeModel:
    """A fitted logistic model.

    Attributes
    ----------
    name : str
        Of the copy descriptor that it was fitted with, or ``no-sscd``.
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

    def belief(self, features: Mapping[str, FloatArray | float]) -> FloatArray:
        """Return the belief in [0, 1] that the image shows the template; features are numbers or arrays alike."""
        logit = self.intercept + sum(weight * np.asarray(features[name]) for name, weight in self.weights.items())
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -50.0, 50.0))), np.float32)


@lru_cache
def load_model(descriptor: str | None) -> MemeModel:
    """Return the shipped model for a copy descriptor, None where none runs."""
    table = json.loads((files("forensics") / "coefficients" / "meme.json").read_text(encoding="utf-8"))
    name = "no-sscd" if descriptor is None else descriptor if descriptor in table["models"] else "sscd-int8"
    entry = table["models"][name]
    source = str(table["source"])
    if descriptor is not None and name != descriptor:
        source += f" Fitted with {name}; taken over unmeasured for {descriptor}."
    return MemeModel(name=name, intercept=entry["intercept"], weights=entry["weights"], source=source)
