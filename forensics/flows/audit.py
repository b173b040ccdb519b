"""The audit: a folder of generated images and an index of references in, a run folder with evidence out."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.embed import comparison
from forensics.errors import UsageError
from forensics.flows.build import build, first_record
from forensics.flows.calibration_files import calibration_key
from forensics.flows.clock import Clock
from forensics.flows.detect import detect_indexed
from forensics.flows.detectors import choose_detectors, refuse_idle
from forensics.flows.embedders import embedders_of
from forensics.flows.facts import case_facts, fingerprint, run_facts
from forensics.flows.index import open_index
from forensics.flows.index_facts import index_facts, stated_threshold
from forensics.flows.ingest import default_workers
from forensics.flows.measure import measured_pairs
from forensics.flows.pairs import PairsInit, PicturesTask
from forensics.flows.plain import plain_note
from forensics.flows.results import AuditResult
from forensics.flows.templates import template_groups
from forensics.flows.verdicts import Verdicts
from forensics.flows.views import Effort, query_views
from forensics.report.redact import parse_redactions
from forensics.report.writer import ImageRow, RunWriter
from forensics.scoring import load_model
from forensics.sources import open_source
from forensics.thresholds import with_overrides
from forensics.workers import Success, WorkerPool

if TYPE_CHECKING:
    from forensics.flows.detectors import DetectorSpec
    from forensics.index import Index
    from forensics.sources import Source
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

    ``detectors`` look at the images beside those of ``detect``, which is none by default here.
    """

    effort: Effort = "standard"
    top: int = 8
    approximate: bool = False
    source_roots: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    false_alarms: float | None = None
    redact: Sequence[str] = ()
    detect: Sequence[str] | None = ()
    templates: str | Path | None = None
    detectors: Sequence[DetectorSpec] = ()
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
    false_alarms: float | None = None,
    detect: Sequence[str] | None = None,
    templates: str | Path | None = None,
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
    effort : {"fast", "standard", "thorough"}
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
    false_alarms : float, optional
        Set the threshold of belief so that this share of unrelated pictures passes it, e.g. 0.01; the index must be
        calibrated for it, see ``forensics index calibrate``.
    detect : sequence of str, optional
        What to look for in the images themselves, of ``watermark``, ``meme`` and ``cover``; all that are available by
        default. With ``watermark`` also for marks that many of the images share.
    templates : path, optional
        Meme templates by name, made by ``forensics memes add``; without them image macros are found and not named.
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
            false_alarms=false_alarms,
            detect=detect,
            templates=templates,
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
    chosen = choose_detectors(options.detect, thresholds=options.thresholds, templates=options.templates)
    detectors = (*chosen.specs, *options.detectors)
    discover = "watermark" in chosen.names
    refuse_idle(options.thresholds, chosen.names, templates=options.templates is not None, discover=discover)
    model = load_model(embedders.copy_descriptor)
    known = index_facts(
        references,
        calibration_key(
            references, embedders.usable, model, table, effort=options.effort, top=options.top,
            approximate=options.approximate,
        ),
    )  # fmt: skip
    if options.false_alarms is not None:
        if "belief" in options.thresholds:
            raise UsageError("both --false-alarms and --threshold belief=… given; one of them sets the threshold")
        table = stated_threshold(known, options.false_alarms, table)
    workers = default_workers() if options.workers is None else options.workers
    clock = Clock()
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
        verdicts = Verdicts(writer, queries, references, model, table, known)
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
            verdicts.add(rows, template_groups(rows, init, thresholds=table, workers=workers))
        clock.lap("search and verify")
        detector_facts: list[dict[str, Any]] = []
        if detectors:
            found = detect_indexed(
                queries,
                detectors,
                writer,
                work / "examined",
                discover=discover,
                workers=workers,
                thresholds=table,
                progress=report_progress,
            )
            verdicts.kinds.update(found.kinds)
            detector_facts = found.facts
            clock.lap("detect")
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
                **({"false_alarms": options.false_alarms} if options.false_alarms is not None else {}),
                **({"detect": list(chosen.names), "discover": discover} if detectors else {}),
            },
            timings=clock.laps,
        )
        bound, searched = table["belief"].value, verdicts.searched
        notes = (*embedders.notes, *chosen.notes, *known.summary(threshold=bound, searched=searched),
                 *plain_note(queries, table["quality_pdq"].value))  # fmt: skip
        if live:
            notes = (*notes, *live.notes())
            run |= {"generator": live.facts()}
        run |= {**known.to_dict(threshold=bound, searched=searched), "notes": list(notes)}
        if detector_facts:
            run |= {"detectors": detector_facts}
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


def _silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
