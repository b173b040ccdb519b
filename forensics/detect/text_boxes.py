"""The arithmetic around a text network: picture to input, probability map to boxes, box to an upright line.

The map is read as the paper of the network does it (Liao et al., *Real-time Scene Text Detection with Differentiable
Binarization*, AAAI 2020): the network is trained on shrunken text regions, so that neighbouring lines don't touch, and
each region found is grown back by ``area * ratio / perimeter``. A region is taken as its smallest rotated rectangle.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from forensics.types import FloatArray, Point, UInt8Array

__all__ = ["Quad", "clockwise", "crop_line", "is_upright", "network_size", "rectangles", "to_input"]

Quad = tuple["Point", "Point", "Point", "Point"]
"""Corners in image pixels, clockwise from the upper left of the text."""

_TEXT = 0.3
"""Probability from which a pixel is text (PP-OCRv6's own setting)."""
_GROW = 1.6
"""How far a region is grown back (PP-OCRv6's own setting)."""
_LEAST_SIDE = 3
_MOST_REGIONS = 400
_STRIDE = 32
_MOST_ENLARGED = 4.0
_UPRIGHT = 1.5
"""A box this much higher than wide holds a line that stands on its end."""


def network_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the (height, width) at which a picture is shown to the network.

    The longer side becomes ``side`` pixels, but no more than four times its own (a picture of 16 pixels holds no text
    that enlarging would bring out); both are whole multiples of 32, at least 32.
    """
    scale = min(side / max(height, width), _MOST_ENLARGED)
    return tuple(max(_STRIDE, round(length * scale / _STRIDE) * _STRIDE) for length in (height, width))  # type: ignore[return-value]


def to_input(image: UInt8Array, size: tuple[int, int]) -> FloatArray:
    """Return ``image``, (H, W, 3) uint8 RGB, as (1, 3, ``*size``) float32 in [-1, 1] with the channels BGR."""
    import cv2

    height, width = size
    smaller = height * width < image.shape[0] * image.shape[1]
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    planes = scaled[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None] / 127.5 - 1.0
    return np.ascontiguousarray(planes)


def rectangles(
    probability: FloatArray, *, image_size: tuple[int, int], threshold: float = 0.5, tallest: float = math.inf
) -> list[tuple[Quad, float]]:
    """Return text regions of a probability map, uppermost first.

    Parameters
    ----------
    probability : ndarray
        (h, w) float32 in [0, 1]: how surely each pixel is (shrunken) text.
    image_size : tuple of int
        Height and width of the picture in pixels, in which the corners are given back.
    threshold : float
        Mean probability inside a region from which it counts.
    tallest : float
        Height of the letters from which a region is no line, as a share of the picture's longer side.

    Returns
    -------
    list of (corners, score)
        The corners are clipped to the picture; the score is the region's mean probability.
    """
    import cv2

    text = cv2.dilate((probability > _TEXT).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(text, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array([image_size[1] / probability.shape[1], image_size[0] / probability.shape[0]])
    found: list[tuple[Quad, float]] = []
    for contour in contours[:_MOST_REGIONS]:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < _LEAST_SIDE:
            continue
        score = _mean_inside(probability, cv2.boxPoints((centre, (width, height), angle)))
        if score < threshold:
            continue
        # growing every edge of a rectangle outwards by d gives a rectangle again
        grown = width * height * _GROW / (2.0 * (width + height))
        if min(width, height) + 2 * grown > tallest * max(probability.shape):
            continue
        corners = cv2.boxPoints((centre, (width + 2 * grown, height + 2 * grown), angle)) * scale
        corners = np.clip(corners, 0.0, np.array([image_size[1], image_size[0]], float))
        found.append((clockwise(corners), float(score)))
    return sorted(found, key=lambda item: (min(p[1] for p in item[0]), min(p[0] for p in item[0])))


def crop_line(image: UInt8Array, corners: Quad, *, height: int, most_width: int) -> UInt8Array:
    """Cut the quadrilateral out of ``image`` and lay it level: (``height``, at most ``most_width``, 3) uint8 RGB.

    A line that stands on its end (:func:`is_upright`) is laid as if it began below.
    """
    import cv2

    quad = np.array(corners, np.float32)
    wide, high = _lengths(quad)
    if is_upright(corners):
        quad = np.roll(quad, 1, axis=0)
        wide, high = high, wide
    width = int(np.clip(round(height * wide / high), height // 2, most_width))
    left, top = np.floor(quad.min(0)).astype(int).clip(0)
    right, bottom = np.ceil(quad.max(0)).astype(int)
    part = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    if part.size == 0:
        return np.zeros((height, width, 3), np.uint8)
    quad -= np.array([left, top], np.float32)
    shrink = high / height
    if shrink > 1.0:
        # a perspective warp samples single pixels: a large crop is averaged down before
        size = (max(1, round(part.shape[1] / shrink)), max(1, round(part.shape[0] / shrink)))
        quad *= np.array([size[0] / part.shape[1], size[1] / part.shape[0]], np.float32)
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    warp = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    line = cv2.warpPerspective(part, warp, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(line, np.uint8)


def is_upright(corners: Quad) -> bool:
    """Whether a line stands on its end; it may begin below or above."""
    wide, high = _lengths(np.array(corners, np.float32))
    return high >= _UPRIGHT * wide


def _lengths(quad: FloatArray) -> tuple[float, float]:
    """Return the longer of the level and the longer of the upright sides, at least one pixel."""
    wide = max(float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[2] - quad[3])), 1.0)
    high = max(float(np.linalg.norm(quad[3] - quad[0])), float(np.linalg.norm(quad[2] - quad[1])), 1.0)
    return wide, high


def _mean_inside(probability: FloatArray, corners: FloatArray) -> float:
    import cv2

    left, top = np.floor(corners.min(0)).astype(int).clip(0)
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    part = probability[top:bottom, left:right]
    if part.size == 0:
        return 0.0
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [np.round(corners - [left, top]).astype(np.int32)], 1)
    return float(part[inside > 0].mean()) if inside.any() else 0.0


def clockwise(corners: FloatArray) -> Quad:
    """Order four corners of a rectangle clockwise, from the one that is the upper left as a reader sees it."""
    by_x = corners[np.argsort(corners[:, 0], kind="stable")]
    left = by_x[:2][np.argsort(by_x[:2, 1], kind="stable")]
    right = by_x[2:][np.argsort(by_x[2:, 1], kind="stable")]
    ordered = (left[0], right[0], right[1], left[1])
    a, b, c, d = ((float(x), float(y)) for x, y in ordered)
    return (a, b, c, d)
