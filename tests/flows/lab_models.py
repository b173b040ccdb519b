"""Models for the laboratory's tests: a bigram that speaks in tokens alone, and counts what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from forensics.errors import ForensicsError
from forensics.testing.bigram import BigramModel
from forensics.types import AutoregressiveSpec, Progress, TokenLikelihoods


def cycle(levels: int = 4, sure: float = 0.97) -> np.ndarray:
    """A table in which i + 1 follows i with probability ``sure``, all else being alike."""
    table = np.full((levels, levels), (1 - sure) / (levels - 1))
    table[np.arange(levels), (np.arange(levels) + 1) % levels] = sure
    return table


class Tokens:
    """A bigram without a decoder: its items are judged by tokens alone, every one of which must be right."""

    memory = 12_000_000

    def __init__(self, sure: float = 0.97, *, side: int = 4, fail_after: int | None = None) -> None:
        self._model = BigramModel(cycle(sure=sure), side=side)
        self._fail_after = fail_after
        self.calls = 0
        self.completed = 0

    @property
    def spec(self) -> AutoregressiveSpec:
        return self._model.spec

    def encode(self, items: Sequence[Any]) -> np.ndarray:
        return self._model.encode(items)

    def log_probabilities(
        self, tokens: np.ndarray, captions: Sequence[str], *, progress: Progress | None = None
    ) -> TokenLikelihoods:
        return self._model.log_probabilities(tokens, captions, progress=progress)

    def complete(
        self,
        prefixes: np.ndarray,
        captions: Sequence[str],
        seeds: Sequence[int],
        *,
        greedy: bool = False,
        progress: Progress | None = None,
    ) -> np.ndarray:
        self.calls += 1
        if self._fail_after is not None and self.calls > self._fail_after:
            raise ForensicsError("the power failed")
        self.completed += len(prefixes)
        return self._model.complete(prefixes, captions, seeds, greedy=greedy, progress=progress)


def picture(tokens: Sequence[int], side: int = 4, cell: int = 8) -> np.ndarray:
    """The picture that a bigram of four greys encodes to these tokens."""
    return BigramModel(cycle(), side=side, cell=cell).decode(np.array([tokens]))[0]
