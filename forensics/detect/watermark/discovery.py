"""Which mark do many images of a batch share? Found from the images alone, whoever's mark it is.

Two paths propose groups of images, one test judges them. *Fixed*: images whose edges agree where they lie
(:func:`~forensics.detect.watermark.fields.agreement`). *Moving*: the places that repeat within an image, or that a
network's masks point to, are cut out of it; wherever two images' cut-outs agree best, there they are laid over one
another. A group grows around each image from the pairs that agree with *it*, so that no chain of accidental pairs joins
strangers; the same sum over groups whose images had their signs flipped at random says how likely chance is.

The test: the mark is estimated from the group (:mod:`~forensics.detect.watermark.mark_fit`), each time without one
image, and must be found again in the image that was left out; and the images must show something else besides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from forensics.detect.watermark.fields import agreement, field, letters, whitened
from forensics.detect.watermark.groups import consensus_p, distinct, heaviest_group
from forensics.detect.watermark.mark_fit import (
    FittedMark,
    Presence,
    fit_mark,
    moved,
    places,
    presence,
    same_look,
    word_regions,
)
from forensics.detect.watermark.repeats import common_period, cut_out, shifts
from forensics.detect.watermark.tiles import cut_tiles, surety, tiled_mark

if TYPE_CHECKING:
    from forensics.detect.watermark.fields import ComplexArray
    from forensics.types import FloatArray, UInt8Array

__all__ = ["FRAME_SIDE", "LEAST_IMAGES", "SharedMark", "discover", "find_mark", "mark_mask"]

FRAME_SIDE = 256
"""Longer side in pixels at which images are compared."""
LEAST_IMAGES = 8
"""Different images below which a batch says nothing."""

_SEARCH = 160 / 256
"""The search looks at smaller frames than the estimate."""
_CELL = 16
_GROUP_P = 0.1
_GROUP_MEAN = 0.6
"""Agreement that no chance explains, whatever the signs: a light mark on light and on dark pictures has both."""
_LEAST_GROUP = 3
_MOST_FITTED = 40
_MOST_LEFT_OUT = 12
_MOVING_MOST = 128
_STARTS = 12
_MOST_MARKS = 6
_TOGETHER = 6 / 4
"""Three places of 4 standard deviations say as much as one of 6."""
_DRAWN = 2 / 3
_EVERYWHERE = 0.2
"""A tile seen in more of the images that gave no tile of it is something that any picture has: an edge, a corner."""
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedMark:
    """A mark that images of a batch share.

    Attributes
    ----------
    path : {"fixed", "moving"}
        Whether it lies at the same place in all of them.
    fitted : FittedMark
        In the frame; of a moving mark at the place where it lies in one of the images.
    mask : ndarray
        (h, w) uint8, 255 where its words are.
    members : mapping of int to Presence
        The images of the batch that have it, by their position.
    p_value : float
        Chance that images without a mark make as strong a group: sign flips.
    period : tuple of two floats or None
        Distance after which the mark repeats, across and down, as shares of the frame's width and height; 0 where it
        does not repeat that way. None where it does not repeat.
    repeated : bool
        It is a tile that images have several times; :attr:`fitted` holds it once.
    limit : float or None
        Of :attr:`Presence.z`, where this mark's own test allows less than the program's threshold: a tile's rank among
        images that gave none.
    """

    path: Literal["fixed", "moving"]
    fitted: FittedMark
    mask: UInt8Array
    members: dict[int, Presence]
    p_value: float
    period: tuple[float, float] | None = None
    repeated: bool = False
    limit: float | None = None


def discover(
    frames: Sequence[UInt8Array],
    *,
    limits: Mapping[str, float],
    share: float,
    masks: Sequence[UInt8Array | None] | None = None,
    seed: int = 0,
) -> list[SharedMark]:
    """Return the marks that the images share, the most frequent first.

    Parameters
    ----------
    frames : sequence of ndarray
        (h, w) uint8 luminances of one shape, the longer side :data:`FRAME_SIDE`.
    masks : sequence of ndarray or None, optional
        (h, w) uint8 where a detector saw marks, None where it saw none: the moving path looks there first.
    limits : mapping of str to float
        By path, ``fixed`` and ``moving``: a mark is in an image where :attr:`Presence.z` reaches this
    share : float
        and :attr:`Presence.share` this.
    seed : int
        Of the sign flips.
    """
    images = [np.asarray(frame / np.float32(255), np.float32) for frame in frames]
    rng = np.random.default_rng(seed)
    test = _Test(limits=limits, share=share)
    free = distinct(frames)
    found: list[SharedMark] = []
    while len(free) >= LEAST_IMAGES:
        mark = _fixed(images, free, test, rng) or _moving(images, free, masks, test, rng)
        mark = mark or _tiled(images, free, masks, test)
        if mark is None:
            break
        found.append(mark)
        if len(found) == _MOST_MARKS:
            break
        free = [number for number in free if number not in mark.members]
    everywhere: list[SharedMark] = []
    for mark in found:
        members = test.members(images, range(len(images)), mark)
        again = any(
            2 * len(members.keys() & other.members.keys()) > len(members) or same_look(mark.fitted, other.fitted)
            for other in everywhere
        )
        if again:  # another estimate of a mark that was found already
            continue
        everywhere.append(replace(mark, members=members))
    return sorted(everywhere, key=lambda mark: -len(mark.members))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Test:
    """When a mark counts as being in an image."""

    limits: Mapping[str, float]
    share: float

    def members(
        self, images: Sequence[FloatArray], among: Sequence[int] | range, mark: SharedMark
    ) -> dict[int, Presence]:
        limit = self.limits[mark.path] if mark.limit is None else mark.limit
        seen = {number: find_mark(images[number], mark) for number in among}
        return {number: one for number, one in seen.items() if one.z >= limit and one.share >= self.share}


def find_mark(image: FloatArray, mark: SharedMark) -> Presence:
    """Say how much of a shared mark is in an image, (h, w) float32 in [0, 1] of the frame's shape.

    Of a tile, ``z`` counts the three best places together where that is more than the best alone.
    """
    if mark.path == "fixed":
        return presence(image, mark.fitted)
    if not mark.repeated:
        return presence(image, mark.fitted, reach=max(image.shape))
    best = presence(image, mark.fitted, reach=max(image.shape))
    return replace(best, z=max(best.z, _TOGETHER * surety(image, mark.fitted)))


def mark_mask(image: FloatArray, mark: SharedMark, seen: Presence, *, z: float) -> UInt8Array:
    """Return (h, w) uint8, 255 where a shared mark's words are in an image in which it was seen.

    Parameters
    ----------
    z : float
        What counts as a mark at one place: a moving mark is drawn at every place that reaches two thirds of it.
    """
    everywhere = [seen]
    if mark.path == "moving":
        everywhere += places(image, mark.fitted, z=_DRAWN * z)
    made = np.zeros_like(mark.mask)
    for one in everywhere:
        np.maximum(made, shifted_mask(mark.mask, one.dy, one.dx), out=made)
    return made


def shifted_mask(mask: UInt8Array, dy: int, dx: int) -> UInt8Array:
    """Return a mask moved down and right; what comes in is 0."""
    height, width = mask.shape
    made = np.zeros_like(mask)
    made[max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)] = mask[
        max(0, -dy) : height + min(0, -dy), max(0, -dx) : width + min(0, -dx)
    ]
    return made


def _fixed(
    images: Sequence[FloatArray], free: Sequence[int], test: _Test, rng: np.random.Generator
) -> SharedMark | None:
    fields = np.stack([whitened(field(_small(images[number], _SEARCH))) for number in free])
    group = heaviest_group(agreement(fields, cell=_CELL), rng)
    if group is None:
        return None
    # either test may be the more powerful one; that there are two of them costs a factor
    p_value = min(1.0, 2 * min(group.p_value, consensus_p(fields, rng)))
    if p_value > _GROUP_P and group.mean < _GROUP_MEAN:
        return None
    return _judged([_Placed(number=free[place]) for place in group.members], "fixed", p_value, test, images, free)


def _moving(
    images: Sequence[FloatArray],
    free: Sequence[int],
    masks: Sequence[UInt8Array | None] | None,
    test: _Test,
    rng: np.random.Generator,
) -> SharedMark | None:
    looked = list(free[:_MOVING_MOST])
    small = [field(_small(images[number], _SEARCH)) for number in looked]
    pointed = [None if masks is None else _small_mask(masks[number], small[0]) for number in looked]
    cuts = np.stack([cut_out(one, mask) for one, mask in zip(small, pointed, strict=True)])
    strength, steps = shifts(cuts)
    order = np.argsort(-np.sort(strength, 1)[:, -_LEAST_GROUP:].sum(1))
    for start in order[:_STARTS]:
        near = [int(n) for n in np.argsort(-strength[start])[:_MOST_FITTED] if n != start]
        stacked = [int(start), *near]
        rolled = np.stack([np.roll(cuts[n], tuple(steps[start, n]), (0, 1)) for n in stacked])
        group = heaviest_group(agreement(rolled, cell=_CELL), rng, must=0)
        if group is None or (group.p_value > _GROUP_P and group.mean < _GROUP_MEAN):
            continue
        placed = []
        for place in group.members:
            down, right = np.rint(steps[start, stacked[place]] / _SEARCH).astype(int)
            placed.append(_Placed(number=looked[stacked[place]], dy=int(down), dx=int(right)))
        mark = _judged(placed, "moving", group.p_value, test, images, looked)
        if mark is not None:
            return mark
    return None


def _tiled(
    images: Sequence[FloatArray], free: Sequence[int], masks: Sequence[UInt8Array | None] | None, test: _Test
) -> SharedMark | None:
    looked = list(free[:_MOVING_MOST])
    pointed = None
    if masks is not None:
        given = [masks[number] for number in looked]
        pointed = [None if mask is None else np.asarray(mask / np.float32(255), np.float32) for mask in given]
    own = [images[number] for number in looked]
    found = tiled_mark(own, cut_tiles(own, pointed))
    if found is None:
        return None
    mark = SharedMark(
        path="moving",
        fitted=found.fitted,
        mask=word_regions(found.fitted.inked),
        members={},
        p_value=found.p_value,
        repeated=True,
    )
    bearing = {looked[place] for place in found.images}
    weakest = min(find_mark(images[number], mark).z for number in bearing)
    mark = replace(mark, limit=min(test.limits["moving"], weakest))
    members = test.members(images, free, mark)
    elsewhere = len(members.keys() - bearing)
    if len(members) < 2 or elsewhere > _EVERYWHERE * (len(free) - len(bearing)):
        return None
    return replace(mark, members=members)


def _judged(
    group: Sequence[_Placed],
    path: Literal["fixed", "moving"],
    p_value: float,
    test: _Test,
    images: Sequence[FloatArray],
    free: Sequence[int],
) -> SharedMark | None:
    """Return the mark of a group of images, or None where it is none."""
    group = _settled(group[:_MOST_FITTED], images, rounds=0 if path == "fixed" else 2)
    again = []
    for out, one in enumerate(group[:_MOST_LEFT_OUT]):
        fitted = _fitted([other for place, other in enumerate(group) if place != out], images)
        if not fitted.inked.any():
            return None
        again.append(presence(moved(images[one.number], one.dy, one.dx)[0], fitted).z)
    passed = [strength for strength in again if strength >= _LEFT_OUT_Z]
    if len(passed) < max(_LEAST_GROUP, _LEFT_OUT_PASS * len(again)):
        return None
    fitted = _fitted(group, images)
    mask = word_regions(fitted.inked)
    aligned = [moved(images[one.number], one.dy, one.dx)[0] for one in group]
    if not 0 < float((mask > 0).mean()) <= _MOST_COVERED or not _something_else(aligned, mask):
        return None
    mark = SharedMark(path=path, fitted=fitted, mask=mask, members={}, p_value=p_value)
    members = test.members(images, free, mark)
    if len(members) < _LEAST_GROUP:
        return None
    # flipped signs say little of a mark that is light on some images and dark on others; ranks do
    rest = set(free) - members.keys() - {one.number for one in group}
    beaten = sum(find_mark(images[number], mark).z >= min(passed) for number in rest)
    p_value = min(p_value, (1 + beaten) / (1 + len(rest)))
    # once more, from all that have it
    chosen = sorted(members, key=lambda number: -members[number].z)[:_MOST_FITTED]
    bearing = [_Placed(number=number, dy=-members[number].dy, dx=-members[number].dx) for number in chosen]
    refitted = _fitted(bearing, images)
    if refitted.inked.any():
        fitted, mask = refitted, word_regions(refitted.inked)
    if path == "moving" and np.mean([max(abs(one.dy), abs(one.dx)) <= _STILL for one in members.values()]) > _MOSTLY:
        path = "fixed"
    return SharedMark(
        path=path, fitted=fitted, mask=mask, members=members, p_value=p_value, period=common_period(fitted)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    """An image by its position, and by how many pixels it is moved down and right to lie as the others do."""

    number: int
    dy: int = 0
    dx: int = 0


def _fitted(group: Sequence[_Placed], images: Sequence[FloatArray]) -> FittedMark:
    placed = [moved(images[one.number], one.dy, one.dx) for one in group]
    return fit_mark([image for image, _ in placed], [there for _, there in placed])


def _settled(group: Sequence[_Placed], images: Sequence[FloatArray], *, rounds: int) -> list[_Placed]:
    """Move every image by the few pixels by which it is off: letters two pixels wide do not bear more than one."""
    settled = list(group)
    for _ in range(rounds):
        fitted = _fitted(settled, images)
        if not fitted.inked.any():
            break
        following = []
        for one in settled:
            off = presence(moved(images[one.number], one.dy, one.dx)[0], fitted, reach=3)
            following.append(_Placed(number=one.number, dy=one.dy - off.dy, dx=one.dx - off.dx))
        settled = following
    return settled


def _something_else(aligned: Sequence[FloatArray], mask: UInt8Array) -> bool:
    """Say whether the images show more than the mark, and differ in it: otherwise what they share is their picture."""
    import cv2

    outside = cv2.dilate(mask, np.ones((9, 9), np.uint8)) == 0
    shares, whole, rest = [], [], []
    for image in aligned[:_MOST_LEFT_OUT]:
        fields = field(image)
        edges = np.abs(fields)
        shares.append(float(edges[mask == 0].sum()) / max(float(edges.sum()), 1e-6))
        whole.append(np.asarray(fields * letters(fields), np.complex64))
        rest.append(np.asarray(whole[-1] * outside, np.complex64))
    pairs = max(1, len(rest) * (len(rest) - 1))
    with_mark, without = (np.abs(agreement(np.stack(of), cell=_CELL)).sum() / pairs for of in (whole, rest))
    return bool(np.median(shares) >= _ELSE and without <= max(_ELSE_ALIKE, _ELSE_SHARE * with_mark))


def _small(image: FloatArray, scale: float) -> FloatArray:
    import cv2

    height, width = image.shape
    size = (max(_CELL, round(width * scale)), max(_CELL, round(height * scale)))
    made: FloatArray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return made


def _small_mask(mask: UInt8Array | None, like: ComplexArray) -> FloatArray | None:
    import cv2

    if mask is None:
        return None
    made = cv2.resize(mask, like.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(made / np.float32(255), np.float32)
