"""Groups of samples: each member like the centre, no chains; the clique test against a search through all sets."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.lab.repeats import (
    Repeats,
    alike,
    common_among,
    detail,
    groups,
    largest_clique,
    ranked,
    tile_distances,
    uncoded,
)
from forensics.truth import common_cells


def _noise(count: int, seed: int = 0, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).random((count, side, side, 3), dtype=np.float32)


def test_chains_are_not_groups() -> None:
    # 0-1-2-3-4: neighbours alike, others not
    strength = np.eye(5) * 2
    for i in range(4):
        strength[i, i + 1] = strength[i + 1, i] = 1.5
    found = groups(strength)
    assert [(group.centre, group.members) for group in found] == [(1, (0, 1, 2)), (3, (3, 4))]
    for group in found:
        assert all(strength[group.centre, member] >= 1 for member in group.members)


def test_of_centres_with_as_many_likes_the_strongest_is_taken() -> None:
    strength = np.array([[1, 1.2, 0, 0], [1.2, 1, 0, 0], [0, 0, 1, 1.9], [0, 0, 1.9, 1]])
    found = groups(strength)
    assert [group.members for group in found] == [(2, 3), (0, 1)]
    assert found[0].centre == 2, "of equals the first"
    assert found[0].strength == pytest.approx(1.9)


@pytest.mark.parametrize("count", [0, 1])
def test_no_image_and_one(count: int) -> None:
    found = groups(np.zeros((count, count)))
    assert [group.members for group in found] == [(0,)] * count
    assert all(group.strength == 0 for group in found)
    with pytest.raises(UsageError):
        groups(np.zeros((2, 3)))


def test_every_image_is_in_one_group() -> None:
    rng = np.random.default_rng(2)
    half = rng.random((12, 12)) * 1.6
    found = groups(np.maximum(half, half.T))
    assert sorted(i for group in found for i in group.members) == list(range(12))
    assert [len(group.members) for group in found] == sorted((len(g.members) for g in found), reverse=True)


def test_alike_is_symmetric_and_finds_a_noisy_twin() -> None:
    pictures = _noise(3)
    pictures[2] = np.clip(pictures[0] + 0.02, 0, 1)
    images = uncoded(pictures, 8)
    strength = alike(images, np.zeros((3, 64), bool))
    assert np.array_equal(strength, strength.T)
    assert strength[0, 2] >= 1 > strength[0, 1]


def test_blank_images_are_like_nothing_but_themselves() -> None:
    images = uncoded(np.ones((4, 32, 32, 3), np.float32), 8)
    strength = alike(images, np.zeros((4, 64), bool))
    assert np.array_equal(strength, np.eye(4))
    assert detail(images, np.zeros((4, 64), bool)).tolist() == [0.0] * 4


def test_what_other_prompts_show_too_is_no_repeat() -> None:
    """A frame that every image bears makes no group of images that differ inside of it."""
    pictures = _noise(8)
    frame = _noise(1, seed=9)[0]
    pictures[:, :24] = frame[:24]
    images = uncoded(pictures, 8)
    common = common_among(images, ["a"] * 4 + ["b"] * 4)
    assert common[:, :48].all()
    assert groups(alike(images, common))[0].members == (0,)
    assert len(groups(alike(images, np.zeros_like(common)))[0].members) == 8, "without that they would be one"


def test_many_images_are_compared_with_a_sample_of_every_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = _noise(12)
    pictures[:, :8] = _noise(1, seed=9)[0, :8]
    images, prompts = uncoded(pictures, 8), [str(i // 4) for i in range(12)]
    whole = common_cells(images, prompts)
    monkeypatch.setattr("forensics.lab.repeats._AMONG", 6)
    assert np.array_equal(common_among(images, prompts), whole)


def test_the_worst_tile_decides() -> None:
    pictures = np.zeros((2, 32, 32, 3), np.float32)
    pictures[1, :8, :8] = 0.5
    assert tile_distances(pictures)[0, 1] == pytest.approx(0.5)
    assert tile_distances(pictures, tiles=1)[0, 1] == pytest.approx(0.125)
    with pytest.raises(UsageError):
        tile_distances(pictures, tiles=5)


def _largest(graph: np.ndarray) -> int:
    nodes = range(len(graph))
    for size in range(len(graph), 0, -1):
        for chosen in combinations(nodes, size):
            if all(graph[i, j] for i, j in combinations(chosen, 2)):
                return size
    return 0


@pytest.mark.parametrize("seed", range(12))
def test_the_largest_clique(seed: int) -> None:
    rng = np.random.default_rng(seed)
    half = np.triu(rng.random((9, 9)) < 0.55, 1)
    graph = half | half.T
    found = largest_clique(graph)
    assert found.exact
    assert len(found.members) == _largest(graph)
    assert all(graph[i, j] for i, j in combinations(found.members, 2))


def test_cliques_of_all_none_and_too_many() -> None:
    assert largest_clique(np.ones((40, 40), bool)).members == tuple(range(40))
    assert len(largest_clique(np.zeros((5, 5), bool)).members) == 1
    assert largest_clique(np.zeros((0, 0), bool)).members == ()
    # a complement of 12 triangles has 3^12 maximal cliques
    many = np.ones((36, 36), bool)
    for start in range(0, 36, 3):
        many[start : start + 3, start : start + 3] = False
    found = largest_clique(many, steps=500)
    assert len(found.members) == 12
    assert not found.exact


def test_ranks() -> None:
    def one(prompt: int, share: float, strength: float, seen: float) -> Repeats:
        return Repeats(
            prompt=prompt, centre=prompt, members=(prompt,), share=share, strength=strength, detail=seen, clique=1
        )

    order = ranked([one(0, 0.5, 2, 0.9), one(1, 1, 1.5, 0.1), one(2, 1, 1.5, 0.8), one(3, 1, 1.9, 0.2)])
    assert [(group.prompt, group.rank) for group in order] == [(3, 1), (2, 2), (1, 3), (0, 4)]
