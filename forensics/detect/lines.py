"""One line of text as it was read, and the decoding of a recogniser's letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from forensics.types import FloatArray

__all__ = ["Script", "TextLine", "greedy", "script_of"]

Script: TypeAlias = Literal["latin", "cyrillic", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLine:
    """What was read in one box.

    Attributes
    ----------
    text : str
        Empty where nothing was read.
    confidence : float
        Mean probability of the letters read, in [0, 1].
    script : {"latin", "cyrillic", "other"}
        Of most of the letters; ``other`` for digits, signs, other scripts and nothing.
    """

    text: str
    confidence: float
    script: Script


def greedy(probability: FloatArray, characters: Sequence[str]) -> tuple[str, float]:
    """Return the text along the best path and the mean probability of its letters (0.0 for none).

    ``probability`` is (T, C) with column 0 the blank of connectionist temporal classification (Graves et al., ICML
    2006): repeats are one letter, blanks are none.
    """
    best = probability.argmax(1)
    fresh = (best > 0) & np.concatenate([[True], best[1:] != best[:-1]])
    places = np.flatnonzero(fresh)
    text = "".join(characters[best[place] - 1] for place in places)
    return text, float(probability[places, best[places]].mean()) if len(places) else 0.0


def script_of(text: str) -> Script:
    """Return the script of most letters of ``text``."""
    cyrillic = sum("Ѐ" <= letter <= "ӿ" for letter in text)
    latin = sum(letter.isalpha() and letter < "ɐ" for letter in text)
    others = sum(letter.isalpha() for letter in text) - cyrillic - latin
    most = max(cyrillic, latin, others)
    if not most or most == others:
        return "other"
    return "cyrillic" if cyrillic >= latin else "latin"
