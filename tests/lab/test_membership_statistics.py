"""Each statistic against what can be written down by hand, on a bigram table."""

from __future__ import annotations

import itertools
import math
import zlib

import numpy as np
import pytest

from forensics.errors import UsageError
from forensics.lab.membership import MIN_K, STATISTICS, Answers, false_positive_share, statistics
from forensics.testing.bigram import BigramModel

TABLE = [[0.9, 0.1], [0.25, 0.75]]
TOLD = {"кот": [[0.99, 0.01], [0.01, 0.99]]}


def asked(tokens: list[list[int]], caption: str = "", **more: object) -> Answers:
    model = BigramModel(TABLE, side=2, captioned=TOLD)
    given = np.array(tokens)

    def stacked(words: str) -> np.ndarray:
        found = model.log_probabilities(given, [words] * len(given))
        return np.stack((found.log_probability, found.mean, found.deviation))

    return Answers(
        tokens=given,
        empty=stacked(""),
        captioned=stacked(caption) if caption else None,
        **more,  # type: ignore[arg-type]
    )


def test_the_model_is_a_distribution() -> None:
    model = BigramModel(TABLE, start=[0.3, 0.7], side=2)
    every = np.array(list(itertools.product(range(2), repeat=4)))
    total = np.exp(model.log_probabilities(every, [""] * 16).log_probability.astype(float).sum(1)).sum()
    assert total == pytest.approx(1, abs=1e-6)


def test_loss_and_min_k() -> None:
    found = statistics(asked([[0, 0, 1, 1]]))
    places = [math.log(0.5), math.log(0.9), math.log(0.1), math.log(0.75)]
    assert found["loss"] == pytest.approx([sum(places) / 4], abs=1e-6)
    assert found["min_k_10"] == pytest.approx([math.log(0.1)], abs=1e-6)  # a tenth of four tokens is one
    assert found["min_k_50"] == pytest.approx([(math.log(0.1) + math.log(0.5)) / 2], abs=1e-6)
    assert "caption_ratio" not in found
    assert "neighbourhood" not in found


def test_min_k_plus_is_each_token_against_its_place() -> None:
    found = statistics(asked([[0, 0, 1, 1]]))
    scores = []
    for chances, token in (((0.5, 0.5), 0), ((0.9, 0.1), 0), ((0.9, 0.1), 1), ((0.25, 0.75), 1)):
        mean = sum(p * math.log(p) for p in chances)
        spread = math.sqrt(sum(p * (math.log(p) - mean) ** 2 for p in chances))
        scores.append((math.log(chances[token]) - mean) / spread if spread > 1e-6 else 0.0)
    assert scores[0] == 0.0  # both tokens alike: nothing to be surprised at
    assert found["min_k_plus_10"] == pytest.approx([min(scores)], abs=1e-4)
    assert found["min_k_plus_50"] == pytest.approx([sum(sorted(scores)[:2]) / 2], abs=1e-4)


def test_ties_among_tokens_change_nothing() -> None:
    found = statistics(asked([[0, 0, 0, 0], [0, 0, 0, 0]]))
    for name in found:
        assert found[name][0] == found[name][1]
    assert found["min_k_50"] == pytest.approx([(math.log(0.5) + math.log(0.9)) / 2] * 2, abs=1e-6)


def test_caption_ratio_zlib_slope_neighbourhood() -> None:
    tokens = [[0, 0, 0, 0], [0, 1, 0, 1]]
    found = statistics(asked(tokens, "кот", neighbours=np.array([[-1.0, -2.0], [-3.0, -3.0]], np.float32)))
    told = np.array([[0.5, 0.99, 0.99, 0.99], [0.5, 0.01, 0.01, 0.01]])
    plain = np.array([[0.5, 0.9, 0.9, 0.9], [0.5, 0.1, 0.25, 0.1]])
    loss, empty = np.log(told).mean(1), np.log(plain).mean(1)
    assert found["loss"] == pytest.approx(loss, abs=1e-6)
    assert found["loss_empty"] == pytest.approx(empty, abs=1e-6)
    assert found["caption_ratio"] == pytest.approx(-loss / empty, abs=1e-5)
    sizes = [len(zlib.compress(np.array(row, "<u2").tobytes(), 9)) for row in tokens]
    assert found["zlib"] == pytest.approx(loss / sizes, abs=1e-6)
    assert found["neighbourhood"] == pytest.approx(loss - [-1.5, -3.0], abs=1e-6)
    slopes = [np.polyfit(np.linspace(0, 1, 4), np.log(row), 1)[0] for row in told]
    assert found["slope"] == pytest.approx(slopes, abs=1e-5)
    assert found["slope"][0] > 0 > found["slope"][1]
    assert list(found) == [name for name in STATISTICS if name in found] == list(STATISTICS)


def test_the_first_token_may_be_no_evidence() -> None:
    whole, later = (statistics(asked([[0, 0, 1, 1]]), first=first) for first in (0, 1))
    assert later["loss"] == pytest.approx([np.log([0.9, 0.1, 0.75]).mean()], abs=1e-6)
    assert whole["loss"] != pytest.approx(later["loss"])


def test_certain_models_give_finite_scores() -> None:
    zero = np.zeros((3, 2, 4), np.float32)
    found = statistics(Answers(tokens=np.zeros((2, 4), np.int64), empty=zero, captioned=zero))
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["min_k_plus_20"].tolist() == [0, 0]
    assert found["caption_ratio"].tolist() == [0, 0]


def test_k_grows_the_mean() -> None:
    found = statistics(asked([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]]))
    for less, more in itertools.pairwise(MIN_K):
        assert (found[f"min_k_{less}"] <= found[f"min_k_{more}"] + 1e-12).all()


def test_p_values_count_ties_and_the_item_itself() -> None:
    p = false_positive_share(np.array([5.0, 2.0, 1.0, 0.0]), np.array([1.0, 2.0, 2.0, 3.0]))
    assert p.tolist() == pytest.approx([1 / 5, 4 / 5, 5 / 5, 5 / 5])


@pytest.mark.parametrize(
    ("tokens", "empty"),
    [(np.zeros((2, 1), np.int64), np.zeros((3, 2, 1))), (np.zeros((2, 4), np.int64), np.zeros((3, 1, 4)))],
)
def test_wrong_shapes(tokens: np.ndarray, empty: np.ndarray) -> None:
    with pytest.raises(UsageError, match="given"):
        Answers(tokens=tokens, empty=empty.astype(np.float32))


def test_wrong_first() -> None:
    with pytest.raises(UsageError, match="first token 3 given, 0 to 2"):
        statistics(asked([[0, 0, 1, 1]]), first=3)
