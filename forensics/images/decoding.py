"""Bytes → :class:`~forensics.types.Decoded`: upright RGB pixels, or the reason why there are none."""

from __future__ import annotations

import io
import re
import threading
import warnings
from typing import TYPE_CHECKING

import numpy as np

# The plug-ins of the accepted formats, registered by import: naming formats below then never loads the other forty.
from PIL import (
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from forensics.images import jpeg
from forensics.images.pillow import to_rgb, upright
from forensics.images.signatures import sniff, webp_size
from forensics.types import Decoded

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["FORMATS", "MAX_PIXELS", "decode"]

MAX_PIXELS = 50_000_000
"""More pixels than this (width x height) are refused from the header, before anything is decoded."""

# "MPO" must not be named: Pillow turns multi-picture JPEGs into MPO by itself, and naming it claims every JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""Formats that are decoded; everything else is rejected."""

_ACCEPTED = "JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF are accepted"
_REASON_CHARS = 300
_DIGITS = re.compile(r"\d+")

# warnings.catch_warnings changes the whole process; the lock keeps two decoding threads from restoring each other's.
_quiet = threading.Lock()


class _Rejected(Exception):  # noqa: N818 - a verdict, not an error
    """Raised inside this module to end with state ``rejected``."""


def decode(data: bytes, *, need: int = 0) -> Decoded:
    """Decode one image file.

    Parameters
    ----------
    data : bytes
        The whole file.
    need : int
        Shorter side in pixels that the caller can do with; 0 asks for the full size. A JPEG that is at least twice as
        large is decoded at 1/2, 1/4 or 1/8, its shorter side still at least ``need``. Other formats come at full size.

    Returns
    -------
    Decoded
        Never raises for bad data.

        - ``ok``: every pixel as the file has it. ``pixels`` is C-contiguous and writeable.
        - ``degraded``: pixels, but not all the file holds or promises: the first of several frames; a file that is cut
          short or damaged, decoded as far as it goes (the rest is grey, black or white); values scaled by a guess.
        - ``rejected``: not an accepted image format, no bytes, or more than :data:`MAX_PIXELS` pixels.
        - ``error``: an image by its signature that cannot be decoded, or not one pixel of it.

    Notes
    -----
    EXIF orientation is applied once. Alpha is composited on white. CMYK goes through its embedded profile; other
    profiles are not applied, as in the training pipelines that such images come from. 16-bit grey is divided by 257.
    """
    name = sniff(data)
    try:
        return _decode(data, name, need)
    except Exception as error:  # noqa: BLE001 - Pillow raises 13 kinds on hostile files; MemoryError is among them
        return _failure(error, name)


def _decode(data: bytes, name: str, need: int) -> Decoded:
    if not data:
        raise _Rejected("not an image: the file is empty")
    if name not in FORMATS:
        raise _Rejected(f"not an image: {f'{name} is not read' if name else 'no known signature'}; {_ACCEPTED}")
    if name == "JPEG" and (result := _fast_jpeg(data, need)) is not None:
        return result
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _with_pillow(data, name, need)


def _failure(error: Exception, name: str) -> Decoded:
    known = name if name in FORMATS else ""
    if isinstance(error, _Rejected):
        return Decoded(state="rejected", reason=str(error), format=known)
    if isinstance(error, Image.DecompressionBombError):
        count = next(iter(_DIGITS.findall(str(error))), "too many")
        return Decoded(state="rejected", reason=_too_large(f"{count} pixels"), format=known)
    if isinstance(error, UnidentifiedImageError):
        return Decoded(state="error", reason=f"broken {name}: its header cannot be read", format=known)
    return Decoded(state="error", reason=f"broken {name}: {_describe(error)}"[:_REASON_CHARS], format=known)


def _fast_jpeg(data: bytes, need: int) -> Decoded | None:
    """Decode with simplejpeg; None where the file is Pillow's to judge."""
    header = jpeg.read_header(data)
    if header is None:
        return None
    _check_size(header.width, header.height)
    if header.components not in (1, 3):
        return None
    try:
        pixels, problem = jpeg.decode_pixels(data, header, need)
    except ValueError:
        return None
    turned = header.orientation >= 5
    width, height = (header.height, header.width) if turned else (header.width, header.height)
    if problem and _is_blank(pixels):
        return Decoded(state="error", reason=f"broken JPEG: no picture data ({problem})", format="JPEG")
    return Decoded(
        state="degraded" if problem else "ok",
        reason=f"damaged or cut short, decoded as far as it goes: {problem}"[:_REASON_CHARS] if problem else "",
        pixels=upright(pixels, header.orientation),
        width=width,
        height=height,
        format="JPEG",
    )


def _with_pillow(data: bytes, name: str, need: int) -> Decoded:
    if name == "WEBP" and (size := webp_size(data)) is not None:
        _check_size(*size)  # Pillow allocates the canvas as soon as it opens a WebP file
    with Image.open(io.BytesIO(data), formats=(name,)) as image:
        width, height = image.size
        _check_size(width, height)
        problems = []
        if name != "JPEG" and _has_more_frames(image):
            problems.append("only the first of several frames or pages is read")
        factor = jpeg.reduction(width, height, need) if name == "JPEG" else 1
        if factor > 1:
            image.draft(image.mode, (width // factor, height // factor))
        damage = _load(image)
        if damage and _is_empty(image):
            return Decoded(state="error", reason=f"broken {name}: no picture data ({damage})", format=name)
        pixels, guess = to_rgb(image)
        if damage:
            problems.append(f"damaged or cut short, decoded as far as it goes: {damage}")
        if guess:
            problems.append(guess)
        orientation = _orientation(image)
    # Pillow turns TIFF pictures itself while it loads them: the size is taken from what came out.
    if factor == 1:
        width, height = pixels.shape[1], pixels.shape[0]
    if orientation >= 5:
        width, height = height, width
    return Decoded(
        state="degraded" if problems else "ok",
        reason="; ".join(problems)[:_REASON_CHARS],
        pixels=upright(pixels, orientation),
        width=width,
        height=height,
        format=name,
    )


def _load(image: ImageFile.ImageFile) -> str:
    """Decode the pixels; return what went wrong where some of them are there nevertheless.

    Pillow's own switch for damaged files is global to the process. Without it a failed load leaves the rows that it
    decoded in place, and clearing the list of pending tiles makes Pillow hand them out.
    """
    try:
        image.load()
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        if image._im is None:
            raise
        image.tile = []
        return _describe(error)
    return ""


def _has_more_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 - a broken second frame; the first decides about the file
        return True


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # noqa: BLE001 - Pillow raises many kinds on a broken EXIF block; the pixels are fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _Rejected(_too_large(f"{width} x {height} = {width * height} pixels"))


def _too_large(what: str) -> str:
    return f"too large: {what}; at most {MAX_PIXELS} are decoded"


def _is_blank(pixels: UInt8Array) -> bool:
    return bool((pixels == pixels[:1, :1]).all()) if pixels.size else True


def _is_empty(image: Image.Image) -> bool:
    """Tell whether a picture that could not be loaded whole has one value a band only: nothing was decoded."""
    extrema = np.asarray(image.getextrema(), dtype=np.float64).reshape(-1, 2)
    return bool((extrema[:, 0] == extrema[:, 1]).all())


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_REASON_CHARS] if text else type(error).__name__
