"""What prefix extraction found: judged completions, a set's figures, an item's, a run's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.flows.completions import Estimate
from forensics.flows.lab_items import LabItem, Unread
from forensics.lab.extraction import Chance
from forensics.lab.intervals import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, TokenArray

__all__ = ["Extraction", "FromPrefix", "ItemResult", "Judged"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """What completions of m items from one prefix are: greedy ones in column 0, samples behind it.

    Attributes
    ----------
    given : int
        Tokens of the prefix.
    right : (m, 1 + N) float32
        Share of the completed tokens that is exactly right.
    copies : (m, 1 + N) bool
        For images by the rule of :mod:`forensics.truth` on the completed cells; for texts every token is right.
    strength : (m, 1 + N) float32
        Of the rule, 1 being its bound; for texts the share of tokens.
    counted : (m,) int32
        Completed cells of the greedy completion that told something; below :attr:`forensics.truth.Rule.counted` the
        rule cannot say. For texts the completed tokens.
    chance : Chance
    """

    given: int
    right: FloatArray
    copies: NDArray[np.bool_]
    strength: FloatArray
    counted: NDArray[np.int32]
    chance: Chance

    @property
    def best(self) -> NDArray[np.int64]:
        """(m,) the completion that is most like its item."""
        order = self.strength.astype(np.float64) * 4 + self.right
        found: NDArray[np.int64] = order.argmax(1)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FromPrefix:
    """What one prefix brought back of a set: intervals over the items.

    Attributes
    ----------
    rows, given : int
        Length of the prefix in rows and in tokens.
    greedy : Interval
        Share of items that the greedy completion gives back.
    sampled : Interval
        Share of samples that are copies.
    any_sample : Interval
        Probability that one or more of N samples is a copy.
    any_completion : Interval
        Share of items that the greedy completion or any sample gives back.
    right : Interval
        Share of tokens that the greedy completion has exactly right.
    chance : Chance
    undecided : int
        Items of which too few cells are left to tell; they count as not given back.
    """

    rows: int
    given: int
    greedy: Interval
    sampled: Interval
    any_sample: Interval
    any_completion: Interval
    right: Interval
    chance: Chance
    undecided: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemResult:
    """One reference.

    Attributes
    ----------
    item : LabItem
    needed_rows : int or None
        The shortest prefix from which the greedy completion or a sample gave it back; None where none did.
    shown : mapping of int to (TokenArray)
        By prefix in rows, the tokens of the completion that is most like it.
    figures : mapping of int to mapping
        By prefix in rows: ``greedy``, ``copies``, ``samples``, ``right``, ``best_right``, ``strength``, ``counted``,
        ``at_least_one_low`` and ``_high``; ``score_original``, ``score_reconstruction`` where they were asked for.
    """

    item: LabItem
    needed_rows: int | None
    shown: Mapping[int, TokenArray]
    figures: Mapping[int, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Extraction:
    """A finished run.

    Attributes
    ----------
    out, page : Path
        The folder and its ``extraction.html``.
    prefixes : tuple of FromPrefix
    items : tuple of ItemResult
    unread : tuple of Unread
    estimate : Estimate
        As it was before the run.
    score : str
        The descriptor of the copy score; empty where there is none.
    notes : tuple of str
    """

    out: Path
    page: Path
    prefixes: tuple[FromPrefix, ...]
    items: tuple[ItemResult, ...]
    unread: tuple[Unread, ...]
    estimate: Estimate
    score: str = ""
    notes: tuple[str, ...] = field(default=())
