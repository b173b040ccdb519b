"""Whose mark is it? Reads what was found, and names an agency only where the evidence agrees.

The region is enlarged and read as it is; if that does not settle it, after the picture below the letters has been taken
off (light letters, then dark ones), and averaged over the mark's own repeats where it repeats
(:mod:`~forensics.detect.watermark.lattice`). Words are compared with the agencies' by a distance that knows which
letters generators and readers take for one another (:mod:`~forensics.detect.watermark.garble`).

An agency is named where one reading is *near*, or where several places, or one place and the network, agree on a
*likely* one; no other agency may be about as near, no ordinary word nearer, and the network not be sure of another.
The arrangement alone names nobody. A wrong name is worse than none; how often words and invented names are taken for an
agency's is measured by ``bench/names.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from forensics.detect.watermark.agencies import AGENCIES, GENERIC, ORDINARY, UNKNOWN_AGENCY, WHOLE
from forensics.detect.watermark.garble import distance, fold, partial_distance, strangers
from forensics.detect.watermark.lattice import Lattice, find_lattice
from forensics.detect.watermark.readings import Reading, read_passes

if TYPE_CHECKING:
    from forensics.detect.ocr import TextReader
    from forensics.types import Box, FloatArray, UInt8Array

__all__ = ["Legibility", "Match", "NamedMark", "decide", "match_words", "name_mark", "near_limit"]

Legibility: TypeAlias = Literal["readable", "garbled", "trace"]

_LIKELY = 2.0
"""A likely reading may be so many times as far as a near one."""
_RIVAL = 0.1
"""Another agency must be farther by this."""
_SHARE = 0.6
"""Share of a name that must lie inside the frame where the frame cuts it."""
_LEAST_LETTERS = 3
_REST = 0.25
"""Edits over the letters of a name that are its own, up to which a reading is near."""
_SHORT = 4
_LENGTHS = 3
"""Words whose lengths differ by more are not compared."""
_STRANGERS = 0.4
"""Nor those of which so many letters have nothing like them in the other."""
_SAID = 0.3
"""Distance up to which a line is what an agency's marks say beside the name."""
_SURE = 0.5
"""Mean probability of the letters below which a reading names nobody by itself."""
_AGREES = 0.5
_CONTRADICTS = 0.9
"""The network's probability from which it agrees with a likely reading, and from which it stands against another."""
_PLAIN, _PLAIN_LETTERS = 0.93, 6
"""Mean probability and number of letters from which a line that is no agency's name settles that it is another's."""
_CLEAN = 0.03
_LEGIBLE = 0.8
_VISIBLE = 0.4
"""A name nearer than the first is readable; letters that name nobody are at the second, and garbled at the third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """How near a reading is to an agency: ``distance`` over what is near for it (1.0 is just near), and the words."""

    agency: str
    distance: float
    relative: float
    text: str
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedMark:
    """Whose mark it is.

    Attributes
    ----------
    label : str
        A key of :data:`~forensics.detect.watermark.agencies.AGENCIES`, or ``unknown agency``.
    legibility : {"readable", "garbled", "trace"}
        Letters as they should be; letters that can be made out; no letters.
    text : str
        The reading that named it, or the surest one; empty where nothing was read.
    distance : float
        Weighted edits from the reading to the name over the name's length, see :mod:`~.garble`; 1.0 without a name.
    evidence : tuple of str
        Sentences, the strongest first.
    lattice : Lattice or None
        How the mark repeats; None where it does not.
    """

    label: str
    legibility: Legibility
    text: str
    distance: float
    evidence: tuple[str, ...]
    lattice: Lattice | None = field(default=None)


@lru_cache(maxsize=1 << 12)
def near_limit(name: str) -> float:
    """Return the distance up to which a reading is near to ``name``: none for four letters, more the longer it is.

    A short word has many neighbours: one letter from *alamy* there are words, one from *depositphotos* there are none.
    What many agencies are called (*images*, *stock*, *foto*) tells none from another, so changed letters must be few
    for the rest of the name: *clipimages* is not near to *gettyimages*.
    """
    letters = len(fold(name))
    rest = letters
    for part in GENERIC:
        if fold(part) in fold(name) and fold(name) not in WHOLE and rest - len(part) >= _LEAST_LETTERS:
            rest -= len(part)
    by_length = float(np.interp(letters, (4, 5, 6, 8, 12), (0.0, 0.06, 0.12, 0.2, 0.25)))
    return min(by_length, _REST * rest / max(1, letters)) if rest < letters else by_length


def name_mark(
    image: UInt8Array,
    mask: UInt8Array | FloatArray | None,
    box: Box,
    brand_scores: Mapping[str, float] | None,
    reader: TextReader | None,
) -> NamedMark:
    """Name the agency of a mark that was found.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    mask : ndarray or None
        (h, w) in the image's proportions, any range: how surely each place belongs to the mark.
    box : Box
        Where the mark is, in pixels of ``image``, upper bounds exclusive.
    brand_scores : mapping or None
        Agency to the network's probability, one more opinion; None where there is none.
    reader : TextReader or None
        None where text can't be read (:func:`forensics.detect.ocr.missing` says why): nothing is named then.
    """
    lattice = find_lattice(mask, image)
    if reader is None:
        return NamedMark(
            label=UNKNOWN_AGENCY,
            legibility="trace",
            text="",
            distance=1.0,
            evidence=("The mark was not read: the extra `ocr` is not installed.", *_arrangement(lattice)),
            lattice=lattice,
        )
    readings: list[Reading] = []
    verdict = None
    for more in read_passes(image, mask, box, lattice, reader):
        if not more:
            continue
        readings += more
        verdict = decide(readings, brand_scores or {})
        if verdict is not None or _says_another(readings, brand_scores or {}):
            break
    text, legibility = _legibility(readings, verdict)
    if verdict is None:
        said = (
            f"Its letters read “{text}”, which is no known agency's name." if text else "It shows no legible letters."
        )
        return NamedMark(
            label=UNKNOWN_AGENCY,
            legibility=legibility,
            text=text,
            distance=1.0,
            evidence=(said, *_arrangement(lattice)),
            lattice=lattice,
        )
    best, places = verdict
    evidence = [f"It reads “{best.text}”" + (f", {best.agency} with letters changed." if best.distance else ".")]
    if places > 1:
        evidence.append(f"{places} places of the picture read alike.")
    score = (brand_scores or {}).get(best.agency, 0.0)
    if score >= _AGREES:
        evidence.append(f"The network that found it holds {best.agency} for {score:.0%} likely.")
    if _beside(best.agency, readings):
        evidence.append("What stands beside it is what that agency writes there.")
    return NamedMark(
        label=best.agency,
        legibility=legibility,
        text=text,
        distance=best.distance,
        evidence=(*evidence, *_arrangement(lattice)),
        lattice=lattice,
    )


def match_words(reading: Reading, neighbours: Sequence[Reading] = (), helped: Collection[str] = ()) -> list[Match]:
    """Return for each agency the nearest words of a reading, if any is at most likely; the nearest agency first.

    Words are compared one by one and joined with the next (*getty images*), also with the line below (*Adobe* over
    *Stock*), which ``neighbours`` may hold. Of the agencies in ``helped``, which something else speaks for, the larger
    part of the name is enough: letters get lost where the picture is as light as they are.
    """
    nearest: dict[str, Match] = {}
    # “by Getty Images” is said of a daughter of theirs
    daughters = {
        words.names
        for words in AGENCIES.values()
        for said in words.beside
        if said.startswith("by ") and _says(reading, said) == 0.0
    }
    for text, cut_start, cut_end, joined in _words(reading, neighbours):
        for agency in AGENCIES.keys() - daughters:
            lost = agency in helped
            found, relative = _nearest(text, agency, cut_start or lost, cut_end or lost, lost)
            if joined:
                # any two words make a third: they have to be twice as near
                relative *= 2.0
            known = nearest.get(agency)
            if relative <= _LIKELY and (known is None or relative < known.relative):
                nearest[agency] = Match(agency=agency, distance=found, relative=relative, text=text, reading=reading)
    return sorted(nearest.values(), key=lambda match: match.relative)


@lru_cache(maxsize=1 << 15)
def _nearest(text: str, agency: str, cut_start: bool, cut_end: bool, helped: bool) -> tuple[float, float]:
    """Return the distance of a word to the agency's nearest spelling, and the same over what is near for it.

    Infinite where an ordinary word is as near: then the word is no evidence.
    """
    folded = fold(text)
    best = (1.0, math.inf)
    if len(folded) < _LEAST_LETTERS:
        return best
    for name in AGENCIES[agency].spellings:
        limit, letters = near_limit(name), len(fold(name))
        if (cut_start or cut_end) and len(folded) > _LEAST_LETTERS and strangers(name, text) <= _STRANGERS / 2:
            least = near_limit(folded)
            part, share = partial_distance(text, name, cut_start=cut_start, cut_end=cut_end, most=least)
            # what is left of a cut word has to be as much like a name as a whole word of its length
            if _SHARE <= share < 1.0 and part <= least and (helped or not _ordinary(text, part)):
                best = min(best, (part, _over(part, limit)), key=lambda pair: pair[1])
        if abs(len(folded) - letters) <= _LENGTHS and strangers(text, name) <= _STRANGERS:
            found = distance(text, name, most=_LIKELY * limit)
            if found > 0.0 and _end_of_another(folded, agency, cut_start, cut_end):
                continue
            relative = _over(found, limit)
            if relative < best[1] and relative <= _LIKELY and not (found > 0.0 and _ordinary(text, found)):
                best = (found, relative)
    return best


def _end_of_another(folded: str, agency: str, cut_start: bool, cut_end: bool) -> bool:
    """Whether a word that the frame cuts is what it leaves of another agency's name: *rstock* is no *istock*."""
    return any(
        fold(name) != folded
        and ((cut_start and fold(name).endswith(folded)) or (cut_end and fold(name).startswith(folded)))
        for other, words in AGENCIES.items()
        if other != agency
        for name in words.spellings
    )


def _over(found: float, limit: float) -> float:
    return found / limit if limit else (0.0 if found == 0.0 else math.inf)


def _words(reading: Reading, neighbours: Sequence[Reading]) -> Iterator[tuple[str, bool, bool, bool]]:
    """Yield (text, may be cut before, may be cut after, joined of several) of words and joined words."""
    words = [word for word in re.split(r"[^\w!|$]+", reading.line.text) if word]
    for start in range(len(words)):
        for end in range(start + 1, min(len(words), start + 3) + 1):
            yield (
                "".join(words[start:end]),
                reading.cut_start and start == 0,
                reading.cut_end and end == len(words),
                end - start > 1,
            )
    for other in neighbours:
        yield reading.line.text + other.line.text, False, False, True


@lru_cache(maxsize=1 << 12)
def _ordinary(text: str, found: float) -> bool:
    """Whether an ordinary word is as near to the text as an agency at distance ``found`` is."""
    return any(
        distance(text, word, most=found) <= found
        for word in ORDINARY
        if abs(len(word) - len(text)) <= _LENGTHS and strangers(text, word) <= _STRANGERS
    )


def decide(readings: Sequence[Reading], scores: Mapping[str, float]) -> tuple[Match, int] | None:
    """Decide on a name from what was read and the network's opinion (agency to probability).

    Returns
    -------
    (match, places) or None
        The nearest reading of the agency that is named, and how many places of the picture agree; None where the
        evidence names nobody.
    """
    helped = {agency for agency in AGENCIES if scores.get(agency, 0.0) >= _AGREES or _beside(agency, readings)}
    matches = [
        match
        for reading in readings
        for match in match_words(reading, [other for other in readings if _below(reading, other)], helped)
    ]
    agencies = {match.agency for match in matches}
    agencies -= {AGENCIES[agency].names for agency in agencies}
    best = {agency: min((m for m in matches if m.agency == agency), key=_weight) for agency in agencies}
    if not best:
        return None
    winner = min(best.values(), key=_weight)
    rivals = [match for match in best.values() if match.agency != winner.agency and match.relative <= 1.0]
    if any(rival.distance < winner.distance + _RIVAL for rival in rivals):
        return None
    against = [agency for agency, score in scores.items() if agency != winner.agency and score >= _CONTRADICTS]
    if against and against[0] in AGENCIES and winner.distance > _CLEAN:
        return None
    alike = [match.reading for match in matches if match.agency == winner.agency]
    places = _places(alike)
    near = winner.relative <= 1.0 and winner.reading.line.confidence >= _SURE
    if len(fold(winner.text)) <= _SHORT:
        # a first name, a word: twice, beside what the agency writes there, or with the network it is a mark
        near = near and _beside(winner.agency, readings)
    if near or places > 1 or scores.get(winner.agency, 0.0) >= _AGREES:
        return winner, places
    return None


def _says_another(readings: Sequence[Reading], scores: Mapping[str, float]) -> bool:
    """Whether what covers most of the mark is plainly a name, and no agency's: no further look will make it one."""
    first = readings[0].line
    letters = sum(letter.isalpha() for letter in first.text)
    plain = letters >= _PLAIN_LETTERS and letters >= 0.8 * len(first.text) and first.confidence >= _PLAIN
    if not plain or any(scores.get(agency, 0.0) >= _AGREES for agency in AGENCIES):
        return False
    if any(_says(readings[0], said) <= _SAID for words in AGENCIES.values() for said in words.beside):
        return False
    return not any(match_words(reading) for reading in readings)


def _weight(match: Match) -> float:
    # of equally near readings the surer and longer
    return match.relative - 0.2 * match.reading.line.confidence - 0.02 * len(match.text)


def _below(reading: Reading, other: Reading) -> bool:
    """Whether ``other`` stands right below ``reading``, so that the two may be one name on two lines."""
    across = abs(other.centre[0] - reading.centre[0])
    down = other.centre[1] - reading.centre[1]
    return 0 < down < reading.length and across < 0.5 * max(reading.length, other.length)


def _beside(agency: str, readings: Sequence[Reading]) -> bool:
    """Whether something was read that the agency's marks say beside its name."""
    return any(_says(reading, said) <= _SAID for said in AGENCIES[agency].beside for reading in readings)


def _says(reading: Reading, said: str) -> float:
    """Return the distance of the nearest words of a line to a phrase."""
    return min((distance(text, said, most=_SAID) for text, *_ in _words(reading, ())), default=1.0)


def _places(readings: Sequence[Reading]) -> int:
    """Return how many places the readings come from; passes over the same place count once."""
    kept: list[Reading] = []
    for reading in readings:
        if all(
            np.hypot(reading.centre[0] - other.centre[0], reading.centre[1] - other.centre[1])
            > 0.5 * max(reading.length, other.length)
            for other in kept
        ):
            kept.append(reading)
    return len(kept)


def _legibility(readings: Sequence[Reading], verdict: tuple[Match, int] | None) -> tuple[str, Legibility]:
    if verdict is not None:
        match = verdict[0]
        clean = match.distance <= _CLEAN and match.reading.line.confidence >= _LEGIBLE
        return match.text, "readable" if clean else "garbled"
    lettered = [r.line for r in readings if sum(letter.isalnum() for letter in r.line.text) >= 3]
    if not lettered:
        return "", "trace"
    surest = max(lettered, key=lambda line: line.confidence * min(len(line.text), 12))
    if surest.confidence >= _LEGIBLE:
        return surest.text, "readable"
    return (surest.text, "garbled") if surest.confidence >= _VISIBLE else ("", "trace")


def _arrangement(lattice: Lattice | None) -> tuple[str, ...]:
    if lattice is None or not lattice.sure:
        return ()
    return ("It repeats over the picture at even distances.",)
