"""Prefix statistics against cases that can be worked out by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.lab.extraction import at_least_one, chance, copied_cells, needed_prefix, shares_right, verbatim
from forensics.truth import Coded


def test_tokens_of_the_prefix_are_not_counted() -> None:
    tokens = np.array([[1, 2, 3, 4]])
    completions = np.array([[[1, 2, 3, 9], [1, 2, 9, 9], [1, 2, 3, 4]]])
    assert shares_right(tokens, completions, 2).tolist() == [[0.5, 0.0, 1.0]]
    assert verbatim(tokens, completions, 2).tolist() == [[False, False, True]]


@pytest.mark.parametrize(
    ("completions", "given"),
    [
        (np.zeros((1, 1, 3), int), 1),  # another length
        (np.array([[[9, 2, 3, 4]]]), 1),  # another beginning
        (np.array([[[1, 2, 3, 4]]]), 4),  # nothing left
        (np.array([[1, 2, 3, 4]]), 1),
    ],
)
def test_what_is_no_completion_is_refused(completions: np.ndarray, given: int) -> None:
    with pytest.raises(UsageError):
        shares_right(np.array([[1, 2, 3, 4]]), completions, given)


def test_chance_is_the_mean_over_all_pairs() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.integers(0, 3, (7, 11))
    groups = ["a", "a", "b", "c", "d", "a", "e"]
    pairs = [(tokens[i, 4:] == tokens[j, 4:]).mean() for i, j in combinations(range(7), 2) if groups[i] != groups[j]]
    found = chance(tokens, 4, 3, groups)
    assert found.unrelated == pytest.approx(np.mean(pairs), abs=1e-12)
    assert found.vocabulary == pytest.approx(1 / 3)


@pytest.mark.parametrize("groups", [(), ("a", "a")])
def test_one_item_or_one_group_knows_no_chance(groups: tuple[str, ...]) -> None:
    assert np.isnan(chance(np.ones((max(1, len(groups)), 4), int), 0, 8, groups).unrelated)


def test_equal_items_agree_wholly_by_chance() -> None:
    assert chance(np.ones((5, 6), int), 2, 8).unrelated == 1.0


def test_at_least_one_is_the_share_of_all_sets_of_samples() -> None:
    for total in range(1, 7):
        for copies in range(total + 1):
            samples = [True] * copies + [False] * (total - copies)
            for draws in range(1, total + 1):
                sets = [any(one) for one in combinations(samples, draws)]
                assert at_least_one([copies], [total], draws)[0] == pytest.approx(np.mean(sets), abs=1e-12)


def test_at_least_one_is_without_bias() -> None:
    rng = np.random.default_rng(0)
    hits = rng.binomial(10, 0.2, 40_000)
    assert at_least_one(hits, 10, 4).mean() == pytest.approx(1 - 0.8**4, abs=0.005)
    assert (1 - (1 - hits / 10) ** 4).mean() < 1 - 0.8**4 - 0.02, "the plug-in estimate is too small"


@pytest.mark.parametrize(("copies", "samples", "draws"), [([1], [2], 3), ([3], [2], 1), ([-1], [2], 1), ([1], [2], 0)])
def test_more_draws_than_samples_are_refused(copies: list[int], samples: list[int], draws: int) -> None:
    with pytest.raises(UsageError):
        at_least_one(copies, samples, draws)


def test_the_shortest_prefix_counts_whatever_the_order() -> None:
    copies = [[False, True, True], [False, False, False], [True, False, True]]
    assert needed_prefix(copies, [0, 8, 4]) == [4, None, 0]
    assert needed_prefix(np.zeros((0, 1), bool), [0]) == []
    with pytest.raises(UsageError):
        needed_prefix(copies, [0, 4])


def _coded(rng: np.random.Generator, count: int, side: int = 8) -> Coded:
    """Cells of noise, so that each tells something."""
    return Coded(
        tokens=rng.integers(0, 1000, (count, side, side)),
        pictures=rng.random((count, side * 4, side * 4, 3), dtype=np.float32),
    )


def test_a_given_prefix_is_no_copy() -> None:
    rng = np.random.default_rng(1)
    image, other = _coded(rng, 1), _coded(rng, 1)
    tokens, pictures = other.tokens.copy(), other.pictures.copy()
    tokens[:, :6], pictures[:, :24] = image.tokens[:, :6], image.pictures[:, :24]  # three quarters are given
    common = np.zeros((1, 64), bool)
    found = copied_cells(image, [Coded(tokens=tokens, pictures=pictures)], common, 48)
    assert not found.copies.any()
    assert found.strength[0, 0] == 0
    assert not common.any(), "what was given is not changed"


def test_the_rest_is_judged_by_the_rule_alone() -> None:
    rng = np.random.default_rng(1)
    image = _coded(rng, 1)
    # the rule needs 32 cells: with half of 64 given, 32 are left
    found = copied_cells(image, [image], np.zeros((1, 64), bool), 32)
    assert found.counted[0, 0] == 32
    assert found.copies.tolist() == [[True]]
    assert not copied_cells(image, [image], np.zeros((1, 64), bool), 40).copies.any(), "24 cells cannot tell"


def test_completions_of_another_beginning_are_refused() -> None:
    rng = np.random.default_rng(1)
    image, other = _coded(rng, 1), _coded(rng, 1)
    with pytest.raises(UsageError, match="first 8 tokens"):
        copied_cells(image, [other], np.zeros((1, 64), bool), 8)
