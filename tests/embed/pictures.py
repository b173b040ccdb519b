"""Pictures with structure at several scales, made from a seed: what hashes and descriptors are tested on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZES = ((120, 90), (300, 200), (333, 517), (512, 384), (640, 641))


def picture(seed: int, width: int = 300, height: int = 200) -> NDArray[np.uint8]:
    """Return (height, width, 3) uint8: coloured clouds with a few flat rectangles."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((3, 0.5), (9, 0.3), (31, 0.2)):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += weight * np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    pixels = total.clip(0, 255).astype(np.uint8)
    for _ in range(4):
        x, y = rng.integers(0, width - 20), rng.integers(0, height - 20)
        pixels[y : y + height // 4, x : x + width // 4] = rng.integers(0, 256, 3)
    return pixels


def pictures() -> list[NDArray[np.uint8]]:
    """Return one picture of each size."""
    return [picture(seed, width, height) for seed, (width, height) in enumerate(SIZES)]
