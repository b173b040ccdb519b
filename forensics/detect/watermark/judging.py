"""The test of discovery: is what a group of images agrees in a mark that is laid over them?

The mark is estimated from the group (:mod:`~forensics.detect.watermark.mark_fit`), each time without one image, and
must be found again in the image that was left out; and the images must show something else besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from forensics.detect.watermark.fields import agreement, field, letters
from forensics.detect.watermark.mark_fit import FittedMark, Presence, fit_mark, moved, presence, word_regions
from forensics.detect.watermark.repeats import common_period
from forensics.detect.watermark.shared_mark import SharedMark, find_mark, least_z

if TYPE_CHECKING:
    from forensics.types import FloatArray, UInt8Array

__all__ = ["CELL", "LEAST_GROUP", "MOST_FITTED", "Batch", "Placed", "judged"]

CELL = 16
"""Side in pixels of the squares in which images are compared."""
LEAST_GROUP = 3
MOST_FITTED = 40
"""Images from which a mark is estimated, at most."""

_ESTIMATED = 0.5
_AGREED = 0.8
"""Of the network's mean mask (0 to 1) and half of the estimated words (0 or 0.5): neither alone is believed."""
_MOST_LEFT_OUT = 12
_LEFT_OUT_Z = 4.0
_LEFT_OUT_PASS = 0.6
_STILL, _MOSTLY = 2, 0.9
"""A mark that lies within so many pixels of one place in this share of its images does not move."""
_MOST_COVERED = 0.6
_ELSE = 0.25
"""Least share of the images' edges that lies outside the mark,"""
_ELSE_ALIKE = 0.2
"""and how far these may agree from image to image, on average,"""
_ELSE_SHARE = 0.25
"""or as a share of the agreement with the mark."""
_RIM, _VOUCHED_RIM = 9, 15
"""Pixels that the mark is grown by first; more where a network vouches for it, as the estimate may be incomplete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An image by its position, and by how many pixels it is moved down and right to lie as the others do."""

    number: int
    dy: int = 0
    dx: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Images that are compared, to which of their places a network points, and when a mark counts as being in one.

    Attributes
    ----------
    images : sequence of ndarray
        (h, w) float32 in [0, 1], of one shape.
    masks : sequence of ndarray or None
        (h, w) float32 in [0, 1]; None for images to which no network points.
    limits : mapping of str to float
        Of :attr:`~forensics.detect.watermark.mark_fit.Presence.z`, by path.
    share : float
        Of :attr:`~forensics.detect.watermark.mark_fit.Presence.share`.
    """

    images: Sequence[FloatArray]
    masks: Sequence[FloatArray | None]
    limits: Mapping[str, float]
    share: float

    def members(self, among: Iterable[int], mark: SharedMark) -> dict[int, Presence]:
        """Return which of the images bear a mark."""
        limit = self.limits[mark.path] if mark.limit is None else mark.limit
        kept = {}
        for number in among:
            seen = find_mark(self.images[number], mark)
            if seen.z >= least_z(mark, limit, pointed=self.masks[number] is not None) and seen.share >= self.share:
                kept[number] = seen
        return kept

    def words(self, placed: Sequence[Placed], mark: FittedMark) -> UInt8Array:
        """Return (h, w) uint8, 255 where the words of an estimated mark are, by the estimate and by the masks together.

        The estimate holds lines that join words too, which the masks leave out; the masks are blurred, and the estimate
        is not. Where less than half of the images have a mask, the estimate alone speaks.
        """
        estimated = word_regions(mark.inked)
        seen = [(mask, one) for one in placed if (mask := self.masks[one.number]) is not None]
        if len(seen) < max(LEAST_GROUP, len(placed) / 2):
            return estimated
        moved_masks = [moved(mask, one.dy, one.dx) for mask, one in seen]
        total = np.sum([mask * there for mask, there in moved_masks], axis=0)
        mean = total / np.maximum(np.sum([there for _, there in moved_masks], axis=0), 1)
        return np.asarray((mean + _ESTIMATED * (estimated > 0) > _AGREED) * 255, np.uint8)


def judged(
    group: Sequence[Placed],
    path: Literal["fixed", "moving"],
    p_value: float,
    batch: Batch,
    free: Sequence[int],
    *,
    vouched: bool,
) -> SharedMark | None:
    """Return the mark of a group of images, or None where it is none.

    Parameters
    ----------
    group : sequence of Placed
    path : {"fixed", "moving"}
        On which it was found.
    p_value : float
        Chance of such a group.
    batch : Batch
    free : sequence of int
        The images that may bear it.
    vouched : bool
        A network points to the group's images.
    """
    images = batch.images
    group = _settled(group[:MOST_FITTED], images, rounds=0 if path == "fixed" else 2)
    again = []
    for out, one in enumerate(group[:_MOST_LEFT_OUT]):
        fitted = _fitted([other for place, other in enumerate(group) if place != out], images)
        if not fitted.inked.any():
            return None
        again.append(presence(moved(images[one.number], one.dy, one.dx)[0], fitted).z)
    passed = [strength for strength in again if strength >= _LEFT_OUT_Z]
    if len(passed) < max(LEAST_GROUP, _LEFT_OUT_PASS * len(again)):
        return None
    fitted = _fitted(group, images)
    mask = batch.words(group, fitted)
    aligned = [moved(images[one.number], one.dy, one.dx)[0] for one in group]
    # lines that join words are no words, but the mark's all the same
    covered = np.maximum(mask, word_regions(fitted.inked))
    if not 0 < float((covered > 0).mean()) <= _MOST_COVERED:
        return None
    if not _something_else(aligned, covered, rim=_VOUCHED_RIM if vouched else _RIM):
        return None
    mark = SharedMark(path=path, fitted=fitted, mask=mask, members={}, p_value=p_value, vouched=vouched)
    members = batch.members(free, mark)
    if len(members) < LEAST_GROUP:
        return None
    # flipped signs say little of a mark that is light on some images and dark on others; ranks do
    rest = set(free) - members.keys() - {one.number for one in group}
    beaten = sum(find_mark(images[number], mark).z >= min(passed) for number in rest)
    p_value = min(p_value, (1 + beaten) / (1 + len(rest)))
    # once more, from all that have it
    chosen = sorted(members, key=lambda number: -members[number].z)[:MOST_FITTED]
    bearing = [Placed(number=number, dy=-members[number].dy, dx=-members[number].dx) for number in chosen]
    refitted = _fitted(bearing, images)
    if refitted.inked.any():
        fitted, mask = refitted, batch.words(bearing, refitted)
    if path == "moving" and np.mean([max(abs(one.dy), abs(one.dx)) <= _STILL for one in members.values()]) > _MOSTLY:
        path = "fixed"
    period = common_period(fitted)
    return replace(mark, path=path, fitted=fitted, mask=mask, members=members, p_value=p_value, period=period)


def _fitted(group: Sequence[Placed], images: Sequence[FloatArray]) -> FittedMark:
    placed = [moved(images[one.number], one.dy, one.dx) for one in group]
    return fit_mark([image for image, _ in placed], [there for _, there in placed])


def _settled(group: Sequence[Placed], images: Sequence[FloatArray], *, rounds: int) -> list[Placed]:
    """Move every image by the few pixels by which it is off: letters two pixels wide do not bear more than one."""
    settled = list(group)
    for _ in range(rounds):
        fitted = _fitted(settled, images)
        if not fitted.inked.any():
            break
        following = []
        for one in settled:
            off = presence(moved(images[one.number], one.dy, one.dx)[0], fitted, reach=3)
            following.append(Placed(number=one.number, dy=one.dy - off.dy, dx=one.dx - off.dx))
        settled = following
    return settled


def _something_else(aligned: Sequence[FloatArray], mask: UInt8Array, *, rim: int) -> bool:
    """Say whether the images show more than the mark, and differ in it: otherwise what they share is their picture."""
    import cv2

    outside = cv2.dilate(mask, np.ones((rim, rim), np.uint8)) == 0
    shares, whole, rest = [], [], []
    for image in aligned[:_MOST_LEFT_OUT]:
        fields = field(image)
        edges = np.abs(fields)
        shares.append(float(edges[mask == 0].sum()) / max(float(edges.sum()), 1e-6))
        whole.append(np.asarray(fields * letters(fields), np.complex64))
        rest.append(np.asarray(whole[-1] * outside, np.complex64))
    pairs = max(1, len(rest) * (len(rest) - 1))
    with_mark, without = (np.abs(agreement(np.stack(of), cell=CELL)).sum() / pairs for of in (whole, rest))
    return bool(np.median(shares) >= _ELSE and without <= max(_ELSE_ALIKE, _ELSE_SHARE * with_mark))
