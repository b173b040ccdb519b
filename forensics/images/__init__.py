"""The only decoder: bytes of a file → upright RGB pixels or a reason, and the few pixel operations everyone shares."""

from __future__ import annotations

from forensics.images.decoding import FORMATS, MAX_PIXELS, decode
from forensics.images.pixels import encode_preview, view_pixels
from forensics.images.scaling import resize

__all__ = ["FORMATS", "MAX_PIXELS", "decode", "encode_preview", "resize", "view_pixels"]
