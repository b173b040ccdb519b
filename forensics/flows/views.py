"""Which parts of an image are embedded, at which cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from forensics.images.insets import insets
from forensics.types import EmbedderSpec, View

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["EFFORTS", "ORIENTATIONS", "WHOLE", "Effort", "expanded", "query_views", "reference_views"]

Effort: TypeAlias = Literal["fast", "standard", "thorough"]
EFFORTS: tuple[Effort, ...] = ("fast", "standard", "thorough")

WHOLE = View(name="whole")
ORIENTATIONS = tuple(View(name=f"turn{k}" if k else "whole", orientation=k) for k in range(8))

# A paste or a collage shows its source in a part of the query: overlapping tiles hold most of it in one.
_TILE_2 = 0.65
_TILE_3 = 0.5


def _tiles(count: int, side: float) -> tuple[View, ...]:
    start = [k * (1.0 - side) / (count - 1) for k in range(count)]
    return tuple(
        View(name=f"tile{count}-{row}-{column}", box=(x, y, x + side, y + side))
        for row, y in enumerate(start)
        for column, x in enumerate(start)
    )


TILES_2, TILES_3 = _tiles(2, _TILE_2), _tiles(3, _TILE_3)

_INSETS = "insets"


def _insets(most: int) -> View:
    """Return a stand-in for rectangles that only the pixels show; see :func:`expanded`.

    Its box tells a scaled decode how small the parts may be that are still to be seen well.
    """
    return View(name=f"{_INSETS}:{most}", box=(0.0, 0.0, 0.5, 0.5))


def query_views(spec: EmbedderSpec, effort: Effort) -> tuple[View, ...]:
    """Return the views of a query for one embedder.

    Parameters
    ----------
    spec : EmbedderSpec
        Copy descriptors (``sscd-…``) see parts, hashes see all eight orientations, CLIP the whole image.
    effort : {"fast", "standard", "thorough"}
        Passes of a copy descriptor an image: 1; the whole, 3 x 3 tiles and up to 2 rectangles that look like pictures
        of their own (10 to 12); with 2 x 2 tiles, three quarter turns and up to 3 rectangles (17 to 20).
    """
    if spec.kind == "bits":
        return ORIENTATIONS
    if not spec.name.startswith("sscd") or effort == "fast":
        return (WHOLE,)
    if effort == "standard":
        return (WHOLE, *TILES_3, _insets(2))
    return (WHOLE, *ORIENTATIONS[1:4], *TILES_2, *TILES_3, _insets(3))


def reference_views(spec: EmbedderSpec, *, parts: bool) -> tuple[View, ...]:
    """Return the views of a reference for one embedder: the whole and, for copy descriptors, 3 x 3 parts of it.

    A query that is a small crop of a reference resembles a part of it more than the whole.
    """
    return (WHOLE, *TILES_3) if parts and spec.name.startswith("sscd") else (WHOLE,)


def expanded(views: Sequence[View], image: UInt8Array) -> tuple[View, ...]:
    """Return the views of one image: stand-ins are replaced by the rectangles that its pixels show.

    Parameters
    ----------
    views : sequence of View
    image : ndarray
        (H, W, 3) uint8 RGB.
    """
    out: list[View] = []
    for view in views:
        name, _, most = view.name.partition(":")
        if name != _INSETS:
            out.append(view)
            continue
        out += [View(name=f"inset{k}", box=box) for k, box in enumerate(insets(image, most=int(most)))]
    return tuple(out)
