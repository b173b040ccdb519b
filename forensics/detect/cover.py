"""Covers and mock-ups: whether an image is made like a book's or record's cover, a web page or a poster.

Abstract prompts make a generator draw the covers that it was trained on. One network looks at the image
(:mod:`forensics.detect.cover_network`) and at measures of its layout (:mod:`forensics.detect.cover_layout`); the
measures are also what the reasons are told from. A CLIP embedder, where one is given, is asked in words and reported
beside that; it decides nothing. A text reader, where one is given, counts lines of text on images that are claimed.

A stock mark across a picture reads like a poster's letters. Where an image bears one, the network is asked again about
the picture with the mark filled in from its surroundings, and a cover that is one by the mark alone is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from forensics.detect.cover_layout import SIDE as LAYOUT_SIDE
from forensics.detect.cover_layout import Layout, measure_layout
from forensics.detect.cover_network import CLASSES, VIEWS, CoverModel, views
from forensics.errors import UsageError
from forensics.types import Detection

if TYPE_CHECKING:
    from collections.abc import Sized

    from numpy.typing import NDArray

    from forensics.types import Box, FloatArray, MaskArray, Scalar, UInt8Array

    class TextFinder(Protocol):
        """Finds lines of text: :class:`forensics.detect.ocr.TextReader`."""

        def boxes(self, image: UInt8Array) -> Sized:
            """Return one entry a line."""
            ...

    class WordsAndImages(Protocol):
        """Compares images with texts: :class:`forensics.embed.clip.Clip`."""

        def prepare(self, image: UInt8Array) -> UInt8Array:
            """Return what :meth:`embed` takes."""
            ...

        def embed(self, prepared: Sequence[UInt8Array]) -> NDArray[np.float32]:
            """Return unit rows of images."""
            ...

        def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
            """Return unit rows of texts."""
            ...


__all__ = ["COVER_KINDS", "CoverDetector"]

COVER_KINDS: Mapping[str, str] = {
    "book": "a book cover",
    "disc": "the cover or the disc of a record",
    "website": "a web page or a mock-up of one",
    "poster": "a poster",
}
"""Labels and what they mean."""

_BATCH = 16
_MARK = 128
"""Value of a mark's mask from which a place is filled in, or half of its largest where none reaches it."""
_FILL_SIDE = 512
"""Longer side in pixels at which it is, at most: the network looks at fewer, and filling in is slow."""
_FILL_RADIUS = 3.0
"""Pixels around a place that it is filled in from."""
_LEAST_SIDE = 32
"""Pixels of the shorter side below which no cover is told from a blot."""
_CLIP_SCALE = 100.0  # of CLIP's logits
_CLIP_TEXTS: Mapping[str, tuple[str, ...]] = {
    "book": ("the front cover of a book with its title", "a photo of a book, its cover seen"),
    "disc": ("an album cover", "a CD or vinyl record in its sleeve"),
    "website": ("a screenshot of a website", "a web design mock-up in a browser window"),
    "poster": ("a film poster", "a poster of an event with text"),
    "none": (
        "a photo of a thing",
        "a photo of a landscape",
        "a photo of a person",
        "a drawing on a white background",
        "a pattern",
        "a meme with a caption",
        "a page of text",
        "a stock photo with a watermark",
    ),
}


class CoverDetector:
    """Recognises covers and mock-ups.

    Parameters
    ----------
    threshold : float
        Score from which an image is claimed, in (0, 1): ``cover`` of the program's table.
    threshold_source : str
        Where it comes from.
    unmarked : float
        Score without the stock marks below which a claimed cover is due to them: ``cover_unmarked`` of the table. More
        than ``threshold`` is never asked.
    model : CoverModel, optional
        The program's own by default.
    clip : optional
        A CLIP embedder, asked for a further opinion on images that are claimed.
    reader : optional
        A text reader, asked for lines of text on images that are claimed.
    """

    def __init__(
        self,
        *,
        threshold: float,
        threshold_source: str,
        unmarked: float,
        model: CoverModel | None = None,
        clip: WordsAndImages | None = None,
        reader: TextFinder | None = None,
    ) -> None:
        for name, value in (("cover", threshold), ("cover_unmarked", unmarked)):
            if not 0 < value < 1:
                raise UsageError(f"threshold {name} = {value} given; a score between 0 and 1 accepted")
        self.threshold = threshold
        self.threshold_source = threshold_source
        self.unmarked = unmarked
        self._model = model or CoverModel()
        self._clip = clip
        self._reader = reader
        self._texts: FloatArray | None = None

    @property
    def name(self) -> str:
        """``cover``."""
        return "cover"

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Name and SHA-256 of the network, views, threshold, and whether CLIP and a text reader are asked."""
        return {
            "network": "EfficientNet-Lite0, frozen, and a head on its features and on the layout",
            "weights_sha256": self._model.sha256,
            "views": VIEWS,
            "threshold": self.threshold,
            "unmarked": self.unmarked,
            "clip": self._clip is not None,
            "text_reader": self._reader is not None,
        }

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        """Return for each (H, W, 3) uint8 RGB image none or one detection, its ``label`` one of :data:`COVER_KINDS`."""
        found: list[list[Detection]] = []
        for start in range(0, len(images), _BATCH):
            part = images[start : start + _BATCH]
            chances, layouts = self._look(part)
            found += [
                self._claimed(image, chance, layout)
                for image, chance, layout in zip(part, chances, layouts, strict=True)
            ]
        return found

    def reconsider(self, image: UInt8Array, own: Detection, others: Sequence[Detection]) -> Detection | None:
        """Return the cover with its score without the stock marks on the image, or None where it is due to them.

        Parameters
        ----------
        image : ndarray
            (H, W, 3) uint8 RGB.
        own : Detection
            Of :meth:`detect` on it.
        others : sequence of Detection
            Those of kind ``watermark`` with a mask count.
        """
        marks = [other.mask for other in others if other.kind == "watermark" and other.mask is not None]
        if not any(mask.any() for mask in marks):
            return own
        score = float(1 - self.scores([without_marks(image, marks)])[0][0])
        if score < min(self.unmarked, self.threshold):
            return None
        said = "Without the stock mark, filled in from its surroundings, the image is still made like one"
        return replace(
            own,
            measurements={**own.measurements, "cover_score_unmarked": round(score, 4)},
            reasons=(*own.reasons, f"{said} (score {score:.2f})."),
        )

    def scores(self, images: Sequence[UInt8Array]) -> FloatArray:
        """Return (n, K) float32: the chances of ``CLASSES`` for each image; (1, 0, …) where it is too small to tell."""
        rows = [self._look(images[start : start + _BATCH])[0] for start in range(0, len(images), _BATCH)]
        return np.concatenate([np.empty((0, len(CLASSES)), np.float32), *rows])

    def _look(self, images: Sequence[UInt8Array]) -> tuple[FloatArray, list[Layout | None]]:
        """Return (n, K) chances and what was measured of each image, None of one that is too small."""
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise UsageError(f"an image of shape {image.shape} and {image.dtype} given, (H, W, 3) uint8 accepted")
        chances = np.zeros((len(images), len(CLASSES)), np.float32)
        chances[:, 0] = 1
        large = [place for place, image in enumerate(images) if min(image.shape[:2]) >= _LEAST_SIDE]
        layouts: list[Layout | None] = [None] * len(images)
        seen = [views(images[place]) for place in large]
        for place in large:
            layouts[place] = measure_layout(images[place])
        vectors = [layout.vector() for layout in layouts if layout is not None]
        chances[large] = self._model.chances(seen, vectors)
        return chances, layouts

    def _claimed(self, image: UInt8Array, chance: FloatArray, layout: Layout | None) -> list[Detection]:
        score = float(1 - chance[0])
        if layout is None or score < self.threshold:
            return []
        label = CLASSES[1 + int(chance[1:].argmax())]
        measurements: dict[str, Scalar] = {"subtype": label, "cover_score": round(score, 4)}
        measurements |= {f"cover_{kind}": round(float(chance[CLASSES.index(kind)]), 4) for kind in COVER_KINDS}
        measurements |= {f"layout_{name}": round(float(getattr(layout, name)), 3) for name in Layout.names()}
        reasons = [f"The image is made like {COVER_KINDS[label]}."]
        reasons += [f"Its layout shows {part}." for part in evidence(layout)]
        if self._reader is not None:
            lines = len(self._reader.boxes(image))
            measurements["text_boxes"] = lines
            reasons.append(f"A text detector finds {_counted(lines, 'line')} of letters in it.")
        if self._clip is not None:
            opinion, sure = self._asked(self._clip, image)
            measurements["clip_subtype"], measurements["clip_cover"] = opinion, round(sure, 4)
            if opinion == "none":
                reasons.append(f"CLIP, asked in words, does not take it for a cover (chance {sure:.2f}).")
            else:
                reasons.append(
                    f"CLIP, asked in words, takes it for {COVER_KINDS[opinion]} (chance of a cover {sure:.2f})."
                )
        return [
            Detection(
                kind="cover",
                label=label,
                score=score,
                threshold=self.threshold,
                threshold_source=self.threshold_source,
                box=cover_box(image),
                measurements=measurements,
                reasons=tuple(reasons),
            )
        ]

    def _asked(self, clip: WordsAndImages, image: UInt8Array) -> tuple[str, float]:
        """Return CLIP's likeliest kind and its chance of a cover of any kind."""
        texts = [text for group in _CLIP_TEXTS.values() for text in group]
        if self._texts is None:
            self._texts = clip.embed_text(texts)
        logits = _CLIP_SCALE * (self._texts @ clip.embed([clip.prepare(image)])[0])
        chance = np.exp(logits - logits.max())
        chance /= chance.sum()
        owner = np.repeat(np.arange(len(_CLIP_TEXTS)), [len(group) for group in _CLIP_TEXTS.values()])
        by_kind = np.bincount(owner, weights=chance)
        kinds = list(_CLIP_TEXTS)
        return kinds[int(by_kind.argmax())], float(1 - by_kind[kinds.index("none")])


def evidence(layout: Layout) -> list[str]:
    """Return what is seen of a cover's layout, in words; the limits name evidence and decide nothing."""
    seen = []
    if layout.frame_bar > 0.55 and layout.controls > 0.6:
        seen.append("a browser's frame: a plain bar along the upper edge with round controls")
    elif layout.frame_bar > 0.75:
        seen.append("a plain bar along the whole upper edge")
    if layout.title_height > 0.05 and layout.title_place < 0.4:
        seen.append(f"a title block at the top, its letters {layout.title_height:.0%} of the height")
    elif layout.title_height > 0.05 and layout.title_place > 0.6:
        seen.append(f"a title block low on the image, its letters {layout.title_height:.0%} of the height")
    elif layout.title_height > 0.05:
        seen.append(f"a title across the middle, its letters {layout.title_height:.0%} of the height")
    if layout.text_lines >= 0.25:
        seen.append(f"{_counted(round(20 * layout.text_lines), 'line')} of letters or more small marks in rows")
    elif layout.text_foot > 0.04:
        seen.append("a line of letters at the foot")
    if layout.spine > 0.5:
        seen.append("an upright edge between two colours near the left, as of a spine or a fold")
    if layout.ring > 0.75:
        seen.append("a round outline about the middle" + (" with a round hole" if layout.hole > 0.6 else ""))
    if layout.rim_plain > 0.85 and max(layout.column_left, layout.column_right) > 0.5:
        seen.append("a sheet with straight edges before a plain ground")
    elif layout.blocks > 0.5:
        seen.append("level and upright blocks")
    return seen or ["no single sign of a cover that could be named"]


def without_marks(image: UInt8Array, masks: Sequence[MaskArray]) -> UInt8Array:
    """Return an image with its marks filled in from around them (Telea, J. Graphics Tools 9, 2004).

    It is made smaller: to 512 px, or to what leaves 32 px of its shorter side.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB.
    masks : sequence of ndarray
        (h, w) uint8 over the whole image, of any resolution; 128 and more is mark, or half of the largest value.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(1.0, max(_FILL_SIDE / max(height, width), _LEAST_SIDE / min(height, width)))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    places = np.zeros((size[1], size[0]), np.uint8)
    for mask in masks:
        level = max(1, min(_MARK, int(mask.max()) // 2))
        places |= (cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) >= level).astype(np.uint8)
    filled: UInt8Array = cv2.inpaint(small, places, _FILL_RADIUS, cv2.INPAINT_TELEA)
    return filled


def cover_box(image: UInt8Array) -> Box:
    """Return the box of what lies on a plain ground; of the whole image where there is no plain ground around it."""
    import cv2

    height, width = image.shape[:2]
    small = cv2.resize(image, (LAYOUT_SIDE, LAYOUT_SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    rim = np.concatenate([small[:3].reshape(-1, 3), small[-3:].reshape(-1, 3), small[:, 0], small[:, -1]])
    ground = np.median(rim, axis=0)
    if float((np.abs(rim - ground).max(1) < 16).mean()) < 0.8:
        return (0, 0, width, height)
    other = np.abs(small - ground).max(2) > 24
    rows, columns = (np.flatnonzero(other.mean(axis) > 0.08) for axis in (1, 0))
    if len(rows) < LAYOUT_SIDE // 4 or len(columns) < LAYOUT_SIDE // 4:
        return (0, 0, width, height)
    return (
        int(columns[0] * width / LAYOUT_SIDE),
        int(rows[0] * height / LAYOUT_SIDE),
        int(np.ceil((columns[-1] + 1) * width / LAYOUT_SIDE)),
        int(np.ceil((rows[-1] + 1) * height / LAYOUT_SIDE)),
    )


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
