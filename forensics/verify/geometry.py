"""Do two sets of local features agree on one plane transform?

Symbols: ``n`` mutual matches, ``k`` inliers, ``eps`` tolerance in common-frame pixels.

Matches are mutual nearest neighbours that pass Lowe's ratio test in both directions. The transform is an affine map
(6 parameters: enough for crops, pastes, resizes, rotations and aspect changes) found by MAGSAC++ (Barath et al., CVPR
2020) in OpenCV's USAC. What the inliers are worth is said a contrario (Moisan & Stival, IJCV 2004): the expected number
of transforms that would gather ``k`` of ``n`` matches within ``eps`` if the matches fell at random.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray
    from forensics.verify.features import Features

__all__ = ["INLIER_TOLERANCE", "Alignment", "align", "log10_false_alarms", "match"]

INLIER_TOLERANCE = 6.0
"""``eps``: how far a match may lie from the transform, in common-frame pixels (512 on the longer side)."""

_RATIO = 0.85
_MIN_MATCHES = 4
# A generator rescales and squeezes what it copies; beyond these a transform is a degenerate fit.
_MAX_SCALE = 12.0
_MAX_ANISOTROPY = 2.5
_MAX_SHEAR = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """A transform between two common frames and its support.

    Attributes
    ----------
    matrix : ndarray
        (3, 3) float64, query frame to reference frame; the identity where none was found.
    matches, inliers : int
        Mutual matches, and those within :data:`INLIER_TOLERANCE`, each place counted once.
    log10_nfa : float
        log10 of the expected number of such agreements by chance; 0 where there is none, more negative is stronger.
    query_points, reference_points : ndarray
        (k, 2) float32 inliers in common-frame pixels.
    """

    matrix: NDArray[np.float64]
    matches: int
    inliers: int
    log10_nfa: float
    query_points: FloatArray
    reference_points: FloatArray


def match(query: FloatArray, reference: FloatArray, *, ratio: float = _RATIO) -> NDArray[np.int64]:
    """Return mutual nearest neighbours that pass the ratio test both ways.

    Parameters
    ----------
    query, reference : ndarray
        (n, 128) and (m, 128) float32 unit rows.
    ratio : float
        Largest allowed distance to the nearest, divided by that to the second nearest.

    Returns
    -------
    ndarray
        (k, 2) int64 row pairs.
    """
    if len(query) < 2 or len(reference) < 2:
        return np.zeros((0, 2), np.int64)
    similarity = query @ reference.T  # (n, m)
    forward = _nearest(similarity, ratio)
    backward = _nearest(np.ascontiguousarray(similarity.T), ratio)
    rows = np.flatnonzero(forward >= 0)
    rows = rows[backward[forward[rows]] == rows]
    return np.stack([rows, forward[rows]], axis=1)


def _nearest(similarity: FloatArray, ratio: float) -> NDArray[np.int64]:
    """Column of the best similarity in each row, -1 where the ratio test fails. Distance^2 = 2 - 2 similarity."""
    best = similarity.argmax(axis=1)
    rows = np.arange(len(similarity))
    first = similarity[rows, best]
    # without the best of each row the largest is the second best; put back, because the caller looks from both sides
    similarity[rows, best] = -np.inf
    second = similarity.max(axis=1)
    similarity[rows, best] = first
    keep = (1.0 - first) <= ratio * ratio * (1.0 - second) + 1e-7
    return np.where(keep, best, -1)


def log10_false_alarms(n: int, k: int, probability: float, *, sample: int = 3) -> float:
    """Return the expected number of chance agreements as log10.

    ``(n - s) C(n, k) C(k, s) p^(k - s)``, at most 1 (0 as log10).

    Parameters
    ----------
    n, k : int
        Matches and inliers, ``k <= n``.
    probability : float
        Chance that one random match lies within the tolerance: its area over the frame's.
    sample : int
        ``s``: matches that fix the transform (3 for an affine map).
    """
    if k <= sample:
        return 0.0

    def log10_choose(a: int, b: int) -> float:
        return (math.lgamma(a + 1) - math.lgamma(b + 1) - math.lgamma(a - b + 1)) / math.log(10)

    value = math.log10(max(n - sample, 1)) + log10_choose(n, k) + log10_choose(k, sample)
    return min(0.0, value + (k - sample) * math.log10(probability))


def align(query: Features, reference: Features) -> Alignment:
    """Find the affine map from ``query`` to ``reference`` that most matches agree on."""
    import cv2

    pairs = match(query.descriptors, reference.descriptors)
    source, target = query.points[pairs[:, 0]], reference.points[pairs[:, 1]]
    source, target = _distinct(source, target)
    none = np.zeros((0, 2), np.float32)
    nothing = Alignment(
        matrix=np.eye(3), matches=len(source), inliers=0, log10_nfa=0.0, query_points=none, reference_points=none
    )
    if len(source) < _MIN_MATCHES:
        return nothing
    found, _ = cv2.estimateAffine2D(
        source, target, method=cv2.USAC_MAGSAC, ransacReprojThreshold=INLIER_TOLERANCE, maxIters=2000, confidence=0.999
    )
    if found is None:
        return nothing
    affine = np.asarray(found, np.float64)
    if not np.isfinite(affine).all() or not _plausible(affine):
        return nothing
    matrix = np.vstack([affine, [0.0, 0.0, 1.0]])
    error = _symmetric_error(matrix, source, target)
    inside = error <= INLIER_TOLERANCE
    k = int(inside.sum())
    h, w = reference.frame.shape[:2]
    probability = math.pi * INLIER_TOLERANCE**2 / (h * w)
    return Alignment(
        matrix=matrix,
        matches=len(source),
        inliers=k,
        log10_nfa=log10_false_alarms(len(source), k, probability),
        query_points=source[inside],
        reference_points=target[inside],
    )


def _distinct(source: FloatArray, target: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Drop matches between the same two places: SIFT gives one corner several orientations and scales."""
    cells = np.round(np.hstack([source, target]) / 3.0).astype(np.int32)
    _, first = np.unique(cells, axis=0, return_index=True)
    first.sort()
    # one query place may not vote through many reference places, nor the reverse (repeated texture, lettering)
    for column in (slice(0, 2), slice(2, 4)):
        _, keep = np.unique(cells[first][:, column], axis=0, return_index=True)
        first = first[np.sort(keep)]
    return source[first], target[first]


def _plausible(affine: NDArray[np.float64]) -> bool:
    """Reject mirrors, collapses and extreme squeezes: singular values and shear of the linear part."""
    linear = affine[:, :2]
    if np.linalg.det(linear) <= 0:
        return False
    _, (large, small), _ = np.linalg.svd(linear)
    columns = linear / np.maximum(np.linalg.norm(linear, axis=0), 1e-12)
    shear = abs(float(columns[:, 0] @ columns[:, 1]))
    return (
        large <= _MAX_SCALE and small >= 1.0 / _MAX_SCALE and large <= _MAX_ANISOTROPY * small and shear <= _MAX_SHEAR
    )


def _symmetric_error(matrix: NDArray[np.float64], source: FloatArray, target: FloatArray) -> NDArray[np.float64]:
    """Transfer error in pixels, the larger of both directions, each (k,)."""
    one = np.ones((len(source), 1))
    forward = (np.hstack([source, one]) @ matrix.T)[:, :2] - target
    back = (np.hstack([target, one]) @ np.linalg.inv(matrix).T)[:, :2] - source
    error: NDArray[np.float64] = np.maximum(np.linalg.norm(forward, axis=1), np.linalg.norm(back, axis=1))
    return error
