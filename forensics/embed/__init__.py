"""Embedders: what turns an image into the rows that an index stores and a search compares.

Every embedder has ``spec``, ``prepare(image)`` (light, runs in worker processes) and ``embed(prepared)`` (the model).
Some have one of three optional methods, reached through the helpers here so that callers need not ask twice:

``quality(prepared) -> (n,) uint8``
    0 to 100, how much there is to compare; see :func:`has_quality`.
``prepare_orientations(image) -> (8, k) uint8``
    ``prepare`` of the eight orientations of one image at little more than the cost of one; see
    :func:`prepare_orientations`.
``compare(queries, references) -> (n, m) float32``
    A score of its own, where neither cosine nor Hamming distance is meant; see :func:`comparison`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np

from forensics.embed.defaults import DefaultEmbedders, default_embedders
from forensics.errors import UsageError
from forensics.images import view_pixels
from forensics.registry import Registry
from forensics.types import Embedder, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "EMBEDDERS",
    "DefaultEmbedders",
    "HasQuality",
    "comparison",
    "create",
    "default_embedders",
    "has_quality",
    "prepare_orientations",
    "turn",
]

EMBEDDERS = Registry(
    "forensics.embedders",
    {
        "phash": "forensics.embed.hashes:create",
        "pdq": "forensics.embed.hashes:create",
        "dhash": "forensics.embed.hashes:create",
        "whash": "forensics.embed.hashes:create",
        "crop-resistant": "forensics.embed.hashes:create",
        "layout": "forensics.embed.layout:create",
        "sscd-disc-mixup": "forensics.embed.sscd:create",
        "sscd-int8": "forensics.embed.sscd:create",
        "sscd-distilled": "forensics.embed.sscd:create",
        "clip": "forensics.embed.clip:create",
        "clip-hf": "forensics.embed.clip:create",
    },
)
"""Base name (what stands before the first colon) to a callable that takes the whole name and returns an Embedder."""


@runtime_checkable
class HasQuality(Embedder, Protocol):
    """An embedder that also says how much there is to compare in an image."""

    def quality(self, prepared: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
        """Return (n,) uint8 in [0, 100]; PDQ calls 49 and less unusable."""
        ...


def create(name: str) -> Embedder:
    """Return the embedder called ``name``.

    Parameters
    ----------
    name : str
        A name of :data:`EMBEDDERS`, for some followed by a colon and a choice: ``clip:ARCH/TAG``,
        ``clip:ARCH@FILE``, ``clip-hf:FOLDER_OR_ID``.

    Raises
    ------
    UsageError
        If there is no such embedder.
    WeightsError
        If its weights are missing or not what they claim; the message names the command that brings them.
    """
    factory = cast("Callable[[str], Embedder]", EMBEDDERS.load(name.partition(":")[0]))
    return factory(name)


def has_quality(embedder: Embedder) -> TypeGuard[HasQuality]:
    """Tell whether ``embedder`` has ``quality(prepared)``."""
    return callable(getattr(embedder, "quality", None))


def comparison(embedder: Embedder) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]] | None:
    """Return the embedder's own score of query rows (n, k) against reference rows (m, k): (n, m) float32 in [0, 1].

    None means that the score is the one that ``spec.kind`` names: cosine, or 1 - Hamming distance / dim.
    """
    return getattr(embedder, "compare", None)


def turn(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 pixels in one of the eight orientations of :class:`forensics.types.View`."""
    if not 0 <= orientation <= 7:
        raise UsageError(f"orientation {orientation} given, 0 to 7 accepted")
    return np.ascontiguousarray(view_pixels(image, View(name="turned", orientation=orientation)))


def prepare_orientations(embedder: Embedder, image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return ``embedder.prepare`` of the eight orientations of ``image``, by the fast path where there is one.

    Parameters
    ----------
    embedder : Embedder
        Any embedder.
    image : (H, W, 3) uint8 RGB

    Returns
    -------
    list of 8 arrays
        Entry k stands for orientation k. A fast path may differ from the slow one by the few bits that its own
        docstring states.
    """
    fast = getattr(embedder, "prepare_orientations", None)
    if fast is not None:
        return list(fast(image))
    return [embedder.prepare(turn(image, orientation)) for orientation in range(8)]
