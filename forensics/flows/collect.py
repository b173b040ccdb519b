"""One part of an index on its way: results of the workers → images and rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.embed import has_quality
from forensics.flows.ingest import Ingested
from forensics.index.part import ImageRow, PartData, RowSet, usable_rows
from forensics.types import Embedder, EmbedderSpec, View

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BATCH", "PartCollector"]

BATCH = 32
"""Prepared arrays that an embedder is given at once. Fixed, and never across parts, so that no vector depends on where
a build was interrupted."""


class PartCollector:
    """One part on its way: images as they come, their descriptors in batches of a fixed size."""

    def __init__(self, embedders: Sequence[Embedder], label: str) -> None:
        self.images: list[Ingested] = []
        self._label = label
        self._rows = [_Rows(embedder) for embedder in embedders]

    def take(self, result: Ingested) -> None:
        """Take the next image."""
        position = len(self.images)
        for rows in self._rows:
            rows.take(position, result)
        # The prepared arrays are large and no longer needed.
        self.images.append(replace(result, prepared={}, views={}))

    def finish(self, listing: str, *, previews: bool) -> PartData:
        """Return the part."""
        rows = {each.embedder.spec.name: each.finish() for each in self._rows}
        lost: dict[int, list[str]] = {}
        for each in self._rows:
            for position in each.unusable:
                lost.setdefault(position, []).append(each.embedder.spec.name)
        described = {int(position) for kept in rows.values() for position in np.unique(kept.image)}
        images = [self._image(result, lost.get(at, []), at in described) for at, result in enumerate(self.images)]
        return PartData(
            images=images,
            rows=rows,
            listing=listing,
            previews=[result.preview for result in self.images] if previews else (),
        )

    def _image(self, result: Ingested, lost: Sequence[str], described: bool) -> ImageRow:
        state, reason = result.state, result.reason
        if lost:
            state = "degraded" if described else "error"
            names = ", ".join(dict.fromkeys(lost))
            reason = "; ".join(filter(None, [reason, f"no usable descriptor from {names} (NaN or zero)"]))
        return ImageRow(
            id=self._label + result.record.id,
            uri=result.record.uri,
            sha256=result.sha256,
            width=result.width,
            height=result.height,
            state=state,
            reason=reason,
            format=result.format,
            metadata=result.record.metadata,
        )


class _Rows:
    """The rows of one embedder in one part."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.unusable: list[int] = []
        self._spec: EmbedderSpec = embedder.spec
        self._waiting: list[NDArray[np.uint8]] = []
        self._data: list[NDArray[Any]] = []
        self._quality: list[NDArray[np.int16]] = []
        self._origin: list[tuple[int, View, tuple[int, int, int, int]]] = []  # image, view, box

    def take(self, position: int, result: Ingested) -> None:
        views = result.views.get(self._spec.name, ())
        for view, prepared in zip(views, result.prepared.get(self._spec.name, ()), strict=True):
            self._waiting.append(prepared)
            self._origin.append((position, view, _pixel_box(view, result.width, result.height)))
            if len(self._waiting) == BATCH:
                self._embed()

    def finish(self) -> RowSet:
        if self._waiting:
            self._embed()
        width = self._spec.dim if self._spec.kind == "vector" else self._spec.dim // 8
        dtype = np.float32 if self._spec.kind == "vector" else np.uint8
        data = np.concatenate(self._data) if self._data else np.empty((0, width), dtype)
        quality = np.concatenate(self._quality) if self._quality else np.empty(0, np.int16)
        usable = usable_rows(self._spec, data)
        self.unusable = [self._origin[row][0] for row in np.flatnonzero(~usable)]
        origin = [self._origin[row] for row in np.flatnonzero(usable)]
        return RowSet(
            data=data[usable],
            image=np.array([image for image, _, _ in origin], np.int32),
            view=[view.name for _, view, _ in origin],
            box=np.array([box for _, _, box in origin], np.int32).reshape(-1, 4),
            orientation=np.array([view.orientation for _, view, _ in origin], np.int8),
            quality=quality[usable],
        )

    def _embed(self) -> None:
        self._data.append(np.asarray(self.embedder.embed(self._waiting)))
        if has_quality(self.embedder):
            self._quality.append(self.embedder.quality(self._waiting).astype(np.int16))
        else:
            self._quality.append(np.full(len(self._waiting), -1, np.int16))
        self._waiting = []


def _pixel_box(view: View, width: int, height: int) -> tuple[int, int, int, int]:
    """Return a view's box in pixels, rounded outwards as ``view_pixels`` rounds it."""
    x0, y0, x1, y1 = view.box
    return (
        math.floor(x0 * width + 1e-6),
        math.floor(y0 * height + 1e-6),
        math.ceil(x1 * width - 1e-6),
        math.ceil(y1 * height - 1e-6),
    )
