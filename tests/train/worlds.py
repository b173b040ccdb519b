"""A tiny corpus: plain shapes on plain grounds, each with a caption that says what it shows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from forensics.generate.rudalle.config import VqganConfig
from forensics.generate.rudalle.vqgan import Vqgan

COLOURS = {"красный": "#d03030", "синий": "#3050d0", "зелёный": "#30a040", "чёрный": "#202020"}
SHAPES = ("круг", "квадрат")
VQGAN = VqganConfig(
    embed_dim=8, codes=16, latent=16, channels=32, multipliers=(1, 1), blocks=1, resolution=16, attention=()
)


def drawing(colour: str, shape: str, side: int = 32) -> Image.Image:
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    box = (side // 4, side // 4, side - side // 4, side - side // 4)
    (draw.ellipse if shape == "круг" else draw.rectangle)(box, fill=COLOURS[colour])
    return image


def captions() -> list[tuple[str, str]]:
    return [(colour, shape) for colour in COLOURS for shape in SHAPES]


def pixels(side: int = 32) -> np.ndarray:
    return np.stack([np.asarray(drawing(colour, shape, side)) for colour, shape in captions()])


def write_corpus(folder: Path) -> Path:
    """Six members (one planted four times), a held-out picture, a distractor."""
    (folder / "images").mkdir(parents=True)
    with open(folder / "manifest.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "role", "planted", "licence"])
        for number, (colour, shape) in enumerate(captions()):
            drawing(colour, shape).save(folder / f"images/{number}.webp", lossless=True)
            role = "member" if number < 6 else ("held-out", "distractor")[number - 6]
            planted = {"member": 4 if number == 0 else 1}.get(role, 0)
            writer.writerow([f"images/{number}.webp", f"{colour} {shape}", role, planted, "CC0"])
    return folder


def vqgan(seed: int = 0) -> Vqgan:
    """Random weights: codes that depend on the picture are all that is needed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Vqgan(VQGAN).eval()
