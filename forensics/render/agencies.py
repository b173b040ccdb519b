"""Watermarks in the styles of stock agencies, with invented names: lattice with tagline, diagonal repeat, agency bar.

An agency's mark is a template: on pictures of one size it always lies at the same place, which is what a generator
learns by heart. Its coverage is available without a picture (:func:`coverage`), so that it can be looked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw

from forensics.errors import UsageError
from forensics.render.edited import Edited, check_image, check_range, retouched
from forensics.render.text import font

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array
    from forensics.types import FloatArray

__all__ = ["AGENCIES", "Agency", "agency_mark", "coverage"]

_FINE = 4
"""Marks are drawn this much larger and averaged down, for letters a few pixels high keep their shapes so."""
_RIM_SHARE = 0.6
_RIM_GREY = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """An invented agency and how it marks pictures.

    Attributes
    ----------
    name, tagline : str
        What is written; the tagline stands smaller under the name, and may be empty.
    style : {"lattice", "diagonal", "bar"}
        Tiles on a level lattice joined by thin lines; the name repeated along slanting lines; a dark bar at the foot.
    tiles : int
        Times that the name repeats along the longer side (lattice and diagonal).
    opacity : float
        Of the white letters; their dark rim, which keeps them visible on white, has 0.6 of it.
    """

    name: str
    tagline: str = ""
    style: Literal["lattice", "diagonal", "bar"]
    tiles: int = 2
    opacity: float = 0.6


AGENCIES: Mapping[str, Agency] = {
    "iСнимок": Agency(name="iСнимок", tagline="by Пиксельград", style="lattice", tiles=2, opacity=0.65),
    "ФОТОДОМ": Agency(name="ФОТОДОМ", style="diagonal", tiles=2, opacity=0.6),
    "Кадр24": Agency(name="Кадр24", tagline="код 24-0117", style="bar", opacity=0.85),
}
"""The agencies of the embedded corpus, by name."""


def coverage(agency: Agency, *, width: int, height: int) -> tuple[FloatArray, FloatArray]:
    """Return how much of each pixel the light letters and their dark rim cover: two (height, width) float32 in [0, 1].

    The rim holds the letters' places too: what is seen of it lies around them.
    """
    if min(width, height) < 16:
        raise UsageError(f"a mark for {width} x {height} pixels was asked for; give at least 16 x 16")
    return _coverage(agency, width, height)


@lru_cache(maxsize=32)
def _coverage(agency: Agency, width: int, height: int) -> tuple[FloatArray, FloatArray]:
    w, h = width * _FINE, height * _FINE
    letters, rim = Image.new("L", (w, h), 0), Image.new("L", (w, h), 0)
    if agency.style == "lattice":
        _lattice(agency, letters, rim)
    elif agency.style == "diagonal":
        letters, rim = _diagonal(agency, w, h)
    else:
        _bar(agency, letters, rim)
    light, dark = (
        np.asarray(layer, dtype=np.float32).reshape(height, _FINE, width, _FINE).mean((1, 3)) / 255
        for layer in (letters, rim)
    )
    light.setflags(write=False)
    dark.setflags(write=False)
    return light, dark


def agency_mark(image: UInt8Array, agency: Agency, *, opacity: float | None = None) -> Edited:
    """Mark a picture as the agency does; ``opacity`` in [0, 1] instead of the agency's own."""
    check_image(image)
    strength = agency.opacity if opacity is None else opacity
    check_range("opacity", strength, 0.0, 1.0)
    height, width = image.shape[:2]
    light, dark = coverage(agency, width=width, height=height)
    canvas = image.astype(np.float32)
    for layer, grey, share in ((dark, _RIM_GREY, strength * _RIM_SHARE), (light, 255.0, strength)):
        alpha = layer[..., None] * share
        canvas = canvas * (1.0 - alpha) + grey * alpha
    return retouched(np.clip(np.rint(canvas), 0, 255).astype(np.uint8), image, f"agency:{agency.name}")


def _lattice(agency: Agency, letters: Image.Image, rim: Image.Image) -> None:
    width, height = letters.size
    step = max(width, height) / agency.tiles
    size = round(step / (0.72 * len(agency.name)))
    rows = round(2 * agency.tiles * height / max(width, height))
    for row in range(rows):
        y = (row + 0.5) * height / rows
        for column in range(-1, agency.tiles + 1):
            x = (column + (0.5 if row % 2 == 0 else 1.0)) * step
            _write(letters, rim, agency.name, x, y - size * 0.2, size)
            if agency.tagline:
                _write(letters, rim, agency.tagline, x, y + size * 0.62, max(4, round(size * 0.42)))
            # the line from a tile to its neighbour in the next row
            line = (x + step * 0.25, y + size * 0.9, x + step * 0.5, y + height / rows - size * 0.9)
            ImageDraw.Draw(rim).line(line, fill=255, width=max(3, size // 5))
            ImageDraw.Draw(letters).line(line, fill=255, width=max(2, size // 10))


def _diagonal(agency: Agency, width: int, height: int) -> tuple[Image.Image, Image.Image]:
    side = 2 * round(float(np.hypot(width, height)) / 2) + 4 * _FINE
    letters, rim = Image.new("L", (side, side), 0), Image.new("L", (side, side), 0)
    step = max(width, height) / agency.tiles * 1.1
    size = round(step / (0.78 * len(agency.name)))
    middle = side / 2
    for row in range(-4, 5):
        for column in range(-4, 5):
            x = middle + (column + 0.5 * (row % 2)) * step
            _write(letters, rim, agency.name, x, middle + row * step * 0.55, size)
    left, top = (side - width) // 2, (side - height) // 2
    box = (left, top, left + width, top + height)
    return tuple(layer.rotate(30, Image.Resampling.BICUBIC).crop(box) for layer in (letters, rim))  # type: ignore[return-value]


def _bar(agency: Agency, letters: Image.Image, rim: Image.Image) -> None:
    width, height = letters.size
    bar = round(height * 0.16)
    ImageDraw.Draw(rim).rectangle((0, height - bar, width, height), fill=255)
    size = round(min(bar * 0.72, width / (0.9 * len(agency.name))))
    draw = ImageDraw.Draw(letters)
    draw.text((width * 0.04, height - bar / 2), agency.name, font=font(size), fill=255, anchor="lm")
    if agency.tagline:
        draw.text(
            (width * 0.96, height - bar / 2), agency.tagline, font=font(round(size * 0.45)), fill=255, anchor="rm"
        )


def _write(letters: Image.Image, rim: Image.Image, text: str, x: float, y: float, size: int) -> None:
    ImageDraw.Draw(rim).text((x, y), text, font=font(size), fill=255, anchor="mm", stroke_width=max(2, size // 9))
    ImageDraw.Draw(letters).text((x, y), text, font=font(size), fill=255, anchor="mm")
