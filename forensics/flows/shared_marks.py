"""The marks that images of a run share: a sample of them is compared, then every image is looked at for what was found.

Memory is bounded by the sample. Images are compared among their like, by the proportions of their sides. Where the
watermark network runs, it points to the images of the sample that may bear a mark, on even odds already.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.detect.watermark.discovery import FRAME_SIDE, LEAST_IMAGES, discover
from forensics.detect.watermark.shared_mark import SharedMark, find_mark, least_z, mark_mask
from forensics.errors import ForensicsError
from forensics.flows.examine import PICTURE_SIDE, Examined, Spotted, examined, mask_file, picture_file
from forensics.images import decode, encode_preview
from forensics.schema import finding_id
from forensics.sources import read_bytes
from forensics.thresholds import THRESHOLDS
from forensics.types import Record, Region
from forensics.workers import Success, WorkerPool

if TYPE_CHECKING:
    from forensics.detect.watermark.network import MarkModel
    from forensics.thresholds import Threshold
    from forensics.types import Box, FloatArray, Progress, UInt8Array

__all__ = ["SAMPLE", "Looking", "Shared", "find_shared", "look"]

SAMPLE = 600
"""Images that are compared with one another, at most; which ones depends on their bytes alone."""

UNKNOWN = "unknown agency"

_TIMEOUT_SECONDS = 120.0
_STEP = 0.06
"""Proportions whose logarithms round to the same multiple of this are compared with one another."""
_THRESHOLDS = {"fixed": "shared_mark", "moving": "moving_mark"}
_POINTS = "watermark_named"
"""Name of the threshold from which the network points to an image."""
_SHARE = "shared_mark_share"
_USED = (*_THRESHOLDS.values(), _POINTS, _SHARE)
_NEED = 384
"""Shorter side in pixels that an image is decoded at, at least: what the network looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A mark that images of the run share.

    Attributes
    ----------
    mark_id : str
        ``m-`` and 12 hexadecimal digits, of the images it was estimated from.
    path : str
        ``fixed`` or ``moving``.
    label : str
        The agency that a detector named on most of the images with it; otherwise ``unknown agency``.
    share : float
        Of all images that could be searched.
    searched : int
        How many those are.
    p_value : float
    period : (float, float) or None
        As shares of width and height; see :class:`~forensics.detect.watermark.discovery.SharedMark`.
    spotted : mapping of str to Spotted
        SHA-256 of every image with it, to where it is there.
    picture_png : bytes
        The averaged mark, grey.
    """

    mark_id: str
    path: str
    label: str
    share: float
    searched: int
    p_value: float
    period: tuple[float, float] | None
    spotted: Mapping[str, Spotted]
    picture_png: bytes = field(repr=False)

    def row(self) -> dict[str, Any]:
        """Return its entry in ``marks.json``."""
        return {
            "mark_id": self.mark_id,
            "path": self.path,
            "label": self.label,
            "images": len(self.spotted),
            "searched": self.searched,
            "share": round(self.share, 6),
            "p_value": self.p_value,
            "period": list(self.period) if self.period else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Looking:
    """What every worker needs to know.

    Attributes
    ----------
    root : Path
        Of the source.
    marks : tuple of (shape, mark)
        What to look for in images of which frame; none where only frames are wanted.
    network : bool
        Ask the watermark network too.
    thresholds : mapping of str to Threshold
        At least ``shared_mark``, ``moving_mark``, ``shared_mark_share`` and ``watermark_named``.
    """

    root: Path
    marks: tuple[tuple[tuple[int, int], SharedMark], ...] = ()
    network: bool = False
    thresholds: Mapping[str, Threshold] = field(default_factory=lambda: dict(THRESHOLDS))

    def limit(self, name: str) -> float:
        """Return a threshold's value."""
        return self.thresholds[name].value

    def limit_of(self, mark: SharedMark) -> tuple[float, str]:
        """Return what a mark must reach, and whence: an operator's value, else its own limit if it has one.

        A tile's own limit is what the weakest of the images reaches that it was found in, where that is less.
        """
        name = _THRESHOLDS[mark.path]
        entry = self.thresholds[name]
        if mark.limit is None or mark.limit >= entry.value or entry != THRESHOLDS[name]:
            return entry.value, entry.source
        return mark.limit, "this mark's own: what the weakest of the images reaches that it was found in"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looked:
    """What a worker made of an image.

    Attributes
    ----------
    frame : ndarray or None
        (h, w) uint8 luminance; None where marks were looked for, or nothing could be read.
    pointed : ndarray or None
        (h, w) float32 in [0, 1], where the network sees a mark; None where it sees none.
    seen : list
        Of the given marks.
    """

    frame: UInt8Array | None = None
    pointed: FloatArray | None = None
    seen: list[_Seen] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One mark in one image: number, how much of it, least ``z``, box in the full-size image, mask, preview."""

    mark: int
    share: float
    z: float
    least: float
    box: Box
    mask: bytes
    picture: bytes


def find_shared(
    work: Path,
    root: Path,
    *,
    network: bool,
    workers: int,
    progress: Progress | None = None,
    thresholds: Mapping[str, Threshold] | None = None,
    sample: int = SAMPLE,
) -> tuple[Shared, ...]:
    """Return the marks that the examined images share.

    Parameters
    ----------
    work : Path
        Folder of the log (:mod:`forensics.flows.examine`); pictures and masks of images with a mark are put there.
    root : Path
        Of the source.
    network : bool
        Let the watermark network point to images.
    workers : int
    progress : Progress, optional
    thresholds : mapping of str to Threshold, optional
        Others than the program's, of the same names.
    sample : int
        How many images are compared with one another.
    """
    chosen = _sample(work, sample)
    groups: dict[tuple[int, int], list[Record]] = {}
    for image in chosen:
        groups.setdefault(_shape(image.width, image.height), []).append(image.record)
    table = thresholds or THRESHOLDS
    plan = Looking(root=root, network=network, thresholds={name: table[name] for name in _USED})
    limits = {path: plan.limit(name) for path, name in _THRESHOLDS.items()}
    share = plan.limit(_SHARE)
    marks: list[tuple[tuple[int, int], SharedMark]] = []
    for shape, records in groups.items():
        if len(records) < LEAST_IMAGES:
            continue
        frames, masks = _frames(records, shape, plan, workers, progress)
        if len(frames) >= LEAST_IMAGES:
            given = masks if network else None
            marks += [(shape, mark) for mark in discover(frames, masks=given, limits=limits, share=share)]
    return _listed(work, replace(plan, marks=tuple(marks)), workers, progress) if marks else ()


def look(plan: Looking, record: Record) -> Looked:
    """Return an image's frame where no mark is given, and what is seen of the given ones (in a worker)."""
    try:
        decoded = decode(read_bytes(record.uri, plan.root), need=_NEED if plan.network else FRAME_SIDE)
    except (OSError, ForensicsError):
        return Looked()
    if decoded.pixels is None:
        return Looked()
    shape = _shape(decoded.width, decoded.height)
    frame = _frame(decoded.pixels, shape)

    @cache
    def pointed() -> FloatArray | None:
        return _pointed(decoded.pixels, shape, plan.limit(_POINTS)) if plan.network else None  # type: ignore[arg-type]  # not None: above

    if not plan.marks:
        return Looked(frame=frame, pointed=pointed())
    luminance = np.asarray(frame / np.float32(255), np.float32)
    seen = []
    for number, (wanted, mark) in enumerate(plan.marks):
        if wanted != shape:
            continue
        there = find_mark(luminance, mark)
        limit, _ = plan.limit_of(mark)
        if there.share < plan.limit(_SHARE) or there.z < least_z(mark, limit, pointed=True):
            continue
        least = least_z(mark, limit, pointed=pointed() is not None)
        if there.z < least:
            continue
        mask = mark_mask(luminance, mark, there, z=limit, own=pointed())
        seen.append(
            _Seen(
                mark=number,
                share=there.share,
                z=there.z,
                least=least,
                box=_box(mask, decoded.width, decoded.height),
                mask=_png(mask),
                picture=encode_preview(decoded.pixels, long_side=PICTURE_SIDE),
            )
        )
    return Looked(seen=seen)


@cache
def _network() -> MarkModel:
    from forensics.detect.watermark.network import MarkModel

    return MarkModel(threads=1)  # the workers are the parallelism


def _pointed(pixels: UInt8Array, shape: tuple[int, int], least: float) -> FloatArray | None:
    """Return where the network sees a mark, in the frame; None where its score is below ``least``."""
    import cv2

    opinion = _network().look(pixels)
    if opinion.score < least:
        return None
    made: FloatArray = cv2.resize(opinion.mask, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return made


def _sample(work: Path, size: int) -> list[Examined]:
    """Return the images whose hashes are smallest, in the order of the source; equal bytes once."""
    kept: list[tuple[int, int, Examined]] = []
    held: set[str] = set()
    for number, image in enumerate(examined(work)):
        if image.state not in ("ok", "degraded") or image.sha256 in held:
            continue
        rank = -int(image.sha256[:16], 16)
        if len(kept) < size:
            heapq.heappush(kept, (rank, number, image))
            held.add(image.sha256)
        elif rank > kept[0][0]:
            held.add(image.sha256)
            held.discard(heapq.heappushpop(kept, (rank, number, image))[2].sha256)
    return [image for _, _, image in sorted(kept, key=lambda entry: entry[1])]


def _frames(
    records: Sequence[Record], shape: tuple[int, int], plan: Looking, workers: int, progress: Progress | None
) -> tuple[list[UInt8Array], list[FloatArray | None]]:
    frames: list[UInt8Array] = []
    masks: list[FloatArray | None] = []
    pool = WorkerPool("forensics.flows.shared_marks:look", init=plan, workers=workers, timeout=_TIMEOUT_SECONDS)
    with pool:
        for done, result in enumerate(pool.imap(records, window=4 * max(workers, 1)), 1):
            if progress is not None:
                progress("compare", done, len(records))
            looked = result.value if isinstance(result, Success) else Looked()
            if looked.frame is not None and looked.frame.shape == shape:
                frames.append(looked.frame)
                masks.append(looked.pointed)
    return frames, masks


def _listed(work: Path, plan: Looking, workers: int, progress: Progress | None) -> tuple[Shared, ...]:
    """Look at every image for every mark; the first one found in an image is its mark."""
    labels: list[Counter[str]] = [Counter() for _ in plan.marks]
    found: list[dict[str, tuple[Examined, _Seen]]] = [{} for _ in plan.marks]
    searched = 0
    (work / "masks").mkdir(exist_ok=True)
    (work / "pictures").mkdir(exist_ok=True)
    pool = WorkerPool("forensics.flows.shared_marks:look", init=plan, workers=workers, timeout=_TIMEOUT_SECONDS)
    total = sum(1 for _ in _searchable(work))
    with pool:
        records = (image.record for image in _searchable(work))
        results = pool.imap(records, window=4 * max(workers, 1))
        for image, result in zip(_searchable(work), results, strict=True):
            searched += 1
            if progress is not None:
                progress("look for marks", searched, total)
            seen = result.value.seen if isinstance(result, Success) else []
            if not seen or any(image.sha256 in images for images in found):
                continue
            best = max(seen, key=lambda one: one.z)
            picture = picture_file(work, image.sha256)
            if not picture.is_file():
                picture.write_bytes(best.picture)
            # what is written need not be kept: a mark may be on every image of a large run
            found[best.mark][image.sha256] = (image, replace(best, picture=b""))
            labels[best.mark].update({one.label for one in image.spotted if one.kind == "watermark"})
    made = [
        _shared(work, mark, images, label, searched, plan.limit_of(mark)[1])
        for (_, mark), images, label in zip(plan.marks, found, labels, strict=True)
        if images
    ]
    return tuple(sorted(made, key=lambda one: (-len(one.spotted), one.mark_id)))


def _searchable(work: Path) -> Iterator[Examined]:
    return (image for image in examined(work) if image.state in ("ok", "degraded"))


def _shared(
    work: Path,
    mark: SharedMark,
    images: Mapping[str, tuple[Examined, _Seen]],
    labels: Counter[str],
    searched: int,
    source: str,
) -> Shared:
    key = hashlib.sha256(" ".join([mark.path, *sorted(images)]).encode()).hexdigest()[:12]
    named = labels.most_common(1)
    label = named[0][0] if named and 2 * named[0][1] > len(images) else UNKNOWN
    share = len(images) / max(searched, 1)
    spotted = {}
    for sha256, (_, seen) in images.items():
        one = Spotted(
            finding_id=finding_id(
                query_sha256=sha256,
                reference_sha256=None,
                kind="watermark",
                label=label,
                region=Region(query_box=seen.box),
            ),
            detector="shared marks",
            kind="watermark",
            label=label,
            # between 0 and 1 as other findings' scores, so that they can stand in one order; 0.5 is the threshold
            score=seen.z / (seen.z + seen.least),
            threshold=0.5,
            threshold_source=f"half is {seen.least:.3g} standard deviations; {source}",
            box=seen.box,
            mask=True,
            measurements={"shared_mark": f"m-{key}", "shared_mark_share": seen.share, "shared_mark_z": seen.z},
            reasons=(
                f"{len(images)} of the {searched} images of this batch bear the same mark "
                f"{'at the same place' if mark.path == 'fixed' else 'at different places'}; here it is "
                f"{100 * seen.share:.0f} % as opaque as their average.",
            ),
        )
        spotted[sha256] = one
        mask_file(work, one.finding_id).write_bytes(seen.mask)
    return Shared(
        mark_id=f"m-{key}",
        path=mark.path,
        label=label,
        share=share,
        searched=searched,
        p_value=mark.p_value,
        period=mark.period,
        spotted=spotted,
        picture_png=_png(mark.fitted.picture),
    )


def _shape(width: int, height: int) -> tuple[int, int]:
    """Return (h, w) of the frame that images of these proportions are compared in."""
    step = round(math.log(max(width, 1) / max(height, 1)) / _STEP) * _STEP
    ratio = math.exp(step)
    if ratio >= 1:
        return max(16, round(FRAME_SIDE / ratio)), FRAME_SIDE
    return FRAME_SIDE, max(16, round(FRAME_SIDE * ratio))


def _frame(pixels: UInt8Array, shape: tuple[int, int]) -> UInt8Array:
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    smaller = grey.shape[0] >= shape[0]
    made = cv2.resize(grey, shape[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return np.asarray(made, np.uint8)


def _box(mask: UInt8Array, width: int, height: int) -> Box:
    """Return the box around a mask, in pixels of an image of that size."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return (0, 0, width, height)
    h, w = mask.shape
    return (
        int(columns[0] * width / w),
        int(rows[0] * height / h),
        math.ceil((columns[-1] + 1) * width / w),
        math.ceil((rows[-1] + 1) * height / h),
    )


def _png(pixels: UInt8Array) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", pixels)[1].tobytes())
