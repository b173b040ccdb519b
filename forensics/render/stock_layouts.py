"""Where a stock mark's words stand: lattices, slanting repeats, a crossed-out centre, plaques, bars, corners, swirls.

Each layout draws into :class:`Layers` and takes its measures from the generator that it is given, so that no two marks
are alike. Sizes are shares of the longer side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageDraw

from forensics.render.stock_fonts import typeface

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LAYOUTS", "Layers", "Wording"]

_LEAST_LETTERS = 9
"""Pixels; smaller letters are specks."""
_ROOM = 100.0
"""Pixels that a tile needs, or its letters are specks."""
_RADII = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What is written and with what.

    Attributes
    ----------
    name, tagline : str
    font : Path
        A typeface file.
    sign : str
        A shape beside the name: ``none``, ``disc``, ``square``, ``ring`` or ``camera``.
    outline : bool
        Only the letters' contours are drawn.
    """

    name: str
    tagline: str
    font: Path
    sign: str = "none"
    outline: bool = False


class Layers:
    """Coverage by letters, by their rim, by lines that join or cross, and by plates: four 8-bit images of one size."""

    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.letters, self.rim, self.lines, self.plate = (Image.new("L", self.size, 0) for _ in range(4))

    @property
    def side(self) -> int:
        """The longer side."""
        return max(self.size)

    def stamp(self, tile: tuple[Image.Image, Image.Image], x: float, y: float) -> None:
        """Lay a tile (letters, rim) with its centre at (x, y); where tiles overlap the stronger shows."""
        for layer, patch in zip((self.letters, self.rim), tile, strict=True):
            place = (round(x - patch.width / 2), round(y - patch.height / 2))
            box = (place[0], place[1], place[0] + patch.width, place[1] + patch.height)
            if box[2] <= 0 or box[3] <= 0 or box[0] >= self.size[0] or box[1] >= self.size[1]:
                continue
            layer.paste(ImageChops.lighter(layer.crop(box), patch), place)


def _tiles(layers: Layers, rng: np.random.Generator, least: float, most: float) -> float:
    """Return how often a tile repeats along the longer side: small pictures have room for few."""
    return float(rng.uniform(least, max(least * 1.5, min(most, layers.side / _ROOM))))


def lattice(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Lay tiles on a lattice, level or a little slanted, every other row shifted; thin lines may join them."""
    step = layers.side / _tiles(layers, rng, 1.2, 4.5)
    tile = _tile(wording, step * rng.uniform(0.45, 0.85), rng)
    rise = step * rng.uniform(0.3, 0.9)
    slope = math.radians(float(rng.choice([0, 0, 0, -30, 30, rng.uniform(-45, 45)])))
    if slope and rng.random() < 0.5:
        tile = _turned(tile, math.degrees(slope))
    shift = float(rng.choice([0.0, 0.5, 0.5, 0.5]))
    joined = rng.random() < 0.55
    for x, y, row in _lattice_points(layers, step, rise, slope, shift, rng):
        layers.stamp(tile, x, y)
        if joined:
            _join(layers, x, y, step, rise, row, rng)


def diagonal(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Repeat the name along slanting lines."""
    step = layers.side / _tiles(layers, rng, 1.0, 4.0)
    angle = float(rng.choice([-1, 1, 1])) * rng.uniform(15, 50)
    tile = _turned(_tile(wording, step * rng.uniform(0.5, 0.9), rng), angle)
    rise = step * rng.uniform(0.3, 0.8)
    shift = float(rng.choice([0.0, 0.33, 0.5]))
    for x, y, _ in _lattice_points(layers, step, rise, -math.radians(angle), shift, rng):
        layers.stamp(tile, x, y)
    if rng.random() < 0.3:
        _grid(layers, rise, angle, rng)


def crossed(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Write the name in the middle, or a few times, with lines from corner to corner or in a grid."""
    if rng.random() < 0.5:
        _corner_lines(layers, rng)
    else:
        _grid(layers, layers.side / rng.uniform(1.0, 5.0), rng.uniform(20, 60), rng)
    if rng.random() < 0.6:
        centre(layers, wording, rng)
    else:
        diagonal(layers, wording, rng) if rng.random() < 0.5 else lattice(layers, wording, rng)


def centre(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Write the name once, large, near the middle; level or slanting."""
    width, height = layers.size
    tile = _tile(wording, width * rng.uniform(0.3, 0.98), rng)
    if rng.random() < 0.4:
        tile = _turned(tile, float(rng.choice([-1, 1])) * rng.uniform(10, 45))
    layers.stamp(tile, width * rng.uniform(0.4, 0.6), height * rng.uniform(0.3, 0.7))


def plaque(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Lay a translucent plate with the name and a line of credit, anywhere, perhaps at the edge."""
    width, height = layers.size
    tile = _tile(wording, layers.side * rng.uniform(0.22, 0.6), rng)
    margin = tile[0].height * rng.uniform(0.1, 0.5)
    w, h = tile[0].width + 2 * margin, tile[0].height + 2 * margin
    if rng.random() < 0.4:  # noqa: SIM108  two questions, not one
        x = width - w / 2 if rng.random() < 0.6 else w / 2
    else:
        x = width * rng.uniform(0.3, 0.7)
    y = height * rng.uniform(0.2, 0.85)
    box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
    radius = h * float(rng.choice([0.0, 0.0, 0.2]))
    ImageDraw.Draw(layers.plate).rounded_rectangle(box, radius=radius, fill=255)
    layers.stamp(tile, x, y)


def bar(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Lay a bar along the foot: the name at one end, a number or address at the other; the name may repeat above."""
    width, height = layers.size
    deep = max(_LEAST_LETTERS * 1.4, height * rng.uniform(0.05, 0.16))
    ImageDraw.Draw(layers.plate).rectangle((0, height - deep, width, height), fill=255)
    size = max(_LEAST_LETTERS, round(deep * rng.uniform(0.5, 0.8)))
    y = height - deep / 2
    _line(layers, wording.name, (width * 0.03, y), size, wording.font, "lm")
    right = wording.tagline or wording.name
    small = max(_LEAST_LETTERS, round(size * rng.uniform(0.5, 0.9)))
    room = width * 0.92 - typeface(wording.font, size).getlength(wording.name)
    if typeface(wording.font, small).getlength(right) < room:
        _line(layers, right, (width * 0.97, y), small, wording.font, "rm")
    if rng.random() < 0.35:
        letter(layers, wording, rng) if rng.random() < 0.5 else lattice(layers, wording, rng)


def corner(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Write a small name, number or address in a corner."""
    width, height = layers.size
    tile = _tile(wording, layers.side * rng.uniform(0.2, 0.5), rng)
    margin = layers.side * rng.uniform(0.005, 0.04)
    x, y = tile[0].width / 2 + margin, tile[0].height / 2 + margin
    layers.stamp(tile, x if rng.random() < 0.35 else width - x, y if rng.random() < 0.25 else height - y)


def side(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Write a line of small letters up the side, perhaps with the name once in the middle."""
    width, height = layers.size
    text = f"{wording.name} {wording.tagline}".strip()
    line = Wording(name=text, tagline="", font=wording.font)
    tile = _turned(_tile(line, height * rng.uniform(0.35, 0.8), rng), 90)
    x = tile[0].width / 2 + layers.side * rng.uniform(0.0, 0.03)
    layers.stamp(tile, x if rng.random() < 0.6 else width - x, height * rng.uniform(0.3, 0.7))
    if rng.random() < 0.5:
        centre(layers, wording, rng)


def letter(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Write the name's first letter large on a lattice, with the whole name between or once."""
    first = next((sign for sign in wording.name if sign.isalnum()), "a")
    initial = Wording(name=first, tagline="", font=wording.font, outline=wording.outline)
    step = layers.side / _tiles(layers, rng, 1.2, 4.0)
    large = _tile(initial, step * rng.uniform(0.18, 0.4), rng)
    small = _tile(wording, step * rng.uniform(0.4, 0.8), rng)
    between = rng.random() < 0.6
    rise = step * rng.uniform(0.5, 0.9)
    for x, y, row in _lattice_points(layers, step, rise, 0.0, 0.5, rng):
        layers.stamp(small if between and row % 2 else large, x, y)
    if not between:
        layers.stamp(small, layers.size[0] * rng.uniform(0.3, 0.7), layers.size[1] * rng.uniform(0.3, 0.7))


def swirl(layers: Layers, wording: Wording, rng: np.random.Generator) -> None:
    """Draw spirals on a lattice or one large one, with the name beside or below."""
    step = layers.side / _tiles(layers, rng, 1.0, 3.5)
    rise = step * rng.uniform(0.5, 1.0)
    tile = _tile(wording, step * rng.uniform(0.45, 0.85), rng)
    turns, stroke = rng.uniform(1.5, 3.5), max(1, round(step * rng.uniform(0.01, 0.03)))
    radius = min(step, rise) * rng.uniform(0.18, 0.35)
    draw = ImageDraw.Draw(layers.letters)
    for x, y, _ in _lattice_points(layers, step, rise, 0.0, 0.5, rng):
        points = []
        for number in range(_RADII * 3):
            share = number / (_RADII * 3 - 1)
            turn = share * turns * 2 * math.pi
            points.append((x + share * radius * math.cos(turn), y - radius + share * radius * math.sin(turn)))
        draw.line(points, fill=255, width=stroke)
        layers.stamp(tile, x, y + radius * 0.4)


LAYOUTS: Mapping[str, Callable[[Layers, Wording, np.random.Generator], None]] = {
    "lattice": lattice,
    "diagonal": diagonal,
    "crossed": crossed,
    "centre": centre,
    "plaque": plaque,
    "bar": bar,
    "corner": corner,
    "side": side,
    "letter": letter,
    "swirl": swirl,
}
"""By name; each draws one mark."""


def _tile(wording: Wording, width: float, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Return letters and rim of the name, about ``width`` pixels wide, with its sign and its tagline below."""
    probe = max(1.0, typeface(wording.font, 40).getlength(wording.name) / 40)
    signed = wording.sign != "none"
    size = max(_LEAST_LETTERS, round(width / (probe + (1.2 if signed else 0.0))))
    name = typeface(wording.font, size)
    left = round(size * 1.2) if signed else 0
    length = round(name.getlength(wording.name))
    small = max(_LEAST_LETTERS, round(size * rng.uniform(0.32, 0.55)))
    below = typeface(wording.font, small) if wording.tagline else None
    tagline = round(below.getlength(wording.tagline)) if below else 0
    rim_width = max(1, round(size * rng.uniform(0.04, 0.1)))
    pad = rim_width + 2
    w = max(left + length, tagline) + 2 * pad
    h = round(size * 1.35) + (round(small * 1.3) if below else 0) + 2 * pad
    letters, rim = Image.new("L", (w, h), 0), Image.new("L", (w, h), 0)
    stroke = max(1, size // 22)
    x, y = pad + left, pad
    for layer, extra in ((rim, rim_width), (letters, 0)):
        draw = ImageDraw.Draw(layer)
        if wording.outline:
            draw.text((x, y), wording.name, font=name, fill=255, stroke_width=extra + stroke)
            if not extra:
                draw.text((x, y), wording.name, font=name, fill=0)
        else:
            draw.text((x, y), wording.name, font=name, fill=255, stroke_width=extra)
        if signed:
            _sign(draw, wording.sign, pad, pad + size * 0.25, size * 0.95, max(2, size // 8) + extra)
        if below:
            at = pad + (max(0, w - 2 * pad - tagline) * (1.0 if signed else 0.5))
            draw.text((at, pad + size * 1.25), wording.tagline, font=below, fill=255, stroke_width=extra // 2)
    return letters, rim


def _turned(tile: tuple[Image.Image, Image.Image], degrees: float) -> tuple[Image.Image, Image.Image]:
    letters, rim = (layer.rotate(degrees, Image.Resampling.BICUBIC, expand=True) for layer in tile)
    return letters, rim


def _sign(draw: ImageDraw.ImageDraw, kind: str, x: float, y: float, size: float, stroke: int) -> None:
    box = (x, y, x + size, y + size)
    if kind == "disc":
        draw.ellipse(box, fill=255)
    elif kind == "square":
        draw.rectangle(box, fill=255)
    elif kind == "ring":
        draw.ellipse(box, outline=255, width=stroke)
    else:
        draw.rectangle((x, y + size * 0.2, x + size, y + size), outline=255, width=stroke)
        draw.ellipse((x + size * 0.3, y + size * 0.4, x + size * 0.7, y + size * 0.8), outline=255, width=stroke)


def _line(layers: Layers, text: str, at: tuple[float, float], size: int, font: Path, anchor: str) -> None:
    ImageDraw.Draw(layers.letters).text(at, text, font=typeface(font, size), fill=255, anchor=anchor)


def _lattice_points(
    layers: Layers, step: float, rise: float, slope: float, shift: float, rng: np.random.Generator
) -> list[tuple[float, float, int]]:
    """Return (x, y, row) of the lattice's points in and around the image."""
    width, height = layers.size
    reach = math.hypot(width, height) / 2 + step
    first_x, first_y = rng.uniform(0, step), rng.uniform(0, rise)
    columns, rows = math.ceil(reach / step) + 1, math.ceil(reach / rise) + 1
    cosine, sine = math.cos(slope), math.sin(slope)
    points = []
    for row in range(-rows, rows + 1):
        for column in range(-columns, columns + 1):
            along = first_x + (column + shift * (row % 2)) * step
            across = first_y + row * rise
            x = width / 2 + along * cosine - across * sine
            y = height / 2 + along * sine + across * cosine
            if -step < x < width + step and -step < y < height + step:
                points.append((x, y, row))
    return points


def _join(layers: Layers, x: float, y: float, step: float, rise: float, row: int, rng: np.random.Generator) -> None:
    """Draw the line from a tile to its neighbour in the next row."""
    stroke = max(1, round(layers.side * 0.003))
    away = step * (0.5 if row % 2 == 0 else -0.5)
    line = (x + 0.3 * away, y + 0.3 * rise, x + 0.7 * away, y + 0.7 * rise)
    ImageDraw.Draw(layers.lines).line(line, fill=255, width=stroke)


def _corner_lines(layers: Layers, rng: np.random.Generator) -> None:
    width, height = layers.size
    stroke = max(1, round(layers.side * rng.uniform(0.002, 0.008)))
    draw = ImageDraw.Draw(layers.lines)
    gap = rng.uniform(0.0, 0.3) if rng.random() < 0.5 else 0.0
    for x0, y0, x1, y1 in ((0, 0, width, height), (width, 0, 0, height)):
        for begin, end in ((0.0, 0.5 - gap), (0.5 + gap, 1.0)):
            draw.line(
                (x0 + (x1 - x0) * begin, y0 + (y1 - y0) * begin, x0 + (x1 - x0) * end, y0 + (y1 - y0) * end),
                fill=255,
                width=stroke,
            )


def _grid(layers: Layers, step: float, degrees: float, rng: np.random.Generator) -> None:
    """Draw two families of slanting lines."""
    width, height = layers.size
    reach = math.hypot(width, height)
    stroke = max(1, round(layers.side * rng.uniform(0.002, 0.006)))
    draw = ImageDraw.Draw(layers.lines)
    for turn in (degrees, -degrees):
        along = (math.cos(math.radians(turn)), math.sin(math.radians(turn)))
        count = math.ceil(reach / step) + 1
        first = rng.uniform(0, step)
        for number in range(-count, count + 1):
            x = width / 2 - along[1] * (first + number * step)
            y = height / 2 + along[0] * (first + number * step)
            draw.line(
                (x - along[0] * reach, y - along[1] * reach, x + along[0] * reach, y + along[1] * reach),
                fill=255,
                width=stroke,
            )
