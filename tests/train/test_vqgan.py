"""The VQGAN's recipe: its codes are the nearest ones, its loss falls, its phases resume."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forensics.errors import UsageError
from forensics.train import vqgan as recipe
from forensics.train.config import read_config, shipped_config
from forensics.train.loop import LoopConfig

TINY = recipe.VqganTraining(
    pixels=16,
    crop=8,
    squared=4.0,
    absolute=1.0,
    gradient=1.0,
    model=recipe.Sizes(codes=32, embed_dim=8, latent=32, channels=32, multipliers=(1, 1), blocks=1),
    autoencoder=LoopConfig(steps=30, batch=8, lr=3e-3, seed=1, log_every=10),
    codes=LoopConfig(steps=30, batch=8, lr=2e-3, seed=2, log_every=10, schedule="constant"),
    pictures=LoopConfig(steps=10, batch=4, lr=1e-3, seed=3, log_every=5),
)


def pictures(count: int = 24) -> torch.Tensor:
    """Return discs and bars in a few colours on white."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:16, 0:16]
    made = np.full((count, 16, 16, 3), 255, np.uint8)
    for image in made:
        colour = rng.integers(0, 200, 3)
        x, y, size = rng.integers(4, 12, 3)
        image[(rows - y) ** 2 + (columns - x) ** 2 < (size / 2) ** 2] = colour
    return torch.from_numpy(made).permute(0, 3, 1, 2)


def test_the_exported_projection_chooses_the_nearest_code() -> None:
    torch.manual_seed(0)
    model = recipe._Codec(TINY.config)
    latents = model.encode(pictures().float() / 127.5 - 1).detach()
    model.place_codes(latents.permute(0, 2, 3, 1).reshape(-1, 8), seed=0)
    flat = latents.permute(0, 2, 3, 1).reshape(-1, 8)
    wanted = torch.cdist(flat, model.codes).argmin(1)
    codes, index = model.nearest(latents)
    assert torch.equal(index, wanted)
    assert torch.equal(codes.permute(0, 2, 3, 1).reshape(-1, 8), model.codes[wanted])
    exported = model.exported()
    assert torch.equal(exported.encode(pictures().float() / 255).reshape(-1), wanted)


def test_codes_follow_their_latents_and_idle_ones_move() -> None:
    model = recipe._Codec(TINY.config)
    model.codes.normal_()
    model.sums.copy_(model.codes)
    model.counts[:] = 1.0
    model.counts[5] = 0.0
    model.sums[5] = 0.0
    latents = torch.randn(2, 8, 4, 4)
    _, index = model.nearest(latents)
    before, error = model.codes.clone(), lambda: (model.nearest(latents)[0] - latents).square().mean()
    first = error()
    for _ in range(300):
        model.follow(latents, model.nearest(latents)[1], torch.Generator().manual_seed(0))
    assert error() < 0.5 * first
    assert not torch.equal(model.codes[5], before[5])
    assert len(index) == 32


def test_training_learns_and_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    images = pictures()
    whole, facts = recipe.train_vqgan(TINY, images, tmp_path / "whole")
    assert "dB" in facts["PSNR"]
    untrained = recipe._Codec(TINY.config).exported()
    assert recipe.psnr(whole, images) > recipe.psnr(untrained, images) + 3
    curve = np.genfromtxt(tmp_path / "whole" / "codes" / "losses.csv", delimiter=",", names=True)
    assert curve["total"][-1] < curve["total"][0]

    def stop(stage: str, done: int, total: int | None) -> None:
        if stage.endswith("codes") and done == 17:
            raise KeyboardInterrupt

    parted = tmp_path / "parted"
    short = replace(TINY, codes=replace(TINY.codes, save_every_seconds=1e-9))
    with pytest.raises(KeyboardInterrupt):
        recipe.train_vqgan(short, images, parted, progress=stop)
    again, _ = recipe.train_vqgan(short, images, parted)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_the_shipped_configuration_is_of_the_shipped_sizes() -> None:
    training = read_config(shipped_config("vqgan"), recipe.VqganTraining)
    assert training.config.factor == 4
    assert training.pixels // training.config.factor == 16
    short = read_config(shipped_config("vqgan"), recipe.VqganTraining, short=True)
    assert short.codes.steps < training.codes.steps


@pytest.mark.parametrize(
    ("images", "given"),
    [
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), r"\(4, 3, 8, 8\)"),
        (torch.zeros(4, 3, 16, 16), "torch.float32"),
    ],
)
def test_other_images_are_refused(images: torch.Tensor, given: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=given):
        recipe.train_vqgan(TINY, images, tmp_path)


def test_a_crop_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="crop 20 given"):
        replace(TINY, crop=20)
    with pytest.raises(UsageError, match="crop 7 given"):
        replace(TINY, crop=7)
