"""Where one image lies inside the other, for pairs without enough local features.

Smooth pictures, redraws and small crops give SIFT nothing to hold on to, but their colour layout is intact. The one
image is slid over the other as a template, at a geometric ladder of scales and upright, at low resolution in L*a*b*;
the peak of the zero-mean normalised cross-correlation (Lewis, 1995) is the placing. It answers for crops (the query
lies inside the reference), pastes (the reference inside the query) and whole copies alike. Rotation is not tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

__all__ = ["Placing", "place"]

_SIDE = 96  # longer side in pixels at which the images are compared
_SCALES = np.geomspace(0.28, 1.0, 14)  # of the template, against the largest that fits; 0.28 is 8 % of the area
_MIN_CONTRAST = 2.0  # grey levels; what is flatter correlates with anything, or with itself at 1
_SMALLEST = 6  # pixels of a template's side below which any peak is chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """The best placing of one common frame inside the other.

    Attributes
    ----------
    matrix : ndarray
        (3, 3) float64, query frame to reference frame: a scale and a shift.
    correlation : float
        Zero-mean normalised cross-correlation at the peak, in [-1, 1].
    """

    matrix: NDArray[np.float64]
    correlation: float


def place(query: UInt8Array, reference: UInt8Array) -> Placing:
    """Slide each frame over the other and return the better placing.

    Parameters
    ----------
    query, reference : ndarray
        (h, w, 3) uint8 RGB common frames.
    """
    (small_query, shrink_query), (small_reference, shrink_reference) = _reduced(query), _reduced(reference)
    inside = _slide(small_query, small_reference)
    around = _slide(small_reference, small_query)
    small = inside.matrix if inside.correlation >= around.correlation else np.linalg.inv(around.matrix)
    matrix = np.linalg.inv(shrink_reference) @ small @ shrink_query
    return Placing(matrix=matrix, correlation=max(inside.correlation, around.correlation))


def _reduced(image: UInt8Array) -> tuple[FloatArray, NDArray[np.float64]]:
    """Return (h, w, 3) float32 L*a*b* at low resolution, and the map from image to reduced pixels."""
    import cv2

    h, w = image.shape[:2]
    size = (max(8, round(w * _SIDE / max(h, w))), max(8, round(h * _SIDE / max(h, w))))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32), _scaling(size[0] / w, size[1] / h)


def _slide(template: FloatArray, image: FloatArray) -> Placing:
    """Return the best placing of the scaled template inside the image, as a map from template to image pixels."""
    import cv2

    best = Placing(matrix=np.eye(3), correlation=-1.0)
    h, w = template.shape[:2]
    fit = min(image.shape[1] / w, image.shape[0] / h)
    for scale in _SCALES * fit:
        size = (round(w * scale), round(h * scale))
        if min(size) < _SMALLEST or size[0] > image.shape[1] or size[1] > image.shape[0]:
            continue
        scaled = cv2.resize(template, size, interpolation=cv2.INTER_AREA)
        if float(scaled.std(axis=(0, 1)).max()) < _MIN_CONTRAST:
            continue
        peaks = np.nan_to_num(cv2.matchTemplate(image, scaled, cv2.TM_CCOEFF_NORMED), nan=-1.0)
        _, peak, _, (x, y) = cv2.minMaxLoc(np.where(_contrast(image, size) < _MIN_CONTRAST, -1.0, peaks))
        if peak > best.correlation:
            matrix = _scaling(size[0] / w, size[1] / h)
            matrix[:2, 2] += (x, y)
            best = Placing(matrix=matrix, correlation=min(1.0, float(peak)))
    return best


def _contrast(image: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Return the standard deviation (of the channel that has most) of every window of ``size`` (width, height)."""
    import cv2

    width, height = size
    sums, squares = (cv2.integral(values) for values in (image.astype(np.float64), image.astype(np.float64) ** 2))

    def mean(table: NDArray[np.float64]) -> NDArray[np.float64]:
        window = table[height:, width:] - table[:-height, width:] - table[height:, :-width] + table[:-height, :-width]
        return window / (width * height)

    variance = mean(squares) - mean(sums) ** 2
    deviation: FloatArray = np.sqrt(np.maximum(variance, 0.0)).max(axis=2).astype(np.float32)
    return deviation


def _scaling(x: float, y: float) -> NDArray[np.float64]:
    """Return the map that scales pixel coordinates; pixel centres are at integers."""
    return np.array([[x, 0.0, 0.5 * (x - 1.0)], [0.0, y, 0.5 * (y - 1.0)], [0.0, 0.0, 1.0]])
