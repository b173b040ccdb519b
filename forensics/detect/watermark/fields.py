"""Gradient fields in which a mark shows and most of a picture does not: what discovery compares images by.

======================  ==============================================================================================
symbol                  meaning
======================  ==============================================================================================
``y``                   (h, w) luminance in [0, 1], slightly smoothed
``g``                   complex gradient, x + i y: the real part of ``g·conj(g')`` is how well two images' edges agree
``n(g)``                ``g`` over its local root mean square, cut at 2: an edge of the picture counts like a letter
``k(g)``                weight in [0, 1], high where edges run in several directions close together, as in letters, and
                        0 along straight lines and smooth outlines
``white(g)``            ``g`` with its spectrum divided by its smoothed magnitude: what is left is where things are
======================  ==============================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import FloatArray

    ComplexArray: TypeAlias = NDArray[np.complex64]

__all__ = ["agreement", "blurred", "field", "letters", "spectrum", "whitened"]

_SMOOTH = 1.0
_WINDOW = 6.0
_FLOOR = 0.005
_CUT = 2.0
_LETTERS = 3.5
_BORDER = 0.02
_SHOWS = 0.15
_FEW = 8


def field(luminance: FloatArray) -> ComplexArray:
    """Return the locally normalised gradients of an (h, w) luminance in [0, 1], (h, w) complex64; 0 along the border.

    The border is left out because frames and the resizing's own edges lie there in every image.
    """
    smooth = blurred(luminance, _SMOOTH)
    gradient = np.zeros(smooth.shape, np.complex64)
    gradient.real[:, 1:-1] = (smooth[:, 2:] - smooth[:, :-2]) / 2
    gradient.imag[1:-1] = (smooth[2:] - smooth[:-2]) / 2
    power = np.asarray(np.abs(gradient) ** 2, np.float32)
    gradient /= np.sqrt(blurred(power, _WINDOW)) + _FLOOR
    gradient *= np.minimum(1, _CUT / np.maximum(np.abs(gradient), 1e-6))
    edge = max(2, round(_BORDER * max(gradient.shape)))
    for line in (np.s_[:edge], np.s_[-edge:], np.s_[:, :edge], np.s_[:, -edge:]):
        gradient[line] = 0
    return gradient


def letters(gradient: ComplexArray) -> FloatArray:
    """Return (h, w) float32 in [0, 1]: how much edges run in several directions there (structure tensor)."""
    xx = blurred(np.asarray(gradient.real**2, np.float32), _LETTERS)
    yy = blurred(np.asarray(gradient.imag**2, np.float32), _LETTERS)
    xy = blurred(np.asarray(gradient.real * gradient.imag, np.float32), _LETTERS)
    along = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + 0.05)
    return np.asarray(np.clip(1.6 * (1 - along) - 0.3, 0, 1), np.float32)


def spectrum(gradient: ComplexArray, *, flat: float = 1.0) -> ComplexArray:
    """Return the Fourier transform divided by its smoothed magnitude to the power ``flat``, axes left out."""
    from scipy import fft

    transformed: ComplexArray = fft.fft2(gradient).astype(np.complex64)
    size = blurred(np.abs(transformed).astype(np.float32), 1.5)
    top = float(size.max())
    transformed = transformed / (size**flat + 1e-3 * top**flat + 1e-9)
    transformed[0, :] = 0
    transformed[:, 0] = 0
    return np.asarray(transformed, np.complex64)


def whitened(gradient: ComplexArray) -> ComplexArray:
    """Return a field with a flat spectrum, weighted towards letters."""
    from scipy import fft

    flat: ComplexArray = fft.ifft2(spectrum(gradient)).astype(np.complex64)
    return np.asarray(flat * letters(gradient), np.complex64)


def agreement(fields: ComplexArray, *, cell: int) -> FloatArray:
    """Return how well the fields of n images agree where they lie, pair by pair.

    Parameters
    ----------
    fields : ndarray
        (n, h, w) complex64.
    cell : int
        Side in pixels of the squares that are compared on their own, so that one strong place does not decide.

    Returns
    -------
    ndarray
        (n, n) float32 sums over cells of their correlations, over the root of the number of cells in which both images
        show something; diagonal 0.
    """
    count, height, width = fields.shape
    rows, columns = height // cell, width // cell
    cut = fields[:, : rows * cell, : columns * cell].reshape(count, rows, cell, columns, cell)
    parts: NDArray[Any] = cut.transpose(1, 3, 0, 2, 4).reshape(rows * columns, count, cell * cell)
    size = np.sqrt((np.abs(parts) ** 2).sum(2))  # (cells, n)
    usual = float(np.median(size[size > 0])) if (size > 0).any() else 1.0
    shows = size > _SHOWS * usual
    total, both = np.zeros((count, count), np.float32), np.zeros((count, count), np.float32)
    for part, length, there in zip(parts, size, shows, strict=True):
        scaled = part / (length + _SHOWS * usual)[:, None]
        total += np.asarray((scaled @ scaled.conj().T).real, np.float32)
        both += np.outer(there, there)
    total /= np.sqrt(both + _FEW)
    np.fill_diagonal(total, 0)
    return total


def blurred(values: FloatArray, sigma: float) -> FloatArray:
    """Return a Gaussian blur, reflected at the border."""
    import cv2

    made: FloatArray = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    return made
