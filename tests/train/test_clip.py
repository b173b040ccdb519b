"""Training CLIP, small: pictures find their captions, and the folder is read by the embedder and the scorer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forensics import embed
from forensics.embed.clip_models import bpe_ids
from forensics.errors import UsageError, WeightsError
from forensics.generate.ranking import open_scorer
from forensics.train.clip import ClipSizes, ClipTraining, augment, retrieval, save_clip, train_clip
from forensics.train.loop import LoopConfig
from forensics.train.tokenizer import TokenizerTraining, learn_bpe
from tests.train.worlds import captions, pixels

SIZES = ClipSizes(
    embed_dim=16,
    image_side=16,
    patch=4,
    image_width=32,
    image_layers=2,
    image_head=16,
    text_width=32,
    text_layers=1,
    text_heads=2,
    text_length=8,
)
TRAINING = ClipTraining(
    loop=LoopConfig(steps=150, batch=8, lr=3e-3, warmup=10, seed=1, log_every=30, weight_decay=0.1),
    model=SIZES,
    pixels=20,
    word_dropout=0.0,
    tint=0.05,
)
TEXTS = [" ".join(words) for words in captions()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("clip")
    bpe = learn_bpe(TEXTS, TokenizerTraining(vocabulary=60))
    bpe.save(where / "bpe.model")
    model, trained = train_clip(TRAINING, pixels(20), TEXTS, bpe.tokenizer, where / "run")
    rows = [row.split(",") for row in (where / "run/losses.csv").read_text().splitlines()]
    assert rows[0] == ["step", "seconds", "lr", "total", "right"]
    assert trained.losses["total"] < 0.5 * float(rows[1][3])
    found = retrieval(model, SIZES, bpe.tokenizer, pixels(20), TEXTS)
    assert found == {"pairs": 8.0, "captions": 8.0, "first": 1.0, "first_five": 1.0}
    save_clip(model, SIZES, where / "bpe.model", where / "clip", about={"licence": "none"})
    return where / "clip"


def test_the_folder_is_an_embedder_named_after_its_bytes(folder: Path) -> None:
    embedder = embed.create(f"clip:@{folder}")
    assert embedder.spec.dim == 16
    assert embedder.spec.name.startswith("clip:@sha256-")
    assert "16x16 (squashed)" in embedder.spec.preprocessing
    again = embed.create(embedder.spec.name)
    assert again.spec == embedder.spec
    assert embedder.spec.weights_licence == "none", "as the folder states it"
    assert (folder / "open_clip_model.safetensors").stat().st_mode & 0o777 == 0o644
    rows = [each.embed([each.prepare(image) for image in pixels(32)]) for each in (embedder, again)]
    assert rows[0].shape == (8, 16)
    assert np.array_equal(rows[0], rows[1])
    assert json.loads((folder / "open_clip_config.json").read_text("utf-8"))["about"] == {"licence": "none"}


def test_the_folder_scores_pictures_by_their_captions(folder: Path) -> None:
    scorer = open_scorer(f"clip:@{folder}", device="cpu")
    images = list(pixels(32))
    scores = np.stack([scorer.score(images, [text] * len(images)) for text in TEXTS], axis=1)
    assert scores.shape == (8, 8)
    assert np.array_equal(scores.argmax(1), np.arange(8))


def test_a_text_that_is_cut_keeps_its_end(folder: Path) -> None:
    from forensics.bpe import Tokenizer

    tokenizer = Tokenizer.open(folder / "bpe.model")
    ids = bpe_ids(tokenizer, ["круг", "зелёный круг " * 9], 8)
    assert ids[0, 0] == ids[1, 0] == 2
    assert ids[1, -1] == 3
    assert (ids[0] == 3).sum() == 1
    assert ids[0, -1] == 0


def test_a_folder_that_is_none_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no open_clip_model\.safetensors"):
        embed.create(f"clip:@{tmp_path}")
    (tmp_path / "open_clip_model.safetensors").write_bytes((folder / "open_clip_model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=r"has no open_clip_config\.json that can be read"):
        embed.create(f"clip:@{tmp_path}")


def test_crops_differ_by_chance_alone_and_stay_within_the_picture() -> None:
    images = torch.from_numpy(pixels(20)).permute(0, 3, 1, 2)
    first, again, other = (augment(images, TRAINING, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == (8, 3, 16, 16)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    whole = replace(TRAINING, smallest_crop=1.0, tint=0.0)
    ramp = torch.arange(20, dtype=torch.uint8)[None, None, None, :].expand(40, 3, 20, 20) * 10
    seen = augment(ramp, whole, torch.Generator().manual_seed(0))
    rising = seen[:, 0, 0].diff(dim=1).sign()
    directions = {int(row[0]) for row in rising}
    assert directions == {-1, 1}  # mirrored or not
    assert all(torch.all(row == row[0]) for row in rising)  # and nothing but that


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    from forensics.bpe import Tokenizer

    tokenizer = Tokenizer.open(folder / "bpe.model")
    with pytest.raises(UsageError, match="8 images and 1 captions given"):
        train_clip(TRAINING, pixels(20), ["круг"], tokenizer, tmp_path)
    with pytest.raises(UsageError, match="word_dropout 1, tint"):
        replace(TRAINING, word_dropout=1)
