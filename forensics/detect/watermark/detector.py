"""Stock marks in single images: found and located by a network, named by what can be read of them.

The network decides whether there is a mark (its score against the program's threshold) and where; a lower score is
enough where an agency's name can be read at that place. Only where the network points to one are letters read
(:mod:`~forensics.detect.watermark.naming`); its own guess at the agency is one opinion there, and names nobody alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.ocr import TextReader, missing
from forensics.detect.watermark.agencies import UNKNOWN_AGENCY
from forensics.detect.watermark.naming import NamedMark, name_mark
from forensics.detect.watermark.network import SECOND_LOOK, MarkModel, MarkOpinion
from forensics.errors import UsageError
from forensics.types import Detection

if TYPE_CHECKING:
    from forensics.types import Box, FloatArray, MaskArray, Scalar, UInt8Array

__all__ = ["MASK_LEVEL", "WatermarkDetector", "region_box"]

MASK_LEVEL = 0.5
"""Probability from which a place is counted to the mark."""

_READ_SIDE = 1600
"""Longer side in pixels from which an image is reduced before it is read."""
_NEAR = 0.25
"""Distance of a reading from the name up to which it makes up for a lower score: a quarter of the letters."""
_PARTLY = 0.5
"""Where no place reaches the level, those count that reach this share of the strongest."""


class WatermarkDetector:
    """Recognises marks of picture agencies.

    Parameters
    ----------
    threshold : float
        Score from which a mark is claimed, in (0, 1): ``watermark`` of the program's table.
    threshold_source : str
        Where it comes from.
    named_threshold : float, optional
        Score from which a mark is claimed that says a known agency's name, at most ``threshold``: ``watermark_named``.
        What scores between the two is read, and claimed where it is named. By default as ``threshold``.
    named_source : str
        Where that comes from.
    model : MarkModel, optional
        The program's own by default.
    reader : TextReader, optional
        Reads what was found. By default one is made where its package is installed; without, marks are found and not
        named.
    """

    def __init__(
        self,
        *,
        threshold: float,
        threshold_source: str,
        named_threshold: float | None = None,
        named_source: str = "",
        model: MarkModel | None = None,
        reader: TextReader | None = None,
    ) -> None:
        if not 0 < threshold < 1:
            raise UsageError(f"threshold watermark = {threshold} given; a score between 0 and 1 accepted")
        named_threshold = threshold if named_threshold is None else min(named_threshold, threshold)
        if not 0 < named_threshold < 1:
            raise UsageError(f"threshold watermark_named = {named_threshold} given; a score between 0 and 1 accepted")
        self.threshold, self.threshold_source = threshold, threshold_source
        self.named_threshold, self.named_source = named_threshold, named_source or threshold_source
        self.model = model or MarkModel()
        self._reader = reader if reader is not None or missing() else TextReader()

    @classmethod
    def with_weights(cls, path: Path | str, *, threshold: float, threshold_source: str) -> WatermarkDetector:
        """Return a detector with another ``watermark.onnx``."""
        return cls(threshold=threshold, threshold_source=threshold_source, model=MarkModel(Path(path)))

    @property
    def name(self) -> str:
        """``watermark``."""
        return "watermark"

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Name and SHA-256 of the network, how it looks, the thresholds, and whether marks are read."""
        return {
            "network": "EfficientNet-Lite0 with a decoder to stride 4",
            "weights_sha256": self.model.sha256,
            "second_look": SECOND_LOOK,
            "threshold": self.threshold,
            "named_threshold": self.named_threshold,
            "text_reader": self._reader is not None,
        }

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        """Return for each image its mark, if it has one; an image has one at most."""
        return [self._detect(image) for image in images]

    def opinion(self, image: UInt8Array) -> MarkOpinion:
        """Return what the network says, whether it is enough for a claim or not."""
        return self.model.look(image, enough=self.threshold)

    def _detect(self, image: UInt8Array) -> list[Detection]:
        opinion = self.opinion(image)
        if opinion.score < self.named_threshold:
            return []
        height, width = image.shape[:2]
        box = region_box(opinion.mask, width, height)
        named = self._named(image, opinion, box)
        sure = opinion.score >= self.threshold
        if not sure and (named.label == UNKNOWN_AGENCY or named.distance > _NEAR):
            return []
        guess = max(opinion.brands, key=lambda brand: opinion.brands[brand])
        share = float((opinion.mask >= MASK_LEVEL).mean())
        measurements: dict[str, Scalar] = {
            "mark_presence": round(opinion.presence, 4),
            "mark_share": round(share, 4),
            "mark_legibility": named.legibility,
            "mark_text": named.text,
            "network_agency": guess,
            "network_agency_probability": round(opinion.brands[guess], 4),
        }
        if named.label != UNKNOWN_AGENCY:
            measurements["mark_text_distance"] = round(named.distance, 4)
        if named.lattice is not None and named.lattice.sure:
            measurements["mark_period"] = round(min(float(np.hypot(x, y)) for x, y in named.lattice.steps), 1)
        return [
            Detection(
                kind="watermark",
                label=named.label,
                score=round(opinion.score, 6),
                threshold=self.threshold if sure else self.named_threshold,
                threshold_source=self.threshold_source if sure else self.named_source,
                box=box,
                mask=_as_bytes(opinion.mask),
                measurements=measurements,
                reasons=(_claim(opinion, share), *named.evidence),
            )
        ]

    def _named(self, image: UInt8Array, opinion: MarkOpinion, box: Box) -> NamedMark:
        """Name the mark, on a reduced image where it is large: letters of a mark are not small there."""
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, _READ_SIDE / max(height, width))
        if scale == 1.0:
            return name_mark(image, _as_bytes(opinion.mask), box, opinion.brands, self._reader)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        x0, y0, x1, y1 = (value * scale for value in box)
        small = (int(x0), int(y0), min(size[0], int(np.ceil(x1))), min(size[1], int(np.ceil(y1))))
        return name_mark(reduced, _as_bytes(opinion.mask), small, opinion.brands, self._reader)


def region_box(mask: FloatArray, width: int, height: int) -> Box:
    """Return the box around what a mask says is the mark, in pixels of an image of that size."""
    inside = mask >= min(MASK_LEVEL, _PARTLY * float(mask.max()))
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    h, w = mask.shape
    return (
        int(columns[0] * width / w),
        int(rows[0] * height / h),
        min(width, int(np.ceil((columns[-1] + 1) * width / w))),
        min(height, int(np.ceil((rows[-1] + 1) * height / h))),
    )


def _as_bytes(mask: FloatArray) -> MaskArray:
    return np.asarray(np.rint(mask * 255), np.uint8)


def _claim(opinion: MarkOpinion, share: float) -> str:
    where = "a part of the picture, seen enlarged" if opinion.in_part else "the picture"
    return f"A network that was trained on drawn marks sees one in {where}; it covers {share:.0%} of it."
