"""How well a mark detector does on composites of names, typefaces and pictures that its training left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.watermark.network import MarkModel
from forensics.errors import UsageError
from forensics.render.stock_names import UNKNOWN
from forensics.train.composites import BRAND_NAMES, Composite

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, Progress

__all__ = ["MarkScores", "check_marks", "mask_iou", "threshold_at"]

_LEAST_SHARE = 0.003
"""Share of a picture below which its mark is cut off by the frame and the picture counts neither way."""
_LEVEL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarkScores:
    """What the detector said of n composites, and what is true. Arrays of length n.

    Attributes
    ----------
    number : ndarray
        int64, the composites' numbers.
    score : ndarray
        float32 in [0, 1].
    marked : ndarray
        bool.
    iou : ndarray
        float32, of the mask and the truth; NaN where there is no mark.
    brand, guess : ndarray
        int64 into the brands; ``brand`` is -1 without a mark.
    opacity, contrast : ndarray
        float32; 0 without a mark.
    layout, look : ndarray
        str, see :class:`~forensics.train.composites.Composite`.
    small : ndarray
        bool.
    """

    number: NDArray[np.int64]
    score: FloatArray
    marked: NDArray[np.bool_]
    iou: FloatArray
    brand: NDArray[np.int64]
    guess: NDArray[np.int64]
    opacity: FloatArray
    contrast: FloatArray
    layout: NDArray[np.str_]
    look: NDArray[np.str_]
    small: NDArray[np.bool_]


def check_marks(
    model: MarkModel, make: Callable[[int], Composite], count: int, *, progress: Progress | None = None
) -> MarkScores:
    """Ask a detector about ``count`` composites; those with a trace of a mark only are passed over."""
    rows: list[tuple[int, float, bool, float, int, int, float, float, str, str, bool]] = []
    for number in range(count):
        composite = make(number)
        share = float((composite.whole_mask > 127).mean())
        if progress is not None:
            progress("checking the detector", number + 1, count)
        if (composite.layout and share < _LEAST_SHARE) or min(composite.whole.shape[:2]) < 32:
            continue
        marked = bool(composite.layout)
        opinion = model.look(composite.whole)
        guess = max(opinion.brands, key=lambda name: opinion.brands[name]) if opinion.brands else UNKNOWN
        iou = mask_iou(opinion.mask, composite) if marked else float("nan")
        rows.append(
            (
                number,
                opinion.score,
                marked,
                iou,
                BRAND_NAMES.index(composite.mark) if marked else -1,
                BRAND_NAMES.index(guess),
                composite.opacity,
                composite.contrast,
                composite.layout,
                composite.look,
                composite.small,
            )
        )
    if not rows:
        raise UsageError("no composite can be judged; give more")
    f32, i64, text = np.float32, np.int64, np.str_
    kinds = (i64, f32, np.bool_, f32, i64, i64, f32, f32, text, text, np.bool_)
    columns = zip(*rows, strict=True)
    arrays: list[Any] = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    number_, score, marked_, iou_, brand, guess_, opacity, contrast, layout, look, small = arrays
    return MarkScores(
        number=number_,
        score=score,
        marked=marked_,
        iou=iou_,
        brand=brand,
        guess=guess_,
        opacity=opacity,
        contrast=contrast,
        layout=layout,
        look=look,
        small=small,
    )


def mask_iou(mask: FloatArray, composite: Composite) -> float:
    """Return the intersection over union of a mask and the truth, at the mask's resolution; lines count neither way."""
    import cv2

    size = (mask.shape[1], mask.shape[0])
    truth, lines = (
        cv2.resize(layer, size, interpolation=cv2.INTER_AREA) for layer in (composite.whole_mask, composite.whole_lines)
    )
    true = truth >= 128
    counted = true | (lines < 26)
    found = (mask >= _LEVEL) & counted
    return float((found & true).sum() / max(1, (found | true).sum()))


def threshold_at(unmarked: FloatArray, false_alarms: float) -> float:
    """Return the least score that at most a share of unmarked pictures reach."""
    if not len(unmarked):
        raise UsageError("no unmarked picture given; a threshold needs some")
    order = np.sort(unmarked)[::-1]
    allowed = min(len(order) - 1, int(false_alarms * len(order)))
    return float(np.nextafter(order[allowed], np.float32(2)))
