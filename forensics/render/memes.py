"""What people and generators make of a meme: pseudo-Russian captions, bars, pastes, a picture painted from memory.

The distortions here are coarser than those of :mod:`forensics.render.redraw`: that one keeps what a copy detector
should still prove; these keep no more than what lets a person say which meme it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from forensics.render.edited import Edited, check_image, check_range, retouched
from forensics.render.text import font
from forensics.render.tones import jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.render.edited import UInt8Array

__all__ = ["caption", "decode_again", "pseudo_russian", "repaint"]

_LETTERS = "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЫЬЭЮЯ"


def pseudo_russian(rng: np.random.Generator, words: int) -> str:
    """Return ``words`` invented words of two to seven Cyrillic capitals."""
    lengths = rng.integers(2, 8, words)
    return " ".join("".join(rng.choice(list(_LETTERS), int(n))) for n in lengths)


def caption(image: UInt8Array, *, rng: np.random.Generator, scale: float = 0.09) -> Edited:
    """Write one line of outlined capitals over the upper edge, the lower edge or both; long ones run off the sides.

    ``scale`` is the size of the letters as a share of the picture's longer side, in [0.02, 0.3].
    """
    check_image(image)
    check_range("text scale", scale, 0.02, 0.3)
    height, width = image.shape[:2]
    size = max(6, round(scale * max(width, height)))
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    where = rng.choice(["top", "bottom", "both"], p=[0.2, 0.2, 0.6])
    for edge, y, anchor in (("top", 0.02, "ma"), ("bottom", 0.98, "md")):
        if where in (edge, "both"):
            text = pseudo_russian(rng, int(rng.integers(1, 4)))
            stroke = max(1, size // 12)
            draw.text(
                (width / 2, y * height),
                text,
                font=font(size),
                fill="white",
                anchor=anchor,
                stroke_width=stroke,
                stroke_fill="black",
            )
    return retouched(np.asarray(canvas), image, "caption")


def decode_again(image: UInt8Array, *, strength: float, rng: np.random.Generator, side: int = 256) -> Edited:
    """Give the picture back as an autoencoder does, stretched to ``side`` x ``side``: soft, and waved cell by cell.

    ``strength`` in [0, 1]: at 0.3 letters stay letters, at 1 they are waves.
    """
    check_image(image)
    check_range("strength", strength, 0.0, 1.0)
    check_range("side", side, 32, 1024)
    kept = round(side * (0.62 - 0.3 * strength))
    small = Image.fromarray(image).resize((kept, kept), Image.Resampling.BOX)
    soft = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    waved = _waved(soft, amplitude=side / 256 * (0.8 + 3.2 * strength), cells=14, rng=rng)
    drift = rng.normal(0.0, 4.0 * strength, 3)
    pixels = np.clip(waved.astype(np.float32) + drift, 0, 255).astype(np.uint8)
    made = jpeg(pixels, quality=int(rng.integers(75, 93))).image
    return retouched(made, image, f"decoded:{strength:.2f}")


def repaint(image: UInt8Array, *, strength: float, rng: np.random.Generator, side: int = 256) -> Edited:
    """Paint the picture from memory, stretched to ``side`` x ``side``: few values, blobs, waved outlines, new colours.

    ``strength`` in [0, 1] scales how far outlines move and how much colours change.
    """
    import cv2

    check_image(image)
    check_range("strength", strength, 0.0, 1.0)
    check_range("side", side, 32, 1024)
    kept = round(side * rng.uniform(0.2, 0.45))
    small = Image.fromarray(image).resize((kept, kept), Image.Resampling.BOX)
    pixels = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC))
    stretch = rng.uniform(1.0, 2.0)
    for amplitude, cells in ((5.0, 8), (6.0, 18)):
        pixels = _waved(pixels, amplitude=side / 256 * amplitude * strength, cells=cells, rng=rng, horizontal=stretch)
    blob = 2 * round(side / 256 * rng.uniform(2.0, 4.5)) + 1
    pixels = np.asarray(cv2.medianBlur(np.ascontiguousarray(pixels), blob), np.uint8)
    values = pixels.astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    saturation, contrast = 1.0 + strength * rng.uniform(-0.3, 1.2), 1.0 + strength * rng.uniform(-0.1, 0.8)
    gain = np.exp(rng.normal(0.0, 0.3 * strength, 3)).astype(np.float32)
    values = (grey + (values - grey) * saturation) * gain
    middle = float(values.mean())
    values = middle + (values - middle) * contrast + rng.normal(0.0, 20.0 * strength)
    pixels = np.clip(values, 0, 255).astype(np.uint8)
    picture = Image.fromarray(pixels).quantize(int(rng.integers(16, 64)), dither=Image.Dither.NONE)
    pixels = np.asarray(picture.convert("RGB"))
    made = jpeg(pixels, quality=int(rng.integers(70, 93))).image
    return retouched(made, image, f"repaint:{strength:.2f}")


def _waved(
    pixels: UInt8Array, *, amplitude: float, cells: int, rng: np.random.Generator, horizontal: float = 1.0
) -> UInt8Array:
    """Move every pixel by a smooth random field of deviation ``amplitude`` pixels, more along x by ``horizontal``."""
    import cv2

    height, width = pixels.shape[:2]
    fields: list[NDArray[np.float32]] = []
    for _ in range(2):
        coarse = rng.normal(0.0, amplitude, (cells, cells)).astype(np.float32)
        fields.append(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    moved = cv2.remap(
        pixels, columns + fields[0] * horizontal, rows + fields[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(moved, np.uint8)
