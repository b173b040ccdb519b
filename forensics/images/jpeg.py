"""The fast path for JPEG: libjpeg-turbo through simplejpeg, with scaled decoding.

Full-size pixels equal Pillow's bit for bit (both use libjpeg-turbo with the accurate DCT and smooth chroma upsampling).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["JpegHeader", "decode_pixels", "read_header", "reduction"]

_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_ORIENTATION_TAG = 0x0112
_STANDALONE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))
_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # baseline, extended, progressive; others are Pillow's to judge

# libjpeg warns about these, and the pixels are whole all the same.
_HARMLESS = ("extraneous bytes before marker", "Invalid SOS parameters", "Unknown Adobe color", "unknown JFIF revision")


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegHeader:
    """What the markers before the first scan say; width and height as stored, before orientation."""

    width: int
    height: int
    components: int
    orientation: int = 1


def read_header(data: bytes) -> JpegHeader | None:
    """Read the markers of an 8-bit Huffman-coded JPEG; None where it is anything else or is malformed."""
    exif = xmp = b""
    frame: tuple[int, int, int] | None = None
    at, end = 2, len(data)
    while at + 4 <= end:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        start, at = at + 4, at + 2 + length
        if length < 2 or at > end:
            return None
        if marker == 0xDA:
            break
        if marker == 0xE1 and not exif and data[start : start + 6] == b"Exif\0\0":
            exif = data[start:at]
        elif marker == 0xE1 and not xmp and data[start : start + 28] == b"http://ns.adobe.com/xap/1.0/":
            xmp = data[start:at]
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker not in _FRAMES or frame is not None or length < 8 or data[start] != 8:
                return None
            height, width = (int.from_bytes(data[start + i : start + i + 2], "big") for i in (1, 3))
            frame = width, height, data[start + 5]
    if frame is None or not frame[0] or not frame[1]:
        return None
    return JpegHeader(width=frame[0], height=frame[1], components=frame[2], orientation=_orientation(exif, xmp))


def _orientation(exif: bytes, xmp: bytes) -> int:
    """Return the EXIF orientation, 1 to 8; from XMP where EXIF has none; 1 where neither can be read."""
    if exif:
        from PIL import Image

        tags = Image.Exif()
        try:
            tags.load(exif)
            value: Any = tags.get(_ORIENTATION_TAG)
        except Exception:  # noqa: BLE001 - Pillow raises many kinds on a broken EXIF block; the pixels are fine
            value = None
        if value is not None:
            return value if isinstance(value, int) and 1 <= value <= 8 else 1
    match = _XMP_ORIENTATION.search(xmp) if xmp else None
    return int(match[1]) if match else 1


def reduction(width: int, height: int, need: int) -> int:
    """Return 1, 2, 4 or 8: the most by which a scaled decode may divide so that the shorter side stays >= ``need``."""
    if need < 1:
        return 1
    return next((factor for factor in (8, 4, 2) if min(width, height) >= factor * need), 1)


def decode_pixels(data: bytes, header: JpegHeader, need: int) -> tuple[UInt8Array, str]:
    """Decode a JPEG with one or three components to RGB, not yet upright.

    Returns
    -------
    pixels : (h, w, 3) uint8
    problem : str
        What libjpeg complains about where the pixels are not whole; empty otherwise.

    Raises
    ------
    ValueError
        If libjpeg cannot decode it at all.
    """
    import simplejpeg

    factor = reduction(header.width, header.height, need)
    options = {}
    if factor > 1:
        options = {"min_width": -(-header.width // factor), "min_height": -(-header.height // factor)}
    problem = ""
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", **options)
    except ValueError as error:
        problem = " ".join(str(error).split())
        pixels = simplejpeg.decode_jpeg(data, "RGB", strict=False, **options)
        # The strict decoder stops at its first complaint; a cut-short file may hide behind a harmless one.
        complete = data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
        if complete and any(harmless in problem for harmless in _HARMLESS):
            problem = ""
    return np.ascontiguousarray(pixels), problem
