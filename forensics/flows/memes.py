"""Meme templates: an index of them, made and listed; and a source of images searched for them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.detect.meme import is_plain
from forensics.detect.meme_match import HASH_VIEWS, LAYOUT_VIEWS, VECTOR_VIEWS, QueryRows, TemplateRows
from forensics.embed import create, default_embedders
from forensics.errors import UsageError
from forensics.flows.build import BuildResult, add, build
from forensics.flows.detect import DetectOptions, DetectResult, detect_source
from forensics.flows.detectors import MEME_THRESHOLDS, DetectorSpec
from forensics.flows.embedders import embedders_of
from forensics.flows.index import open_index
from forensics.flows.meme_index import (
    CALIBRATION,
    PREVIEW,
    caption_reader,
    check_templates,
    open_detector,
    open_templates,
    stored_thresholds,
    template_name,
    template_rows,
    thresholds_sha256,
)
from forensics.images import decode
from forensics.index.storage import sync_folder, write_atomically
from forensics.index.writer import is_index, open_writer
from forensics.sources import open_source
from forensics.thresholds import THRESHOLDS, with_overrides

if TYPE_CHECKING:
    from forensics.types import Progress, UInt8Array

__all__ = ["TemplateRow", "add_templates", "find_memes", "list_templates", "meme_detector"]

_VERSION = 1
_SAME_PICTURE = 0.9
"""Belief from which two templates are held for one picture; neither then raises the other's threshold."""
_MOST_THRESHOLD = 0.995
_UNRELATED = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRow:
    """A template as it is listed.

    Attributes
    ----------
    name, id : str
    width, height : int
        Of its picture in pixels.
    state, reason : str
        Of its file: only ``ok`` and ``degraded`` ones are looked for.
    threshold : float or None
        Belief from which it is named; None where it is not looked for.
    note : str
        What a reader must know: the same picture as another, or too plain to be told from others.
    """

    name: str
    id: str
    width: int
    height: int
    state: str
    reason: str
    threshold: float | None
    note: str = ""


def add_templates(
    source: Path | str,
    to: Path | str,
    *,
    path_column: str | None = None,
    descriptor: str = "auto",
    calibrate: bool = True,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Add templates to an index of them, which is made where it is missing, and set every template's threshold.

    Parameters
    ----------
    source : path
        A folder, whose file names are the templates' names, or a CSV or parquet list with a column of
        :data:`forensics.flows.meme_index.NAME_COLUMNS`.
    to : path
        Index folder. It keeps a preview of each template, so that it needs the originals no more.
    path_column : str, optional
        Column with the paths, where the source is a list.
    descriptor : str
        Copy descriptor of a new index: ``auto`` takes the SSCD that is here, ``none`` none, else its name.
    calibrate : bool
        Set the thresholds; without, the program's own holds for templates that have none yet.
    workers, progress
        As in :func:`forensics.flows.build.build`.

    Raises
    ------
    SourceError
        If the source is missing or has no images.
    UsageError
        If ``to`` is an index of something else.
    """
    source, to = Path(source), Path(to)
    opened = open_source(source, path_column=path_column)
    if is_index(to):
        index = open_index(to)
        check_templates(index)
        embedders = [create(name) for name in index.specs]
        result = add(to, opened, embedders, path=source, path_column=path_column, workers=workers, progress=progress)
    else:
        chosen, notes = _descriptor(descriptor)
        names = ["layout", "phash", *([chosen] if chosen else [])]
        views = {"layout": LAYOUT_VIEWS, "phash": HASH_VIEWS}
        result = build(
            opened,
            to,
            [create(name) for name in names],
            {name: views.get(name, VECTOR_VIEWS) for name in names},
            keep_pixels=PREVIEW,
            path=source,
            path_column=path_column,
            workers=workers,
            progress=progress,
        )
        result = replace(result, notes=notes)
    if calibrate and (result.added or not (to / CALIBRATION).is_file()):
        _calibrate(to, progress)
    return result


def _descriptor(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the copy descriptor of a new index, None for none, and a note where one is missed."""
    if name == "none":
        return None, ()
    if name != "auto":
        if not name.startswith("sscd"):
            raise UsageError(
                f"descriptor {name!r} given; auto, none or the name of an SSCD is accepted, e.g. sscd-int8"
            )
        return name, ()
    defaults = default_embedders()
    found = next((known for known in defaults.names if known.startswith("sscd")), None)
    return found, () if found else (defaults.missing["sscd-int8"],)


def list_templates(directory: Path | str) -> list[TemplateRow]:
    """Return every template of an index, in the order in which they were added."""
    index = open_templates(directory)
    stored = stored_thresholds(index)
    rows = []
    for number in range(len(index)):
        image = index.image(number)
        if image.removed:
            continue
        entry = stored.get(image.ref.id, {})
        rows.append(
            TemplateRow(
                name=template_name(image.ref.id, image.metadata),
                id=image.ref.id,
                width=image.width,
                height=image.height,
                state=image.state,
                reason=image.reason,
                threshold=entry.get("threshold"),
                note=entry.get("note", ""),
            )
        )
    return rows


def meme_detector(templates: Path | str, *, thresholds: Mapping[str, float] | None = None) -> DetectorSpec:
    """Return what names the detector of an index's templates to :func:`forensics.flows.detect.detect_source`.

    Parameters
    ----------
    templates : path
        Index made by :func:`add_templates`.
    thresholds : mapping of str to float, optional
        The operator's own; names that a detector of memes has no use for are passed over.

    Raises
    ------
    UsageError, IndexFormatError
        If the folder is no index of templates.
    """
    index = open_templates(templates)
    made = thresholds_sha256(index)
    own = [f"{name}={value!r}" for name, value in (thresholds or {}).items() if name in MEME_THRESHOLDS]
    return DetectorSpec(
        factory="forensics.flows.meme_index:detector",
        arguments={
            "templates": str(Path(templates).absolute()),
            "fingerprint": f"{index.fingerprint}{made}",
            **({"thresholds": own} if own else {}),
        },
    )


def find_memes(
    source: Path | str,
    *,
    templates: Path | str,
    out: Path | str,
    thresholds: Mapping[str, float] | None = None,
    options: DetectOptions | None = None,
    progress: Progress | None = None,
) -> DetectResult:
    """Look for the templates, and for image macros of none, in every image of a source; write a run folder.

    Parameters
    ----------
    source : path
        As of an audit.
    templates : path
        Index made by :func:`add_templates`.
    thresholds : mapping of str to float, optional
        The operator's own: ``meme`` (of every template), ``image_macro``, ``geometry_log10_nfa``.
    out, options, progress
        As in :func:`forensics.flows.detect.detect_source`.

    Raises
    ------
    UsageError
        If another threshold is given, or the folder is no index of templates.
    """
    if unknown := sorted(set(thresholds or {}) - set(MEME_THRESHOLDS)):
        raise UsageError(f"threshold {unknown[0]} given; this command knows: {', '.join(MEME_THRESHOLDS)}")
    with_overrides(thresholds or {})  # a value that cannot be speaks before anything is read
    options = options or DetectOptions()
    spec = meme_detector(templates, thresholds=thresholds)
    notes = [*options.notes, *embedders_of(open_index(templates)).notes]
    if caption_reader() is None:
        notes.append(
            "Captions were not looked for, so image macros of no known template were not told from other pictures: "
            "pip install 'forensics[ocr]'"
        )
    settings = {**options.settings, "templates": str(templates)}
    return detect_source(
        source,
        detectors=[spec],
        out=out,
        options=replace(options, settings=settings, thresholds=thresholds or {}, notes=tuple(notes)),
        progress=progress,
    )


def _calibrate(directory: Path, progress: Progress | None) -> None:
    """Set every template's threshold above the belief that any unrelated picture reaches without alignment."""
    index = open_index(directory)
    made = open_detector(index, calibrated=False)
    numbers, rows = template_rows(index, embedders_of(index).copy_descriptor)
    n = len(numbers)
    ids = [index.image(int(number)).ref.id for number in numbers]
    best, notes = np.zeros(n, np.float32), [""] * n
    for k in range(n):
        beliefs = made.beliefs(_as_query(rows, k))
        for other in np.flatnonzero(beliefs >= _SAME_PICTURE):
            if other != k:
                notes[int(other)] = notes[int(other)] or f"shows the same picture as {ids[k]}"
        beliefs[(np.arange(n) == k) | (beliefs >= _SAME_PICTURE)] = 0.0
        best = np.maximum(best, beliefs)
    count = 0
    for pixels in _unrelated():
        best = np.maximum(best, made.beliefs(made.describe(pixels)))
        count += 1
        if progress is not None:
            progress("calibrate", count, _UNRELATED)
    least, margin = THRESHOLDS["meme"].value, THRESHOLDS["meme_margin"].value
    templates = {}
    for k in range(n):
        threshold = min(_MOST_THRESHOLD, max(least, float(best[k]) + margin))
        note = notes[k]
        data = index.pixels(int(numbers[k])).data
        shown = None if data is None else decode(data, need=PREVIEW).pixels
        if shown is not None and is_plain(shown):
            threshold, note = _MOST_THRESHOLD, "of one colour: there is nothing to know it by"
        if best[k] >= _SAME_PICTURE:
            note = note or "so plain that unrelated pictures look like it: it is hardly ever named"
        templates[ids[k]] = {
            "threshold": round(threshold, 4),
            "best_unrelated": round(float(best[k]), 4),
            "unrelated": n - 1 + count,
            **({"note": note} if note else {}),
        }
    text = json.dumps({"version": _VERSION, "model": made.model.source, "templates": templates}, indent=1) + "\n"
    with open_writer(directory) as writer:
        path = directory / CALIBRATION
        path.parent.mkdir(exist_ok=True)
        sha256 = write_atomically(path, text.encode())
        sync_folder(path.parent)
        calibration = {**writer.manifest.calibration, CALIBRATION: sha256}
        writer.update_manifest(replace(writer.manifest, calibration=calibration))


def _as_query(rows: TemplateRows, k: int) -> QueryRows:
    """Return a template's own whole picture as if it were an image to be searched."""
    return QueryRows(
        vectors=None if rows.vectors is None else rows.vectors[k, :1],
        layouts=rows.layouts[k, :1],
        fines=rows.fines[k, :1],
        hashes=rows.hashes[k, [0, 2]],
    )


def _unrelated() -> Iterator[UInt8Array]:
    """Yield pictures of the embedded corpus, spread evenly over it."""
    from forensics.flows.world import corpus_folder

    files = sorted((corpus_folder() / "pictures").iterdir())
    for path in files[:: max(1, len(files) // _UNRELATED)][:_UNRELATED]:
        pixels = decode(path.read_bytes()).pixels
        if pixels is not None:
            yield pixels
