"""Is what a query shares with several references only what these share among themselves: a layout, not a picture?

Book covers of one design, cards with one frame, memes on one template: a generator that has learnt the design draws it
around new pictures. Each such reference matches the query, and none of them was copied. The references are laid over
the query and all of them are compared cell by cell:

==========  ===========================================================================================================
symbol      meaning
==========  ===========================================================================================================
n           references of one look, near-duplicates of one another counted once
common      cells that most pairs of references show alike: the layout
own         cells of a reference that have texture and are not common: its picture
==========  ===========================================================================================================

The query shows the template if it agrees with the layout and with no reference's own picture. Plain cells (white paper,
a board of one colour) are alike in anything and count for nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import Box, FloatArray, UInt8Array

    BoolArray = NDArray[np.bool_]

__all__ = ["GRID", "TemplateMatch", "compare_with_group"]

GRID = 16
"""Cells along a side."""

_CELL = 8  # pixels along a cell's side
_SIGMA = 0.8  # low-pass in those pixels: a generator does not redraw what is finer
_NEAR = 0.10  # root mean square difference below which two cells show the same; colours in [0, 1]
_CORRELATES = 0.7  # or the correlation of their luminance, where both have texture
_PLAIN = 0.03  # standard deviation of a cell's luminance below which it has no texture
_SHIFTS = tuple((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1))
_COVERED = 0.95
_MOST = 0.6  # share of the pairs of references that must agree in a common cell
_DUPLICATE = 0.8  # share of all textured cells from which two references are one picture
_LEAST_OWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateMatch:
    """How a query agrees with a group of references.

    Attributes
    ----------
    references : int
        n, near-duplicates counted once.
    cells : int
        Textured cells of the layout.
    share : float
        Their share of the query's textured cells, in [0, 1].
    agreement : float
        Share of them in which the query agrees with most references, in [0, 1].
    own : tuple of float
        For each reference that was given: share of its own textured cells that the query shows too; 0 where it has
        fewer than 6 of them, NaN where it was a near-duplicate of an earlier one.
    box : tuple of int or None
        The layout's place in the query, in cells: x0, y0, x1, y1 with exclusive upper bounds.
    """

    references: int
    cells: int
    share: float
    agreement: float
    own: tuple[float, ...]
    box: Box | None

    @property
    def most_own(self) -> float:
        """The largest agreement with a picture of the group's own."""
        known = [value for value in self.own if not np.isnan(value)]
        return max(known, default=0.0)


def compare_with_group(
    query: UInt8Array, references: Sequence[UInt8Array], transforms: Sequence[NDArray[np.float64]]
) -> TemplateMatch:
    """Compare a query with references that match it.

    Parameters
    ----------
    query : ndarray
        (H, W, 3) uint8 RGB.
    references : sequence of ndarray
        (h, w, 3) uint8 RGB each, two or more.
    transforms : sequence of ndarray
        (3, 3) each, from pixels of ``query`` to pixels of the reference.

    Raises
    ------
    UsageError
        If fewer than two references are given, or not one transform each.
    """
    if len(references) < 2 or len(references) != len(transforms):
        raise UsageError(
            f"{len(references)} references and {len(transforms)} transforms given; two references or more accepted, "
            "each with its transform"
        )
    ours = _frame(query)
    laid = [_laid(query, image, matrix) for image, matrix in zip(references, transforms, strict=True)]
    theirs, valid = [frame for frame, _ in laid], [mask for _, mask in laid]
    texture = [_textured(frame) & mask for frame, mask in zip(theirs, valid, strict=True)]
    kept = _distinct(theirs, valid, texture)
    alike = {(i, j): _near(theirs[i], theirs[j]) & valid[i] & valid[j] for i in kept for j in kept if i < j}
    pairs = [valid[i] & valid[j] for i, j in alike]
    if not alike:
        own = tuple(0.0 if place in kept else float("nan") for place in range(len(references)))
        return TemplateMatch(references=len(kept), cells=0, share=0.0, agreement=0.0, own=own, box=None)
    possible = np.sum(pairs, axis=0)
    common = (np.sum(list(alike.values()), axis=0) >= _MOST * np.maximum(possible, 1)) & (possible > 0)
    common &= np.sum([texture[i] for i in kept], axis=0) * 2 > np.sum([valid[i] for i in kept], axis=0)
    near = {i: _near(ours, theirs[i]) & valid[i] for i in kept}
    agrees = np.sum(list(near.values()), axis=0) * 2 > np.sum([valid[i] for i in kept], axis=0)
    found = common & agrees
    own = tuple(_share(near[i], texture[i] & ~common) if i in kept else float("nan") for i in range(len(references)))
    textured = _textured(ours)
    return TemplateMatch(
        references=len(kept),
        cells=int(common.sum()),
        share=float((common & textured).sum() / max(int(textured.sum()), 1)),
        agreement=float(found.sum() / max(int(common.sum()), 1)),
        own=own,
        box=_box(found),
    )


def _frame(image: UInt8Array) -> FloatArray:
    """Return the image skewed to the comparison's square, low-passed: (128, 128, 3) float32 in [0, 1]."""
    import cv2

    side = GRID * _CELL
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    blurred: FloatArray = cv2.GaussianBlur(small, (0, 0), _SIGMA).astype(np.float32) / 255
    return blurred


def _laid(query: UInt8Array, image: UInt8Array, matrix: NDArray[np.float64]) -> tuple[FloatArray, BoolArray]:
    """Lay a reference over the query's square; return it, and the cells that it covers."""
    import cv2

    side = GRID * _CELL
    height, width = query.shape[:2]
    # twice the square, then halved: the warp samples single pixels, which alone would alias
    enlarge = np.diag([width / (2 * side), height / (2 * side), 1.0])
    whole = np.asarray(matrix, np.float64) @ enlarge
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (2 * side, 2 * side)
    blur = max(0.0, 0.4 * float(np.sqrt(abs(np.linalg.det(whole[:2, :2]))) - 1))
    soft = cv2.GaussianBlur(image, (0, 0), blur) if blur > 0.3 else image
    warped = cv2.warpPerspective(soft, whole, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.warpPerspective(np.ones(image.shape[:2], np.float32), whole, size, flags=flags)
    share = cv2.resize(covered, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return _frame(warped), share >= _COVERED


def _cells(frame: FloatArray) -> FloatArray:
    """(128, 128, c) → (16, 16, 64, c)."""
    cut = frame.reshape(GRID, _CELL, GRID, _CELL, -1).swapaxes(1, 2)
    return cut.reshape(GRID, GRID, _CELL * _CELL, -1)


def _textured(frame: FloatArray) -> BoolArray:
    grey: BoolArray = _cells(frame.mean(axis=2, keepdims=True))[..., 0].std(axis=2) >= _PLAIN
    return grey


def _near(one: FloatArray, other: FloatArray) -> BoolArray:
    """Return (16, 16) bool: cells that show the same, the other shifted by up to a pixel."""
    left = _cells(one)
    grey = left.mean(axis=3)
    grey = grey - grey.mean(axis=2, keepdims=True)
    strength = np.sqrt((grey**2).sum(axis=2))
    found = np.zeros((GRID, GRID), np.bool_)
    for dy, dx in _SHIFTS:
        right = _cells(np.roll(other, (dy, dx), axis=(0, 1)))
        found |= ((left - right) ** 2).mean(axis=(2, 3)) < _NEAR**2
        theirs = right.mean(axis=3)
        theirs = theirs - theirs.mean(axis=2, keepdims=True)
        power = np.sqrt((theirs**2).sum(axis=2))
        contrast = np.minimum(strength, power) >= _PLAIN * _CELL  # both have texture
        found |= contrast & ((grey * theirs).sum(axis=2) >= _CORRELATES * np.maximum(strength * power, 1e-9))
    return found


def _distinct(frames: Sequence[FloatArray], valid: Sequence[BoolArray], texture: Sequence[BoolArray]) -> list[int]:
    """Return the references, without those that show the picture of an earlier one."""
    kept: list[int] = []
    for place, frame in enumerate(frames):
        same = False
        for other in kept:
            both = valid[place] & valid[other] & (texture[place] | texture[other])
            same = same or (int(both.sum()) > 0 and _share(_near(frame, frames[other]), both) >= _DUPLICATE)
        if not same:
            kept.append(place)
    return kept


def _share(found: BoolArray, among: BoolArray) -> float:
    count = int(among.sum())
    return float((found & among).sum() / count) if count >= _LEAST_OWN else 0.0


def _box(mask: BoolArray) -> Box | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
