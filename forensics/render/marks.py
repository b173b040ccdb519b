"""The watermark of an invented picture agency, laid over a whole picture.

The agency, its name and its sign are made up: no real one is imitated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from forensics.render.edited import Edited, check_image, check_range, retouched
from forensics.render.text import font

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["AGENCY", "stock_mark"]

AGENCY = "Пиксельград"


def stock_mark(
    image: UInt8Array,
    *,
    name: str = AGENCY,
    opacity: float = 0.35,
    period: float = 0.5,
    degrees: float = 30.0,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Edited:
    """Lay the agency's name and sign over the picture, repeated on a turned lattice.

    Parameters
    ----------
    name : str
        What is written at each point of the lattice.
    opacity : float
        Of the white letters, in [0, 1]; a thin dark rim keeps them visible on white at half of it.
    period : float
        Distance of two marks along a line as a share of the longer side, in [0.1, 2].
    degrees : float
        Slope of the lines.
    offset : (float, float)
        Shift of the lattice along and across the lines, in periods.
    """
    check_image(image)
    check_range("opacity", opacity, 0.0, 1.0)
    check_range("period", period, 0.1, 2.0)
    height, width = image.shape[:2]
    step = max(24.0, period * max(width, height))
    size = max(8, round(step / (0.75 * len(name) + 3)))
    # Drawn straight on a square that covers the picture at any slope, then turned and cut.
    side = int(np.hypot(width, height)) + 2 * size
    letters, rim = Image.new("L", (side, side), 0), Image.new("L", (side, side), 0)
    draw, draw_rim = ImageDraw.Draw(letters), ImageDraw.Draw(rim)
    across = step * 0.45
    for row in range(-1, int(side / across) + 2):
        y = (row + offset[1]) * across
        for column in range(-1, int(side / step) + 2):
            x = (column + offset[0] + 0.5 * (row % 2)) * step
            draw_rim.text((x, y), name, font=font(size), fill=255, stroke_width=max(1, size // 14))
            draw.text((x, y), name, font=font(size), fill=255)
            sign = (x - 1.5 * size, y + 0.1 * size, x - 0.4 * size, y + 1.2 * size)
            draw_rim.rectangle(sign, outline=255, width=max(2, size // 5))
            draw.rectangle(sign, outline=255, width=max(1, size // 8))
    left, top = (side - width) // 2, (side - height) // 2
    canvas = image.astype(np.float64)
    for layer, colour, strength in ((rim, 40.0, opacity / 2), (letters, 255.0, opacity)):
        turned = layer.rotate(degrees, Image.Resampling.BICUBIC).crop((left, top, left + width, top + height))
        alpha = np.asarray(turned, dtype=np.float64)[..., None] / 255.0 * strength
        canvas = canvas * (1.0 - alpha) + colour * alpha
    return retouched(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), image, "mark")
