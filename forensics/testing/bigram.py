"""A model whose every likelihood can be written down: a table of p(next token | this token). For tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.types import AutoregressiveSpec, Progress, TokenLikelihoods

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from forensics.types import TokenArray, UInt8Array

__all__ = ["BigramModel"]


class BigramModel:
    """Images as rows of grey cells; each cell's grey depends on the one before it alone.

    Keeps the protocols :class:`forensics.types.AutoregressiveModel` and :class:`forensics.types.Decoder`.

    Parameters
    ----------
    table : (V, V) array
        Row i is p(next | i), every entry above 0.
    start : (V,) array, optional
        p(first token); all alike by default.
    side : int
        Cells a side: L = side².
    cell : int
        Pixels a side of a cell.
    captioned : mapping of str to (V, V) array, optional
        The table in the place of ``table`` under a caption; other captions change nothing.

    Raises
    ------
    UsageError
        If a table is no table of probabilities.
    """

    def __init__(
        self,
        table: ArrayLike,
        *,
        start: ArrayLike | None = None,
        side: int = 4,
        cell: int = 8,
        captioned: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self._plain = _probabilities(table)
        levels = len(self._plain)
        self._start = _probabilities(np.full(levels, 1 / levels) if start is None else start)
        self._captioned = {caption: _probabilities(own) for caption, own in (captioned or {}).items()}
        shapes = {part.shape for part in (self._plain, *self._captioned.values())}
        if shapes != {(levels, levels)} or self._start.shape != (levels,) or levels < 2:
            raise UsageError(
                f"tables of shapes {shapes} and a start of {self._start.shape} given, (V, V) and (V,) needed"
            )
        self._cell = cell
        self._spec = AutoregressiveSpec(
            name="bigram",
            vocabulary=levels,
            length=side * side,
            row=side,
            captions=bool(captioned),
            settings={"kind": "image", "first_evidence": 0, "pixels": side * cell},
        )

    @property
    def spec(self) -> AutoregressiveSpec:
        """What it is."""
        return self._spec

    def encode(self, items: Sequence[Any]) -> TokenArray:
        """Return (n, L) tokens: each cell's mean grey in V equal steps; images of other sizes are scaled."""
        from PIL import Image

        side, pixels = self._spec.row, self._spec.row * self._cell
        rows = []
        for item in items:
            if not isinstance(item, np.ndarray) or item.ndim != 3 or item.shape[2] != 3 or 0 in item.shape:
                raise UsageError(f"an item of {type(item).__name__} given, (H, W, 3) uint8 RGB accepted")
            image = (
                item if item.shape[:2] == (pixels, pixels) else np.asarray(Image.fromarray(item).resize((pixels,) * 2))
            )
            grey = image.mean(2).reshape(side, self._cell, side, self._cell).mean((1, 3))
            rows.append(
                np.minimum(grey * self._spec.vocabulary / 256, self._spec.vocabulary - 1).astype(np.int64).ravel()
            )
        return np.array(rows, np.int64).reshape(len(items), self._spec.length)

    def decode(self, tokens: TokenArray) -> list[UInt8Array]:
        """Return the images whose cells have the middle grey of each token."""
        grey = ((np.asarray(tokens) + 0.5) * 256 / self._spec.vocabulary).astype(np.uint8)
        cells = grey.reshape(len(grey), self._spec.row, self._spec.row)
        large = cells.repeat(self._cell, 1).repeat(self._cell, 2)
        return [np.repeat(image[:, :, None], 3, axis=2) for image in large]

    def log_probabilities(
        self, tokens: TokenArray, captions: Sequence[str], *, progress: Progress | None = None
    ) -> TokenLikelihoods:
        """Return the logarithms of the table's entries, and the mean and deviation of its rows'."""
        given = np.asarray(tokens)
        if given.ndim != 2 or given.shape[1] != self._spec.length or len(captions) != len(given):
            raise UsageError(f"tokens {given.shape} and {len(captions)} captions given, (n, {self._spec.length}) and n")
        found = np.empty((3, *given.shape))
        for number, (row, caption) in enumerate(zip(given, captions, strict=True)):
            chances = np.concatenate((self._start[None], self._table(caption)[row[:-1]]))  # (L, V)
            logs = np.log(chances)
            mean = (chances * logs).sum(1)
            found[0, number] = logs[np.arange(len(row)), row]
            found[1, number] = mean
            found[2, number] = np.sqrt((chances * (logs - mean[:, None]) ** 2).sum(1))
            if progress is not None:
                progress("asking for likelihoods", number + 1, len(given))
        log_probability, mean, deviation = found.astype(np.float32)
        return TokenLikelihoods(log_probability=log_probability, mean=mean, deviation=deviation)

    def complete(
        self,
        prefixes: TokenArray,
        captions: Sequence[str],
        seeds: Sequence[int],
        *,
        greedy: bool = False,
        progress: Progress | None = None,
    ) -> TokenArray:
        """Return (n, L) tokens; of those that tie for the likeliest, ``greedy`` takes the first."""
        given = np.asarray(prefixes, np.int64)
        if given.ndim != 2 or given.shape[1] > self._spec.length or not len(given) == len(captions) == len(seeds):
            raise UsageError(
                f"prefixes of {given.shape}, {len(captions)} captions and {len(seeds)} seeds given, n of each"
            )
        found = np.empty((len(given), self._spec.length), np.int64)
        found[:, : given.shape[1]] = given
        for number, (caption, seed) in enumerate(zip(captions, seeds, strict=True)):
            points = np.random.default_rng(seed).random(self._spec.length)
            for place in range(given.shape[1], self._spec.length):
                chances = self._start if place == 0 else self._table(caption)[found[number, place - 1]]
                drawn = np.searchsorted(chances.cumsum(), points[place], side="right")
                found[number, place] = chances.argmax() if greedy else min(int(drawn), len(chances) - 1)
            if progress is not None:
                progress("completing", number + 1, len(given))
        return found

    def _table(self, caption: str) -> NDArray[np.float64]:
        return self._captioned.get(caption, self._plain)


def _probabilities(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    if not np.isfinite(array).all() or not (array > 0).all() or not np.allclose(array.sum(-1), 1):
        raise UsageError("a table given whose rows are not probabilities above 0 that add up to 1")
    return array
