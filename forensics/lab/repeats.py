"""What a generator keeps repeating: groups of near-identical images among many samples of a prompt. Pure; NumPy alone.

Two images from different seeds that show the same, cell by cell, are not two inventions: what comes back is a memory
(Carlini et al., "Extracting training data from diffusion models", USENIX Security 2023, arXiv:2301.13188, section 4.2;
Webster, "A reproducible extraction of training images from diffusion models", 2023, arXiv:2305.08694). No reference is
needed; which picture is remembered, and whether anybody owns it, is for a person to find out.

Alike is meant in the sense of :mod:`forensics.truth`: of the cells that tell something, so many show the same. Plain
grounds and what images of other prompts show at the same place (a mark, a frame) tell nothing.

:func:`groups` checks every member against the centre of its group. Chains (a like b, b like c, and so on) would join
images that have nothing to do with one another. :func:`largest_clique` is the test of Carlini et al. for comparison:
images are joined where the *largest* distance of their tiles is small, and what counts is the largest set of images of
which all are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.truth import RULE, Coded, Rule, common_cells, compare

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from forensics.types import FloatArray

    BoolArray = NDArray[np.bool_]

__all__ = [
    "TILES",
    "Clique",
    "Group",
    "Repeats",
    "alike",
    "common_among",
    "detail",
    "groups",
    "largest_clique",
    "ranked",
    "tile_distances",
    "uncoded",
]

TILES = 4
"""Tiles along a side of the clique test: 16 of them, as in the paper."""

_AMONG = 1024
_CLIQUE_STEPS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Images that show the same as one of them.

    Attributes
    ----------
    centre : int
        The image that most of the others are like.
    members : tuple of int
        In ascending order, the centre among them.
    strength : float
        Mean over the other members of how alike they are to the centre, 1 being the bound; 0 for a group of one.
    """

    centre: int
    members: tuple[int, ...]
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clique:
    """The largest set of images of which every two are joined.

    Attributes
    ----------
    members : tuple of int
        In ascending order.
    exact : bool
        Whether the search came to its end; else there may be a larger one.
    """

    members: tuple[int, ...]
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """One group of a prompt's samples that is taken for a memory.

    Attributes
    ----------
    prompt : int
        Which prompt.
    centre : int
        Its image, among all images of the run.
    members : tuple of int
        All images of the group, among all of the run.
    share : float
        Of the prompt's samples.
    strength : float
        As in :class:`Group`.
    detail : float
        Share of the centre's cells that tell something.
    clique : int
        Size of the prompt's largest clique by the test of Carlini et al.
    rank : int
        From 1: where to begin with a search by hand.
    """

    prompt: int
    centre: int
    members: tuple[int, ...]
    share: float
    strength: float
    detail: float
    clique: int
    rank: int = 0


def uncoded(pictures: FloatArray, side: int) -> Coded:
    """Return images of a generator without a codebook: codes that never agree, so that pictures alone decide.

    Parameters
    ----------
    pictures : (n, S, S, 3) float32 in [0, 1]
    side : int
        D, cells along a side; S is a multiple of it.
    """
    count = len(pictures) * side * side
    return Coded(tokens=np.arange(count, dtype=np.int64).reshape(-1, side, side), pictures=pictures)


def common_among(images: Coded, prompts: Sequence[str], *, rule: Rule = RULE, seed: int = 0) -> BoolArray:
    """Return (n, D²) bool: cells that more than :attr:`Rule.common` of the images of other prompts show too.

    Of more than 1,024 images so many are drawn, evenly over the prompts, to compare with.
    """
    if len(images) <= _AMONG:
        return common_cells(images, prompts, rule=rule)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    names = np.asarray(prompts)[order]
    # the first image of every prompt, then the second …
    turn = np.zeros(len(order), np.int64)
    for name in {str(name): name for name in names}.values():
        own = names == name
        turn[own] = np.arange(own.sum())
    chosen = np.sort(order[np.argsort(turn, kind="stable")[:_AMONG]])
    found = [
        common_cells(
            images[start : start + _AMONG],
            prompts[start : start + _AMONG],
            among=images[chosen],
            among_groups=[prompts[i] for i in chosen],
            rule=rule,
        )
        for start in range(0, len(images), _AMONG)
    ]
    return np.concatenate(found)


def alike(images: Coded, common: BoolArray, *, rule: Rule = RULE) -> FloatArray:
    """Return (n, n) float32, symmetric: how alike any two images are; from 1 on they show the same.

    What is common to either of the two does not count; 0 where too few cells are left. The diagonal is 1 at least.
    """
    one_way = compare(images, images, common, rule=rule).strength
    strength = np.minimum(one_way, one_way.T)
    np.fill_diagonal(strength, np.maximum(strength.diagonal(), 1.0))
    return strength


def groups(strength: ArrayLike, *, bound: float = 1.0) -> list[Group]:
    """Part images into groups, each around the image that is like most of those which are left.

    Every member is like the centre itself. Of images with as many likes the one with the strongest is taken, then the
    first.

    Parameters
    ----------
    strength : (n, n) array
        Symmetric, of :func:`alike`.
    bound : float
        From which two images are alike.

    Returns
    -------
    list of Group
        Largest first; every image is in exactly one.
    """
    given = np.asarray(strength, np.float64)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise UsageError(f"likeness of shape {given.shape} given, (n, n) accepted")
    joined = given >= bound
    np.fill_diagonal(joined, val=True)
    left = np.ones(len(given), np.bool_)
    found = []
    while left.any():
        open_ = joined & left & left[:, None]
        counts = open_.sum(1)
        sums = np.where(open_, given, 0.0).sum(1) - np.where(left, given.diagonal(), 0.0)
        centre = max(np.flatnonzero(left).tolist(), key=lambda i: (counts[i], round(float(sums[i]), 9), -i))
        members = np.flatnonzero(open_[centre])
        others = members[members != centre]
        found.append(
            Group(
                centre=centre,
                members=tuple(members.tolist()),
                strength=float(given[centre, others].mean()) if len(others) else 0.0,
            )
        )
        left[members] = False
    return sorted(found, key=lambda group: (-len(group.members), -group.strength, group.centre))


def detail(images: Coded, common: BoolArray, *, rule: Rule = RULE) -> FloatArray:
    """Return (n,) float32: the share of each image's cells that tell something, neither plain nor common."""
    patches = images.patches
    pixels = patches.reshape(*patches.shape[:2], -1, 3)
    plain = ((pixels - pixels.mean(2, keepdims=True)) ** 2).mean((2, 3)) < rule.plain**2
    share: FloatArray = (~(plain | common)).mean(1, dtype=np.float32)
    return share


def ranked(found: Sequence[Repeats]) -> list[Repeats]:
    """Return groups in the order in which a search by hand should take them, with their ranks.

    What comes back in the largest share of samples first, then what is most alike, then what shows the most: a plain
    picture is found everywhere.
    """
    order = sorted(found, key=lambda one: (-one.share, -one.strength, -one.detail, one.prompt, one.centre))
    return [replace(one, rank=place) for place, one in enumerate(order, start=1)]


def tile_distances(pictures: FloatArray, *, tiles: int = TILES) -> FloatArray:
    """Return (n, n) float32: of every two images the largest distance of two tiles at the same place.

    The paper's distance: a large plain ground makes any two images near by the mean over all pixels, by the worst tile
    it does not. Root mean square over the values of a tile, colours in [0, 1].

    Parameters
    ----------
    pictures : (n, S, S, 3) float32 in [0, 1]
    tiles : int
        Along a side; S is a multiple of it.
    """
    if pictures.ndim != 4 or pictures.shape[1] != pictures.shape[2] or pictures.shape[1] % tiles:
        raise UsageError(f"pictures of shape {pictures.shape} and {tiles} tiles along a side given; "
                         "(n, S, S, 3) and S a multiple of the tiles accepted")  # fmt: skip
    count, side = len(pictures), pictures.shape[1] // tiles
    cut = pictures.reshape(count, tiles, side, tiles, side, 3).swapaxes(2, 3).reshape(count, tiles * tiles, -1)
    worst = np.zeros((count, count))
    for tile in cut.swapaxes(0, 1).astype(np.float64):
        norms = (tile**2).sum(1)
        squared = norms[:, None] + norms[None] - 2 * tile @ tile.T
        worst = np.maximum(worst, squared / tile.shape[1])
    np.fill_diagonal(worst, 0.0)
    return np.sqrt(np.maximum(worst, 0.0)).astype(np.float32)


def largest_clique(joined: ArrayLike, *, steps: int = _CLIQUE_STEPS) -> Clique:
    """Return the largest set of images of which every two are joined; of equal ones that with the smallest numbers.

    Bron and Kerbosch's search with Tomita's pivot, cut off where no larger set can follow. It may take exponential
    time, so it ends after a number of steps and then says so.

    Parameters
    ----------
    joined : (n, n) bool
        Symmetric; its diagonal is not read.
    steps : int
        At most so many sets are looked at.
    """
    graph = np.array(joined, np.bool_)
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1]:
        raise UsageError(f"a graph of shape {graph.shape} given, (n, n) accepted")
    np.fill_diagonal(graph, val=False)
    near = [set(np.flatnonzero(row).tolist()) for row in graph]
    best: list[int] = []
    left = steps
    # the path to each set is kept by hand: a clique may be deeper than Python's stack
    stack: list[tuple[list[int], set[int], set[int]]] = [([], set(range(len(near))), set())]
    while stack and left:
        left -= 1
        clique, open_, closed = stack.pop()
        if not open_ and not closed and (len(clique), [-i for i in clique]) > (len(best), [-i for i in best]):
            best = sorted(clique)
        if not open_ or len(clique) + len(open_) < max(len(best), 1):
            continue
        pivot = max(sorted(open_ | closed), key=lambda i: len(open_ & near[i]))
        later: list[tuple[list[int], set[int], set[int]]] = []
        for node in sorted(open_ - near[pivot]):
            later.append((sorted([*clique, node]), open_ & near[node], closed & near[node]))
            open_ = open_ - {node}
            closed = closed | {node}
        stack.extend(reversed(later))
    return Clique(members=tuple(best), exact=not stack)
