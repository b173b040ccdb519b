"""The control that does not ask the model: can the two sides be told apart by what the images are? Pure.

Membership inference compares images that a model saw with images that it did not. Where the two differ in anything else
(their size, their year, their subject), any score separates them, and a model that was never asked does as well: most
published splits are of this kind (Duan et al., COLM 2024; Das et al., *Blind Baselines Beat Membership Inference
Attacks for Foundation Models*, 2024). So a classifier learns from pixels, files and captions alone which side an image
is on: ridge logistic regression on :func:`features`, cross-validated.
"""

from __future__ import annotations

import zlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.lab.roc import separation
from forensics.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.lab.intervals import Interval
    from forensics.types import UInt8Array

    Features = NDArray[np.float64]

__all__ = ["BlindControl", "Verdict", "blind_control", "features", "text_features"]

_FOLDS = 5
_LEAST = 20
_RIDGE = 10.0
"""Of standardised features: as much as ten images' worth of doubt about each."""

_BINS = 8
_CELLS = 8
_WORDS = 32
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
_STEPS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the control means for the membership result beside it.

    Attributes
    ----------
    state : {"unbiased", "biased", "unknown"}
    sentence : str
        For the report.
    """

    state: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindControl:
    """How well the sides are told apart without the model.

    Attributes
    ----------
    auc : Interval or None
        Of the scores of images that the classifier had not seen; None where there are too few images.
    members, nonmembers : int
    folds : int
        Of the cross-validation; images of one group stay in one fold.
    verdict : Verdict
    """

    auc: Interval | None
    members: int
    nonmembers: int
    folds: int
    verdict: Verdict


def features(pixels: UInt8Array, *, width: int, height: int, size: int, kind: str) -> Features:
    """Return the (d,) features of one image.

    Parameters
    ----------
    pixels : ndarray
        (H, W, 3) uint8 RGB of any size; the caller scales all images alike, e.g. to 64 x 64.
    width, height, size : int
        Of the original: pixels, and bytes of the file (0 where there is none).
    kind : str
        The file's format, e.g. ``JPEG``.

    Notes
    -----
    The file: logarithms of its pixels, proportions and bytes a pixel, and its format. Colour: a histogram of 8 bins a
    channel, means and deviations. Texture: 8 directions of the gradient in quarters of the image, and its strength.
    Layout: luminance on a grid of 8 x 8.
    """
    shape = pixels.shape
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or shape[2] != 3 or min(shape[:2]) < _CELLS:
        raise UsageError(
            f"pixels of shape {shape} {pixels.dtype} given, (H, W, 3) uint8 from {_CELLS} x {_CELLS} accepted"
        )
    area = max(width * height, 1)
    file = [np.log(area), np.log(max(width, 1) / max(height, 1)), np.log((size + 1) / area)]
    file += [float(kind == name) for name in _FORMATS]
    colour = pixels.reshape(-1, 3) / 255.0
    histogram = [np.histogram(channel, _BINS, (0, 1))[0] / len(colour) for channel in colour.T]
    luminance = pixels @ np.array([0.299, 0.587, 0.114]) / 255.0
    return np.concatenate(
        (file, *histogram, colour.mean(0), colour.std(0), _texture(luminance), _grid(luminance, _CELLS).ravel())
    )


def text_features(text: str) -> Features:
    """Return the (d,) features of a caption: its length, its words hashed into 32 bins, shares of kinds of letters."""
    words = text.lower().split()
    counts = np.zeros(_WORDS)
    for word in words:
        counts[zlib.crc32(word.encode("utf-8", "replace")) % _WORDS] += 1
    letters = max(len(text), 1)
    kinds = [sum(test(letter) for letter in text) / letters for test in (str.isascii, str.isdecimal, str.isupper)]
    return np.concatenate(([np.log1p(len(text)), np.log1p(len(words))], kinds, counts))


def blind_control(
    members: Features,
    nonmembers: Features,
    *,
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> BlindControl:
    """Return how well a classifier tells (m, d) features of members from (n, d) of non-members.

    Parameters
    ----------
    members, nonmembers : ndarray
    groups : sequence, optional
        Of all m + n images: those of one group (a series, an author) are learnt from together or not at all, so that
        the classifier cannot know an image by its sisters.
    seed : int
        Of the folds.
    """
    first, second = len(members), len(nonmembers)
    if groups is not None and len(groups) != first + second:
        raise UsageError(f"{len(groups)} groups given, one an image ({first + second}) accepted")
    labels = np.repeat([1.0, 0.0], [first, second])
    folds = _folds(labels, groups, np.random.default_rng(seed)) if min(first, second) >= _LEAST else None
    if folds is None:
        verdict = Verdict(
            state="unknown",
            sentence=(
                f"The blind control needs {_LEAST} images of each side ({first} and {second} were given) that fall "
                "into several groups, so nothing is known about a bias of the split."
            ),
        )
        return BlindControl(auc=None, members=first, nonmembers=second, folds=0, verdict=verdict)
    values = np.concatenate((members, nonmembers))
    scores = np.empty(len(values))
    for fold in range(_FOLDS):
        held = folds == fold
        found = _classify(values[~held], labels[~held], values[held])
        # each fold has a classifier of its own, whose scores compare within it alone
        scores[held] = (np.argsort(np.argsort(found, kind="stable"), kind="stable") + 0.5) / max(held.sum(), 1)
    auc = separation(scores[:first], scores[first:], rates=(), seed=seed).auc
    return BlindControl(auc=auc, members=first, nonmembers=second, folds=_FOLDS, verdict=judge(auc))


def judge(auc: Interval) -> Verdict:
    """Return what an area of the blind control means."""
    limit = THRESHOLDS["blind_auc"].value
    figures = f"AUC {auc.value:.2f} (95 %: {auc.low:.2f} to {auc.high:.2f})"
    if auc.value >= limit and auc.low > 0.5:
        return Verdict(
            state="biased",
            sentence=(
                f"The split is biased: without asking the model a classifier tells the two sides apart, {figures}. The "
                "membership result means nothing: it may show no more than that the images differ. Draw the "
                "non-members at random from the same source."
            ),
        )
    if auc.high >= limit:
        return Verdict(
            state="unknown",
            sentence=f"The blind control is undecided, {figures}: more images of both sides are needed.",
        )
    return Verdict(
        state="unbiased",
        sentence=(
            f"The blind control finds little: {figures}. That speaks against a split that is biased in colours, "
            "texture, layout, files or words; a bias in anything else would not be seen."
        ),
    )


def _folds(
    labels: NDArray[np.float64], groups: Sequence[Hashable] | None, rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """Return a fold an image, each with images of both sides; None where the groups do not allow it."""
    names: Sequence[Any] = range(len(labels)) if groups is None else list(groups)
    held: dict[Any, list[int]] = {}
    for number, name in enumerate(names):
        held.setdefault(name, []).append(number)
    sets = list(held.values())
    order = [sets[number] for number in rng.permutation(len(sets))]
    # the largest first, each to the fold that has least of its side
    order.sort(key=len, reverse=True)
    counts = np.zeros((_FOLDS, 2))
    result = np.empty(len(labels), np.int64)
    for images in order:
        sides = np.array([np.sum(labels[images] == side) for side in (0.0, 1.0)])
        fold = int(np.argmin((counts * sides).sum(1)))
        counts[fold] += sides
        result[images] = fold
    return None if (counts == 0).any() else result


def _classify(values: Features, labels: NDArray[np.float64], asked: Features) -> NDArray[np.float64]:
    """Return the log-odds of asked rows by ridge logistic regression (Newton's method), classes weighted alike."""
    centre, spread = values.mean(0), values.std(0)
    used = spread > 1e-12
    design, wanted = ((part[:, used] - centre[used]) / spread[used] for part in (values, asked))
    design = np.column_stack((design, np.ones(len(design))))
    weights = np.where(labels == 1, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[-1] = 1e-6
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(design @ found, -30, 30)))
        slope = design.T @ (weights * (chance - labels)) + penalty * found
        curve = (design * (weights * chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found -= step
        if float(np.abs(step).max()) < 1e-8:
            break
    return np.column_stack((wanted, np.ones(len(wanted)))) @ found


def _texture(luminance: Features) -> Features:
    down, right = np.gradient(luminance)
    strength, angle = np.hypot(down, right), np.mod(np.arctan2(down, right), 2 * np.pi)
    bins = np.minimum((angle / (2 * np.pi) * _BINS).astype(int), _BINS - 1)
    half = [side // 2 for side in luminance.shape]
    parts = []
    for rows in (slice(None, half[0]), slice(half[0], None)):
        for columns in (slice(None, half[1]), slice(half[1], None)):
            counts = np.bincount(bins[rows, columns].ravel(), strength[rows, columns].ravel(), _BINS)
            parts.append(counts / max(float(counts.sum()), 1e-9))
    return np.concatenate((*parts, [float(np.log(strength.mean() + 1e-4))]))


def _grid(luminance: Features, cells: int) -> Features:
    rows, columns = (np.linspace(0, side, cells + 1).astype(int) for side in luminance.shape)
    sums = np.add.reduceat(np.add.reduceat(luminance, rows[:-1], axis=0), columns[:-1], axis=1)
    return np.asarray(sums / np.outer(np.diff(rows), np.diff(columns)), np.float64)
