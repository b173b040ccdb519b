"""Whether an index is what its manifest says: every byte, every count, every vector."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from forensics.errors import IndexFormatError, IntegrityError
from forensics.index.part import files_of_part, usable_rows
from forensics.index.reader import Index
from forensics.index.storage import sha256_file
from forensics.types import Progress

__all__ = ["IndexReport", "Problem", "check_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not as recorded.

    Attributes
    ----------
    name : str
        File relative to the index, or the id of an image.
    kind : {"missing", "changed", "content"}
    text : str
        One sentence.
    """

    name: str
    kind: Literal["missing", "changed", "content"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """Result of :func:`check_index`."""

    files: int
    images: int
    problems: tuple[Problem, ...]


def check_index(directory: Path, *, progress: Progress | None = None) -> IndexReport:
    """Compare every file of an index with its SHA-256, and every table and array with the recorded counts.

    Raises
    ------
    IndexFormatError, IntegrityError
        If the folder cannot be opened as an index at all.
    """
    index = Index.open(directory, unfinished=True)
    problems: list[Problem] = []
    total = len(index.parts)
    files = 0
    for part in index.parts:
        intact = True
        expected = files_of_part(part.part, index.manifest.embedders, previews=bool(index.manifest.keep_pixels))
        for name in sorted(set(expected) | set(part.files)):
            files += 1
            problem = _compare(directory, name, part.files.get(name, ""))
            if problem is not None:
                problems.append(problem)
                intact = False
        if intact:
            problems += _content(index, part.part)
        if progress is not None:
            progress("verify", part.part + 1, total)
    caches = {entry.file: entry.sha256 for entry in index.manifest.faiss.values()}
    for name, sha256 in {**caches, **index.manifest.calibration}.items():
        files += 1
        problem = _compare(directory, name, sha256)
        if problem is not None:
            problems.append(problem)
    return IndexReport(files=files, images=len(index), problems=tuple(problems))


def _compare(directory: Path, name: str, sha256: str) -> Problem | None:
    path = directory / name
    if not path.is_file():
        return Problem(name=name, kind="missing", text=f"{name} is missing")
    if sha256_file(path) != sha256:
        return Problem(name=name, kind="changed", text=f"{name} is not what was written (SHA-256 differs)")
    return None


def _content(index: Index, part: int) -> Iterator[Problem]:
    entry = index.parts[part]
    name = f"images/part-{part:05d}.parquet"
    try:
        if len(index.ids(part)) != entry.images:
            yield Problem(name=name, kind="content", text=f"{name} has {len(index.ids(part))} rows, not {entry.images}")
        for embedder, spec in index.specs.items():
            data = index.part_data(embedder, part)
            rows = index.rows_frame(embedder, part)
            image = rows["image"].to_numpy() - entry.first
            if (
                len(rows) != len(data)
                or (np.diff(image) < 0).any()
                or not ((image >= 0) & (image < entry.images)).all()
            ):
                text = f"rows of {embedder} in part {part} do not fit its images"
                yield Problem(name=name, kind="content", text=text)
            bad = int((~usable_rows(spec, data)).sum())
            if bad:
                text = f"{bad} vectors of {embedder} in part {part} are NaN or zero"
                yield Problem(name=name, kind="content", text=text)
    except (IntegrityError, IndexFormatError) as error:
        yield Problem(name=name, kind="content", text=str(error))
