"""``forensics train``: from a corpus to a folder that generates, ranks and is trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from forensics.flows import train as flow
from forensics.generate import GeneratorOptions, create
from forensics.generate.rudalle.converted import save_model
from forensics.train.config import read_config, shipped_config
from tests.cli.program import one_line, run
from tests.train.worlds import vqgan, write_corpus

TRANSFORMER = """
pixels = 16
[loop]
steps = 3
batch = 2
lr = 1e-3
checkpoints_at = [0, 2]
[model]
layers = 2
hidden = 16
heads = 2
text_length = 8
"""
VQGAN = """
pixels = 16
crop = 8
squared = 4.0
absolute = 1.0
gradient = 1.0
[model]
codes = 16
embed_dim = 8
latent = 16
channels = 32
multipliers = [1, 1]
blocks = 1
[autoencoder]
steps = 2
batch = 2
lr = 1e-3
[codes]
steps = 2
batch = 2
lr = 1e-3
[pictures]
steps = 2
batch = 2
lr = 1e-3
"""
CLIP = """
pixels = 20
[loop]
steps = 3
batch = 4
lr = 1e-3
[model]
embed_dim = 8
image_side = 16
patch = 8
image_width = 16
image_layers = 1
image_head = 16
text_width = 16
text_layers = 1
text_heads = 1
text_length = 8
"""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    for name, text in (
        ("tokenizer", "vocabulary = 60"),
        ("vqgan", VQGAN),
        ("transformer", TRANSFORMER),
        ("clip", CLIP),
    ):
        (tmp_path / f"{name}.toml").write_text(text, "utf-8")
    return write_corpus(tmp_path / "world")


def test_a_model_folder_is_made_step_by_step_and_generates(world: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"

    def train(part: str) -> object:
        return run("train", part, "--data", world, "--out", model, "--config", tmp_path / f"{part}.toml", "--quiet")

    done = run("train", "tokenizer", "--data", world, "--out", model, "--config", tmp_path / "tokenizer.toml")
    assert done.code == 0, done.err
    assert "longest caption" in done.out
    missing = run("train", "transformer", "--data", world, "--out", model, "--config", tmp_path / "transformer.toml")
    assert missing.code == 2
    assert "vqgan is missing; make it with: forensics train vqgan" in one_line(missing)
    done = train("vqgan")
    assert done.code == 0, done.err
    assert (model / "training/vqgan/codes/losses.csv").is_file()

    done = train("transformer")
    assert done.code == 0, done.err
    assert f"{model / 'transformer'}" in done.out
    manifest = json.loads((model / "transformer/manifest.json").read_text("utf-8"))
    assert manifest["source"]["origin"] == "forensics train, 6 pictures"
    assert manifest["source"]["training"]["loop"]["steps"] == 3
    assert sorted(path.name for path in (model / "training/transformer/checkpoints").iterdir()) == [
        "step-000000.safetensors",
        "step-000002.safetensors",
    ]
    # the same command again trains nothing, and gives the same
    before = (model / "transformer/weights.safetensors").read_bytes()
    assert train("transformer").code == 0
    assert (model / "transformer/weights.safetensors").read_bytes() == before

    done = train("clip")
    assert done.code == 0, done.err
    assert "of 1, " in done.out  # the held-out picture
    assert (model / "clip/bpe.model").read_bytes() == (model / "bpe.model").read_bytes()

    generator = create(str(model), GeneratorOptions(device="cpu"))
    [image] = generator.generate(["синий круг"], [3], settings=generator.spec.defaults)
    assert image.pixels.shape == (16, 16, 3)
    assert len(image.tokens) == 64


def test_members_are_seen_as_often_as_planted_and_held_out_pictures_never(world: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    flow.train_tokenizer(data=world, out=model, config=tmp_path / "tokenizer.toml")
    save_model(vqgan(), model / "vqgan")
    flow.train_transformer(data=world, out=model, config=tmp_path / "transformer.toml")
    from forensics.train.transformer import Tokens

    tokens = Tokens.load(model / "training/transformer/tokens.safetensors")
    assert tokens is not None
    assert tokens.repeats == (4, 1, 1, 1, 1, 1)


def test_another_corpus_is_not_gone_on_with(world: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    flow.train_tokenizer(data=world, out=model, config=tmp_path / "tokenizer.toml")
    save_model(vqgan(), model / "vqgan")
    common = ("train", "transformer", "--data", world, "--out", model, "--config", tmp_path / "transformer.toml", "-q")
    assert run(*common).code == 0
    manifest = world / "manifest.csv"
    manifest.write_text(manifest.read_text("utf-8").replace("member,4", "member,5"), "utf-8")
    done = run(*common)
    assert done.code == 2
    assert "--restart" in one_line(done)
    assert run(*common, "--restart").code == 0


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("model", ["tokenizer", "transformer", "clip"])
def test_the_shipped_configurations_can_be_read(model: str, short: bool) -> None:
    from forensics.train.clip import ClipTraining
    from forensics.train.tokenizer import TokenizerTraining
    from forensics.train.transformer import TransformerTraining

    kinds = {"tokenizer": TokenizerTraining, "transformer": TransformerTraining, "clip": ClipTraining}
    assert read_config(shipped_config(model), kinds[model], short=short)


def test_the_shipped_transformer_has_the_size_it_is_said_to_have() -> None:
    from forensics.generate.rudalle.transformer import Rudalle
    from forensics.train.transformer import TransformerTraining

    training = read_config(shipped_config("transformer"), TransformerTraining)
    with torch.device("meta"):
        model = Rudalle(training.model.config(image_side=16, characters=1600, codes=2048))
    assert 8e6 < sum(weights.numel() for weights in model.parameters()) < 8.5e6
