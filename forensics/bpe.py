"""The YouTokenToMe byte-pair encoding, read from its text model file; ids equal the original's.

The file: ``characters rules`` · a ``code point, id`` line for each character · a ``left, right, merged`` line for each
rule, in the order in which they apply · the ids of ``unknown, padding, begin, end`` (-1: none).
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from forensics.errors import UsageError, WeightsError

__all__ = ["BEGIN", "END", "PAD", "SPACE_MARK", "UNKNOWN", "EncodedPrompt", "Tokenizer", "words"]

PAD, UNKNOWN, BEGIN, END = 0, 1, 2, 3
"""Ids that ruDALL-E and ruCLIP use, whatever the model file says: the published files say the same."""

SPACE_MARK = "\u2581"
"""Stands for the blank before a word, inside tokens."""

_NAMES = {"unk": "<UNK>", "pad": "<PAD>", "bos": "<BOS>", "eos": "<EOS>"}
# C's isspace for a byte, and the mark that stands for a space inside tokens. No other Unicode space parts words.
_BLANK = frozenset(" \t\n\v\f\r" + SPACE_MARK)
_log = logging.getLogger(__name__)


def words(text: str) -> list[str]:
    """Return what stands between blanks; half a surrogate pair is no character, and is dropped."""
    return [word for word in "".join(map(_as_read, text)).split(" ") if word]


def _as_read(character: str) -> str:
    if character in _BLANK:
        return " "
    return "" if "\ud800" <= character <= "\udfff" else character


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPrompt:
    """A prompt as the transformer reads it.

    Attributes
    ----------
    ids : tuple of int
        Exactly ``length`` ids: begin, the text's, end, padding.
    used : int
        Ids that the prompt needed, begin and end included; more than ``length`` where it was cut.
    kept, dropped : str
        The text before and after the cut; ``dropped`` is empty where there was none.
    """

    ids: tuple[int, ...]
    used: int
    kept: str
    dropped: str


class Tokenizer:
    """Byte-pair encoding of one model file.

    Parameters
    ----------
    characters : dict of str to int
        The id of every character of the alphabet, the space mark ``▁`` among them.
    rules : sequence of (int, int, int)
        ``(left, right, merged)`` ids; an earlier rule applies before a later one.
    unk, pad, bos, eos : int
        Ids of the special tokens, -1 where there is none.
    """

    def __init__(
        self,
        characters: dict[str, int],
        rules: Sequence[tuple[int, int, int]],
        *,
        unk: int = UNKNOWN,
        pad: int = PAD,
        bos: int = BEGIN,
        eos: int = END,
    ) -> None:
        if SPACE_MARK not in characters:
            raise WeightsError("a tokenizer without the space mark U+2581 given, a YouTokenToMe model always has it")
        self._characters = characters
        self._unk = unk
        special = {name: number for name, number in zip(_NAMES, (unk, pad, bos, eos), strict=True) if number >= 0}
        pieces = {number: character for character, number in characters.items()}
        for left, right, merged in rules:
            if left not in pieces or right not in pieces:
                raise WeightsError(f"the rule {left} {right} {merged} merges ids that no line before it defines")
            pieces[merged] = pieces[left] + pieces[right]
        # where two rules merge the same pair the later one counts, as in the original
        self._ranks = {(left, right): rank for rank, (left, right, _) in enumerate(rules)}
        self._rules = list(rules)
        self._pieces = pieces | {number: _NAMES[name] for name, number in special.items()}
        self._size = len(characters) + len(rules) + len(special)

    @classmethod
    def open(cls, path: Path) -> Tokenizer:
        """Read ``bpe.model``.

        Raises
        ------
        WeightsError
            If the file is missing, cut off or something else.
        """
        try:
            numbers = [int(word) for word in path.read_text("ascii").split()]
        except OSError as error:
            raise WeightsError(f"{path} cannot be read ({error.strerror}); a YouTokenToMe bpe.model needed") from error
        except ValueError as error:
            raise WeightsError(f"{path} is no YouTokenToMe model: it must hold whole numbers alone") from error
        if len(numbers) < 2 or len(numbers) != 2 + 2 * numbers[0] + 3 * numbers[1] + 4:
            raise WeightsError(
                f"{path} is no complete YouTokenToMe model: {len(numbers)} numbers do not fit its header"
            )
        rules_at, special_at = 2 + 2 * numbers[0], len(numbers) - 4
        characters = {chr(numbers[i]): numbers[i + 1] for i in range(2, rules_at, 2)}
        rules = [(numbers[i], numbers[i + 1], numbers[i + 2]) for i in range(rules_at, special_at, 3)]
        unk, pad, bos, eos = numbers[special_at:]
        return cls(characters, rules, unk=unk, pad=pad, bos=bos, eos=eos)

    def __len__(self) -> int:
        return self._size

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every subword, by id."""
        return tuple(self.subword(number) for number in range(self._size))

    def subword(self, number: int) -> str:
        """Return the text of one id, ``▁`` for a space."""
        if number not in self._pieces:
            raise UsageError(f"token {number} given, 0 to {self._size - 1} accepted")
        return self._pieces[number]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; a run of unknown characters inside a word is one unknown token."""
        return [number for number, _ in self._tokens(text)]

    def subwords(self, text: str) -> list[str]:
        """Return the subwords of a text; unknown characters stand as they are."""
        return [piece for _, piece in self._tokens(text)]

    def decode(self, ids: Iterable[int], *, ignore: frozenset[int] = frozenset()) -> str:
        """Return the text of ids, leaving out those in ``ignore``."""
        pieces = [self.subword(number) for number in ids if number not in ignore]
        text = "".join(" " + piece[1:] if piece[0] == SPACE_MARK else piece for piece in pieces)
        return text.removeprefix(" ")

    def encode_prompt(self, prompt: str, length: int) -> EncodedPrompt:
        """Return the prompt lower-cased, stripped, between begin and end, and padded or cut to ``length`` ids.

        A prompt that is cut loses its end token too, as in the original, and is logged as a warning.
        """
        text = prompt.lower().strip()
        if not text:
            raise UsageError("an empty prompt given; give the words that the image shall show")
        inner = self._tokens(text)
        ids = [BEGIN, *(number for number, _ in inner), END]
        kept, dropped = text, ""
        if len(ids) > length:
            room = max(length - 1, 0)
            kept = "".join(piece for _, piece in inner[:room]).replace(SPACE_MARK, " ").strip()
            dropped = "".join(piece for _, piece in inner[room:]).replace(SPACE_MARK, " ").strip()
            if dropped:
                _log.warning("the prompt has %d tokens, %d fit: it is cut after %r", len(ids), length, kept[-40:])
        padded = (ids + [PAD] * (length - len(ids)))[:length]
        return EncodedPrompt(ids=tuple(padded), used=len(ids), kept=kept, dropped=dropped)

    def _tokens(self, text: str) -> list[tuple[int, str]]:
        return [token for word in words(text) for token in self._word(word)]

    def _word(self, word: str) -> list[tuple[int, str]]:
        """Merge the characters of one word: always the earliest rule, of its places the leftmost."""
        ids = [self._characters[SPACE_MARK]]
        unknown: dict[int, str] = {}
        for character in word:
            known = self._characters.get(character)
            if known is not None:
                ids.append(known)
            elif ids[-1] < 0:
                unknown[ids[-1]] += character
            else:
                ids.append(-1 - len(unknown))
                unknown[ids[-1]] = character
        # a doubly linked list over places: merging keeps the left place and takes the right one out
        count = len(ids)
        following = [*range(1, count), -1]
        before = list(range(-1, count - 1))
        gone = [False] * count
        heap: list[tuple[int, int]] = []

        def propose(place: int) -> None:
            rank = self._ranks.get((ids[place], ids[following[place]]))
            if rank is not None:
                heapq.heappush(heap, (rank, place))

        for place in range(count - 1):
            propose(place)
        while heap:
            rank, place = heapq.heappop(heap)
            left, right, merged = self._rules[rank]
            second = following[place]
            if gone[place] or ids[place] != left or second < 0 or ids[second] != right:
                continue
            gone[second] = True
            ids[place] = merged
            following[place] = following[second]
            if following[place] >= 0:
                before[following[place]] = place
                propose(place)
            if before[place] >= 0:
                propose(before[place])
        kept = [number for number, dead in zip(ids, gone, strict=True) if not dead]
        return [(number, self._pieces[number]) if number >= 0 else (self._unk, unknown[number]) for number in kept]
