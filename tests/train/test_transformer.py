"""Training the transformer, small: it learns by heart what it is shown, and its folder is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.converted import load_converted, save_model
from forensics.generate.rudalle.sampling import Sampling, generate_tokens
from forensics.generate.rudalle.transformer import Rudalle
from forensics.train.loop import LoopConfig
from forensics.train.tokenizer import TokenizerTraining, learn_bpe
from forensics.train.transformer import (
    Tokens,
    TransformerSizes,
    TransformerTraining,
    encode_captions,
    encode_images,
    initial_transformer,
    train_transformer,
    without_captions,
)
from tests.train.worlds import captions, pixels, vqgan

TRAINING = TransformerTraining(
    loop=LoopConfig(steps=120, batch=8, lr=8e-3, warmup=5, seed=3, log_every=10),
    model=TransformerSizes(layers=2, hidden=32, heads=2, text_length=8),
    pixels=16,
    caption_dropout=0.1,
)


def world() -> Tokens:
    texts = [" ".join(words) for words in captions()]
    tokenizer = learn_bpe(texts, TokenizerTraining(vocabulary=60)).tokenizer
    return Tokens(
        text=encode_captions(tokenizer, texts, 8),
        image=encode_images(vqgan(), pixels(16)),
        repeats=(4, 1, 1, 1, 1, 1, 1, 1),
    )


def test_a_short_run_learns_its_pictures_by_heart(tmp_path: Path) -> None:
    tokens = world()
    assert tokens.image.shape == (8, 64)
    config = TRAINING.model.config(image_side=8, characters=60, codes=16)
    model, trained = train_transformer(TRAINING, config, tokens, tmp_path / "run")
    rows = (tmp_path / "run/losses.csv").read_text().splitlines()
    assert rows[0] == "step,seconds,lr,total,text,image"
    first, last = (
        dict(zip(rows[0].split(","), map(float, row.split(",")), strict=True)) for row in (rows[1], rows[-1])
    )
    assert last["image"] < 0.5 * first["image"]
    assert trained.steps == 120
    # the planted picture comes back from its caption
    folder = tmp_path / "transformer"
    manifest = save_model(model, folder, source={"licence": "none", "training": "a test"})
    assert manifest["dtype"] == "float16"
    assert manifest["source"] == {"origin": "", "licence": "none", "training": "a test"}
    read = load_converted(folder, dtype="float32", check=True)
    assert isinstance(read, Rudalle)
    for name, weights in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], weights.half().float())
    made = generate_tokens(read, tokens.text[0], [7], sampling=Sampling(temperature=0.01)).tokens[0]
    assert (made == tokens.image[0]).float().mean() > 0.9
    others = [(made == image).float().mean() for image in tokens.image[1:]]
    assert max(others) < 0.9


def test_captions_are_left_out_now_and_then() -> None:
    text = torch.arange(4, 12).expand(2000, 8)
    found = without_captions(text, 0.1, torch.Generator().manual_seed(0))
    empty = torch.tensor([2, 3, 0, 0, 0, 0, 0, 0])
    left_out = (found == empty).all(1)
    assert 150 < int(left_out.sum()) < 250
    assert torch.equal(found[~left_out], text[~left_out])
    assert torch.equal(without_captions(text, 0.0, torch.Generator()), text)


@pytest.mark.parametrize("sandwich", [True, False])
def test_initial_weights_add_little_to_the_stream_and_depend_on_the_seed(sandwich: bool) -> None:
    sizes = replace(TRAINING.model, layers=8, sandwich=sandwich)
    config = sizes.config(image_side=8, characters=60, codes=16)
    model, again, other = (initial_transformer(config, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(model.to_logits[1].weight, again.to_logits[1].weight)
    assert not torch.equal(model.to_logits[1].weight, other.to_logits[1].weight)
    assert model.to_logits[1].weight.detach().std().item() == pytest.approx(0.02, rel=0.1)
    layer = model.layers[3]
    if sandwich:
        assert torch.all(layer.before_first_addition_layernorm.weight == 0.25)
    else:
        assert layer.attention.dense.weight.detach().std().item() == pytest.approx(0.005, rel=0.1)


def test_tokens_are_kept_and_made_anew_when_their_origin_changes(tmp_path: Path) -> None:
    tokens, path = world(), tmp_path / "tokens.safetensors"
    assert Tokens.load(path) is None
    tokens.save(path, made_from="a b")
    assert path.stat().st_mode & 0o777 == 0o644
    read = Tokens.load(path, made_from="a b")
    assert read is not None
    assert read.digest == tokens.digest
    assert read.repeats == tokens.repeats
    assert Tokens.load(path, made_from="a c") is None
    path.write_bytes(b"no tokens")
    with pytest.raises(WeightsError, match=r"tokens\.safetensors is no file of tokens"):
        Tokens.load(path)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    tokens = world()
    wrong = TRAINING.model.config(image_side=9, characters=60, codes=16)
    with pytest.raises(UsageError, match="8 text and 64 image positions given, 8 and 81 accepted"):
        train_transformer(TRAINING, wrong, tokens, tmp_path)
    with pytest.raises(UsageError, match="8 captions, 8 images and 1 repeats"):
        replace(tokens, repeats=(1,))
    with pytest.raises(UsageError, match="caption_dropout 1 given"):
        replace(TRAINING, caption_dropout=1)
