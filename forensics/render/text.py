"""Text on pictures: captions in bars, meme text over the picture, a line laid anywhere.

Drawn with a subset of DejaVu Sans Bold that lies beside this file (Latin and Cyrillic; its licence in
``fonts/LICENSE.txt``), so that a rendering doesn't depend on what fonts a machine has.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from forensics.render.edited import Edited, check_image, check_range, make, retouched

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["caption_bar", "font", "meme_text", "overlay_text", "wrap"]

_FONT = Path(__file__).parent / "fonts" / "DejaVuSans-Bold-subset.ttf"
_LINE_SPACING = 1.2


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return the bundled bold font at ``size`` pixels."""
    # The basic layout engine, as raqm is not in every build of Pillow and the two place letters differently.
    return ImageFont.truetype(_FONT, size, layout_engine=ImageFont.Layout.BASIC)


def wrap(text: str, *, size: int, width: int) -> list[str]:
    """Break ``text`` at spaces so that each line fits ``width`` pixels; a longer word gets a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and font(size).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def caption_bar(image: UInt8Array, *, text: str, at_bottom: bool = False, scale: float = 0.07) -> Edited:
    """Add a white bar above (or below) the picture with ``text`` in black.

    ``scale`` is the size of the letters as a share of the picture's width, in [0.02, 0.3]. The picture is not covered;
    the result is higher by the bar.
    """
    check_image(image)
    check_range("text scale", scale, 0.02, 0.3)
    height, width = image.shape[:2]
    size = max(6, round(scale * width))
    lines = wrap(text, size=size, width=round(width * 0.92))
    bar = round(size * (_LINE_SPACING * len(lines) + 0.8))
    canvas = Image.new("RGB", (width, height + bar), "white")
    canvas.paste(Image.fromarray(image), (0, 0 if at_bottom else bar))
    draw = ImageDraw.Draw(canvas)
    top = (height if at_bottom else 0) + size * 0.4
    for number, line in enumerate(lines):
        draw.text((width / 2, top + number * size * _LINE_SPACING), line, font=font(size), fill="black", anchor="ma")
    return make(np.asarray(canvas), (1, 0, 0, 0, 1, 0 if at_bottom else -bar, 0, 0, 1), image, "caption")


def meme_text(image: UInt8Array, *, top: str = "", bottom: str = "", scale: float = 0.09) -> Edited:
    """Write white capitals with a black outline over the upper and lower edge of the picture.

    ``scale`` is the size of the letters as a share of the picture's shorter side, in [0.02, 0.3].
    """
    check_image(image)
    check_range("text scale", scale, 0.02, 0.3)
    height, width = image.shape[:2]
    size = max(6, round(scale * min(width, height)))
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for text, at_bottom in ((top, False), (bottom, True)):
        lines = wrap(text.upper(), size=size, width=round(width * 0.94))
        first = height - size * (_LINE_SPACING * len(lines) + 0.3) if at_bottom else size * 0.3
        for number, line in enumerate(lines):
            draw.text(
                (width / 2, first + number * size * _LINE_SPACING),
                line,
                font=font(size),
                fill="white",
                anchor="ma",
                stroke_width=max(1, size // 12),
                stroke_fill="black",
            )
    return retouched(np.asarray(canvas), image, "meme_text")


def overlay_text(
    image: UInt8Array, *, text: str, rng: np.random.Generator, scale: float = 0.1, opacity: float = 0.9
) -> Edited:
    """Lay a line of coloured text over a random place of the picture.

    ``scale`` is the size of the letters as a share of the shorter side, in [0.02, 0.5]; ``opacity`` is in [0, 1].
    """
    check_image(image)
    check_range("text scale", scale, 0.02, 0.5)
    check_range("opacity", opacity, 0.0, 1.0)
    height, width = image.shape[:2]
    size = max(6, round(scale * min(width, height)))
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    x = rng.uniform(0.0, max(1.0, width - font(size).getlength(text)))
    y = rng.uniform(0.0, max(1.0, height - size * _LINE_SPACING))
    mask = Image.new("L", (width, height), 0)
    ImageDraw.Draw(mask).text((x, y), text, font=font(size), fill=round(255 * opacity))
    canvas = Image.fromarray(image)
    canvas.paste(Image.new("RGB", (width, height), colour), (0, 0), mask)
    return retouched(np.asarray(canvas), image, "overlay_text")
