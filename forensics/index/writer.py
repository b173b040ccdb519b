"""The only way to change an index: sources are begun, parts committed, sources finished, images removed.

Order of events, each step durable before the next begins, so that a kill leaves one of three states: nothing of the
part, unreferenced files of it (cleared away when the writer is opened again), or the whole of it.

1. the part's files, each written beside its name and renamed
2. the names, by syncing their folders
3. the part's line in ``parts.jsonl``: the commit
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from forensics.errors import IndexFormatError, UsageError
from forensics.index.manifest import (
    MANIFEST_NAME,
    PARTS_NAME,
    EmbedderEntry,
    Manifest,
    PartEntry,
    SourceEntry,
    TombstonesEntry,
    append_part,
    cut_torn_line,
    read_manifest,
    read_parts,
    write_manifest,
)
from forensics.index.part import PartData, data_folder, encode_part
from forensics.index.storage import LOCK_NAME, TEMPORARY, locked, sync_folder, write_atomically
from forensics.index.tombstones import Tombstone

__all__ = ["IndexWriter", "create_index", "is_index", "open_writer"]

_log = logging.getLogger(__name__)

_SEALED = ("duplicates", "calibration")


def is_index(directory: Path) -> bool:
    """Tell whether a folder holds an index, finished or not.

    Raises
    ------
    UsageError
        If it holds something else, so that nothing of the user's is ever mixed up with an index.
    """
    if (directory / MANIFEST_NAME).is_file():
        return True
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; give a folder that is empty, new, or an index")
    if directory.is_dir():
        for entry in directory.iterdir():
            if entry.name != LOCK_NAME and entry.name != MANIFEST_NAME + TEMPORARY:
                raise UsageError(
                    f"the folder {directory} is not empty and not an index (it holds {entry.name!r}); give a new folder"
                )
    return False


@contextmanager
def create_index(
    directory: Path, *, embedders: Sequence[EmbedderEntry], part_size: int, keep_pixels: int
) -> Iterator[IndexWriter]:
    """Make an empty index and hold its write lock for as long as the block lasts."""
    if part_size < 1:
        raise UsageError(f"part size {part_size} given, 1 or more accepted")
    if keep_pixels < 0:
        raise UsageError(f"previews of {keep_pixels} pixels given, 0 (none) or more accepted")
    if not embedders:
        raise UsageError("no embedder given; an index needs at least one")
    directory.mkdir(parents=True, exist_ok=True)
    with locked(directory):
        if is_index(directory):
            raise IndexFormatError(f"another process has just made the index {directory}; run the command again")
        manifest = Manifest(part_size=part_size, keep_pixels=keep_pixels, embedders=tuple(embedders), sources=())
        yield IndexWriter(directory, manifest, [], "")


@contextmanager
def open_writer(directory: Path) -> Iterator[IndexWriter]:
    """Open an index for writing, hold its lock for as long as the block lasts, and clear away what a kill left."""
    read_manifest(directory)
    with locked(directory):
        manifest = read_manifest(directory)
        cut_torn_line(directory)
        parts, sha256 = read_parts(directory, manifest)
        writer = IndexWriter(directory, manifest, parts, sha256)
        writer.clear_leftovers()
        yield writer


class IndexWriter:
    """Changes an index while its lock is held; made by :func:`create_index` and :func:`open_writer`."""

    def __init__(self, directory: Path, manifest: Manifest, parts: list[PartEntry], parts_sha256: str) -> None:
        self.directory = directory
        self.manifest = manifest
        self.parts = parts
        self._folders: set[Path] = set()

    def begin_source(self, source: SourceEntry) -> int:
        """Add a source in the state ``building``; return its number. FAISS files no longer match and are dropped."""
        if not self.manifest.complete:
            raise IndexFormatError(f"a source of the index {self.directory} is unfinished; finish it first")
        sources = (*self.manifest.sources, replace(source, state="building"))
        self._replace(replace(self.manifest, sources=sources, faiss={}))
        return len(sources) - 1

    def commit_part(self, source: int, data: PartData) -> PartEntry:
        """Write one part and commit it."""
        number = len(self.parts)
        files = encode_part(number, source, data, self.manifest.embedders)
        digests: dict[str, str] = {}
        touched: set[Path] = set()
        for name, content in files.items():
            path = self.directory / name
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
                touched |= {folder for folder in path.parents if folder.is_relative_to(self.directory)}
            digests[name] = write_atomically(path, content)
            touched.add(path.parent)
        for folder in sorted(touched):
            sync_folder(folder)
        first = self.parts[-1].first + self.parts[-1].images if self.parts else 0
        entry = PartEntry(
            part=number,
            source=source,
            first=first,
            images=len(data.images),
            states=dict(sorted(Counter(image.state for image in data.images).items())),
            listing=data.listing,
            rows={name: len(rows.data) for name, rows in sorted(data.rows.items())},
            files=digests,
        )
        append_part(self.directory, entry)
        if number == 0:
            sync_folder(self.directory)
        self.parts.append(entry)
        return entry

    def finish_source(self, number: int, *, skipped: int = 0) -> None:
        """Mark a source complete and seal the list of parts."""
        _, sha256 = read_parts(self.directory, self.manifest)
        manifest = self.manifest.with_source(number, state="complete", skipped=skipped)
        self._replace(replace(manifest, parts_count=len(self.parts), parts_sha256=sha256))

    def set_tombstones(self, removed: Sequence[Tombstone]) -> None:
        """Replace the list of removed images; FAISS files no longer match and are dropped."""
        old = self.manifest.tombstones
        number = 1 if old is None else int(old.file.removeprefix("tombstones-").removesuffix(".json")) + 1
        name = f"tombstones-{number}.json"
        text = json.dumps([tombstone.to_dict() for tombstone in removed], indent=0, ensure_ascii=False) + "\n"
        sha256 = write_atomically(self.directory / name, text.encode("utf-8", "replace"))
        entry = TombstonesEntry(file=name, sha256=sha256, count=len(removed))
        self._replace(replace(self.manifest, tombstones=entry, faiss={}))

    def seal(self, folder: str, stem: str, suffix: str, content: bytes) -> Path:
        """Keep a file about the index (near-duplicates, a calibration) in place of the one that its folder had.

        The name holds a part of the content's SHA-256, so that the old file stays whole until the manifest names the
        new one. Returns the path.
        """
        name = f"{folder}/{stem}-{hashlib.sha256(content).hexdigest()[:12]}{suffix}"
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        digest = write_atomically(path, content)
        sync_folder(path.parent)
        sync_folder(self.directory)
        kept = {file: sha for file, sha in self.manifest.calibration.items() if not file.startswith(f"{folder}/")}
        self._replace(replace(self.manifest, calibration={**kept, name: digest}))
        self.clear_leftovers()
        return path

    def update_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest and remove the files that it no longer names."""
        self._replace(manifest)

    def clear_leftovers(self) -> None:
        """Remove files of an index's own folders that nothing refers to: a kill left them, or they were replaced."""
        known = {name for part in self.parts for name in part.files}
        known |= {entry.file for entry in self.manifest.faiss.values()}
        if self.manifest.tombstones:
            known.add(self.manifest.tombstones.file)
        known |= set(self.manifest.calibration)
        folders = [self.directory / name for name in ("images", "previews", "faiss", *_SEALED)]
        for entry in self.manifest.embedders:
            folders += [self.directory / "rows" / entry.folder, self.directory / data_folder(entry)]
        candidates = [path for folder in folders if folder.is_dir() for path in folder.iterdir()]
        candidates += self.directory.glob("tombstones-*.json")
        candidates += [self.directory / (MANIFEST_NAME + TEMPORARY), *self.directory.glob(f"tombstones-*{TEMPORARY}")]
        for path in candidates:
            if path.is_file() and path.relative_to(self.directory).as_posix() not in known:
                _log.info("removing %s: nothing refers to it", path)
                path.unlink()
        if not self.parts:
            (self.directory / PARTS_NAME).unlink(missing_ok=True)
        if not self.manifest.faiss and (self.directory / "faiss").is_dir():
            with suppress(OSError):
                (self.directory / "faiss").rmdir()

    def _replace(self, manifest: Manifest) -> None:
        stale = bool(self.manifest.faiss) or self.manifest.tombstones != manifest.tombstones
        write_manifest(self.directory, manifest)
        self.manifest = manifest
        if stale:
            self.clear_leftovers()
