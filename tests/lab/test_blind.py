"""The control finds what is there to find, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.lab.blind import blind_control, features, text_features
from forensics.lab.conclusions import about_images
from forensics.lab.roc import separation


def picture(rng: np.random.Generator, brighter: float = 0.0) -> np.ndarray:
    return np.clip(rng.normal(120 + brighter, 40, (32, 32, 3)), 0, 255).astype(np.uint8)


def described(seed: int, count: int, brighter: float = 0.0, size: int = 1000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [features(picture(rng, brighter), width=64, height=64, size=size, kind="PNG") for _ in range(count)]
    )


def test_a_random_split_is_not_called_biased() -> None:
    found = blind_control(described(1, 120), described(2, 120))
    assert found.auc is not None
    assert found.auc.low < 0.5 < found.auc.high or abs(found.auc.value - 0.5) < 0.1
    assert found.verdict.state != "biased"


@pytest.mark.parametrize("how", [{"brighter": 15.0}, {"size": 1400}])
def test_a_biased_split_is(how: dict[str, float]) -> None:
    found = blind_control(described(1, 60), described(2, 60, **how))  # type: ignore[arg-type]
    assert found.verdict.state == "biased"
    assert "means nothing" in found.verdict.sentence
    scores = separation(np.ones(60), np.zeros(60))
    assert about_images(scores, "loss", found) == [found.verdict.sentence]


def test_captions_betray_a_split() -> None:
    rng = np.random.default_rng(0)
    one = np.stack([text_features(f"кот номер {rng.integers(1000)}") for _ in range(40)])
    other = np.stack([text_features(f"A photo of cat {rng.integers(1000)}, 2023") for _ in range(40)])
    assert blind_control(one, other).verdict.state == "biased"


def test_sisters_do_not_help() -> None:
    """Pictures of one series lie on one side; who learns from a sister knows the side, and is kept from it."""
    rng = np.random.default_rng(5)
    series = rng.normal(size=(40, 30))
    values = np.repeat(series, 4, axis=0) + rng.normal(0, 0.05, (160, 30))
    groups = np.repeat(np.arange(40), 4)
    alone = blind_control(values[:80], values[80:])
    together = blind_control(values[:80], values[80:], groups=groups.tolist())
    assert alone.auc is not None
    assert together.auc is not None
    assert together.auc.value < alone.auc.value - 0.1


def test_too_few_say_nothing() -> None:
    found = blind_control(described(1, 19), described(2, 100))
    assert found.auc is None
    assert found.verdict.state == "unknown"
    assert "needs 20 images of each side (19 and 100" in found.verdict.sentence
    one_series = blind_control(described(1, 30), described(2, 30), groups=["a"] * 60)
    assert one_series.verdict.state == "unknown"


def test_wrong_input() -> None:
    with pytest.raises(UsageError, match="shape"):
        features(np.zeros((4, 4, 3), np.uint8), width=4, height=4, size=0, kind="")
    with pytest.raises(UsageError, match="3 groups given"):
        blind_control(described(1, 20), described(2, 20), groups=["a", "b", "c"])


def test_blank_pictures_are_described() -> None:
    blank = features(np.zeros((64, 64, 3), np.uint8), width=64, height=64, size=0, kind="GIF")
    assert np.isfinite(blank).all()
    assert len(text_features("")) == len(text_features("кот в сапогах"))
