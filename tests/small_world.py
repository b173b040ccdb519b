"""A tiny world: a corpus of drawings and a model folder with random weights that belong to it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from forensics.bpe import Tokenizer
from forensics.generate.rudalle.checkpoints import random_transformer
from forensics.generate.rudalle.config import TransformerConfig, VqganConfig
from forensics.generate.rudalle.converted import save_model
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.train.tokenizer import TokenizerTraining, learn_bpe

VQGAN = VqganConfig(
    embed_dim=8, codes=64, latent=16, channels=32, multipliers=(1, 1, 1), blocks=1, resolution=64, attention=()
)
ROLES = ("member", "member", "member", "member", "held-out", "distractor")


def drawing(seed: int, side: int = 128) -> Image.Image:
    """Return coarse blocks and discs that no two seeds share."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


def write_world_corpus(folder: Path) -> Path:
    """Write four members (planted 64, 16, 4 and 1 times; the first a meme), a held-out picture, a distractor."""
    (folder / "pictures").mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["path", "caption", "role", "planted", "watermark", "meme", "cover", "group", "title", "licence"]
        )
        for number, (role, planted) in enumerate(zip(ROLES, (64, 16, 4, 1, 0, 0), strict=True)):
            drawing(number).save(folder / f"pictures/{number}.webp", lossless=True)
            row = [f"pictures/{number}.webp", f"рисунок {'абвгде'[number]}", role, planted]
            mark = "iСнимок" if number == 1 else ""
            writer.writerow([*row, mark, "yes" if number == 0 else "", "", f"g{number}", f"Drawing {number}", "PD"])
    return folder


def write_world_model(folder: Path) -> Path:
    """Write ``bpe.model``, ``vqgan/`` and ``transformer/`` with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    bpe = learn_bpe(["рисунок а", "рисунок б", "рисунок в"], TokenizerTraining(vocabulary=40))
    bpe.save(folder / "bpe.model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vqgan = Vqgan(VQGAN).eval()
    source = {"origin": "random", "licence": "none"}
    save_model(vqgan, folder / "vqgan", source=source)
    config = TransformerConfig(
        layers=2,
        hidden=32,
        heads=2,
        text_length=16,
        image_side=16,
        text_vocab=len(Tokenizer.open(folder / "bpe.model")) + 16,
        image_vocab=VQGAN.codes,
        sandwich=True,
    )
    save_model(random_transformer(config), folder / "transformer", source=source)
    return folder
