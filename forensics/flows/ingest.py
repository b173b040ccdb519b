"""Record → bytes → pixels → what the models take, of every view: the half of a build that runs in workers."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from forensics.embed import prepare_orientations
from forensics.errors import ForensicsError, UsageError
from forensics.flows.views import expanded
from forensics.images import decode, encode_preview, view_pixels
from forensics.sources import read_bytes
from forensics.types import Embedder, ImageState, Record, View
from forensics.workers import Failure, WorkerPool

if TYPE_CHECKING:
    from forensics.types import Decoded, UInt8Array

__all__ = ["TIMEOUT_SECONDS", "Ingested", "Ingestion", "ViewPlan", "decode_size", "default_workers", "ingest"]

ViewPlan: TypeAlias = Mapping[str, tuple[View, ...]]
"""Embedder name to the views of every image that it is given."""


TIMEOUT_SECONDS = 120.0
"""For one image. A 50 megapixel file with all hashes takes a few seconds; what takes minutes hangs."""

_FAST_FROM = 3
"""Orientations of one box from which on preparing all eight at once is cheaper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """What became of one record.

    Attributes
    ----------
    record : Record
    sha256 : str
        Of the file's bytes; empty where they could not be read.
    state, reason, width, height, format
        As in :class:`~forensics.types.Decoded`.
    prepared : mapping
        Embedder name to one prepared array a view; empty where there are no pixels.
    views : mapping
        Embedder name to the views that were prepared: those of the plan, and what its stand-ins became.
    preview : bytes
        JPEG, empty where none was asked for or there are no pixels.
    """

    record: Record
    sha256: str
    state: ImageState
    reason: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    prepared: Mapping[str, Sequence[UInt8Array]] = field(default_factory=dict)
    views: Mapping[str, tuple[View, ...]] = field(default_factory=dict)
    preview: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestion:
    """What a worker needs to know: sent to each once.

    Attributes
    ----------
    root : Path
        Of the source.
    embedders : tuple of Embedder
        Only their ``prepare`` runs here.
    views : ViewPlan
    keep_pixels : int
        Long side of the previews in pixels, 0 for none.
    """

    root: Path
    embedders: tuple[Embedder, ...]
    views: ViewPlan
    keep_pixels: int = 0


def default_workers() -> int:
    """Return the number of processors that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def decode_size(embedders: Sequence[Embedder], views: ViewPlan, keep_pixels: int = 0) -> int:
    """Return the shorter side, in pixels, down to which a scaled decode may go; 0 for the full size.

    A view that is a part of the image needs the image larger by as much as the part is smaller.
    """
    need = keep_pixels
    for embedder in embedders:
        size = embedder.spec.decode_size
        for view in views[embedder.spec.name]:
            if size == 0:
                return 0
            x0, y0, x1, y1 = view.box
            need = max(need, math.ceil(size / max(min(x1 - x0, y1 - y0), 1e-3)))
    return need


@contextmanager
def ingest(
    plan: Ingestion, records: Iterable[Record], *, workers: int, lookahead: int | None = None
) -> Iterator[Iterator[Ingested]]:
    """Read, decode and prepare records in worker processes; yield an iterator of one result a record, in order.

    Parameters
    ----------
    plan : Ingestion
    records : iterable of Record
        Read lazily.
    workers : int
        Processes; 0 works in this one.
    lookahead : int or None
        Records that are read before the first result is waited for; by default enough to keep the workers busy. Few,
        where the records come slowly: a result is not seen before so many further ones have come.
    """
    views = max(len(plan.views[embedder.spec.name]) for embedder in plan.embedders)
    # Enough that the workers need not wait while a batch is embedded; less where every image brings many arrays.
    window = lookahead or max(2 * workers + 2, 48 // views)
    with WorkerPool("forensics.flows.ingest:ingest_one", init=plan, workers=workers, timeout=TIMEOUT_SECONDS) as pool:
        yield (_result(result) for result in pool.imap(records, window))


def _result(result: object) -> Ingested:
    if isinstance(result, Failure):
        return Ingested(record=result.item, sha256="", state="error", reason=result.reason)
    value: Ingested = result.value  # type: ignore[attr-defined]
    return value


def ingest_one(plan: Ingestion, record: Record) -> Ingested:
    """Do for one record what :func:`ingest` does for many; nothing but a wrong plan raises."""
    for embedder in plan.embedders:
        if not plan.views.get(embedder.spec.name):
            raise UsageError(f"no view is planned for {embedder.spec.name}")
    try:
        data = read_bytes(record.uri, plan.root)
    except (OSError, ForensicsError) as error:
        text = getattr(error, "strerror", None) or str(error)
        return Ingested(record=record, sha256="", state="error", reason=f"{type(error).__name__}: {text}")
    sha256 = hashlib.sha256(data).hexdigest()
    decoded = decode(data, need=decode_size(plan.embedders, plan.views, plan.keep_pixels))
    seen = Ingested(
        record=record,
        sha256=sha256,
        state=decoded.state,
        reason=decoded.reason,
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
    )
    if decoded.pixels is None:
        return seen
    try:
        return _prepared(plan, decoded, decoded.pixels, seen)
    except Exception as error:  # noqa: BLE001 - one odd image must never end a run
        return replace(seen, state="error", reason=f"cannot be described: {type(error).__name__}: {error}")


def _prepared(plan: Ingestion, decoded: Decoded, pixels: UInt8Array, seen: Ingested) -> Ingested:
    views = {name: expanded(planned, pixels) for name, planned in plan.views.items()}
    prepared = {
        embedder.spec.name: _prepare_views(embedder, pixels, views[embedder.spec.name]) for embedder in plan.embedders
    }
    preview = encode_preview(pixels, long_side=plan.keep_pixels) if plan.keep_pixels else b""
    return replace(seen, prepared=prepared, views=views, preview=preview)


def _prepare_views(embedder: Embedder, pixels: UInt8Array, views: Sequence[View]) -> list[UInt8Array]:
    by_box: dict[tuple[float, ...], list[UInt8Array]] = {}
    boxes = [view.box for view in views]
    for view in views:
        if view.box not in by_box and boxes.count(view.box) >= _FAST_FROM:
            upright = view_pixels(pixels, View(name="upright", box=view.box))
            by_box[view.box] = prepare_orientations(embedder, upright)
    return [
        by_box[view.box][view.orientation] if view.box in by_box else embedder.prepare(view_pixels(pixels, view))
        for view in views
    ]
