"""Checks of rows that embedders share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import VectorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["stack_bytes", "stack_images", "unit_rows"]


def stack_bytes(prepared: Sequence[NDArray[np.uint8]], size: int) -> NDArray[np.uint8]:
    """Return (n, size) uint8 from n prepared rows of ``size`` bytes.

    Raises
    ------
    VectorError
        If a row has another length or type.
    """
    for row in prepared:
        if row.shape != (size,) or row.dtype != np.uint8:
            raise VectorError(
                f"a prepared hash of shape {row.shape} and type {row.dtype} given, ({size},) uint8 accepted"
            )
    return np.stack(prepared) if len(prepared) else np.empty((0, size), np.uint8)


def stack_images(prepared: Sequence[NDArray[np.uint8]], side: int) -> NDArray[np.uint8]:
    """Return (n, side, side, 3) uint8 from n > 0 prepared images.

    Raises
    ------
    VectorError
        If an image has another shape or type.
    """
    for image in prepared:
        if image.shape != (side, side, 3) or image.dtype != np.uint8:
            raise VectorError(
                f"a prepared image of shape {image.shape} and type {image.dtype} given, ({side}, {side}, 3) uint8 "
                "accepted"
            )
    return np.stack(prepared)


def unit_rows(rows: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return (n, d) ``rows`` as float32 with unit norm.

    Raises
    ------
    VectorError
        If a row holds NaN or infinity, or is zero: such rows would never be found, or score alike with everything.
    """
    vectors = np.asarray(rows, dtype=np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    bad = ~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0)
    if bad.any():
        raise VectorError(
            f"{name} gave {int(bad.sum())} of {len(vectors)} vectors that are NaN, infinite or zero "
            f"(first: row {int(bad.argmax())}); check its weights with: forensics weights"
        )
    unit: NDArray[np.float32] = vectors / norms
    return unit
