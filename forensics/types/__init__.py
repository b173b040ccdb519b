"""The vocabulary of the program: records, specs, measurements and the protocols that plug-ins implement.

Importing this module imports nothing outside the standard library. Arrays are NumPy arrays; their shapes, dtypes and
ranges are stated where they are named. Boxes are ``(x0, y0, x1, y1)`` in pixels of the full-size, upright image, the
upper bounds exclusive. Scores are higher for more alike, always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forensics.types.core import (
    Box,
    Decoded,
    Embedder,
    EmbedderSpec,
    Finding,
    FindingKind,
    GeneratedImage,
    Generator,
    GeneratorSpec,
    ImageRef,
    ImageState,
    Lead,
    Point,
    Progress,
    Record,
    Region,
    Scalar,
    Scorer,
    Verification,
    View,
)
from forensics.types.detection import Detection, Detector, KnownPicture, Reconsiders
from forensics.types.likelihood import AutoregressiveModel, AutoregressiveSpec, Decoder, TokenLikelihoods

if TYPE_CHECKING:
    from forensics.types.core import FloatArray as FloatArray
    from forensics.types.core import UInt8Array as UInt8Array
    from forensics.types.detection import MaskArray as MaskArray
    from forensics.types.likelihood import TokenArray as TokenArray

__all__ = [
    "AutoregressiveModel",
    "AutoregressiveSpec",
    "Box",
    "Decoded",
    "Decoder",
    "Detection",
    "Detector",
    "Embedder",
    "EmbedderSpec",
    "Finding",
    "FindingKind",
    "GeneratedImage",
    "Generator",
    "GeneratorSpec",
    "ImageRef",
    "ImageState",
    "KnownPicture",
    "Lead",
    "Point",
    "Progress",
    "Reconsiders",
    "Record",
    "Region",
    "Scalar",
    "Scorer",
    "TokenLikelihoods",
    "Verification",
    "View",
]
