"""The calibration of an index: the best scores that the whole audit gives to queries that show nothing of it.

The queries are pictures of the index itself, each searched without its near-duplicates (leave one out), or pictures of
a background that has nothing to do with the index. Either way they are made to look like generated images first: scaled
to the size that a generator draws and encoded anew, for detail that no generated image has would find what none finds.
Of a group of near-duplicates one is taken, so that the queries are independent.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.calibration import LEAST_QUERIES, Calibration, logit
from forensics.embed import comparison
from forensics.errors import SourceError, UsageError
from forensics.findings import decide, number
from forensics.flows.build import build
from forensics.flows.calibration_files import CALIBRATION_FOLDER, CALIBRATION_NAME, calibration_key, encode_calibration
from forensics.flows.duplicates import duplicate_rule, duplicates
from forensics.flows.embedders import AuditEmbedders, embedders_of
from forensics.flows.facts import fingerprint
from forensics.flows.index import open_index
from forensics.flows.ingest import default_workers
from forensics.flows.measure import PairRow, measured_pairs
from forensics.flows.pairs import PairsInit
from forensics.flows.views import Effort, query_views
from forensics.images import decode, encode_preview, resize
from forensics.index.groups import Duplicates, read_duplicates
from forensics.index.writer import open_writer
from forensics.report.files import read_csv
from forensics.schema import COPY_KINDS
from forensics.scoring import ScoreModel, load_model
from forensics.sources import open_source, read_bytes
from forensics.thresholds import Threshold, with_overrides

if TYPE_CHECKING:
    from forensics.index import Index
    from forensics.types import Progress, Record

__all__ = ["QUERIES", "SIDE", "CalibrationOptions", "CalibrationResult", "Pair", "calibrate"]

QUERIES = 300
"""Unrelated queries by default: the least rate of false alarms that they support is 1 in 300."""

SIDE = 256
"""Longer side in pixels to which the queries are scaled: what ruDALL-E draws."""

_WORK = ".calibration"
_QUALITY = 90
_PART = 64
_LARGEST_GROUP = 8  # a query's own near-duplicates are proposed first, and must leave room for the others
_STRONGEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationOptions:
    """How an index is calibrated; an audit must be done in the same way for the calibration to speak for it.

    Attributes
    ----------
    queries : int
        Unrelated queries, at least 50.
    effort, top, approximate, source_roots, thresholds
        As in :func:`forensics.audit`.
    background : path, optional
        Source of pictures that have nothing to do with the index; None takes the index's own, each left out in turn.
    same : path, optional
        CSV with the columns ``query`` and ``reference``: pairs that, looked at, show one picture.
    side : int
        Longer side in pixels to which the queries are scaled.
    seed : int
        Draws them.
    workers : int, optional
    """

    queries: int = QUERIES
    effort: Effort = "standard"
    top: int = 8
    approximate: bool = False
    source_roots: Mapping[str, str] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    background: Path | None = None
    same: Path | None = None
    side: int = SIDE
    seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.queries < LEAST_QUERIES:
            raise UsageError(f"{self.queries} queries given, {LEAST_QUERIES} or more accepted")
        if self.side < 32:
            raise UsageError(f"queries of {self.side} px given, 32 or more accepted")
        if self.seed < 0:
            raise UsageError(f"seed {self.seed} given, 0 or more accepted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A query and a reference by their ids, with the belief that the one is a copy of the other."""

    query: str
    reference: str
    belief: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """What was measured.

    Attributes
    ----------
    calibration : Calibration
    file : Path
        Where the index keeps it.
    duplicates : Duplicates
        The near-duplicates among the references.
    left_out : tuple of Pair
        Pairs that were left out because they are near-duplicates and stand in no common group.
    strongest : tuple of Pair
        The unrelated pairs that scored highest: whoever relies on the calibration looks at them.
    unusable : mapping of str to int
        Why pictures could not be queries, and how many.
    notes : tuple of str
        On embedders that did not run.
    """

    calibration: Calibration
    file: Path
    duplicates: Duplicates
    left_out: tuple[Pair, ...]
    strongest: tuple[Pair, ...]
    unusable: Mapping[str, int]
    notes: tuple[str, ...]


def calibrate(
    directory: Path | str, options: CalibrationOptions | None = None, *, progress: Progress | None = None
) -> CalibrationResult:
    """Measure the best scores of unrelated queries against an index, and keep them in it.

    Interrupted, the same call goes on where it was. An earlier calibration is replaced.

    Parameters
    ----------
    directory : path
        A finished index.
    options : CalibrationOptions, optional
    progress : Progress, optional

    Raises
    ------
    UsageError
        If fewer than 50 queries are left, or the index was changed meanwhile.
    SpecMismatchError
        If no embedder of the index is available here.
    """
    chosen = options or CalibrationOptions()
    report: Progress = progress or _silent
    index = open_index(directory, source_roots=chosen.source_roots)
    table = with_overrides(chosen.thresholds)
    embedders = embedders_of(index)
    model = load_model(embedders.copy_descriptor)
    key = calibration_key(
        index, embedders.usable, model, table, effort=chosen.effort, top=chosen.top, approximate=chosen.approximate
    )
    groups = read_duplicates(index) or duplicates(directory, thresholds=chosen.thresholds, progress=report).found
    same = _same(chosen.same)
    work = _work_folder(index.directory, key, chosen)
    names, unusable = _draw(index, groups, chosen, work / "pictures", report)
    best, strongest, left_out = _best_scores(
        index, embedders, model, table, groups, names, same, options=chosen, work=work, progress=report
    )
    calibration = Calibration([logit(value) for value in best], key=key, population=_population(chosen))
    facts = {
        "settings": {"queries": chosen.queries, "side": chosen.side, "seed": chosen.seed, "quality": _QUALITY},
        "groups": len(groups.groups),
        "images_in_groups": groups.images,
        "left_out": [[pair.query, pair.reference] for pair in left_out],
        "strongest": [[pair.query, pair.reference, round(pair.belief, 6)] for pair in strongest],
        "unusable": dict(unusable),
    }
    with open_writer(index.directory) as writer:
        if open_index(directory).fingerprint != index.fingerprint:
            raise UsageError(f"the index {directory} was changed while it was calibrated; run the command again")
        file = writer.seal(CALIBRATION_FOLDER, CALIBRATION_NAME, ".json", encode_calibration(calibration, facts))
    shutil.rmtree(work)
    return CalibrationResult(
        calibration=calibration,
        file=file,
        duplicates=groups,
        left_out=left_out,
        strongest=strongest,
        unusable=unusable,
        notes=embedders.notes,
    )


def _population(options: CalibrationOptions) -> str:
    made = f"scaled to {options.side} px and encoded anew"
    if options.background is None:
        return f"pictures of the index itself, each searched without its near-duplicates, {made}"
    return f"pictures of the background {options.background.name}, {made}"


def _draw(
    index: Index, groups: Duplicates, options: CalibrationOptions, folder: Path, progress: Progress
) -> tuple[dict[str, tuple[str, int]], Counter[str]]:
    """Write the queries as files; return file name → (id, number in the index or -1), and why others are none."""
    listing = folder.with_suffix(".json")
    if listing.is_file():
        kept = json.loads(listing.read_text(encoding="utf-8"))
        return {name: (str(i), int(n)) for name, (i, n) in kept["names"].items()}, Counter(kept["unusable"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    names: dict[str, tuple[str, int]] = {}
    unusable: Counter[str] = Counter()
    pictures = _own(index, groups, options, unusable) if options.background is None else _others(options)
    for identifier, place, data in pictures:
        if len(names) == options.queries:
            break
        pixels = None if data is None else decode(data, need=2 * options.side).pixels
        if pixels is None:
            unusable["could not be read"] += 1
            continue
        name = f"{len(names):06d}.jpg"
        (folder / name).write_bytes(as_drawn(pixels, options.side))
        names[name] = identifier, place
        progress("draw queries", len(names), options.queries)
    if len(names) < LEAST_QUERIES:
        raise UsageError(
            f"{len(names)} pictures can be unrelated queries, {LEAST_QUERIES} are needed: "
            + (
                "name a source of unrelated pictures with --background"
                if options.background is None
                else f"{options.background} has too few that can be read"
            )
        )
    listing.write_text(json.dumps({"names": names, "unusable": unusable}), encoding="utf-8")
    return names, unusable


def as_drawn(pixels: Any, side: int) -> bytes:
    """Return a picture as a generator would hand it over: its longer side scaled to ``side`` px, a new JPEG."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    scaled = resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))
    return encode_preview(scaled, long_side=side, quality=_QUALITY)


def _own(
    index: Index, groups: Duplicates, options: CalibrationOptions, unusable: Counter[str]
) -> Iterator[tuple[str, int, bytes | None]]:
    """Yield references in random order, of each group of near-duplicates one; large groups are counted as unusable."""
    seen: set[int] = set()
    for place in np.random.default_rng(options.seed).permutation(len(index)):
        image = int(place)
        group = groups.group_of(image)
        if index.removed[image] or group[0] in seen or index.image(image).state not in ("ok", "degraded"):
            continue
        seen.add(group[0])
        if len(group) > _LARGEST_GROUP:
            unusable[f"in a group of more than {_LARGEST_GROUP} near-duplicates"] += 1
            continue
        yield index.image(image).ref.id, image, index.pixels(image).data


def _others(options: CalibrationOptions) -> Iterator[tuple[str, int, bytes | None]]:
    """Yield the background's pictures in random order."""
    source = open_source(Path(options.background or ""))
    records: list[Record] = list(source.records())
    for place in np.random.default_rng(options.seed).permutation(len(records)):
        record = records[int(place)]
        try:
            data: bytes | None = read_bytes(record.uri, source.root)
        except (OSError, SourceError):
            data = None
        yield record.id, -1, data


def _best_scores(
    index: Index,
    embedders: AuditEmbedders,
    model: ScoreModel,
    table: Mapping[str, Threshold],
    groups: Duplicates,
    names: Mapping[str, tuple[str, int]],
    same: frozenset[tuple[str, str]],
    *,
    options: CalibrationOptions,
    work: Path,
    progress: Progress,
) -> tuple[list[float], tuple[Pair, ...], tuple[Pair, ...]]:
    """Audit the queries; return each one's best belief that could be a finding, the strongest pairs, those left out."""
    workers = default_workers() if options.workers is None else options.workers
    build(
        open_source(work / "pictures"),
        work / "queries",
        embedders.usable,
        {e.spec.name: query_views(e.spec, options.effort) for e in embedders.usable},
        part_size=_PART,
        workers=workers,
        progress=lambda _, done, total: progress("describe", done, total),
    )
    queries = open_index(work / "queries")
    own = {n: names[queries.image(n).ref.id] for n in range(len(queries)) if queries.image(n).state == "ok"}
    largest = max((groups.size_of(place) for _, place in own.values() if place >= 0), default=0)
    rule = duplicate_rule(index, options.thresholds).at_least
    anything = {**table, "belief": replace(table["belief"], value=0.0)}
    best: dict[int, float] = dict.fromkeys(own, 0.0)
    nearest: dict[int, str] = {}
    left_out: list[Pair] = []
    init = PairsInit(
        queries=str(work / "queries"), references=str(index.directory), source_roots=dict(options.source_roots)
    )
    for rows in measured_pairs(
        queries,
        index,
        init,
        top=options.top + largest,
        approximate=options.approximate,
        compare={e.spec.name: c for e in embedders.usable if (c := comparison(e)) is not None},
        copy_descriptor=embedders.copy_descriptor,
        cache=work / "verified",
        workers=workers,
        progress=progress,
    ):
        for row in rows:
            if row.query not in own:
                continue
            identifier, place = own[row.query]
            if place >= 0 and row.reference in groups.group_of(place):
                continue
            reference = index.image(row.reference).ref.id
            verdict = decide(row.measurements, model=model, thresholds=anything, unverified=row.verification.reason)
            if _alike(row, rule, embedders.copy_descriptor, table) or (identifier, reference) in same:
                left_out.append(Pair(query=identifier, reference=reference, belief=verdict.belief))
            elif verdict.kind in COPY_KINDS and verdict.belief > best[row.query]:
                best[row.query], nearest[row.query] = verdict.belief, reference
    ranked = sorted(nearest, key=lambda query: -best[query])[:_STRONGEST]
    strongest = tuple(Pair(query=own[q][0], reference=nearest[q], belief=best[q]) for q in ranked)
    return list(best.values()), strongest, tuple(left_out)


def _alike(
    row: PairRow, rule: Mapping[str, float], copy_descriptor: str | None, table: Mapping[str, Threshold]
) -> bool:
    """Tell whether a pair is one of near-duplicates, by the same rule that groups references."""
    for name, bound in rule.items():
        if name == copy_descriptor:
            if number(row.measurements, "sscd_whole") >= bound:
                return True
        elif number(row.measurements, name) >= bound:
            detailed = number(row.measurements, "pdq_quality") >= table["quality_pdq"].value
            if name != "pdq" or detailed:
                return True
    return False


def _same(path: Path | None) -> frozenset[tuple[str, str]]:
    if path is None:
        return frozenset()
    rows: Sequence[Mapping[str, str]] = read_csv(path, ("query", "reference"))
    return frozenset((row["query"], row["reference"]) for row in rows)


def _work_folder(directory: Path, key: Mapping[str, Any], options: CalibrationOptions) -> Path:
    """Return where unfinished work lies; that of another calibration is dropped."""
    background = "" if options.background is None else str(options.background.absolute())
    stamp = fingerprint({**key, "background": background, "queries": options.queries, "side": options.side,
                         "seed": options.seed})  # fmt: skip
    work = directory / _WORK
    marker = work / "key"
    if work.exists() and (not marker.is_file() or marker.read_text(encoding="utf-8") != stamp):
        shutil.rmtree(work)
    work.mkdir(exist_ok=True)
    marker.write_text(stamp, encoding="utf-8")
    return work


def _silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
