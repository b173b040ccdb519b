"""A mark that images of a batch share, and how much of it is in an image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from forensics.detect.watermark.mark_fit import FittedMark, Presence, places, presence
from forensics.detect.watermark.tiles import surety

if TYPE_CHECKING:
    from forensics.types import FloatArray, UInt8Array

__all__ = ["SharedMark", "find_mark", "least_z", "mark_mask"]

_TOGETHER = 6 / 4
"""Three places of 4 standard deviations say as much as one of 6."""
_DRAWN = 2 / 3
_POINTED, _PASSED_OVER = 2 / 3, 4 / 3
"""Share of the limit that is enough in an image to which the network points, and in one to which it does not, of a mark
that it pointed to elsewhere."""
_SEEN = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedMark:
    """A mark that images of a batch share.

    Attributes
    ----------
    path : {"fixed", "moving"}
        Whether it lies at the same place in all of them.
    fitted : FittedMark
        In the frame; of a moving mark at the place where it lies in one of the images.
    mask : ndarray
        (h, w) uint8, 255 where its words are.
    members : mapping of int to Presence
        The images of the batch that have it, by their position.
    p_value : float
        Chance that images without a mark make as strong a group: sign flips.
    period : tuple of two floats or None
        Distance after which the mark repeats, across and down, as shares of the frame's width and height; 0 where it
        does not repeat that way. None where it does not repeat.
    vouched : bool
        A network pointed to the images that it was found on: it is listed where the network points on less evidence,
        and elsewhere on more.
    repeated : bool
        It is a tile that images have several times; :attr:`fitted` holds it once.
    limit : float or None
        Of :attr:`Presence.z`, where this mark's own test allows less than the program's threshold: a tile's rank among
        images that gave none.
    """

    path: Literal["fixed", "moving"]
    fitted: FittedMark
    mask: UInt8Array
    members: dict[int, Presence]
    p_value: float
    period: tuple[float, float] | None = None
    vouched: bool = False
    repeated: bool = False
    limit: float | None = None


def find_mark(image: FloatArray, mark: SharedMark) -> Presence:
    """Say how much of a shared mark is in an image, (h, w) float32 in [0, 1] of the frame's shape.

    Of a tile, ``z`` counts the three best places together where that is more than the best alone.
    """
    if mark.path == "fixed":
        return presence(image, mark.fitted)
    if not mark.repeated:
        return presence(image, mark.fitted, reach=max(image.shape))
    best = presence(image, mark.fitted, reach=max(image.shape))
    return replace(best, z=max(best.z, _TOGETHER * surety(image, mark.fitted)))


def mark_mask(
    image: FloatArray, mark: SharedMark, seen: Presence, *, z: float, own: FloatArray | None = None
) -> UInt8Array:
    """Return (h, w) uint8, 255 where a shared mark's words are in an image in which it was seen.

    Parameters
    ----------
    z : float
        What counts as a mark at one place.
    own : ndarray, optional
        (h, w) float32 in [0, 1]: where a network sees a mark in this image. It speaks for the places that a moving
        mark, estimated in part of a frame, does not reach. Without it, a mark that repeats is drawn once more at every
        place that reaches two thirds of ``z``.
    """
    made = _shifted(mark.mask, seen.dy, seen.dx)
    if mark.path == "fixed":
        return made
    if own is not None and not mark.repeated:
        reached = _shifted(np.full_like(mark.mask, 255), seen.dy, seen.dx)
        return np.where(reached > 0, made, np.asarray((own > _SEEN) * 255, np.uint8))
    if mark.repeated or mark.period is not None:
        for one in places(image, mark.fitted, z=_DRAWN * z):
            np.maximum(made, _shifted(mark.mask, one.dy, one.dx), out=made)
    return made


def _shifted(mask: UInt8Array, dy: int, dx: int) -> UInt8Array:
    """Return a mask moved down and right; what comes in is 0."""
    height, width = mask.shape
    made = np.zeros_like(mask)
    made[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = mask[
        max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
    ]
    return made


def least_z(mark: SharedMark, limit: float, *, pointed: bool) -> float:
    """Return the :attr:`Presence.z` from which a mark is listed in an image to which a network points, or does not.

    A tile's limit is what the weakest of its own images reaches, which is little enough where the network points. A
    mark that may lie anywhere is in no image that the network passes over: on flat ground some place always agrees.
    """
    if not mark.vouched:
        return limit
    if pointed:
        return limit if mark.repeated else limit * _POINTED
    return math.inf if mark.path == "moving" else limit * _PASSED_OVER
