"""Pixels in and out: VQGAN, upscaling, ruCLIP, with random networks of their own."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import pywt
import torch
from spandrel.architectures.ESRGAN import ESRGAN

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.ruclip import RuClip, RuClipConfig, RuClipNet
from forensics.generate.rudalle.upscale import Upscaler
from forensics.generate.rudalle.vqgan import Vqgan, inverse_haar
from tests.generate.rudalle.golden import far
from tests.generate.rudalle.models import VQGAN

CLIP = RuClipConfig(
    embed_dim=12, image_resolution=32, vision_layers=2, vision_width=64, vision_patch_size=8,
    context_length=8, vocab_size=12, transformer_width=32, transformer_heads=2, transformer_layers=2,
)  # fmt: skip
BPE = "5 3\n9601 4\n1072 5\n1073 6\n1074 7\n1075 8\n5 6 9\n4 9 10\n9 9 11\n1 0 2 3\n"


def test_inverse_haar_is_the_wavelet_transform_s() -> None:
    bands = torch.randn(2, 12, 5, 7, generator=torch.Generator().manual_seed(0))
    found = inverse_haar(bands)
    for image, parts in zip(found, bands.numpy(), strict=True):
        for channel in range(3):
            details = tuple(parts[3 + 3 * channel : 6 + 3 * channel])
            wanted = torch.from_numpy(pywt.idwt2((parts[channel], details), "db1"))
            assert far(image[channel], wanted) < 1e-5


@pytest.mark.parametrize(("dwt", "times"), [(False, 4), (True, 8)])
def test_vqgan_takes_any_size(dwt: bool, times: int) -> None:
    torch.manual_seed(0)
    model = Vqgan(replace(VQGAN, dwt=dwt)).eval()
    codes = model.encode(torch.rand(2, 3, 20, 36))
    assert codes.shape == (2, 5, 9)
    assert codes.dtype == torch.int64
    image = model.decode(codes)
    assert image.shape == (2, 3, 5 * times, 9 * times)
    assert 0 <= image.min() < image.max() <= 1
    square = torch.randint(24, (1, 16))
    assert torch.equal(model.decode(square), model.decode(square.reshape(1, 4, 4)))
    assert model.bfloat16().decode(codes).dtype == torch.float32


def test_vqgan_refuses_what_it_cannot_take() -> None:
    model = Vqgan(VQGAN).eval()
    with pytest.raises(UsageError, match="in multiples of 4 accepted"):
        model.encode(torch.rand(1, 3, 20, 30))
    with pytest.raises(UsageError, match="15 codes an image given"):
        model.decode(torch.zeros((1, 15), dtype=torch.int64))
    with pytest.raises(UsageError, match="of 0 to 23 accepted"):
        model.decode(torch.full((1, 4, 4), 24))


@pytest.fixture(scope="module")
def esrgan(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Networks with one block; the state dict's names are those that spandrel reads besides the published ones."""
    torch.manual_seed(0)
    paths = {}
    for factor in (2, 4):
        net = ESRGAN(num_filters=8, num_blocks=1, scale=factor, shuffle_factor=2 if factor == 2 else None, in_nc=3)
        paths[factor] = tmp_path_factory.mktemp("esrgan") / f"x{factor}.pth"
        torch.save({"params_ema": net.state_dict()}, paths[factor])
    return paths


@pytest.mark.parametrize("factor", [2, 4])
def test_tiles_equal_the_whole(esrgan: dict[int, Path], factor: int) -> None:
    upscaler = Upscaler(esrgan[factor])
    assert upscaler.factor == factor
    image = torch.rand(1, 3, 75, 54, generator=torch.Generator().manual_seed(1))
    whole = upscaler.upscale(image, tile=0, clamp=False)
    assert whole.shape == (1, 3, 75 * factor, 54 * factor)
    calls: list[int] = []
    tiled = upscaler.upscale(image, tile=24, margin=36, clamp=False, progress=lambda _, done, total: calls.append(done))
    assert far(tiled, whole) < 1e-5
    assert calls == list(range(1, 13))
    bare = upscaler.upscale(image, tile=24, margin=0, clamp=False)
    assert far(bare, whole) > 1e-4  # the margin is what makes them equal
    assert upscaler.upscale(image).max() <= 1


def test_upscaling_odd_sizes(esrgan: dict[int, Path]) -> None:
    for height, width in ((1, 1), (1, 9), (7, 2)):
        assert Upscaler(esrgan[2]).upscale(torch.rand(2, 3, height, width)).shape == (2, 3, 2 * height, 2 * width)


def test_bad_upscalers(tmp_path: Path, esrgan: dict[int, Path]) -> None:
    torch.save({"params": {"a": torch.ones(1)}}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth is no Real-ESRGAN network"):
        Upscaler(tmp_path / "other.pth")
    upscaler = Upscaler(esrgan[4])
    with pytest.raises(UsageError, match="multiples of 4 accepted"):
        upscaler.upscale(torch.rand(1, 3, 8, 8), tile=10)
    with pytest.raises(UsageError, match=r"\(batch, 3, height, width\) accepted"):
        upscaler.upscale(torch.rand(3, 8, 8))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ruclip")
    torch.manual_seed(0)
    net = RuClipNet(CLIP)
    for weights in net.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(asdict(CLIP)))
    (folder / "bpe.model").write_text(BPE)
    return folder


def test_ruclip_scores(clip_folder: Path) -> None:
    clip = RuClip(clip_folder)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    scores = clip.scores(images, ["аб", "вг а"])
    assert scores.shape == (3, 2)
    assert scores.abs().max() <= 1.00001
    text = clip.text_latents(["АБ ", "вг а"])
    assert text.norm(dim=-1).tolist() == pytest.approx([1, 1])
    assert far(clip.text_latents(["аб"]), text[:1]) < 1e-6  # case and ends do not matter, nor the neighbours
    assert far(scores[1:2], clip.scores(images[1:2], ["аб", "вг а"])) < 1e-6
    assert clip.text_ids("аб вг вг вг").tolist() == [2, 10, 4, 7, 8, 4, 7, 3]  # cut, but with its end


def test_ruclip_takes_the_centre_square(clip_folder: Path) -> None:
    clip = RuClip(clip_folder)
    wide = np.random.default_rng(0).integers(0, 256, (32, 51, 3), np.uint8)
    pixels = clip.pixel_values([wide, wide[:, 9:41]])
    assert torch.equal(pixels[0], pixels[1])
    wanted = (torch.from_numpy(wide[:, 9:41]).permute(2, 0, 1) / 255 - torch.tensor(CLIP.mean)[:, None, None]) / (
        torch.tensor(CLIP.std)[:, None, None]
    )
    assert far(pixels[0], wanted) < 1e-6


def test_bad_ruclip_folders(tmp_path: Path, clip_folder: Path) -> None:
    for name in ("pytorch_model.bin", "bpe.model"):
        (tmp_path / name).write_bytes((clip_folder / name).read_bytes())
    for content in ("{}", "[]", "x", json.dumps(asdict(CLIP) | {"mean": [1]})):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(WeightsError, match="no configuration of a ruCLIP folder"):
            RuClip(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(asdict(CLIP) | {"vision_width": 128}))
    with pytest.raises(WeightsError, match=r"another architecture than this folder's config\.json"):
        RuClip(tmp_path)
    with pytest.raises(UsageError, match="no text or no template"):
        RuClip(clip_folder).text_latents([])
