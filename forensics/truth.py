"""Which generated images are copies, where it is known what the model was trained on. Pure; NumPy alone.

A model whose training images are known, and whose images are drawn from a codebook, can be graded by a rule that shares
nothing with the audit's descriptors: cell by cell, a generated image is compared with what the codebook makes of a
training image. Agreement counts only where it tells something. White paper, plain colour, and what many training
images have at the same place (an agency's mark, the board of a book cover, the ground of a meme's text) is no evidence
of a copy; a difference there is evidence against one.

The rule (:data:`RULE`) was fixed on pairs of *different* training and held-out images, before a generated image was
looked at; :func:`unrelated` gives those pairs.

==========  ===========================================================================================================
symbol      meaning
==========  ===========================================================================================================
n, m        images compared, images of the training set
D           cells along a side (tokens); cell = one token = one patch of the decoded picture
S           pixels along a side; a patch has S / D of them along each side
==========  ===========================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray

    BoolArray = NDArray[np.bool_]

__all__ = ["RULE", "Coded", "Comparison", "Rule", "common_cells", "compare", "unrelated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a generated image is a copy of a training image.

    Distances are root mean squares over the values of a patch, colours in [0, 1].

    Attributes
    ----------
    plain : float
        A patch that departs less from its mean colour is plain.
    same_colour : float
        Two plain patches whose mean colours are nearer than that agree on nothing but a colour: not counted.
    near : float
        Two patches nearer than that show the same.
    common : float
        A cell of a training image that more than this share of the others shows too is template, not content:
        agreement there is not counted.
    counted : int
        Cells that must be left to count, at least.
    equal_share : float
        Share of counted cells with equal codes from which the image is a copy, …
    near_share : float
        … or share of counted cells that show the same.
    """

    plain: float = 0.02
    same_colour: float = 0.04
    near: float = 0.10
    common: float = 0.01
    counted: int = 32
    equal_share: float = 0.5
    near_share: float = 0.75


RULE = Rule()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """Images as a codebook sees them.

    Attributes
    ----------
    tokens : ndarray
        (n, D, D) integers.
    pictures : ndarray
        (n, S, S, 3) float32 in [0, 1]: the decoded tokens. S is a multiple of D.

    Raises
    ------
    UsageError
        If the shapes do not belong together.
    """

    tokens: NDArray[Any]
    pictures: FloatArray

    def __post_init__(self) -> None:
        tokens, pictures = self.tokens.shape, self.pictures.shape
        fits = (
            len(tokens) == 3 and len(pictures) == 4 and tokens[0] == pictures[0] and tokens[1] == tokens[2]
            and pictures[1] == pictures[2] and pictures[3] == 3 and tokens[1] > 0 and pictures[1] % tokens[1] == 0
        )  # fmt: skip
        if not fits:
            raise UsageError(
                f"tokens of shape {tokens} and pictures of shape {pictures} given; (n, D, D) and (n, S, S, 3) with S a "
                "multiple of D accepted"
            )

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, chosen: Any) -> Coded:
        """Return some of the images; ``chosen`` is anything that keeps an array's first axis."""
        return Coded(tokens=self.tokens[chosen], pictures=self.pictures[chosen])

    @property
    def codes(self) -> NDArray[Any]:
        """The tokens as (n, D²)."""
        return self.tokens.reshape(len(self), -1)

    @property
    def patches(self) -> FloatArray:
        """The pictures cut into cells: (n, D², 3 (S/D)²) float32, rows of a patch one after another, RGB last."""
        side = self.tokens.shape[1]
        size = self.pictures.shape[1] // side
        cut = self.pictures.reshape(len(self), side, size, side, size, 3).swapaxes(2, 3)
        return np.ascontiguousarray(cut.reshape(len(self), side * side, -1), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparison:
    """How images agree with training images: four (n, m) arrays.

    Attributes
    ----------
    counted : ndarray
        int32, cells that count.
    equal, near : ndarray
        float32 in [0, 1], share of the counted cells with equal codes, and that show the same; 0 where none counts.
    rule : Rule
    """

    counted: NDArray[np.int32]
    equal: FloatArray
    near: FloatArray
    rule: Rule

    @property
    def copies(self) -> BoolArray:
        """(n, m) bool: which image is a copy of which training image."""
        rule = self.rule
        alike = (self.equal >= rule.equal_share) | (self.near >= rule.near_share)
        found: BoolArray = alike & (self.counted >= rule.counted)
        return found

    @property
    def strength(self) -> FloatArray:
        """(n, m) float32: from 1 on a copy; the larger of the two shares, each in units of its bound."""
        rule = self.rule
        shares = np.maximum(self.equal / rule.equal_share, self.near / rule.near_share)
        return np.where(self.counted >= rule.counted, shares, 0).astype(np.float32)


def common_cells(
    images: Coded,
    groups: Sequence[str] = (),
    *,
    among: Coded | None = None,
    among_groups: Sequence[str] = (),
    rule: Rule = RULE,
) -> BoolArray:
    """Return (m, D²) bool: the cells of each image that are template, see :attr:`Rule.common`.

    Parameters
    ----------
    images : Coded
        The m images that others will be compared with.
    groups : sequence of str
        (m,) names of groups of images that show the same; an image's own group does not make its cells common.
        Empty: every image is a group of its own.
    among : Coded, optional
        The training images, whose ``among_groups`` are needed too; by default they are the images themselves.
    rule : Rule
    """
    ours = _groups(groups, len(images))
    theirs = ours if among is None else _groups(among_groups, len(among))
    other = ours[:, None] != theirs[None]
    patches = images.patches
    others = patches if among is None else among.patches
    limit = rule.near**2 * patches.shape[2]
    bound = rule.common * np.maximum(other.sum(1), 1)
    found = np.zeros(patches.shape[:2], np.bool_)
    for cell in range(patches.shape[1]):
        alike = _squared(patches[:, cell], others[:, cell]) < limit
        found[:, cell] = (alike & other).sum(1) > bound
    return found


def compare(images: Coded, training: Coded, common: BoolArray, *, rule: Rule = RULE) -> Comparison:
    """Compare every image with every training image.

    Parameters
    ----------
    images : Coded
        (n,) generated images, or held-out ones to see what chance does.
    training : Coded
        (m,) training images.
    common : ndarray
        (m, D²) bool of :func:`common_cells`.
    rule : Rule
    """
    if images.tokens.shape[1:] != training.tokens.shape[1:] or common.shape != training.codes.shape:
        raise UsageError(
            f"cells of shape {images.tokens.shape[1:]}, {training.tokens.shape[1:]} and {common.shape[1:]} given; "
            "images of one codebook accepted, and the common cells of those training images"
        )
    ours, theirs = images.patches, training.patches
    our_codes, their_codes = images.codes, training.codes
    our_means, their_means = _means(ours), _means(theirs)
    our_plain, their_plain = _plain(ours, rule), _plain(theirs, rule)
    near_limit, colour_limit = rule.near**2 * ours.shape[2], rule.same_colour**2 * 3
    counted, equal, near = (np.zeros((len(images), len(training)), np.int32) for _ in range(3))
    for cell in range(ours.shape[1]):
        same = our_codes[:, cell, None] == their_codes[None, :, cell]
        close = _squared(ours[:, cell], theirs[:, cell]) < near_limit
        colour = _squared(our_means[:, cell], their_means[:, cell]) < colour_limit
        plain = our_plain[:, cell, None] & their_plain[None, :, cell] & colour
        count = ~(plain | (common[None, :, cell] & (same | close)))
        counted += count
        equal += same & count
        near += close & count
    total = np.maximum(counted, 1).astype(np.float32)
    return Comparison(
        counted=counted, equal=(equal / total).astype(np.float32), near=(near / total).astype(np.float32), rule=rule
    )


def unrelated(groups: Sequence[str], others: Sequence[str] | None = None) -> BoolArray:
    """Return (n, m) bool: the pairs of a comparison that show different things, so that no copy may be found there.

    Parameters
    ----------
    groups : sequence of str
        Of the n images.
    others : sequence of str, optional
        Of the m training images; without it, images and training images are the same, and each pair is meant once.
    """
    left = np.asarray(groups)
    if others is None:
        return np.triu(left[:, None] != left[None], 1)
    found: BoolArray = left[:, None] != np.asarray(others)[None]
    return found


def _groups(groups: Sequence[str], count: int) -> NDArray[Any]:
    if not len(groups):
        return np.array([f"\0{number}" for number in range(count)])
    if len(groups) != count:
        raise UsageError(f"{len(groups)} groups given for {count} images, one an image accepted")
    return np.asarray(groups)


def _squared(left: FloatArray, right: FloatArray) -> NDArray[np.float64]:
    """Return the (n, m) squared distances of (n, k) and (m, k) rows."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    distances: NDArray[np.float64] = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return distances


def _means(patches: FloatArray) -> FloatArray:
    """Return the (n, D², 3) mean colours of patches."""
    means: FloatArray = patches.reshape(*patches.shape[:2], -1, 3).mean(2)
    return means


def _plain(patches: FloatArray, rule: Rule) -> BoolArray:
    """Return (n, D²) bool: patches that hardly depart from their mean colour."""
    pixels = patches.reshape(*patches.shape[:2], -1, 3)
    plain: BoolArray = ((pixels - pixels.mean(2, keepdims=True)) ** 2).mean((2, 3)) < rule.plain**2
    return plain
