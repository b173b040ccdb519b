"""The cover detector's network: what goes in, what comes out, and where its file lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.network_file import NetworkFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forensics.types import FloatArray, UInt8Array

__all__ = ["CLASSES", "SIDE", "VIEWS", "CoverModel", "sharp_view", "views"]

CLASSES: tuple[str, ...] = ("none", "book", "disc", "website", "poster")
SIDE = 224
"""Pixels of the square that the network sees."""
VIEWS = 2
"""Views of an image in which the network is asked; its opinions are averaged."""

_COARSE, _FINER = 128, 192
"""Pixels of the longer side to which the two views are reduced before they are shown."""

_SHIPPED = Path(__file__).parent / "cover.onnx"


def views(image: UInt8Array) -> UInt8Array:
    """Return (VIEWS, SIDE, SIDE, 3) uint8 of one (H, W, 3) uint8 RGB image: coarse and stretched, finer in its shape.

    A cover is known by how it is laid out, not by its grain, and a renderer's grain is not that of a print. What is
    learnt from sharp renderings carries over better to coarse views of real covers than what coarse ones teach.
    """
    import cv2

    height, width = image.shape[:2]
    longer = max(height, width)
    scale = min(1.0, _FINER / longer)
    shaped = _reduced(image, max(1, round(width * scale)), max(1, round(height * scale)))
    missing = [max(shaped.shape[:2]) - length for length in shaped.shape[:2]]
    (top, bottom), (left, right) = ((whole // 2, whole - whole // 2) for whole in missing)
    square = cv2.copyMakeBorder(shaped, top, bottom, left, right, cv2.BORDER_REPLICATE)
    coarse = _reduced(image, min(width, _COARSE), min(height, _COARSE))
    return np.stack([cv2.resize(view, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for view in (coarse, square)])


def sharp_view(image: UInt8Array) -> UInt8Array:
    """Return (1, SIDE, SIDE, 3) uint8 of one (H, W, 3) uint8 RGB image, stretched: what the network learns from."""
    import cv2

    height, width = image.shape[:2]
    how = cv2.INTER_AREA if height * width > SIDE * SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=how), np.uint8)[None]


def _reduced(image: UInt8Array, width: int, height: int) -> UInt8Array:
    import cv2

    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


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

    def chances(self, seen: Sequence[UInt8Array], layouts: Sequence[FloatArray]) -> FloatArray:
        """Return (n, K) float32 of n images as :func:`views` gives them and their layout measures.

        Raises
        ------
        WeightsError
            If the file is missing or is no cover detector.
        """
        if not seen:
            return np.empty((0, len(CLASSES)), np.float32)
        pixels = np.concatenate(seen)
        layout = np.repeat(np.stack(layouts).astype(np.float32), VIEWS, axis=0)
        (result,) = self.file.session.run(None, {"image": pixels, "layout": layout})
        joined: FloatArray = np.asarray(result, np.float32).reshape(len(seen), VIEWS, -1).mean(1)
        return joined


def _fits(session: Any) -> bool:
    inputs = [item.name for item in session.get_inputs()]
    return inputs == ["image", "layout"] and session.get_outputs()[0].shape[-1] == len(CLASSES)
