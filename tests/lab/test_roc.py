"""Areas and rates against slow oracles, ties included."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from forensics.errors import UsageError
from forensics.lab.roc import least_nonmembers, separation


def slow_area(seen: np.ndarray, unseen: np.ndarray) -> float:
    return float(np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in itertools.product(seen, unseen)]))


@pytest.mark.parametrize("levels", [2, 3, 7, 1000])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_area_and_curve(levels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen, unseen = rng.integers(0, levels, 23) + levels / 5, rng.integers(0, levels, 31).astype(float)
    found = separation(seen, unseen, rates=(0.1,))
    assert found.auc.value == pytest.approx(slow_area(seen, unseen), abs=1e-12)
    labels = np.repeat([1, 0], [23, 31])
    assert found.auc.value == pytest.approx(roc_auc_score(labels, np.concatenate((seen, unseen))), abs=1e-12)
    false, true, _ = roc_curve(labels, np.concatenate((seen, unseen)), drop_intermediate=False)
    assert found.false_positive == pytest.approx(false)
    assert found.true_positive == pytest.approx(true)
    thresholds = np.unique(np.concatenate((seen, unseen, [np.inf])))
    best = max((seen >= t).mean() for t in thresholds if (unseen >= t).mean() <= 0.1)
    assert found.at[0.1] is not None
    assert found.at[0.1].value == pytest.approx(best)
    assert found.auc.low <= found.auc.value <= found.auc.high


def test_all_alike_is_one_half() -> None:
    found = separation([3.0] * 4, [3.0] * 7, rates=(0.5,))
    assert (found.auc.value, found.auc.low, found.auc.high) == (0.5, 0.5, 0.5)
    assert found.false_positive == (0.0, 1.0)
    assert found.true_positive == (0.0, 1.0)
    assert found.at[0.5] is not None
    assert found.at[0.5].value == 0.0  # whoever is above takes everybody along


def test_no_overlap_is_not_certainty() -> None:
    found = separation([2.0] * 20, [1.0] * 300)
    assert found.auc.value == 1.0
    assert found.auc.low == pytest.approx(0.05 ** (1 / 20))
    assert found.at[0.01] is not None
    assert found.at[0.01].value == 1.0
    assert found.at[0.01].low == pytest.approx(0.05 ** (1 / 20))


def test_one_image() -> None:
    found = separation([2.0], np.arange(10.0))
    assert found.auc.value == pytest.approx(0.25)
    assert found.auc.low <= 0.25 <= found.auc.high
    assert separation([99.0], np.arange(10.0)).auc.low == pytest.approx(0.05)


def test_rates_below_one_in_n_are_not_stated() -> None:
    assert (least_nonmembers(0.01), least_nonmembers(0.001)) == (100, 1000)
    rng = np.random.default_rng(0)
    assert separation(rng.normal(size=9), rng.normal(size=99)).at == {0.01: None, 0.001: None}
    found = separation(rng.normal(size=9), rng.normal(size=100)).at
    assert found[0.01] is not None
    assert found[0.001] is None


def test_intervals_cover() -> None:
    covered = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        auc = separation(rng.normal(1.0, 1, 40), rng.normal(0.0, 1, 60), rates=(), seed=seed).auc
        covered += auc.low <= 0.7602 <= auc.high  # Phi(1 / sqrt(2))
    assert covered >= 52


@pytest.mark.parametrize(("seen", "unseen"), [([], [1.0]), ([1.0], []), ([float("nan")], [1.0]), ([np.inf], [1.0])])
def test_what_cannot_be_ranked(seen: list[float], unseen: list[float]) -> None:
    with pytest.raises(UsageError, match="given"):
        separation(seen, unseen)
