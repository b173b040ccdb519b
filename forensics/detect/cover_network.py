"""The cover detector's network: what goes in, what comes out, and where its file lies."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.embed.runtime import threads as default_threads
from forensics.errors import WeightsError

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
        self.path = path or _SHIPPED
        self._threads = threads

    @cached_property
    def sha256(self) -> str:
        """Of the file, hex."""
        return hashlib.sha256(self._bytes()).hexdigest()

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
        (result,) = self._session.run(None, given)
        return np.asarray(result, np.float32)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads or default_threads()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(self._bytes(), options, providers=["CPUExecutionProvider"])
            fits = [item.name for item in session.get_inputs()] == ["image", "layout"]
            fits = fits and session.get_outputs()[0].shape[-1] == len(CLASSES)
        except WeightsError:
            raise
        except Exception as error:  # ONNX Runtime raises whatever it meets
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise WeightsError(f"{self.path} cannot be read as a cover detector: {reason}") from error
        if not fits:
            raise WeightsError(f"{self.path} is another network; a cover.onnx of `forensics train cover` accepted")
        return session

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise WeightsError(
                f"the cover detector {self.path} cannot be read ({error.strerror}); install the program anew, or train "
                "it with: forensics train cover"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_session"}
