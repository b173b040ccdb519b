"""What is easily taken for a cover and is none.

Pages of text, framed and marked pictures, surfaces, cut-outs, grids, simple shapes. Signs, captions and patterns are in
:mod:`forensics.render.distractors`. Each function takes (H, W, 3) uint8 RGB and returns the same. :data:`DECOYS` lists
them by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from forensics.render.fronts import palette
from forensics.render.layouts import collage, fit_inside, gradient
from forensics.render.lettering import Colour, Lettering, fit_text, invented
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

    Decoy: TypeAlias = Callable[[UInt8Array, np.random.Generator, Lettering], UInt8Array]

__all__ = ["DECOYS"]


def text_only(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Fill a sheet of the picture's size with paragraphs and nothing else: a page, a message, a quotation."""
    height, width = picture.shape[:2]
    paper: Colour = (255, 255, 255) if rng.random() < 0.5 else palette(rng)[0]
    ink: Colour = (20, 20, 24) if sum(paper) > 380 else (240, 240, 236)
    canvas = Image.new("RGB", (width, height), paper)
    draw, face, script = ImageDraw.Draw(canvas), letters.face(rng), letters.script(rng)
    size = height * float(rng.uniform(0.03, 0.09))
    y, margin = size * float(rng.uniform(0.5, 3)), width * float(rng.uniform(0.03, 0.12))
    while y < height - size * 1.5:
        words = invented(rng, script, words=int(rng.integers(3, 22))).lower()
        area = (margin, y, width - margin, min(height - size * 0.4, y + size * 6))
        y = fit_text(draw, area, words, face, ink, largest=size, anchor="left")[3] + size * float(rng.uniform(0.2, 1))
        if rng.random() < 0.15:
            break
    return np.asarray(canvas)


def framed(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Hang the picture on a wall in a frame, with or without a mount."""
    del letters
    height, width = picture.shape[:2]
    side = max(height, width)
    wall = Image.fromarray(
        gradient(side, side, rng=rng) if rng.random() < 0.3 else np.full((side, side, 3), palette(rng)[0], np.uint8)
    )
    scale = float(rng.uniform(0.6, 0.9)) * side / max(height, width)
    wide, high = round(width * scale), round(height * scale)
    mount, frame = round(side * float(rng.uniform(0, 0.06))), max(2, round(side * float(rng.uniform(0.01, 0.05))))
    x, y = (side - wide) // 2, (side - high) // 2
    draw = ImageDraw.Draw(wall)
    for reach, colour in ((mount + frame, palette(rng)[0]), (mount, (242, 240, 234))):
        draw.rectangle((x - reach, y - reach, x + wide + reach - 1, y + high + reach - 1), fill=colour)
    wall.paste(Image.fromarray(picture).resize((wide, high), Image.Resampling.BICUBIC), (x, y))
    return np.asarray(wall)


def marked(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Lay a stock agency's mark over the picture, its letters garbled here and there."""
    return draw_stock_mark(picture, random_stock_mark(rng, fonts=letters.faces, garbled=0.2), rng).image


def texture(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Make a surface: a piece of the picture repeated, stripes, checks, or smooth colour."""
    del letters
    height, width = picture.shape[:2]
    kind = int(rng.integers(4))
    if kind == 0:
        return gradient(width, height, rng=rng)
    if kind == 1:
        size = max(8, min(height, width) // int(rng.integers(3, 9)))
        piece = fit_inside(picture, width=size, height=size)
        return np.tile(piece, (height // size + 1, width // size + 1, 1))[:height, :width].copy()
    step = max(3, round(width / float(rng.uniform(6, 30))))
    first, second, _ = palette(rng)
    rows, columns = np.mgrid[0:height, 0:width]
    chosen = (columns // step) % 2 if kind == 2 else (columns // step + rows // step) % 2
    surface = np.where(chosen[..., None] == 1, np.array(first), np.array(second)).astype(np.uint8)
    return np.asarray(Image.fromarray(surface).filter(ImageFilter.GaussianBlur(float(rng.uniform(0, step / 3)))))


def cut(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Lay a cut-out thing onto a plain or smooth ground, as product pictures show it."""
    del letters
    height, width = picture.shape[:2]
    side = max(height, width)
    canvas = gradient(side, side, rng=rng) if rng.random() < 0.5 else np.full((side, side, 3), 255, np.uint8)
    scale = float(rng.uniform(0.5, 0.95)) * side / max(height, width)
    wide, high = max(8, round(width * scale)), max(8, round(height * scale))
    thing = Image.fromarray(picture).resize((wide, high), Image.Resampling.BICUBIC)
    mask = Image.new("L", (wide, high), 0)
    draw = ImageDraw.Draw(mask)
    if rng.random() < 0.5:
        draw.ellipse((0, 0, wide - 1, high - 1), fill=255)
    else:
        around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        reach = rng.uniform(0.6, 1.0, 12)
        points = zip((1 + reach * np.cos(around)) * wide / 2, (1 + reach * np.sin(around)) * high / 2, strict=True)
        draw.polygon([(float(x), float(y)) for x, y in points], fill=255)
    whole = Image.fromarray(canvas)
    whole.paste(thing, ((side - wide) // 2, (side - high) // 2), mask.filter(ImageFilter.GaussianBlur(1)))
    return np.asarray(whole)


def album(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Arrange parts of the picture in a grid, without a word."""
    del letters
    side = min(picture.shape[:2])
    parts = []
    for _ in range(int(rng.integers(2, 7))):
        size = max(8, round(side * float(rng.uniform(0.4, 1.0))))
        y, x = (int(rng.integers(0, length - size + 1)) for length in picture.shape[:2])
        parts.append(np.ascontiguousarray(picture[y : y + size, x : x + size]))
    return collage(parts, rng=rng, cell=96, gap=int(rng.integers(0, 8)))[0].image


def shapes(picture: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Draw what is round or square and no disc or book: wheels, targets, balls, dials, boxes, panes."""
    height, width = picture.shape[:2]
    side = 2 * max(height, width)
    ground: Colour = (255, 255, 255) if rng.random() < 0.6 else palette(rng)[0]
    canvas = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(canvas)
    fill, _, accent = palette(rng)
    pen = round(side * float(rng.uniform(0, 0.02)))
    ink: Colour = (12, 12, 16)
    line = ink if pen else None
    x, y, reach = (side * float(rng.uniform(low, high)) for low, high in ((0.42, 0.58), (0.42, 0.58), (0.25, 0.42)))
    kind = int(rng.integers(5))

    def ring(part: float, colour: Colour) -> None:
        box = (x - reach * part, y - reach * part, x + reach * part, y + reach * part)
        draw.ellipse(box, fill=colour, outline=line, width=pen)

    if kind == 0:  # a target
        for number, part in enumerate(np.linspace(1, 0.1, int(rng.integers(3, 9))).tolist()):
            ring(part, (fill, accent, (250, 250, 250))[number % int(rng.integers(2, 4))])
    elif kind == 1:  # a wheel or a dial: spokes or marks around a middle
        ring(1, fill)
        ring(float(rng.uniform(0.6, 0.9)), (250, 250, 250) if rng.random() < 0.5 else accent)
        inner, outer = (0.0, 0.85) if rng.random() < 0.6 else (0.7, 0.85)
        for turn in np.linspace(0, 2 * np.pi, int(rng.integers(4, 25)), endpoint=False).tolist():
            ends = [(x + reach * part * np.cos(turn), y + reach * part * np.sin(turn)) for part in (inner, outer)]
            draw.line([(float(a), float(b)) for a, b in ends], fill=ink, width=max(2, pen))
        ring(float(rng.uniform(0.05, 0.2)), accent)
    elif kind == 2:  # a ball, lit from above
        for step in range(40):
            part = 1 - step / 40
            away = reach * 0.35 * (1 - part)
            lit = tuple(round(v + (255 - v) * (step / 40) ** 1.5) for v in fill)
            box = (x - away - reach * part, y - away - reach * part, x - away + reach * part, y - away + reach * part)
            draw.ellipse(box, fill=lit)
    elif kind == 3:  # a box: three sides in three shades
        deep, low = reach * float(rng.uniform(0.3, 0.9)), reach * float(rng.uniform(0.2, 0.6))
        left, right, top = x - reach * 0.8, x + reach * 0.3, y - reach * 0.5
        foot = y + reach * float(rng.uniform(0.4, 0.9))
        shades = [tuple(round(v * factor) for v in fill) for factor in (1.0, 0.75, 0.55)]
        for shade, area in zip(
            shades,
            (
                [(left, top), (right, top), (right, foot), (left, foot)],
                [(left, top), (left + deep, top - low), (right + deep, top - low), (right, top)],
                [(right, top), (right + deep, top - low), (right + deep, foot - low), (right, foot)],
            ),
            strict=True,
        ):
            draw.polygon(area, fill=shade, outline=line, width=max(1, pen))
    else:  # panes, keys, a sign without a word
        draw.rounded_rectangle((x - reach, y - reach, x + reach, y + reach), reach * 0.1, fill, line, pen)
        count = int(rng.integers(1, 4))
        for row in range(count):
            for column in range(count):
                left, top = (middle - reach + reach * 2 * (n + 0.12) / count for middle, n in ((x, column), (y, row)))
                wide = reach * 2 * 0.76 / count
                draw.rectangle((left, top, left + wide, top + wide), accent, line, pen)
    if rng.random() < 0.15:
        words = invented(rng, letters.script(rng), words=1)
        fit_text(
            draw, (0.1 * side, 0.86 * side, 0.9 * side, 0.98 * side), words, letters.face(rng), ink, largest=0.1 * side
        )
    return np.asarray(canvas.resize((side // 2, side // 2), Image.Resampling.BOX))


DECOYS: Mapping[str, Decoy] = {
    "text": text_only,
    "framed": framed,
    "marked": marked,
    "texture": texture,
    "cut": cut,
    "album": album,
    "shapes": shapes,
}
"""By name: what is drawn over or around a picture that stays no cover."""
