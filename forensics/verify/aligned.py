"""How alike are two images once one is laid over the other, and where?

A generator redraws what it copies: edges move by a pixel or two, textures are invented anew, colours drift. So the
aligned images are compared by structure, not by pixels: local normalised cross-correlation (NCC) of low-passed
luminance in overlapping windows, each window free to shift by a few pixels. Windows without contrast say nothing and
are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

__all__ = ["Agreement", "compare"]

_SIDE = 256  # longer side in pixels at which the pair is compared: a redraw is faithful at this scale, not below
_ENLARGE = 1.5
_ZOOM_BELOW = 0.4  # share of the query that the reference covers, below which that part is compared on its own
_SIGMA = 1.5  # low-pass in those pixels
_WINDOW = 24  # window of the local correlation
_STEP = 8  # its grid
_SHIFTS = ((0, 0), (3, 0), (-3, 0), (0, 3), (0, -3))
_MIN_CONTRAST = 5.0  # standard deviation of grey levels below which a window says nothing
_AGREES = 0.45  # NCC from which a window is held to show the same thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Structural agreement of an aligned pair, in the query's common frame.

    Attributes
    ----------
    ncc : ndarray
        (r, c) float32 local correlation on the window grid, NaN outside the overlap and where there is no contrast.
    colour : float
        Correlation of the colour layout (chroma on a coarse grid) inside the overlap, in [-1, 1]; 0 for grey pairs.
    textured : float
        Share of the overlap's windows that have contrast in either image, in [0, 1].
    agreeing : ndarray
        (h, w) bool on the query frame: where the two show the same thing.
    overlap : ndarray
        (h, w) bool on the query frame: where the warped reference lies.
    window : tuple of int or None
        x0, y0, x1, y1 of the part of the query frame that ``ncc`` spans; None for the whole.
    """

    ncc: FloatArray
    colour: float
    textured: float
    agreeing: NDArray[np.bool_]
    overlap: NDArray[np.bool_]
    window: tuple[int, int, int, int] | None = None

    def similarity(self, mask: NDArray[np.bool_]) -> float:
        """Mean local correlation over the windows whose centre lies in ``mask`` (h, w), in [-1, 1]; 0 without any.

        Measured over the claimed region, so that a mark or a caption that two pictures share, with all else different
        between its letters, does not count as one picture.
        """
        import cv2

        if self.window is not None:
            x0, y0, x1, y1 = self.window
            mask = mask[y0:y1, x0:x1]
        inside = cv2.resize(mask.astype(np.uint8), self.ncc.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
        values = self.ncc[inside & np.isfinite(self.ncc)]
        return float(values.mean()) if values.size else 0.0


def compare(query: UInt8Array, reference: UInt8Array, matrix: NDArray[np.float64]) -> Agreement:
    """Lay ``reference`` over ``query`` and measure where they agree.

    Where the reference covers a small part of the query, that part is enlarged and compared, so that a paste is judged
    in as many windows as a whole copy.

    Parameters
    ----------
    query, reference : ndarray
        (h, w, 3) uint8 RGB common frames.
    matrix : ndarray
        (3, 3) query frame to reference frame.
    """
    h, w = query.shape[:2]
    x0, y0, x1, y1 = _covered(matrix, (h, w), reference.shape[:2])
    if (x1 - x0) * (y1 - y0) >= _ZOOM_BELOW * h * w:
        return _compare(query, reference, matrix)
    shift = np.array([[1.0, 0.0, x0], [0.0, 1.0, y0], [0.0, 0.0, 1.0]])
    part = _compare(np.ascontiguousarray(query[y0:y1, x0:x1]), reference, matrix @ shift)
    masks = []
    for mask in (part.agreeing, part.overlap):
        whole = np.zeros((h, w), np.bool_)
        whole[y0:y1, x0:x1] = mask
        masks.append(whole)
    return replace(part, agreeing=masks[0], overlap=masks[1], window=(x0, y0, x1, y1))


def _covered(
    matrix: NDArray[np.float64], size: tuple[int, int], reference: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """Return the box of the query's frame that the reference covers, a little enlarged."""
    import cv2

    (h, w), (rh, rw) = size, reference[:2]
    corners = np.array([[0, 0], [rw, 0], [rw, rh], [0, rh]], np.float64)
    mapped = cv2.perspectiveTransform(corners[None], np.linalg.inv(matrix))[0]
    low, high = mapped.min(axis=0), mapped.max(axis=0)
    margin = 0.05 * (high - low)
    x0, y0 = (int(v) for v in np.floor(np.clip(low - margin, 0, np.maximum([w - _WINDOW, h - _WINDOW], 0))))
    x1, y1 = (int(v) for v in np.ceil(np.clip(high + margin, np.minimum([x0 + _WINDOW, y0 + _WINDOW], [w, h]), [w, h])))
    return x0, y0, x1, y1


def _compare(query: UInt8Array, reference: UInt8Array, matrix: NDArray[np.float64]) -> Agreement:
    import cv2

    h, w = query.shape[:2]
    # enlarged a little at most: there is no more to see
    shrink = min(_SIDE, _ENLARGE * max(h, w)) / max(h, w)
    size = (max(_WINDOW, round(w * shrink)), max(_WINDOW, round(h * shrink)))
    scale = np.diag([w / size[0], h / size[1], 1.0])
    how = cv2.INTER_AREA if shrink < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(query, size, interpolation=how), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # warping minifies where the copy is small in the query: low-pass the reference to that scale first
    zoom = float(np.sqrt(abs(np.linalg.det((matrix @ scale)[:2, :2]))))
    smooth = cv2.GaussianBlur(reference, (0, 0), 0.5 * zoom) if zoom > 1.5 else reference
    warped = np.asarray(
        cv2.warpPerspective(smooth, matrix @ scale, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
    inside = np.full(reference.shape[:2], 255, np.uint8)
    overlap = cv2.warpPerspective(inside, matrix @ scale, size, flags=flags) > 127

    a = cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _SIGMA)
    b = cv2.GaussianBlur(cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _SIGMA)
    ncc, contrast = _local_ncc(a, b)
    grid = overlap[_WINDOW // 2 :: _STEP, _WINDOW // 2 :: _STEP][: ncc.shape[0], : ncc.shape[1]]
    use = grid & (contrast >= _MIN_CONTRAST)
    agreeing = np.zeros(grid.shape, np.uint8)
    agreeing[use & (ncc >= _AGREES)] = 1
    # a flat patch enclosed by agreeing ones agrees too
    closed = cv2.morphologyEx(agreeing, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    agreeing = np.where(grid, closed, 0).astype(np.uint8)
    return Agreement(
        ncc=np.where(use, ncc, np.nan).astype(np.float32),
        colour=_colour_layout(small, warped, overlap),
        textured=float(use.sum() / max(int(grid.sum()), 1)),
        agreeing=cv2.resize(agreeing, (w, h), interpolation=cv2.INTER_NEAREST).astype(bool),
        overlap=cv2.resize(overlap.astype(np.uint8), (w, h), interpolation=cv2.INTER_NEAREST).astype(bool),
    )


def _local_ncc(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Best NCC over the shifts, and the larger contrast of the two, both on the window grid (rows, columns)."""
    import cv2

    def mean(image: FloatArray) -> FloatArray:
        return np.asarray(cv2.blur(image, (_WINDOW, _WINDOW)), np.float32)

    mean_a = mean(a)
    var_a = np.maximum(mean(a * a) - mean_a**2, 0)
    best = np.full(a.shape, -1.0, np.float32)
    contrast = np.sqrt(var_a)
    for dx, dy in _SHIFTS:
        shifted = np.roll(b, (dy, dx), axis=(0, 1))
        mean_b = mean(shifted)
        var_b = np.maximum(mean(shifted * shifted) - mean_b**2, 0)
        if (dx, dy) == (0, 0):
            contrast = np.maximum(contrast, np.sqrt(var_b))
        covariance = mean(a * shifted) - mean_a * mean_b
        best = np.maximum(best, covariance / np.sqrt((var_a + 4.0) * (var_b + 4.0)))
    half = _WINDOW // 2
    cut = (slice(half, a.shape[0] - half + 1, _STEP), slice(half, a.shape[1] - half + 1, _STEP))
    return best[cut], contrast[cut]


def _colour_layout(a: UInt8Array, b: UInt8Array, overlap: NDArray[np.bool_]) -> float:
    """Correlation of chroma averaged over 16-pixel cells, over the cells that lie in the overlap."""
    import cv2

    shape = (max(1, a.shape[1] // 16), max(1, a.shape[0] // 16))
    cells = [cv2.resize(cv2.cvtColor(x, cv2.COLOR_RGB2LAB), shape, interpolation=cv2.INTER_AREA) for x in (a, b)]
    inside = cv2.resize(overlap.astype(np.float32), shape, interpolation=cv2.INTER_AREA) > 0.5
    first, second = (c[inside][:, 1:].astype(np.float64).ravel() - 128.0 for c in cells)
    norm = float(np.sqrt((first @ first) * (second @ second)))
    # less than two chroma levels on average: grey, nothing to compare
    return float(first @ second) / norm if norm > 4.0 * max(len(first), 1) else 0.0
