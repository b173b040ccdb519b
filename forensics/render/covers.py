"""Book covers around a picture: a coloured board, a title block, the picture in a frame, the author's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from forensics.errors import UsageError
from forensics.render.edited import Edited, check_image, make
from forensics.render.text import font, wrap

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["PALETTES", "book_cover"]

Colour: TypeAlias = tuple[int, int, int]

PALETTES: tuple[tuple[Colour, Colour], ...] = (
    ((122, 24, 32), (244, 214, 140)),
    ((20, 58, 104), (236, 236, 228)),
    ((24, 84, 58), (246, 226, 150)),
    ((230, 208, 160), (90, 30, 20)),
    ((44, 40, 48), (226, 120, 40)),
)
"""Board and ink colours."""


def book_cover(image: UInt8Array, *, title: str, author: str, side: int, palette: int = 0) -> Edited:
    """Return a square photograph of a book's front, seen straight on: ``side`` x ``side`` pixels, at least 64.

    The board fills 0.78 of the width with a spine at its left; above the picture stands the title, below it the author.
    """
    check_image(image)
    if side < 64:
        raise UsageError(f"a cover of {side} pixels was asked for; give at least 64")
    board, ink = PALETTES[palette % len(PALETTES)]
    canvas = Image.new("RGB", (side, side), (238, 236, 230))
    draw = ImageDraw.Draw(canvas)
    left, right = round(side * 0.11), round(side * 0.89)
    draw.rectangle((left + side // 40, side // 40, right + side // 40, side - 1), fill=(190, 186, 178))
    draw.rectangle((left, 0, right, side - side // 40), fill=board)
    spine = round(side * 0.05)
    draw.rectangle((left, 0, left + spine, side - side // 40), fill=tuple(round(v * 0.7) for v in board))
    middle, room = (left + spine + right) / 2, right - left - spine - side // 20
    size = round(side * 0.095)
    while size > 8 and any(font(size).getlength(line) > room for line in wrap(title.upper(), size=size, width=room)):
        size -= 1
    lines = wrap(title.upper(), size=size, width=room)
    for number, line in enumerate(lines):
        draw.text((middle, side * 0.035 + number * size * 1.15), line, font=font(size), fill=ink, anchor="ma")
    top = round(side * 0.06 + len(lines) * size * 1.15)
    foot = round(side * 0.86)
    height, width = image.shape[:2]
    factor = min(room / width, (foot - top) / height)
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    x, y = round(middle - w / 2), round((top + foot - h) / 2)
    frame = max(1, side // 80)
    draw.rectangle((x - frame, y - frame, x + w + frame - 1, y + h + frame - 1), fill=ink)
    canvas.paste(Image.fromarray(image).resize((w, h), Image.Resampling.LANCZOS), (x, y))
    draw.text((middle, side * 0.925), author, font=font(round(side * 0.06)), fill=ink, anchor="mm")
    transform = (width / w, 0, -x * width / w, 0, height / h, -y * height / h, 0, 0, 1)
    outline = ((x, y), (x + w, y), (x + w, y + h), (x, y + h))
    return make(np.asarray(canvas), transform, image, "book_cover", outline)
