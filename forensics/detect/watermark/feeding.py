"""How a picture of any size is shown to the network: whole, and a large one in overlapping parts as well.

Letters must be neither specks nor larger than what the network sees at once. Small images (a generator's thumbnails)
are enlarged to 256 px, large ones reduced to 384 px; both sides become multiples of 32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forensics.types import Box, UInt8Array

__all__ = ["LARGE", "feed", "feed_size", "parts"]

LARGE = 700
"""Longer side in pixels from which on an image is looked at in parts too: its small letters are lost at 384 px."""

_SMALL, _WHOLE = 256, 384
_MULTIPLE = 32
_OVERLAP = 0.12


def feed_size(width: int, height: int, *, enlarged: float = 1.0) -> tuple[int, int]:
    """Return (width, height) in pixels at which the network sees an image of that size, or so many times larger."""
    longer = max(width, height)
    scale = enlarged * min(max(longer, _SMALL), _WHOLE) / longer
    return _multiple(width * scale), _multiple(height * scale)


def feed(image: UInt8Array, *, enlarged: float = 1.0) -> UInt8Array:
    """Return an image as the network sees it, or so many times larger: (h, w, 3) uint8 RGB."""
    import cv2

    height, width = image.shape[:2]
    size = feed_size(width, height, enlarged=enlarged)
    if size == (width, height):
        return image
    smaller = size[0] * size[1] < width * height
    scaled: UInt8Array = cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return scaled


def parts(width: int, height: int) -> list[Box]:
    """Return the boxes of four overlapping quarters of a large image; none of one that is not :data:`LARGE`."""
    if max(width, height) < LARGE:
        return []
    w, h = round(width * (0.5 + _OVERLAP / 2)), round(height * (0.5 + _OVERLAP / 2))
    return [(x, y, x + w, y + h) for y in (0, height - h) for x in (0, width - w)]


def _multiple(length: float) -> int:
    return max(_MULTIPLE, round(length / _MULTIPLE) * _MULTIPLE)
