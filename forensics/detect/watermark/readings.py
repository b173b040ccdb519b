"""Makes the pictures in which a mark's words are read, and the readings with their places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.lines import TextLine
from forensics.detect.watermark.lattice import Lattice, averaged, local_contrast

if TYPE_CHECKING:
    from forensics.detect.ocr import TextReader
    from forensics.types import Box, FloatArray, UInt8Array

__all__ = ["Reading", "View", "read_view", "views"]

_READ_SIDE = 640
"""Longer side in pixels at which a region is read."""
_WORD_SIDE = 384
"""The same for one piece of the mask, of which the :data:`_MOST_WORDS` largest are read."""
_MOST_WORDS = 3
_MOST_ENLARGED = 8.0
_MARGIN = 0.12
"""A region is read with so much around it, as a share of its longer side: readers want a rim."""
_LATTICE = 0.6
"""Confidence of the lattice from which its copies are averaged."""


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
class View:
    """A picture to be read, its place (x, y of its corner) and enlargement relative to the image."""

    pixels: UInt8Array
    corner: tuple[int, int]
    scale: tuple[float, float]


def views(image: UInt8Array, mask: UInt8Array | FloatArray | None, box: Box, lattice: Lattice | None) -> Iterator[View]:
    """Yield the region and its words as they are, then with the ground taken off, averaged over repeats, and dark."""
    whole = _shown(image, box, _READ_SIDE)
    if whole is None:
        return
    yield whole
    words = [view for view in (_shown(image, part, _WORD_SIDE) for part in _words_of(mask, box, image)) if view]
    yield from words
    contrast = local_contrast(whole.pixels)
    yield replace(whole, pixels=_as_grey(contrast))
    if lattice is not None and lattice.copies > 1 and lattice.confidence >= _LATTICE:
        steps = tuple((x * whole.scale[0], y * whole.scale[1]) for x, y in lattice.steps)
        mean = averaged(contrast, replace(lattice, steps=steps))
        yield replace(whole, pixels=_as_grey(mean / max(float(mean.std()), 1e-3)))
    for word in words:
        yield replace(word, pixels=_as_grey(local_contrast(word.pixels)))
    yield replace(whole, pixels=_as_grey(-contrast))


def _shown(image: UInt8Array, box: Box, side: int) -> View | None:
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
    return View(pixels=np.asarray(part), corner=(left, top), scale=(size[0] / (right - left), size[1] / (bottom - top)))


def _words_of(mask: UInt8Array | FloatArray | None, box: Box, image: UInt8Array) -> list[Box]:
    """Return the boxes of the mask's largest pieces, in pixels of the image; none where they fill the box."""
    import cv2

    if mask is None:
        return []
    height, width = image.shape[:2]
    field = np.asarray(mask, np.float32)
    reach = max(1, round(0.01 * max(field.shape)))
    inside = cv2.dilate((field >= 0.5 * float(field.max())).astype(np.uint8), np.ones((1, 2 * reach + 1), np.uint8))
    if float(field.max()) <= 0.0:
        return []
    _, _, pieces, _ = cv2.connectedComponentsWithStats(inside)
    scale = (width / field.shape[1], height / field.shape[0])
    found: list[Box] = []
    for left, top, wide, high, _ in sorted(pieces[1:].tolist(), key=lambda piece: -piece[4])[:_MOST_WORDS]:
        part = (
            int(left * scale[0]), int(top * scale[1]), int((left + wide) * scale[0]), int((top + high) * scale[1])
        )  # fmt: skip
        if max(part[2] - part[0], part[3] - part[1]) < 0.7 * max(box[2] - box[0], box[3] - box[1]):
            found.append(part)
    return found


def _as_grey(contrast: FloatArray) -> UInt8Array:
    grey = np.clip(128.0 + 50.0 * contrast, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def read_view(view: View, shape: tuple[int, ...], reader: TextReader) -> list[Reading]:
    """Read a view; both alphabets' readings of a line are kept."""
    found = []
    rim_x, rim_y = 0.02 * shape[1], 0.02 * shape[0]
    for box in reader.boxes(view.pixels, tallest=math.inf):
        corners = np.array(box.polygon) / view.scale + view.corner
        start, end = corners[[0, 3]].mean(0), corners[[1, 2]].mean(0)
        cut = [
            bool(at[0] <= rim_x or at[0] >= shape[1] - rim_x or at[1] <= rim_y or at[1] >= shape[0] - rim_y)
            for at in (start, end)
        ]
        centre = corners.mean(0)
        found += [
            Reading(
                line=line,
                centre=(float(centre[0]), float(centre[1])),
                length=float(np.hypot(*(end - start))),
                cut_start=cut[0],
                cut_end=cut[1],
            )
            for line in reader.readings(view.pixels, box)
        ]
    return found
