"""The rule that says which generated images are copies."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.truth import RULE, Coded, Rule, common_cells, compare, unrelated

SIDE, CODES, PATCH = 8, 4000, 4
RULE_SMALL = Rule(counted=8)


def _book(seed: int = 0) -> np.ndarray:
    """A codebook: code 0 is plain white, the others are patches of noise."""
    rng = np.random.default_rng(seed)
    patches = rng.random((CODES, PATCH, PATCH, 3), np.float32)
    patches[0] = 1.0
    return patches


def coded(tokens: np.ndarray) -> Coded:
    patches = _book()[tokens]  # (n, D, D, p, p, 3)
    side = tokens.shape[1] * PATCH
    pictures = patches.swapaxes(2, 3).reshape(len(tokens), side, side, 3)
    return Coded(tokens=tokens, pictures=pictures)


def random_tokens(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, CODES, (count, SIDE, SIDE))


def changed(tokens: np.ndarray, share: float, seed: int = 2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    other = (tokens + rng.integers(1, CODES - 1, tokens.shape) - 1) % (CODES - 1) + 1
    return np.where(rng.random(tokens.shape) < share, other, tokens)


def test_patches_are_the_cells_in_order() -> None:
    images = coded(random_tokens(2))
    assert np.array_equal(images.patches[1], _book()[images.tokens[1]].reshape(SIDE * SIDE, -1))


@pytest.mark.parametrize(("share", "copy"), [(0.0, True), (0.3, True), (0.7, False)])
def test_a_copy_shares_half_of_its_codes(share: float, copy: bool) -> None:
    training = coded(random_tokens(5))
    images = coded(changed(training.tokens[2:3], share))
    found = compare(images, training, common_cells(training), rule=RULE)
    assert found.copies[0].tolist() == [False, False, copy, False, False]
    assert int(found.strength[0].argmax()) == 2
    assert (found.strength[0, 2] >= 1) == copy


def test_other_codes_that_show_the_same_are_a_copy() -> None:
    training = coded(random_tokens(3))
    rng = np.random.default_rng(0)
    close = training.pictures[:1] + rng.normal(0, 0.04, training.pictures[:1].shape).astype(np.float32)
    images = Coded(tokens=training.tokens[:1] + CODES, pictures=close)
    found = compare(images, training, common_cells(training))
    assert found.equal[0, 0] == 0
    assert found.copies[0].tolist() == [True, False, False]


def test_white_paper_is_no_evidence() -> None:
    tokens = np.zeros((2, SIDE, SIDE), int)
    tokens[0, :2], tokens[1, 3:5] = random_tokens(1)[0, :2], random_tokens(1, seed=9)[0, :2]
    images = coded(tokens)
    found = compare(images[:1], images, np.zeros((2, SIDE * SIDE), bool), rule=RULE_SMALL)
    assert found.counted[0].tolist() == [16, 32]  # the union of what is drawn
    assert found.copies[0].tolist() == [True, False]


def test_too_few_cells_say_nothing() -> None:
    tokens = np.zeros((1, SIDE, SIDE), int)
    tokens[0, 0] = 1 + np.arange(SIDE)
    images = coded(tokens)
    none = np.zeros((1, SIDE * SIDE), bool)
    assert not compare(images, images, none).copies[0, 0]
    assert compare(images, images, none).strength[0, 0] == 0
    assert compare(images, images, none, rule=RULE_SMALL).copies[0, 0]


def test_a_shared_template_makes_no_copy() -> None:
    """Two book covers of one board: three quarters of the cells are equal, and they are not copies."""
    tokens = random_tokens(40)
    tokens[:20, :6] = tokens[0, :6]
    training = coded(tokens)
    template = common_cells(training)
    assert template[:20, : 6 * SIDE].all()
    assert template[20:].mean() < 0.05  # chance
    pairs = unrelated([str(number) for number in range(40)])
    assert not (compare(training, training, template, rule=RULE_SMALL).copies & pairs).any()
    fooled = compare(training, training, np.zeros_like(template), rule=RULE_SMALL)
    assert fooled.copies[0, 1]
    # what is left of a cover still tells it from others
    assert np.diag(compare(training, training, template, rule=RULE_SMALL).copies).all()


def test_an_images_own_group_makes_nothing_common() -> None:
    tokens = random_tokens(6)
    tokens[1] = tokens[0]
    training = coded(tokens)
    assert common_cells(training)[0].all()
    assert common_cells(training, ["a", "a", "b", "c", "d", "e"]).mean() < 0.05  # chance
    outside = common_cells(training[:1], ["x"], among=training, among_groups=["x", "x", "b", "c", "d", "e"])
    assert outside.mean() < 0.05


def test_it_is_what_a_loop_over_cells_counts() -> None:
    rng = np.random.default_rng(5)
    tokens = rng.integers(0, 4, (9, SIDE, SIDE))
    images, training = coded(tokens[:4]), coded(tokens[4:])
    common = common_cells(training)
    found = compare(images, training, common)
    for i in range(4):
        for j in range(5):
            counted = equal = near = 0
            for cell in range(SIDE * SIDE):
                a, b = images.patches[i, cell], training.patches[j, cell]
                same = images.codes[i, cell] == training.codes[j, cell]
                close = np.sqrt(((a - b) ** 2).mean()) < RULE.near
                plain = all(patch.reshape(-1, 3).std(0).max() < RULE.plain for patch in (a, b)) and close
                if plain or (common[j, cell] and (same or close)):
                    continue
                counted, equal, near = counted + 1, equal + same, near + close
            assert found.counted[i, j] == counted
            assert found.equal[i, j] == pytest.approx(equal / max(counted, 1))
            assert found.near[i, j] == pytest.approx(near / max(counted, 1))


def test_unrelated_pairs() -> None:
    assert unrelated(["a", "a", "b"]).tolist() == [[False, False, True], [False, False, True], [False, False, False]]
    assert unrelated(["a", "b"], ["b"]).tolist() == [[True], [False]]


def test_what_does_not_fit_is_refused() -> None:
    tokens = random_tokens(2)
    with pytest.raises(UsageError, match="multiple of D"):
        Coded(tokens=tokens, pictures=np.zeros((2, 30, 30, 3), np.float32))
    training = coded(tokens)
    with pytest.raises(UsageError, match="common cells"):
        compare(training, training, np.zeros((3, SIDE * SIDE), bool))
    with pytest.raises(UsageError, match="one an image"):
        common_cells(training, ["a"])
