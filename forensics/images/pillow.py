"""Any Pillow image, of any mode → RGB pixels, scaled rather than clipped and composited on white."""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import UInt8Array

__all__ = ["to_rgb", "upright"]


def upright(pixels: UInt8Array, orientation: int) -> UInt8Array:
    """Apply an EXIF orientation (1 to 8; anything else is taken as 1) to (H, W, 3) pixels."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def to_rgb(image: Image.Image) -> tuple[UInt8Array, str]:
    """Convert a loaded Pillow image to RGB.

    Returns
    -------
    pixels : (H, W, 3) uint8
        Writeable and C-contiguous, stored orientation.
    problem : str
        What the conversion had to guess; empty otherwise.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        return _sixteen_bit(image), ""
    if mode in ("I", "F"):
        return _wide(np.asarray(image))
    if mode == "CMYK":
        return _cmyk(image)
    if image.has_transparency_data:
        return _on_white(image), ""
    if mode == "RGBX":
        return np.array(image)[:, :, :3].copy(), ""
    return np.array(image.convert("RGB")), ""


def _on_white(image: Image.Image) -> UInt8Array:
    if image.mode == "La":
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, rgba).convert("RGB"))


def _sixteen_bit(image: Image.Image) -> UInt8Array:
    values = np.asarray(image).astype(np.uint32)
    bits = getattr(image, "tag_v2", {}).get(258, (16,))
    # Twelve bits in sixteen: the file says so, and its white is 4095.
    top = 4095 if tuple(bits if isinstance(bits, tuple) else (bits,)) == (12,) else 65535
    grey = np.minimum((values * 255 + top // 2) // top, 255).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey = np.where(values == transparent, np.uint8(255), grey)
    return _stack(grey)


def _wide(values: NDArray[Any]) -> tuple[UInt8Array, str]:
    """Scale 32-bit integers or floats: by the range they evidently use, else from their own extremes."""
    finite = np.isfinite(values)
    whole = bool(finite.all())
    if not finite.any():
        raise ValueError("no finite pixel value")
    numbers = np.where(finite, values, 0).astype(np.float64)
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    problem = "" if whole else "infinite or undefined pixel values shown as black"
    integral = bool(np.array_equal(numbers, np.rint(numbers)))
    if low >= 0 and high <= 1 and values.dtype.kind == "f":
        scale, offset = 255.0, 0.0
    elif low >= 0 and high <= 255 and integral:
        scale, offset = 1.0, 0.0
    elif low >= 0 and high <= 65535 and integral:
        scale, offset = 1 / 257, 0.0
    else:
        offset = min(low, 0.0) if values.dtype.kind == "f" else low
        scale = 255.0 / (high - offset) if high > offset else 0.0
        problem = problem or f"pixel values from {low:g} to {high:g} scaled to their own range"
    grey = np.clip(np.rint((numbers - offset) * scale), 0, 255).astype(np.uint8)
    return _stack(np.where(finite, grey, np.uint8(0))), problem


def _stack(grey: UInt8Array) -> UInt8Array:
    return np.repeat(grey[:, :, None], 3, axis=2)


@cache
def _srgb() -> Any:
    return ImageCms.createProfile("sRGB")


def _cmyk(image: Image.Image) -> tuple[UInt8Array, str]:
    """Convert through the embedded profile; plainly where there is none, as browsers did before colour management."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == "CMYK":
                converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
                if converted is not None:
                    return np.array(converted), ""
            problem = "its colour profile is not for CMYK"
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
            problem = f"its colour profile cannot be used ({type(error).__name__})"
        return np.array(image.convert("RGB")), f"CMYK converted plainly, because {problem}"
    return np.array(image.convert("RGB")), ""
