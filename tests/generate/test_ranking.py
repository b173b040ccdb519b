"""Scores of image and prompt: the models' own cosines, pair by pair."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from forensics import embed
from forensics.errors import UsageError, WeightsError
from forensics.generate.ranking import RUCLIP_DEFAULT, open_scorer
from forensics.generate.rudalle.config import RUCLIP
from forensics.generate.rudalle.ruclip import RuClip, RuClipConfig, RuClipNet
from forensics.types import Scorer
from forensics.weights import sha256_of

ARCH = "tiny-ranking-clip"
PROMPTS = ["a red car", "sea", "a red car", "a chair in the shape of an avocado and a very long text"]


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("FORENSICS_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("FORENSICS_DEVICE", "cpu")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((48, 48), (60, 90), (100, 40), (48, 48))]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A safetensors file of a tiny architecture that open_clip knows, with open_clip's own vocabulary."""
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("open_clip")
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 48, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }
    (folder / f"{ARCH}.json").write_text(json.dumps(config), encoding="utf-8")
    open_clip.add_model_config(folder)
    torch.manual_seed(3)
    save_file(open_clip.create_model(ARCH).state_dict(), folder / "tiny.safetensors")
    return folder / "tiny.safetensors"


def test_open_clip_s_own_cosines(checkpoint: Path, images: list[NDArray[np.uint8]]) -> None:
    import open_clip

    scorer = open_scorer(f"clip:{ARCH}@{checkpoint}", device="cpu")
    assert isinstance(scorer, Scorer)
    assert scorer.name == "clip"
    assert getattr(scorer, "identity") == embed.create(f"clip:{ARCH}@{checkpoint}").spec.fingerprint  # noqa: B009
    scores = scorer.score(images, PROMPTS)
    model, _, transform = open_clip.create_model_and_transforms(ARCH, pretrained=str(checkpoint))
    with torch.inference_mode():
        pictures = model.eval().encode_image(
            torch.stack([transform(Image.fromarray(image)) for image in images]), normalize=True
        )
        texts = model.encode_text(open_clip.get_tokenizer(ARCH)(PROMPTS), normalize=True)
    assert (scores.shape, scores.dtype) == ((4,), np.float32)
    np.testing.assert_allclose(scores, (pictures * texts).sum(1).numpy(), atol=1e-5)
    assert len(set(scores.tolist())) == 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIPModel of transformers, saved with its tokenizer."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    path = tmp_path_factory.mktemp("transformers")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    subwords = [*letters, *(letter + "</w>" for letter in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    (path / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(subwords)}))
    (path / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    CLIPTokenizer(str(path / "vocab.json"), str(path / "merges.txt")).save_pretrained(path)
    torch.manual_seed(5)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"bos_token_id": len(subwords) - 2, "eos_token_id": len(subwords) - 1, "pad_token_id": len(subwords) - 1}
    config = CLIPConfig(
        text_config={**sizes, **special, "vocab_size": len(subwords), "max_position_embeddings": 12},
        vision_config={**sizes, "image_size": 48, "patch_size": 8},
        projection_dim=24,
    )
    CLIPModel(config).save_pretrained(path)
    return path


def test_transformers_own_cosines(folder: Path, images: list[NDArray[np.uint8]]) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    scores = open_scorer(f"clip-hf:{folder}", device="cpu").score(images, PROMPTS)
    embedder = embed.create(f"clip-hf:{folder}")
    pictures = embedder.embed([embedder.prepare(image) for image in images])
    model, tokenizer = CLIPModel.from_pretrained(folder).eval(), CLIPTokenizer.from_pretrained(folder)
    for prompt, picture, score in zip(PROMPTS, pictures, scores, strict=True):
        ids = tokenizer([prompt], truncation=True, max_length=12, return_tensors="pt")
        with torch.inference_mode():
            text = model(pixel_values=torch.zeros(1, 3, 48, 48), **ids).text_embeds[0].numpy()
        assert score == pytest.approx(float(picture @ text), abs=1e-5)  # alone, without padding


@pytest.fixture(scope="module")
def ruclip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ruclip")
    config = RuClipConfig(
        embed_dim=12, image_resolution=32, vision_layers=2, vision_width=64, vision_patch_size=8,
        context_length=8, vocab_size=12, transformer_width=32, transformer_heads=2, transformer_layers=2,
    )  # fmt: skip
    torch.manual_seed(0)
    net = RuClipNet(config)
    for weights in net.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    torch.save(net.state_dict(), folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    # the letters а, б, в, г and three merges
    (folder / "bpe.model").write_text("5 3\n9601 4\n1072 5\n1073 6\n1074 7\n1075 8\n5 6 9\n4 9 10\n9 9 11\n1 0 2 3\n")
    return folder


def test_ruclip_s_own_cosines(ruclip: Path) -> None:
    images = [np.full((40, 50, 3), value, np.uint8) for value in (10, 200, 90)]
    prompts = ["абв", "гв", "абв"]
    scorer = open_scorer(f"ruclip:{ruclip}", device="cpu")
    assert scorer.name == "ruclip"
    assert getattr(scorer, "identity") == sha256_of(ruclip / "pytorch_model.bin")  # noqa: B009  no part of the protocol
    expected = RuClip(ruclip).scores(images, prompts).diagonal().numpy()
    np.testing.assert_allclose(scorer.score(images, prompts), expected, atol=1e-6)


def test_no_images_and_unequal_numbers(checkpoint: Path, ruclip: Path, images: list[NDArray[np.uint8]]) -> None:
    for name in (f"clip:{ARCH}@{checkpoint}", f"ruclip:{ruclip}"):
        scorer = open_scorer(name)
        assert scorer.score([], []).shape == (0,)
        with pytest.raises(UsageError, match="4 images and 1 prompts"):
            scorer.score(images, ["red"])


def test_what_cannot_be_opened_is_one_clear_error(
    folder: Path, tmp_path: Path, images: list[NDArray[np.uint8]]
) -> None:
    assert RUCLIP_DEFAULT in RUCLIP
    with pytest.raises(UsageError, match="scorer 'blip' given; accepted: clip"):
        open_scorer("blip")
    with pytest.raises(WeightsError, match=r"config\.json is not in .*no connection allowed"):
        open_scorer("ruclip", cache=tmp_path, offline=True)
    with pytest.raises(WeightsError, match=r"missing: config\.json"):
        open_scorer(f"ruclip:{tmp_path}")
    with pytest.raises(WeightsError, match="forensics weights"):
        open_scorer("clip")
    bare = Path(shutil.copytree(folder, tmp_path / "bare"))
    for file in bare.glob("*token*"):
        file.unlink()
    for name in ("vocab.json", "merges.txt"):
        (bare / name).unlink(missing_ok=True)
    with pytest.raises(WeightsError, match=r"has no tokenizer that can be loaded"):
        open_scorer(f"clip-hf:{bare}").score(images, PROMPTS)
