"""Tails, chances and thresholds of samples whose distribution is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import genpareto, logistic

from forensics.calibration import (
    LEAST_QUERIES,
    Calibration,
    fit_tail,
    from_logit,
    logit,
    one_in,
    verbal,
)
from forensics.errors import UsageError


def sample(count: int, seed: int = 0) -> Calibration:
    scores = np.random.default_rng(seed).logistic(-5, 1, count)
    return Calibration(scores.tolist(), key={"index": "i"}, population="pictures")


@pytest.mark.parametrize("shape", [0.0, 0.2, 0.4])
def test_the_fit_finds_a_generalised_pareto_tail(shape: float) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        tail = genpareto.rvs(shape, scale=1.5, size=100, random_state=rng)
        fitted = fit_tail(np.r_[rng.uniform(-5, 0, 900), tail])
        found.append((fitted.shape, fitted.scale))
        assert fitted.above(fitted.start) == pytest.approx(0.1)
    assert np.mean(found, axis=0) == pytest.approx([shape, 1.5], abs=0.12)


def test_above_and_reached_by_are_inverse() -> None:
    for shape in (0.0, 0.3):
        tail = fit_tail(genpareto.rvs(shape, size=400, random_state=1))
        for rate in (0.05, 0.01, 0.001):
            assert tail.above(tail.reached_by(rate)) == pytest.approx(rate)


def test_no_sample_says_that_nothing_can_score_higher() -> None:
    """A tail that ends (uniform scores) is given one that does not."""
    tail = fit_tail(np.random.default_rng(0).uniform(0, 1, 500))
    assert tail.shape == 0
    assert tail.above(2.0) > 0


def test_the_stated_interval_holds_the_true_rate() -> None:
    held = 0
    for seed in range(100):
        calibration = sample(300, seed)
        belief = calibration.belief_at(0.01)
        chance = calibration.chance(belief)
        assert chance.value == pytest.approx(0.01)
        held += chance.low <= logistic.sf(logit(belief), -5, 1) <= chance.high
    assert held >= 93  # of 100: the level is 95 %


@pytest.mark.parametrize("rate", [0.3, 0.1, 0.05, 0.02, 0.005])
def test_the_share_that_passes_is_the_rate(rate: float) -> None:
    belief = sample(2000).belief_at(rate)
    fresh = np.random.default_rng(99).logistic(-5, 1, 100_000)
    assert (fresh >= logit(belief)).mean() == pytest.approx(rate, rel=0.35)


def test_where_nothing_was_seen_the_rule_of_three_bounds_everything() -> None:
    calibration = sample(300)
    chance = calibration.chance(1.0)
    assert (chance.seen, chance.of) == (0, 300)
    assert chance.high >= 1 - 0.05 ** (1 / 300)
    assert chance.low <= chance.value <= chance.high
    assert calibration.likelihood_ratio(1.0) <= 300 / 3 + 1
    assert verbal(calibration.likelihood_ratio(1.0)) in ("moderate support", "moderately strong support")


def test_chances_fall_with_belief_and_ratios_rise() -> None:
    calibration = sample(200)
    beliefs = np.linspace(0, 1, 60)
    chances = [calibration.chance(float(b)) for b in beliefs]
    assert all(a.value >= b.value - 1e-12 for a, b in itertools.pairwise(chances))
    assert chances[0].value == 1
    assert all(c.low <= c.value <= c.high for c in chances)


def test_queries_that_all_found_nothing_are_a_calibration_too() -> None:
    calibration = Calibration([logit(0.0)] * 80, key={}, population="x")
    assert calibration.chance(0.5).seen == 0
    assert calibration.chance(0.5).high == pytest.approx(1 - 0.05 ** (1 / 80))
    assert 0 < calibration.belief_at(0.05) < 0.01


def test_a_rate_beyond_the_sample_names_the_sample_that_it_needs() -> None:
    with pytest.raises(UsageError, match="--queries 1000"):
        sample(300).belief_at(0.001)
    for rate in (0, 1, -0.1, math.nan):
        with pytest.raises(UsageError, match="between 0 and 1"):
            sample(300).belief_at(rate)


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(UsageError, match="--background"):
        Calibration([0.0] * (LEAST_QUERIES - 1), key={}, population="x")


def test_what_was_written_is_read() -> None:
    calibration = sample(120)
    again = Calibration.from_dict(calibration.to_dict())
    assert again.key == {"index": "i"}
    assert again.chance(0.3).value == pytest.approx(calibration.chance(0.3).value, rel=1e-3)
    assert again.to_dict() == calibration.to_dict()


def test_words() -> None:
    assert [verbal(r) for r in (1, 2, 10, 100, 1e3, 1e4, 1e6)] == [
        "no support", "weak support", "moderate support", "moderately strong support", "strong support",
        "very strong support", "extremely strong support",
    ]  # fmt: skip
    assert (one_in(0.00025), one_in(0.03), one_in(1), one_in(0)) == ("1 in 4,000", "3 in 100", "all", "none")
    assert one_in(0.0033) == "1 in 300"


def test_logit_and_back() -> None:
    for belief in (0.001, 0.5, 0.97):
        assert from_logit(logit(belief)) == pytest.approx(belief)
    assert math.isfinite(logit(0))
    assert math.isfinite(logit(1))
