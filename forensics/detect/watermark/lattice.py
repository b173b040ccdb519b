"""The period of a mark that repeats over a picture, and the picture averaged over its repeats.

Nothing here knows an agency: periods are estimated from the picture at hand. The found mask is compared with itself
shifted:

=========  =========================================================================================================
symbol     meaning
=========  =========================================================================================================
``a``      (H, W) the mask (or, without one, the strength of fine structure), scaled to at most :data:`FRAME` pixels
``r(v)``   correlation of ``a`` with itself shifted by ``v``, over the part of the frame that both cover
``v, w``   the two shortest shifts that are not in line with one another, among those where ``r`` peaks
=========  =========================================================================================================

Averaging over ``i * v + j * w`` leaves what repeats, the mark, and blurs what does not, the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forensics.types import FloatArray, UInt8Array

__all__ = ["FRAME", "Lattice", "averaged", "find_lattice", "local_contrast", "tile"]

FRAME = 256
"""Longer side in pixels at which periods are looked for, at most."""

_LEAST_SIDE = 32
_LEAST_STEP = 1 / 16
_LEAST_OVERLAP = 0.25
_PEAK = 0.5
"""Correlation from which a shift may be a period."""
_VALLEY = 0.3
"""A peak stands so far above the lowest place between it and no shift: a bar is like itself without a period."""
_HELD = 0.4
"""The overlap holds at least this share of the mask that it would hold if the mask were spread evenly."""
_AS_HIGH = 0.75
"""A shorter shift is preferred to the highest peak where it is this share as high."""
_SINE = 0.35
"""Two shifts are in line where the sine of their angle is less."""
_MOST_COPIES = 64
_FLOOR = 4.0
"""Grey levels added to the local spread, so that flat ground is not blown up."""


_SURE = 0.6
"""Confidence from which a lattice is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """How a mark repeats.

    Attributes
    ----------
    steps : tuple of (float, float)
        One or two shifts (x, y) in pixels of the picture; one where the mark repeats along a line only.
    confidence : float
        Lowest correlation of the mask with itself shifted by one of the steps, in [0, 1].
    copies : int
        Whole shifts inside the frame, the mark itself counted.
    """

    steps: tuple[tuple[float, float], ...]
    confidence: float
    copies: int

    @property
    def sure(self) -> bool:
        """Whether the mark repeats beyond doubt: only then are its copies averaged, and told of."""
        return self.copies > 1 and self.confidence >= _SURE


def local_contrast(image: UInt8Array, *, sigma: float | None = None) -> FloatArray:
    """Return fine structure over its local spread: what a mark adds, whatever is below it.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    sigma : float, optional
        Pixels of the blur that is taken off; by default 1/55 of the longer side, which is about a mark's letters.

    Returns
    -------
    ndarray
        (H, W) float32, about -3 to 3; light letters are positive.
    """
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    width = max(1.0, max(grey.shape) / 55 if sigma is None else sigma)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), width)
    spread = np.sqrt(np.maximum(cv2.GaussianBlur(fine * fine, (0, 0), 3 * width), 0.0)) + _FLOOR
    return np.asarray(fine / spread, np.float32)


def find_lattice(mask: UInt8Array | FloatArray | None, image: UInt8Array) -> Lattice | None:
    """Estimate how a mark repeats.

    Parameters
    ----------
    mask : ndarray or None
        (h, w), any range, of any size with the image's proportions: how surely each place belongs to the mark. Without
        it the strength of fine structure is used, which pictures of fences and windows have, too.
    image : ndarray
        (H, W, 3) uint8 RGB.

    Returns
    -------
    Lattice or None
        None where nothing repeats at least twice inside the frame, or the picture is smaller than 32 pixels.
    """
    import cv2

    height, width = image.shape[:2]
    if min(height, width) < _LEAST_SIDE:
        return None
    scale = min(1.0, FRAME / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if mask is None:
        strength = np.abs(local_contrast(image))
        field = cv2.GaussianBlur(cv2.resize(strength, size, interpolation=cv2.INTER_AREA), (0, 0), 2.0)
    else:
        field = cv2.resize(np.asarray(mask, np.float32), size, interpolation=cv2.INTER_AREA)
    if float(field.std()) < 1e-6:
        return None
    peaks = _peaks(_self_correlation(field))
    if not peaks:
        return None
    steps = _shortest(peaks)
    scaled = tuple((x * width / size[0], y * height / size[1]) for x, y, _ in steps)
    return Lattice(
        steps=scaled,
        confidence=min(1.0, *(strength for _, _, strength in steps)),
        copies=len(_shifts(scaled, width, height)),
    )


def averaged(field: FloatArray, lattice: Lattice) -> FloatArray:
    """Return (H, W) ``field`` as the mean over the lattice's shifts that stay inside the frame.

    Every copy of the mark shows the mean of all, so that a copy that the frame cuts is completed by the others.
    """
    import cv2

    height, width = field.shape
    total = np.zeros((height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    ones = np.ones((height, width), np.float32)
    for x, y in _shifts(lattice.steps, width, height):
        move = np.array([[1, 0, x], [0, 1, y]], np.float32)
        total += cv2.warpAffine(field, move, (width, height))
        weight += cv2.warpAffine(ones, move, (width, height))
    return np.asarray(total / np.maximum(weight, 1e-3), np.float32)


def tile(field: FloatArray, lattice: Lattice, centre: tuple[float, float]) -> FloatArray:
    """Cut one period around ``centre`` (x, y) out of an averaged (H, W) field, clipped to the frame."""
    reach_x = max(abs(x) for x, _ in lattice.steps) or field.shape[1]
    reach_y = max(abs(y) for _, y in lattice.steps) or field.shape[0]
    left, top = (max(0, round(at - reach / 2)) for at, reach in zip(centre, (reach_x, reach_y), strict=True))
    right, bottom = round(centre[0] + reach_x / 2), round(centre[1] + reach_y / 2)
    return field[top : max(bottom, top + 1), left : max(right, left + 1)]


def _self_correlation(field: FloatArray) -> FloatArray:
    """Return (2H - 1, 2W - 1) float32 correlation with the shifted self over the overlap; the centre is no shift."""
    from scipy import fft

    height, width = field.shape
    shape = (2 * height - 1, 2 * width - 1)
    fast = tuple(fft.next_fast_len(length, real=True) for length in shape)
    centred = np.asarray(field - field.mean(), np.float32)

    def correlate(one: FloatArray, other: FloatArray) -> FloatArray:
        product = fft.irfft2(fft.rfft2(one, fast) * np.conj(fft.rfft2(other, fast)), fast)
        # shifts from -(h - 1) to h - 1: the negative ones lie at the far end
        return np.asarray(np.roll(product, (height - 1, width - 1), (0, 1))[: shape[0], : shape[1]], np.float32)

    ones = np.ones_like(centred)
    covered = correlate(ones, ones)
    power = correlate(centred * centred, ones)
    # the same sum over the other side of the overlap is the field's own, turned by half
    spread = np.sqrt(np.maximum(power * power[::-1, ::-1], 0.0))
    least = _HELD * float((centred * centred).mean()) * covered
    result = correlate(centred, centred) / np.maximum(np.maximum(spread, least), 1e-9)
    result[covered < _LEAST_OVERLAP * height * width] = 0.0
    return np.asarray(result, np.float32)


def _peaks(correlation: FloatArray) -> list[tuple[float, float, float]]:
    """Return (x, y, height) of peaks at least as high as :data:`_PEAK`, one of each opposite pair, highest first."""
    import cv2

    middle_y, middle_x = correlation.shape[0] // 2, correlation.shape[1] // 2
    reach = max(3, round(max(middle_x, middle_y) * _LEAST_STEP))
    highest = cv2.dilate(correlation, np.ones((2 * (reach // 2) + 1,) * 2, np.uint8))
    rows, columns = np.nonzero((correlation >= highest) & (correlation >= _PEAK))
    found = []
    for row, column in zip(rows, columns, strict=True):
        x, y = int(column) - middle_x, int(row) - middle_y
        if np.hypot(x, y) < reach or y < 0 or (y == 0 and x < 0):
            continue
        between = np.linspace(0.0, 1.0, 32)
        valley = correlation[
            (middle_y + np.rint(y * between)).astype(int), (middle_x + np.rint(x * between)).astype(int)
        ]
        height = float(correlation[row, column])
        if height - float(valley.min()) >= _VALLEY:
            found.append((float(x), float(y), height))
    return sorted(found, key=lambda peak: -peak[2])


def _shortest(peaks: list[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    high = [peak for peak in peaks if peak[2] >= _AS_HIGH * peaks[0][2]]
    first = min(high, key=lambda peak: np.hypot(peak[0], peak[1]))
    aside = [
        peak
        for peak in high
        if abs(first[0] * peak[1] - first[1] * peak[0])
        >= _SINE * np.hypot(first[0], first[1]) * np.hypot(peak[0], peak[1])
    ]
    return [first, min(aside, key=lambda peak: np.hypot(peak[0], peak[1]))] if aside else [first]


def _shifts(steps: tuple[tuple[float, float], ...], width: int, height: int) -> list[tuple[float, float]]:
    """Return the combinations of the steps that are shorter than the frame, the nearest first."""
    first = np.array(steps[0])
    second = np.array(steps[1]) if len(steps) == 2 else np.zeros(2)
    found = set()
    for i in range(-16, 17):
        for j in range(-16, 17) if len(steps) == 2 else (0,):
            x, y = i * first + j * second
            if abs(x) < 0.9 * width and abs(y) < 0.9 * height:
                found.add((round(float(x), 2), round(float(y), 2)))
    return sorted(found, key=lambda shift: float(np.hypot(*shift)))[:_MOST_COPIES]
