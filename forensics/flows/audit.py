"""The audit: a folder of generated images and an index of references in, a run folder with evidence out."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.embed import comparison
from forensics.flows.build import build, first_record
from forensics.flows.embedders import embedders_of
from forensics.flows.facts import case_facts, fingerprint, run_facts
from forensics.flows.index import open_index
from forensics.flows.ingest import default_workers
from forensics.flows.measure import measured_pairs
from forensics.flows.pairs import PairsInit, PicturesTask
from forensics.flows.results import AuditResult
from forensics.flows.verdicts import Verdicts
from forensics.flows.views import Effort, query_views
from forensics.images import decode
from forensics.report.redact import parse_redactions
from forensics.report.writer import ImageRow, RunWriter
from forensics.scoring import load_model
from forensics.sources import open_source
from forensics.thresholds import with_overrides
from forensics.workers import Success, WorkerPool

if TYPE_CHECKING:
    from forensics.detect import KnownMark
    from forensics.index import Index
    from forensics.sources import Source
    from forensics.thresholds import Threshold
    from forensics.types import Progress

__all__ = ["AuditOptions", "Live", "audit", "audit_source"]

WORK = ".work"
"""Beside the run's files while it is made: the queries' index and the finished verifications, so that it resumes."""

_QUERY_PART = 256
# what a kill can cost where every image takes seconds to be made, and how many wait for another to be described
_LIVE_PART = 32
_LIVE_LOOKAHEAD = 4
_PICTURE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How an audit is done: :func:`audit` says what each option means.

    ``marks`` are templates of watermarks to look for; each one found is a finding of kind ``watermark``.
    """

    effort: Effort = "standard"
    top: int = 8
    approximate: bool = False
    source_roots: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    redact: Sequence[str] = ()
    marks: Sequence[KnownMark] = ()
    case_id: str = ""
    operator: str = ""
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What is to be known of a source whose images are made while it is read.

    Attributes
    ----------
    key : str
        Stands for all that the images depend on: unfinished work on images of another key is dropped.
    facts : callable
        Returns the generator's entry in ``run.json``; called when every image is there.
    notes : callable
        Returns sentences for the report; called when every image is there.
    """

    key: str
    facts: Callable[[], Mapping[str, Any]]
    notes: Callable[[], Sequence[str]]


def audit(
    source: str | Path,
    *,
    index: str | Path,
    out: str | Path,
    effort: Effort = "standard",
    top: int = 8,
    approximate: bool = False,
    path_column: str | None = None,
    source_roots: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    redact: Sequence[str] = (),
    case_id: str = "",
    operator: str = "",
    workers: int | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Find which images of ``source`` are copies of images in ``index``, and write the evidence to ``out``.

    Parameters
    ----------
    source : path
        The generated images: a folder, a CSV or parquet list, a tar, a folder of tars, an img2dataset output.
    index : path
        A reference index made by :func:`forensics.build_index`.
    out : path
        Run folder. An earlier run there is replaced once this one is complete; its reviews are kept.
    effort : {"fast", "standard"}
        How many views of each query are searched.
    top : int
        Candidates a descriptor and query that are compared in detail.
    approximate : bool
        Let FAISS files of the index propose candidates (see ``forensics index optimize``); by default the search is
        exact. Scores are exact in both.
    path_column : str, optional
        Column with the paths, where the source is a list.
    source_roots : mapping of str to str, optional
        Old to new folder, for references that moved.
    thresholds : mapping of str to float, optional
        Other values for names of :data:`forensics.thresholds.THRESHOLDS`.
    redact : sequence of str
        Of ``faces``, ``references``, ``pixels``.
    case_id, operator : str
        Printed in the report.
    workers : int, optional
        Worker processes; the number of cores by default, 0 for none.
    progress : Progress, optional
        Called as the stages go on.

    Returns
    -------
    AuditResult

    Raises
    ------
    SourceError
        If the source is missing, empty or of no known shape.
    IndexFormatError, IntegrityError
        If the index cannot be used.
    SpecMismatchError
        If no embedder of the index is available here.
    """
    opened = open_source(Path(source), path_column=path_column)
    first_record(opened)
    return audit_source(
        opened,
        path=Path(source),
        path_column=path_column,
        index=index,
        out=Path(out),
        options=AuditOptions(
            effort=effort,
            top=top,
            approximate=approximate,
            source_roots=source_roots or {},
            thresholds=thresholds or {},
            redact=redact,
            case_id=case_id,
            operator=operator,
            workers=workers,
        ),
        progress=progress,
    )


def audit_source(
    source: Source,
    *,
    path: Path,
    index: str | Path,
    out: Path,
    options: AuditOptions,
    path_column: str | None = None,
    live: Live | None = None,
    progress: Progress | None = None,
) -> AuditResult:
    """Do what :func:`audit` does with a source that is open.

    Parameters
    ----------
    source : Source
        First read when everything else has been checked.
    path : Path
        Where it was opened.
    index, out, options, path_column, progress
        As in :func:`audit`.
    live : Live, optional
        Where the source makes its images while it is read.
    """
    started = datetime.now(UTC)
    report_progress: Progress = progress or _silent
    table = with_overrides(options.thresholds)
    hidden = parse_redactions(",".join(options.redact))
    references = open_index(index, source_roots=options.source_roots)
    embedders = embedders_of(references)
    workers = default_workers() if options.workers is None else options.workers
    clock = _Clock()
    with RunWriter(out) as writer:
        work = _work_folder(
            out,
            {
                "source": str(path.absolute()),
                "kind": source.kind,
                "index": references.fingerprint,
                "embedders": [e.spec.fingerprint for e in embedders.usable],
                "effort": options.effort,
                **({"images": live.key} if live else {}),
            },
        )
        build(
            source,
            work / "queries",
            embedders.usable,
            {e.spec.name: query_views(e.spec, options.effort) for e in embedders.usable},
            part_size=_LIVE_PART if live else _QUERY_PART,
            path=path,
            path_column=path_column,
            workers=workers,
            lookahead=max(1, min(workers, _LIVE_LOOKAHEAD)) if live else None,
            progress=lambda _, done, total: report_progress("describe", done, total),
        )
        queries = open_index(work / "queries")
        clock.lap("generate and describe" if live else "describe")
        init = PairsInit(
            queries=str(work / "queries"),
            references=str(references.directory),
            source_roots=dict(options.source_roots),
        )
        model = load_model(embedders.copy_descriptor)
        verdicts = Verdicts(writer, queries, references, model, table)
        for rows in measured_pairs(
            queries,
            references,
            init,
            top=options.top,
            approximate=options.approximate,
            compare={e.spec.name: own for e in embedders.usable if (own := comparison(e)) is not None},
            copy_descriptor=embedders.copy_descriptor,
            cache=work / "verified",
            workers=workers,
            progress=report_progress,
        ):
            verdicts.add(rows)
        clock.lap("search and verify")
        if options.marks:
            _find_marks(options.marks, queries, verdicts, table["known_mark"], report_progress)
            clock.lap("marks")
        _add_images(writer, queries)
        _add_pictures(writer, verdicts.pictures(), init, queries, references, workers, report_progress)
        clock.lap("pictures")
        case = case_facts(case_id=options.case_id, operator=options.operator, started=started)
        run = run_facts(
            source=str(path),
            source_kind=source.kind,
            index=references,
            index_path=str(index),
            embedders=embedders,
            model=model,
            thresholds=table,
            settings={
                "effort": options.effort,
                "top": options.top,
                "approximate": options.approximate,
                "redact": sorted(hidden),
                **({"known_marks": [mark.name for mark in options.marks]} if options.marks else {}),
            },
            timings=clock.laps,
        )
        notes = embedders.notes
        if live:
            notes = (*notes, *live.notes())
            run |= {"generator": live.facts(), "notes": list(notes)}
        report = writer.finish(case, run, redact=hidden)
    shutil.rmtree(work)
    return AuditResult(
        run_dir=out,
        report=report,
        states=dict(Counter(queries.image(n).state for n in range(len(queries)))) if len(queries) else {},
        findings_count=dict(verdicts.kinds),
        images_with_copy=len(verdicts.copied),
        leads_count=verdicts.leads,
        notes=notes,
    )


def _find_marks(
    marks: Sequence[KnownMark], queries: Index, verdicts: Verdicts, threshold: Threshold, progress: Progress
) -> None:
    from forensics.detect import known_marks

    for number in range(len(queries)):
        data = queries.pixels(number).data
        pixels = None if data is None else decode(data).pixels
        if pixels is not None:
            verdicts.add_marks(number, known_marks(pixels, marks, margin=threshold.value), threshold)
        progress("marks", number + 1, len(queries))


def _add_images(writer: RunWriter, queries: Index) -> None:
    for number in range(len(queries)):
        image = queries.image(number)
        writer.add_images(
            [
                ImageRow(
                    id=image.ref.id,
                    uri=image.ref.uri,
                    sha256=image.ref.sha256,
                    width=image.width,
                    height=image.height,
                    state=image.state,
                    reason=image.reason,
                    metadata=image.metadata,
                )
            ]
        )


def _add_pictures(
    writer: RunWriter,
    tasks: Sequence[PicturesTask],
    init: PairsInit,
    queries: Index,
    references: Index,
    workers: int,
    progress: Progress,
) -> None:
    with WorkerPool("forensics.flows.pairs:picture", init=init, workers=workers, timeout=_PICTURE_SECONDS) as pool:
        for done, result in enumerate(pool.imap(tasks, window=4 * max(workers, 1)), 1):
            task = result.item
            image = (queries if task.queries else references).image(task.image)
            if isinstance(result, Success) and result.value and not writer.has_picture(image.ref.sha256):
                writer.add_picture(image.ref.sha256, result.value, image.width, image.height)
            progress("pictures", done, len(tasks))


def _work_folder(out: Path, settings: Mapping[str, Any]) -> Path:
    """Return where this audit keeps unfinished work; work of another audit in the same place is dropped."""
    key = fingerprint(settings)
    work = out / WORK
    marker = work / "key"
    if work.exists() and (not marker.is_file() or marker.read_text(encoding="utf-8") != key):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    marker.write_text(key, encoding="utf-8")
    return work


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 3)
        self._last = now


def _silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
