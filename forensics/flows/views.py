"""Which parts of a query image are embedded, at which cost."""

from __future__ import annotations

from typing import Literal, TypeAlias

from forensics.types import EmbedderSpec, View

__all__ = ["EFFORTS", "ORIENTATIONS", "WHOLE", "Effort", "query_views"]

Effort: TypeAlias = Literal["fast", "standard"]
EFFORTS: tuple[Effort, ...] = ("fast", "standard")

WHOLE = View(name="whole")
ORIENTATIONS = tuple(View(name=f"turn{k}" if k else "whole", orientation=k) for k in range(8))

# A paste or a collage shows its source in a part of the query: overlapping tiles at two scales hold most of it in one.
_TILE_2 = 0.65
_TILE_3 = 0.5


def _tiles(count: int, side: float) -> tuple[View, ...]:
    start = [k * (1.0 - side) / (count - 1) for k in range(count)]
    return tuple(
        View(name=f"tile{count}-{row}-{column}", box=(x, y, x + side, y + side))
        for row, y in enumerate(start)
        for column, x in enumerate(start)
    )


TILES = (*_tiles(2, _TILE_2), *_tiles(3, _TILE_3))


def query_views(spec: EmbedderSpec, effort: Effort) -> tuple[View, ...]:
    """Return the views of a query for one embedder.

    Parameters
    ----------
    spec : EmbedderSpec
        Copy descriptors (``sscd-…``) see tiles, hashes see all eight orientations, CLIP the whole image.
    effort : {"fast", "standard"}
        ``fast`` leaves out the tiles: 1 network pass an image in place of 14.
    """
    if spec.kind == "bits":
        return ORIENTATIONS
    if spec.name.startswith("sscd") and effort != "fast":
        return (WHOLE, *TILES)
    return (WHOLE,)
