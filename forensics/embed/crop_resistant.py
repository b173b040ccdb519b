"""The crop-resistant hash: a dHash of every bright or dark region, so that a crop still shares some of them.

Reference: Steinebach, Liu, Yannikos, *Efficient Cropping-Resistant Robust Image Hashing*, ARES 2014; the segmentation
and the score are those of ``imagehash.crop_resistant_hash`` and ``ImageMultiHash``.

How a varying number of hashes becomes one row: the 16 largest segments are kept, 8 bytes each, and unused places are
zero. A segment whose dHash is zero is featureless (it would match every other such segment) and is left out, so zero
can stand for "none". Hamming distance between such rows means nothing: their score is that of
:meth:`CropResistantHash.compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from forensics.embed.rows import stack_bytes
from forensics.errors import VectorError
from forensics.types import EmbedderSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    UInt8Array = NDArray[np.uint8]

__all__ = ["SEGMENTS", "CropResistantHash"]

SEGMENTS = 16
_SIDE = 300
_THRESHOLD = 128
_MIN_PIXELS = 500
_CUTOFF = 16
"""Bits of 64 in which two segments may differ and still match (a quarter, as in imagehash)."""
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class CropResistantHash:
    """Up to 16 segment hashes of 64 bits; ask :meth:`compare` for scores, not the Hamming distance."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        return EmbedderSpec(
            name="crop-resistant",
            kind="bits",
            dim=SEGMENTS * 64,
            preprocessing="imagehash.crop_resistant_hash: grey 300x300, blurred, split at 128; dHash of the "
            f"{SEGMENTS} largest segments, featureless ones left out; compared by matching segments, not by Hamming "
            "distance",
            decode_size=_SIDE,
        )

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Return 128 bytes: the dHashes of the largest segments of one (H, W, 3) uint8 RGB image, then zeros."""
        grey = Image.fromarray(image).convert("L")
        scale_x, scale_y = grey.width / _SIDE, grey.height / _SIDE
        row = np.zeros((SEGMENTS, 8), np.uint8)
        place = 0
        for x0, y0, x1, y1 in _segments(grey)[:SEGMENTS]:
            part = grey.crop((x0 * scale_x, y0 * scale_y, x1 * scale_x, y1 * scale_y))
            pixels = np.asarray(part.resize((9, 8), Image.Resampling.LANCZOS))
            bits = np.packbits(pixels[:, 1:] > pixels[:, :-1])
            if bits.any():
                row[place] = bits
                place += 1
        return row.reshape(-1)

    def embed(self, prepared: Sequence[UInt8Array]) -> UInt8Array:
        """Return (n, 128) uint8."""
        return stack_bytes(prepared, SEGMENTS * 8)

    def compare(self, queries: UInt8Array, references: UInt8Array) -> NDArray[np.float32]:
        """Return the score of every query with every reference: (n, m) float32 in [0, 1].

        A query segment matches if some reference segment differs in at most 16 of 64 bits. The score is the share of
        query segments that match, less a small part for the bits in which they differ, as imagehash orders matches;
        0 where either has no segment.

        Parameters
        ----------
        queries : (n, 128) uint8
        references : (m, 128) uint8
        """
        for rows in (queries, references):
            if rows.ndim != 2 or rows.shape[1] != SEGMENTS * 8 or rows.dtype != np.uint8:
                raise VectorError(
                    f"crop-resistant rows of shape {rows.shape} and type {rows.dtype} given, (n, {SEGMENTS * 8}) uint8 "
                    "accepted"
                )
        scores = np.zeros((len(queries), len(references)), np.float32)
        split = [_signs(row) for row in queries]
        for start in range(0, len(references), _BLOCK):
            block = references[start : start + _BLOCK]
            signs = _signs(block)  # (b * 16, 64), a row of zeros where there is no segment
            empty = ~signs.any(axis=1)
            for index, query in enumerate(split):
                present = query[query.any(axis=1)]  # (s, 64)
                if len(present) == 0:
                    continue
                distances = 32.0 - (signs @ present.T) / 2  # (b * 16, s)
                distances[empty] = np.inf
                nearest = distances.reshape(len(block), SEGMENTS, -1).min(axis=1)  # (b, s)
                scores[index, start : start + len(block)] = _score(nearest)
        return scores


def _score(nearest: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, s) distance of each query segment to the nearest reference segment → (m,) score."""
    matched = nearest <= _CUTOFF
    count = matched.sum(axis=1)
    differing = np.where(matched, nearest, 0.0).sum(axis=1)
    score: NDArray[np.float32] = (count - differing / (64.0 * np.maximum(count, 1))) / nearest.shape[1]
    return score.astype(np.float32)


def _signs(rows: UInt8Array) -> NDArray[np.float32]:
    """(…, 128) uint8 → (… * 16, 64) float32 of -1 and 1, so that a product counts equal bits; zeros for no segment."""
    hashes = rows.reshape(-1, 8)
    signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    signs[~hashes.any(axis=1)] = 0
    return signs


def _segments(grey: Image.Image) -> list[tuple[int, int, int, int]]:
    """Return the boxes ``(x0, y0, x1, y1)`` of bright and dark regions in a 300 x 300 frame, largest first."""
    from scipy.ndimage import find_objects, label

    small = grey.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    small = small.filter(ImageFilter.GaussianBlur()).filter(ImageFilter.MedianFilter())
    bright = np.asarray(small) > _THRESHOLD
    found: list[tuple[int, tuple[int, int, int, int]]] = []
    # imagehash counts the frame around the image and every region of two pixels or more as visited, and looks for dark
    # regions only until as many pixels as the image has were visited; its hashes depend on it, so it is kept here.
    visited = 4 * _SIDE
    for mask in (bright, ~bright):
        labels, count = label(mask)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        boxes = find_objects(labels)
        first = np.full(count + 1, labels.size)
        np.minimum.at(first, labels.ravel(), np.arange(labels.size))
        for index in (np.argsort(first[1:], kind="stable") + 1).tolist():
            if mask is not bright and visited >= _SIDE * _SIDE:
                break
            size = int(sizes[index])
            visited += size if size > 1 else 0
            if size > _MIN_PIXELS:
                y, x = boxes[index - 1]
                found.append((size, (x.start, y.start, x.stop, y.stop)))
    found.sort(key=lambda entry: -entry[0])
    return [box for _, box in found] or [(0, 0, _SIDE, _SIDE)]
