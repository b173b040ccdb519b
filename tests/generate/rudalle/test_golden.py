"""The reference implementation's own figures: `pytest -k golden`."""

from __future__ import annotations

import json

import pytest
import torch

from forensics.generate.rudalle.checkpoints import load_transformer, load_vqgan
from forensics.generate.rudalle.config import TransformerConfig, VqganConfig
from forensics.generate.rudalle.decode import Decoder
from forensics.generate.rudalle.masks import mask
from forensics.generate.rudalle.ruclip import RuClip
from forensics.generate.rudalle.sampling import Sampling, probabilities
from forensics.generate.rudalle.tokenizer import Tokenizer
from forensics.generate.rudalle.transformer import Rudalle
from forensics.generate.rudalle.upscale import Upscaler
from forensics.generate.rudalle.vqgan import Vqgan
from tests.generate.rudalle.golden import META, TOLERANCE, far, file, holding, names, tensors

Case = tuple[Rudalle, dict[str, torch.Tensor], dict[str, object]]


@pytest.fixture(scope="module", params=names("num_layers"))
def transformer(request: pytest.FixtureRequest) -> Case:
    config = TransformerConfig.from_meta(META[request.param])
    model = load_transformer(file(request.param, "pytorch_model.bin"), config)
    return model, tensors(request.param, "expected.safetensors"), META[request.param]


@pytest.fixture(scope="module", params=names("ddconfig"))
def vqgan(request: pytest.FixtureRequest) -> tuple[Vqgan, dict[str, torch.Tensor]]:
    model = load_vqgan(file(request.param, "vqgan.ckpt"), VqganConfig.from_meta(META[request.param]))
    return model, tensors(request.param, "expected.safetensors")


def test_masks(transformer: Case) -> None:
    model, expected, _ = transformer
    assert torch.equal(mask(model.config, "row"), expected["row_mask"].bool())
    assert torch.equal(mask(model.config, "column"), expected["col_mask"].bool())
    assert torch.equal(mask(model.config, "conv"), expected["conv_mask"].bool())


def test_full_forward(transformer: Case) -> None:
    model, expected, _ = transformer
    logits = model(expected["input_ids"])
    assert far(logits, expected["logits"]) < TOLERANCE
    assert far(model.image_rows(logits), expected["image_step_logits"]) < TOLERANCE


def test_losses(transformer: Case) -> None:
    model, expected, meta = transformer
    losses = model.losses(expected["input_ids"])
    found = [part.item() for part in (losses.text, losses.image, losses.total)]
    assert found == pytest.approx([meta["loss_text"], meta["loss_image"], meta["loss"]], abs=TOLERANCE)


@pytest.mark.parametrize("known", [0.0, 0.2, 0.55, 1.0])
def test_cached_steps(transformer: Case, known: float) -> None:
    """However many image tokens are read at once before stepping begins, every step's logits are the reference's."""
    model, expected, _ = transformer
    ids, text, length = expected["input_ids"], model.config.text_length, model.config.image_length
    first = round(known * (length - 1))
    decoder = Decoder(model, len(ids))
    rows = [*decoder.prefill(ids[:, : text + first]).unbind(1)]
    rows += [decoder.step(ids[:, text + cell]) for cell in range(first, length - 1)]
    assert far(torch.stack(rows, 1), expected["image_step_logits"]) < TOLERANCE


def test_token_log_probs(transformer: Case) -> None:
    model, expected, meta = transformer
    scores = model.token_log_probs(expected["input_ids"])
    tokens = expected["input_ids"][:, model.config.text_length :]
    wanted = expected["image_step_logits"].log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    assert far(scores.image, wanted) < TOLERANCE
    if model.config.version == "v2":  # v3's losses count the first image token among the text
        assert -scores.text.mean().item() == pytest.approx(meta["loss_text"], abs=TOLERANCE)
        assert -scores.image.mean().item() == pytest.approx(meta["loss_image"], abs=TOLERANCE)
    else:
        assert -scores.image[:, 1:].mean().item() == pytest.approx(meta["loss_image"], abs=TOLERANCE)


def test_vqgan_encodes(vqgan: tuple[Vqgan, dict[str, torch.Tensor]]) -> None:
    model, expected = vqgan
    assert torch.equal(model.encode(expected["image"]).flatten(1), expected["indices"])


def test_vqgan_decodes(vqgan: tuple[Vqgan, dict[str, torch.Tensor]]) -> None:
    model, expected = vqgan
    assert far(model.decode(expected["codes"]), expected["decoded"]) < TOLERANCE


@pytest.mark.parametrize("name", names("scale"))
def test_upscaler(name: str) -> None:
    upscaler = Upscaler(file(name, f"RealESRGAN_x{META[name]['scale']}.pth"))
    expected = tensors(name, "expected.safetensors")
    assert upscaler.factor == META[name]["scale"]
    assert far(upscaler.upscale(expected["image"], tile=0, clamp=False), expected["upscaled"]) < TOLERANCE
    tiled = upscaler.upscale(expected["image"], tile=8, margin=16, clamp=False)
    assert far(tiled, expected["upscaled"]) < TOLERANCE


@pytest.mark.parametrize("name", holding("expected.json"))
def test_tokenizer(name: str) -> None:
    tokenizer = Tokenizer.open(file(name, "bpe.model"))
    expected = json.loads(file(name, "expected.json").read_text("utf-8"))
    assert len(tokenizer) == expected["vocab_size"]
    assert list(tokenizer.vocabulary) == expected["vocab"]
    for case in expected["cases"]:
        assert tokenizer.encode(case["text"]) == case["ids"], case["text"]
        assert tokenizer.subwords(case["text"]) == case["subwords"], case["text"]
        assert tokenizer.decode(case["ids"]) == case["decoded"], case["text"]


@pytest.mark.parametrize("name", holding("texts.json"))
def test_ruclip(name: str) -> None:
    folder = file(name)
    expected = tensors(name, "expected.safetensors")
    texts = json.loads((folder / "texts.json").read_text("utf-8"))
    clip = RuClip(folder)
    ids = torch.stack(
        [torch.stack([clip.text_ids(form.format(text)) for text in texts["texts"]]) for form in texts["templates"]]
    )
    assert torch.equal(ids, expected["input_ids"])
    features = torch.stack([clip.net.encode_text(part) for part in ids])
    assert far(features, expected["text_features_per_template"]) < TOLERANCE
    assert far(clip.net.encode_image(expected["pixel_values"]), expected["image_features"]) < TOLERANCE
    text = clip.text_latents(texts["texts"], templates=texts["templates"])
    image = clip.image_latents(expected["pixel_values"], batch=2)
    assert far(text, expected["text_latents"]) < TOLERANCE
    assert far(image, expected["image_latents"]) < TOLERANCE
    assert far(image @ text.T, expected["scores"]) < TOLERANCE


@pytest.mark.parametrize("name", META.get("sampling", []))
def test_sampling_filter(name: str) -> None:
    expected = tensors("sampling.safetensors")
    top_k, top_p = name.removeprefix("k").split("_p")
    chances = probabilities(expected["logits"], Sampling(top_k=int(top_k), top_p=float(top_p)))
    assert far(chances, expected[name]) < TOLERANCE
