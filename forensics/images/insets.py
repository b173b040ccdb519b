"""Pictures inside a picture: pasted rectangles, cells of a collage, what is left between letterbox or caption bars.

Where one picture was laid over another, a straight step runs along each side of it, from corner to corner. Rows and
columns of a small copy are searched for such steps; a rectangle is held where all of its sides carry them, and far
more so than the lines beside them, because texture has edges everywhere. A side may be the image's own border, which
makes bars the same case.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

    IntArray: TypeAlias = NDArray[np.int64]

__all__ = ["FractionBox", "insets"]

FractionBox: TypeAlias = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` as fractions of width and height."""

_SIDE = 256  # longer side in pixels at which steps are looked for
_MISS = 2.0
_STEP = 5.0  # grey levels of the channel that changes most
_RIM = 5  # pixels from the border within which no line is looked for: nothing lies beside it
_CONTRAST = 0.15  # by which a side's coverage exceeds that of the lines beside it
_LINES = 22  # lines kept an axis
_BESIDE = (-4, -3, 3, 4)  # lines that a side is compared with
_SMALLEST = 0.16  # of the image's side
_LARGEST_AREA = 0.95
_SIDE_COVERAGE = 0.65
# Evidence of a side: its length in pixels times the divergence of its steps from those of the lines beside it.
_SIDE_EVIDENCE = 5.0
_EVIDENCE = 48.0
_LONE_EVIDENCE = 60.0  # where only one or two sides are in the image, more is asked of each
_MOST_EVIDENCE = 60.0
_GROUP_IOU = 0.7


def insets(image: UInt8Array, *, most: int = 3) -> list[FractionBox]:
    """Return the rectangles that look like pictures of their own, surest first.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    most : int
        Rectangles returned at most; near-equal ones are returned once.

    Returns
    -------
    list of (x0, y0, x1, y1)
        As fractions of width and height. Empty for images below 32 pixels and for those without such a rectangle.
    """
    import cv2

    height, width = image.shape[:2]
    if min(height, width) < 32:
        return []
    scale = min(1.0, _SIDE / max(height, width))
    size = (max(32, round(width * scale)), max(32, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    columns = _Lines(small)
    rows = _Lines(np.ascontiguousarray(small.transpose(1, 0, 2)))
    boxes, scores = _rectangles(columns, rows)
    kept: list[FractionBox] = []
    for at in np.argsort(-scores, kind="stable"):
        x0, y0, x1, y1 = (float(v) for v in boxes[at])
        box = (x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1])
        if all(_iou(box, other) < _GROUP_IOU for other in kept):
            kept.append(box)
        if len(kept) == most:
            break
    return kept


class _Lines:
    """The vertical lines of an image that carry long steps; horizontal ones are those of the transposed image.

    Attributes
    ----------
    at : ndarray
        (n,) int64 position of each line: the first column right of the step; 0 and the width are the borders.
    real : ndarray
        (n,) bool, False for the borders.
    """

    def __init__(self, image: FloatArray) -> None:
        height, width = image.shape[:2]
        step = np.abs(np.diff(image, axis=1)).max(axis=2)  # (h, w - 1); column k is the step between k and k + 1
        padded = np.pad(step, ((0, 0), (1, 1)))
        peak = (step >= padded[:, :-2]) & (step >= padded[:, 2:]) & (step >= _STEP)
        edge = np.zeros((height, width + 1), np.float32)
        edge[:, 1:-1] = peak
        # JPEG and resizing move a step by a pixel
        near = np.maximum(edge, np.maximum(np.roll(edge, 1, axis=1), np.roll(edge, -1, axis=1)) * 0.8)
        near[:, [0, -1]] = 0
        self._sums = np.vstack([np.zeros((1, width + 1), np.float32), near.cumsum(axis=0)])  # (h + 1, w + 1)
        runs = _longest_run(edge, near)
        inner = np.argsort(-runs, kind="stable")
        chosen: list[int] = []
        for column in inner:
            if runs[column] < _SMALLEST * height * 0.5 or len(chosen) == _LINES:
                break
            if min(column, width - column) >= _RIM and all(abs(int(column) - other) > 1 for other in chosen):
                chosen.append(int(column))
        self.at = np.array(sorted({0, width, *chosen}), np.int64)
        self.real = (self.at > 0) & (self.at < width)
        self.size = width

    def coverage(self, lines: IntArray, start: IntArray, stop: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return how much of each line between ``start`` and ``stop`` is a step, and how much of those beside it."""
        length = np.maximum(stop - start, 1)

        def share(at: IntArray) -> FloatArray:
            at = np.clip(at, 0, self.size)
            found: FloatArray = (self._sums[stop, at] - self._sums[start, at]) / length
            return found

        beside = np.mean([share(lines + offset) for offset in _BESIDE], axis=0)
        return share(lines), np.asarray(beside, np.float32)


def _longest_run(edge: FloatArray, near: FloatArray) -> FloatArray:
    """Return for each column the largest sum over a run of rows, where a step counts 1 and its lack against it.

    In texture half of the places have a step by chance: their sums must not grow.
    """
    gain = np.where(near > 0, near, -_MISS).astype(np.float32)
    best = np.zeros(edge.shape[1], np.float32)
    current = np.zeros(edge.shape[1], np.float32)
    for row in gain:
        current = np.maximum(current + row, 0.0)
        best = np.maximum(best, current)
    return best


def _rectangles(columns: _Lines, rows: _Lines) -> tuple[FloatArray, FloatArray]:
    """Return (n, 4) boxes in pixels of the small copy, and their (n,) scores."""
    left, right = _pairs(columns)
    top, bottom = _pairs(rows)
    if not len(left) or not len(top):
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    a, b = np.repeat(np.arange(len(left)), len(top)), np.tile(np.arange(len(top)), len(left))
    x0, x1, y0, y1 = columns.at[left[a]], columns.at[right[a]], rows.at[top[b]], rows.at[bottom[b]]
    real = np.stack([columns.real[left[a]], columns.real[right[a]], rows.real[top[b]], rows.real[bottom[b]]])  # (4, n)
    keep = real.any(axis=0) & ((x1 - x0) * (y1 - y0) <= _LARGEST_AREA * columns.size * rows.size)
    x0, x1, y0, y1, real = x0[keep], x1[keep], y0[keep], y1[keep], real[:, keep]
    found = [columns.coverage(x0, y0, y1), columns.coverage(x1, y0, y1)]
    found += [rows.coverage(y0, x0, x1), rows.coverage(y1, x0, x1)]
    on = np.stack([one for one, _ in found])
    beside = np.stack([other for _, other in found])
    count = real.sum(axis=0)
    length = np.stack([y1 - y0, y1 - y0, x1 - x0, x1 - x0])
    evidence = np.where(real, length * _divergence(on, beside), 0.0)  # (4, n)
    weakest = np.where(real, on, 1.0).min(axis=0)
    weakest_evidence = np.where(real, evidence, np.inf).min(axis=0)
    count = real.sum(axis=0)
    weakest_contrast = np.where(real, on - beside, 1.0).min(axis=0)
    held = (weakest >= _SIDE_COVERAGE) & (weakest_evidence >= _SIDE_EVIDENCE) & (weakest_contrast >= _CONTRAST)
    held &= np.where(count >= 3, evidence.sum(axis=0) >= _EVIDENCE, weakest_evidence >= _LONE_EVIDENCE)
    boxes = np.stack([x0, y0, x1, y1], axis=1).astype(np.float32)
    # a rectangle with four sides in the image is worth more than a bar
    return boxes[held], (np.minimum(evidence, _MOST_EVIDENCE).sum(axis=0) * (1 + 0.1 * count))[held].astype(np.float32)


def _divergence(on: FloatArray, beside: FloatArray) -> FloatArray:
    """Return the Kullback-Leibler divergence of a step's coverage from that of the lines beside it, 0 where smaller."""
    c, p = np.clip(on, 0.01, 0.99), np.clip(beside, 0.05, 0.95)
    value = c * np.log(c / p) + (1 - c) * np.log((1 - c) / (1 - p))
    divergence: FloatArray = np.where(c > p, value, 0.0).astype(np.float32)
    return divergence


def _pairs(lines: _Lines) -> tuple[IntArray, IntArray]:
    first, second = np.triu_indices(len(lines.at), k=1)
    wide = lines.at[second] - lines.at[first] >= _SMALLEST * lines.size
    return first[wide], second[wide]


def _iou(one: FractionBox, two: FractionBox) -> float:
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, two)]
    return width * height / (sum(areas) - width * height)
