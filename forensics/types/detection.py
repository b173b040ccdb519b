"""What a detector of marks, memes or covers finds in one image, and the protocol of detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from forensics.types.core import Box, FindingKind, ImageRef, Point, Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from forensics.types.core import UInt8Array

    MaskArray: TypeAlias = NDArray[np.uint8]

__all__ = ["Detection", "Detector", "KnownPicture", "MaskArray", "Reconsiders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPicture:
    """A picture that a detector knows and recognised, to be shown beside the image.

    Attributes
    ----------
    ref : ImageRef
    width, height : int
        Of the whole picture in pixels.
    preview : bytes
        JPEG of at most 512 px, empty where there is none.
    """

    ref: ImageRef
    width: int
    height: int
    preview: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One thing that was recognised in one image.

    Attributes
    ----------
    kind : FindingKind
        ``watermark``, ``meme`` or ``cover``.
    label : str
        What was recognised: an agency, a template, a kind of cover; ``unknown agency`` or ``unknown template`` where
        it is one of none that are known.
    score, threshold : float
        The detector's score, higher is surer, and the value from which it claims; ``score >= threshold`` always.
    threshold_source : str
        One sentence: where the threshold comes from.
    box : Box
        In pixels of the image that was given, upper bounds exclusive.
    polygon : tuple of Point
        Outline in the same pixels; empty where the box says all.
    mask : ndarray or None
        (h, w) uint8, 0 to 255, over the *whole* image at any resolution of the same proportions: how surely each place
        belongs to what was found. None where there is none.
    measurements : mapping
        What was measured, under names that ``docs/formats.md`` explains.
    reasons : tuple of str
        Sentences that a person without the program's vocabulary can follow.
    picture : KnownPicture or None
        Which picture was recognised, where it is one that can be shown: a meme's template.
    """

    kind: FindingKind
    label: str
    score: float
    threshold: float
    threshold_source: str
    box: Box
    polygon: tuple[Point, ...] = ()
    mask: MaskArray | None = None
    measurements: Mapping[str, Scalar] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    picture: KnownPicture | None = None


@runtime_checkable
class Detector(Protocol):
    """Recognises one kind of thing in single images."""

    @property
    def name(self) -> str:
        """A word for options and for ``run.json``."""
        ...

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """What the detector is, for ``run.json``: version, SHA-256 of its weights, settings."""
        ...

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        """Return for each (H, W, 3) uint8 RGB image, whatever its size, what was found in it, strongest first."""
        ...


@runtime_checkable
class Reconsiders(Protocol):
    """A detector whose finding may be due to what another detector found in the same image."""

    def reconsider(self, image: UInt8Array, own: Detection, others: Sequence[Detection]) -> Detection | None:
        """Return ``own``, with what the others' findings change about it, or None where they explain it away.

        ``image`` is the one that :meth:`Detector.detect` was given, ``others`` are other detectors' findings in it.
        """
        ...
