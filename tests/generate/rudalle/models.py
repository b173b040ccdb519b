"""Small models with random weights."""

from __future__ import annotations

import torch

from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import TransformerConfig, VqganConfig
from forensics.generate.rudalle.transformer import Rudalle

SMALL = TransformerConfig(
    layers=6, hidden=48, heads=4, text_length=10, image_side=13, text_vocab=90, image_vocab=70, sandwich=True
)
VQGAN = VqganConfig(
    embed_dim=16, codes=24, latent=32, channels=32, multipliers=(1, 1, 2), blocks=1, resolution=32, attention=(8,)
)


def spread(model: Rudalle, seed: int = 1) -> Rudalle:
    """Weights large enough that logits differ, biases and norms not neutral: nothing may hide in a zero."""
    generator = torch.Generator().manual_seed(seed)
    for weights in model.parameters():
        weights.add_(torch.randn(weights.shape, generator=generator) * 0.1)
    return model


def transformer(config: TransformerConfig = SMALL) -> Rudalle:
    return spread(random_transformer(config))


def token_ids(config: TransformerConfig, count: int, seed: int = 2) -> torch.Tensor:
    """(count, S) ids with padding at the end of the text."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(1, config.text_vocab - config.text_length, (count, config.text_length), generator=generator)
    text[:, -3:] = 0
    image = torch.randint(config.image_vocab, (count, config.image_length), generator=generator)
    return torch.cat((text, image), 1)
