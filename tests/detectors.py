"""A detector that worker processes can make: it sees pure red, and its threshold can be told apart from its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from forensics.types import Detection, FindingKind

if TYPE_CHECKING:
    from forensics.types import UInt8Array


class RedDetector:
    """Finds the box of red pixels; ``fail_at`` is a width at which it breaks."""

    def __init__(self, *, kind: FindingKind = "watermark", label: str = "Red Agency", fail_at: int = 0) -> None:
        self.kind, self.label, self.fail_at = kind, label, fail_at

    @property
    def name(self) -> str:
        return "red"

    @property
    def facts(self) -> dict[str, str | int]:
        return {"version": "1", "fail_at": self.fail_at}

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        return [self._one(image) for image in images]

    def _one(self, image: UInt8Array) -> list[Detection]:
        if image.shape[1] == self.fail_at:
            raise RuntimeError("this width breaks it")
        red = (image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60)
        if not red.any():
            return []
        rows, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
        return [
            Detection(
                kind=self.kind,
                label=self.label,
                score=float(red.mean()),
                threshold=0.0,
                threshold_source="a test's",
                box=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
                mask=np.asarray(red * 255, np.uint8),
                measurements={"brand_legibility": "readable"},
                reasons=("It is red.",),
            )
        ]


class ModestDetector(RedDetector):
    """Finds red as the other one does, in its own kind, and takes it back where the other one found it too."""

    @property
    def name(self) -> str:
        return "modest"

    def reconsider(self, image: UInt8Array, own: Detection, others: Sequence[Detection]) -> Detection | None:
        if image.shape[1] == self.fail_at + 1:
            raise RuntimeError("this width breaks it")
        if any(other.mask is not None and other.box == own.box for other in others):
            return None
        return replace(own, reasons=(*own.reasons, "Somewhere else is something else."))


class OddDetector(RedDetector):
    """Says where red is in no numbers."""

    @property
    def name(self) -> str:
        return "odd"

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        nowhere = (float("nan"),) * 4
        return [[replace(one, box=nowhere) for one in found] for found in super().detect(images)]  # type: ignore[arg-type]


def odd(**arguments: object) -> OddDetector:
    return OddDetector(**arguments)  # type: ignore[arg-type]


def modest(**arguments: object) -> ModestDetector:
    return ModestDetector(kind="cover", label="poster", **arguments)  # type: ignore[arg-type]


def red(**arguments: object) -> RedDetector:
    return RedDetector(**arguments)  # type: ignore[arg-type]
