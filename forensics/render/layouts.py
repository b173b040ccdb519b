"""Edits that put a picture among other things: pastes, collages, blends, stripes, a screenshot's frame."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from forensics.errors import UsageError
from forensics.render.edited import Edited, check_image, check_range, make, retouched
from forensics.render.text import font

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forensics.render.edited import UInt8Array

__all__ = ["blend", "collage", "fit_inside", "gradient", "paste", "screenshot", "stripes"]


def gradient(width: int, height: int, *, rng: np.random.Generator) -> UInt8Array:
    """Return a (height, width, 3) uint8 background that blends four random colours, without noise."""
    corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
    picture = Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).copy()


def paste(image: UInt8Array, background: UInt8Array, *, share: float, rng: np.random.Generator) -> Edited:
    """Paste the picture onto ``background`` at a random place.

    ``share`` is the part of the background's area that it covers, in (0, 1]; less where a long picture of that area
    would not fit.
    """
    check_image(image)
    check_image(background, "background")
    check_range("paste share", share, 1e-4, 1.0)
    height, width = image.shape[:2]
    canvas_height, canvas_width = background.shape[:2]
    factor = math.sqrt(share * canvas_height * canvas_width / (height * width))
    factor = min(factor, canvas_height / height, canvas_width / width)
    w, h = max(1, round(width * factor)), max(1, round(height * factor))
    x, y = int(rng.integers(0, canvas_width - w + 1)), int(rng.integers(0, canvas_height - h + 1))
    canvas = background.copy()
    canvas[y : y + h, x : x + w] = _resized(image, w, h)
    return make(canvas, _placed(image, x, y, w, h), image, f"paste:{share:.2f}")


def collage(images: Sequence[UInt8Array], *, rng: np.random.Generator, cell: int = 192, gap: int = 6) -> list[Edited]:
    """Arrange 2 to 16 pictures in a grid of square cells in random order, each filling its cell.

    Each picture is cut at its centre to a square. The result has one entry a picture, in the order of ``images``, all
    with the same pixels and each with its own geometry.
    """
    check_range("pictures of a collage", len(images), 2, 16)
    check_range("collage cell", cell, 8, 4096)
    check_range("collage gap", gap, 0, 256)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    canvas = np.full((rows * (cell + gap) + gap, columns * (cell + gap) + gap, 3), 255, np.uint8)
    places = rng.permutation(rows * columns)[: len(images)]
    made: list[tuple[int, int]] = []
    for image, place in zip(images, places, strict=True):
        check_image(image)
        row, column = divmod(int(place), columns)
        x, y = gap + column * (cell + gap), gap + row * (cell + gap)
        left, top, side = _square(image)
        canvas[y : y + cell, x : x + cell] = _resized(image[top : top + side, left : left + side], cell, cell)
        made.append((x, y))
    results = []
    for image, (x, y) in zip(images, made, strict=True):
        left, top, side = _square(image)
        scale = side / cell
        transform = (scale, 0, left - x * scale, 0, scale, top - y * scale, 0, 0, 1)
        outline = ((x, y), (x + cell, y), (x + cell, y + cell), (x, y + cell))
        results.append(make(canvas, transform, image, f"collage:{len(images)}", outline))
    return results


def blend(image: UInt8Array, other: UInt8Array, *, opacity: float) -> Edited:
    """Lay ``other``, stretched to the picture's size, over it with ``opacity`` in [0, 1]."""
    check_image(image)
    check_image(other, "other image")
    check_range("opacity", opacity, 0.0, 1.0)
    height, width = image.shape[:2]
    mixed = image * (1.0 - opacity) + _resized(other, width, height) * opacity
    return retouched(np.rint(mixed).astype(np.uint8), image, f"blend:{opacity:.2f}")


def stripes(image: UInt8Array, *, count: int, share: float, rng: np.random.Generator) -> Edited:
    """Cover ``share`` of the area, in [0, 0.9], with ``count`` stripes of one random colour, upright or level."""
    check_image(image)
    check_range("stripes", count, 1, 200)
    check_range("stripe share", share, 0.0, 0.9)
    upright = bool(rng.integers(2))
    colour = rng.integers(0, 256, 3).astype(np.uint8)
    pixels = image.copy()
    length = image.shape[1] if upright else image.shape[0]
    for number in range(count):
        start, stop = round(number * length / count), round((number + share) * length / count)
        if upright:
            pixels[:, start:stop] = colour
        else:
            pixels[start:stop] = colour
    return retouched(pixels, image, f"stripes:{count}")


def screenshot(image: UInt8Array, *, rng: np.random.Generator, text: str = "", dark: bool | None = None) -> Edited:
    """Show the picture as a post in an invented application: a bar above with a sign and a name, buttons below.

    ``text`` is the name that is written; ``dark`` chooses the scheme, at random where it is None.
    """
    check_image(image)
    height, width = image.shape[:2]
    if dark is None:
        dark = bool(rng.integers(2))
    ground, ink, soft = ((18, 18, 22), (235, 235, 235), (90, 90, 98)) if dark else ((250,) * 3, (20,) * 3, (170,) * 3)
    unit = max(8, round(max(width, height) * 0.05))
    side, above, below = round(unit * rng.uniform(0.0, 1.5)), round(unit * 3.2), round(unit * rng.uniform(3.0, 6.0))
    canvas = Image.new("RGB", (width + 2 * side, above + height + below), ground)
    draw = ImageDraw.Draw(canvas)
    accent = tuple(int(v) for v in rng.integers(40, 230, 3))
    draw.ellipse((unit // 2 + side, unit * 0.6, unit * 2.5 + side, unit * 2.6), fill=accent)
    draw.text((unit * 3 + side, unit * 0.7), text or "user", font=font(unit * 3 // 4), fill=ink)
    draw.rectangle((unit * 3 + side, unit * 1.9, unit * 7 + side, unit * 2.2), fill=soft)
    canvas.paste(Image.fromarray(image), (side, above))
    for button in range(3):
        x, y = side + unit * (0.6 + 2.2 * button), above + height + unit * 0.6
        draw.ellipse((x, y, x + unit * 1.1, y + unit * 1.1), outline=ink, width=max(1, unit // 8))
    for line in range(int((below - 2.2 * unit) / unit)):
        y = above + height + unit * (2.2 + line)
        draw.rectangle((side + unit * 0.6, y, side + rng.uniform(0.4, 0.95) * width, y + unit * 0.35), fill=soft)
    return make(np.asarray(canvas), (1, 0, -side, 0, 1, -above, 0, 0, 1), image, "screenshot")


def fit_inside(image: UInt8Array, *, width: int, height: int) -> UInt8Array:
    """Return the centre of the picture, scaled to fill ``width`` x ``height`` without distortion: a background."""
    check_image(image)
    if width < 1 or height < 1:
        raise UsageError(f"a background of {width} x {height} pixels was asked for; give at least 1 x 1")
    old_height, old_width = image.shape[:2]
    factor = max(width / old_width, height / old_height)
    w, h = max(width, round(old_width * factor)), max(height, round(old_height * factor))
    left, top = (w - width) // 2, (h - height) // 2
    return _resized(image, w, h)[top : top + height, left : left + width].copy()


def _resized(image: UInt8Array, width: int, height: int) -> UInt8Array:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _placed(image: UInt8Array, x: int, y: int, width: int, height: int) -> tuple[float, ...]:
    """Return the transform from a canvas to ``image`` drawn at (x, y) with size ``width`` x ``height``."""
    scale_x, scale_y = image.shape[1] / width, image.shape[0] / height
    return (scale_x, 0, -x * scale_x, 0, scale_y, -y * scale_y, 0, 0, 1)


def _square(image: UInt8Array) -> tuple[int, int, int]:
    """Return (left, top, side) of the centred square of ``image``."""
    height, width = image.shape[:2]
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side
