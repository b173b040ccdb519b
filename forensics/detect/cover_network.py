"""The cover detector's network: what goes in, what comes out, and where its file lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.network_file import NetworkFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forensics.types import FloatArray, UInt8Array

__all__ = ["CLASSES", "SIDE", "CoverModel", "to_pixels"]

CLASSES: tuple[str, ...] = ("none", "book", "disc", "website", "poster")
SIDE = 224
"""Pixels of the square that the network sees."""

_SHIPPED = Path(__file__).parent / "cover.onnx"


def to_pixels(image: UInt8Array) -> UInt8Array:
    """Return (SIDE, SIDE, 3) uint8 of one (H, W, 3) uint8 RGB image: squashed, averaged where it is larger."""
    import cv2

    height, width = image.shape[:2]
    if (height, width) == (SIDE, SIDE):
        return image
    smaller = height * width > SIDE * SIDE
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=how), np.uint8)


class CoverModel:
    """The network on ONNX Runtime; the file is read when it is first needed.

    Parameters
    ----------
    path : Path, optional
        A ``cover.onnx`` as ``forensics train cover`` writes it; the program's own by default.
    threads : int, optional
        CPU threads; by default ``$FORENSICS_THREADS``, else one a core.
    """

    def __init__(self, path: Path | None = None, *, threads: int | None = None) -> None:
        self.file = NetworkFile(path or _SHIPPED, detector="cover", fits=_fits, threads=threads)

    @property
    def sha256(self) -> str:
        """Of the file, hex."""
        return self.file.sha256

    def chances(self, pixels: Sequence[UInt8Array], layouts: Sequence[FloatArray]) -> FloatArray:
        """Return (n, K) float32 of n images as :func:`to_pixels` gives them and their layout measures.

        Raises
        ------
        WeightsError
            If the file is missing or is no cover detector.
        """
        if not pixels:
            return np.empty((0, len(CLASSES)), np.float32)
        given = {"image": np.stack(pixels), "layout": np.stack(layouts).astype(np.float32)}
        (result,) = self.file.session.run(None, given)
        return np.asarray(result, np.float32)


def _fits(session: Any) -> bool:
    inputs = [item.name for item in session.get_inputs()]
    return inputs == ["image", "layout"] and session.get_outputs()[0].shape[-1] == len(CLASSES)
