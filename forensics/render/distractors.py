"""What looks like a mark and is none: signs, captions, shirts, pages of text, fences, windows, screens, plaid.

They are parts of the scene or of a layout: opaque letters on their own ground, patterns without letters. A detector of
stock marks must leave them alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from forensics.errors import UsageError
from forensics.render.edited import check_image
from forensics.render.stock_fonts import characters, typeface
from forensics.render.stock_names import word_list

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["DISTRACTORS", "add_distractor"]

_WORDS = word_list(
    "the of and open sale exit hotel cafe bar pizza taxi police school bus stop love happy new year summer team club "
    "music festival street park coffee fresh best world life super game over one way bank market"
)
_RUSSIAN = word_list(
    "и в не на что это как хлеб аптека метро кафе выход вход магазин школа парк музей дом лето зима год мир город "
    "улица кино театр стоп такси банк рынок когда ты мой кот"
)
_LETTERS = "abcdefghiklmnoprstuvxyz"
_CYRILLIC = "абвгдежзиклмнопрстуфхцчшыья"


def add_distractor(
    image: UInt8Array, rng: np.random.Generator, *, fonts: Sequence[Path], kind: str | None = None
) -> UInt8Array:
    """Return the picture with one thing that is no mark: ``kind`` of :data:`DISTRACTORS`, or any."""
    check_image(image)
    if kind is not None and kind not in DISTRACTORS:
        raise UsageError(f"kind {kind!r} given; accepted: {', '.join(DISTRACTORS)}")
    chosen = kind or str(rng.choice(list(DISTRACTORS)))
    return DISTRACTORS[chosen](image, rng, fonts)


def _phrase(rng: np.random.Generator, words: int, fonts: Sequence[Path]) -> tuple[str, Path]:
    """Return words of a language or of none, and a typeface that has their letters."""
    font = fonts[int(rng.integers(len(fonts)))]
    cyrillic = "ж" in characters(font) and rng.random() < 0.5
    made = []
    for _ in range(words):
        if rng.random() < 0.5:
            made.append(str(rng.choice(_RUSSIAN if cyrillic else _WORDS)))
        else:
            letters = _CYRILLIC if cyrillic else _LETTERS
            made.append("".join(str(rng.choice(list(letters))) for _ in range(rng.integers(2, 10))))
    text = " ".join(made)
    form = rng.random()
    return (text.upper() if form < 0.5 else text.capitalize() if form < 0.75 else text), font


def _colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in rng.integers(0, 256, 3))
    return red, green, blue


def _ink_on(ground: tuple[int, int, int], rng: np.random.Generator) -> tuple[int, int, int]:
    if rng.random() < 0.3:
        return _colour(rng)
    return (250, 250, 245) if sum(ground) < 380 else (15, 15, 20)


def _fitting(font: Path, text: str, width: float, height: float) -> int:
    probe = max(1.0, typeface(font, 40).getlength(text) / 40)
    return max(6, round(min(width / probe, height)))


def _sign(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    """Return a board with opaque words, perhaps tilted, in the scene."""
    height, width = image.shape[:2]
    w, h = width * rng.uniform(0.2, 0.9), height * rng.uniform(0.08, 0.35)
    ground = _colour(rng)
    board = Image.new("RGB", (max(8, round(w)), max(8, round(h))), ground)
    text, font = _phrase(rng, int(rng.integers(1, 4)), fonts)
    size = _fitting(font, text, w * 0.9, h * 0.7)
    draw = ImageDraw.Draw(board)
    draw.text((w / 2, h / 2), text, font=typeface(font, size), fill=_ink_on(ground, rng), anchor="mm")
    if rng.random() < 0.5:
        draw.rectangle((0, 0, board.width - 1, board.height - 1), outline=_ink_on(ground, rng), width=max(1, size // 8))
    cover = Image.new("L", board.size, 255)
    if rng.random() < 0.5:
        turn = float(rng.uniform(-30, 30))
        board = board.rotate(turn, Image.Resampling.BICUBIC, expand=True)
        cover = cover.rotate(turn, Image.Resampling.BICUBIC, expand=True)
    canvas = Image.fromarray(image)
    place = (int(rng.uniform(-0.1, 0.8) * width), int(rng.uniform(0.0, 0.9) * height))
    canvas.paste(board, place, cover)
    return np.asarray(canvas)


def _words(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    """Return opaque letters right on the picture, as on a shirt, a shop, a cover."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    colour = _colour(rng) if rng.random() < 0.6 else (250, 250, 250)
    for _ in range(int(rng.integers(1, 4))):
        text, font = _phrase(rng, int(rng.integers(1, 3)), fonts)
        size = _fitting(font, text, width * rng.uniform(0.2, 0.9), height * rng.uniform(0.05, 0.25))
        layer = Image.new("L", canvas.size, 0)
        at = (rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height)
        ImageDraw.Draw(layer).text(at, text, font=typeface(font, size), fill=255, anchor="mm")
        if rng.random() < 0.4:
            layer = layer.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BICUBIC)
        canvas.paste(Image.new("RGB", canvas.size, colour), (0, 0), layer)
    return np.asarray(canvas)


def _caption(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    """Return white capitals with a dark outline at the top or foot, or a bar with words, as memes have."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for at_top in (True, False) if rng.random() < 0.5 else (bool(rng.integers(2)),):
        text, font = _phrase(rng, int(rng.integers(2, 6)), fonts)
        size = _fitting(font, text, width * 0.95, height * 0.14)
        y = size * 0.8 if at_top else height - size * 0.8
        style = {"stroke_width": max(1, size // 12), "stroke_fill": (0, 0, 0)}
        if rng.random() < 0.35:
            ground = (255, 255, 255) if rng.random() < 0.7 else (0, 0, 0)
            draw.rectangle(
                (0, 0, width, size * 1.7) if at_top else (0, height - size * 1.7, width, height), fill=ground
            )
            draw.text((width / 2, y), text, font=typeface(font, size), fill=_ink_on(ground, rng), anchor="mm")
        else:
            draw.text((width / 2, y), text, font=typeface(font, size), fill="white", anchor="mm", **style)  # type: ignore[arg-type]
    return np.asarray(canvas)


def _page(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    """Return lines of small text on paper or a screen over a part of the picture."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    ground = (245, 245, 240) if rng.random() < 0.6 else _colour(rng)
    x0, y0 = rng.uniform(0, 0.5) * width, rng.uniform(0, 0.5) * height
    x1, y1 = x0 + rng.uniform(0.3, 0.9) * width, y0 + rng.uniform(0.3, 0.9) * height
    if rng.random() < 0.8:
        draw.rectangle((x0, y0, x1, y1), fill=ground)
    size = max(6, round(max(height, width) * rng.uniform(0.025, 0.06)))
    _, font = _phrase(rng, 1, fonts)
    ink = _ink_on(ground, rng)
    y = y0 + size
    while y < min(y1, height) - size:
        text, _ = _phrase(rng, int(rng.integers(2, 7)), [font])
        while len(text) > 2 and typeface(font, size).getlength(text) > x1 - x0 - size:
            text = text[: len(text) * 3 // 4]
        draw.text((x0 + size / 2, y), text, font=typeface(font, size), fill=ink)
        y += size * 1.4
    return np.asarray(canvas)


def _blend(image: UInt8Array, cover: Image.Image, rng: np.random.Generator) -> UInt8Array:
    colour = _colour(rng) if rng.random() < 0.5 else ((240,) * 3 if rng.random() < 0.5 else (25,) * 3)
    strength = float(rng.choice([1.0, 1.0, rng.uniform(0.25, 0.9)]))
    alpha = np.asarray(cover, np.float32)[..., None] * np.float32(strength / 255)
    mixed = image * (1 - alpha) + np.array(colour, np.float32) * alpha
    return np.asarray(np.clip(np.rint(mixed), 0, 255), np.uint8)


def _families(image: UInt8Array, rng: np.random.Generator, angles: Sequence[float], *, thick: float) -> Image.Image:
    """Return families of parallel lines, one an angle, over all of the picture or a part."""
    height, width = image.shape[:2]
    cover = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(cover)
    reach = math.hypot(width, height)
    step = max(width, height) / rng.uniform(2.0, 22.0)
    stroke = max(1, round(step * thick))
    for angle in angles:
        along = (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
        count = math.ceil(reach / step) + 1
        for number in range(-count, count + 1):
            x, y = width / 2 - along[1] * number * step, height / 2 + along[0] * number * step
            ends = (x - along[0] * reach, y - along[1] * reach, x + along[0] * reach, y + along[1] * reach)
            draw.line(ends, fill=255, width=stroke)
    if rng.random() < 0.4:
        part = Image.new("L", (width, height), 0)
        box = (rng.uniform(-0.2, 0.5) * width, rng.uniform(-0.2, 0.5) * height)
        ImageDraw.Draw(part).rectangle(
            (*box, box[0] + rng.uniform(0.3, 1.0) * width, box[1] + rng.uniform(0.3, 1.0) * height), fill=255
        )
        cover = Image.composite(cover, Image.new("L", cover.size, 0), part)
    return cover


def _fence(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    angle = rng.uniform(30, 60)
    return _blend(image, _families(image, rng, (angle, -angle), thick=rng.uniform(0.03, 0.15)), rng)


def _window(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    tilt = rng.uniform(-6, 6)
    return _blend(image, _families(image, rng, (tilt, 90 + tilt), thick=rng.uniform(0.03, 0.3)), rng)


def _hatching(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    return _blend(image, _families(image, rng, (rng.uniform(0, 180),), thick=rng.uniform(0.1, 0.5)), rng)


def _plaid(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    made = image
    for angle in (0.0, 90.0):
        made = _blend(made, _families(image, rng, (angle,), thick=rng.uniform(0.1, 0.5)), rng)
    return made


def _dots(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    """Return a lattice of like shapes without letters: wallpaper, fabric, lights."""
    height, width = image.shape[:2]
    cover = Image.new("L", (width, height), 0)
    draw = ImageDraw.Draw(cover)
    step = max(width, height) / rng.uniform(2.0, 9.0)
    radius = step * rng.uniform(0.08, 0.4)
    corners, turn = int(rng.integers(3, 9)), rng.uniform(0, 2 * math.pi)
    for row in range(-1, math.ceil(height / step) + 1):
        for column in range(-1, math.ceil(width / step) + 1):
            x, y = (column + 0.5 * (row % 2)) * step, row * step * 0.8
            shape = [
                (
                    x + radius * math.cos(turn + k * 2 * math.pi / corners),
                    y + radius * math.sin(turn + k * 2 * math.pi / corners),
                )
                for k in range(corners)
            ]
            draw.polygon(shape, fill=255)
    return _blend(image, cover, rng)


def _screen(image: UInt8Array, rng: np.random.Generator, fonts: Sequence[Path]) -> UInt8Array:
    """Return the picture on a screen: a window's frame with a title, buttons, perhaps a list."""
    height, width = image.shape[:2]
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    ground = (32, 32, 38) if rng.random() < 0.5 else (238, 238, 240)
    deep = max(8.0, height * rng.uniform(0.06, 0.14))
    draw.rectangle((0, 0, width, deep), fill=ground)
    text, font = _phrase(rng, int(rng.integers(1, 4)), fonts)
    size = max(6, round(deep * 0.6))
    draw.text((deep, deep / 2), text, font=typeface(font, size), fill=_ink_on(ground, rng), anchor="lm")
    for button in range(3):
        x = width - deep * (0.5 + 0.8 * button)
        draw.ellipse((x - deep * 0.2, deep * 0.3, x + deep * 0.2, deep * 0.7), fill=_colour(rng))
    if rng.random() < 0.5:
        draw.rectangle((0, height - deep, width, height), fill=ground)
        for number in range(int(rng.integers(2, 6))):
            x = width * (0.05 + 0.18 * number)
            draw.rectangle((x, height - deep * 0.75, x + width * 0.1, height - deep * 0.25), fill=_colour(rng))
    return np.asarray(canvas)


DISTRACTORS: Mapping[str, Callable[[UInt8Array, np.random.Generator, Sequence[Path]], UInt8Array]] = {
    "sign": _sign,
    "words": _words,
    "caption": _caption,
    "page": _page,
    "fence": _fence,
    "window": _window,
    "hatching": _hatching,
    "plaid": _plaid,
    "dots": _dots,
    "screen": _screen,
}
"""By name; each returns a new picture of the same size."""
