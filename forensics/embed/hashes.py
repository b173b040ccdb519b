"""The perceptual hashes of ``imagehash`` that are one row an image: pHash, dHash and wHash.

The hashing happens in ``prepare``, so it runs in the worker processes; ``embed`` stacks the rows. Every hash is bit for
bit what the library makes of the same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from forensics.embed.crop_resistant import CropResistantHash
from forensics.embed.pdq import Pdq
from forensics.embed.rows import stack_bytes
from forensics.errors import UsageError
from forensics.types import Embedder, EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UInt8Array = NDArray[np.uint8]

__all__ = ["DHash", "PHash", "WHash", "create"]


def _grey(image: UInt8Array, width: int, height: int) -> Image.Image:
    return Image.fromarray(image).convert("L").resize((width, height), Image.Resampling.LANCZOS)


@dataclass(frozen=True, slots=True)
class PHash:
    """``imagehash.phash``: the sign pattern, about its median, of the 8 x 8 lowest DCT coefficients of 32 x 32 grey."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="phash",
            kind="bits",
            dim=64,
            preprocessing="imagehash.phash: grey (ITU-R 601), Lanczos to 32x32, DCT-II, 8x8 low frequencies > median",
            decode_size=256,
        )

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return the 8 hash bytes of one (H, W, 3) uint8 RGB image, the first bit in the highest place."""
        row: UInt8Array = self._hash(np.asarray(_grey(image, 32, 32))[None])[0]
        return row

    def prepare_orientations(self, image: UInt8Array) -> UInt8Array:
        """Return (8, 8) uint8: the hash of each orientation, from one reduction of the image.

        At most 4 of the 64 bits of a quarter turn differ from ``prepare`` of the turned image, whose reduction rounds
        in another order; the other four rows are equal.
        """
        grey = np.asarray(_grey(image, 32, 32))
        turned = [np.rot90(side, k) for side in (grey, grey[:, ::-1]) for k in range(4)]
        return self._hash(np.stack(turned))

    def embed(self, prepared: Sequence[UInt8Array]) -> UInt8Array:
        """Return (n, 8) uint8."""
        return stack_bytes(prepared, 8)

    @staticmethod
    def _hash(grey: UInt8Array) -> UInt8Array:
        """(n, 32, 32) uint8 → (n, 8) uint8."""
        from scipy.fft import dct

        low = dct(dct(grey, axis=1)[:, :8], axis=2)[:, :, :8].reshape(-1, 64)  # (n, 64)
        return np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)


@dataclass(frozen=True, slots=True)
class DHash:
    """``imagehash.dhash``: whether each of 9 x 8 grey pixels is brighter than its left neighbour."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="dhash",
            kind="bits",
            dim=64,
            preprocessing="imagehash.dhash: grey (ITU-R 601), Lanczos to 9x8, brighter than the left neighbour",
            decode_size=256,
        )

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return the 8 hash bytes of one (H, W, 3) uint8 RGB image."""
        grey = np.asarray(_grey(image, 9, 8))
        return np.packbits(grey[:, 1:] > grey[:, :-1])

    def embed(self, prepared: Sequence[UInt8Array]) -> UInt8Array:
        """Return (n, 8) uint8."""
        return stack_bytes(prepared, 8)


@dataclass(frozen=True, slots=True)
class WHash:
    """``imagehash.whash``: Haar wavelet coefficients of the lowest 8 x 8 band about their median."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="whash",
            kind="bits",
            dim=64,
            preprocessing="imagehash.whash: grey (ITU-R 601), Lanczos to the power of two below the shorter side, "
            "Haar without the mean, 8x8 band > median",
            decode_size=256,
        )

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return the 8 hash bytes of one (H, W, 3) uint8 RGB image."""
        import imagehash

        return np.packbits(imagehash.whash(Image.fromarray(image)).hash.reshape(-1))

    def embed(self, prepared: Sequence[UInt8Array]) -> UInt8Array:
        """Return (n, 8) uint8."""
        return stack_bytes(prepared, 8)


_HASHES: dict[str, Callable[[], Embedder]] = {
    "phash": PHash,
    "pdq": Pdq,
    "dhash": DHash,
    "whash": WHash,
    "crop-resistant": CropResistantHash,
}


def create(name: str) -> Embedder:
    """Return the hash called ``name``."""
    if name not in _HASHES:
        raise UsageError(f"unknown hash {name!r}; choose one of: {', '.join(_HASHES)}")
    return _HASHES[name]()
