"""Prefix extraction: does a model finish an item that it is given the beginning of? Pure; NumPy alone.

The model is given the first k tokens of an item and asked for the rest (Carlini et al., "Extracting training data from
large language models", USENIX Security 2021, and "Quantifying memorization across neural language models", ICLR 2023,
whose k words of text are rows of tokens here). The rest is compared with the item's own: token by token, against what
other items' tokens would agree by chance; and, for images, cell by cell by the rule of :mod:`forensics.truth`, from
which the given cells are left out, so that a prefix never counts as its own completion.

=======  ==============================================================
symbol   meaning
=======  ==============================================================
m, L     items; tokens an item
k        tokens that are given
N, c     samples of one item; how many of them are copies
n        samples of which one or more shall be a copy
V        vocabulary
=======  ==============================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.truth import RULE, Coded, Rule, compare

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from forensics.types import FloatArray

    BoolArray = NDArray[np.bool_]

__all__ = [
    "Chance",
    "Completed",
    "at_least_one",
    "chance",
    "copied_cells",
    "needed_prefix",
    "shares_right",
    "verbatim",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """The share of completed tokens that is right without any memory of the item.

    Attributes
    ----------
    unrelated : float
        The mean over all pairs of different items: what another item's tokens at the same places would get right. It
        knows how common each token is at each place (a white ground), so it is the bound that counts. NaN for one item.
    vocabulary : float
        1 / V: a token drawn blindly.
    """

    unrelated: float
    vocabulary: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Completed:
    """How completions of m images agree with the images, prefixes left out: (m, s) arrays.

    Attributes
    ----------
    strength : ndarray
        float32: from 1 on the completion is a copy by the rule.
    counted : ndarray
        int32: completed cells that told something.
    """

    strength: FloatArray
    counted: NDArray[np.int32]

    @property
    def copies(self) -> BoolArray:
        """(m, s) bool."""
        found: BoolArray = self.strength >= 1
        return found


def shares_right(tokens: ArrayLike, completions: ArrayLike, given: int) -> FloatArray:
    """Return (m, s) float32: the share of the tokens behind the prefix that are exactly right.

    Parameters
    ----------
    tokens : (m, L) integers
        The items.
    completions : (m, s, L) integers
        s completions of each.
    given : int
        k; less than L.

    Raises
    ------
    UsageError
        If shapes do not belong together, nothing was left to complete, or a completion does not begin with the prefix.
    """
    truth, found = _checked(tokens, completions, given)
    share: FloatArray = (truth[:, None, given:] == found[:, :, given:]).mean(2, dtype=np.float32)
    return share


def verbatim(tokens: ArrayLike, completions: ArrayLike, given: int) -> BoolArray:
    """Return (m, s) bool: every token behind the prefix is right (extractable in the sense of Carlini et al., 2023)."""
    truth, found = _checked(tokens, completions, given)
    right: BoolArray = (truth[:, None, given:] == found[:, :, given:]).all(2)
    return right


def chance(tokens: ArrayLike, given: int, vocabulary: int, groups: Sequence[str] = ()) -> Chance:
    """Return what chance gets right behind a prefix of ``given`` tokens.

    Parameters
    ----------
    tokens : (m, L) integers
        The items: those asked for, or any others of their kind.
    given : int
        k.
    vocabulary : int
        V.
    groups : sequence of str
        (m,) names of groups of items that show the same; pairs within a group are left out.
    """
    array = np.asarray(tokens)
    if array.ndim != 2 or not 0 <= given < array.shape[1] or vocabulary < 1:
        raise UsageError(
            f"tokens of shape {array.shape}, {given} given ones and {vocabulary} different ones given; (m, L), fewer "
            "than L and 1 or more accepted"
        )
    rest = array[:, given:]
    names = np.asarray(groups) if len(groups) else np.arange(len(rest))
    if len(names) != len(rest):
        raise UsageError(f"{len(names)} groups given for {len(rest)} items, one an item accepted")
    equal, pairs = _equal_pairs(rest), len(rest) * (len(rest) - 1) // 2
    for name in {str(name): name for name in names}.values():
        own = rest[names == name]
        equal -= _equal_pairs(own)
        pairs -= len(own) * (len(own) - 1) // 2
    return Chance(
        unrelated=equal / (pairs * rest.shape[1]) if pairs else float("nan"),
        vocabulary=1.0 / vocabulary,
    )


def _equal_pairs(rows: NDArray[Any]) -> int:
    """Count the equal tokens of all pairs of rows, without looking at every pair."""
    total = 0
    for column in rows.T:
        _, counts = np.unique(column, return_counts=True)
        total += int((counts * (counts - 1) // 2).sum())
    return total


def copied_cells(
    images: Coded, completions: Sequence[Coded], common: BoolArray, given: int, *, rule: Rule = RULE
) -> Completed:
    """Judge completions of images by the rule of :mod:`forensics.truth`, on the cells behind the prefix.

    Parameters
    ----------
    images : Coded
        The m images as the codebook makes them.
    completions : sequence of Coded
        (m,) one set of s completions an image.
    common : ndarray
        (m, D²) bool: cells that are template, of :func:`forensics.truth.common_cells`.
    given : int
        k: these cells are left out. They are equal by construction, and what is equal and common is not counted.
    rule : Rule
    """
    known = common.copy()
    known[:, :given] = True
    strength, counted = [], []
    for number, found in enumerate(completions):
        if not np.array_equal(
            found.codes[:, :given], np.repeat(images.codes[number : number + 1, :given], len(found), 0)
        ):
            raise UsageError(f"completions of image {number} that do not begin with its first {given} tokens given")
        judged = compare(found, images[number : number + 1], known[number : number + 1], rule=rule)
        strength.append(judged.strength[:, 0])
        counted.append(judged.counted[:, 0])
    if not strength:
        return Completed(strength=np.empty((0, 0), np.float32), counted=np.empty((0, 0), np.int32))
    return Completed(strength=np.stack(strength), counted=np.stack(counted))


def at_least_one(copies: ArrayLike, samples: ArrayLike, draws: int) -> NDArray[np.float64]:
    """Return the probability that of ``draws`` samples of an item one or more is a copy, without bias.

    1 - C(N - c, n) / C(N, n) (Chen et al., "Evaluating large language models trained on code", 2021, arXiv:2107.03374,
    eq. 1): of all sets of n of the N samples that were drawn, the share with a copy. 1 - (1 - c/N)^n is too small.

    Parameters
    ----------
    copies, samples : (m,) integers
        c and N.
    draws : int
        n, at most N.

    Returns
    -------
    ndarray
        (m,) float64 in [0, 1].
    """
    c, total = np.broadcast_arrays(np.asarray(copies, np.int64), np.asarray(samples, np.int64))
    if draws < 1 or bool((total < draws).any()) or bool((c < 0).any()) or bool((c > total).any()):
        raise UsageError(
            f"{draws} draws from samples of {np.unique(total).tolist()} given; 1 draw or more accepted, and no more "
            "than samples"
        )
    # product over the places of the set: it is free of a copy while only others are left to take
    clean = np.ones(c.shape)
    for place in range(draws):
        clean *= np.maximum(total - c - place, 0) / (total - place)
    return 1.0 - clean


def needed_prefix(copies: ArrayLike, prefixes: Sequence[int]) -> list[int | None]:
    """Return of each item the shortest prefix from which it came back; None where none of them sufficed.

    Parameters
    ----------
    copies : (m, p) bool
        Whether any completion from that prefix was a copy.
    prefixes : sequence of int
        p lengths, in any order.
    """
    found = np.asarray(copies, np.bool_)
    if found.ndim != 2 or found.shape[1] != len(prefixes):
        raise UsageError(f"results of shape {found.shape} for {len(prefixes)} prefixes given, (m, prefixes) accepted")
    return [min((k for k, hit in zip(prefixes, row, strict=True) if hit), default=None) for row in found]


def _checked(tokens: ArrayLike, completions: ArrayLike, given: int) -> tuple[NDArray[Any], NDArray[Any]]:
    truth, found = np.asarray(tokens), np.asarray(completions)
    if truth.ndim != 2 or found.ndim != 3 or found.shape[::2] != truth.shape or not 0 <= given < truth.shape[1]:
        raise UsageError(
            f"items of shape {truth.shape}, completions of shape {found.shape} and {given} given tokens; (m, L), "
            "(m, s, L) and fewer than L accepted"
        )
    if not (found[:, :, :given] == truth[:, None, :given]).all():
        raise UsageError(f"completions that do not begin with their item's first {given} tokens given")
    return truth, found
