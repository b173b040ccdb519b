"""A generator's codes as an image filter: encoded by a VQGAN, each latent replaced by its code, decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from forensics.generate.rudalle.vqgan import Vqgan
    from forensics.types import UInt8Array

__all__ = ["codec_for", "codec_of"]


def codec_for(model: str) -> Callable[[UInt8Array], UInt8Array] | None:
    """Return :func:`codec_of` a generator's VQGAN, by the generator's name; None where it has none.

    On the CPU: several processes make composites, and the device is the training's.
    """
    from forensics.generate import GeneratorOptions, create
    from forensics.generate.rudalle.generator import RudalleGenerator

    generator = create(model, GeneratorOptions(device="cpu"))
    return codec_of(generator.vqgan) if isinstance(generator, RudalleGenerator) else None


def codec_of(network: Vqgan) -> Callable[[UInt8Array], UInt8Array]:
    """Return a function from (H, W, 3) uint8 RGB to the same shape, the sides multiples of the network's factor."""
    network = network.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def codec(image: UInt8Array) -> UInt8Array:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
        drawn = network.decode(network.encode(pixels.contiguous(memory_format=torch.channels_last)))[0]
        return np.asarray((drawn.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy())

    return codec
