"""Models with random weights: the whole way from prompt to picture where no checkpoint is at hand. They show noise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from forensics.generate.rudalle.config import DUMMY, MODELS, VQGAN, TransformerConfig, VqganConfig
from forensics.generate.rudalle.tokenizer import Tokenizer
from forensics.generate.rudalle.vqgan import Vqgan

__all__ = ["DUMMIES", "Dummy", "character_tokenizer", "random_vqgan"]

_ALPHABET = "▁абвгдеёжзийклмнопрстуфхцчшщъыьэюяabcdefghijklmnopqrstuvwxyz0123456789.,:;!?\"'()«»-–—+/%&№"
_FIRST = 4  # after the special tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Dummy:
    """The sizes of one such model."""

    transformer: TransformerConfig
    vqgan: VqganConfig


_SMALL = Dummy(
    transformer=TransformerConfig(
        layers=4, hidden=128, heads=4, text_length=128, image_side=16, text_vocab=256 + 128, image_vocab=256
    ),
    vqgan=VqganConfig(embed_dim=32, codes=256, latent=32, channels=32, blocks=1, resolution=128, attention=()),
)

DUMMIES: Mapping[str, Dummy] = {
    "dummy": _SMALL,
    "dummy-medium": Dummy(transformer=DUMMY, vqgan=VQGAN),
    "dummy-malevich": Dummy(transformer=MODELS["malevich"].config, vqgan=VQGAN),
}
"""``dummy``: 1 million parameters, 16 x 16 tokens, 128 px; ``dummy-medium``: the reference's own dummy, 0.13 thousand
million parameters; ``dummy-malevich``: Malevich's true size. The last two have 32 x 32 tokens and 256 px."""


def character_tokenizer() -> Tokenizer:
    """Return a tokenizer of single characters: Russian and English letters, digits, common signs."""
    return Tokenizer({character: _FIRST + number for number, character in enumerate(_ALPHABET)}, [])


def random_vqgan(config: VqganConfig, *, seed: int = 0, dwt: bool = False, device: str = "cpu") -> Vqgan:
    """Return a VQGAN with random weights, float32: He-normal convolutions, codes N(0, 1), norms neutral."""
    with torch.device("meta"):
        model = Vqgan(replace(config, dwt=dwt))
    model = model.to_empty(device=device)
    generator = torch.Generator(device).manual_seed(seed)
    for module in model.modules():
        for name, weights in module.named_parameters(recurse=False):
            if isinstance(module, nn.GroupNorm) or name == "bias":
                nn.init.constant_(weights, 1.0 if name == "weight" else 0.0)
            elif isinstance(module, nn.Embedding):
                nn.init.normal_(weights, generator=generator)
            else:
                nn.init.normal_(weights, std=math.sqrt(2 / weights[0].numel()), generator=generator)
            weights.requires_grad_(False)
    return model.eval()
