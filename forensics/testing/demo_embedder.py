"""An embedder whose numbers can be read: the mean colours of a 4 x 4 grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forensics.types import EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DemoEmbedder"]


@dataclass(frozen=True, slots=True)
class DemoEmbedder:
    """Mean red, green and blue of 16 cells, row by row, scaled to unit norm: 48 numbers.

    Attributes
    ----------
    weights : str
        Stands for the SHA-256 of weights, so that two builds of one model can be told apart.

    Notes
    -----
    A black image has the zero vector, which no index accepts: it shows what happens then.
    """

    weights: str = ""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="demo",
            kind="vector",
            dim=48,
            preprocessing="mean colours of a 4x4 grid",
            weights_sha256=self.weights,
            decode_size=64,
        )

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the (4, 4, 3) uint8 mean colours of one (H, W, 3) uint8 RGB image, H and W at least 4."""
        rows = np.array_split(image, 4, axis=0)
        cells = [[cell.mean(axis=(0, 1)) for cell in np.array_split(row, 4, axis=1)] for row in rows]
        return np.round(np.array(cells)).astype(np.uint8)

    def embed(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return (n, 48) float32 with unit norm; zero for black images."""
        rows = np.stack(prepared).reshape(len(prepared), -1).astype(np.float32)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        scaled: NDArray[np.float32] = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
        return scaled
