"""What repeats within an image, and by how much one image must be moved so that it agrees with another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.watermark.fields import blurred, letters, spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.detect.watermark.fields import ComplexArray
    from forensics.detect.watermark.mark_fit import FittedMark
    from forensics.types import FloatArray

__all__ = ["common_period", "cut_out", "repeating", "shifts"]

_NEAR, _FAR = 0.15, 0.75
"""Between which shares of the longer side a repetition may lie."""
_LAGS = 3
_LAG_Z = 8.0
_SPREAD = 2.5
_BASE = 0.5
"""Weight of what neither repeats nor was pointed to."""
_CHUNK = 16


def cut_out(gradient: ComplexArray, pointed: FloatArray | None = None) -> ComplexArray:
    """Return a field weighted by where a mark may be: letters that repeat, and what a detector's mask points to."""
    lettered = np.asarray(gradient * letters(gradient), np.complex64)
    saliency = repeating(lettered)
    if pointed is not None:
        saliency = np.maximum(saliency, pointed)
    return np.asarray(lettered * (_BASE + (1 - _BASE) * saliency), np.complex64)


def repeating(gradient: ComplexArray) -> FloatArray:
    """Return (h, w) float32 in [0, 1]: how well each place agrees with the one a repetition's distance away."""
    import cv2

    found = np.zeros(gradient.shape, np.float32)
    height, width = gradient.shape
    for strength, dy, dx in _lags(gradient):
        if strength < _LAG_Z:
            continue
        for sign in (1, -1):
            move = np.array([[1, 0, -sign * dx], [0, 1, -sign * dy]], np.float32)
            real = cv2.warpAffine(np.ascontiguousarray(gradient.real), move, (width, height))
            imaginary = cv2.warpAffine(np.ascontiguousarray(gradient.imag), move, (width, height))
            alike = np.asarray(gradient.real * real + gradient.imag * imaginary, np.float32)
            found = np.maximum(found, blurred(alike, _SPREAD))
    return np.asarray(np.clip(found, 0, 1), np.float32)


def shifts(fields: ComplexArray) -> tuple[FloatArray, NDArray[np.int64]]:
    """Return for every pair of images how well they agree at best, and where.

    Parameters
    ----------
    fields : ndarray
        (n, h, w) complex64.

    Returns
    -------
    (ndarray, ndarray)
        (n, n) float32 peaks of the phase correlation, in standard deviations of that of two usual images; (n, n, 2)
        int64 steps down and right by which image j must be moved to agree with image i.
    """
    from scipy import fft

    count, height, width = fields.shape
    flat = np.stack([spectrum(one) for one in fields])
    # whitening blows up images that show next to nothing: an image counts as much as it has to show
    shown = np.sqrt((np.abs(fields) ** 2).mean((1, 2)))
    flat *= np.minimum(1, shown / max(float(np.median(shown)), 1e-6))[:, None, None]
    norm = np.sqrt((np.abs(flat) ** 2).mean((1, 2)))
    usual = max(float(np.median(norm)), 1e-9)
    peak = np.zeros((count, count), np.float32)
    steps = np.zeros((count, count, 2), np.int64)
    for first in range(count):
        for begin in range(first + 1, count, _CHUNK):
            others = slice(begin, min(begin + _CHUNK, count))
            surface: NDArray[Any] = fft.ifft2(flat[first][None] * np.conj(flat[others]), axes=(1, 2)).real
            surface = surface.reshape(len(surface), -1) * np.sqrt(height * width) / usual**2
            best = surface.argmax(1)
            peak[first, others] = surface[np.arange(len(surface)), best]
            steps[first, others] = np.stack(np.unravel_index(best, (height, width)), 1)
    peak = peak + peak.T
    steps -= np.transpose(steps, (1, 0, 2))
    return peak, steps


def common_period(mark: FittedMark) -> tuple[float, float] | None:
    """Return the distances, across and down as shares of the frame, at which a mark repeats; None where it does not."""
    from scipy import fft

    inked = np.where(mark.inked, mark.opacity, 0).astype(np.float32)
    height, width = inked.shape
    if not inked.any():
        return None
    power = np.abs(fft.rfft2(inked - inked.mean(), s=(2 * height, 2 * width))) ** 2
    lagged = fft.irfft2(power, s=(2 * height, 2 * width))[:height, :]
    lagged = np.concatenate([lagged[:, -width // 2 :], lagged[:, : width // 2]], 1)  # columns: -w/2 … w/2
    rows, columns = np.mgrid[:height, -(width // 2) : width // 2]
    overlap = (height - rows) * (width - np.abs(columns)) / (height * width)
    alike = lagged[:, : columns.shape[1]] / max(float(lagged.max()), 1e-9) / np.maximum(overlap, 0.2)
    far = np.hypot(rows, columns)
    allowed = (far > _NEAR * max(height, width)) & (rows < _FAR * height)
    alike = np.where(allowed, alike, 0)
    place = np.unravel_index(int(alike.argmax()), alike.shape)
    if alike[place] < 0.5:
        return None
    first = (int(rows[place]), int(columns[place]))
    # a second direction that is no multiple of the first
    cross = np.abs(rows * first[1] - columns * first[0]) / np.hypot(*first)
    second_alike = np.where(cross > 0.1 * max(height, width), alike, 0)
    other = np.unravel_index(int(second_alike.argmax()), alike.shape)
    vectors = [first] + ([(int(rows[other]), int(columns[other]))] if second_alike[other] >= 0.5 else [])
    across = min((abs(c) for r, c in vectors if abs(c) > 2), default=0)
    down = min((abs(r) for r, c in vectors if abs(r) > 2), default=0)
    return (across / width, down / height)


def _lags(gradient: ComplexArray) -> list[tuple[float, int, int]]:
    """Return the strongest distances of repetition: strength, down, right."""
    from scipy import fft

    height, width = gradient.shape
    padded = np.zeros((2 * height, 2 * width), np.complex64)
    padded[:height, :width] = gradient
    transformed = fft.fft2(padded)
    size = blurred(np.abs(transformed).astype(np.float32), 2.0)
    power = np.abs(transformed) ** 2 / (size + 1e-3 * float(size.max()) + 1e-9)
    power[:3] = power[-2:] = 0
    power[:, :3] = power[:, -2:] = 0
    lagged = fft.ifft2(power).real
    rows, columns = np.mgrid[: 2 * height, : 2 * width]
    rows, columns = (
        np.where(rows >= height, rows - 2 * height, rows),
        np.where(columns >= width, columns - 2 * width, columns),
    )
    overlap = np.maximum((height - np.abs(rows)) * (width - np.abs(columns)), 1)
    scaled = lagged / np.sqrt(overlap)
    far, longer = np.hypot(rows, columns), max(height, width)
    allowed = (far > _NEAR * longer) & (np.abs(rows) < _FAR * height) & (np.abs(columns) < _FAR * width) & (rows >= 0)
    spread = float(scaled[allowed].std()) or 1.0
    scaled = np.where(allowed, scaled / spread, -np.inf)
    found = []
    for _ in range(_LAGS):
        place = np.unravel_index(int(scaled.argmax()), scaled.shape)
        dy, dx = int(rows[place]), int(columns[place])
        found.append((float(scaled[place]), dy, dx))
        scaled = np.where(np.hypot(rows - dy, columns - dx) < 5, -np.inf, scaled)
    return found
