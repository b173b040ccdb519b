"""Memes: which known template an image shows, or that it is an image macro of none that is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from forensics.detect.meme_match import (
    CAPTION_BAND,
    MemeModel,
    QueryRows,
    TemplateRows,
    geometry_features,
    match,
)
from forensics.detect.meme_views import picture_rectangles, without_bars
from forensics.embed.layout import Layout, fine
from forensics.types import Detection

if TYPE_CHECKING:
    from forensics.detect.captions import Captions
    from forensics.types import Box, Embedder, FloatArray, KnownPicture, Point, Scalar, UInt8Array, Verification

__all__ = ["UNKNOWN_TEMPLATE", "Evidence", "Geometry", "Limits", "MemeDetector", "Template", "is_plain"]

UNKNOWN_TEMPLATE = "unknown template"
"""Label of an image macro whose picture is none of the templates."""

_LEAST_SIDE = 32
_LEAST_RANGE = 10
_RECTANGLES = 2
_VERIFIED = 3
_ENOUGH_INLIERS = 8
_TELLING_SSCD, _TELLING_LAYOUT, _PART = 0.5, 0.4, 0.8
"""From which on a measurement is worth a sentence; they decide nothing."""
_MOST_SIDE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template by name, with the belief from which it is named and where that comes from."""

    name: str
    threshold: float
    threshold_source: str
    picture: KnownPicture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on something counts, out of the program's table of thresholds.

    Attributes
    ----------
    macro : float
        Score of the captions from which a picture is an image macro; ``macro_source`` says where it comes from.
    log10_nfa : float
        Of an alignment that gives the template's place, at most.
    align_from : float
        Belief without alignment from which a candidate is aligned with its template.
    align_one_from : float
        Belief without alignment of the best candidate from which no other is aligned.
    """

    macro: float
    macro_source: str
    log10_nfa: float
    align_from: float = 0.002
    align_one_from: float = 0.999


class Geometry(Protocol):
    """Aligns an image with the templates."""

    def describe(self, image: UInt8Array) -> Any:
        """Return what :meth:`compare` needs of an image."""
        ...

    def compare(self, described: Any, template: int) -> Verification | None:
        """Compare with one template; None where its pixels are gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for one template.

    Attributes
    ----------
    template : int
    belief : float
    features : mapping of str to float
        As in :mod:`forensics.detect.meme_match`.
    view : Box
        The part of the image that was compared, in its pixels.
    mirrored : bool
    inliers : int
        Local features that agree with one plane transform; 0 where it was not aligned.
    box, polygon
        Where the template is: the aligned region, or the whole view.
    """

    template: int
    belief: float
    features: Mapping[str, float]
    view: Box
    mirrored: bool
    inliers: int
    box: Box
    polygon: tuple[Point, ...] = ()


class MemeDetector:
    """Recognises meme templates.

    Parameters
    ----------
    templates : sequence of Template
    rows : TemplateRows
        In the same order.
    embedder : Embedder or None
        The copy descriptor that ``rows.vectors`` were made with.
    hasher : Embedder
        The hash that ``rows.hashes`` were made with.
    model : MemeModel
    limits : Limits
    geometry : Geometry or None
    captions : callable, optional
        :func:`forensics.detect.captions.find_captions` of an (H, W, 3) uint8 image; without it image macros of no known
        template are not told from other pictures.
    facts : mapping
        What further describes the templates, for ``run.json``.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        rows: TemplateRows,
        *,
        embedder: Embedder | None,
        hasher: Embedder,
        model: MemeModel,
        limits: Limits,
        geometry: Geometry | None = None,
        captions: Callable[[UInt8Array], Captions] | None = None,
        facts: Mapping[str, Scalar] | None = None,
    ) -> None:
        self.templates = tuple(templates)
        self.rows = rows
        self.model = model
        self._embedder, self._hasher, self._layout = embedder, hasher, Layout()
        self._limits, self._geometry, self._captions = limits, geometry, captions
        self._facts = dict(facts or {})

    @property
    def name(self) -> str:
        """``memes``."""
        return "memes"

    @property
    def facts(self) -> Mapping[str, Scalar]:
        """Number of templates, copy descriptor, model."""
        return {
            "templates": len(self.templates),
            "copy_descriptor": self._embedder.spec.name if self._embedder else None,
            "copy_descriptor_sha256": self._embedder.spec.weights_sha256 if self._embedder else None,
            "model": self.model.name,
            "model_source": self.model.source,
            "captions": self._captions is not None,
            **self._facts,
        }

    def detect(self, images: Sequence[UInt8Array]) -> list[list[Detection]]:
        """Return for each (H, W, 3) uint8 RGB image at most one detection: a template, or an unknown one."""
        return [self._detect(image) for image in images]

    def evidence(self, image: UInt8Array) -> list[Evidence]:
        """Return the most likely templates of one image, at most three, best first; none for a tiny or a plain one."""
        if min(image.shape[:2]) < _LEAST_SIDE or not self.templates or is_plain(image):
            return []
        small, factor = _reduced(image)
        boxes = self._boxes(small)
        found = match(self._describe(small, boxes), self.rows)
        beliefs = self.model.belief(found.features)
        candidates = []
        for k in np.argsort(-beliefs, kind="stable")[:_VERIFIED]:
            view = _scaled(boxes[int(found.view[k])], factor)
            candidates.append(
                Evidence(
                    template=int(k),
                    belief=float(beliefs[k]),
                    features={name: float(values[k]) for name, values in found.features.items()},
                    view=view,
                    mirrored=bool(found.mirrored[k]),
                    inliers=0,
                    box=view,
                )
            )
        return self._verified(image, candidates)

    def beliefs(self, query: QueryRows) -> FloatArray:
        """Return (n,) the belief in each template by descriptors alone, without alignment."""
        return self.model.belief(match(query, self.rows).features)

    def describe(self, image: UInt8Array) -> QueryRows:
        """Return the descriptors of an image and of the views of it that are compared."""
        small, _ = _reduced(image)
        return self._describe(small, self._boxes(small))

    def _boxes(self, image: UInt8Array) -> list[Box]:
        """Return the views of an image: without bars, whole where that differs, and pictures within it."""
        height, width = image.shape[:2]
        boxes: list[Box] = [without_bars(image)]
        if boxes[0] != (0, 0, width, height):
            boxes.append((0, 0, width, height))
        boxes += [box for box, _ in picture_rectangles(image, most=_RECTANGLES)]
        return list(dict.fromkeys(boxes))

    def _describe(self, image: UInt8Array, boxes: Sequence[Box]) -> QueryRows:
        parts = [np.ascontiguousarray(image[y0:y1, x0:x1]) for x0, y0, x1, y1 in boxes]
        layouts = self._layout.embed([self._layout.prepare(part) for part in parts])
        vectors = None
        if self._embedder is not None:
            vectors = np.asarray(self._embedder.embed([self._embedder.prepare(part) for part in parts]), np.float32)
        height = len(parts[0])
        middle = parts[0][round(CAPTION_BAND * height) : max(1, round((1.0 - CAPTION_BAND) * height))]
        hashed = [self._hasher.prepare(parts[0]), self._hasher.prepare(np.ascontiguousarray(middle))]
        return QueryRows(
            vectors=vectors,
            layouts=layouts,
            fines=fine(layouts),
            hashes=np.asarray(self._hasher.embed(hashed), np.uint8),
        )

    def _verified(self, image: UInt8Array, candidates: Sequence[Evidence]) -> list[Evidence]:
        """Align the candidates that are worth it with their templates, and believe accordingly."""
        if self._geometry is None:
            return list(candidates)
        described: dict[Box, Any] = {}
        result = []
        for number, one in enumerate(candidates):
            if one.belief < self._limits.align_from or (number and candidates[0].belief >= self._limits.align_one_from):
                result.append(one)
                continue
            x0, y0, x1, y1 = one.view
            if one.view not in described:
                described[one.view] = self._geometry.describe(np.ascontiguousarray(image[y0:y1, x0:x1]))
            verification = self._geometry.compare(described[one.view], one.template)
            features = {**one.features, **geometry_features(verification)}
            made = replace(one, features=features, belief=float(self.model.belief(features)))
            if verification is not None:
                made = _placed(made, verification, self._limits.log10_nfa)
            result.append(made)
        return sorted(result, key=lambda one: -one.belief)

    def _detect(self, image: UInt8Array) -> list[Detection]:
        found = next(iter(self.evidence(image)), None)
        captions = None
        if self._captions is not None and min(image.shape[:2]) >= _LEAST_SIDE:
            captions = self._captions(image)
        if found is not None and found.belief >= self.templates[found.template].threshold:
            known = _known(found, self.templates[found.template], captions, image.shape)
            if self._embedder is None:  # then its likeness was not measured, which is not 0
                told = {name: value for name, value in known.measurements.items() if name != "sscd"}
                known = replace(known, measurements=told)
            return [known]
        if captions is not None and captions.score >= self._limits.macro:
            return [_unknown(captions, self._limits, len(self.templates))]
        return []


def _known(one: Evidence, template: Template, captions: Captions | None, shape: Sequence[int]) -> Detection:
    written = {} if captions is None else {"macro": round(captions.score, 4), "cyrillic": captions.cyrillic}
    return Detection(
        kind="meme",
        label=template.name,
        score=one.belief,
        threshold=template.threshold,
        threshold_source=template.threshold_source,
        box=one.box,
        polygon=one.polygon,
        measurements={
            **{name: round(value, 4) for name, value in one.features.items()},
            "mirrored": one.mirrored,
            "inliers": one.inliers,
            **written,
        },
        reasons=_reasons(one, template, shape),
        picture=template.picture,
    )


def is_plain(image: UInt8Array) -> bool:
    """Say whether an image is of one colour, but for a few levels: any two such are alike."""
    return int((image.max((0, 1)).astype(int) - image.min((0, 1))).max()) < _LEAST_RANGE


def _unknown(captions: Captions, limits: Limits, templates: int) -> Detection:
    reasons = ["Writing stands where an image macro has it: above, below, or over the upper and lower edge."]
    if captions.outlined:
        reasons.append("Its letters are light with a dark outline.")
    if captions.top_bar or captions.bottom_bar:
        reasons.append("A bar of one colour stands above or below the picture.")
    if captions.cyrillic is not None and captions.cyrillic >= 0.5:
        reasons.append(f"{captions.cyrillic:.0%} of the letters read are Cyrillic.")
    if templates:
        reasons.append(f"The picture is none of the {templates} known templates.")
    else:
        reasons.append("No templates were given, so it was compared with none.")
    return Detection(
        kind="meme",
        label=UNKNOWN_TEMPLATE,
        score=captions.score,
        threshold=limits.macro,
        threshold_source=limits.macro_source,
        box=captions.frame,
        measurements={"macro": round(captions.score, 4), "cyrillic": captions.cyrillic},
        reasons=tuple(reasons),
    )


def _reasons(one: Evidence, template: Template, shape: Sequence[int]) -> tuple[str, ...]:
    reasons = [f"The picture looks like the template {template.name}{' in a mirror' if one.mirrored else ''}."]
    cosine = one.features["sscd"]
    if cosine >= _TELLING_SSCD:
        reasons.append(f"A network trained to find edited copies sees the same picture (cosine {cosine:.2f}).")
    if one.features["layout"] >= _TELLING_LAYOUT:
        reasons.append("Light and dark areas lie where the template has them.")
    if one.inliers >= _ENOUGH_INLIERS:
        reasons.append(f"{one.inliers} details lie where one plane transform of the template puts them.")
    x0, y0, x1, y1 = one.view
    if (x1 - x0) * (y1 - y0) < _PART * shape[0] * shape[1]:
        reasons.append("It fills a part of the image: the rest is a bar, a window or another picture.")
    return tuple(reasons)


def _reduced(image: UInt8Array) -> tuple[UInt8Array, float]:
    """Return the image with a longer side of at most 1024 pixels, and how much larger it was."""
    import cv2

    height, width = image.shape[:2]
    factor = max(1.0, max(height, width) / _MOST_SIDE)
    if factor == 1.0:
        return image, 1.0
    size = (max(_LEAST_SIDE // 2, round(width / factor)), max(_LEAST_SIDE // 2, round(height / factor)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), factor


def _scaled(box: Box, factor: float) -> Box:
    x0, y0, x1, y1 = (round(value * factor) for value in box)
    return (x0, y0, x1, y1)


def _placed(one: Evidence, verification: Verification, limit: float) -> Evidence:
    """Return the evidence with the place that the alignment gives, where that is beyond chance."""
    region = verification.region
    if region is None or verification.inliers < _ENOUGH_INLIERS or verification.log10_nfa > limit:
        return replace(one, inliers=verification.inliers)
    x, y = one.view[:2]
    x0, y0, x1, y1 = region.query_box
    return replace(
        one,
        inliers=verification.inliers,
        box=(x0 + x, y0 + y, x1 + x, y1 + y),
        polygon=tuple((px + x, py + y) for px, py in region.query_polygon),
    )
