"""Edits that leave every pixel at its place: colour, blur, noise, compression, pixelation."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from forensics.render.edited import Edited, check_image, check_range, retouched

if TYPE_CHECKING:
    from forensics.render.edited import UInt8Array

__all__ = [
    "blur",
    "grayscale",
    "jitter",
    "jpeg",
    "noise",
    "pixelize",
    "posterize",
    "sharpen",
    "shuffle_pixels",
    "tint",
]


def blur(image: UInt8Array, *, radius: float) -> Edited:
    """Blur with a Gaussian of ``radius`` pixels (its standard deviation), in [0, 100]."""
    check_image(image)
    check_range("blur radius", radius, 0.0, 100.0)
    pixels = Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius))
    return retouched(np.asarray(pixels), image, f"blur:{radius:.1f}")


def sharpen(image: UInt8Array, *, percent: int) -> Edited:
    """Sharpen with an unsharp mask of radius 2 and strength ``percent`` in [0, 1000]."""
    check_image(image)
    check_range("sharpen percent", percent, 0, 1000)
    pixels = Image.fromarray(image).filter(ImageFilter.UnsharpMask(2, percent, 2))
    return retouched(np.asarray(pixels), image, f"sharpen:{percent}")


def noise(image: UInt8Array, *, sigma: float, rng: np.random.Generator) -> Edited:
    """Add Gaussian noise of standard deviation ``sigma`` grey levels, in [0, 128], to every channel."""
    check_image(image)
    check_range("noise sigma", sigma, 0.0, 128.0)
    noisy = image.astype(np.float32) + rng.normal(0.0, sigma, image.shape).astype(np.float32)
    return retouched(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), image, f"noise:{sigma:.0f}")


def jpeg(image: UInt8Array, *, quality: int) -> Edited:
    """Compress as JPEG of ``quality`` in [1, 95] and decode again."""
    check_image(image)
    check_range("JPEG quality", quality, 1, 95)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer, formats=["JPEG"]) as reread:
        pixels = np.asarray(reread.convert("RGB"))
    return retouched(pixels, image, f"jpeg:{quality}")


def grayscale(image: UInt8Array) -> Edited:
    """Take the colour away (ITU-R 601 luma in all three channels)."""
    check_image(image)
    return retouched(np.asarray(Image.fromarray(image).convert("L").convert("RGB")), image, "grayscale")


def jitter(
    image: UInt8Array, *, brightness: float = 1.0, contrast: float = 1.0, saturation: float = 1.0, hue: float = 0.0
) -> Edited:
    """Change colours.

    Parameters
    ----------
    brightness, contrast, saturation : float
        Factors in [0, 4]; 1 changes nothing.
    hue : float
        Turn of the colour circle in [-0.5, 0.5]; 0 changes nothing.
    """
    check_image(image)
    picture = Image.fromarray(image)
    for name, enhance, factor in (
        ("brightness", ImageEnhance.Brightness, brightness),
        ("contrast", ImageEnhance.Contrast, contrast),
        ("saturation", ImageEnhance.Color, saturation),
    ):
        check_range(name, factor, 0.0, 4.0)
        if factor != 1.0:
            picture = enhance(picture).enhance(factor)
    check_range("hue", hue, -0.5, 0.5)
    if hue:
        hsv = np.array(picture.convert("HSV"))
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + round(hue * 256)) % 256
        picture = _from_hsv(hsv)
    step = f"jitter:{brightness:.2f},{contrast:.2f},{saturation:.2f},{hue:+.2f}"
    return retouched(np.asarray(picture), image, step)


def tint(image: UInt8Array, *, colour: tuple[int, int, int], opacity: float) -> Edited:
    """Lay one colour over the image with ``opacity`` in [0, 1]."""
    check_image(image)
    check_range("opacity", opacity, 0.0, 1.0)
    mixed = image * (1.0 - opacity) + np.asarray(colour, dtype=np.float64) * opacity
    return retouched(np.clip(np.rint(mixed), 0, 255).astype(np.uint8), image, f"tint:{opacity:.2f}")


def posterize(image: UInt8Array, *, levels: int) -> Edited:
    """Keep only ``levels`` values a channel, in [2, 128]."""
    check_image(image)
    check_range("levels", levels, 2, 128)
    index = image.astype(np.int32) * levels // 256
    pixels = (index * 255 // (levels - 1)).astype(np.uint8)
    return retouched(pixels, image, f"posterize:{levels}")


def pixelize(image: UInt8Array, *, block: int) -> Edited:
    """Replace every ``block`` x ``block`` square of pixels by its mean."""
    check_image(image)
    check_range("block", block, 1, 256)
    height, width = image.shape[:2]
    picture = Image.fromarray(image)
    small = picture.resize((max(1, width // block), max(1, height // block)), Image.Resampling.BOX)
    return retouched(np.asarray(small.resize((width, height), Image.Resampling.NEAREST)), image, f"pixelize:{block}")


def shuffle_pixels(image: UInt8Array, *, radius: int, rng: np.random.Generator) -> Edited:
    """Give every pixel the colour of one up to ``radius`` pixels away, in [0, 50] (frosted glass)."""
    check_image(image)
    check_range("radius", radius, 0, 50)
    height, width = image.shape[:2]
    rows = np.arange(height)[:, None] + rng.integers(-radius, radius + 1, (height, width))
    columns = np.arange(width)[None, :] + rng.integers(-radius, radius + 1, (height, width))
    pixels = image[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return retouched(pixels, image, f"shuffle:{radius}")


def _from_hsv(hsv: UInt8Array) -> Image.Image:
    """Return an RGB picture from (H, W, 3) uint8 hue, saturation, value."""
    bands = [Image.fromarray(np.ascontiguousarray(hsv[..., i])) for i in range(3)]
    return Image.merge("HSV", bands).convert("RGB")
