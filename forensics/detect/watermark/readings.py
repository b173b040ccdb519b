"""Reads a mark's words, pass by pass: as they are, piece by piece, with the ground taken off, averaged over repeats.

A few lines of each pass are read, those first that lie on the mark: each costs time. The passes stand in the order in
which they name most marks; the first does for eight in ten of those that are named at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.lines import TextLine
from forensics.detect.text_boxes import clockwise
from forensics.detect.watermark.lattice import Lattice, averaged, local_contrast

if TYPE_CHECKING:
    from forensics.detect.ocr import TextBox, TextReader
    from forensics.types import Box, FloatArray, UInt8Array

__all__ = ["Reading", "read_passes"]

_READ_SIDE = 640
"""Longer side in pixels at which a region is read."""
_MOST_ENLARGED = 8.0
_MARGIN = 0.12
"""A region is read with so much around it, as a share of its longer side: readers want a rim."""
_MOST_LINES, _MOST_AGAIN = 6, 4
"""Lines that are read of the region, and of its repeats' mean."""
_MOST_PIECES, _MOST_OF_PIECE = 3, 2
_PIECE_SIDE = 384
"""Longer side in pixels at which a piece of the mask is read: letters are small where the region is large."""
_LARGE, _TILE, _TILES = 700, 0.45, (0.0, 0.275, 0.55)
"""Longer side in pixels from which a region is read in tiles, their share of it, and where they begin: letters are lost
where it is reduced."""
_LEAST_HIGH = 6
"""Pixels of a line's height below which its letters are none."""
_LEAST_LESS = 0.7
"""A piece of more than this share of the region's longer side was seen with the region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One line as one pass read it.

    Attributes
    ----------
    line : TextLine
    centre : (float, float)
        In pixels of the image.
    length : float
        Of the line, in the same pixels.
    cut_start, cut_end : bool
        Whether the image's frame may cut letters off before or after it.
    """

    line: TextLine
    centre: tuple[float, float]
    length: float
    cut_start: bool = False
    cut_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _View:
    """A picture to be read, its place (x, y of its corner) and enlargement relative to the image."""

    pixels: UInt8Array
    corner: tuple[int, int]
    scale: tuple[float, float]


def read_passes(
    image: UInt8Array, mask: UInt8Array | FloatArray | None, box: Box, lattice: Lattice | None, reader: TextReader
) -> Iterator[list[Reading]]:
    """Yield what each pass reads, the likeliest pass first; both alphabets' readings of a line are kept.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    mask : ndarray or None
        (h, w) in the image's proportions, any range: how surely each place belongs to the mark.
    box : Box
        Where the mark is, in pixels of ``image``.
    lattice : Lattice or None
        How the mark repeats.
    reader : TextReader
    """
    view = _shown(image, box, _READ_SIDE)
    if view is None:
        return
    there = None if mask is None else _mask_in(view, np.asarray(mask, np.float32), image.shape[:2])

    def read(pixels: UInt8Array, most: int) -> list[Reading]:
        lines = _by_mark(reader.boxes(pixels, tallest=math.inf), there)[:most]
        shown = replace(view, pixels=pixels)
        return [reading for line in lines for reading in _read(shown, line, image.shape[:2], reader)]

    yield read(view.pixels, _MOST_LINES)
    if mask is not None:
        field = np.asarray(mask, np.float32)
        large = max(box[2] - box[0], box[3] - box[1]) >= _LARGE
        boxes, lines = (_tiles(field, box, image.shape[:2]), []) if large else _pieces(field, box, image.shape[:2])
        native = _View(pixels=image, corner=(0, 0), scale=(1.0, 1.0))
        yield [reading for line in lines for reading in _read(native, line, image.shape[:2], reader)]
        for close in (_shown(image, piece, _PIECE_SIDE) for piece in boxes):
            if close is not None:
                found = sorted(reader.boxes(close.pixels, tallest=math.inf), key=lambda line: -line.score)
                yield [
                    reading
                    for line in found[:_MOST_OF_PIECE]
                    for reading in _read(close, line, image.shape[:2], reader)
                ]
    contrast = local_contrast(view.pixels)
    yield read(_as_grey(contrast), _MOST_LINES)
    if lattice is not None and lattice.sure:
        steps = tuple((x * view.scale[0], y * view.scale[1]) for x, y in lattice.steps)
        mean = averaged(contrast, replace(lattice, steps=steps))
        yield read(_as_grey(mean / max(float(mean.std()), 1e-3)), _MOST_AGAIN)


def _shown(image: UInt8Array, box: Box, side: int) -> _View | None:
    """Return the box with a rim, its longer side ``side`` pixels; None for an empty box."""
    import cv2

    height, width = image.shape[:2]
    margin = round(_MARGIN * max(box[2] - box[0], box[3] - box[1])) + 2
    left, top = max(0, box[0] - margin), max(0, box[1] - margin)
    right, bottom = min(width, box[2] + margin), min(height, box[3] + margin)
    if right <= left or bottom <= top:
        return None
    scale = min(side / max(right - left, bottom - top), _MOST_ENLARGED)
    size = (max(32, round((right - left) * scale)), max(32, round((bottom - top) * scale)))
    smaller = size[0] < right - left
    part = cv2.resize(image[top:bottom, left:right], size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return _View(
        pixels=np.asarray(part), corner=(left, top), scale=(size[0] / (right - left), size[1] / (bottom - top))
    )


def _mask_in(view: _View, mask: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Return the part of an image's mask that a view shows, at the view's size."""
    import cv2

    height, width = view.pixels.shape[:2]
    across, down = mask.shape[1] / shape[1], mask.shape[0] / shape[0]
    place = np.array(
        [
            [across / view.scale[0], 0, view.corner[0] * across],
            [0, down / view.scale[1], view.corner[1] * down],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    made: FloatArray = cv2.warpAffine(mask, place, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return made


def _by_mark(lines: Sequence[TextBox], mask: FloatArray | None) -> list[TextBox]:
    """Return the lines, those first that cover most of the mark."""
    import cv2

    def covered(line: TextBox) -> float:
        if mask is None:
            return line.score
        left, top, right, bottom = (max(0, round(value)) for value in line.bounds)
        part = mask[top : bottom + 1, left : right + 1]
        inside = np.zeros(part.shape, np.float32)
        if part.size:
            cv2.fillPoly(inside, [np.rint(np.array(line.polygon) - [left, top]).astype(np.int32)], 1.0)
        return float((part * inside).sum()) * line.score

    return sorted(lines, key=covered, reverse=True)


def _pieces(mask: FloatArray, box: Box, shape: tuple[int, ...]) -> tuple[list[Box], list[TextBox]]:
    """Return the mask's largest pieces in pixels of an image of that shape: boxes, and rectangles as lines of text.

    The network's words are regions, so the smallest rectangle around one often is the line, turned as the line is.
    Boxes that fill the region are left out.
    """
    import cv2

    from forensics.detect.ocr import TextBox

    if float(mask.max()) <= 0.0:
        return [], []
    reach = max(1, round(0.01 * max(mask.shape)))
    inside = cv2.dilate((mask >= 0.5 * float(mask.max())).astype(np.uint8), np.ones((1, 2 * reach + 1), np.uint8))
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([shape[1] / mask.shape[1], shape[0] / mask.shape[0]])
    boxes: list[Box] = []
    lines: list[TextBox] = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True)[:_MOST_PIECES]:
        left, top, wide, high = (int(value) for value in cv2.boundingRect(contour))
        if max(wide * scale[0], high * scale[1]) < _LEAST_LESS * max(box[2] - box[0], box[3] - box[1]):
            x, y = int(left * scale[0]), int(top * scale[1])
            boxes.append((x, y, int((left + wide) * scale[0]), int((top + high) * scale[1])))
        # a contour runs through the middles of its pixels
        corners = cv2.boxPoints(cv2.minAreaRect((contour + 0.5).astype(np.float32) * scale.astype(np.float32)))
        if min(np.hypot(*(corners[1] - corners[0])), np.hypot(*(corners[2] - corners[1]))) >= _LEAST_HIGH:
            lines.append(TextBox(polygon=clockwise(corners), score=1.0))
    return boxes, lines


def _tiles(mask: FloatArray, box: Box, shape: tuple[int, ...]) -> list[Box]:
    """Return the tiles of a large region that hold most of the mark."""
    width, height = box[2] - box[0], box[3] - box[1]
    across, down = mask.shape[1] / shape[1], mask.shape[0] / shape[0]

    def held(tile: Box) -> float:
        rows, columns = (
            slice(int(low * scale), int(high * scale))
            for low, high, scale in ((tile[1], tile[3], down), (tile[0], tile[2], across))
        )
        return float(mask[rows, columns].sum())

    tiles = [
        (
            int(box[0] + x * width),
            int(box[1] + y * height),
            int(box[0] + (x + _TILE) * width),
            int(box[1] + (y + _TILE) * height),
        )
        for y in _TILES
        for x in _TILES
    ]
    return sorted(tiles, key=held, reverse=True)[:_MOST_PIECES]


def _as_grey(contrast: FloatArray) -> UInt8Array:
    grey = np.clip(128.0 + 50.0 * contrast, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _read(view: _View, line: TextBox, shape: tuple[int, ...], reader: TextReader) -> list[Reading]:
    """Read a line of a view of an image of that shape with every alphabet; the view's edges cut as the image's do."""
    corners = np.array(line.polygon) / view.scale + view.corner
    start, end = corners[[0, 3]].mean(0), corners[[1, 2]].mean(0)
    low = np.array(view.corner, float)
    high = low + np.array(view.pixels.shape[1::-1]) / view.scale
    rim = 0.02 * np.array(shape[1::-1])
    cut = [bool((at <= low + rim).any() or (at >= high - rim).any()) for at in (start, end)]
    centre = corners.mean(0)
    return [
        Reading(
            line=text,
            centre=(float(centre[0]), float(centre[1])),
            length=float(np.hypot(*(end - start))),
            cut_start=cut[0],
            cut_end=cut[1],
        )
        for text in reader.readings(view.pixels, line)
    ]
