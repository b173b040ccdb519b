"""Detectors over images, in worker processes: bytes in, what was found out; a log lets a run go on where it ended.

The log is one JSON line an image, in the order of the source, appended as soon as the image is done: a run that is
killed loses what was under way and nothing that was finished. Masks and pictures lie beside it as files.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from forensics.errors import ForensicsError, SourceError, UsageError
from forensics.flows.detectors import DetectorSpec
from forensics.images import decode, encode_preview
from forensics.schema import finding_id
from forensics.sources import read_bytes
from forensics.types import Detection, Detector, FindingKind, ImageRef, Reconsiders, Record, Region
from forensics.workers import Failure, WorkerPool

if TYPE_CHECKING:
    from forensics.types import Box, ImageState, MaskArray, Point, Scalar, UInt8Array

__all__ = ["Examination", "Examined", "Spotted", "examine", "examine_one", "examined", "mask_file", "picture_file"]

PICTURE_SIDE = 512
"""Longer side in pixels of the pictures that a run folder keeps as evidence."""
MASK_SIDE = 512
"""Longer side in pixels of a stored mask, at most."""

_TIMEOUT_SECONDS = 180.0
# Detectors look at a few hundred pixels a side; a scaled decode of this shorter side keeps their small print.
_NEED = 1024
_SYNC_EVERY = 64
_LOG_VERSION = 3
"""Of the log's rows; one of another version is begun anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spotted:
    """One detection in an examined image: :class:`~forensics.types.Detection` in pixels of the full-size image.

    ``detector`` is its detector's name, ``mask`` tells whether the log's folder has a picture of the mask, under the
    finding's id. ``reference`` is the picture that was recognised, where it is one, ``reference_size`` its width and
    height; its preview lies in the log's folder, under its own SHA-256.
    """

    finding_id: str
    detector: str
    kind: FindingKind
    label: str
    score: float
    threshold: float
    threshold_source: str
    box: Box
    polygon: tuple[Point, ...] = ()
    mask: bool = False
    measurements: Mapping[str, Scalar] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    reference: ImageRef | None = None
    reference_size: tuple[int, int] = (0, 0)

    @property
    def region(self) -> Region:
        """Where it is."""
        return Region(query_box=self.box, query_polygon=self.polygon)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What became of one record, strongest detection first. ``failed`` names detectors that failed on it, and how."""

    record: Record
    sha256: str
    state: ImageState
    reason: str = ""
    width: int = 0
    height: int = 0
    spotted: tuple[Spotted, ...] = ()
    failed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What every worker needs to know: sent to each once.

    Attributes
    ----------
    root : Path
        That the records' uris are relative to.
    detectors : tuple of DetectorSpec
    """

    root: Path
    detectors: tuple[DetectorSpec, ...]

    @property
    def key(self) -> str:
        """SHA-256 over all that decides what is found: the detectors' weights and thresholds too, by their facts."""
        # made anew: weights may have changed on disk since this process first made its own
        value = [_LOG_VERSION, str(self.root), [(spec.to_dict(), dict(spec.make().facts)) for spec in self.detectors]]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """From a worker: the result, PNG masks by finding id, and JPEGs by SHA-256: of the image, of what it shows."""

    examined: Examined
    masks: Mapping[str, bytes] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def examine(
    plan: Examination,
    records: Iterable[Record],
    folder: Path,
    *,
    workers: int,
    total: int | None = None,
    progress: Any = None,
) -> int:
    """Examine the records that the log in ``folder`` does not have yet; return how many it has in the end.

    Parameters
    ----------
    plan : Examination
    records : iterable of Record
        Read lazily.
    folder : Path
        Made where it is missing; what another plan left there is dropped.
    workers : int
        Processes; 0 works in this one.
    total : int, optional
        For progress only.
    progress : Progress, optional

    Raises
    ------
    SourceError
        If the source no longer lists the images that the interrupted run had examined.
    """
    _prepare(folder, plan.key)
    listed = iter(records)
    done = 0
    for before in examined(folder):
        record = next(listed, None)
        if record is None or (record.id, record.uri) != (before.record.id, before.record.uri):
            raise SourceError(
                f"{plan.root} no longer lists the files that the interrupted run had examined (number {done + 1} was "
                f"{before.record.id}); restore them, or give a new folder"
            )
        done += 1
    rest = next(listed, None)
    if rest is None:
        return done
    (folder / "masks").mkdir(exist_ok=True)
    (folder / "pictures").mkdir(exist_ok=True)
    pool = WorkerPool("forensics.flows.examine:examine_one", init=plan, workers=workers, timeout=_TIMEOUT_SECONDS)
    with pool, (folder / _LOG).open("ab") as log:
        for result in pool.imap(itertools.chain([rest], listed), window=4 * max(workers, 1)):
            if isinstance(result, Failure):
                answer = _Answer(examined=Examined(record=result.item, sha256="", state="error", reason=result.reason))
            else:
                answer = result.value
            _keep(folder, answer, log)
            done += 1
            if done % _SYNC_EVERY == 0:
                os.fsync(log.fileno())
            if progress is not None:
                progress("examine", done, total)
        log.flush()
        os.fsync(log.fileno())
    return done


def examined(folder: Path) -> Iterator[Examined]:
    """Read the log, one image after the other, in the order of the source."""
    path = folder / _LOG
    if not path.is_file():
        return
    with path.open("rb") as log:
        for line in log:
            yield _read(json.loads(line))


def picture_file(folder: Path, sha256: str) -> Path:
    """Return where the picture of an image in which something was found, or of what it shows, lies: a JPEG."""
    return folder / "pictures" / f"{sha256}.jpg"


def mask_file(folder: Path, identifier: str) -> Path:
    """Return where the mask of a detection lies, a grey PNG."""
    return folder / "masks" / f"{identifier}.png"


_LOG = "examined.jsonl"
_KEY = "key"


def _prepare(folder: Path, key: str) -> None:
    """Keep an earlier log of the same plan, cut after its last whole line; drop any other."""
    import shutil

    marker = folder / _KEY
    if folder.exists() and (not marker.is_file() or marker.read_text("utf-8") != key):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(key, "utf-8")
    path = folder / _LOG
    if not path.is_file():
        return
    whole = 0
    with path.open("r+b") as log:
        for line in log:
            if not line.endswith(b"\n") or not _is_json(line):
                break
            whole += len(line)
        log.truncate(whole)


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _keep(folder: Path, answer: _Answer, log: IO[bytes]) -> None:
    """Write masks and picture first: a line in the log says that they are there."""
    for identifier, png in answer.masks.items():
        mask_file(folder, identifier).write_bytes(png)
    for sha256, jpeg in answer.pictures.items():
        picture_file(folder, sha256).write_bytes(jpeg)
    log.write(json.dumps(_written(answer.examined), ensure_ascii=True).encode() + b"\n")
    log.flush()


def examine_one(plan: Examination, record: Record) -> _Answer:
    """Read, decode and examine one record; nothing but detectors that cannot be made raises."""
    detectors = _detectors(plan.detectors)
    try:
        data = read_bytes(record.uri, plan.root)
    except (OSError, ForensicsError) as error:
        text = getattr(error, "strerror", None) or str(error)
        reason = f"{type(error).__name__}: {text}"
        return _Answer(examined=Examined(record=record, sha256="", state="error", reason=reason))
    sha256 = hashlib.sha256(data).hexdigest()
    decoded = decode(data, need=_NEED)
    state: ImageState = decoded.state
    reason = decoded.reason
    spotted: list[Spotted] = []
    failed: tuple[str, ...] = ()
    masks: dict[str, bytes] = {}
    pictures: dict[str, bytes] = {}
    if decoded.pixels is not None:
        height, width = decoded.pixels.shape[:2]
        scale = (decoded.width / width, decoded.height / height)
        found, broken = _found(detectors, decoded.pixels)
        for name, detections in found:
            try:
                kept = [_spotted(sha256, name, one, scale, (decoded.width, decoded.height)) for one in detections]
                drawn = {
                    spot.finding_id: _png(one.mask)
                    for spot, one in zip(kept, detections, strict=True)
                    if one.mask is not None
                }
            except Exception as error:  # noqa: BLE001 - what one detector says that cannot be told is its own failure
                broken.append(_failure(name, error))
                continue
            spotted += kept
            masks |= drawn
            shown = [one.picture for one in detections if one.picture is not None and one.picture.preview]
            pictures |= {picture.ref.sha256: picture.preview for picture in shown}
        failed = tuple(broken)
    if failed:
        state, reason = "degraded", "; ".join([*([reason] if reason else []), *failed])
    if spotted and decoded.pixels is not None:
        pictures[sha256] = encode_preview(decoded.pixels, long_side=PICTURE_SIDE)
    return _Answer(
        examined=Examined(
            record=record,
            sha256=sha256,
            state=state,
            reason=reason,
            width=decoded.width,
            height=decoded.height,
            spotted=tuple(sorted(spotted, key=lambda one: -one.score)),
            failed=failed,
        ),
        masks=masks,
        pictures=pictures,
    )


def _found(
    detectors: Sequence[tuple[str, Detector]], pixels: UInt8Array
) -> tuple[list[tuple[str, list[Detection]]], list[str]]:
    """Return what the detectors find in one image, each after what the others found, and how any of them failed."""
    found: list[list[Detection]] = []
    failed: list[str] = []
    for name, detector in detectors:
        try:
            found.append(list(detector.detect([pixels])[0]))
        except Exception as error:  # noqa: BLE001 - one odd image must never end a run
            found.append([])
            failed.append(_failure(name, error))
    for place, (name, detector) in enumerate(detectors):
        others = [one for number, those in enumerate(found) if number != place for one in those]
        if not (found[place] and others and isinstance(detector, Reconsiders)):
            continue
        try:
            again = [detector.reconsider(pixels, one, others) for one in found[place]]
            found[place] = [one for one in again if one is not None]
        except Exception as error:  # noqa: BLE001 - what it found stands as it was
            failed.append(_failure(name, error))
    return [(name, those) for (name, _), those in zip(detectors, found, strict=True)], failed


def _failure(name: str, error: Exception) -> str:
    return f"{name} failed: {type(error).__name__}: {' '.join(str(error).split())}"[:300]


_MADE: dict[str, tuple[tuple[str, Detector], ...]] = {}


def _detectors(specs: Sequence[DetectorSpec]) -> tuple[tuple[str, Detector], ...]:
    """Return this process's detectors with their names; made once."""
    key = json.dumps([spec.to_dict() for spec in specs], sort_keys=True)
    if key not in _MADE:
        made = [spec.make() for spec in specs]
        _MADE.clear()
        _MADE[key] = tuple((detector.name, detector) for detector in made)
    return _MADE[key]


def _spotted(
    sha256: str, name: str, detection: Detection, scale: tuple[float, float], size: tuple[int, int]
) -> Spotted:
    x0, y0, x1, y1 = detection.box
    width, height = size
    box = (
        max(0, min(width, round(x0 * scale[0]))),
        max(0, min(height, round(y0 * scale[1]))),
        max(0, min(width, round(x1 * scale[0]))),
        max(0, min(height, round(y1 * scale[1]))),
    )
    polygon = tuple((float(x * scale[0]), float(y * scale[1])) for x, y in detection.polygon)
    shown = detection.picture
    identifier = finding_id(
        query_sha256=sha256,
        reference_sha256=None if shown is None else shown.ref.sha256,
        kind=detection.kind,
        label=detection.label,
        region=Region(query_box=box),
    )
    return Spotted(
        finding_id=identifier,
        detector=name,
        kind=detection.kind,
        label=detection.label,
        score=float(detection.score),
        threshold=float(detection.threshold),
        threshold_source=detection.threshold_source,
        box=box,
        polygon=polygon,
        mask=detection.mask is not None,
        measurements=dict(detection.measurements),
        reasons=tuple(detection.reasons),
        reference=None if shown is None else shown.ref,
        reference_size=(0, 0) if shown is None else (shown.width, shown.height),
    )


def _png(mask: MaskArray) -> bytes:
    import cv2
    import numpy as np

    if mask.ndim != 2 or mask.dtype != np.uint8 or not mask.size:
        raise UsageError(f"a mask of shape {mask.shape} and {mask.dtype} given, (h, w) uint8 accepted")
    height, width = mask.shape
    scale = MASK_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".png", mask)[1].tobytes())


def _written(examined: Examined) -> dict[str, Any]:
    return {
        "id": examined.record.id,
        "uri": examined.record.uri,
        "metadata": dict(examined.record.metadata),
        "sha256": examined.sha256,
        "state": examined.state,
        "reason": examined.reason,
        "width": int(examined.width),
        "height": int(examined.height),
        "failed": list(examined.failed),
        "spotted": [_plain(one) for one in examined.spotted],
    }


def _plain(one: Spotted) -> dict[str, Any]:
    from forensics.report.files import clean

    plain: dict[str, Any] = clean(asdict(one))
    return plain


def _read(line: Mapping[str, Any]) -> Examined:
    return Examined(
        record=Record(id=line["id"], uri=line["uri"], metadata=line["metadata"]),
        sha256=line["sha256"],
        state=line["state"],
        reason=line["reason"],
        width=line["width"],
        height=line["height"],
        failed=tuple(line["failed"]),
        spotted=tuple(
            Spotted(
                **{
                    **one,
                    "box": tuple(one["box"]),
                    "polygon": tuple((float(x), float(y)) for x, y in one["polygon"]),
                    "reasons": tuple(one["reasons"]),
                    "reference": ImageRef(**one["reference"]) if one["reference"] else None,
                    "reference_size": tuple(one["reference_size"]),
                }
            )
            for one in line["spotted"]
        ),
    )
