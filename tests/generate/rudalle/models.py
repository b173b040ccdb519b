"""Small models with random weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import TransformerConfig, VqganConfig
from forensics.generate.rudalle.dummy import random_vqgan
from forensics.generate.rudalle.transformer import Rudalle
from tests.generate.rudalle.golden import META, file

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


def official_folder(folder: Path, golden: str, name: str) -> Path:
    """Fill a folder as a user does: a checkpoint of the reference's under a published name, and what belongs to it."""
    folder.mkdir()
    meta = META[golden]
    (folder / name).write_bytes(file(golden, "pytorch_model.bin").read_bytes())
    (folder / "bpe.model").write_bytes(_bpe())
    vqgan = random_vqgan(replace(VQGAN, codes=meta["image_vocab_size"]))
    torch.save({"state_dict": vqgan.state_dict()}, folder / "vqgan.gumbelf8-sber.model.ckpt")
    sizes = {
        "embed_dim": VQGAN.embed_dim,
        "n_embed": meta["image_vocab_size"],
        "ddconfig": {
            "z_channels": VQGAN.latent,
            "ch": VQGAN.channels,
            "ch_mult": VQGAN.multipliers,
            "num_res_blocks": VQGAN.blocks,
            "resolution": VQGAN.resolution,
            "attn_resolutions": VQGAN.attention,
        },
    }
    (folder / "config.json").write_text(json.dumps({"transformer": meta, "vqgan": sizes}), "utf-8")
    return folder


def _bpe() -> bytes:
    """A tokenizer with fewer subwords than the reference's small transformers read."""
    letters = "▁абвгдеёжзийклмнопрстуфхцчшщъыьэюя"
    lines = [f"{len(letters)} 0", *(f"{ord(letter)} {4 + place}" for place, letter in enumerate(letters)), "1 0 2 3"]
    return ("\n".join(lines) + "\n").encode("ascii")
