"""Marks that repeat within an image, where too few images bear them for a group: their tiles are the group.

What repeats within an image is cut out, tile by tile; tiles of all images are compared with one another, moved to where
they agree best, and averaged into one. The mark made of the tiles of some images must then be found in another image,
at its three best places together, more surely than in the images that gave no tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.watermark.fields import agreement, blurred, field, letters
from forensics.detect.watermark.mark_fit import FittedMark, fit_mark, moved, places, word_regions
from forensics.detect.watermark.repeats import repeating, shifts

if TYPE_CHECKING:
    from forensics.detect.watermark.fields import ComplexArray
    from forensics.types import FloatArray

__all__ = ["Tile", "TiledMark", "cut_tiles", "surety", "tiled_mark"]

_SIDE = 96
_MOST_TILES = 6
_MOST_IN_ALL = 160
_WEAKEST = 0.3
_AREA = 10.0
_APART = 24
_CELL = 16
_CAP = 0.8
_LEAST_AGREEMENT = 0.3
_LEAST_TILES = 4
_LEAST_IMAGES = 2
_STARTS = 10
_LEAST_Z = 2.5
_LEAST_SURETY = 4.0
_MOST_STRANGERS = 40
_BEATEN = 0.05
"""Share of the images without tiles that may show a mark as surely as an image that bears it."""
_LEAST_P = 0.02
_LEAST_INK = 0.008
"""Share of a tile that its mark covers: a line is none."""
_ELSE = 0.3
"""Least share of the tiles' edges that lies outside the mark."""
_MOST_OPAQUE = 0.7
"""Of a mark one sees the picture; an outline of a drawing hides what is below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A square that was cut out of an image: the image's position, and its upper left corner."""

    number: int
    y: int
    x: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TiledMark:
    """The mark of some tiles, upper left in the frame of the images; the images that bear it, and the test's result.

    ``p_value`` is the chance that two images without it show it as surely: the product of their ranks among those that
    gave no tiles.
    """

    fitted: FittedMark
    images: tuple[int, ...]
    p_value: float


def cut_tiles(images: Sequence[FloatArray], pointed: Sequence[FloatArray | None] | None = None) -> list[Tile]:
    """Return where images repeat themselves in letters, or a detector's mask points to: at most six places an image."""
    tiles = []
    for number, image in enumerate(images):
        gradient = field(image)
        saliency = repeating(np.asarray(gradient * letters(gradient), np.complex64))
        mask = None if pointed is None else pointed[number]
        if mask is not None:
            saliency = np.maximum(saliency, mask)
        strength = blurred(saliency, _AREA)
        top = float(strength.max())
        height, width = image.shape
        for _ in range(_MOST_TILES):
            row, column = (int(value) for value in np.unravel_index(int(strength.argmax()), strength.shape))
            if top < 0.02 or strength[row, column] < _WEAKEST * top:
                break
            side = min(_SIDE, height, width)
            y, x = min(max(0, row - side // 2), height - side), min(max(0, column - side // 2), width - side)
            tiles.append(Tile(number=number, y=y, x=x))
            strength[max(0, row - _APART) : row + _APART, max(0, column - _APART) : column + _APART] = 0
    return tiles[:_MOST_IN_ALL]


def tiled_mark(images: Sequence[FloatArray], tiles: Sequence[Tile]) -> TiledMark | None:
    """Return the mark of which most tiles are, or None where there is none.

    Parameters
    ----------
    images : sequence of ndarray
        (h, w) float32 in [0, 1].
    tiles : sequence of Tile
    """
    if len({tile.number for tile in tiles}) < _LEAST_IMAGES or len(tiles) < _LEAST_TILES:
        return None
    side = min(_SIDE, *images[0].shape)
    cut = [images[tile.number][tile.y : tile.y + side, tile.x : tile.x + side] for tile in tiles]
    fields = np.stack([_lettered(part) for part in cut])
    strength, steps = shifts(fields)
    owners = np.array([tile.number for tile in tiles])
    apart = owners[:, None] != owners[None]
    order = np.argsort(-np.sort(np.where(apart, strength, 0), 1)[:, -3:].sum(1))
    for start in order[:_STARTS]:
        group = _grown(fields, strength, steps, int(start))
        if len(group) < _LEAST_TILES or len(set(owners[group])) < _LEAST_IMAGES:
            continue
        aligned = [moved(cut[n], int(steps[start, n, 0]), int(steps[start, n, 1])) for n in group]
        found = _tested(images, aligned, owners[group].tolist())
        if found is not None:
            return found
    return None


def _lettered(part: FloatArray) -> ComplexArray:
    gradient = field(np.ascontiguousarray(part))
    return np.asarray(gradient * letters(gradient), np.complex64)


def _grown(fields: ComplexArray, strength: FloatArray, steps: np.ndarray, start: int) -> list[int]:
    """Return the tiles that agree with one of them and with one another, moved to where they agree with it best."""
    near = [int(n) for n in np.argsort(-strength[start])[:30] if n != start]
    rolled = np.stack([fields[start], *(np.roll(fields[n], tuple(steps[start, n]), (0, 1)) for n in near)])
    alike = np.clip(agreement(rolled, cell=_CELL), -1, _CAP)
    members = [0, *(1 + int(n) for n in np.argsort(-alike[0, 1:]) if alike[0, 1 + n] > _LEAST_AGREEMENT)]
    while len(members) > 1:
        inside = alike[np.ix_(members, members)].sum(1) / (len(members) - 1)
        worst = int(inside.argmin())
        if inside[worst] >= _LEAST_AGREEMENT:
            break
        members.pop(worst)
    numbers = [start, *near]
    return [numbers[place] for place in members]


def _tested(
    images: Sequence[FloatArray], aligned: Sequence[tuple[FloatArray, FloatArray]], owners: Sequence[int]
) -> TiledMark | None:
    """Return the mark of aligned tiles if it is found again, made of the others' tiles, in two images or more."""
    strangers = [number for number in range(len(images)) if number not in set(owners)][:_MOST_STRANGERS]
    kept = {}
    for owner in dict.fromkeys(owners):
        mark = _framed(aligned, [n for n, other in enumerate(owners) if other != owner], images[owner].shape)
        if mark is None:
            continue
        own = surety(images[owner], mark)
        if own < _LEAST_SURETY:
            continue
        beaten = sum(surety(images[number], mark) >= own for number in strangers)
        if beaten <= _BEATEN * len(strangers):
            kept[owner] = (1 + beaten) / (1 + len(strangers))
    if len(kept) < _LEAST_IMAGES:
        return None
    p_value = float(np.prod(sorted(kept.values())[:_LEAST_IMAGES]))
    chosen = [place for place, owner in enumerate(owners) if owner in kept]
    mark = _framed(aligned, chosen, images[0].shape)
    if mark is None or p_value > _LEAST_P or not _laid_over(mark, [aligned[place][0] for place in chosen]):
        return None
    return TiledMark(fitted=mark, images=tuple(sorted(kept)), p_value=p_value)


def _laid_over(mark: FittedMark, tiles: Sequence[FloatArray]) -> bool:
    """Say whether the tiles show more than the mark: outlines of drawings on nothing agree with nothing around them."""
    height, width = tiles[0].shape
    outside = word_regions(mark.inked)[:height, :width] == 0
    shares = []
    for tile in tiles:
        edges = np.abs(field(np.ascontiguousarray(tile)))
        shares.append(float(edges[outside].sum()) / max(float(edges.sum()), 1e-6))
    return float(np.median(shares)) >= _ELSE


def surety(image: FloatArray, mark: FittedMark) -> float:
    """Return how surely a tile is in an image: the mean of :attr:`Presence.z` at the three places where it is most."""
    best = [seen.z for seen in places(image, mark, z=_LEAST_Z, most=3)]
    return sum(best) / 3


def _framed(
    aligned: Sequence[tuple[FloatArray, FloatArray]], chosen: Sequence[int], shape: tuple[int, ...]
) -> FittedMark | None:
    """Estimate the mark of some tiles and put it into the upper left of a frame."""
    fitted = fit_mark([aligned[n][0] for n in chosen], [aligned[n][1] for n in chosen])
    if float(fitted.inked.mean()) < _LEAST_INK or float(np.median(fitted.opacity[fitted.inked])) > _MOST_OPAQUE:
        return None
    side = fitted.inked.shape
    whole = [np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.float32)]
    for large, small in zip(whole, (fitted.opacity, fitted.grey, fitted.t), strict=True):
        large[: side[0], : side[1]] = small
    inked = np.zeros(shape, bool)
    inked[: side[0], : side[1]] = fitted.inked
    return FittedMark(opacity=whole[0], grey=whole[1], t=whole[2], inked=inked)
