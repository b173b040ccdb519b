from __future__ import annotations

import numpy as np
import pytest

from forensics.lab.intervals import at_least_one_interval, mean_interval, share_interval
from forensics.metrics import clopper_pearson


def test_a_share_has_the_exact_interval() -> None:
    found = share_interval([True, False, True, True])
    assert (found.value, found.count, found.method) == (0.75, 4, "exact")
    assert (found.low, found.high) == pytest.approx(clopper_pearson(3, 4))


def test_a_mean_of_zeros_and_ones_is_a_share() -> None:
    assert mean_interval([1, 0, 0, 0]) == share_interval([True, False, False, False])
    assert mean_interval([0, 0, 0]).high == pytest.approx(1 - 0.05 ** (1 / 3))


def test_nothing_is_known_of_nothing() -> None:
    for found in (mean_interval([]), share_interval([]), mean_interval([np.nan])):
        assert found.count == 0
        assert np.isnan([found.value, found.low, found.high]).all()


def test_the_bootstrap_covers() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        found = mean_interval(rng.beta(2, 3, 30), seed=trial)
        covered += found.low <= 0.4 <= found.high
    assert covered >= 180  # 95 % of 200 is 190; less than 180 has a chance of 1 in 500


def test_one_of_several_draws() -> None:
    low, high = at_least_one_interval(0, 10, 5)
    assert low == 0
    assert high == pytest.approx(1 - (1 - clopper_pearson(0, 10)[1]) ** 5)
    assert at_least_one_interval(10, 10, 5)[1] == 1
