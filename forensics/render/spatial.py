"""Edits that move pixels as a whole: crop, resize, mirror, rotate, tilt, pad."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from forensics.render.edited import Edited, check_image, check_range, make, rectangle

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = [
    "crop",
    "crop_box",
    "flip",
    "mirror",
    "pad",
    "quarter_turn",
    "resize",
    "rotate",
    "scale_to",
    "squeeze",
    "tilt",
]

WHITE = (255, 255, 255)


def crop_box(image: UInt8Array, *, box: tuple[int, int, int, int]) -> Edited:
    """Cut out ``box`` = (x0, y0, x1, y1) in pixels, at least 1 x 1 and inside the image."""
    check_image(image)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    check_range("crop x0", x0, 0, width - 1)
    check_range("crop y0", y0, 0, height - 1)
    check_range("crop x1", x1, x0 + 1, width)
    check_range("crop y1", y1, y0 + 1, height)
    return make(image[y0:y1, x0:x1], (1, 0, x0, 0, 1, y0, 0, 0, 1), image, f"crop:{x0},{y0},{x1},{y1}")


def crop(image: UInt8Array, *, share: float, rng: np.random.Generator, stretch: float = 1.0) -> Edited:
    """Cut out a rectangle of ``share`` of the area at a random place.

    Parameters
    ----------
    share : float
        Part of the area that is kept, in (0, 1]; met within a pixel's rounding.
    stretch : float
        Largest change of the aspect ratio, at least 1: the rectangle's is the image's times a factor drawn (evenly in
        its logarithm) from [1 / stretch, stretch].
    """
    check_image(image)
    check_range("crop share", share, 1e-4, 1.0)
    check_range("crop stretch", stretch, 1.0, 10.0)
    height, width = image.shape[:2]
    factor = math.exp(rng.uniform(-1.0, 1.0) * math.log(stretch))
    wide = min(1.0, math.sqrt(share * factor))
    high = min(1.0, share / wide)
    wide = min(1.0, share / high)
    w, h = max(1, round(width * wide)), max(1, round(height * high))
    x0, y0 = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    made = crop_box(image, box=(x0, y0, x0 + w, y0 + h))
    return make(made.image, made.transform, image, f"crop:{share:.2f}")


def resize(image: UInt8Array, *, width: int, height: int) -> Edited:
    """Resize to ``width`` x ``height`` pixels (antialiased, bicubic); the aspect ratio may change."""
    check_image(image)
    check_range("width", width, 1, 20000)
    check_range("height", height, 1, 20000)
    old_height, old_width = image.shape[:2]
    pixels = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))
    return make(
        pixels, (old_width / width, 0, 0, 0, old_height / height, 0, 0, 0, 1), image, f"resize:{width}x{height}"
    )


def scale_to(image: UInt8Array, *, long_side: int) -> Edited:
    """Resize so that the longer side is ``long_side`` pixels, the aspect ratio kept."""
    check_image(image)
    height, width = image.shape[:2]
    factor = long_side / max(height, width)
    return resize(image, width=max(1, round(width * factor)), height=max(1, round(height * factor)))


def squeeze(image: UInt8Array, *, factor: float) -> Edited:
    """Change the aspect ratio by ``factor`` in [0.2, 5] (above 1: wider), the area about kept."""
    check_image(image)
    check_range("squeeze factor", factor, 0.2, 5.0)
    height, width = image.shape[:2]
    root = math.sqrt(factor)
    made = resize(image, width=max(1, round(width * root)), height=max(1, round(height / root)))
    return make(made.image, made.transform, image, f"squeeze:{factor:.2f}")


def mirror(image: UInt8Array) -> Edited:
    """Mirror left to right."""
    check_image(image)
    return make(image[:, ::-1], (-1, 0, image.shape[1], 0, 1, 0, 0, 0, 1), image, "mirror")


def flip(image: UInt8Array) -> Edited:
    """Mirror top to bottom."""
    check_image(image)
    return make(image[::-1], (1, 0, 0, 0, -1, image.shape[0], 0, 0, 1), image, "flip")


def quarter_turn(image: UInt8Array, *, turns: int) -> Edited:
    """Turn by ``turns`` quarter turns counter-clockwise, without resampling."""
    check_image(image)
    height, width = image.shape[:2]
    turns %= 4
    matrices = (
        (1, 0, 0, 0, 1, 0, 0, 0, 1),
        (0, -1, width, 1, 0, 0, 0, 0, 1),
        (-1, 0, width, 0, -1, height, 0, 0, 1),
        (0, 1, 0, -1, 0, height, 0, 0, 1),
    )
    return make(np.rot90(image, turns), matrices[turns], image, f"turn:{90 * turns}")


def rotate(image: UInt8Array, *, degrees: float, fill: tuple[int, int, int] = WHITE, expand: bool = False) -> Edited:
    """Turn counter-clockwise around the centre.

    The canvas keeps its size (corners are cut off), or grows to hold everything where ``expand`` is set. Uncovered
    corners take the colour ``fill``.
    """
    check_image(image)
    check_range("degrees", degrees, -360.0, 360.0)
    height, width = image.shape[:2]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    new_width, new_height = width, height
    if expand:
        new_width = max(1, math.ceil(width * abs(cos) + height * abs(sin) - 1e-6))
        new_height = max(1, math.ceil(width * abs(sin) + height * abs(cos) - 1e-6))
    # From the new picture to the old: undo the turn around the two centres (y points down).
    dx, dy = new_width / 2, new_height / 2
    matrix = (cos, -sin, width / 2 - cos * dx + sin * dy, sin, cos, height / 2 - sin * dx - cos * dy)
    pixels = np.asarray(
        Image.fromarray(image).transform(
            (new_width, new_height),
            Image.Transform.AFFINE,
            matrix,
            resample=Image.Resampling.BICUBIC,
            fillcolor=fill,
        )
    )
    return make(pixels, (*matrix, 0, 0, 1), image, f"rotate:{degrees:.0f}")


def tilt(image: UInt8Array, *, strength: float, rng: np.random.Generator, fill: tuple[int, int, int] = WHITE) -> Edited:
    """Tilt in perspective: each corner moves inwards by up to ``strength`` of the sides (in [0, 0.4])."""
    check_image(image)
    check_range("tilt strength", strength, 0.0, 0.4)
    height, width = image.shape[:2]
    inwards = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=np.float64)
    source = np.asarray(rectangle(width, height), dtype=np.float64)
    target = source + inwards * rng.uniform(0.0, strength, (4, 2)) * (width, height)
    matrix = _homography(target, source)
    pixels = np.asarray(
        Image.fromarray(image).transform(
            (width, height),
            Image.Transform.PERSPECTIVE,
            tuple(float(v) for v in matrix.ravel()[:8]),
            resample=Image.Resampling.BICUBIC,
            fillcolor=fill,
        )
    )
    return make(pixels, matrix, image, f"tilt:{strength:.2f}")


def pad(image: UInt8Array, *, margins: tuple[float, float, float, float], fill: tuple[int, int, int] = WHITE) -> Edited:
    """Add margins (left, top, right, bottom) as shares of width and height, each in [0, 3], in one colour."""
    check_image(image)
    height, width = image.shape[:2]
    for margin in margins:
        check_range("margin", margin, 0.0, 3.0)
    left, right = round(margins[0] * width), round(margins[2] * width)
    top, bottom = round(margins[1] * height), round(margins[3] * height)
    pixels = np.empty((height + top + bottom, width + left + right, 3), np.uint8)
    pixels[:] = fill
    pixels[top : top + height, left : left + width] = image
    return make(pixels, (1, 0, -left, 0, 1, -top, 0, 0, 1), image, "pad")


def _homography(points: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Return the 3x3 homography that maps four points (4, 2) to their images (4, 2)."""
    rows = []
    for (x, y), (u, v) in zip(points, images, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    solution = np.linalg.solve(np.asarray(rows), np.asarray(images, dtype=np.float64).ravel())
    return np.append(solution, 1.0).reshape(3, 3)
