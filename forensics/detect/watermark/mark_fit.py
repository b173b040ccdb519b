"""What a mark does to pictures, estimated from pictures that bear it at one place, and how much of it is in another.

======================  ==============================================================================================
symbol                  meaning
======================  ==============================================================================================
``y``                   (h, w) luminance of an image in [0, 1]
``b``                   its ground: a blur that leaves out what the mark covers
``a``, ``c``            opacity in [0, 1] and grey of the mark, pixel by pixel; ``y = (1 - a) b' + a c`` where ``b'`` is
                        the picture without the mark
``d = c - b``           what full opacity would add
``v``                   local mean square of ``y - b - a d``: how restless the picture is there
``a``                   ``Σ d (y - b) / v`` over ``Σ d² / v``, over the images: the restless ones count little
``t``                   ``Σ d (y - b) / v`` over the root of ``Σ d² / v``: about standard normal where there is no mark
======================  ==============================================================================================

For each pixel the grey ``c`` of white, middle grey and black is taken that explains most. The idea of estimating a mark
from many images that bear it is that of Dekel et al., 2017, *On the Effectiveness of Visible Watermarks*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.watermark.fields import blurred

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

__all__ = ["FittedMark", "Presence", "fit_mark", "moved", "places", "presence", "same_look", "word_regions"]

_GROUND = 6.0
_RESTLESS = 6.0
_FLOOR = 0.03
_ROUNDS = 3
_GREYS = (1.0, 0.5, 0.0)
_SAME = 0.6
_APART = 6
"""Pixels within which two places are one."""
_MEDIAN = 0.6745
"""Median of the absolute value of a standard normal."""
_PRIOR = 30.0
"""Added to the information at every pixel: where nothing is known, the opacity is 0."""
_LETTERS_SHARE = 0.45
_LETTERS_T = 3.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedMark:
    """A mark in the frame of the images it was estimated from.

    Attributes
    ----------
    opacity, grey, t : ndarray
        (h, w) float32, see :mod:`forensics.detect.watermark.mark_fit`.
    inked : ndarray
        (h, w) bool: where it surely covers something.
    """

    opacity: FloatArray
    grey: FloatArray
    t: FloatArray
    inked: NDArray[np.bool_]

    @property
    def picture(self) -> UInt8Array:
        """The averaged mark over middle grey, (h, w) uint8, its contrast stretched so that faint marks can be read."""
        strong = float(np.quantile(self.opacity[self.inked], 0.9)) if self.inked.any() else 1.0
        shown = np.where(self.t > 1.5, self.opacity, 0) / max(strong, 0.02)
        away = np.where(self.grey >= 0.5, 1.0, -1.0)
        return np.asarray(np.clip(118 + 137 * np.clip(shown, 0, 1) * away, 0, 255), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """How much of a mark is in an image.

    Attributes
    ----------
    share : float
        1 where it is as opaque as the estimated mark, 0 where it is not there.
    z : float
        ``share`` over its standard deviation among places where the mark is not.
    dx, dy : int
        By how many pixels of the frame the mark is shifted, to the right and down.
    """

    share: float
    z: float
    dx: int = 0
    dy: int = 0


def fit_mark(images: Sequence[FloatArray], valid: Sequence[FloatArray] | None = None) -> FittedMark:
    """Estimate the mark that lies at one place of all the images.

    Parameters
    ----------
    images : sequence of ndarray
        (h, w) float32 luminances in [0, 1], of one shape, aligned.
    valid : sequence of ndarray, optional
        (h, w) float32 in [0, 1], one an image: 0 where an aligned image has nothing.
    """
    shape = images[0].shape
    opacity, grey = np.zeros(shape, np.float32), np.ones(shape, np.float32)
    t = np.zeros(shape, np.float32)
    inked = _first(images, valid)
    for _ in range(_ROUNDS):
        keep = np.where(_grown(inked, 1), 1e-3, 1.0).astype(np.float32)
        ground_weight = blurred(keep, _GROUND)
        added = [np.zeros(shape, np.float32) for _ in _GREYS]
        known = [np.zeros(shape, np.float32) for _ in _GREYS]
        for place, image in enumerate(images):
            ground = blurred(np.asarray(image * keep, np.float32), _GROUND) / ground_weight
            detail = image - ground
            rest = np.asarray(detail - opacity * (grey - ground), np.float32)
            weight = 1 / (blurred(rest * rest, _RESTLESS) + _FLOOR**2)
            if valid is not None:
                weight = weight * valid[place]
            for number, level in enumerate(_GREYS):
                towards = level - ground
                added[number] += towards * detail * weight
                known[number] += towards * towards * weight
        gains = [
            blurred(np.asarray(np.maximum(a, 0) ** 2 / (k + _PRIOR), np.float32), 0.8)
            for a, k in zip(added, known, strict=True)
        ]
        best = np.argmax(np.stack(gains), 0)
        sums, info = np.choose(best, added), np.choose(best, known)
        opacity = np.asarray(np.clip(sums / (info + _PRIOR), 0, 1), np.float32)
        grey = np.asarray(np.choose(best, [np.full(shape, level, np.float32) for level in _GREYS]), np.float32)
        t = np.asarray(np.maximum(sums, 0) / np.sqrt(info + _PRIOR), np.float32)
        inked = _inked(opacity, t)
    return FittedMark(opacity=opacity, grey=grey, t=t, inked=inked)


def presence(image: FloatArray, mark: FittedMark, *, reach: int = 2) -> Presence:
    """Say how much of a mark is in one image at its place, give or take ``reach`` pixels.

    The standard deviation is that of the same quantity with the mark shifted to where it is not.
    """
    share, scaled = _surfaces(image, mark)
    near = _near(image.shape, 0, 0, reach)
    place = np.unravel_index(int(np.where(near, scaled, -np.inf).argmax()), scaled.shape)
    spread = _typical(scaled) if near.all() else float(np.std(scaled[~near]))
    return _presence(share, scaled, spread, int(place[0]), int(place[1]))


def places(image: FloatArray, mark: FittedMark, *, z: float, most: int = 24) -> list[Presence]:
    """Return all places of an image where a mark stands out by ``z``, strongest first: a tile lies at many."""
    share, scaled = _surfaces(image, mark)
    spread = _typical(scaled)
    found = []
    for _ in range(most):
        row, column = (int(value) for value in np.unravel_index(int(scaled.argmax()), scaled.shape))
        here = _presence(share, scaled, spread, row, column)
        if here.z < z:
            break
        found.append(here)
        scaled = np.where(_near(image.shape, row, column, _APART), -np.inf, scaled)
    return found


def same_look(one: FittedMark, other: FittedMark) -> bool:
    """Say whether two marks of one frame are the same, wherever they lie: one may hold a tile of the other alone."""
    from scipy import fft

    drawn = [np.where(mark.inked, mark.opacity * np.where(mark.grey >= 0.5, 1, -1), 0) for mark in (one, other)]
    lengths = [float(np.linalg.norm(mark)) for mark in drawn]
    if not all(lengths):
        return False
    small = int(np.argmin([float(mark.inked.sum()) for mark in (one, other)]))
    there = fft.rfft2(np.asarray(drawn[small] != 0, np.float32))
    product = fft.irfft2(fft.rfft2(drawn[1 - small]) * np.conj(fft.rfft2(drawn[small])), s=one.inked.shape)
    # only what lies under the smaller one counts of the larger
    under = fft.irfft2(fft.rfft2(drawn[1 - small] ** 2) * np.conj(there), s=one.inked.shape)
    alike = product / (lengths[small] * np.sqrt(np.maximum(under, (0.3 * lengths[small]) ** 2)))
    return float(alike.max()) >= _SAME


def _surfaces(image: FloatArray, mark: FittedMark) -> tuple[FloatArray, FloatArray]:
    """Return for every shift of the mark, wrapped, its share in the image, and that over its expected deviation."""
    from scipy import fft

    keep = np.where(_grown(mark.inked, 1), 1e-3, 1.0).astype(np.float32)
    ground = blurred(np.asarray(image * keep, np.float32), _GROUND) / blurred(keep, _GROUND)
    detail = np.asarray(image - ground, np.float32)
    weight = 1 / (blurred(detail * detail, _RESTLESS) + _FLOOR**2)
    drawn = np.where(mark.inked, mark.opacity, 0).astype(np.float32)
    # one correlation a grey: sum over p of drawn(p - s) [grey] (level - b(p)) detail(p) / v(p)
    sums: NDArray[np.float32] = np.zeros(image.shape, np.float32)
    info: NDArray[np.float32] = np.zeros(image.shape, np.float32)
    for level in _GREYS:
        part = np.where(mark.grey == level, drawn, 0).astype(np.float32)
        if not part.any():
            continue
        towards = level - ground
        turned, squared = np.conj(fft.rfft2(part)), np.conj(fft.rfft2(part * part))
        sums = sums + fft.irfft2(fft.rfft2(towards * detail * weight) * turned, s=image.shape)
        info = info + fft.irfft2(fft.rfft2(towards * towards * weight) * squared, s=image.shape)
    share = np.asarray(sums / np.maximum(info + _PRIOR, 1e-6), np.float32)
    scaled = np.asarray(sums / np.sqrt(np.maximum(info, 0) + _PRIOR), np.float32)
    return share, scaled


def _presence(share: FloatArray, scaled: FloatArray, spread: float, row: int, column: int) -> Presence:
    height, width = scaled.shape
    return Presence(
        share=float(share[row, column]),
        z=float(scaled[row, column]) / max(spread, 1e-6),
        dx=column - width if column > width // 2 else column,
        dy=row - height if row > height // 2 else row,
    )


def _near(shape: tuple[int, ...], row: int, column: int, reach: int) -> NDArray[np.bool_]:
    """Return where shifts are at most ``reach`` from one of them, wrapped."""
    height, width = shape
    rows, columns = np.abs(np.arange(height) - row), np.abs(np.arange(width) - column)
    return np.asarray(
        (np.minimum(rows, height - rows) <= reach)[:, None] & (np.minimum(columns, width - columns) <= reach)[None]
    )


def _typical(scaled: FloatArray) -> float:
    """Return the standard deviation over all places: the plain one where most of an image is flat, as in drawings."""
    return max(float(np.median(np.abs(scaled))) / _MEDIAN, float(np.std(scaled)))


def moved(image: FloatArray, dy: int, dx: int) -> tuple[FloatArray, FloatArray]:
    """Return an image moved down and right, and where it has pixels; the steps are taken the short way round."""
    height, width = image.shape
    dy, dx = (dy + height // 2) % height - height // 2, (dx + width // 2) % width - width // 2
    made, there = np.full_like(image, float(image.mean())), np.zeros_like(image)
    to = np.s_[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
    of = np.s_[max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)]
    made[to], there[to] = image[of], 1.0
    return made, there


def word_regions(inked: NDArray[np.bool_]) -> UInt8Array:
    """Return (h, w) uint8, 255 where words are.

    Letters are grown by a little and their gaps closed, so that a word is one region, as in the masks that the network
    is trained on (:mod:`forensics.render.stock_marks`).
    """
    import cv2

    reach = max(1, round(max(inked.shape) / 150))
    letters = inked.astype(np.uint8) * 255
    closed = cv2.morphologyEx(letters, cv2.MORPH_CLOSE, np.ones((4 * reach + 1, 6 * reach + 1), np.uint8))
    grown: UInt8Array = cv2.dilate(closed, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return grown


def _first(images: Sequence[FloatArray], valid: Sequence[FloatArray] | None) -> NDArray[np.bool_]:
    """Return a first guess of what is covered: where weighted means of fine structure stand out."""
    shape = images[0].shape
    total, weights = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for place, image in enumerate(images):
        detail = np.asarray(image - blurred(image, 2 * _GROUND), np.float32)
        weight = 1 / (blurred(detail * detail, _RESTLESS) + _FLOOR**2)
        if valid is not None:
            weight = weight * valid[place]
        total += detail * weight
        weights += weight
    size = np.abs(total / np.maximum(weights, 1e-6))
    return np.asarray(size > 0.5 * np.quantile(size, 0.99))


def _inked(opacity: FloatArray, t: FloatArray) -> NDArray[np.bool_]:
    sure = t > _LETTERS_T
    if not sure.any():
        return np.asarray(sure)
    usual = float(np.quantile(opacity[sure], 0.8))
    found = sure & (opacity > _LETTERS_SHARE * usual)
    return _without_specks(found)


def _without_specks(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop places of one or two pixels that stand alone."""
    import cv2

    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    large = np.zeros(count, bool)
    large[1:] = stats[1:, cv2.CC_STAT_AREA] >= 3
    return np.asarray(large[labels])


def _grown(found: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    import cv2

    return np.asarray(cv2.dilate(found.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0)
