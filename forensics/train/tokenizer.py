"""Learning a byte-pair encoding, written in YouTokenToMe's text format (Sennrich et al., arXiv:1508.07909).

A word is what stands between blanks, with ``▁`` put before it. Ids: the four special tokens as ruDALL-E has them
(padding 0, unknown 1, begin 2, end 3), then ``▁``, then characters, the most frequent first, then merges in the order
in which they were made. Merges are made one at a time, each of the pair that occurs most often; of pairs that occur
equally often the one with the lower left id, then the lower right id. A run of equal pieces holds as many pairs as one
pass from the left would merge. No merge reaches across a word's end or a character outside the alphabet.
"""

from __future__ import annotations

import heapq
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forensics.bpe import BEGIN, END, PAD, SPACE_MARK, UNKNOWN, Tokenizer, words
from forensics.errors import UsageError

__all__ = ["Bpe", "TokenizerTraining", "learn_bpe"]

_SPECIALS = (UNKNOWN, PAD, BEGIN, END)
_LEAST = 2  # a pair that occurs once saves nothing

_Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerTraining:
    """What is learnt from captions.

    Attributes
    ----------
    vocabulary : int
        Ids in all, the special ones and characters included; fewer where no pair occurs twice any more.
    coverage : float
        Share of all characters that the alphabet covers, the most frequent first; the rest becomes unknown.
    alphabet : str
        Characters that are in the alphabet whether or not a caption has them.
    """

    vocabulary: int
    coverage: float = 1.0
    alphabet: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise UsageError(f"coverage {self.coverage} given, above 0 and up to 1 accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bpe:
    """A learnt encoding.

    Attributes
    ----------
    characters : dict of str to int
        The alphabet's ids, ``▁`` included.
    rules : tuple of (int, int, int)
        ``(left, right, merged)`` ids in the order in which they apply.
    """

    characters: dict[str, int]
    rules: tuple[tuple[int, int, int], ...]

    @property
    def tokenizer(self) -> Tokenizer:
        """The encoding at work."""
        return Tokenizer(self.characters, self.rules)

    def save(self, path: Path) -> None:
        """Write ``bpe.model``; it is replaced as a whole."""
        lines = [
            f"{len(self.characters)} {len(self.rules)}",
            *(f"{ord(character)} {number}" for character, number in self.characters.items()),
            *(f"{left} {right} {merged}" for left, right, merged in self.rules),
            " ".join(map(str, _SPECIALS)),
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text("\n".join(lines) + "\n", "ascii")
        os.replace(part, path)  # noqa: PTH105  atomic


def learn_bpe(captions: Iterable[str], training: TokenizerTraining) -> Bpe:
    """Learn an encoding from captions, lower-cased as prompts are.

    Raises
    ------
    UsageError
        If there is no word, or the vocabulary is smaller than the alphabet.
    """
    counts = Counter(word for caption in captions for word in words(caption.lower()))
    if not counts:
        raise UsageError("captions without a word given; a tokenizer is learnt from words")
    characters = _alphabet(counts, training)
    free = training.vocabulary - len(_SPECIALS) - len(characters)
    if free < 0:
        raise UsageError(
            f"vocabulary {training.vocabulary} given; {len(_SPECIALS)} special tokens and {len(characters)} characters "
            "alone need more: give a larger vocabulary or a lower coverage"
        )
    pieces = Counter[tuple[int, ...]]()
    for word, count in counts.items():
        for piece in _known_parts(word, characters):
            pieces[piece] += count
    first = len(_SPECIALS) + len(characters)
    return Bpe(characters=characters, rules=tuple(_merges(pieces, first, free)))


def _alphabet(counts: Counter[str], training: TokenizerTraining) -> dict[str, int]:
    frequency: Counter[str] = Counter()
    for word, count in counts.items():
        for character in word:
            frequency[character] += count
    ordered = sorted(frequency, key=lambda character: (-frequency[character], character))
    enough, covered = training.coverage * frequency.total(), 0
    kept = [SPACE_MARK]
    for character in ordered:
        if covered >= enough:
            break
        kept.append(character)
        covered += frequency[character]
    wanted = "".join(words(training.alphabet.lower()))
    kept = list(dict.fromkeys([*kept, *wanted]))
    return {character: len(_SPECIALS) + place for place, character in enumerate(kept)}


def _known_parts(word: str, characters: dict[str, int]) -> list[tuple[int, ...]]:
    """Return a word's ids from the space mark on, cut where a character is unknown."""
    parts: list[list[int]] = [[characters[SPACE_MARK]]]
    for character in word:
        if character in characters:
            parts[-1].append(characters[character])
        else:
            parts.append([])
    return [tuple(part) for part in parts if len(part) > 1]


def _merges(pieces: Counter[tuple[int, ...]], first: int, limit: int) -> list[tuple[int, int, int]]:
    """Return up to ``limit`` rules; ``first`` is the id that the first of them makes."""
    texts = [list(piece) for piece in pieces]
    weights = list(pieces.values())
    totals: Counter[_Pair] = Counter()
    places: defaultdict[_Pair, set[int]] = defaultdict(set)
    for number, text in enumerate(texts):
        for pair, count in _pairs(text).items():
            totals[pair] += count * weights[number]
            places[pair].add(number)
    # entries grow old as counts change; one counts only while it states the present count
    heap = [(-count, pair) for pair, count in totals.items()]
    heapq.heapify(heap)
    rules: list[tuple[int, int, int]] = []
    while heap and len(rules) < limit:
        count, pair = heapq.heappop(heap)
        if totals[pair] != -count:
            continue
        if -count < _LEAST:
            break
        merged = first + len(rules)
        rules.append((*pair, merged))
        changed: set[_Pair] = set()
        for number in places.pop(pair):
            before = _pairs(texts[number])
            texts[number] = _merged(texts[number], pair, merged)
            after = _pairs(texts[number])
            for other in before.keys() | after.keys():
                if difference := after[other] - before[other]:
                    totals[other] += difference * weights[number]
                    changed.add(other)
                if other in after:
                    places[other].add(number)
                elif other in places:
                    places[other].discard(number)
        del totals[pair]
        for other in changed:
            if other != pair and totals[other] > 0:
                heapq.heappush(heap, (-totals[other], other))
    return rules


def _pairs(text: Sequence[int]) -> Counter[_Pair]:
    """Count neighbours; of a run of equal pieces every second pair, as merging takes them."""
    found: Counter[_Pair] = Counter()
    overlapping = False
    for place in range(len(text) - 1):
        pair = (text[place], text[place + 1])
        if overlapping and pair == (text[place - 1], text[place]):
            overlapping = False
            continue
        found[pair] += 1
        overlapping = pair[0] == pair[1]
    return found


def _merged(text: Sequence[int], pair: _Pair, merged: int) -> list[int]:
    result: list[int] = []
    place = 0
    while place < len(text):
        if place + 1 < len(text) and (text[place], text[place + 1]) == pair:
            result.append(merged)
            place += 2
        else:
            result.append(text[place])
            place += 1
    return result
