"""Layout: what is light and what is dark where, in a thumbnail, whatever the colours have become.

A picture that a generator paints from memory keeps its large shapes, and neither its colours nor its outlines. Copy
descriptors and hashes of such a repaint are those of another picture; the correlation of two thumbnails, channel by
channel, each brought to zero mean and unit deviation, is not. Cosine of two rows is the mean of the three channels'
correlations (template matching by normalised cross-correlation; Lewis, *Vision Interface* 1995).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.embed.rows import stack_images
from forensics.errors import UsageError
from forensics.images import resize
from forensics.types import Embedder, EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

__all__ = ["SIDE", "Layout", "create", "fine"]

SIDE = 24
"""Side of the thumbnail in pixels: a repaint moves outlines by less than one of them."""

_FLAT = 4.0
"""Least deviation that a channel is divided by, in grey levels: an empty picture stays nearly empty."""
_FINE_SIGMA = 4.0


@dataclass(frozen=True, slots=True)
class Layout:
    """A thumbnail of 24 x 24 pixels, each channel of zero mean and unit deviation, as one unit row."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="layout",
            kind="vector",
            dim=SIDE * SIDE * 3,
            preprocessing=f"antialiased resize to {SIDE}x{SIDE} (skewed); each channel zero mean, unit deviation",
            decode_size=8 * SIDE,
        )

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return (24, 24, 3) uint8."""
        return resize(image, SIDE, SIDE)

    def embed(self, prepared: Sequence[UInt8Array]) -> NDArray[np.float32]:
        """Return (n, 1728) float32 with unit norm; a picture of one colour gives the row of a faint ramp."""
        if len(prepared) == 0:
            return np.empty((0, SIDE * SIDE * 3), np.float32)
        pixels = stack_images(prepared, SIDE).astype(np.float32)  # (n, 24, 24, 3)
        # no row may be zero: an index refuses it
        pixels += np.linspace(0.0, 0.5, SIDE, dtype=np.float32)[:, None, None]
        pixels -= pixels.mean(axis=(1, 2), keepdims=True)
        deviation = np.sqrt((pixels**2).mean(axis=(1, 2), keepdims=True))
        return _unit((pixels / np.maximum(deviation, _FLAT)).reshape(len(pixels), -1))


def fine(rows: FloatArray) -> FloatArray:
    """Return rows (..., 1728) without their coarsest part, unit norm: a vignette or a horizon no longer counts."""
    import cv2

    shape = rows.shape
    thumbnails = np.ascontiguousarray(rows.reshape(-1, SIDE, SIDE, 3), np.float32)
    sharp = [
        thumbnail - cv2.GaussianBlur(thumbnail, (0, 0), _FINE_SIGMA, borderType=cv2.BORDER_REFLECT)
        for thumbnail in thumbnails
    ]
    return _unit(np.asarray(sharp, np.float32).reshape(-1, SIDE * SIDE * 3)).reshape(shape)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
    return unit


def create(name: str) -> Embedder:
    """Return the embedder called ``layout``."""
    if name != "layout":
        raise UsageError(f"unknown embedder {name!r}; layout has no variants")
    return Layout()
