"""Loss curves as a picture, drawn with Pillow."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_curves"]

_SIZE = (900, 480)
_LEFT, _TOP, _RIGHT, _BOTTOM = 70, 20, 20, 40
_COLOURS = ("#1f5fa8", "#c8502a", "#2e8b57", "#8a4fa3", "#b8860b", "#444444")
_NOT_CURVES = frozenset({"step", "seconds", "lr"})


def draw_curves(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Write a PNG of every column of ``losses.csv`` over the steps; the vertical axis is logarithmic.

    Parameters
    ----------
    rows : sequence of mapping
        Rows with ``step`` and losses, as text; a loss that is not above 0 is left out.
    path : Path
        The PNG; replaced as a whole.
    """
    image = Image.new("RGB", _SIZE, "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    names = [name for name in rows[0] if name not in _NOT_CURVES] if rows else []
    curves = {name: [(int(row["step"]), float(row[name])) for row in rows if float(row[name]) > 0] for name in names}
    values = [value for points in curves.values() for _, value in points]
    low, high = (math.log10(min(values)), math.log10(max(values))) if values else (0.0, 1.0)
    low, high = low - 0.03, max(high + 0.03, low + 0.1)
    last = max((int(row["step"]) for row in rows), default=1)
    width, height = _SIZE[0] - _LEFT - _RIGHT, _SIZE[1] - _TOP - _BOTTOM

    def place(step: float, log: float) -> tuple[float, float]:
        return _LEFT + width * step / last, _TOP + height * (high - log) / (high - low)

    for part in range(5):
        log, step = low + (high - low) * part / 4, last * part / 4
        (x, _), (_, y) = place(step, low), place(0, log)
        draw.line([(_LEFT, y), (_LEFT + width, y)], fill="#dddddd")
        draw.text((_LEFT - 8, y), f"{10**log:.3g}", fill="#333333", font=font, anchor="rm")
        draw.text((x, _TOP + height + 8), f"{step:,.0f}", fill="#333333", font=font, anchor="mt")
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        line = [place(step, math.log10(value)) for step, value in points]
        if len(line) > 1:
            draw.line(line, fill=colour, width=2)
        for x, y in line[:1]:
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
        draw.text((_LEFT + width - 4, _TOP + 4 + 17 * number), name, fill=colour, font=font, anchor="rt")
    part_file = path.with_name(f"{path.name}.part")
    image.save(part_file, format="PNG")
    os.replace(part_file, path)  # noqa: PTH105  atomic
