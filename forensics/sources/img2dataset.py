"""What img2dataset writes: shards of downloaded images, each with a parquet of where they came from."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import TYPE_CHECKING, Any

from forensics.errors import SourceError
from forensics.sources.metadata import clean
from forensics.sources.tar import SIDECARS, add_sidecar, shard_records
from forensics.sources.uris import display, file_uri
from forensics.types import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Img2datasetSource", "looks_like_img2dataset"]

_log = logging.getLogger(__name__)

_SHARD = re.compile(r"\d{5,}")
_SIDECAR_BYTES = 1 << 20
# Bookkeeping of the download, of no meaning for an image that arrived.
_DROPPED = frozenset(("key", "status", "error_message"))


def looks_like_img2dataset(folder: Path) -> bool:
    """Tell whether a folder holds numbered shards (tars or folders) with a parquet or statistics file each."""
    return any(_has_sidecar(folder, name) for name in _shards(folder))


class Img2datasetSource:
    """The output folder of img2dataset, in its ``webdataset`` (tars) or ``files`` (folders) format.

    The shard's parquet is joined by key: ``url`` becomes ``source_url`` (and its host ``domain``), all further columns
    are kept. Rows whose download failed have no image and are no records. Memory: one shard's parquet.
    """

    kind = "img2dataset"

    def __init__(self, root: Path) -> None:
        self.root = root

    def records(self) -> Iterator[Record]:
        """Yield one record an image, shard by shard."""
        empty = True
        for shard in _shards(self.root):
            rows = _rows(self.root / f"{shard}.parquet")
            found = _tar_or_folder(self.root, shard, rows)
            for record in found:
                empty = False
                yield record
        if empty:
            raise SourceError(f"no image in the shards of {self.root}: give a finished img2dataset output folder")

    def count(self) -> int | None:
        """Return the number of successful downloads that the shards' statistics state; None where one is missing."""
        total = 0
        for shard in _shards(self.root):
            try:
                total += int(json.loads((self.root / f"{shard}_stats.json").read_bytes())["successes"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return total


def _shards(folder: Path) -> list[str]:
    names = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            stem = entry.name.removesuffix(".tar")
            if _SHARD.fullmatch(stem) and (entry.name.endswith(".tar") or entry.is_dir(follow_symlinks=False)):
                names.add(stem)
    return sorted(names)


def _has_sidecar(folder: Path, shard: str) -> bool:
    return (folder / f"{shard}.parquet").is_file() or (folder / f"{shard}_stats.json").is_file()


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    """Read a shard's parquet as key → fields; a shard that was not finished has none."""
    if not path.is_file():
        return {}
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:  # as a killed download leaves it; the images are there all the same
        _log.warning("%s cannot be read, its columns are missing from the records: %s", path, error)
        return {}
    return {
        str(row["key"]): {name: value for name, value in row.items() if name not in _DROPPED}
        for row in rows
        if row.get("key") is not None
    }


def _tar_or_folder(root: Path, shard: str, rows: dict[str, dict[str, Any]]) -> Iterator[Record]:
    if (root / f"{shard}.tar").is_file():
        return shard_records(root, f"{shard}.tar".encode(), rows.get)
    return _files(root, shard, rows)


def _files(root: Path, shard: str, rows: dict[str, dict[str, Any]]) -> Iterator[Record]:
    """Yield the records of a shard that is a folder of files."""
    folder = root / shard
    for name in sorted(os.fsencode(path.name) for path in folder.iterdir()):
        relative = os.fsencode(shard) + b"/" + name
        key, _, extension = os.fsdecode(name).partition(".")
        if extension in SIDECARS:
            continue
        fields = dict(rows.get(key, {}))
        sidecars: dict[str, Any] = {}
        for kind in sorted(SIDECARS):
            path = folder / f"{key}.{kind}"
            if path.is_file() and path.stat().st_size <= _SIDECAR_BYTES:
                add_sidecar(sidecars, kind, path.read_bytes())
        known = {field.lower() for field in fields}
        fields.update({field: value for field, value in sidecars.items() if field.lower() not in known})
        yield Record(id=display(relative), uri=file_uri(relative), metadata=clean(fields))
