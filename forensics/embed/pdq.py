"""PDQ: a 256-bit perceptual hash with a quality measure.

Reference: Facebook, *The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm*, 2019.

===========================  =============================================================================
name                         meaning
===========================  =============================================================================
``_averaging(n)`` (64, n)    two box filters along an axis of n pixels, read at 64 places
``small`` (64, 64)           grey image after both axes
``_DCT`` (16, 64)            DCT-II, frequencies 1 to 16
``coefficients`` (16, 16)    ``_DCT @ small @ _DCT.T``; a bit is set where one exceeds their lower median
===========================  =============================================================================

``pdqhash`` computes the same on full-size float images. Both filters are linear, so here they are one sparse matrix an
axis, which is an order of magnitude faster and gives the same bits (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.embed.rows import stack_bytes
from forensics.types import EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UInt8Array = NDArray[np.uint8]

__all__ = ["Pdq"]

_SMALL = 64
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_DCT = np.sqrt(2 / _SMALL) * np.cos(
    np.pi / 2 / _SMALL * np.arange(1, 17)[:, None] * (2 * np.arange(_SMALL)[None, :] + 1)
)  # (16, 64) float64
_COLUMNS = 512
"""Columns at a time: bounds the float copy of a large image and keeps it in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Pdq:
    """PDQ, 256 bits, with its quality (0 to 100; 49 and less is unusable: there is too little in the image)."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="pdq",
            kind="bits",
            dim=256,
            preprocessing="pdqhash.compute: luma (ITU-R 601), two box filters, 64x64, DCT-II, 16x16 > median",
            decode_size=512,
        )

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return the 32 hash bytes, first bit highest, and 1 quality byte of one (H, W, 3) uint8 RGB image."""
        height, width = image.shape[:2]
        row: UInt8Array = _rows(_reduce(image, _averaging(height), _averaging(width))[None])[0]
        return row

    def prepare_orientations(self, image: UInt8Array) -> UInt8Array:
        """Return (8, 33) uint8: hash and quality of each orientation, equal to ``prepare`` of each turned image.

        PDQ's filter leans to one side where an axis is no multiple of 128 pixels. Turning its small image would
        therefore change up to 58 of the 256 bits; here the filter is turned instead.
        """
        height, width = image.shape[:2]
        both = _reduce(image, _averaging_both_ways(height), _averaging_both_ways(width))  # (128, 128)
        plain, mirrored = slice(0, _SMALL), slice(_SMALL, None)
        whole, left_right = both[plain, plain], both[plain, mirrored]
        top_down, half_turn = both[mirrored, plain], both[mirrored, mirrored]
        turned = (whole, left_right.T, half_turn, top_down.T, left_right, whole.T, top_down, half_turn.T)
        return _rows(np.stack(turned))

    def embed(self, prepared: Sequence[UInt8Array]) -> UInt8Array:
        """Return (n, 32) uint8."""
        return np.ascontiguousarray(stack_bytes(prepared, 33)[:, :32])

    def quality(self, prepared: Sequence[UInt8Array]) -> UInt8Array:
        """Return (n,) uint8 in [0, 100]."""
        return np.ascontiguousarray(stack_bytes(prepared, 33)[:, 32])


@lru_cache(maxsize=512)
def _averaging(length: int) -> Any:
    """(64, length) sparse float32: two box filters of ceil(length / 128) pixels, cut at the ends, read at 64 places."""
    from scipy.sparse import csr_array

    window = (length + 2 * _SMALL - 1) // (2 * _SMALL)
    ahead = (window + 2) // 2 - 1
    at = np.arange(length)
    low, high = np.maximum(at + ahead - window + 1, 0), np.minimum(at + ahead + 1, length)  # a box is [low, high)
    places = ((np.arange(_SMALL) + 0.5) * length / _SMALL).astype(np.int64)
    indices, weights, stops = [], [], [0]
    for place in places:
        boxes = at[low[place] : high[place]]  # the first filter's outputs that the second averages
        share = 1.0 / ((high[place] - low[place]) * (high[boxes] - low[boxes]))
        first, last = low[boxes[0]], high[boxes[-1]]
        # Each box adds its share from low to high: sums of steps, because a matrix of length x length is gigabytes.
        steps = np.zeros(last - first + 1)
        np.add.at(steps, low[boxes] - first, share)
        np.add.at(steps, high[boxes] - first, -share)
        indices.append(at[first:last])
        weights.append(np.cumsum(steps)[:-1])
        stops.append(stops[-1] + last - first)
    values = np.concatenate(weights).astype(np.float32)
    return csr_array((values, np.concatenate(indices), np.array(stops)), shape=(_SMALL, length))


@lru_cache(maxsize=512)
def _averaging_both_ways(length: int) -> Any:
    """(128, length): the filter of the axis as it is, then of the axis mirrored."""
    from scipy.sparse import vstack

    forward = _averaging(length)
    return vstack([forward, forward[:, ::-1]], format="csr")


def _reduce(image: UInt8Array, rows: Any, columns: Any) -> NDArray[np.float32]:
    """(H, W, 3) uint8, (r, H) and (c, W) sparse → (r, c) float32 grey."""
    height, width = image.shape[:2]
    count = rows.shape[0]
    grey = np.empty((count, width), np.float32)
    for start in range(0, width, _COLUMNS):
        part = image[:, start : start + _COLUMNS].astype(np.float32, order="C")  # (H, w, 3)
        grey[:, start : start + _COLUMNS] = (rows @ part.reshape(height, -1)).reshape(count, -1, 3) @ _LUMA
    small: NDArray[np.float32] = (columns @ grey.T).T
    return small


def _rows(small: NDArray[np.float32]) -> UInt8Array:
    """(n, 64, 64) float32 → (n, 33) uint8."""
    coefficients = (_DCT @ small.astype(np.float64) @ _DCT.T).reshape(-1, 256)
    median = np.partition(coefficients, 127, axis=1)[:, 127:128]
    rows = np.empty((len(small), 33), np.uint8)
    rows[:, :32] = np.packbits((coefficients > median)[:, ::-1], axis=1)
    rows[:, 32] = [_quality(one) for one in small]
    return rows


def _quality(small: NDArray[np.float32]) -> int:
    """Sum of the steps between neighbours, each in whole percent of the range, over 90 and at most 100."""
    steps = [np.trunc(np.diff(small, axis=axis) * 100 / 255) for axis in (0, 1)]
    return min(100, int(sum(float(np.abs(step).sum()) for step in steps) / 90))
