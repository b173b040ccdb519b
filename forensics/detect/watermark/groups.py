"""Which images agree with one another more than chance lets them? Sign flips say what chance does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.watermark.fields import blurred

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.detect.watermark.fields import ComplexArray
    from forensics.types import FloatArray, UInt8Array

__all__ = ["CAP", "Group", "consensus_p", "distinct", "heaviest_group"]

CAP = 0.8
"""What one pair may add to a group: a strong pair is a picture drawn twice, not a mark."""

_ALIKE = 0.8
"""Correlation of two images' layouts (16 x 16) from which they count as one picture."""
_BIAS = 0.05
_FLIPS = 199
_LEAST_MEAN = 0.33
_LEAST_IMAGES = 3


def distinct(frames: Sequence[UInt8Array]) -> list[int]:
    """Return the positions of images of which no earlier one shows the same picture."""
    import cv2

    kept: list[int] = []
    layouts: list[NDArray[np.float32]] = []
    for number, frame in enumerate(frames):
        small = cv2.resize(frame, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        small -= small.mean()
        length = float(np.linalg.norm(small))
        if length < 16:  # a blank: nothing to compare
            continue
        small /= length
        if not layouts or float((np.stack(layouts) @ small).max()) < _ALIKE:
            kept.append(number)
            layouts.append(small)
    return kept


def consensus_p(fields: ComplexArray, rng: np.random.Generator, *, flips: int = 199) -> float:
    """Return how likely the strongest place of the images' mean field is by chance: their signs are flipped.

    A mark adds the same gradients to every image that has it, and a picture's own point either way. Flipping an image
    turns all its gradients, so that what lies close together stays together.
    """
    count, height, width = fields.shape
    flat = fields.reshape(count, -1)

    def strongest(mean: ComplexArray) -> float:
        power = np.asarray(np.abs(mean).reshape(height, width) ** 2, np.float32)
        return float(blurred(power, _CONSENSUS_SIGMA).max())

    seen = strongest(flat.mean(0))
    signs = rng.choice(np.array([-1, 1], np.float32), (flips, count)) / count
    beaten = sum(strongest(np.asarray(row @ flat, np.complex64)) >= seen for row in signs)
    return (1 + beaten) / (1 + flips)


_CONSENSUS_SIGMA = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Images that agree with one another.

    Attributes
    ----------
    members : tuple of int
        By their positions, the most typical first.
    mean : float
        How well two of them agree, on average, a pair counting at most :data:`CAP`.
    p_value : float
        How often images with flipped signs make as heavy a group.
    """

    members: tuple[int, ...]
    mean: float
    p_value: float


def heaviest_group(alike: FloatArray, rng: np.random.Generator, must: int | None = None) -> Group | None:
    """Return the images that agree most with one another; None where too few do, or too little.

    Parameters
    ----------
    alike : ndarray
        (n, n) float32, see :func:`~forensics.detect.watermark.fields.agreement`.
    rng : Generator
        Of the sign flips.
    must : int, optional
        An image that the group grows around; any by default.
    """
    count = len(alike)
    capped = np.clip(alike, -1, CAP) - _BIAS
    np.fill_diagonal(capped, 0)
    value, weights = _heaviest(capped, range(count) if must is None else [must])
    group = [int(place) for place in np.argsort(-weights) if weights[place] > 0.25 * weights.max()]
    if len(group) < _LEAST_IMAGES:
        return None
    inside = np.clip(alike, -1, CAP)[np.ix_(group, group)]
    mean = float(inside.sum()) / (len(group) * (len(group) - 1))
    if mean < _LEAST_MEAN:
        return None
    beaten = 0
    for _ in range(_FLIPS):
        signs = rng.choice(np.array([-1, 1], np.float32), count)
        flipped = np.clip(alike * np.outer(signs, signs), -1, CAP) - _BIAS
        np.fill_diagonal(flipped, 0)
        starts = rng.integers(0, count, 12) if must is None else [must]
        beaten += _heaviest(flipped, starts)[0] >= value
    return Group(members=tuple(group), mean=mean, p_value=(1 + beaten) / (1 + _FLIPS))


def _heaviest(alike: FloatArray, starts: Sequence[int] | range | NDArray[np.int64]) -> tuple[float, FloatArray]:
    """Return the largest ``w' A w`` over weights >= 0 of length 1 that power iteration reaches from the starts."""
    best, kept = -1.0, np.zeros(len(alike), np.float32)
    for start in starts:
        weights = np.maximum(alike[start], 0)
        weights[start] = weights.max()
        for _ in range(40):
            following = np.maximum(alike @ weights, 0)
            length = float(np.linalg.norm(following))
            if length == 0:
                break
            following /= length
            done = float(np.abs(following - weights).max()) < 1e-4
            weights = following
            if done:
                break
        value = float(weights @ alike @ weights)
        if value > best:
            best, kept = value, weights
    return best, kept
