"""Pictures for the tests of the decoder."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from forensics.types import Decoded, UInt8Array


def photo(width: int = 97, height: int = 61) -> UInt8Array:
    """Smooth colours with some texture, (H, W, 3) uint8: every corner differs from the others."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([255 * x / width, 255 * y / height, 128 + 100 * np.sin(x / 7) * np.cos(y / 5)], axis=2)
    return np.clip(image + np.random.default_rng(0).normal(0, 6, image.shape), 0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def jpeg(array: UInt8Array | None = None, **options: Any) -> bytes:
    return encoded(Image.fromarray(photo() if array is None else array), "JPEG", **({"quality": 90} | options))


def pixels(result: Decoded) -> UInt8Array:
    assert result.pixels is not None, result.reason
    assert result.pixels.dtype == np.uint8
    assert result.pixels.ndim == 3
    assert result.pixels.shape[2] == 3
    assert result.pixels.flags.c_contiguous
    assert result.pixels.flags.writeable
    return result.pixels
