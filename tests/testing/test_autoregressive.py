"""The kit lets a good model through and names what is wrong with each bad one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.testing import check_autoregressive
from forensics.testing.bigram import BigramModel
from forensics.types import TokenLikelihoods

TABLE = [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]


def tokens() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, (4, 16))


def test_a_bigram_table_keeps_the_contract() -> None:
    check_autoregressive(BigramModel(TABLE), tokens())
    told = BigramModel(TABLE, captioned={"кот": TABLE[::-1]})
    check_autoregressive(told, tokens(), captions=["кот", "", "кот", "дом"])


class Bad(BigramModel):
    def __init__(self, change: Callable[[TokenLikelihoods, np.ndarray], TokenLikelihoods]) -> None:
        super().__init__(TABLE)
        self.change = change

    def log_probabilities(self, tokens: Any, captions: Any, *, progress: Any = None) -> TokenLikelihoods:
        return self.change(super().log_probabilities(tokens, captions, progress=progress), tokens)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found, _: replace(found, log_probability=-found.log_probability), "above 0"),
        (lambda found, _: replace(found, mean=found.mean - 5), "outside"),
        (lambda found, _: replace(found, deviation=found.deviation * np.nan), "no number"),
        (lambda found, _: replace(found, mean=found.mean[:, 1:]), "shape"),
        (
            lambda found, given: replace(found, log_probability=found.log_probability - given[:, -1:]),
            "before the last change",
        ),
        (
            lambda found, given: replace(found, log_probability=found.log_probability - len(given)),
            "items beside it",
        ),
    ],
)
def test_bad_likelihoods(change: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_autoregressive(Bad(change), tokens())


class Wanders(BigramModel):
    def complete(self, prefixes: Any, captions: Any, seeds: Any, *, greedy: bool = False, progress: Any = None) -> Any:
        seeds = [0] * len(seeds) if greedy else [seed + len(seeds) for seed in seeds]
        return super().complete(prefixes, captions, seeds, greedy=greedy)


def test_bad_completions() -> None:
    with pytest.raises(AssertionError, match="completion changes with the items beside it"):
        check_autoregressive(Wanders(TABLE), tokens())


def test_pictures_go_there_and_back() -> None:
    model = BigramModel(TABLE, side=4, cell=8)
    given = tokens()
    assert (model.encode(model.decode(given)) == given).all()
    assert model.encode([np.zeros((7, 9, 3), np.uint8)]).tolist() == [[0] * 16]


@pytest.mark.parametrize("table", [[[0.5, 0.6], [0.5, 0.5]], [[1.0, 0.0], [0.5, 0.5]], [[0.5, 0.5]], [[1.0]]])
def test_tables_that_are_none(table: list[list[float]]) -> None:
    with pytest.raises(UsageError, match="table"):
        BigramModel(table)
