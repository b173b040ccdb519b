"""Scores with what any picture would have given taken off: normalisation by a background. Pure; NumPy alone.

A plain picture, or one of a crowded kind, is alike to everything; a cosine of 0.5 says less of it than of another.
What unrelated pictures give is measured with a background set of descriptors that has nothing to do with the references
or the queries, and is subtracted:

    score' = score - weight x (mean cosine of the query's row to its ``nearest`` nearest background rows)

It is the similarity normalisation of SSCD (Pizzi et al., CVPR 2022, equation 8; weight 1 and the 3 nearest in its
published evaluation). It moves queries against each other, so it helps one threshold for all of them; the order of the
references of one query stays as it is.

``coefficients/background_NAME.npz`` holds the shipped background of the descriptor NAME: about a thousand rows of clip
art, photographs and parts of photographs, made by ``bench/make_background.py``. It has no picture of any bench or demo.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError

if TYPE_CHECKING:
    from forensics.types import FloatArray

__all__ = ["NEAREST", "Background", "background_similarity", "load_background", "normalised"]

NEAREST = 3
"""Background rows whose mean is subtracted."""

_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """Descriptors of pictures that are neither references nor queries.

    Attributes
    ----------
    descriptor : str
        Name of the embedder.
    fingerprint : str
        Of its spec (SHA-256, hex): rows of another build are not comparable.
    vectors : ndarray
        (n, d) float32 with unit norm.
    pictures : tuple of str
        (n,) what each row was made of: the file's name, and the part of it after a ``#``.
    """

    descriptor: str
    fingerprint: str
    vectors: FloatArray
    pictures: tuple[str, ...]


@lru_cache
def load_background(descriptor: str, fingerprint: str) -> Background | None:
    """Return the shipped background of a descriptor; None where none is shipped for exactly this build.

    Parameters
    ----------
    descriptor : str
        Name of the embedder, e.g. ``sscd-int8``.
    fingerprint : str
        Of its spec, :attr:`forensics.types.EmbedderSpec.fingerprint`.
    """
    resource = files("forensics") / "coefficients" / f"background_{descriptor}.npz"
    if not resource.is_file():
        return None
    with as_file(resource) as path, np.load(path, allow_pickle=False) as stored:
        if str(stored["fingerprint"]) != fingerprint:
            return None
        rows = stored["vectors"].astype(np.float32)
        names = tuple(str(name) for name in stored["pictures"])
    return Background(
        descriptor=descriptor,
        fingerprint=fingerprint,
        vectors=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        pictures=names,
    )


def background_similarity(vectors: FloatArray, background: Background, *, nearest: int = NEAREST) -> FloatArray:
    """Return (m,) float32: the mean cosine of each row to its nearest background rows.

    Parameters
    ----------
    vectors : ndarray
        (m, d) rows with unit norm, any float type.
    background : Background
    nearest : int
        1 to the number of background rows.

    Raises
    ------
    UsageError
        If the rows are of another length, or ``nearest`` is out of range.
    """
    rows = np.asarray(vectors)
    size, dim = background.vectors.shape
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise UsageError(f"rows of shape {rows.shape} given; (m, {dim}) of {background.descriptor} accepted")
    if not 1 <= nearest <= size:
        raise UsageError(f"the {nearest} nearest background rows asked for, 1 to {size} accepted")
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _CHUNK):
        products = rows[start : start + _CHUNK].astype(np.float32) @ background.vectors.T  # (c, n)
        best = np.partition(products, size - nearest, axis=1)[:, size - nearest :]
        found[start : start + _CHUNK] = best.mean(axis=1)
    return found


def normalised(
    scores: FloatArray,
    query_vectors: FloatArray,
    background: Background,
    *,
    weight: float = 1.0,
    nearest: int = NEAREST,
) -> FloatArray:
    """Return (m,) float32 scores with the background's similarity taken off; 0 is what any picture gives.

    Parameters
    ----------
    scores : ndarray
        (m,) cosines, each of the query row beside it with some reference.
    query_vectors : ndarray
        (m, d) the query rows that gave them, with unit norm.
    background : Background
    weight : float
        How much of the background's similarity is subtracted.
    nearest : int
        How many of the nearest background rows are meant.

    Raises
    ------
    UsageError
        If there is not one query row a score, or as in :func:`background_similarity`.
    """
    values = np.asarray(scores, np.float32)
    if values.shape != (len(query_vectors),):
        raise UsageError(f"{values.shape} scores given for {len(query_vectors)} query rows, one a row accepted")
    taken: FloatArray = values - np.float32(weight) * background_similarity(query_vectors, background, nearest=nearest)
    return taken
