"""One pair of images: are they the same picture, or does one hold a part of the other, and where?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from forensics.types import Region, Verification
from forensics.verify.aligned import Agreement, compare
from forensics.verify.geometry import Alignment, align
from forensics.verify.placing import place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import Box, UInt8Array
    from forensics.verify.features import Features

FractionBox: TypeAlias = tuple[float, float, float, float]

__all__ = ["Hint", "aligned_parts", "verify_pair"]

# Below this many chance agreements the fit is held to be one, and its region is measured.
_MEANINGFUL_LOG10_NFA = -1.0
_GOOD_SIMILARITY = 0.5
# Unrelated pictures that a descriptor proposed reach 0.8 (the negatives of bench/fit_score.py).
_MEANINGFUL_CORRELATION = 0.6
# Symmetric pictures correlate with their mirror image: prefer upright unless the mirror is clearly better.
_MIRROR_MARGIN = 0.02
_MOST = 0.7
_SMALLEST_PART = 0.01
_WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """Where a descriptor saw the two alike: a part of each, ``(x0, y0, x1, y1)`` as fractions of width and height."""

    query: FractionBox
    reference: FractionBox


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """A placing of the reference in the query's frame; ``matrix`` maps to the reference as it is, not its mirror."""

    alignment: Alignment
    mirrored: bool
    matrix: NDArray[np.float64]
    correlation: float = 0.0
    polygon: NDArray[np.float64] | None = None
    similarity: float = 0.0
    colour: float = 0.0


def verify_pair(
    query: Features, reference: Features, *, mirror: bool = True, placing: bool = True, hints: Sequence[Hint] = ()
) -> Verification:
    """Compare one pair in the common frame.

    Parameters
    ----------
    query, reference : Features
        Local features of both images.
    mirror : bool
        Also try the reference's mirror image where the upright one does not fit well.
    placing : bool
        Also try to place the one image inside the other where local features find nothing (costs as much again).
    hints : sequence of Hint
        Parts to compare on their own, enlarged, where the whole images do not fit.

    Returns
    -------
    Verification
        Always ``verified``; with 0 inliers where the two share nothing.
    """
    fit = _best_fit(query, reference, mirror=mirror)
    for hint in hints if fit.alignment.log10_nfa > _MEANINGFUL_LOG10_NFA else ():
        other = _part_fit(query, reference, hint, mirror=mirror)
        if other.alignment.log10_nfa < fit.alignment.log10_nfa:
            fit = other
    if placing and fit.alignment.log10_nfa > _MEANINGFUL_LOG10_NFA:
        fit = _place(query, reference, fit, mirror=mirror)
    alignment = fit.alignment
    if fit.polygon is None:
        return Verification(status="verified", matches=alignment.matches, correlation=fit.correlation)
    region, query_area, reference_area = _region(fit.polygon, fit.matrix, query, reference)
    full = _to_full(reference) @ fit.matrix @ np.linalg.inv(_to_full(query))
    return Verification(
        status="verified",
        inliers=alignment.inliers,
        matches=alignment.matches,
        log10_nfa=alignment.log10_nfa,
        transform=tuple(float(v) for v in (full / full[2, 2]).ravel()),
        mirrored=fit.mirrored,
        query_area=query_area,
        reference_area=reference_area,
        similarity=fit.similarity,
        colour=fit.colour,
        correlation=fit.correlation,
        region=region,
    )


def _best_fit(query: Features, reference: Features, *, mirror: bool) -> _Fit:
    fit = _fit(query, reference, mirrored=False)
    if mirror and fit.similarity < _GOOD_SIMILARITY:
        other = _fit(query, reference, mirrored=True)
        if other.alignment.log10_nfa < fit.alignment.log10_nfa:
            return other
    return fit


def _fit(query: Features, reference: Features, *, mirrored: bool) -> _Fit:
    shown = reference.mirrored() if mirrored else reference
    alignment = align(query, shown)
    turn = _mirror(reference) if mirrored else np.eye(3)
    if alignment.log10_nfa > _MEANINGFUL_LOG10_NFA:
        return _Fit(alignment=alignment, mirrored=mirrored, matrix=turn @ alignment.matrix)
    agreement = compare(query.frame, shown.frame, alignment.matrix)
    mask = _matched_mask(alignment, agreement)
    return _Fit(
        alignment=alignment,
        mirrored=mirrored,
        matrix=turn @ alignment.matrix,
        polygon=_polygon(mask),
        similarity=agreement.similarity(mask),
        colour=agreement.colour,
    )


def _part_fit(query: Features, reference: Features, hint: Hint, *, mirror: bool) -> _Fit:
    """Fit the hinted parts, each in a frame of its own, and say it in the frames of the whole images."""
    query_part, query_place = _part(query, hint.query)
    reference_part, reference_place = _part(reference, hint.reference)
    fit = _best_fit(query_part, reference_part, mirror=mirror)
    matrix = reference_place @ fit.matrix @ np.linalg.inv(query_place)
    polygon = None if fit.polygon is None else _transformed(fit.polygon, query_place)
    return replace(fit, matrix=matrix, polygon=polygon)


def _part(features: Features, box: FractionBox) -> tuple[Features, NDArray[np.float64]]:
    return (features, np.eye(3)) if box == _WHOLE else features.part(box)


def _place(query: Features, reference: Features, fit: _Fit, *, mirror: bool) -> _Fit:
    """Place the one image inside the other; the region is what the placing covers, where the two agree there."""
    turned = False
    best = place(query.frame, reference.frame)
    frame = reference.frame
    if mirror:
        flipped = np.ascontiguousarray(reference.frame[:, ::-1])
        other = place(query.frame, flipped)
        if other.correlation > best.correlation + _MIRROR_MARGIN:
            best, frame, turned = other, flipped, True
    if best.correlation < _MEANINGFUL_CORRELATION:
        return replace(fit, correlation=best.correlation)
    agreement = compare(query.frame, frame, best.matrix)
    return _Fit(
        alignment=fit.alignment,
        mirrored=turned,
        matrix=_mirror(reference) @ best.matrix if turned else best.matrix,
        correlation=best.correlation,
        polygon=_polygon(agreement.overlap),
        similarity=agreement.similarity(agreement.overlap),
        colour=agreement.colour,
    )


def _mirror(features: Features) -> NDArray[np.float64]:
    """Return the map between a frame and its mirror image, (3, 3)."""
    return np.array([[-1.0, 0.0, features.frame.shape[1] - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def _transformed(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    import cv2

    return np.asarray(cv2.perspectiveTransform(points[None], matrix)[0], np.float64)


def _matched_mask(alignment: Alignment, agreement: Agreement) -> NDArray[np.bool_]:
    """Return the matched region of the query's common frame, (h, w) bool.

    Where most of the overlap agrees, it is the overlap: a caption or a mark on a copy does not make it smaller.
    Otherwise it is the hull of the inliers and the agreeing patches that touch it.
    """
    import cv2

    agreeing = agreement.agreeing & agreement.overlap
    if agreement.overlap.any() and agreeing.sum() >= _MOST * agreement.overlap.sum():
        return agreement.overlap
    seed = np.zeros(agreement.overlap.shape, np.uint8)
    cv2.fillConvexPoly(seed, cv2.convexHull(alignment.query_points).astype(np.int32), 1)
    _, labels = cv2.connectedComponents((agreeing | (seed > 0)).astype(np.uint8))
    touched = np.unique(labels[seed > 0])
    mask: NDArray[np.bool_] = np.isin(labels, touched[touched > 0]) & agreement.overlap
    return mask if mask.any() else seed > 0


def _polygon(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the convex outline of a mask, (n, 2) x and y in pixels; None where the mask is empty."""
    import cv2

    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    outline = cv2.approxPolyDP(cv2.convexHull(np.concatenate(contours)), 4.0, True)
    return np.asarray(outline, np.float64).reshape(-1, 2)


def _to_full(features: Features) -> NDArray[np.float64]:
    """Return the map from common-frame to full-size pixels, (3, 3); pixel centres are at integers."""
    sx, sy = features.scale
    return np.array([[sx, 0.0, 0.5 * (sx - 1.0)], [0.0, sy, 0.5 * (sy - 1.0)], [0.0, 0.0, 1.0]])


def _region(
    polygon: NDArray[np.float64], matrix: NDArray[np.float64], query: Features, reference: Features
) -> tuple[Region, float, float]:
    """Return the polygon in full-size pixels of both images, and its share of each."""
    import cv2

    mapped = _transformed(polygon, matrix)
    areas, polygons, boxes = [], [], []
    for points, features in ((polygon, query), (mapped, reference)):
        h, w = features.frame.shape[:2]
        clipped = np.clip(points, 0, [w, h]).astype(np.float32)
        areas.append(min(1.0, abs(float(cv2.contourArea(clipped))) / (w * h)) if len(clipped) > 2 else 0.0)
        full = clipped.astype(np.float64) * features.scale
        polygons.append(tuple((round(float(x), 1), round(float(y), 1)) for x, y in full))
        boxes.append(_box(full, features))
    region = Region(
        query_box=boxes[0], reference_box=boxes[1], query_polygon=polygons[0], reference_polygon=polygons[1]
    )
    return region, areas[0], areas[1]


def _box(points: NDArray[np.float64], features: Features) -> Box:
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    x0, y0 = max(0, int(low[0])), max(0, int(low[1]))
    return x0, y0, min(features.width, max(x0 + 1, int(high[0]))), min(features.height, max(y0 + 1, int(high[1])))


def aligned_parts(
    query: Features, reference: Features, verification: Verification, *, side: int
) -> tuple[UInt8Array, UInt8Array] | None:
    """Return what the two images show of the same place, for a descriptor that compares wholes.

    Parameters
    ----------
    query, reference : Features
    verification : Verification
        Of this pair.
    side : int
        Of the square pictures that are returned, in pixels.

    Returns
    -------
    tuple of two (side, side, 3) uint8 RGB, or None
        The part of the query that the reference covers, and the reference laid over it; None where nothing was
        located, or what was is smaller than 1 % of the query.
    """
    import cv2

    if verification.region is None:
        return None
    full = np.array(verification.transform, np.float64).reshape(3, 3)
    matrix = np.linalg.inv(_to_full(reference)) @ full @ _to_full(query)  # query frame to reference frame
    (h, w), (rh, rw) = query.frame.shape[:2], reference.frame.shape[:2]
    outline = np.array([[0, 0], [rw, 0], [rw, rh], [0, rh]], np.float64)
    corners = np.clip(_transformed(outline, np.linalg.inv(matrix).astype(np.float64)), 0, [w, h])
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    if (x1 - x0) * (y1 - y0) < _SMALLEST_PART * w * h or min(x1 - x0, y1 - y0) < 2:
        return None
    to_query = np.array([[(x1 - x0) / side, 0.0, x0], [0.0, (y1 - y0) / side, y0], [0.0, 0.0, 1.0]])
    parts = []
    for frame, to_frame in ((query.frame, to_query), (reference.frame, matrix @ to_query)):
        zoom = float(np.sqrt(abs(np.linalg.det(to_frame[:2, :2]))))
        smooth = cv2.GaussianBlur(frame, (0, 0), 0.5 * zoom) if zoom > 1.2 else frame
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpPerspective(smooth, to_frame, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        parts.append(np.asarray(warped, np.uint8))
    return parts[0], parts[1]
