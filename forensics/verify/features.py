"""Local features of one image in the common frame.

SIFT (Lowe, IJCV 2004) on the image scaled to a fixed longer side, so that one set of pixel tolerances serves every
image, with RootSIFT descriptors (Arandjelovic & Zisserman, CVPR 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray, UInt8Array

__all__ = ["FRAME_SIDE", "MAX_FEATURES", "Features", "extract"]

FRAME_SIDE = 512
"""Longer side of the common frame in pixels; every image is scaled to it, up or down."""

MAX_FEATURES = 1200
"""Features kept an image, the strongest first."""

# Smooth pictures, redraws and small crops have few strong features. MAX_FEATURES keeps the strongest, so these low
# thresholds change nothing where there are enough.
_CONTRAST_THRESHOLD = 0.004
_EDGE_THRESHOLD = 20.0

_PART_SIDE = 384  # of the frame of a part: finding features costs as its area

_BINS = np.arange(128).reshape(4, 4, 8)
_MIRROR = np.ascontiguousarray(_BINS[::-1, :, (-np.arange(8)) % 8]).ravel()
"""Where each SIFT bin goes when the image is mirrored: the patch's rows turn around, gradient angles change sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Local features of one image.

    Attributes
    ----------
    points : ndarray
        (n, 2) float32, x and y in common-frame pixels.
    descriptors : ndarray
        (n, 128) float32 RootSIFT, unit norm.
    frame : ndarray
        (h, w, 3) uint8 RGB, the image in the common frame (longer side :data:`FRAME_SIDE`).
    width, height : int
        Full size of the image in pixels.
    """

    points: FloatArray
    descriptors: FloatArray
    frame: UInt8Array
    width: int
    height: int

    @property
    def scale(self) -> tuple[float, float]:
        """Full-size pixels a common-frame pixel, along x and y."""
        return self.width / self.frame.shape[1], self.height / self.frame.shape[0]

    def part(self, box: tuple[float, float, float, float]) -> tuple[Features, NDArray[np.float64]]:
        """Return the features of a part of the image in a common frame of its own, and where that frame lies.

        A small copy has few features in the frame of the whole; enlarged to a frame of its own it has more.

        Parameters
        ----------
        box : tuple of float
            ``(x0, y0, x1, y1)`` as fractions of width and height.

        Returns
        -------
        features : Features
        matrix : ndarray
            (3, 3) float64 from the part's frame to this one.
        """
        h, w = self.frame.shape[:2]
        x0, y0 = min(w - 8, max(0, int(box[0] * w))), min(h - 8, max(0, int(box[1] * h)))
        x1, y1 = max(x0 + 8, min(w, round(box[2] * w))), max(y0 + 8, min(h, round(box[3] * h)))
        scale_x, scale_y = self.scale
        width, height = round((x1 - x0) * scale_x), round((y1 - y0) * scale_y)
        part = np.ascontiguousarray(self.frame[y0:y1, x0:x1])
        found = extract(part, width=max(1, width), height=max(1, height), side=_PART_SIDE)
        part_h, part_w = found.frame.shape[:2]
        sx, sy = (x1 - x0) / part_w, (y1 - y0) / part_h
        matrix = np.array([[sx, 0.0, x0 + 0.5 * (sx - 1.0)], [0.0, sy, y0 + 0.5 * (sy - 1.0)], [0.0, 0.0, 1.0]])
        return found, matrix

    def mirrored(self) -> Features:
        """Return the features of the left-right mirror image, by permuting descriptor bins."""
        points = self.points.copy()
        points[:, 0] = self.frame.shape[1] - 1 - points[:, 0]
        return Features(
            points=points,
            descriptors=np.ascontiguousarray(self.descriptors[:, _MIRROR]),
            frame=np.ascontiguousarray(self.frame[:, ::-1]),
            width=self.width,
            height=self.height,
        )


def extract(image: UInt8Array, *, width: int = 0, height: int = 0, side: int = FRAME_SIDE) -> Features:
    """Find the local features of one image.

    Parameters
    ----------
    image : ndarray
        (H, W, 3) uint8 RGB, upright. May be a scaled decode or a preview.
    width, height : int
        Full size in pixels, where ``image`` is smaller than the original.
    side : int
        Longer side of the frame in pixels.
    """
    import cv2

    h, w = image.shape[:2]
    scale = side / max(h, w)
    size = (max(8, round(w * scale)), max(8, round(h * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    frame = np.asarray(cv2.resize(image, size, interpolation=interpolation), dtype=np.uint8)
    sift = cv2.SIFT_create(nfeatures=MAX_FEATURES, contrastThreshold=_CONTRAST_THRESHOLD, edgeThreshold=_EDGE_THRESHOLD)
    keypoints, raw = sift.detectAndCompute(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None)
    points: NDArray[np.float32] = np.array([k.pt for k in keypoints], np.float32).reshape(-1, 2)
    descriptors = np.zeros((0, 128), np.float32) if raw is None else np.asarray(raw, np.float32)
    descriptors = np.sqrt(descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-9))
    return Features(points=points, descriptors=descriptors, frame=frame, width=width or w, height=height or h)
