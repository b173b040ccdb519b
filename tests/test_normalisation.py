"""The background: what it holds, and what taking it off does."""

from __future__ import annotations

import numpy as np
import pytest

from forensics import weights
from forensics.errors import UsageError
from forensics.normalisation import Background, background_similarity, load_background, normalised


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def background() -> Background:
    rows = unit(np.random.default_rng(0).normal(size=(50, 16)))
    return Background(descriptor="demo", fingerprint="f", vectors=rows, pictures=tuple(f"{k}.png" for k in range(50)))


@pytest.mark.parametrize("nearest", [1, 3, 50])
def test_the_mean_of_the_nearest(background: Background, nearest: int) -> None:
    rows = unit(np.random.default_rng(1).normal(size=(7, 16)))
    expected = np.sort(rows @ background.vectors.T, axis=1)[:, ::-1][:, :nearest].mean(axis=1)
    assert np.allclose(background_similarity(rows, background, nearest=nearest), expected, atol=1e-6)


def test_a_picture_of_the_background_loses_its_score_and_an_unlike_one_keeps_it(background: Background) -> None:
    own, unlike = background.vectors[:1], unit(-background.vectors.mean(axis=0, keepdims=True))
    taken = normalised(np.array([0.9, 0.9]), np.concatenate([own, unlike]), background, nearest=1)
    assert taken[0] == pytest.approx(-0.1, abs=1e-5)
    assert taken[1] > taken[0] + 0.3


def test_the_order_of_one_query_s_references_stays(background: Background) -> None:
    row = unit(np.random.default_rng(2).normal(size=(1, 16)))
    scores = np.linspace(0, 1, 9, dtype=np.float32)
    taken = normalised(scores, row.repeat(9, axis=0), background, weight=0.5)
    assert (np.diff(taken) > 0).all()
    assert np.allclose(np.diff(taken), np.diff(scores), atol=1e-6)


def test_nothing_in_nothing_out(background: Background) -> None:
    assert normalised(np.empty(0), np.empty((0, 16)), background).shape == (0,)


@pytest.mark.parametrize(
    ("scores", "shape", "nearest", "words"),
    [
        ([0.5], (1, 15), 3, r"\(m, 16\)"),
        ([0.5], (1, 16), 0, "1 to 50"),
        ([0.5], (1, 16), 51, "1 to 50"),
        ([0.5, 0.5], (1, 16), 3, "one a row"),
    ],
)
def test_what_does_not_fit_is_said(
    background: Background, scores: list, shape: tuple, nearest: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        normalised(np.array(scores), np.ones(shape, np.float32), background, nearest=nearest)


def test_the_shipped_background_is_of_one_build_alone() -> None:
    assert load_background("sscd-int8", "another build") is None
    assert load_background("sscd-nothing", "") is None


@pytest.mark.skipif(weights.find("sscd-int8") is None, reason="no weights; try: forensics weights fetch sscd-int8")
def test_the_shipped_background_is_sound() -> None:
    from forensics.embed import create

    spec = create("sscd-int8").spec
    found = load_background(spec.name, spec.fingerprint)
    assert found is not None
    assert found.vectors.shape == (len(found.pictures), 512)
    assert np.allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    wholes = np.array(["#" not in name for name in found.pictures])
    cosines = found.vectors[wholes] @ found.vectors[wholes].T - np.eye(int(wholes.sum()), dtype=np.float32)
    assert cosines.max() < 0.61, "one picture stands in it twice"
