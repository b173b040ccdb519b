"""The losses of training are the model's own, computed with less."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.masks import KINDS, Kind, layer_kind, mask
from forensics.generate.rudalle.transformer import Rudalle
from forensics.train import forward


def config_of(version: str, side: int = 7) -> TransformerConfig:
    return TransformerConfig(
        version=version,  # type: ignore[arg-type]
        layers=3,
        hidden=24,
        heads=3,
        text_length=6,
        image_side=side,
        text_vocab=60,
        image_vocab=40,
    )


def model_and_ids(config: TransformerConfig) -> tuple[Rudalle, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    model = Rudalle(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.copy_(torch.randn(weights.shape, generator=generator) * 0.3)
    text = torch.randint(4, 54, (3, config.text_length), generator=generator)
    text[:, -2:] = 0
    image = torch.randint(0, 40, (3, config.image_length), generator=generator)
    return model, torch.cat((text, image), dim=1)


def gradients(model: Rudalle, total: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    total.backward()
    return {name: weights.grad.clone() for name, weights in model.named_parameters() if weights.grad is not None}


@pytest.mark.parametrize("version", ["v3", "v2"])
def test_losses_and_gradients_equal_the_models_own(version: str) -> None:
    config = config_of(version)
    assert {layer_kind(config, layer) for layer in range(config.layers)} == set(KINDS)
    model, ids = model_and_ids(config)
    wanted, found = model.losses(ids), forward.losses(model, ids, first_image="text")
    for name in ("text", "image", "total"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-5, atol=1e-6)
    expected, actual = gradients(model, model.losses(ids).total), gradients(model, found.total)
    assert expected.keys() == actual.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, rtol=1e-3, atol=2e-6)


def test_the_first_image_token_is_learnt_as_it_is_drawn() -> None:
    model, ids = model_and_ids(config_of("v3"))
    found, own = forward.losses(model, ids), model.token_log_probs(ids)
    torch.testing.assert_close(found.image, -own.image.mean(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.text, -own.text.mean(), rtol=1e-5, atol=1e-6)
    # and changes nothing in v2, where it always was
    model, ids = model_and_ids(config_of("v2"))
    torch.testing.assert_close(forward.losses(model, ids).total, forward.losses(model, ids, first_image="text").total)


@pytest.mark.parametrize("side", [4, 13])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", ["v3", "v2"])
def test_blocks_see_what_the_mask_shows(version: str, kind: Kind, side: int) -> None:
    config = config_of(version, side)
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn((2, 3, config.length, 8), generator=generator) for _ in range(3))
    wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask(config, kind))
    found = forward.local_attention(config, kind, query, key, value)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_bfloat16_comes_close() -> None:
    model, ids = model_and_ids(config_of("v3"))
    with torch.autocast("cpu", torch.bfloat16):
        found = forward.losses(model, ids, first_image="text").total
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, model.losses(ids).total, rtol=0.02, atol=0)


def test_ids_that_do_not_fit_are_refused() -> None:
    model, ids = model_and_ids(config_of("v3"))
    with pytest.raises(UsageError, match=r"shape \(3, 54\) given, \(batch, 55\)"):
        forward.losses(model, ids[:, :-1])
    small = TransformerConfig(
        layers=1, hidden=8, heads=1, text_length=4, image_side=2, text_vocab=10, image_vocab=40, version="v3"
    )
    with pytest.raises(UsageError, match="text vocabulary of 10 given, at least the image's 40"):
        forward.losses(Rudalle(small), torch.zeros((1, 8), dtype=torch.int64), first_image="text")
