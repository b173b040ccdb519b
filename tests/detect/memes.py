"""Drawn templates and what is made of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from forensics.detect.meme import Limits, MemeDetector, Template
from forensics.detect.meme_match import HASH_VIEWS, LAYOUT_VIEWS, TemplateRows, load_model
from forensics.embed import create
from forensics.embed.layout import Layout, fine
from forensics.images import view_pixels

UInt8Array = NDArray[np.uint8]

FOLDER = Path(__file__).resolve().parents[2] / "index_data" / "memes"
LIMITS = Limits(macro=0.5, macro_source="test", log10_nfa=-2.0)


@lru_cache
def template(name: str) -> UInt8Array:
    return np.asarray(Image.open(FOLDER / f"{name}.png").convert("RGB"))


def ground(seed: int, height: int = 400, width: int = 440) -> UInt8Array:
    """A smooth picture without any straight border."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (5, 6, 3)).astype(np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).copy()


def detector_of(names: list[str], *, threshold: float = 0.5) -> MemeDetector:
    """A detector by thumbnails and hashes alone."""
    layout, phash = Layout(), create("phash")
    layouts, hashes = [], []
    for name in names:
        pixels = template(name)
        layouts.append(
            layout.embed([layout.prepare(np.ascontiguousarray(view_pixels(pixels, v))) for v in LAYOUT_VIEWS])
        )
        hashes.append([phash.prepare(np.ascontiguousarray(view_pixels(pixels, view))) for view in HASH_VIEWS])
    rows = np.asarray(layouts, np.float32)
    return MemeDetector(
        [Template(name=name, threshold=threshold, threshold_source="test") for name in names],
        TemplateRows(vectors=None, layouts=rows, fines=fine(rows), hashes=np.asarray(hashes, np.uint8)),
        embedder=None,
        hasher=phash,
        model=load_model(None),
        limits=LIMITS,
    )
