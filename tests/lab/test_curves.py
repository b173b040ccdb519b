from __future__ import annotations

import pytest

from forensics.errors import UsageError
from forensics.lab.curves import CurvePoint, shortened, trend
from forensics.lab.intervals import Interval


def _points(*values: tuple[float, float, float, float]) -> list[CurvePoint]:
    return [
        CurvePoint(
            axis="steps", x=x, measure="extraction", level="64x",
            interval=Interval(value=value, low=low, high=high, count=10, method="exact"),
        )
        for x, value, low, high in values
    ]  # fmt: skip


def test_a_rise() -> None:
    found = trend(_points((100, 0.0, 0.0, 0.2), (300, 0.6, 0.3, 0.8), (200, 0.4, 0.2, 0.7)))
    assert found.tau == 1
    assert found.rises


def test_a_rise_within_chance_is_none() -> None:
    found = trend(_points((1, 0.4, 0.1, 0.7), (2, 0.5, 0.2, 0.8)))
    assert found.tau == 1
    assert not found.rises


def test_ties_and_falls() -> None:
    assert trend(_points((1, 0.5, 0.1, 0.9), (2, 0.5, 0.1, 0.9))).tau == 0
    assert trend(_points((1, 0.9, 0.8, 1.0), (2, 0.1, 0.0, 0.2))).tau == -1
    # values 0 0 1 over x 1 2 3: two pairs rise, one ties: tau-b = 2 / sqrt(3 * 2)
    assert trend(_points((1, 0, 0, 0.1), (2, 0, 0, 0.1), (3, 1, 0.9, 1))).tau == pytest.approx(2 / 6**0.5)


def test_one_point_or_two_curves_have_no_trend() -> None:
    with pytest.raises(UsageError):
        trend(_points((1, 0.5, 0.1, 0.9)))


@pytest.mark.parametrize(
    ("share", "words"), [(0, ""), (0.25, "ein"), (0.26, "ein Bild"), (0.5, "ein Bild"), (1, "ein Bild vom Hund")]
)
def test_captions_are_shortened_by_words(share: float, words: str) -> None:
    assert shortened("ein Bild  vom Hund", share) == words
    assert shortened("", share) == ""
    with pytest.raises(UsageError):
        shortened("ein", 1.5)
