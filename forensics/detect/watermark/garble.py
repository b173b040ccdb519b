"""How far a reading is from a name, when both the generator and the reader take letters for one another.

A weighted edit distance (Wagner & Fischer, JACM 1974) over what letters look like: ``iSiock`` is nearer to *iStock*
than ``iSpock`` is. Letters of both scripts that look the same are the same here; those that are easily taken for one
another cost little, so do pairs that merge (``rn`` and ``m``) and doubled letters. Costs are judged, not fitted; what
they let pass is measured on dictionaries (``bench/names.py``).
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

__all__ = ["distance", "fold", "partial_distance", "strangers"]

_SAME = str.maketrans("аеорсухктвнмзіиплгбф", "aeopcyxktbhm3iunnr6o")
"""Cyrillic letters, small, as the Latin ones (or figures) that they look like."""

_NEAR = ("0oq", "1il!|jtf", "5s$", "8b6", "9gq", "2z", "ce", "uv", "nh", "rt", "co", "38", "mw", "kx", "ea")
_LIKE = ("aoecs", "nmhur", "ltfirk", "vuyw", "bdhkl", "pqgy", "szx", "cogd0", "td", "ck")
_PAIRS = {
    ("rn", "m"), ("cl", "d"), ("vv", "w"), ("lc", "k"), ("ic", "k"), ("lr", "k"), ("li", "u"), ("ll", "u"), ("ii", "u"),
    ("nn", "m"), ("ti", "n"), ("lx", "k"), ("oo", "co"), ("ol", "d"), ("1o", "b"), ("ni", "m"),
}  # fmt: skip

_NEAR_COST = 0.25
_LIKE_COST = 0.5
_PAIR_COST = 0.35
_DOUBLE_COST = 0.4
_THIN_COST = 0.7
_THIN = frozenset("il1!|j")


@lru_cache(maxsize=4096)
def fold(text: str) -> str:
    """Return ``text`` small, without accents and signs, with Cyrillic letters as the Latin ones they look like."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain.translate(_SAME) if letter.isalnum() or letter in "!|$")


def _costs() -> dict[str, float]:
    """Return the cost of replacing the first letter of each pair by the second, where it is less than 1."""
    costs: dict[str, float] = {}
    for groups, cost in ((_LIKE, _LIKE_COST), (_NEAR, _NEAR_COST)):
        for group in groups:
            costs.update({one + other: cost for one in group for other in group if one != other})
    return costs


_COSTS = _costs()
_KIN = {one: {pair[1] for pair in _COSTS if pair[0] == one} | {one} for one in {pair[0] for pair in _COSTS}}


def strangers(read: str, name: str) -> float:
    """Return the share of the letters of ``name`` that resemble none in ``read``: what a comparison can't make good."""
    present, whole = set(fold(read)), fold(name)
    return sum(not (_KIN.get(letter, {letter}) & present) for letter in whole) / max(1, len(whole))


def _drop(text: str, place: int) -> float:
    """Return the cost that the letter at ``place`` stands in one word, not in the other."""
    if place and text[place - 1] == text[place]:
        return _DOUBLE_COST
    return _THIN_COST if text[place] in _THIN else 1.0


def distance(read: str, name: str, *, most: float = 1.0) -> float:
    """Return the weighted edits between two words over the length of ``name``: 0.0 is the same, 1.0 nothing alike.

    Both are folded (:func:`fold`) first. Symmetric up to the length it is divided by; an empty ``name`` is at 1.0 of
    everything. What is farther than ``most`` may be said to be at 1.0: the comparison ends as soon as that is certain.
    """
    return _edits(fold(read), fold(name), most)


def partial_distance(read: str, name: str, *, cut_start: bool, cut_end: bool, most: float = 1.0) -> tuple[float, float]:
    """Compare a word that the frame cuts.

    Parameters
    ----------
    read, name : str
    cut_start, cut_end : bool
        Whether letters before the first, or after the last read one may lie outside the picture: these are then free.
    most : float
        As of :func:`distance`.

    Returns
    -------
    distance : float
        Weighted edits over the length of the part of ``name`` that was compared; 1.0 where nothing was.
    share : float
        That part's share of ``name``, in [0, 1].
    """
    word, whole = fold(read), fold(name)
    best = (1.0, 0.0)
    for start in range(len(whole) if cut_start else 1):
        for end in range(len(whole), start, -1) if cut_end else (len(whole),):
            part = whole[start:end]
            if abs(len(part) - len(word)) > 1:
                continue
            found = _edits(word, part, most)
            # of equally near parts the longer says more
            if (found, -len(part)) < (best[0], -best[1] * len(whole)):
                best = (found, len(part) / len(whole))
    return best


@lru_cache(maxsize=1 << 16)
def _edits(read: str, name: str, most: float) -> float:
    bound = most * len(name) + 1e-9
    # no edit that changes the length is cheaper than a merged pair
    if not name or abs(len(read) - len(name)) * _PAIR_COST > bound:
        return 1.0
    rows = [[0.0] * (len(name) + 1) for _ in range(len(read) + 1)]
    for i in range(1, len(read) + 1):
        rows[i][0] = rows[i - 1][0] + _drop(read, i - 1)
    for j in range(1, len(name) + 1):
        rows[0][j] = rows[0][j - 1] + _drop(name, j - 1)
    for i in range(1, len(read) + 1):
        for j in range(1, len(name) + 1):
            best = min(
                rows[i - 1][j - 1]
                + (0.0 if read[i - 1] == name[j - 1] else _COSTS.get(read[i - 1] + name[j - 1], 1.0)),
                rows[i - 1][j] + _drop(read, i - 1),
                rows[i][j - 1] + _drop(name, j - 1),
            )
            if i > 1 and (read[i - 2 : i], name[j - 1]) in _PAIRS:
                best = min(best, rows[i - 2][j - 1] + _PAIR_COST)
            if j > 1 and (name[j - 2 : j], read[i - 1]) in _PAIRS:
                best = min(best, rows[i - 1][j - 2] + _PAIR_COST)
            rows[i][j] = best
        # a pair may come from the row before: both must be beyond
        if i > 1 and min(*rows[i], *rows[i - 1]) > bound:
            return 1.0
    return min(1.0, rows[-1][-1] / len(name))
