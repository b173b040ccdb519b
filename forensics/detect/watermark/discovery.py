"""Which mark do many images of a batch share? Found from the images alone, whoever's mark it is.

Two paths propose groups of images, one test judges them. *Fixed*: images whose edges agree where they lie
(:func:`~forensics.detect.watermark.fields.agreement`). *Moving*: the places that repeat within an image, or that a
network's masks point to, are cut out of it; wherever two images' cut-outs agree best, there they are laid over one
another. A group grows around each image from the pairs that agree with *it*, so that no chain of accidental pairs joins
strangers; the same sum over groups whose images had their signs flipped at random says how likely chance is. Both paths
look first among the images to which a network points, cut down to what it points to: there marked ones are many, and
little else is left to compare. Then the fixed one looks among all, for marks that the network does not see. The moving
one does so only where there is no network: what pictures repeat at different places is mostly their subject.

The test is in :mod:`~forensics.detect.watermark.judging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.watermark.fields import agreement, field, letters, whitened
from forensics.detect.watermark.groups import consensus_p, distinct, heaviest_group
from forensics.detect.watermark.judging import CELL, LEAST_GROUP, MOST_FITTED, Batch, Placed, judged
from forensics.detect.watermark.mark_fit import same_look, word_regions
from forensics.detect.watermark.repeats import cut_out, shifts
from forensics.detect.watermark.shared_mark import SharedMark, find_mark
from forensics.detect.watermark.tiles import cut_tiles, tiled_mark

if TYPE_CHECKING:
    from forensics.detect.watermark.fields import ComplexArray
    from forensics.types import FloatArray, UInt8Array

__all__ = ["FRAME_SIDE", "LEAST_IMAGES", "discover"]

FRAME_SIDE = 256
"""Longer side in pixels at which images are compared."""
LEAST_IMAGES = 8
"""Different images below which a batch says nothing."""

_SEARCH = 160 / 256
"""The search looks at smaller frames than the estimate."""
_GROUP_P = 0.1
_GROUP_MEAN = 0.6
"""Agreement that no chance explains, whatever the signs: a light mark on light and on dark pictures has both."""
_MOVING_MOST = 128
_STARTS = 12
_MOST_MARKS = 6
_EVERYWHERE = 0.2
"""A tile seen in more of the images that gave no tile of it is something that any picture has: an edge, a corner."""
_POINTED_BASE = 0.05
"""Weight of what the network does not point to, among images to which it points."""


def discover(
    frames: Sequence[UInt8Array],
    *,
    limits: Mapping[str, float],
    share: float,
    masks: Sequence[FloatArray | None] | None = None,
    seed: int = 0,
) -> list[SharedMark]:
    """Return the marks that the images share, the most frequent first.

    Parameters
    ----------
    frames : sequence of ndarray
        (h, w) uint8 luminances of one shape, the longer side :data:`FRAME_SIDE`.
    masks : sequence of ndarray or None, optional
        (h, w) float32 in [0, 1] for images to which a network points: how surely each place is a mark's; None for the
        others.
    limits : mapping of str to float
        By path, ``fixed`` and ``moving``: a mark is in an image where :attr:`Presence.z` reaches this
    share : float
        and :attr:`Presence.share` this.
    seed : int
        Of the sign flips.
    """
    images = [np.asarray(frame / np.float32(255), np.float32) for frame in frames]
    rng = np.random.default_rng(seed)
    batch = Batch(
        images=images, masks=[None] * len(images) if masks is None else list(masks), limits=limits, share=share
    )
    free = distinct(frames)
    found: list[SharedMark] = []
    while len(free) >= LEAST_IMAGES:
        mark = None
        if len(near := [number for number in free if batch.masks[number] is not None]) >= LEAST_GROUP:
            mark = _fixed(batch, near, free, rng, cut=True)
            mark = mark or _moving(batch, near, free, rng, cut=True)
        mark = mark or _fixed(batch, free, free, rng)
        # what moves and is not pointed to is the pictures' own: crops of one picture, a motif drawn again and again
        if masks is None:
            mark = mark or _moving(batch, free, free, rng)
        mark = mark or _tiled(batch, free if masks is None else near, free)
        if mark is None:
            break
        found.append(mark)
        if len(found) == _MOST_MARKS:
            break
        free = [number for number in free if number not in mark.members]
    everywhere: list[SharedMark] = []
    for mark in found:
        members = batch.members(range(len(images)), mark)
        again = any(
            2 * len(members.keys() & other.members.keys()) > len(members) or same_look(mark.fitted, other.fitted)
            for other in everywhere
        )
        if again:  # another estimate of a mark that was found already
            continue
        everywhere.append(replace(mark, members=members))
    return sorted(everywhere, key=lambda mark: -len(mark.members))


def _fixed(
    batch: Batch,
    looked: Sequence[int],
    free: Sequence[int],
    rng: np.random.Generator,
    *,
    cut: bool = False,
) -> SharedMark | None:
    fields = np.stack([whitened(field(_small(batch.images[number], _SEARCH))) for number in looked])
    if cut:
        masks = [_cut_down(_small_mask(batch.masks[number], fields[0])) for number in looked]
        fields *= np.stack(masks)
    group = heaviest_group(agreement(fields, cell=CELL), rng)
    if group is None:
        return None
    # either test may be the more powerful one; that there are two of them costs a factor
    p_value = min(1.0, 2 * min(group.p_value, consensus_p(fields, rng)))
    if p_value > _GROUP_P and group.mean < _GROUP_MEAN:
        return None
    placed = [Placed(number=looked[place]) for place in group.members]
    return judged(placed, "fixed", p_value, batch, free, vouched=cut)


def _moving(
    batch: Batch,
    among: Sequence[int],
    free: Sequence[int],
    rng: np.random.Generator,
    *,
    cut: bool = False,
) -> SharedMark | None:
    looked = list(among[:_MOVING_MOST])
    small = [field(_small(batch.images[number], _SEARCH)) for number in looked]
    masks = [_small_mask(batch.masks[number], small[0]) for number in looked]
    if cut:
        cuts = np.stack([one * letters(one) * _cut_down(mask) for one, mask in zip(small, masks, strict=True)])
    else:
        cuts = np.stack([cut_out(one, mask) for one, mask in zip(small, masks, strict=True)])
    strength, steps = shifts(cuts)
    order = np.argsort(-np.sort(strength, 1)[:, -LEAST_GROUP:].sum(1))
    for start in order[:_STARTS]:
        near = [int(n) for n in np.argsort(-strength[start])[:MOST_FITTED] if n != start]
        stacked = [int(start), *near]
        rolled = np.stack([np.roll(cuts[n], tuple(steps[start, n]), (0, 1)) for n in stacked])
        group = heaviest_group(agreement(rolled, cell=CELL), rng, must=0)
        if group is None or (group.p_value > _GROUP_P and group.mean < _GROUP_MEAN):
            continue
        placed = []
        for place in group.members:
            down, right = np.rint(steps[start, stacked[place]] / _SEARCH).astype(int)
            placed.append(Placed(number=looked[stacked[place]], dy=int(down), dx=int(right)))
        mark = judged(placed, "moving", group.p_value, batch, free if cut else looked, vouched=cut)
        if mark is not None:
            return mark
    return None


def _tiled(batch: Batch, among: Sequence[int], free: Sequence[int]) -> SharedMark | None:
    looked = list(among[:_MOVING_MOST])
    # the others are strangers to the tiles: what is in them as well is no mark
    strangers = [number for number in free if number not in set(looked)][: _MOVING_MOST - len(looked)]
    looked_at = [batch.images[number] for number in (*looked, *strangers)]
    tiles = cut_tiles(looked_at[: len(looked)], [batch.masks[number] for number in looked])
    found = tiled_mark(looked_at, tiles)
    if found is None:
        return None
    mark = SharedMark(
        path="moving",
        fitted=found.fitted,
        mask=word_regions(found.fitted.inked),
        members={},
        p_value=found.p_value,
        repeated=True,
        vouched=all(batch.masks[number] is not None for number in looked),
    )
    bearing = {looked[place] for place in found.images}
    weakest = min(find_mark(batch.images[number], mark).z for number in bearing)
    mark = replace(mark, limit=min(batch.limits["moving"], weakest))
    members = batch.members(free, mark)
    elsewhere = len(members.keys() - bearing)
    if len(members) < 2 or elsewhere > _EVERYWHERE * (len(free) - len(bearing)):
        return None
    return replace(mark, members=members)


def _small(image: FloatArray, scale: float) -> FloatArray:
    import cv2

    height, width = image.shape
    size = (max(CELL, round(width * scale)), max(CELL, round(height * scale)))
    made: FloatArray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return made


def _small_mask(mask: FloatArray | None, like: ComplexArray) -> FloatArray | None:
    import cv2

    if mask is None:
        return None
    made: FloatArray = cv2.resize(mask, like.shape[::-1], interpolation=cv2.INTER_AREA)
    return made


def _cut_down(mask: FloatArray | None) -> FloatArray:
    """Return the weight of each place of an image to which the network points: its mask, a little grown."""
    import cv2

    if mask is None:
        raise ValueError("an image without a mask is none to which the network points")
    grown: FloatArray = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    return np.asarray(_POINTED_BASE + (1 - _POINTED_BASE) * grown, np.float32)
