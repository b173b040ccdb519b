"""What a user does with an index: build, add, look at, check, remove from, speed up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from forensics.embed import create, default_embedders
from forensics.errors import ForensicsError, UsageError
from forensics.flows.build import PART_SIZE, BuildResult, add, build
from forensics.flows.views import reference_views
from forensics.index import Index
from forensics.index.faiss_backend import build_faiss, is_exact
from forensics.index.manifest import FaissEntry, read_manifest, states_of
from forensics.index.tombstones import Tombstone
from forensics.index.writer import open_writer
from forensics.sources import open_source, read_bytes
from forensics.types import Embedder, Progress

__all__ = [
    "PART_SIZE",
    "BuildResult",
    "SourceProblem",
    "add",
    "add_source",
    "build",
    "build_index",
    "check_sources",
    "describe",
    "open_index",
    "optimize",
    "remove_images",
]

DEFAULT_HASHES = ("phash", "pdq")
PARTS_UP_TO = 20_000
"""Images up to which an index describes parts of its images where nothing else is asked for."""


def open_index(directory: Path | str, *, source_roots: Mapping[str, str] | None = None) -> Index:
    """Open an index that can also read the original files of its images.

    Parameters
    ----------
    directory : path
    source_roots : mapping of str to str
        Old root to where it lies now, for references that moved.
    """
    return Index.open(directory, source_roots=source_roots, read_bytes=read_bytes)


def build_index(
    source: Path | str,
    out: Path | str,
    *,
    hashes: Sequence[str] = DEFAULT_HASHES,
    embedders: Sequence[str] | None = None,
    keep_pixels: int = 0,
    part_size: int = PART_SIZE,
    index_type: str = "Flat",
    nprobe: int | None = None,
    path_column: str | None = None,
    parts: bool | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Build an index of reference images, or go on with a build that was interrupted.

    Parameters
    ----------
    source : path
        A folder, a CSV or parquet list, a tar, a folder of tars, an img2dataset output.
    out : path
        Index folder: new, empty, or what an interrupted build left.
    hashes, embedders : sequence of str
        Names; embedders None takes the learned ones whose weights are here.
    keep_pixels : int
        Long side of the JPEG previews kept of every image; 0 keeps none.
    part_size : int
        Images that are committed at once.
    index_type : str
        FAISS factory string; ``Flat`` is exact search and needs no FAISS file.
    nprobe : int or None
        Lists that an IVF index looks into.
    path_column : str or None
        Column with the paths, where the source is a list.
    parts : bool or None
        Also describe 3 x 3 overlapping parts of every image with the copy descriptor: small crops are then found more
        often, and the index costs ten times the passes and vectors. None does so for up to :data:`PARTS_UP_TO` images.
    workers : int or None
        Worker processes; None takes one a processor, 0 none.
    progress : Progress or None

    Returns
    -------
    BuildResult
        ``notes`` names the embedders that were left out for want of weights.
    """
    source, out = Path(source), Path(out)
    opened = open_source(source, path_column=path_column)
    chosen, notes = _embedders(hashes, embedders)
    if parts is None:
        parts = sum(1 for _ in islice(opened.records(), PARTS_UP_TO + 1)) <= PARTS_UP_TO
    result = build(
        opened,
        out,
        chosen,
        {embedder.spec.name: reference_views(embedder.spec, parts=parts) for embedder in chosen},
        part_size=part_size,
        keep_pixels=keep_pixels,
        path=source,
        path_column=path_column,
        workers=workers,
        progress=progress,
    )
    if not is_exact(index_type):
        optimize(out, index_type, nprobe=nprobe)
    return replace(result, notes=notes)


def _embedders(hashes: Sequence[str], embedders: Sequence[str] | None) -> tuple[list[Embedder], tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if embedders is None:
        defaults = default_embedders()
        embedders = [name for name in defaults.names if name not in DEFAULT_HASHES]
        notes = tuple(defaults.missing.values())
    names = list(dict.fromkeys([*hashes, *embedders]))
    if not names:
        raise UsageError("no hash and no embedder named; an index needs at least one, e.g. phash")
    return [create(name) for name in names], notes


def add_source(
    directory: Path | str,
    source: Path | str,
    *,
    path_column: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildResult:
    """Add to an index what it does not have of another source; parameters as in :func:`build_index`."""
    directory, source = Path(directory), Path(source)
    names = list(read_manifest(directory).specs)
    opened = open_source(source, path_column=path_column)
    return add(
        directory,
        opened,
        [create(name) for name in names],
        path=source,
        path_column=path_column,
        workers=workers,
        progress=progress,
    )


def optimize(
    directory: Path | str, index_type: str, *, embedders: Sequence[str] | None = None, nprobe: int | None = None
) -> dict[str, FaissEntry]:
    """Make FAISS indexes from the stored rows, in place of any there are; ``Flat`` removes them."""
    with open_writer(Path(directory)) as writer:
        return build_faiss(writer, index_type, embedders=embedders, nprobe=nprobe)


def remove_images(
    directory: Path | str, *, ids: Sequence[str] = (), sha256s: Sequence[str] = (), reason: str = ""
) -> list[Tombstone]:
    """Take images out of an index; their rows stay on disk and are never returned again.

    Parameters
    ----------
    directory : path
    ids : sequence of str
        Ids of images.
    sha256s : sequence of str
        SHA-256 (hex) of files; every image with these bytes is removed.
    reason : str
        Kept with each removed image.

    Returns
    -------
    list of Tombstone
        The images that this call removed; those that had been removed before are not among them.

    Raises
    ------
    UsageError
        If an id or SHA-256 is not in the index; nothing is removed then.
    """
    directory = Path(directory)
    if not ids and not sha256s:
        raise UsageError("nothing to remove was named; give ids or SHA-256 sums of images in the index")
    with open_writer(directory) as writer:
        index = Index.open(directory)
        wanted_ids, wanted_sums = set(ids), {value.lower() for value in sha256s}
        found: list[Tombstone] = []
        frame = index.images_frame(["id", "sha256"])
        for number, (identifier, sha256) in enumerate(zip(frame["id"], frame["sha256"], strict=True)):
            if identifier in wanted_ids or (sha256 and sha256 in wanted_sums):
                found.append(Tombstone(image=number, id=identifier, sha256=sha256, reason=reason))
        unknown = (wanted_ids - {one.id for one in found}) | (wanted_sums - {one.sha256 for one in found})
        if unknown:
            raise UsageError(
                f"not in the index {directory}: {', '.join(sorted(unknown)[:5])} ({len(unknown)} in all); nothing was "
                "removed"
            )
        new = [one for one in found if not index.removed[one.image]]
        if new:
            writer.set_tombstones([*index.tombstones, *new])
    return new


def describe(directory: Path | str) -> dict[str, Any]:
    """Return what an index holds, as plain JSON values; an unfinished index is described as far as it got."""
    index = Index.open(directory, unfinished=True)
    manifest = index.manifest
    return {
        "directory": str(index.directory),
        "complete": manifest.complete,
        "fingerprint": index.fingerprint,
        "images": len(index),
        "removed": int(index.removed.sum()),
        "states": states_of(index.parts),
        "parts": len(index.parts),
        "part_size": manifest.part_size,
        "keep_pixels": manifest.keep_pixels,
        "embedders": [
            {
                **entry.spec.to_dict(),
                "fingerprint": entry.spec.fingerprint,
                "views": [view.name for view in entry.views],
                "rows": index.row_count(entry.spec.name),
                "index_type": manifest.faiss[entry.spec.name].factory if entry.spec.name in manifest.faiss else "Flat",
                "recall_at_10": manifest.faiss[entry.spec.name].recall_at_10
                if entry.spec.name in manifest.faiss
                else 1.0,
            }
            for entry in manifest.embedders
        ],
        "sources": [
            {
                "kind": source.kind,
                "path": source.path,
                "root": source.root,
                "label": source.label,
                "state": source.state,
                "skipped": source.skipped,
                "images": sum(part.images for part in index.parts if part.source == number),
            }
            for number, source in enumerate(manifest.sources)
        ],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProblem:
    """An original file that is not what was indexed."""

    id: str
    uri: str
    kind: Literal["missing", "changed"]
    text: str


def check_sources(index: Index, *, progress: Progress | None = None) -> Iterator[SourceProblem]:
    """Read every original file again and yield those that are missing or have other bytes than were indexed.

    Images that could not be read when they were indexed, and removed ones, are left out.
    """
    for number in range(len(index)):
        image = index.image(number)
        if progress is not None:
            progress("verify originals", number + 1, len(index))
        if image.removed or not image.ref.sha256:
            continue
        try:
            data = read_bytes(image.ref.uri, index.root(image.source))
        except (OSError, ForensicsError) as error:
            text = getattr(error, "strerror", None) or str(error)
            yield SourceProblem(id=image.ref.id, uri=image.ref.uri, kind="missing", text=text)
            continue
        if hashlib.sha256(data).hexdigest() != image.ref.sha256:
            yield SourceProblem(id=image.ref.id, uri=image.ref.uri, kind="changed", text="its bytes differ")
