"""Rates and intervals against known values and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from forensics.metrics import beta_quantile, clopper_pearson, rate, student_quantile, wilson


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (7, 1000), (500, 1000), (10, 10), (37, 100_000), (2.5, 60.25)])
def test_clopper_pearson_equals_scipy(k: float, n: float) -> None:
    low, high = clopper_pearson(k, n)
    assert low == pytest.approx(0.0 if k == 0 else stats.beta(k, n - k + 1).ppf(0.025), abs=1e-9)
    assert high == pytest.approx(1.0 if k == n else stats.beta(k + 1, n - k).ppf(0.975), abs=1e-9)


def test_wilson_known_value() -> None:
    # Brown, Cai and DasGupta (2001) style check against scipy
    for k, n in [(0, 10), (3, 20), (20, 20), (150, 2000)]:
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("nu", [1, 2, 4, 30, 99_999])
def test_student_quantile_equals_scipy(nu: int) -> None:
    assert student_quantile(0.975, nu) == pytest.approx(stats.t(nu).ppf(0.975), rel=1e-6)


def test_beta_quantile_inverts_the_incomplete_beta() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b, q = 10 ** rng.uniform(-0.5, 4), 10 ** rng.uniform(-0.5, 4), rng.uniform(0.001, 0.999)
        assert special.betainc(a, b, beta_quantile(q, a, b)) == pytest.approx(q, abs=1e-7)


def test_no_hits_give_the_rule_of_three() -> None:
    found = rate([False] * 1000)
    assert (found.value, found.low, found.method) == (0.0, 0.0, "zero")
    assert found.high == pytest.approx(3 / 1000, rel=0.01)


def test_no_hits_count_each_prompt_once() -> None:
    found = rate([False] * 1000, [i // 10 for i in range(1000)])
    assert found.high == pytest.approx(3 / 100, rel=0.02)
    assert found.clusters == 100


def test_only_hits_bound_from_below() -> None:
    found = rate([True] * 50)
    assert (found.high, found.method) == (1.0, "all")
    assert found.low == pytest.approx(0.05 ** (1 / 50))


def test_nothing_searched_says_nothing() -> None:
    found = rate([])
    assert (found.low, found.high, found.method) == (0.0, 1.0, "none")


def test_prompts_of_one_image_are_no_clusters() -> None:
    hits = [i % 7 == 0 for i in range(100)]
    assert rate(hits, list(range(100))) == rate(hits)


def test_copies_of_one_prompt_widen_the_interval() -> None:
    hits = [i < 20 for i in range(200)]
    together = rate(hits, [i // 10 for i in range(200)])
    spread = rate(hits, [i % 20 for i in range(200)])
    alone = rate(hits)
    assert together.value == spread.value == alone.value
    assert together.low < alone.low < alone.high < together.high
    assert together.effective < 25
    # one hit in every prompt is more even than chance; the number of images is never exceeded
    assert spread.effective <= 200


def test_a_single_prompt_says_almost_nothing() -> None:
    found = rate([True, False, False, False], ["a"] * 4)
    assert found.effective == 1.0
    assert found.low < 0.01
    assert found.high > 0.9


def test_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    hits, clusters = rng.random(60) < 0.2, rng.integers(0, 12, 60)
    order = rng.permutation(60)
    first = rate(hits.tolist(), clusters.tolist())
    assert first == rate(hits[order].tolist(), clusters[order].tolist())


def test_clustered_interval_holds_its_level_where_the_plain_one_fails() -> None:
    """80 prompts of 8 images, copies come in runs: the true rate lies inside in about 95 % of the draws."""
    rng = np.random.default_rng(2)
    inside = {"clustered": 0, "plain": 0}
    clusters = [i // 8 for i in range(640)]
    for _ in range(100):
        share = rng.beta(0.15, 1.35, 80)  # mean 0.1, strongly alike within a prompt
        hits = (rng.random((80, 8)) < share[:, None]).ravel().tolist()
        found, plain = rate(hits, clusters), rate(hits)
        inside["clustered"] += found.low <= 0.1 <= found.high
        inside["plain"] += plain.low <= 0.1 <= plain.high
    assert inside["clustered"] >= 0.90 * 100
    assert inside["plain"] < 0.80 * 100


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0])
def test_bad_levels_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        rate([True], level=level)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one cluster an image"):
        rate([True, False], ["a"])
    with pytest.raises(ValueError, match="0 <= k <= n"):
        clopper_pearson(3, 2)
