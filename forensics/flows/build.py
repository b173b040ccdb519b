"""Building an index and adding to it: list, read and decode in workers, embed, commit part by part; resumable."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from forensics.errors import IndexFormatError, SourceError, UsageError
from forensics.flows.collect import PartCollector
from forensics.flows.ingest import Ingestion, ViewPlan, default_workers, ingest
from forensics.flows.views import WHOLE
from forensics.index import Index
from forensics.index.known import KnownFiles
from forensics.index.manifest import (
    EmbedderEntry,
    Manifest,
    SourceEntry,
    check_specs,
    folder_name,
    read_manifest,
    read_parts,
    states_of,
)
from forensics.index.writer import IndexWriter, create_index, is_index, open_writer
from forensics.sources import Source
from forensics.types import Embedder, Progress, Record

__all__ = ["PART_SIZE", "BuildResult", "add", "build", "first_record", "whole_views"]

PART_SIZE = 1024
"""Records a part: what a kill can cost, and what is held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildResult:
    """What a build or an addition did.

    Attributes
    ----------
    directory : Path
    states : mapping of str to int
        Images of the whole index by state.
    added : int
        Images added by this call.
    resumed : int
        Images of this source that an interrupted run had already added.
    skipped : int
        Records left out because the index already has them.
    already_complete : bool
        There was nothing left to do.
    notes : tuple of str
        Sentences for whoever reads the result, e.g. on embedders that could not run.
    """

    directory: Path
    states: Mapping[str, int]
    added: int = 0
    resumed: int = 0
    skipped: int = 0
    already_complete: bool = False
    notes: tuple[str, ...] = ()

    @property
    def unreadable(self) -> int:
        """Images without descriptors in the whole index."""
        return self.states["rejected"] + self.states["error"]


def whole_views(embedders: Sequence[Embedder]) -> ViewPlan:
    """Return the plan of references: every embedder sees every image once, whole."""
    return {embedder.spec.name: (WHOLE,) for embedder in embedders}


def build(
    source: Source,
    out: Path,
    embedders: Sequence[Embedder],
    view_plan: ViewPlan | None = None,
    *,
    part_size: int = PART_SIZE,
    keep_pixels: int = 0,
    path: Path | None = None,
    path_column: str | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    lookahead: int | None = None,
    resume: bool = True,
) -> BuildResult:
    """Build an index of a source, or go on with a build of it that was interrupted.

    Parameters
    ----------
    source : Source
    out : Path
        A new or empty folder, or the index that an interrupted build left.
    embedders : sequence of Embedder
    view_plan : ViewPlan or None
        None gives every embedder the whole image.
    part_size : int
        Records that are committed at once.
    keep_pixels : int
        Long side of the previews in pixels; 0 keeps none.
    path : Path or None
        Where the source was opened, where that is not its root.
    path_column : str or None
        With which the source was opened.
    progress : Progress or None
    workers : int or None
        Worker processes; 0 works in this one, None takes one a processor.
    lookahead : int or None
        As in :func:`~forensics.flows.ingest.ingest`, for sources whose records come slowly.
    resume : bool
        Accept a folder that already is an index.

    Raises
    ------
    UsageError
        If the folder holds anything else.
    SourceError
        If the source has no records, or is not the one that the interrupted build read.
    SpecMismatchError, IndexFormatError
        If the index has other embedders or settings.
    """
    views = dict(view_plan or whole_views(embedders))
    entry = _source_entry(source, path, path_column)
    if is_index(out):
        if not resume:
            raise UsageError(f"{out} already holds an index; give a new folder")
        manifest = read_manifest(out)
        _check_settings(manifest, out, embedders, views, part_size, keep_pixels)
        if manifest.sources:
            _check_source(manifest, out, entry)
            if manifest.sources[0].state == "complete":
                return BuildResult(directory=out, states=_states(out), already_complete=True)
        with open_writer(out) as writer:
            number = 0 if writer.manifest.sources else writer.begin_source(entry)
            return _fill(writer, number, source, embedders, progress=progress, workers=workers, lookahead=lookahead)
    first_record(source)
    entries = [
        EmbedderEntry(spec=e.spec, folder=folder_name(e.spec.name), views=tuple(views[e.spec.name])) for e in embedders
    ]
    with create_index(out, embedders=entries, part_size=part_size, keep_pixels=keep_pixels) as writer:
        number = writer.begin_source(entry)
        return _fill(writer, number, source, embedders, progress=progress, workers=workers, lookahead=lookahead)


def add(
    directory: Path,
    source: Source,
    embedders: Sequence[Embedder],
    *,
    path: Path | None = None,
    path_column: str | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> BuildResult:
    """Add the records of a source that the index does not have yet, or go on with an addition that was interrupted.

    A record is known if a source with the same root has its uri, whatever its bytes are now; one that was removed may
    be added again. Parameters as in :func:`build`.
    """
    manifest = read_manifest(directory)
    check_specs([embedder.spec for embedder in embedders], manifest, directory)
    entry = _source_entry(source, path, path_column)
    with open_writer(directory) as writer:
        manifest = writer.manifest
        if not manifest.sources:
            raise IndexFormatError(f"the index {directory} was never begun; give the `forensics index build` command")
        number = len(manifest.sources)
        if not manifest.complete:
            number -= 1
            if number == 0 or not _same_source(manifest.sources[number], entry):
                raise IndexFormatError(
                    f"the index {directory} has an unfinished source, {manifest.sources[number].path}; finish it "
                    "first, with the command that was interrupted"
                )
        known = KnownFiles(Index.open(directory, unfinished=True), entry.root, sources=number)
        if number == len(manifest.sources):
            if all(record.uri in known for record in source.records()):
                skipped = sum(1 for _ in source.records())
                return BuildResult(
                    directory=directory, states=states_of(writer.parts), skipped=skipped, already_complete=True
                )
            label = _label(Index.open(directory), Path(entry.path))
            number = writer.begin_source(replace(entry, label=label))
        return _fill(writer, number, source, embedders, known=known, progress=progress, workers=workers)


def _fill(
    writer: IndexWriter,
    number: int,
    source: Source,
    embedders: Sequence[Embedder],
    *,
    known: KnownFiles | None = None,
    progress: Progress | None,
    workers: int | None,
    lookahead: int | None = None,
) -> BuildResult:
    """Commit the records of a source that are not committed yet, and finish it."""
    manifest = writer.manifest
    listing = _Listing(source, known)
    resumed = listing.pass_committed(writer, number)
    views = {entry.spec.name: entry.views for entry in manifest.embedders}
    plan = Ingestion(root=source.root, embedders=tuple(embedders), views=views, keep_pixels=manifest.keep_pixels)
    total, done = source.count(), resumed
    label = f"{manifest.sources[number].label}/" if manifest.sources[number].label else ""
    workers = default_workers() if workers is None else workers
    with ingest(plan, listing, workers=workers, lookahead=lookahead) as results:
        while True:
            collector = PartCollector(embedders, label)
            for result in itertools.islice(results, manifest.part_size):
                listing.seal(result.record)
                collector.take(result)
                done += 1
                if progress is not None:
                    progress("index", done, total)
            if not collector.images:
                break
            writer.commit_part(number, collector.finish(listing.digest(), previews=bool(manifest.keep_pixels)))
    writer.finish_source(number, skipped=listing.skipped)
    states = states_of(writer.parts)
    return BuildResult(
        directory=writer.directory, states=states, added=done - resumed, resumed=resumed, skipped=listing.skipped
    )


class _Listing:
    """The records of a source that the index does not have from elsewhere, and a running hash over them."""

    def __init__(self, source: Source, known: KnownFiles | None) -> None:
        self.skipped = 0
        self._source, self._known = source, known
        self._records = self._unknown()
        self._hash = hashlib.sha256()

    def __iter__(self) -> Iterator[Record]:
        return self._records

    def _unknown(self) -> Iterator[Record]:
        for record in self._source.records():
            if self._known is not None and record.uri in self._known:
                self.skipped += 1
            else:
                yield record

    def seal(self, record: Record) -> None:
        """Take a record into the running hash."""
        self._hash.update(f"{record.id}\0{record.uri}\n".encode("utf-8", "surrogatepass"))

    def digest(self) -> str:
        return self._hash.hexdigest()

    def pass_committed(self, writer: IndexWriter, number: int) -> int:
        """Step over the records of committed parts, and check that they are still the same ones."""
        passed = 0
        for part in writer.parts:
            if part.source != number:
                continue
            for record in itertools.islice(self._records, part.images):
                self.seal(record)
                passed += 1
            if self.digest() != part.listing:
                raise SourceError(
                    f"{self._source.root} no longer lists the files that the interrupted run had read (up to number "
                    f"{passed}); restore them, or build a new index"
                )
        return passed


def _source_entry(source: Source, path: Path | None, path_column: str | None) -> SourceEntry:
    return SourceEntry(
        kind=source.kind,
        path=str((path or source.root).absolute()),
        root=str(source.root.absolute()),
        path_column=path_column,
    )


def _same_source(stored: SourceEntry, given: SourceEntry) -> bool:
    return (stored.kind, stored.path, stored.root, stored.path_column) == (
        given.kind,
        given.path,
        given.root,
        given.path_column,
    )


def _check_source(manifest: Manifest, out: Path, given: SourceEntry) -> None:
    stored = manifest.sources[0]
    if not _same_source(stored, given):
        raise SourceError(
            f"the index {out} was built from {stored.path} ({stored.kind}), {given.path} ({given.kind}) was given; to "
            f"add a source: forensics index add {out} {given.path}"
        )


def _check_settings(
    manifest: Manifest,
    out: Path,
    embedders: Sequence[Embedder],
    views: ViewPlan,
    part_size: int,
    keep_pixels: int,
) -> None:
    check_specs([embedder.spec for embedder in embedders], manifest, out)
    for entry in manifest.embedders:
        if tuple(views[entry.spec.name]) != entry.views:
            raise IndexFormatError(
                f"the index {out} was begun with other views for {entry.spec.name}; use a new folder"
            )
    for name, stored, given in (
        ("part size", manifest.part_size, part_size),
        ("kept pixels", manifest.keep_pixels, keep_pixels),
    ):
        if stored != given:
            raise IndexFormatError(
                f"the index {out} was begun with {name} {stored}, {given} was given; give {stored}, or a new folder"
            )


def first_record(source: Source) -> None:
    """Let a missing or empty source speak before a folder is made."""
    if next(iter(source.records()), None) is None:
        raise SourceError(f"no image files in {source.root}; give a folder, a table of paths or tar files")


def _states(directory: Path) -> dict[str, int]:
    parts, _ = read_parts(directory, read_manifest(directory))
    return states_of(parts)


def _label(index: Index, path: Path) -> str:
    """Return a prefix for the ids of a new source: the name of its folder, numbered where it is taken."""
    name = "".join(c if c.isprintable() and c != "/" else "_" for c in path.name) or "source"
    taken = {source.label for source in index.manifest.sources}
    first = {
        identifier.partition("/")[0] for part in index.parts if part.source == 0 for identifier in index.ids(part.part)
    }
    taken |= {folder for folder in first if folder}
    for number in itertools.count(1):
        label = name if number == 1 else f"{name}-{number}"
        if label not in taken:
            return label.encode("utf-8", "replace").decode()
    raise AssertionError  # pragma: no cover - count() does not end
