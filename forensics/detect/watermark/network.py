"""The network that sees stock marks, on ONNX Runtime: is there one, where, and whose it looks like.

Where a first look is not sure that there is no mark, a second one, a quarter larger, is averaged with it: faint letters
are seen at one size and not at the other. A large image is looked at whole and in four parts. A part must be surer than
the whole: as four are looked at, its chance of a false alarm is counted four times (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.network_file import NetworkFile
from forensics.detect.watermark.feeding import feed, parts
from forensics.errors import UsageError

if TYPE_CHECKING:
    from forensics.types import Box, FloatArray, UInt8Array

__all__ = ["LEAST_SIDE", "SECOND_LOOK", "MarkModel", "MarkOpinion"]

LEAST_SIDE = 24
"""Pixels of the shorter side below which an image has no letters to see."""

_SHIPPED = Path(__file__).parent / "watermark.onnx"
_BRANDS = "brands"
"""Entry of the file's metadata with the agencies' names, one a line."""
_NO_MARK = 0.03
"""Probability below which one look is enough: a second one would have to be as sure of the contrary to reach a half."""
SECOND_LOOK = 1.25
"""How many times larger the second look is."""
_MOST_SLENDER = 8.0
"""Times that one side may be the other's; a longer strip is looked at in its middle."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkOpinion:
    """What the network says of one image.

    Attributes
    ----------
    presence : float
        Probability of a mark as the training's pictures had them, in [0, 1]; of two looks, that of their mean log odds.
    score : float
        What is compared with the threshold: ``presence``, or less where a part of the image decided.
    mask : ndarray
        (h, w) float32 in [0, 1] over the whole image.
    brands : mapping
        Agency (``unknown agency`` among them) to probability, if there is a mark; they sum to 1.
    in_part : bool
        Whether a part of the image decided rather than the whole.
    """

    presence: float
    score: float
    mask: FloatArray
    brands: Mapping[str, float]
    in_part: bool = False


class MarkModel:
    """The network; its file is read when it is first needed.

    Parameters
    ----------
    path : Path, optional
        A ``watermark.onnx`` as ``forensics train watermark`` writes it; the program's own by default.
    threads : int, optional
        CPU threads; by default ``$FORENSICS_THREADS``, else one a core.
    """

    def __init__(self, path: Path | None = None, *, threads: int | None = None) -> None:
        self.file = NetworkFile(path or _SHIPPED, detector="watermark", fits=_fits, threads=threads)

    @property
    def sha256(self) -> str:
        """Of the file, hex."""
        return self.file.sha256

    @cached_property
    def brands(self) -> tuple[str, ...]:
        """The agencies in the order of the network's outputs."""
        return tuple(self.file.session.get_modelmeta().custom_metadata_map[_BRANDS].split("\n"))

    def look(self, image: UInt8Array, *, enough: float = 1.0) -> MarkOpinion:
        """Return what the network says of an image.

        Parameters
        ----------
        image : ndarray
            (H, W, 3) uint8 RGB of any size. Smaller than :data:`LEAST_SIDE`, or of one colour, it has no mark.
        enough : float
            Score from which the whole image settles it and no part is looked at.

        Raises
        ------
        UsageError
            If the array is none of that shape and kind.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise UsageError(f"an image of shape {image.shape} and {image.dtype} given, (H, W, 3) uint8 accepted")
        height, width = image.shape[:2]
        if min(height, width) < LEAST_SIDE or int(image.min()) == int(image.max()):
            return MarkOpinion(presence=0.0, score=0.0, mask=np.zeros((1, 1), np.float32), brands={})
        longest = int(_MOST_SLENDER * min(height, width))
        if max(height, width) > longest:
            return self._middle(image, longest, enough)
        whole = self._see(image)
        boxes = parts(width, height)
        if not boxes or whole.score >= enough:
            return whole
        seen = [(box, self._see(image[box[1] : box[3], box[0] : box[2]])) for box in boxes]
        return _joined(whole, seen, width, height)

    def _see(self, image: UInt8Array) -> MarkOpinion:
        """Look once, and again where the first look leaves room for a mark."""
        first = self._once(feed(image))
        return first if first.score < _NO_MARK else _averaged(first, self._once(feed(image, enlarged=SECOND_LOOK)))

    def _once(self, fed: UInt8Array) -> MarkOpinion:
        """Return the opinion of an image as it is fed."""
        mask, presence, brand = self.file.session.run(None, {"image": np.ascontiguousarray(fed)[None]})
        score = float(presence[0])
        brands = dict(zip(self.brands, map(float, brand[0]), strict=True))
        return MarkOpinion(presence=score, score=score, mask=mask[0], brands=brands)

    def _middle(self, image: UInt8Array, longest: int, enough: float) -> MarkOpinion:
        """Look at the middle of a long strip; its ends count as unmarked."""
        height, width = image.shape[:2]
        y, x = max(0, (height - longest) // 2), max(0, (width - longest) // 2)
        inner = self.look(image[y : y + longest, x : x + longest], enough=enough)
        h, w = inner.mask.shape
        rows, columns = max(h, round(h * height / longest)), max(w, round(w * width / longest))
        mask = np.zeros((rows if height > longest else h, columns if width > longest else w), np.float32)
        top, left = (mask.shape[0] - h) // 2, (mask.shape[1] - w) // 2
        mask[top : top + h, left : left + w] = inner.mask
        return MarkOpinion(presence=inner.presence, score=inner.score, mask=mask, brands=inner.brands, in_part=True)


def _averaged(one: MarkOpinion, other: MarkOpinion) -> MarkOpinion:
    """Return the mean of two opinions of an image: of the log odds, of the masks, at the first one's size."""
    import cv2

    least = 1e-6
    odds = [math.log(max(p, least) / max(1 - p, least)) for p in (one.presence, other.presence)]
    presence = 1 / (1 + math.exp(-sum(odds) / 2))
    size = (one.mask.shape[1], one.mask.shape[0])
    mask: FloatArray = (one.mask + cv2.resize(other.mask, size, interpolation=cv2.INTER_LINEAR)) / np.float32(2)
    brands = {name: (chance + other.brands[name]) / 2 for name, chance in one.brands.items()}
    return MarkOpinion(presence=presence, score=presence, mask=mask, brands=brands)


def _fits(session: Any) -> bool:
    return _BRANDS in session.get_modelmeta().custom_metadata_map


def _joined(whole: MarkOpinion, seen: list[tuple[Box, MarkOpinion]], width: int, height: int) -> MarkOpinion:
    """Return what the whole and the parts say together, with a mask of twice the whole's resolution."""
    import cv2

    surer = [(max(0.0, 1 - len(seen) * (1 - opinion.score)), opinion) for _, opinion in seen]
    score, surest = max(surer, key=lambda pair: pair[0])
    if score <= whole.score:
        return whole
    h, w = whole.mask.shape
    mask: FloatArray = cv2.resize(whole.mask, (2 * w, 2 * h), interpolation=cv2.INTER_LINEAR)
    for box, opinion in seen:
        x0, x1 = round(box[0] / width * 2 * w), round(box[2] / width * 2 * w)
        y0, y1 = round(box[1] / height * 2 * h), round(box[3] / height * 2 * h)
        part = cv2.resize(opinion.mask, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        mask[y0:y1, x0:x1] = np.maximum(mask[y0:y1, x0:x1], part)
    return MarkOpinion(presence=surest.presence, score=score, mask=mask, brands=surest.brands, in_part=True)
