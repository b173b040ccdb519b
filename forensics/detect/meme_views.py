"""Where in an image the meme itself is: without the bars that a caption stands on, or inside a screenshot.

Memes are passed on in three frames: with bars of one colour above and below, as a post in an application's window, or
laid over another picture. All three have straight, level edges, so they are found without any network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import Box, UInt8Array

__all__ = ["picture_rectangles", "without_bars"]

_TONE = 14
"""Grey levels a channel by which JPEG moves the pixels of a bar."""
_PURE, _INKED = 0.97, 0.40
"""Share of a row in the bar's colour: where nothing is written, and where the densest letters stand."""
_LEAST_BAR, _LEAST_PICTURE = 0.03, 0.35

_FRAME = 256
_STEP = 14.0
"""Grey levels between neighbours (the largest of three channels) that make a border."""
_LINES = 14
_LEAST_SIDE, _LEAST_AREA, _MOST_AREA = 0.16, 0.04, 0.93
_SUPPORT = 0.55


def without_bars(image: UInt8Array) -> Box:
    """Return the box of what is left when bars and borders, nearly white or nearly black, are cut away.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB

    Returns
    -------
    Box
        The whole image where there are none. A bar may hold writing; a border at the sides is empty.
    """
    height, width = image.shape[:2]
    top = _bar(image)
    bottom = height - _bar(image[::-1])
    if bottom - top < _LEAST_PICTURE * height:
        return (0, 0, width, height)
    middle = np.ascontiguousarray(image[top:bottom].transpose(1, 0, 2))
    left = _bar(middle, inked=_PURE)
    right = width - _bar(middle[::-1], inked=_PURE)
    if right - left < _LEAST_PICTURE * width:
        left, right = 0, width
    return (left, top, right, bottom)


def _bar(image: UInt8Array, *, inked: float = _INKED) -> int:
    """Return how many of the first rows are a bar: the last empty row above which every row has the bar's colour."""
    height = len(image)
    colour = np.median(image[0], axis=0)
    same = (np.abs(image.astype(np.int16) - colour) <= _TONE).all(axis=2).mean(axis=1)  # (H,)
    if same[0] < _PURE or not _paper(colour):
        return 0
    stop = int(np.argmax(same < inked)) if (same < inked).any() else height
    pure = np.flatnonzero(same[:stop] >= _PURE)
    rows = int(pure[-1]) + 1 if len(pure) else 0
    return rows if _LEAST_BAR * height <= rows < height else 0


def _paper(colour: NDArray[np.floating]) -> bool:
    """Tell whether a colour is that of a bar: nearly white or nearly black. A sky is not."""
    return bool(np.ptp(colour) <= 2 * _TONE and (colour.min() >= 255 - 3 * _TONE or colour.max() <= 3 * _TONE))


def picture_rectangles(image: UInt8Array, *, most: int = 2) -> list[tuple[Box, float]]:
    """Find level rectangles with straight borders: a picture in a screenshot, or laid over another one.

    Parameters
    ----------
    image : (H, W, 3) uint8 RGB
    most : int
        How many are returned.

    Returns
    -------
    list of (Box, float)
        In pixels of ``image``, best first, with the share of the borders that is seen less what goes on beyond their
        ends.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, _FRAME * 1.75 / max(height, width))
    small = image
    if scale < 1.0:
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    h, w = small.shape[:2]
    if min(h, w) < 32:
        return []
    levels = small.astype(np.int16)
    across = np.abs(np.diff(levels, axis=1)).max(axis=2) > _STEP  # (h, w - 1): a border between x and x + 1
    down = np.abs(np.diff(levels, axis=0)).max(axis=2) > _STEP  # (h - 1, w)
    columns, rows = _Lines(across.T, w), _Lines(down, h)
    found = _rectangles(columns, rows, h, w)
    kept: list[tuple[Box, float]] = []
    for box, score in found:
        if all(_overlap(box, other) < 0.7 for other, _ in kept):
            kept.append((box, score))
        if len(kept) == most:
            break
    factor = 1.0 / scale
    return [
        (
            (
                round(x0 * factor),
                round(y0 * factor),
                min(width, round(x1 * factor)),
                min(height, round(y1 * factor)),
            ),
            score,
        )
        for (x0, y0, x1, y1), score in kept
    ]


class _Lines:
    """The straightest borders along one axis, the frame's own two among them.

    ``edges`` is (n, m) bool: row i holds the steps between line i and i + 1. Positions are 0 to n + 1; a border of the
    image itself counts as half seen.
    """

    def __init__(self, edges: NDArray[np.bool_], size: int) -> None:
        import cv2

        # a border that a resampling has spread over two rows counts in both
        spread = edges.copy()
        spread[1:] |= edges[:-1]
        self.length = edges.shape[1]
        window = max(8, self.length // 6)
        local = cv2.blur(spread.astype(np.float32), (window, 1), borderType=cv2.BORDER_CONSTANT)
        strength = np.sort(local, axis=1)[:, -max(1, window) :].mean(axis=1) + 0.5 * spread.mean(axis=1)
        order: list[int] = []
        for at in np.argsort(-strength, kind="stable"):
            if all(abs(int(at) - other) > 2 for other in order):
                order.append(int(at))
            if len(order) == _LINES:
                break
        self.positions = np.array([0, *sorted(at + 1 for at in order if 0 < at + 1 < size), size])
        sums = np.zeros((len(self.positions), self.length + 1), np.float32)
        for row, position in enumerate(self.positions):
            if 0 < position < size:
                sums[row, 1:] = np.cumsum(spread[position - 1])
        self.sums = sums
        self.frame = (self.positions == 0) | (self.positions == size)

    def share(self, line: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return how much of a line between two positions is a border; 0 for an empty span."""
        start, stop = np.clip(start, 0, self.length), np.clip(stop, 0, self.length)
        length = np.maximum(stop - start, 1)
        shares: NDArray[np.float32] = (self.sums[line, stop] - self.sums[line, start]) / length
        return shares


def _rectangles(columns: _Lines, rows: _Lines, h: int, w: int) -> list[tuple[Box, float]]:
    """Return rectangles between the lines whose four sides are borders, best first."""
    a, b = np.triu_indices(len(columns.positions), 1)
    c, d = np.triu_indices(len(rows.positions), 1)
    wide = columns.positions[b] - columns.positions[a] >= _LEAST_SIDE * w
    high = rows.positions[d] - rows.positions[c] >= _LEAST_SIDE * h
    a, b, c, d = a[wide], b[wide], c[high], d[high]
    column, row = np.meshgrid(np.arange(len(a)), np.arange(len(c)), indexing="ij")
    a, b, c, d = a[column.ravel()], b[column.ravel()], c[row.ravel()], d[row.ravel()]
    x0, x1, y0, y1 = columns.positions[a], columns.positions[b], rows.positions[c], rows.positions[d]
    area = (x1 - x0) * (y1 - y0) / (w * h)
    reach = max(6, round(0.08 * max(h, w)))
    scores, sides = np.zeros(len(a), np.float32), np.zeros(len(a), np.float32)
    least = np.ones(len(a), np.float32)
    for lines, at, start, stop, limit in (
        (columns, a, y0, y1, h),
        (columns, b, y0, y1, h),
        (rows, c, x0, x1, w),
        (rows, d, x0, x1, w),
    ):
        seen = lines.share(at, start, stop)
        # a border that goes on beyond the corners belongs to something else
        before = np.where(start > 0, lines.share(at, start - reach, start), 0.0)
        after = np.where(stop < limit, lines.share(at, stop, stop + reach), 0.0)
        inside = ~lines.frame[at]
        scores += np.where(inside, seen - 0.5 * (before + after), 0.0)
        sides += inside
        least = np.where(inside, np.minimum(least, seen), least)
    usable = (sides >= 2) & (area >= _LEAST_AREA) & (area <= _MOST_AREA) & (least >= 0.6 * _SUPPORT)
    # a side that is the image's own edge proves nothing, so it counts less than one that is seen
    # the larger of two, as the panels of a comic have such borders as well
    total = np.where(usable, (scores + 0.35 * (4 - sides)) / 4 + 0.06 * np.sqrt(area), 0.0)
    order = np.argsort(-total, kind="stable")[:40]
    return [
        ((int(x0[k]), int(y0[k]), int(x1[k]), int(y1[k])), float(total[k])) for k in order if total[k] >= 0.5 * _SUPPORT
    ]


def _overlap(one: Box, other: Box) -> float:
    """Return intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return shared / (areas - shared)
