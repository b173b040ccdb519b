"""Single-image detectors over a source: images in, a run folder of marks, memes or covers out. No index is needed."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.errors import UsageError
from forensics.flows.build import first_record
from forensics.flows.clock import Clock
from forensics.flows.detectors import DetectorSpec, thresholds_in_use
from forensics.flows.examine import Examination, Examined, Spotted, examine, examined, mask_file, picture_file
from forensics.flows.facts import case_facts, detection_facts
from forensics.flows.ingest import default_workers
from forensics.flows.shared_marks import Shared, find_shared
from forensics.report.redact import parse_redactions
from forensics.report.writer import ImageRow, RunWriter
from forensics.sources import open_source
from forensics.thresholds import with_overrides
from forensics.types import Finding, ImageRef, Record

if TYPE_CHECKING:
    from forensics.index import Index
    from forensics.sources import Source
    from forensics.thresholds import Threshold
    from forensics.types import Detector, Progress

__all__ = [
    "DetectOptions",
    "DetectResult",
    "Detected",
    "DetectorSpec",
    "add_findings",
    "detect_indexed",
    "detect_source",
]

WORK = ".work"
"""Beside the run's files while it is made: what was examined so far, so that a killed run goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectOptions:
    """How a run of detectors is done.

    Attributes
    ----------
    discover : bool
        Also look for marks that many images of the batch share.
    path_column : str or None
        Column with the paths, where the source is a list.
    redact : sequence of str
        Of ``faces``, ``references``, ``pixels``.
    thresholds : mapping of str to float
        The operator's own, for names of :data:`forensics.thresholds.THRESHOLDS`: what the report states, and what holds
        for shared marks. A detector is told its own in its spec.
    settings : mapping
        Further plain values for ``run.json``: what the caller was asked for.
    notes : sequence of str
        Sentences for the report's head.
    case_id, operator : str
        Printed in the report.
    workers : int or None
        Worker processes; the number of cores by default, 0 for none.
    """

    discover: bool = False
    path_column: str | None = None
    redact: Sequence[str] = ()
    thresholds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    case_id: str = ""
    operator: str = ""
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectResult:
    """A finished run.

    Attributes
    ----------
    run_dir, report : Path
        The run folder and its ``report.html``.
    states : mapping of str to int
        Input files by how they ended; they sum to the number of inputs.
    findings_count : mapping of str to int
        Findings by kind.
    labels : mapping of str to int
        Findings by label, most frequent first.
    images_with_finding : int
    shared : tuple of Shared
        The marks that images of this batch share.
    notes : tuple of str
    """

    run_dir: Path
    report: Path
    states: Mapping[str, int]
    findings_count: Mapping[str, int]
    labels: Mapping[str, int]
    images_with_finding: int
    shared: tuple[Shared, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return what every command of detectors prints as JSON: plain values."""
        return {
            "run": str(self.run_dir),
            "report": str(self.report),
            "states": dict(self.states),
            "findings": dict(self.findings_count),
            "labels": dict(self.labels),
        }


def detect_source(
    source: str | Path | Source,
    *,
    detectors: Sequence[DetectorSpec],
    out: str | Path,
    path: Path | None = None,
    options: DetectOptions | None = None,
    progress: Progress | None = None,
) -> DetectResult:
    """Look at every image of ``source`` with every detector, and write what was found to the run folder ``out``.

    Parameters
    ----------
    source : path or Source
        A folder, a CSV or parquet list, a tar, a folder of tars, an img2dataset output; or one that is open.
    detectors : sequence of DetectorSpec
        At least one, unless shared marks are looked for.
    out : path
        Run folder, as of an audit (``docs/formats.md``). An earlier run there is replaced once this one is complete;
        its reviews are kept. Run again after an interruption: images that were examined are not examined twice.
    path : Path, optional
        Where an open source was opened.
    options : DetectOptions, optional
    progress : Progress, optional
        Called as the stages go on.

    Raises
    ------
    SourceError
        If the source is missing, empty or of no known shape.
    UsageError
        If no detector is given, or ``out`` holds anything that is not of a run.
    WeightsError
        If a detector's weights are missing.

    Notes
    -----
    Memory does not grow with the source, but for the rows of its findings.
    """
    options = options or DetectOptions()
    if not detectors and not options.discover:
        raise UsageError("no detector given; give at least one")
    table = with_overrides(options.thresholds)
    if isinstance(source, (str, Path)):
        path = path or Path(source)
        source = open_source(Path(source), path_column=options.path_column)
    first_record(source)
    started = datetime.now(UTC)
    hidden = parse_redactions(",".join(options.redact))
    made = [spec.make() for spec in detectors]
    workers = default_workers() if options.workers is None else options.workers
    out, clock = Path(out), Clock()
    plan = Examination(root=source.root, detectors=tuple(detectors))
    with RunWriter(out) as writer:
        work = out / WORK / "examined"
        examine(plan, source.records(), work, workers=workers, total=source.count(), progress=progress)
        clock.lap("examine")
        shared: tuple[Shared, ...] = ()
        if options.discover:
            shared = find_shared(
                work, source.root, network=_network(made), workers=workers, progress=progress, thresholds=table
            )
        clock.lap("discover")
        states: Counter[str] = Counter()
        for image in examined(work):
            states[image.state] += 1
            writer.add_images([_image_row(image)])
        kinds, labels, found_in = add_findings(writer, work, shared)
        if options.discover:
            writer.add_shared_marks((mark.row(), mark.picture_png) for mark in shared)
        clock.lap("write")
        run = detection_facts(
            source=str(path or source.root),
            source_kind=source.kind,
            detectors=[{"name": detector.name, **detector.facts} for detector in made],
            thresholds=thresholds_in_use(table, [one.name for one in made], discover=options.discover),
            settings={**options.settings, "discover": options.discover, "redact": sorted(hidden)},
            timings=clock.laps,
            notes=options.notes,
        )
        case = case_facts(case_id=options.case_id, operator=options.operator, started=started)
        report = writer.finish(case, run, redact=hidden)
    shutil.rmtree(out / WORK)
    return DetectResult(
        run_dir=out,
        report=report,
        states=dict(states),
        findings_count=dict(kinds),
        labels=dict(labels.most_common()),
        images_with_finding=found_in,
        shared=shared,
        notes=tuple(options.notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What detectors found in the images of an audit: findings by kind, and what the detectors are."""

    kinds: Counter[str]
    facts: list[dict[str, Any]]


def detect_indexed(
    queries: Index,
    detectors: Sequence[DetectorSpec],
    writer: RunWriter,
    work: Path,
    *,
    discover: bool,
    workers: int,
    thresholds: Mapping[str, Threshold] | None = None,
    progress: Progress | None = None,
) -> Detected:
    """Look with detectors at images that an audit has listed already, and hand what is found to its run writer.

    Parameters
    ----------
    queries : Index
        Of one source; images without pixels are passed over.
    detectors, discover, workers, progress
        As in :func:`detect_source`.
    thresholds : mapping of str to Threshold, optional
        Of the marks that images share; the program's own by default.
    writer : RunWriter
    work : Path
        Where unfinished work is kept.
    """
    made = [spec.make() for spec in detectors]
    root = Path(queries.manifest.sources[0].root)
    listed = (queries.image(number) for number in range(len(queries)))
    records = (
        Record(id=image.ref.id, uri=image.ref.uri, metadata=image.metadata)
        for image in listed
        if image.state in ("ok", "degraded")
    )
    plan = Examination(root=root, detectors=tuple(detectors))
    examine(plan, records, work, workers=workers, total=len(queries), progress=progress)
    shared: tuple[Shared, ...] = ()
    if discover:
        shared = find_shared(
            work, root, network=_network(made), workers=workers, progress=progress, thresholds=thresholds
        )
    kinds, _, _ = add_findings(writer, work, shared)
    if discover:
        writer.add_shared_marks((mark.row(), mark.picture_png) for mark in shared)
    return Detected(kinds=kinds, facts=[{"name": detector.name, **detector.facts} for detector in made])


def _network(detectors: Sequence[Detector]) -> bool:
    """Say whether the watermark network is among the detectors."""
    return any(detector.name == "watermark" for detector in detectors)


def add_findings(
    writer: RunWriter, work: Path, shared: Sequence[Shared] = ()
) -> tuple[Counter[str], Counter[str], int]:
    """Hand everything that was spotted to the run writer: findings, masks, pictures, and the marks that are shared.

    Parameters
    ----------
    writer : RunWriter
    work : Path
        Folder of the log, see :mod:`forensics.flows.examine`.
    shared : sequence of Shared
        A mark that images share becomes a finding of each of them in which no detector had seen one at that place.

    Returns
    -------
    (Counter, Counter, int)
        Findings by kind, findings by label, images with a finding.
    """
    searched, with_label = _counts(work)
    kinds: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    found_in = 0
    for image in examined(work):
        spotted = list(image.spotted)
        mark = next((one for one in shared if image.sha256 in one.spotted), None)
        if mark is not None and not any(one.kind == "watermark" for one in spotted):
            spotted.append(mark.spotted[image.sha256])
        for one in spotted:
            extra: dict[str, Any] = {}
            if one.kind == "watermark":
                extra["batch_share"] = with_label[one.label] / max(searched, 1)
                if mark is not None:
                    # of one agency's findings some may carry a shared mark and some not
                    extra |= {"shared_mark": mark.mark_id, "batch_share": max(extra["batch_share"], mark.share)}
            writer.add_finding(_finding(one, image, extra), query_metadata=image.record.metadata)
            if one.mask and mask_file(work, one.finding_id).is_file():
                writer.add_mask(one.finding_id, mask_file(work, one.finding_id).read_bytes())
            if one.reference is not None:
                _add_picture(writer, work, one.reference.sha256, *one.reference_size)
            kinds[one.kind] += 1
            labels[one.label] += 1
        found_in += bool(spotted)
        if spotted:
            _add_picture(writer, work, image.sha256, image.width, image.height)
    return kinds, labels, found_in


def _add_picture(writer: RunWriter, work: Path, sha256: str, width: int, height: int) -> None:
    picture = picture_file(work, sha256)
    if picture.is_file() and not writer.has_picture(sha256):
        writer.add_picture(sha256, picture.read_bytes(), width, height)


def _counts(work: Path) -> tuple[int, Counter[str]]:
    """Return how many images had pixels, and in how many each agency's mark was spotted."""
    searched = 0
    with_label: Counter[str] = Counter()
    for image in examined(work):
        searched += image.state in ("ok", "degraded")
        with_label.update({one.label for one in image.spotted if one.kind == "watermark"})
    return searched, with_label


def _finding(one: Spotted, image: Examined, extra: Mapping[str, Any]) -> Finding:
    return Finding(
        finding_id=one.finding_id,
        kind=one.kind,
        query=ImageRef(id=image.record.id, uri=image.record.uri, sha256=image.sha256),
        reference=one.reference,
        label=one.label,
        score=one.score,
        threshold=one.threshold,
        threshold_source=one.threshold_source,
        measurements={"detector": one.detector, **one.measurements, **extra},
        regions=(one.region,),
        reasons=one.reasons,
    )


def _image_row(image: Examined) -> ImageRow:
    return ImageRow(
        id=image.record.id,
        uri=image.record.uri,
        sha256=image.sha256,
        width=image.width,
        height=image.height,
        state=image.state,
        reason=image.reason,
        metadata=image.record.metadata,
    )
