"""An approximation of a picture that a generator painted again from memory.

A generator that has learnt a picture by heart gives back its layout, shapes and main colours, but not its pixels:
fine detail is lost in the latent grid and invented anew, outlines wobble by a few pixels, colours drift and flatten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from forensics.render.edited import Edited, check_image, check_range, retouched
from forensics.render.tones import jpeg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.render.edited import UInt8Array

__all__ = ["redraw"]


def redraw(image: UInt8Array, *, strength: float, rng: np.random.Generator, grid: int = 32) -> Edited:
    """Repaint the picture.

    Six steps: low-pass to the latent grid's resolution, a smooth displacement of the grid's cells, fewer colours that
    drift, edge-preserving smoothing, invented brush texture, JPEG.

    Parameters
    ----------
    strength : float
        In [0, 1]. 0.3 looks like a lossy autoencoder; at 1 outlines move by up to about 2.5 % of the longer side and
        about two dozen colours are left.
    grid : int
        Cells of the latent grid along the longer side, in [8, 128].
    """
    import cv2

    check_image(image)
    check_range("redraw strength", strength, 0.0, 1.0)
    check_range("grid", grid, 8, 128)
    height, width = image.shape[:2]
    long_side = max(height, width)
    cell = long_side / grid

    # Low-pass: a cell keeps from about 8 x 8 (weak) to 3.5 x 3.5 (strong) values.
    kept = grid * (8.0 - 4.5 * strength)
    factor = min(1.0, kept / long_side)
    small = (max(2, round(width * factor)), max(2, round(height * factor)))
    pixels = np.asarray(
        Image.fromarray(image).resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.BICUBIC)
    )

    # Shapes shift as wholes by a good part of a cell; outlines wobble by less from cell to cell.
    shift_x, shift_y = (
        strength
        * cell
        * (0.3 * _smooth_field(rng, (height, width), 5) + 0.15 * _smooth_field(rng, (height, width), grid // 2))
        for _ in range(2)
    )
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    warped = cv2.remap(pixels, columns + shift_x, rows + shift_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    pixels = _fewer_colours(warped.astype(np.uint8), count=round(96 - 72 * strength), mix=0.4 + 0.6 * strength)
    drift = rng.normal(0.0, 8.0 * strength, 3)
    gain = 1.0 + rng.normal(0.0, 0.06 * strength, 3)
    recoloured = pixels.astype(np.float32) * gain.astype(np.float32) + drift.astype(np.float32)
    pixels = np.clip(recoloured, 0, 255).astype(np.uint8)

    reach_pixels = max(1.0, cell / 3.0)
    smooth = cv2.bilateralFilter(pixels, d=0, sigmaColor=15.0 + 30.0 * strength, sigmaSpace=min(reach_pixels, 4.0))

    brush = _smooth_field(rng, (height, width), grid * 3) * (5.0 * strength)
    painted = smooth.astype(np.float32) + brush[..., None]
    pixels = np.clip(painted, 0, 255).astype(np.uint8)
    quality = round(92 - 30 * strength)
    return retouched(jpeg(pixels, quality=quality).image, image, f"redraw:{strength:.2f}")


def _smooth_field(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> NDArray[np.float32]:
    """Return (H, W) float32 noise of unit deviation that varies on ``cells`` cells along the longer side."""
    height, width = shape
    step = max(height, width) / max(2, cells)
    coarse = rng.normal(0.0, 1.0, (max(2, round(height / step)), max(2, round(width / step)))).astype(np.float32)
    field = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    return (field / max(1e-6, float(field.std()))).astype(np.float32)


def _fewer_colours(pixels: UInt8Array, *, count: int, mix: float) -> UInt8Array:
    """Move every pixel towards the nearest of ``count`` colours (median cut) by ``mix`` in [0, 1]."""
    picture = Image.fromarray(pixels)
    flat = np.asarray(picture.quantize(count, dither=Image.Dither.NONE).convert("RGB"))
    return np.rint(pixels * (1.0 - mix) + flat * mix).astype(np.uint8)
