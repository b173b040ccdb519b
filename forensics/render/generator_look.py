"""How a generator spoils what it repeats: shapes drift, fine structure goes, small patches change places.

Cheap stand-ins for a real generator's codes: a warp on a grid of the size of its latents, patches swapped with their
neighbours, a low-pass. Masks go along with the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from forensics.render.edited import check_range

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = ["latent_warp", "low_pass", "patch_mix"]


def latent_warp(
    layers: Sequence[UInt8Array], rng: np.random.Generator, *, cell: int, strength: float
) -> list[UInt8Array]:
    """Displace pixels smoothly, by chance at each point of a grid.

    Parameters
    ----------
    layers : sequence of ndarray
        The picture (H, W, 3) and what belongs to it (H, W), all moved alike.
    rng : Generator
    cell : int
        Pixels between the grid's points, in [2, 256].
    strength : float
        Standard deviation of the displacement in cells, in [0, 1].
    """
    import cv2

    check_range("warp cell", cell, 2, 256)
    check_range("warp strength", strength, 0.0, 1.0)
    height, width = layers[0].shape[:2]
    grid = (2, height // cell + 2, width // cell + 2)
    coarse = rng.normal(0.0, strength * cell, grid).astype(np.float32)
    dx, dy = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in coarse)
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    return [cv2.remap(layer, xs + dx, ys + dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101) for layer in layers]


def patch_mix(image: UInt8Array, rng: np.random.Generator, *, cell: int, share: float) -> UInt8Array:
    """Replace a ``share`` of the ``cell`` x ``cell`` patches by blends of a patch nearby, as a wrong code would."""
    check_range("patch cell", cell, 2, 64)
    check_range("patch share", share, 0.0, 1.0)
    height, width = image.shape[:2]
    made = image.copy()
    rows, columns = height // cell, width // cell
    for row, column in np.argwhere(rng.random((rows, columns)) < share):
        dy, dx = rng.integers(-cell, cell + 1, 2)
        y = int(np.clip(row * cell + dy, 0, height - cell))
        x = int(np.clip(column * cell + dx, 0, width - cell))
        here = np.s_[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
        made[here] = (made[here].astype(np.uint16) + image[y : y + cell, x : x + cell] + 1) // 2
    return made


def low_pass(image: UInt8Array, *, sigma: float) -> UInt8Array:
    """Blur by a Gaussian of ``sigma`` pixels, in [0.1, 20]."""
    import cv2

    check_range("blur", sigma, 0.1, 20.0)
    blurred: UInt8Array = cv2.GaussianBlur(image, (0, 0), sigma)
    return blurred
