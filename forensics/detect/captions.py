"""Is this picture an image macro: a picture with a caption above, below, or over its upper and lower edge?

What is looked at is where text *stands* and how it is drawn, not what it says: a generator's captions are in letters
that nobody can read. Boxes of text come from :class:`forensics.detect.ocr.TextReader`; bars of one colour need none.
What is measured, by name, in the frame (the picture, or a picture inside it: a post in an application's window):

==================  =================================================================================================
measurement         meaning, each in [0, 1] unless said otherwise
==================  =================================================================================================
``top``             width of the widest level line in the upper third, as a share of the frame's width
``bottom``          the same in the lower third
``both``            the lesser of the two
``top_outlined``    how far the upper line's letters are light with a dark edge, times its width
``bottom_outlined``
``top_bar``         share of the frame's height that is a bar of one colour above
``bottom_bar``      the same below
``bar_text``        width of the widest line that stands inside a bar
``letters``         height of the highest caption line as a share of the frame's height, at most 0.3
``centred``         how near the caption lines' centres are to the frame's middle: 1 in the middle, 0 at the side
``middle``          share of the frame's area that text in the middle third covers
``lines``           ``log(1 + n)`` of the lines in the frame
``small``           ``log(1 + n)`` of the lines lower than 1/25 of the frame
==================  =================================================================================================

A logistic model over them, fitted by ``bench/fit_captions.py``, gives the score; its coefficients are a text file that
anyone can read. Of several frames the one with the highest score counts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.meme_views import picture_rectangles
from forensics.detect.ocr import TextBox, TextReader
from forensics.detect.text_boxes import crop_line

if TYPE_CHECKING:
    from forensics.types import Box, UInt8Array

__all__ = [
    "COEFFICIENTS",
    "MEASUREMENTS",
    "Captions",
    "find_captions",
    "frames",
    "macro_score",
    "measure",
    "outline_strength",
]

COEFFICIENTS = "coefficients/captions.json"
MEASUREMENTS = (
    "top", "bottom", "both", "top_outlined", "bottom_outlined", "top_bar", "bottom_bar", "bar_text", "letters",
    "centred", "middle", "lines", "small",
)  # fmt: skip
"""Names of the measurements, in the order of the table above."""

_THIRD = 1 / 3
_LEVEL = 0.2
"""A line is level whose ends differ in height by at most this share of its length."""
_LINE = 48
_LEAST_FRAME = 32
_SMALL = 1 / 25
_MOST_HIGH = 0.3
_MOST_READ = 4
_TONE = 14
"""Grey levels a channel by which compression moves the pixels of a bar."""
_PURE, _INKED = 0.97, 0.4
"""Share of a row in the bar's colour: where nothing is written, and where the densest letters stand."""
_ENDS = 0.03
_LEAST_BAR, _MOST_BAR = 0.03, 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Captions:
    """The captions of one picture.

    Attributes
    ----------
    score : float
        Probability, by the fitted model, that the picture is an image macro.
    frame : Box
        The part of the picture that the rest is about, in pixels.
    top, bottom, other : tuple of TextBox
        Level lines in the upper and the lower third, and all other lines in the frame.
    top_bar, bottom_bar : float
        Share of the frame's height that is a bar of one colour.
    outlined : bool
        Whether most of the caption's letters are light with a dark edge.
    cyrillic : float or None
        Share of Cyrillic among the letters read in the captions; None where none were read.
    measurements : mapping
        What the model saw, by the names of the module's table.
    """

    score: float
    frame: Box
    top: tuple[TextBox, ...]
    bottom: tuple[TextBox, ...]
    other: tuple[TextBox, ...]
    top_bar: float
    bottom_bar: float
    outlined: bool
    cyrillic: float | None
    measurements: Mapping[str, float]


def find_captions(
    image: UInt8Array, reader: TextReader, *, boxes: Sequence[TextBox] | None = None, read: bool = True
) -> Captions:
    """Look for captions.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB of any size.
    reader : TextReader
    boxes : sequence of TextBox, optional
        The image's lines of text where they are known already.
    read : bool
        Whether the captions are read for their script; costs about 15 ms a line, four lines at most.
    """
    found = reader.boxes(image) if boxes is None else tuple(boxes)
    measured = [(frame, measure(image, found, frame)) for frame in frames(image)]
    frame, values = max(measured, key=lambda item: macro_score(item[1]))
    top, bottom, other = _sorted_boxes(found, frame)
    outlined = values["top_outlined"] + values["bottom_outlined"] > 0.5 * (values["top"] + values["bottom"]) > 0
    return Captions(
        score=macro_score(values),
        frame=frame,
        top=top,
        bottom=bottom,
        other=other,
        top_bar=values["top_bar"],
        bottom_bar=values["bottom_bar"],
        outlined=bool(outlined),
        cyrillic=_cyrillic_share(image, reader, (*top, *bottom)) if read else None,
        measurements=values,
    )


def frames(image: UInt8Array) -> list[Box]:
    """Return the frames in which captions are looked for: the whole picture, and pictures inside it."""
    height, width = image.shape[:2]
    whole = (0, 0, width, height)
    if min(height, width) < _LEAST_FRAME:
        return [whole]
    return [whole, *(box for box, _ in picture_rectangles(image))]


def macro_score(values: Mapping[str, float]) -> float:
    """Return the probability that a picture with these measurements is an image macro, by the shipped coefficients."""
    model = _model()
    total = model["intercept"] + sum(model[name] * values[name] for name in MEASUREMENTS)
    return 1.0 / (1.0 + math.exp(-max(-40.0, min(40.0, total))))


def measure(image: UInt8Array, boxes: Sequence[TextBox], frame: Box) -> dict[str, float]:
    """Return the measurements of the module's table for one frame of a picture."""
    left, top_edge, right, bottom_edge = frame
    width, height = right - left, bottom_edge - top_edge
    part = image[top_edge:bottom_edge, left:right]
    bars = (bar_share(part), bar_share(part[::-1]))
    top, bottom, other = _sorted_boxes(boxes, frame)
    widest = [max((_size(box)[0] for box in group), default=0.0) / width for group in (top, bottom)]
    captions = (*top, *bottom)
    barred = [
        _size(box)[0] / width
        for box in captions
        if not bars[0] * height <= _middle(box)[1] - top_edge <= (1.0 - bars[1]) * height
    ]
    everything = (*captions, *other)
    return {
        "top": min(1.0, widest[0]),
        "bottom": min(1.0, widest[1]),
        "both": min(1.0, *widest),
        "top_outlined": _outlined(image, top, width),
        "bottom_outlined": _outlined(image, bottom, width),
        "top_bar": bars[0],
        "bottom_bar": bars[1],
        "bar_text": min(1.0, max(barred, default=0.0)),
        "letters": min(_MOST_HIGH, max((_size(box)[1] for box in captions), default=0.0) / height),
        "centred": float(
            np.mean([1.0 - min(1.0, abs(2.0 * (_middle(box)[0] - left) / width - 1.0)) for box in captions])
            if captions
            else 0.0
        ),
        "middle": min(1.0, sum(float(np.prod(_size(box))) for box in other) / (width * height)),
        "lines": math.log1p(len(everything)),
        "small": math.log1p(sum(_size(box)[1] < _SMALL * height for box in everything)),
    }


def bar_share(image: UInt8Array) -> float:
    """Return the share of the height that a bar of one colour takes above, writing on it included; 0.0 for none.

    ``image`` is (H, W, 3) uint8 RGB. The first rows have one colour; the bar goes on while an end of the rows or much
    of them has it, and ends with a row that has nothing else. A picture that is like that nearly all the way has a
    plain ground.
    """
    height, width = image.shape[:2]
    same = (np.abs(image.astype(np.int16) - np.median(image[0], axis=0)) <= _TONE).all(axis=2)  # (H, W)
    ends = max(1, round(_ENDS * width))
    pure = same.mean(axis=1) >= _PURE
    # letters may begin at one end and run off the other
    held = same[:, :ends].all(axis=1) | same[:, -ends:].all(axis=1) | (same.mean(axis=1) >= _INKED)
    if not pure[0]:
        return 0.0
    stop = height if held.all() else int(np.argmin(held))
    rows = int(np.flatnonzero(pure[:stop])[-1]) + 1
    return rows / height if _LEAST_BAR * height <= rows <= _MOST_BAR * height else 0.0


def outline_strength(line: UInt8Array) -> float:
    """Return how far a line's letters are light and neutral with an edge darker than the ground, in [0, 1].

    ``line`` is (h, w, 3) uint8 RGB, level, about 48 pixels high. The darkest pixel within two pixels of the light
    letters' rims is compared with the same of what lies five pixels and more away: a third of the line's range darker
    is an outline. On black ground there is none to see.
    """
    import cv2

    grey = line.astype(np.float32).mean(axis=2)
    low, high = np.percentile(grey, (4, 96))
    if high - low < 60 or high < 140:
        return 0.0
    light = (grey > low + 0.7 * (high - low)).astype(np.uint8)
    inside = cv2.erode(light, np.ones((3, 3), np.uint8)) > 0
    far = cv2.dilate(light, np.ones((11, 11), np.uint8)) == 0
    rim = (light > 0) & ~inside
    if not 0.04 <= float(light.mean()) <= 0.6 or not far.any() or not rim.any():
        return 0.0
    darkest = cv2.erode(grey, np.ones((5, 5), np.uint8))
    ring, ground = float(darkest[rim].mean()), float(darkest[far].mean())
    colour = line.astype(np.int16).max(axis=2) - line.astype(np.int16).min(axis=2)
    neutral = float((colour[light > 0] < 60).mean())
    return float(np.clip((ground - ring) / (high - low) * 3.0, 0.0, 1.0)) * neutral


@lru_cache(maxsize=1)
def _model() -> Mapping[str, float]:
    stored = json.loads((files("forensics") / COEFFICIENTS).read_text(encoding="utf-8"))
    return {"intercept": float(stored["intercept"]), **{name: float(stored["weights"][name]) for name in MEASUREMENTS}}


def _outlined(image: UInt8Array, boxes: Sequence[TextBox], width: int) -> float:
    """Return the widest line's outline strength times its share of the frame's width."""
    if not boxes:
        return 0.0
    widest = max(boxes, key=lambda box: _size(box)[0])
    line = crop_line(image, widest.polygon, height=_LINE, most_width=20 * _LINE)
    return outline_strength(line) * min(1.0, _size(widest)[0] / width)


def _sorted_boxes(
    boxes: Sequence[TextBox], frame: Box
) -> tuple[tuple[TextBox, ...], tuple[TextBox, ...], tuple[TextBox, ...]]:
    """Return the level lines in the upper and lower third of the frame, and its other lines."""
    left, top_edge, right, bottom_edge = frame
    top: list[TextBox] = []
    bottom: list[TextBox] = []
    other: list[TextBox] = []
    for box in boxes:
        x, y = _middle(box)
        if not (left <= x < right and top_edge <= y < bottom_edge):
            continue
        (ax, ay), (bx, by) = box.polygon[0], box.polygon[1]
        level = abs(by - ay) <= _LEVEL * max(1.0, abs(bx - ax))
        share = (y - top_edge) / (bottom_edge - top_edge)
        (top if level and share < _THIRD else bottom if level and share > 1 - _THIRD else other).append(box)
    return tuple(top), tuple(bottom), tuple(other)


def _size(box: TextBox) -> tuple[float, float]:
    a, b, c, d = np.array(box.polygon)
    return (
        float(np.hypot(*(b - a)) + np.hypot(*(c - d))) / 2.0,
        float(np.hypot(*(d - a)) + np.hypot(*(c - b))) / 2.0,
    )


def _middle(box: TextBox) -> tuple[float, float]:
    x, y = np.array(box.polygon).mean(0)
    return float(x), float(y)


def _cyrillic_share(image: UInt8Array, reader: TextReader, boxes: Sequence[TextBox]) -> float | None:
    widest = sorted(boxes, key=lambda box: -_size(box)[0])[:_MOST_READ]
    letters = [letter for line in reader.read(image, widest) for letter in line.text if letter.isalpha()]
    if not letters:
        return None
    return sum("Ѐ" <= letter <= "ӿ" for letter in letters) / len(letters)
