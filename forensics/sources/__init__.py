"""Where images come from: folders, tables of paths, WebDataset tars and img2dataset output → records."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from forensics.errors import SourceError
from forensics.sources.base import Source
from forensics.sources.folder import FolderSource
from forensics.sources.img2dataset import Img2datasetSource, looks_like_img2dataset
from forensics.sources.table import TableSource
from forensics.sources.tar import TarSource, is_tar, refuse_compressed
from forensics.sources.uris import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KINDS", "Source", "open_source", "read_bytes"]

KINDS = ("auto", "folder", "table", "webdataset", "img2dataset")

_TABLES = (".csv", ".tsv", ".parquet")
_TAR_COMPANIONS = (".tar", ".json", ".parquet", ".txt", ".md", ".csv", ".idx", ".tsv")


def open_source(path: Path, *, kind: str = "auto", path_column: str | None = None) -> Source:
    """Open a source of images.

    Parameters
    ----------
    path : Path
        A folder; a CSV, TSV or parquet file; a tar; a folder of tars; an img2dataset output folder.
    kind : str
        One of :data:`KINDS`. ``auto`` takes a file for what its ending and first bytes say. A folder is img2dataset
        output where numbered shards have a parquet or statistics file, a WebDataset where it holds tars and nothing
        but their companions, and a plain folder otherwise.
    path_column : str, optional
        Column of a table that holds the paths; found by its name where it is not given.

    Returns
    -------
    Source
        An empty one raises at the first step of ``records()``.

    Raises
    ------
    SourceError
        If the path is missing or is none of the above.
    """
    if kind not in KINDS:
        raise SourceError(f"unknown kind of source {kind!r}; choose one of: {', '.join(KINDS)}")
    path = path.absolute()
    if not path.exists():
        raise SourceError(f"no such file or folder: {path}")
    if kind == "auto":
        kind = _detect(path)
    if path_column is not None and kind != "table":
        raise SourceError(f"a path column is for tables; {path} is opened as {kind}")
    if kind == "table":
        _require(path.is_file(), path, "a CSV, TSV or parquet file")
        return TableSource(path, path_column)
    if kind == "webdataset":
        return _open_tars(path)
    _require(path.is_dir(), path, "a folder")
    return FolderSource(path) if kind == "folder" else Img2datasetSource(path)


def _detect(path: Path) -> str:
    if path.is_file():
        if path.suffix.lower() in _TABLES:
            return "table"
        if path.suffix.lower() in (".tar", ".tgz") or ".tar." in path.name.lower() or is_tar(path):
            return "webdataset"
        raise SourceError(f"{path} is not a source: give a folder, a .csv, .tsv or .parquet file, or a .tar")
    _require(path.is_dir(), path, "a file or folder")
    try:
        if looks_like_img2dataset(path):
            return "img2dataset"
        with os.scandir(path) as entries:
            listing = [(entry.name.lower(), not entry.is_dir(follow_symlinks=False)) for entry in entries]
    except OSError as error:
        raise SourceError(f"cannot list {path}: {error.strerror or error}") from error
    tars = any(name.endswith(".tar") for name, _ in listing)
    return "webdataset" if tars and all(file and name.endswith(_TAR_COMPANIONS) for name, file in listing) else "folder"


def _open_tars(path: Path) -> TarSource:
    if path.is_file():
        refuse_compressed(path)
        _require(is_tar(path), path, "a tar file")
        return TarSource(path.parent, [os.fsencode(path.name)])
    try:
        shards = [entry for entry in path.iterdir() if entry.name.lower().endswith(".tar")]
    except OSError as error:
        raise SourceError(f"cannot list {path}: {error.strerror or error}") from error
    if not shards:
        raise SourceError(f"no .tar file in {path}: give a folder of WebDataset shards")
    for shard in shards:
        refuse_compressed(shard)
    return TarSource(path, sorted(os.fsencode(shard.name) for shard in shards))


def _require(condition: bool, path: Path, what: str) -> None:
    if not condition:
        raise SourceError(f"{path} is not {what}")
