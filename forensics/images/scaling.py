"""Antialiased resizing that follows Pillow's BILINEAR closely and costs a third of it.

Pillow weighs source pixels by a triangle as wide as the reduction. Here the picture is halved by exact box averages
while it is still far too large, smoothed by a short symmetric kernel, and sampled linearly, all in OpenCV's vector
code: with n = source / target size, b = 2^j the reduction by halving (n / b < 2.44), k the kernel,

    weight of source pixel i at source position c  =  sum_j k_j * tri(floor(i / b) - (c + 1/2) / b + 1/2 - j) / b

k is the least-squares fit of these weights to Pillow's, averaged over positions c, for signals whose neighbouring
pixels correlate as in photographs (covariance exp(-|i - j| / 20)).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from forensics.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

__all__ = ["resize"]

_HALVE_FROM = 2.44  # 2 x 1.22: what is left to smooth after a halving is then never narrower than the box itself
_RADIUS = 2
_POSITIONS = 24
_CORRELATION_PIXELS = 20.0
_STEPS = 64  # kernels are fitted for reductions in steps of 1/64, so that few serve all sizes
_LARGEST_BOX = 8  # from here on, kernels in units of boxes hardly change
_SMALL = 32  # targets this small are mostly edge, where Pillow weighs differently, and cost little there


def resize(image: UInt8Array, width: int, height: int) -> UInt8Array:
    """Resize with an antialiased bilinear (triangle) filter, on one thread of the caller's.

    Parameters
    ----------
    image : (H, W, 3) uint8
        Any layout; views are fine.
    width, height : int
        Size wanted, at least 1.

    Returns
    -------
    (height, width, 3) uint8
        Within about a quarter of a grey level of Pillow's ``resize(..., BILINEAR)`` on average. May be ``image`` itself
        where the size is right already.
    """
    if width < 1 or height < 1:
        raise UsageError(f"cannot resize to {width} x {height}: give at least 1 x 1")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise UsageError(f"cannot resize {image.dtype} of shape {image.shape}: give (H, W, 3) uint8, not empty")
    full_height, full_width = image.shape[:2]
    image = np.ascontiguousarray(image)
    if (full_width, full_height) == (width, height):
        return image
    if min(width, height) < _SMALL:
        return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    import cv2

    small, box_x, box_y = _halve(image, width, height)
    kernel_x = _kernel(round(_STEPS * full_width / (width * box_x)), min(box_x, _LARGEST_BOX))
    kernel_y = _kernel(round(_STEPS * full_height / (height * box_y)), min(box_y, _LARGEST_BOX))
    smooth: NDArray[np.generic] = small
    if kernel_x.size + kernel_y.size > 2:
        # Floats between the two steps: rounding twice would cost as much accuracy as all else together.
        smooth = cv2.sepFilter2D(small, cv2.CV_32F, kernel_x, kernel_y, borderType=cv2.BORDER_REPLICATE)
    if (small.shape[1] * box_x, small.shape[0] * box_y) == (full_width, full_height):
        sampled = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        # Halving rounded an odd side up; asked by factor, OpenCV keeps the true scale and may add a row to cut off.
        # The epsilon keeps a product that should be whole from being rounded down.
        factor_x, factor_y = (1 + 1e-9) * width * box_x / full_width, (1 + 1e-9) * height * box_y / full_height
        sampled = cv2.resize(smooth, None, fx=factor_x, fy=factor_y, interpolation=cv2.INTER_LINEAR)[:height, :width]
    return np.ascontiguousarray(sampled if sampled.dtype == np.uint8 else cv2.convertScaleAbs(sampled))


def _halve(image: UInt8Array, width: int, height: int) -> tuple[UInt8Array, int, int]:
    """Average boxes of 2 while a side is at least 2.44 times too long; return also the boxes' size in source pixels."""
    import cv2

    box_x = box_y = 1
    full_height, full_width = image.shape[:2]
    while True:
        by_x = 2 if full_width >= _HALVE_FROM * width * box_x else 1
        by_y = 2 if full_height >= _HALVE_FROM * height * box_y else 1
        if by_x == by_y == 1:
            return image, box_x, box_y
        add_x, add_y = -image.shape[1] % by_x, -image.shape[0] % by_y
        if add_x or add_y:
            image = cv2.copyMakeBorder(image, 0, add_y, 0, add_x, cv2.BORDER_REPLICATE)
        size = (image.shape[1] // by_x, image.shape[0] // by_y)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        box_x, box_y = box_x * by_x, box_y * by_y


@lru_cache(maxsize=1024)
def _kernel(steps: int, box: int) -> FloatArray:
    """Fit the smoothing kernel, (2 r + 1,) float32 with unit sum, that follows a halving to boxes of ``box`` pixels.

    ``steps`` / 64 is the reduction that is left to do, in boxes.
    """
    if steps <= _STEPS:
        return np.ones(1, np.float32)
    scale = box * steps / _STEPS
    span = math.ceil(scale) + box * (_RADIUS + 2)
    pixels = np.arange(-span, span + box + 1)
    boxes = np.floor_divide(pixels, box)
    # A factor of the covariance turns plain least squares into the one weighted for photographs.
    factor = np.linalg.cholesky(np.exp(-np.abs(pixels[:, None] - pixels) / _CORRELATION_PIXELS))
    rows, targets = [], []
    for position in (np.arange(_POSITIONS) + 0.5) / _POSITIONS * box:
        wanted = _triangle((pixels - position) / scale)
        wanted /= wanted.sum()
        offsets = boxes - ((position + 0.5) / box - 0.5)
        plain = _triangle(offsets) / box
        taps = [(_triangle(offsets - j) + _triangle(offsets + j)) / box - 2 * plain for j in range(1, _RADIUS + 1)]
        rows.append(factor.T @ np.stack(taps, axis=1))
        targets.append(factor.T @ (wanted - plain))
    side = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=None)[0]
    return np.concatenate([side[::-1], [1 - 2 * side.sum()], side]).astype(np.float32)


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = np.maximum(0.0, 1.0 - np.abs(x))
    return result
