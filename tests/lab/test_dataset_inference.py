"""The collection's tests against enumeration and scipy; no effect gives uniform p-values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from forensics.errors import UsageError
from forensics.lab.dataset import aggregate, infer, permutation_p, welch_p


@pytest.mark.parametrize("values", [[3, 1, 4, 1, 5, 9, 2, 6], [0, 0, 1, 1, 1, 0, 0, 1], [2] * 8])
def test_permutations_against_every_assignment(values: list[float]) -> None:
    pooled = np.array(values, float)
    observed = pooled[:3].sum()
    exact = np.mean([pooled[list(c)].sum() >= observed - 1e-9 for c in itertools.combinations(range(8), 3)])
    assert permutation_p(pooled[:3], pooled[3:]) == pytest.approx(exact, abs=0.02)


def test_welch_is_scipys() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0.4, 2, 12), rng.normal(0, 1, 30)
    wanted = stats.ttest_ind(one, other, equal_var=False, alternative="greater").pvalue
    assert welch_p(one, other) == pytest.approx(wanted)
    assert welch_p(one[:1], other) is None
    assert welch_p(np.ones(3), np.ones(5)) is None


def test_aggregate_is_the_mean_normal_score() -> None:
    values = np.array([[10.0, 1], [20, 1], [30, 1], [30, 1]])
    ranks = np.array([1, 2, 3.5, 3.5])
    assert aggregate(values) == pytest.approx(stats.norm.ppf(ranks / 5) / 2)  # all of a column alike: 0 each


def test_nothing_there_is_uniform() -> None:
    rng = np.random.default_rng(1)
    pool = aggregate(rng.normal(size=(120, 3)) ** 3)
    p, welch = [], []
    for seed in range(100):
        found = np.random.default_rng(seed).permutation(pool)
        p.append(permutation_p(found[:30], found[30:], permutations=999, seed=seed))
        welch.append(welch_p(found[:30], found[30:]))
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert stats.kstest(welch, "uniform").pvalue > 0.01
    assert min(p) >= 1 / 1000


def test_a_collection_that_was_seen() -> None:
    rng = np.random.default_rng(2)
    names = ("loss", "min_k_plus_20", "zlib")
    seen = {name: rng.normal(0.8, 1, 60) for name in names}
    unseen = {name: rng.normal(0, 1, 200) for name in names}
    found = infer(seen, unseen)
    assert found.statistics == ("loss", "min_k_plus_20", "zlib")
    assert found.permutation_p == pytest.approx(1e-4)
    assert found.welch_p is not None
    assert found.welch_p < 1e-4
    assert found.difference > 0.5
    assert found.enough is not None
    assert 3 <= found.enough <= 30
    shares = {point.images: point.found for point in found.power}
    assert shares[2] < shares[20]
    assert shares[50] == 1.0
    assert all(point.false is None or point.false < 0.06 for point in found.power)
    assert list(shares) == sorted(shares)


def test_a_collection_that_was_not() -> None:
    rng = np.random.default_rng(3)
    found = infer({"loss": rng.normal(size=50)}, {"loss": rng.normal(size=200)})
    assert found.permutation_p > 0.01
    assert found.enough is None


def test_one_image() -> None:
    found = infer({"loss": np.array([5.0])}, {"loss": np.arange(4.0)})
    assert found.permutation_p == pytest.approx(1 / 5, abs=0.02)
    assert found.welch_p is None
    assert found.power == ()
    assert found.enough is None


def test_ties_everywhere() -> None:
    found = infer({"loss": np.ones(5)}, {"loss": np.ones(20)})
    assert found.permutation_p == 1.0
    assert found.welch_p is None
    assert found.difference == 0.0


def test_nothing_to_add_up() -> None:
    with pytest.raises(UsageError, match="measured on both sides"):
        infer({"slope": np.ones(3)}, {"slope": np.ones(3)})
    with pytest.raises(UsageError, match="0 suspects"):
        infer({"loss": np.ones(0)}, {"loss": np.ones(3)})
