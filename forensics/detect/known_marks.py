"""Marks whose template is known: is this agency's mark on the image, at the place where the agency puts it?

A mark is laid over a picture with known transparency, so that what it does to a pixel follows from the pixel's own
brightness: light letters show on dark ground, their dark rim on light ground. The picture without the mark is estimated
by a blur; what the mark would add to that is the expected pattern. The score is the correlation of the image's fine
structure with the pattern's:

======================  ==============================================================================================
symbol                  meaning
======================  ==============================================================================================
``y``                   (H, W) luminance in [0, 1], scaled so that its longer side is at most :data:`FRAME` pixels
``b = G_4σ * y``        the ground: a wide blur
``e = M(b) - b``        the pattern; ``M`` lays first the rim, then the letters over its argument
``h(x) = x - G_σ * x``  fine structure; σ is 1 / 43 of the longer side
``n(x)``                ``h(x)`` over its local root mean square, so that an edge counts no more than a letter
``score``               max over small shifts of ``corr(n(y), h(e))``
======================  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.types import Detection

if TYPE_CHECKING:
    from forensics.types import Box, FloatArray, Scalar, UInt8Array

__all__ = ["FRAME", "KnownMark", "KnownMarkDetector", "MarkDetection", "known_marks", "mark_scores"]

FRAME = 128
"""Longer side in pixels at which images are compared, at most: letters that are smaller are noise."""

_FINE = 1 / 43
_GROUND = 4.0
_WINDOW = 2.0
_FLOOR = 0.03
"""Added to the local root mean square: structure weaker than this is not blown up."""
_SHIFT = 1 / 64
_LEAST = 32
_RGB = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownMark:
    """The template of a mark that lies at the same place on every picture.

    Attributes
    ----------
    name : str
        Whose mark it is.
    light, dark : ndarray
        (h, w) float32 in [0, 1]: opacity of the white letters, and of the rim below them, which holds their places
        too. They are stretched to the image, so any size will do that is not smaller than the images.
    chance : float
        The largest score that pictures without the mark were seen to have: patterns that fill the image agree with
        less by chance than a bar at its foot.
    dark_grey : float
        The rim's grey in [0, 1].
    """

    name: str
    light: FloatArray
    dark: FloatArray
    chance: float = 0.2
    dark_grey: float = 30 / 255

    def __post_init__(self) -> None:
        if self.light.ndim != 2 or self.light.shape != self.dark.shape or not self.light.size:
            raise UsageError(
                f"masks of shape {self.light.shape} and {self.dark.shape} given for the mark {self.name}, two of one "
                "shape (h, w) accepted"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkDetection:
    """A mark that was found.

    Attributes
    ----------
    name : str
    score, threshold : float
        Correlation in [-1, 1], and from which on it counts.
    box : (x0, y0, x1, y1)
        What the mark covers, in pixels of the image.
    """

    name: str
    score: float
    threshold: float
    box: Box


class KnownMarkDetector:
    """Recognises marks by their templates.

    Parameters
    ----------
    marks : sequence of KnownMark
    margin : float
        As in :func:`known_marks`.
    margin_source : str
        Where it comes from.
    """

    def __init__(self, marks: Sequence[KnownMark], *, margin: float, margin_source: str) -> None:
        self.marks = {mark.name: mark for mark in marks}
        self._margin, self._source = margin, margin_source

    @property
    def name(self) -> str:
        """``known-marks``."""
        return "known-marks"

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Names of the marks, and the margin."""
        return {"marks": ", ".join(self.marks), "margin": self._margin}

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        """Return for each (H, W, 3) uint8 RGB image the known marks on it, strongest first."""
        marks = list(self.marks.values())
        return [
            [self._detection(found) for found in known_marks(image, marks, margin=self._margin)] for image in images
        ]

    def _detection(self, found: MarkDetection) -> Detection:
        mark = self.marks[found.name]
        covered = np.maximum(mark.light, mark.dark)
        return Detection(
            kind="watermark",
            label=found.name,
            score=found.score,
            threshold=found.threshold,
            threshold_source=f"{self._margin:g} times what unmarked pictures reach; {self._source}",
            box=found.box,
            mask=np.asarray(255 * covered / max(float(covered.max()), 1e-6), np.uint8),
            measurements={"known_mark": found.score / mark.chance, "mark_correlation": found.score},
            reasons=(
                f"The image's fine structure correlates to {found.score:.2f} with what the mark of {found.name} would "
                "add to it, at the place where that agency puts its mark. Many images share a mark: it is no copy of "
                "any one of them.",
            ),
        )


def known_marks(image: UInt8Array, marks: Sequence[KnownMark], *, margin: float) -> list[MarkDetection]:
    """Return the marks of an image, strongest first.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    marks : sequence of KnownMark
    margin : float
        A mark is found where its score is so many times what chance was seen to give, :attr:`KnownMark.chance`.
    """
    scores = mark_scores(image, marks)
    found = [
        MarkDetection(
            name=mark.name,
            score=score,
            threshold=margin * mark.chance,
            box=_box(mark, image.shape[1], image.shape[0]),
        )
        for mark, score in zip(marks, scores, strict=True)
        if score >= margin * mark.chance
    ]
    return sorted(found, key=lambda detection: -detection.score)


def mark_scores(image: UInt8Array, marks: Sequence[KnownMark]) -> list[float]:
    """Return the correlation of an image's fine structure with what each mark would add to it, in [-1, 1].

    An image of less than 32 pixels along a side shows no letters: 0.
    """
    import cv2

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"an image of shape {image.shape} and {image.dtype} given, (H, W, 3) uint8 accepted")
    height, width = image.shape[:2]
    if min(height, width) < _LEAST:
        return [0.0] * len(marks)
    scale = min(1.0, FRAME / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    luminance: FloatArray = np.asarray((image.astype(np.float32) / 255) @ _RGB, np.float32)
    if size != (width, height):
        luminance = cv2.resize(luminance, size, interpolation=cv2.INTER_AREA)
    side = max(size)
    sigma = side * _FINE
    ground = _blur(luminance, _GROUND * sigma)
    fine = luminance - _blur(luminance, sigma)
    fine = np.asarray(fine / np.sqrt(_blur(fine * fine, _WINDOW * sigma) + _FLOOR**2), np.float32)
    fine -= fine.mean()
    reach = max(1, round(side * _SHIFT))
    length = float(np.sqrt((fine * fine).sum()))
    scores = []
    for mark in marks:
        light, dark = _masks(mark, *size)
        with_rim = ground * (1 - dark) + mark.dark_grey * dark
        added = np.asarray(with_rim * (1 - light) + light - ground, np.float32)
        pattern = added - _blur(added, sigma)
        pattern -= pattern.mean()
        scale_of = length * float(np.sqrt((pattern * pattern).sum()))
        scores.append(_best(fine, pattern, reach) / scale_of if scale_of > 1e-6 else 0.0)
    return scores


def _best(fine: FloatArray, pattern: FloatArray, reach: int) -> float:
    """Return the largest sum of products over shifts of up to ``reach`` pixels; what is shifted out comes in again."""
    steps = range(-reach, reach + 1)
    return max(float((fine * np.roll(pattern, (dy, dx), (0, 1))).sum()) for dy in steps for dx in steps)


def _blur(values: FloatArray, sigma: float) -> FloatArray:
    import cv2

    blurred: FloatArray = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return blurred


@lru_cache(maxsize=64)
def _masks(mark: KnownMark, width: int, height: int) -> tuple[FloatArray, FloatArray]:
    import cv2

    def stretched(mask: FloatArray) -> FloatArray:
        made: FloatArray = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        return made

    return stretched(mark.light), stretched(mark.dark)


def _box(mark: KnownMark, width: int, height: int) -> Box:
    """Return the box of what the mark covers, for an image of that size."""
    covered = np.maximum(mark.light, mark.dark) > 0.02
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    if not len(rows):
        return (0, 0, width, height)
    h, w = covered.shape
    return (
        int(columns[0] * width / w),
        int(rows[0] * height / h),
        int(np.ceil((columns[-1] + 1) * width / w)),
        int(np.ceil((rows[-1] + 1) * height / h)),
    )
