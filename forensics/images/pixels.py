"""Views and previews of decoded images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.images.scaling import resize

if TYPE_CHECKING:
    from forensics.types import UInt8Array, View

__all__ = ["encode_preview", "view_pixels"]


def view_pixels(image: UInt8Array, view: View) -> UInt8Array:
    """Cut a view's box out of an image and turn it into the view's orientation.

    Parameters
    ----------
    image : (H, W, 3) uint8
    view : View
        The box is rounded outwards to whole pixels and holds at least one.

    Returns
    -------
    (h, w, 3) uint8
        A view of ``image`` where that is possible, not a copy.
    """
    height, width = image.shape[:2]
    x0, x1 = _span(view.box[0], view.box[2], width)
    y0, y1 = _span(view.box[1], view.box[3], height)
    part = image[y0:y1, x0:x1]
    if view.orientation >= 4:
        part = part[:, ::-1]
    return np.rot90(part, view.orientation % 4) if view.orientation % 4 else part


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    # The small tolerance keeps thirds of 300 at 100 and 200 in spite of binary fractions.
    start = min(max(math.floor(low * size + 1e-6), 0), size - 1)
    return start, min(max(math.ceil(high * size - 1e-6), start + 1), size)


def encode_preview(image: UInt8Array, *, long_side: int, quality: int = 90) -> bytes:
    """Encode an image as JPEG, its longer side reduced to ``long_side`` pixels where it is larger.

    Parameters
    ----------
    image : (H, W, 3) uint8
    long_side : int
        Pixels, at least 1.
    quality : int
        JPEG quality, 1 to 100; chroma is subsampled 4:2:0 below 90 and kept whole from there.

    Returns
    -------
    bytes
    """
    if long_side < 1 or not 1 <= quality <= 100:
        raise UsageError(f"preview of {long_side} px at quality {quality}: give 1 px or more and 1 to 100")
    height, width = image.shape[:2]
    scale = long_side / max(height, width)
    if scale < 1:
        image = resize(image, max(1, round(width * scale)), max(1, round(height * scale)))
    import simplejpeg

    image = np.ascontiguousarray(image)
    data: bytes = simplejpeg.encode_jpeg(image, quality, colorsubsampling="444" if quality >= 90 else "420")
    return data
