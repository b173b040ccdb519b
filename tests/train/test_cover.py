"""Training the cover detector, tiny: samples are functions of their number, a head learns, the file says the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

from forensics.detect.cover_layout import measure_layout
from forensics.detect.cover_network import CLASSES, VIEWS, CoverModel, views
from forensics.errors import SourceError, UsageError, WeightsError
from forensics.render.lettering import Lettering
from forensics.render.mockups import SUBTYPES
from forensics.train.config import read_config, shipped_config
from forensics.train.cover import (
    CoverFeatures,
    CoverHead,
    CoverNetwork,
    CoverTraining,
    average_precision,
    chances,
    cover_features,
    cover_threshold,
    feature_function,
    save_cover,
    train_head,
)
from forensics.train.cover_samples import CoverSample, Pool, Recipe, cover_sample, read_pool
from forensics.train.efficientnet_lite import LEVELS, efficientnet_lite0
from forensics.train.loop import LoopConfig

if TYPE_CHECKING:
    from forensics.train.cover import FeatureFunction

RECIPE = Recipe(smallest=64, largest=128)
LETTERS = Lettering()
TRAINING = CoverTraining(
    loop=LoopConfig(steps=60, batch=12, lr=3e-3, warmup=5, seed=2, log_every=20, weight_decay=0.05),
    samples=24,
    held_out=12,
    hidden=16,
    dropout=0.1,
)


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(0)
    coarse = [rng.integers(0, 256, (4, 6, 3)).astype(np.uint8) for _ in range(6)]
    shown = tuple(np.asarray(Image.fromarray(each).resize((96, 64), Image.Resampling.BICUBIC)) for each in coarse)
    return Pool(folders=(shown[:3], shown[3:]))


@pytest.fixture(scope="module")
def network() -> CoverNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CoverNetwork(efficientnet_lite0(pretrained=False)).eval()


def samples(pool: Pool, count: int) -> Iterator[CoverSample]:
    return (cover_sample(number, pool, LETTERS, RECIPE, seed=5) for number in range(count))


def eager(network: CoverNetwork) -> FeatureFunction:
    def function(pixels: np.ndarray, layouts: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network.features(torch.from_numpy(pixels), torch.from_numpy(layouts)).numpy()

    return function


@pytest.fixture(scope="module")
def features(pool: Pool, network: CoverNetwork) -> CoverFeatures:
    return cover_features(eager(network), samples(pool, 24), count=24)


def test_a_sample_is_a_function_of_its_number(pool: Pool) -> None:
    drawn = list(samples(pool, 40))
    again = cover_sample(7, pool, LETTERS, RECIPE, seed=5)
    assert np.array_equal(drawn[7].image, again.image)
    assert (drawn[7].label, drawn[7].what, drawn[7].spoilt) == (again.label, again.what, again.spoilt)
    assert not np.array_equal(again.image, cover_sample(7, pool, LETTERS, RECIPE, seed=6).image)
    kinds = {sample.what for sample in drawn}
    assert set(SUBTYPES) <= kinds
    assert len(kinds) > 6
    assert all((CLASSES[sample.label] == sample.what) == (sample.label > 0) for sample in drawn)
    for covers in (True, False):  # spoiling must not tell the one from the other
        spoilt = [bool(sample.spoilt) for sample in drawn if (sample.label > 0) == covers]
        assert 0.2 < np.mean(spoilt) < 0.9


def test_codes_are_asked_for_where_there_are_some(pool: Pool) -> None:
    recipe = replace(RECIPE, spoilt=1.0, repainted=1.0)
    made = cover_sample(0, pool, LETTERS, recipe, seed=5, repaint=lambda image: 255 - image)
    assert made.spoilt == "codes"
    assert made.image.shape == (128, 128, 3)


def test_a_pool_reads_folders_and_leaves_covers_out(tmp_path: Path, pool: Pool) -> None:
    for name in ("a", "b", "c", "d", "e", "f", "g", "my_book", "cd-icon"):
        Image.fromarray(pool.folders[0][0]).resize((700, 400)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    parts = [read_pool([tmp_path], held_out=held_out).folders[0] for held_out in (False, True)]
    assert sum(len(part) for part in parts) == 7
    assert all(max(picture.shape) == 320 for part in parts for picture in part)
    with pytest.raises(SourceError, match="no folder"):
        read_pool([tmp_path / "none"], held_out=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no picture that can be read"):
        read_pool([tmp_path / "empty"], held_out=False)


def test_features_are_kept_and_are_those_of_the_same_samples(tmp_path: Path, features: CoverFeatures) -> None:
    features.save(tmp_path / "f.safetensors", made_from="these")
    kept = CoverFeatures.load(tmp_path / "f.safetensors", made_from="these")
    assert kept is not None
    assert np.array_equal(kept.values, features.values)
    assert np.array_equal(kept.labels, features.labels)
    assert kept.what == features.what
    assert CoverFeatures.load(tmp_path / "f.safetensors", made_from="others") is None
    assert CoverFeatures.load(tmp_path / "missing.safetensors", made_from="these") is None


def test_a_head_learns_is_written_and_says_the_same(
    tmp_path: Path, pool: Pool, network: CoverNetwork, features: CoverFeatures
) -> None:
    head, trained = train_head(TRAINING, features, tmp_path / "run")
    rows = (tmp_path / "run/losses.csv").read_text().splitlines()
    assert rows[0].split(",")[-4:] == ["total", "plain", "deep", "right"]
    assert trained.losses["right"] > 0.9
    again, _ = train_head(TRAINING, features, tmp_path / "again")
    assert torch.equal(head.out.weight, again.out.weight)
    with pytest.raises(UsageError, match="another folder"):
        train_head(replace(TRAINING, hidden=8), features, tmp_path / "run")

    chance = chances(head, features)
    assert (chance.argmax(1) == features.labels).mean() > 0.9
    whole = CoverNetwork(network.backbone, head)
    path = save_cover(whole, tmp_path / "out", about={"licence": "none"})
    about = json.loads((tmp_path / "out/cover.json").read_text("utf-8"))
    model = CoverModel(path, threads=1)
    assert about["sha256"] == model.sha256
    assert about["classes"] == list(CLASSES)
    drawn = list(samples(pool, 3))
    said = model.chances(
        [views(sample.image) for sample in drawn], [measure_layout(sample.image).vector() for sample in drawn]
    )
    asked = cover_features(eager(network), samples(pool, 3), count=3, view=views)
    assert asked.values.shape[:2] == (3, VIEWS)
    assert np.allclose(said, chances(head, asked), atol=0.03), "weights in half precision"


def test_features_on_onnx_runtime_are_those_of_torch(
    tmp_path: Path, pool: Pool, network: CoverNetwork, features: CoverFeatures
) -> None:
    made = cover_features(feature_function(network, tmp_path / "f.onnx"), samples(pool, 4), count=4)
    assert np.allclose(made.values, features.values[:4], atol=0.02 * np.abs(features.values).max())
    assert np.array_equal(made.labels, features.labels[:4])


def test_a_network_without_a_head_says_so(network: CoverNetwork) -> None:
    with pytest.raises(UsageError, match="without a head"):
        network(torch.zeros((1, 224, 224, 3), dtype=torch.uint8), torch.zeros((1, 25)))


def test_precision_and_threshold_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(3)
    score = rng.integers(0, 30, 200).astype(np.float32) / 30
    is_cover = rng.random(200) < score
    assert np.isclose(average_precision(score, is_cover), average_precision_score(is_cover, score))
    for share in (0.01, 0.1, 0.5):
        threshold = cover_threshold(score, is_cover, false_alarms=share)
        assert (score[~is_cover] >= threshold).mean() <= share
    assert average_precision(score, np.zeros(200, bool)) == 0
    with pytest.raises(UsageError, match="held-out sample"):
        cover_threshold(score, np.ones(200, bool), false_alarms=0.01)


def test_the_shipped_configuration_is_read() -> None:
    long, short = (read_config(shipped_config("cover"), CoverTraining, short=short) for short in (False, True))
    assert short.samples < long.samples
    assert short.recipe == long.recipe
    with pytest.raises(UsageError, match="dropout 1"):
        replace(long, dropout=1.0)


def test_the_backbone_gives_levels_and_refuses_other_weights(tmp_path: Path) -> None:
    maps = efficientnet_lite0(levels=True, pretrained=False)
    with torch.inference_mode():
        made = maps(torch.zeros((1, 3, 64, 64)))
    assert [(64 // each.shape[2], each.shape[1]) for each in made] == list(LEVELS)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="another network"):
        efficientnet_lite0(weights=tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot be read"):
        efficientnet_lite0(weights=tmp_path / "broken.pth")


def test_a_head_ignores_what_training_never_saw() -> None:
    head = CoverHead(4, hidden=3, dropout=0.0).eval()
    head.fit_scale(torch.tensor([[0.0, 1, 2, 3], [1, 2, 3, 3]]))
    with torch.inference_mode():
        far, farther = (head(torch.tensor([[value, 1, 2, 3.0]])) for value in (100.0, 1e6))
    assert torch.equal(far, farther)
