"""Books and discs as clip art draws them: flat colours, outlines, a title or none, on a plain ground.

The last of :data:`DRAWN_BOOKS` and of :data:`DRAWN_DISCS` are kept for tests of what training has not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from forensics.render.fronts import palette
from forensics.render.lettering import Colour, Lettering, fit_text, invented

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

    Drawing: TypeAlias = Callable[[np.random.Generator, Lettering, int], UInt8Array]
    Point: TypeAlias = tuple[float, float]

__all__ = ["DRAWN_BOOKS", "DRAWN_DISCS"]

_FINER = 3
"""Drawn so many times as large and averaged down: edges are smooth."""
_PAPER: Sequence[Colour] = ((255, 255, 255), (250, 246, 232), (236, 226, 196), (222, 222, 226))


def standing_book(rng: np.random.Generator, letters: Lettering, side: int) -> UInt8Array:
    """Draw a closed book upright, its back at one side and the edges of its pages at the other."""
    canvas, draw, pen = _canvas(rng, side)
    size = canvas.width
    high, wide = size * float(rng.uniform(0.62, 0.9)), size * float(rng.uniform(0.42, 0.62))
    deep = size * float(rng.uniform(0.04, 0.2))
    x, y = (size - wide - deep) / 2, (size - high) / 2
    lean = deep * float(rng.uniform(-0.6, 0.6))
    front = [(x + deep, y), (x + deep + wide, y), (x + deep + wide, y + high), (x + deep, y + high)]
    back = [(x, y + lean), front[0], front[3], (x, y + high + lean)]
    board = palette(rng)[0]
    if rng.random() < 0.5:
        top = [(x, y + lean), front[0], front[1], (x + wide * 0.97, y + lean)]
        _pages(draw, top, rng, pen)
    _area(draw, back, _shaded(board, float(rng.uniform(0.5, 0.85))), pen)
    _board(canvas, front, board, rng, letters, pen)
    if rng.random() < 0.4:
        for part in rng.uniform(0.1, 0.9, int(rng.integers(1, 5))):
            low, high_ = (_between(back[0], back[3], part), _between(back[1], back[2], part))
            draw.line((*low, *high_), fill=pen[0], width=max(1, pen[1]))
    return _finished(canvas, rng, side)


def lying_book(rng: np.random.Generator, letters: Lettering, side: int) -> UInt8Array:
    """Draw a closed book lying, seen from above one corner: the board, the back and the pages."""
    canvas, draw, pen = _canvas(rng, side)
    size = canvas.width
    along = np.array([size * float(rng.uniform(0.4, 0.6)), size * float(rng.uniform(-0.3, 0.12))])
    across = np.array([size * float(rng.uniform(-0.28, 0.28)), size * float(rng.uniform(0.24, 0.5))])
    thick = np.array([size * float(rng.uniform(-0.04, 0.04)), size * float(rng.uniform(0.05, 0.28))])
    middle = np.array([size / 2, size / 2])
    corner = middle - (along + across + thick) / 2
    points = [corner, corner + along, corner + along + across, corner + across]
    top = [_point(one) for one in points]
    low = [_point(one + thick) for one in points]
    board = palette(rng)[0]
    # of a convex top, the sides below it are seen whose outward direction points down
    turn = np.sign(along[0] * across[1] - along[1] * across[0])
    edges = [(number, (number + 1) % 4) for number in range(4)]
    steps = [points[second] - points[first] for first, second in edges]
    seen = [
        edge for edge, step in zip(edges, steps, strict=True) if turn * (step[1] * thick[0] - step[0] * thick[1]) > 0
    ]
    bound = int(rng.integers(3))
    for number, (first, second) in enumerate(seen):
        face = [top[first], top[second], low[second], low[first]]
        if number == bound:
            _area(draw, face, _shaded(board, float(rng.uniform(0.45, 0.8))), pen)
        else:
            _pages(draw, face, rng, pen)
    _board(canvas, top, board, rng, letters, pen)
    return _finished(canvas, rng, side)


def aslant_book(rng: np.random.Generator, letters: Lettering, side: int) -> UInt8Array:
    """Draw a closed book turned in the plane, its pages a strip along two edges."""
    canvas, draw, pen = _canvas(rng, side)
    size = canvas.width
    angle = float(rng.uniform(-0.6, 0.6))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    half = np.array([size * float(rng.uniform(0.2, 0.3)), size * float(rng.uniform(0.3, 0.38))])
    away = np.array([1, 1]) * size * float(rng.uniform(0.03, 0.09))
    signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    top = [_point(turn @ (half * sign) + size / 2 - away / 2) for sign in signs]
    low = [_point(np.array(one) + away) for one in top]
    board = palette(rng)[0]
    _area(draw, low, _shaded(board, 0.7), pen)
    for first, second in ((1, 2), (2, 3)):
        _pages(draw, [top[first], top[second], low[second], low[first]], rng, pen)
    _board(canvas, top, board, rng, letters, pen)
    return _finished(canvas, rng, side)


def silver_disc(rng: np.random.Generator, letters: Lettering, side: int) -> UInt8Array:
    """Draw a compact disc: rings around a hole, light falling on it in wedges or in the colours of the rainbow."""
    return _disc(rng, letters, side, vinyl=False, flat=1.0)


def black_disc(rng: np.random.Generator, letters: Lettering, side: int) -> UInt8Array:
    """Draw a record: black, grooved, with a coloured label."""
    return _disc(rng, letters, side, vinyl=True, flat=1.0)


def tilted_disc(rng: np.random.Generator, letters: Lettering, side: int) -> UInt8Array:
    """Draw either kind of disc seen aslant."""
    return _disc(rng, letters, side, vinyl=bool(rng.random() < 0.5), flat=float(rng.uniform(0.55, 0.9)))


DRAWN_BOOKS: tuple[Drawing, ...] = (standing_book, lying_book, aslant_book)
DRAWN_DISCS: tuple[Drawing, ...] = (silver_disc, black_disc, tilted_disc)


def _disc(rng: np.random.Generator, letters: Lettering, side: int, *, vinyl: bool, flat: float) -> UInt8Array:
    canvas, _, pen = _canvas(rng, side)
    size = canvas.width
    radius = size * float(rng.uniform(0.34, 0.49))
    disc = Image.new("RGBA", (size, size))
    draw = ImageDraw.Draw(disc)

    def ring(part: float, fill: Colour | None, line: Colour | None = None, width: int = 1) -> None:
        reach = radius * part
        box = (size / 2 - reach, size / 2 - reach, size / 2 + reach, size / 2 + reach)
        draw.ellipse(box, fill=fill, outline=line, width=width)

    grey = int(rng.integers(8, 60)) if vinyl else int(rng.integers(150, 240))
    tint = rng.integers(-12, 13, 3)
    base = _clipped(grey + tint) if rng.random() < 0.75 else palette(rng)[0]
    ring(1, base)
    _light(draw, rng, base, radius, size, vinyl=vinyl)
    if vinyl:
        for part in np.arange(0.4, 0.97, float(rng.uniform(0.02, 0.09))):
            ring(float(part), None, _clipped(np.array(base) + int(rng.integers(10, 50))), max(1, size // 300))
        ring(float(rng.uniform(0.28, 0.4)), palette(rng)[2] if rng.random() < 0.8 else base, pen[0], pen[1])
        hole = float(rng.uniform(0.02, 0.12))
    else:
        if rng.random() < 0.4:  # printed: a word or a bow of colour
            ring(float(rng.uniform(0.7, 0.98)), palette(rng)[0])
        inner = float(rng.uniform(0.26, 0.42))
        ring(inner, _clipped(np.array(base) + int(rng.integers(-50, 40))), pen[0], pen[1])
        ring(inner * float(rng.uniform(0.6, 0.9)), _clipped(np.array(base) + int(rng.integers(-20, 60))))
        hole = float(rng.uniform(0.1, 0.2))
    if rng.random() < 0.4:
        text = invented(rng, letters.script(rng), words=1)[: int(rng.integers(2, 8))]
        top = size / 2 + radius * float(rng.choice([-0.8, 0.42]))
        box = (size / 2 - radius * 0.6, top, size / 2 + radius * 0.6, top + radius * 0.34)
        fit_text(draw, box, text, letters.face(rng), palette(rng)[1], largest=radius * 0.34)
    if pen[1]:
        ring(1, None, pen[0], pen[1])
    ring(hole, canvas.getpixel((1, 1)), pen[0] if rng.random() < 0.7 else None, max(1, pen[1]))  # type: ignore[arg-type]
    if flat < 1:
        low = disc.resize((size, round(size * flat)), Image.Resampling.BICUBIC)
        disc = Image.new("RGBA", (size, size))
        disc.paste(low, (0, (size - low.height) // 2))
        disc = disc.rotate(float(rng.uniform(-60, 60)), Image.Resampling.BICUBIC)
    if rng.random() < 0.35:
        away = size // 60
        shade = Image.new("RGB", (size, size), _clipped(np.array(canvas.getpixel((1, 1))) * 0.75))
        canvas.paste(shade, (away, away), disc.getchannel("A"))
    canvas.paste(disc.convert("RGB"), (0, 0), disc.getchannel("A"))
    return _finished(canvas, rng, side)


def _light(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, base: Colour, radius: float, size: int, *, vinyl: bool
) -> None:
    """Lay light on a disc: two opposite wedges, plain, stepped or of the rainbow; or none."""
    kind = float(rng.random())
    if kind < 0.25:
        return
    box = (size / 2 - radius, size / 2 - radius, size / 2 + radius, size / 2 + radius)
    start, wide = float(rng.uniform(0, 180)), float(rng.uniform(15, 80))
    steps = int(rng.integers(1, 3)) if kind < 0.6 else int(rng.integers(8, 40))
    rainbow = not vinyl and rng.random() < 0.45
    sign = 1 if vinyl or rng.random() < 0.7 else -1
    for turn in (0, 180):
        for step in range(steps):
            part = (step + 0.5) / steps
            strength = 1 - abs(2 * part - 1) if steps > 2 else 1.0
            if rainbow:
                away = [255 * max(0.0, 1 - 3 * abs(part - place)) for place in (0.2, 0.5, 0.8)]
                fill = _clipped(np.array(base) * 0.5 + np.array(away) * 0.6)
            else:
                fill = _clipped(np.array(base) + sign * strength * float(rng.uniform(40, 60)))
            first = start + turn + part * wide - wide / steps / 2
            draw.pieslice(box, first, first + wide / steps + 0.5, fill=fill)


def _canvas(rng: np.random.Generator, side: int) -> tuple[Image.Image, ImageDraw.ImageDraw, tuple[Colour, int]]:
    """Return a plain sheet, something to draw on it with, and a pen: colour, and width in pixels, 0 for none."""
    ground: Colour = (255, 255, 255) if rng.random() < 0.7 else palette(rng)[0]
    canvas = Image.new("RGB", (side * _FINER,) * 2, ground)
    line = 0 if rng.random() < 0.3 else max(1, round(canvas.width * float(rng.uniform(0.003, 0.02))))
    ink: Colour = (10, 10, 14) if rng.random() < 0.8 else _shaded(palette(rng)[0], 0.5)
    return canvas, ImageDraw.Draw(canvas), (ink, line)


def _area(draw: ImageDraw.ImageDraw, corners: Sequence[Point], fill: Colour, pen: tuple[Colour, int]) -> None:
    draw.polygon(list(corners), fill=fill)
    if pen[1]:
        draw.line([*corners, corners[0], corners[1]], fill=pen[0], width=pen[1], joint="curve")


def _pages(
    draw: ImageDraw.ImageDraw, corners: Sequence[Point], rng: np.random.Generator, pen: tuple[Colour, int]
) -> None:
    """Draw the edges of the pages: paper, with lines along its longer side or none."""
    paper = _PAPER[int(rng.integers(len(_PAPER)))]
    _area(draw, corners, paper, pen)
    lines = int(rng.integers(0, 8))
    for part in np.linspace(0, 1, lines + 2)[1:-1].tolist():
        ends = (*_between(corners[0], corners[3], part), *_between(corners[1], corners[2], part))
        draw.line(ends, fill=_shaded(paper, 0.7), width=max(1, pen[1] // 2))


def _board(
    canvas: Image.Image,
    corners: Sequence[Point],
    board: Colour,
    rng: np.random.Generator,
    letters: Lettering,
    pen: tuple[Colour, int],
) -> None:
    """Draw the board with what is on it: nothing, a border, a band, a plate with or without a word."""
    draw = ImageDraw.Draw(canvas)
    if rng.random() < 0.3:  # shaded across
        steps = 24
        for step in range(steps):
            first, second = step / steps, (step + 1) / steps
            strip = [
                _between(corners[0], corners[1], first),
                _between(corners[0], corners[1], second),
                _between(corners[3], corners[2], second),
                _between(corners[3], corners[2], first),
            ]
            draw.polygon(strip, fill=_shaded(board, 0.8 + 0.4 * first))
        draw.line([*corners, corners[0]], fill=pen[0], width=max(1, pen[1]))
    else:
        _area(draw, corners, board, pen)
    accent = palette(rng)[2]
    kind = float(rng.random())
    if kind < 0.35:
        return
    if kind < 0.5:  # the joint beside the back
        draw.line(
            (*_inside(corners, 0.08, 0), *_inside(corners, 0.08, 1)), fill=_shaded(board, 0.6), width=max(1, pen[1])
        )
        return
    low, high = float(rng.uniform(0.08, 0.4)), float(rng.uniform(0.55, 0.92))
    if kind < 0.65:
        low, high = 0.07, 0.93
    x0, x1 = (0.07, 0.93) if kind < 0.65 else (float(rng.uniform(0.0, 0.25)), float(rng.uniform(0.75, 1.0)))
    plate = [
        _inside(corners, x0, low),
        _inside(corners, x1, low),
        _inside(corners, x1, high),
        _inside(corners, x0, high),
    ]
    if kind < 0.65:
        draw.line([*plate, plate[0]], fill=accent, width=max(1, canvas.width // 120))
        return
    draw.polygon(plate, fill=accent if rng.random() < 0.6 else (250, 248, 240))
    if kind > 0.8:  # a word; straight, as simple drawings have it
        xs, ys = [x for x, _ in plate], [y for _, y in plate]
        box = (min(xs), min(ys), max(xs), max(ys))
        words = invented(rng, letters.script(rng), words=int(rng.integers(1, 3)))
        fit_text(draw, box, words, letters.face(rng), (10, 10, 14), largest=canvas.width * 0.1)


def _finished(canvas: Image.Image, rng: np.random.Generator, side: int) -> UInt8Array:
    made = canvas.resize((side, side), Image.Resampling.BOX)
    return np.asarray(made.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.3 else made)


def _between(first: Point, second: Point, part: float) -> Point:
    return (first[0] + (second[0] - first[0]) * part, first[1] + (second[1] - first[1]) * part)


def _inside(corners: Sequence[Point], across: float, down: float) -> Point:
    """Return the place within four corners, clockwise from the upper left, at shares of the two sides."""
    return _between(_between(corners[0], corners[1], across), _between(corners[3], corners[2], across), down)


def _point(place: np.ndarray) -> Point:
    return float(place[0]), float(place[1])


def _shaded(colour: Colour, factor: float) -> Colour:
    return _clipped(np.array(colour) * factor)


def _clipped(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(np.rint(values), 0, 255).astype(int).tolist()
    return red, green, blue
