"""What an image's layout says of a cover: lines of letters, straight edges, a spine, a browser's frame, a disc.

Everything is measured on the image squashed to a square of 160 pixels, so that a measure means the same at any size.
The letters need not be legible, nor of any alphabet: a line of them is a row of strokes of like height.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import Box, FloatArray, UInt8Array

__all__ = ["SIDE", "Layout", "measure_layout"]

SIDE = 160
"""Pixels of the square on which everything is measured."""

_LEAST_HEIGHT, _MOST_HEIGHT = 3, 44
_LEAST_FILL, _LEAST_SHAPE = 0.35, 1.6
_STRONG = 24.0
"""Gradient (grey levels a pixel) from which an edge counts."""
_GREYS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Measures of one image, each in [0, 1] unless said otherwise.

    Attributes
    ----------
    text_share : float
        Share of the area under lines of letters.
    text_lines : float
        Lines of letters, 20 and more being 1.
    text_top, text_middle, text_foot : float
        Share of the upper, middle and lower third under lines of letters.
    title_height : float
        Height of the highest line of letters, as a share of the image.
    title_width : float
        Width of the widest one.
    title_place : float
        Where the highest line stands, 0 at the top; 0.5 where there is none.
    centred : float
        Share of the lines whose middle is the image's or one another's.
    ranged : float
        Share of the lines that begin at a common left edge.
    row_top, row_middle, row_foot : float
        Longest level edge in the upper fifth, the middle, the lower fifth, as a share of the width.
    column_left, column_middle, column_right : float
        Likewise of upright edges.
    spine : float
        How much of the height an upright edge in the left third takes that has another colour at its left.
    frame_bar : float
        How plain a level bar along the whole upper edge is, times how sharply it ends.
    controls : float
        Small round spots side by side in that bar: 1 for three or more.
    ring : float
        How much of a circle around the middle is an edge.
    hole : float
        Likewise of a small circle around the same middle.
    rim_plain : float
        How plain the image's rim is: share of its pixels near the rim's commonest colour.
    plain : float
        Share of the area without structure.
    colours : float
        Share of the area in the four commonest of 512 colours.
    blocks : float
        How well the image falls into upright and level blocks: share of strong edges that are long and straight.
    """

    text_share: float
    text_lines: float
    text_top: float
    text_middle: float
    text_foot: float
    title_height: float
    title_width: float
    title_place: float
    centred: float
    ranged: float
    row_top: float
    row_middle: float
    row_foot: float
    column_left: float
    column_middle: float
    column_right: float
    spine: float
    frame_bar: float
    controls: float
    ring: float
    hole: float
    rim_plain: float
    plain: float
    colours: float
    blocks: float

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the measures' names in the order of :meth:`vector`."""
        return tuple(field.name for field in fields(cls))

    def vector(self) -> FloatArray:
        """Return (n,) float32."""
        return np.array(astuple(self), np.float32)


def measure_layout(image: UInt8Array) -> Layout:
    """Measure the layout of (H, W, 3) uint8 RGB of any size."""
    import cv2

    small = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    soft = cv2.GaussianBlur(grey, (3, 3), 0)
    dx = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3) / 4
    dy = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3) / 4
    lines = text_lines(grey)
    rows, columns = _runs(dy, dx), _runs(dx.T, dy.T)
    fifth = SIDE // 5
    strong = np.hypot(dx, dy)
    edges = strong > _STRONG
    bar, controls = _browser_bar(small, rows)
    ring, hole = _circles(dx, dy)
    return Layout(
        **_text_measures(lines),
        row_top=float(rows[:fifth].max()),
        row_middle=float(rows[fifth:-fifth].max()),
        row_foot=float(rows[-fifth:].max()),
        column_left=float(columns[:fifth].max()),
        column_middle=float(columns[fifth:-fifth].max()),
        column_right=float(columns[-fifth:].max()),
        spine=_spine(small, columns),
        frame_bar=bar,
        controls=controls,
        ring=ring,
        hole=hole,
        rim_plain=_rim_plain(small),
        plain=float((strong < 3).mean()),
        colours=_commonest(small),
        blocks=_straight(dx, dy, edges),
    )


def text_lines(grey: UInt8Array) -> list[Box]:
    """Return boxes of what looks like lines of letters in a (S, S) uint8 image, in its pixels.

    Strokes are where the brightest and the darkest neighbour differ much; strokes side by side are closed into lines,
    and what is level, filled and of a line's height stays.
    """
    import cv2

    spread = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    level, strokes = cv2.threshold(spread, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    if level < 8:  # nothing but noise
        return []
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_RECT, (7, 1)))
    count, _, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
    found: list[Box] = []
    for x, y, width, height, area in stats[1:count].tolist():
        if not _LEAST_HEIGHT <= height <= _MOST_HEIGHT or width < _LEAST_SHAPE * height or width < 8:
            continue
        if area < _LEAST_FILL * width * height:
            continue
        # letters turn from stroke to gap and back many times along a line; an edge or a bar does not
        middle = strokes[y + height // 2, x : x + width] > 0
        if int(np.count_nonzero(middle[1:] != middle[:-1])) < max(4, 0.8 * width / height):
            continue
        found.append((x, y, x + width, y + height))
    return found


def _text_measures(lines: list[Box]) -> dict[str, float]:
    if not lines:
        names = Layout.names()[:10]
        return dict.fromkeys(names, 0.0) | {"title_place": 0.5}
    boxes = np.array(lines, np.float64)
    cover = np.zeros((SIDE, SIDE), bool)
    for x0, y0, x1, y1 in lines:
        cover[y0:y1, x0:x1] = True
    heights, widths = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    middles, lefts = (boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 0]
    highest = int((heights * np.minimum(widths, SIDE / 2)).argmax())
    third = SIDE // 3
    near = 0.03 * SIDE
    return {
        "text_share": float(cover.mean()),
        "text_lines": min(1.0, len(lines) / 20),
        "text_top": float(cover[:third].mean()),
        "text_middle": float(cover[third:-third].mean()),
        "text_foot": float(cover[-third:].mean()),
        "title_height": float(heights[highest] / SIDE),
        "title_width": float(widths.max() / SIDE),
        "title_place": float((boxes[highest, 1] + boxes[highest, 3]) / 2 / SIDE),
        "centred": _agreeing(middles, near),
        "ranged": _agreeing(lefts, near),
    }


def _agreeing(places: NDArray[np.float64], near: float) -> float:
    """Return the largest share of places that lie within ``near`` of one of them; 0 for fewer than two lines."""
    if len(places) < 2:
        return 0.0
    return float((np.abs(places[:, None] - places[None, :]) <= near).mean(1).max())


def _runs(across: FloatArray, along: FloatArray) -> FloatArray:
    """Return for each row the longest run of edge along it, as a share of its length; gaps of two pixels are closed."""
    import cv2

    edge = ((np.abs(across) > _STRONG / 2) & (np.abs(across) > 2 * np.abs(along))).astype(np.uint8)
    edge = cv2.morphologyEx(edge, cv2.MORPH_CLOSE, np.ones((1, 5), np.uint8))
    length = edge.shape[1]
    padded = np.pad(edge, ((0, 0), (1, 1)))
    steps = np.diff(padded.astype(np.int8), axis=1)
    longest = np.zeros(len(edge), np.float32)
    row, start = np.nonzero(steps == 1)
    _, stop = np.nonzero(steps == -1)
    np.maximum.at(longest, row, (stop - start) / length)
    return longest


def _spine(small: UInt8Array, columns: FloatArray) -> float:
    """Return the best upright edge in the left third, weighted by how much the colours at its sides differ."""
    best = 0.0
    for x in range(6, SIDE // 3):
        if columns[x] > 0.3:
            left, right = (
                small[:, part].reshape(-1, 3).mean(0) for part in (slice(max(0, x - 12), x - 1), slice(x + 2, x + 14))
            )
            best = max(best, float(columns[x]) * min(1.0, float(np.abs(left - right).max()) / 60))
    return best


def _browser_bar(small: UInt8Array, rows: FloatArray) -> tuple[float, float]:
    """Return how bar-like the upper edge is, and whether round controls stand in it."""
    import cv2

    best, cut = 0.0, 0
    for y in range(5, SIDE // 6):
        if rows[y] > 0.6:
            bar = small[1 : y - 1].reshape(-1, 3).astype(np.int16)
            common = np.median(bar, axis=0)
            plain = float((np.abs(bar - common).max(1) < 18).mean())
            if plain * float(rows[y]) > best:
                best, cut = plain * float(rows[y]), y
    if not cut:
        return 0.0, 0.0
    corner = small[:cut, : SIDE // 4].astype(np.int16)
    odd = (np.abs(corner - np.median(small[:cut], axis=(0, 1))).max(2) > 30).astype(np.uint8)
    count, _, stats, centres = cv2.connectedComponentsWithStats(odd, connectivity=8)
    spots = [
        centres[number, 1]
        for number in range(1, count)
        if 4 <= stats[number, 4] <= 60 and 0.6 <= stats[number, 2] / stats[number, 3] <= 1.7
    ]
    level = sum(abs(y - np.median(spots)) <= 2 for y in spots) if spots else 0
    return best, min(1.0, level / 3)


def _circles(dx: FloatArray, dy: FloatArray) -> tuple[float, float]:
    """Return how complete the best large circle near the middle is, and the best small one about the same middle.

    The share of directions in which the gradient at the radius is strong and points along it.
    """
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    def share(x: float, y: float, radius: NDArray[np.float64]) -> NDArray[np.float64]:
        columns = np.rint(x + radius[:, None] * cos).astype(int)
        lines = np.rint(y + radius[:, None] * sin).astype(int)
        inside = (columns >= 0) & (columns < SIDE) & (lines >= 0) & (lines < SIDE)
        columns, lines = columns.clip(0, SIDE - 1), lines.clip(0, SIDE - 1)
        gx, gy = dx[lines, columns], dy[lines, columns]
        along = np.abs(gx * cos + gy * sin)
        round_ = (along > _STRONG / 2) & (along > 0.85 * np.hypot(gx, gy)) & inside
        return np.asarray(round_.mean(1), np.float64)

    large, small = np.arange(SIDE * 0.2, SIDE * 0.5, 1.0), np.arange(3.0, SIDE * 0.12, 1.0)
    best, hole = 0.0, 0.0
    for x in np.arange(0.3, 0.71, 0.1) * SIDE:
        for y in np.arange(0.3, 0.71, 0.1) * SIDE:
            found = float(share(x, y, large).max())
            if found > best:
                best, hole = found, float(share(x, y, small).max())
    return best, hole


def _rim_plain(small: UInt8Array) -> float:
    deep = 4
    rim = np.concatenate(
        [part.reshape(-1, 3) for part in (small[:deep], small[-deep:], small[:, :deep], small[:, -deep:])]
    )
    return float((np.abs(rim.astype(np.int16) - np.median(rim, axis=0)).max(1) < 20).mean())


def _commonest(small: UInt8Array) -> float:
    parts = small.astype(np.int32) * _GREYS // 256
    counts = np.bincount((parts @ np.array([_GREYS * _GREYS, _GREYS, 1])).ravel(), minlength=_GREYS**3)
    return float(np.sort(counts)[-4:].sum() / counts.sum())


def _straight(dx: FloatArray, dy: FloatArray, edges: FloatArray) -> float:
    """Return the share of strong edges that belong to level or upright runs of at least an eighth of the image."""
    import cv2

    if not edges.any():
        return 0.0
    long = SIDE // 8
    level = ((np.abs(dy) > _STRONG / 2) & (np.abs(dy) > 2 * np.abs(dx))).astype(np.uint8)
    upright = ((np.abs(dx) > _STRONG / 2) & (np.abs(dx) > 2 * np.abs(dy))).astype(np.uint8)
    kept = cv2.morphologyEx(level, cv2.MORPH_OPEN, np.ones((1, long), np.uint8)) | cv2.morphologyEx(
        upright, cv2.MORPH_OPEN, np.ones((long, 1), np.uint8)
    )
    return float((kept.astype(bool) & edges).sum() / edges.sum())
