"""A CSV or parquet file with a column of paths."""

from __future__ import annotations

import csv
import os
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from forensics.errors import SourceError
from forensics.sources.metadata import clean
from forensics.sources.uris import display, file_uri, lost_uri
from forensics.types import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TableSource"]

# fmt: off
_PATH_COLUMNS = (
    "path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "image_file", "img",
    "img_path", "uri", "location",
)
# fmt: on
_BATCH_ROWS = 1024
_PARQUET = b"PAR1"


class TableSource:
    """Rows of a CSV, TSV or parquet file; one column holds paths, all others become metadata.

    Paths are absolute, or relative to the table's folder. The root is that folder; where a path leads out of it, the
    deepest folder that holds the table and all paths. The table is read twice: once for that, the number of rows, and
    paths that occur twice (whose ids get the row number), then for the records. Memory: eight bytes a row.
    """

    kind = "table"

    def __init__(self, table: Path, path_column: str | None = None) -> None:
        self._table = table
        self._column = _find_column(self._columns(), path_column, table)
        self._folder = os.fsencode(table.parent)
        hashes = array("q")
        root = self._folder
        for value in self._paths():
            path = self._absolute(value)
            hashes.append(hash(path))
            if path is not None and not _below(path, root):
                root = os.path.commonpath([root, os.path.dirname(path)])  # noqa: PTH120 - bytes paths
        self._count = len(hashes)
        self._repeated = _repeated(hashes)
        self.root = Path(os.fsdecode(root))

    def records(self) -> Iterator[Record]:
        """Yield one record a row."""
        root = os.fsencode(self.root)
        number = 0
        for number, row in enumerate(self._rows(), start=1):
            path = self._absolute(row.pop(self._column, None))
            metadata = clean(row)
            if path is None:
                yield Record(id=f"row {number}", uri=lost_uri(b"", f"row {number}: no path"), metadata=metadata)
                continue
            relative = path[len(root.rstrip(b"/")) + 1 :]
            name = display(relative)
            if hash(path) in self._repeated:
                name = f"{name}#row{number}"
            yield Record(id=name, uri=file_uri(relative), metadata=metadata)
        if not number:
            raise SourceError(f"no row in {self._table}: give a table with one image path a row")

    def count(self) -> int:
        """Return the number of rows."""
        return self._count

    def _absolute(self, value: Any) -> bytes | None:
        """Return a cell's path, absolute and without ``..``; None where the cell is empty."""
        if value is None or value == "":
            return None
        raw = value if isinstance(value, bytes) else os.fsencode(str(value))
        if raw.startswith(b"file://"):
            raw = unquote_to_bytes(raw[len(b"file://") :])
        return os.path.normpath(os.path.join(self._folder, raw.replace(b"\0", b"")))  # noqa: PTH118 - bytes paths

    def _columns(self) -> list[str]:
        if self._is_parquet():
            return [str(name) for name in self._parquet().schema_arrow.names]
        with self._open() as file:
            return next(self._reader(file), [])

    def _paths(self) -> Iterator[Any]:
        if self._is_parquet():
            for batch in self._parquet().iter_batches(batch_size=_BATCH_ROWS, columns=[self._column]):
                yield from batch.column(0).to_pylist()
        else:
            for row in self._rows():
                yield row.get(self._column)

    def _rows(self) -> Iterator[dict[str, Any]]:
        if self._is_parquet():
            try:
                for batch in self._parquet().iter_batches(batch_size=_BATCH_ROWS):
                    yield from batch.to_pylist()
            except OSError as error:
                raise SourceError(f"cannot read on in {self._table}: {error}") from error
            return
        with self._open() as file:
            reader = self._reader(file)
            names: list[str] = next(reader, [])
            try:
                for cells in reader:
                    if cells:  # an empty line is no row
                        yield dict(zip(names, cells, strict=False))
            except csv.Error as error:
                raise SourceError(f"{self._table}, line {reader.line_num}: not CSV: {error}") from error

    def _is_parquet(self) -> bool:
        try:
            with self._table.open("rb") as file:
                found = file.read(4) == _PARQUET
        except OSError as error:
            raise SourceError(f"cannot read {self._table}: {error.strerror or error}") from error
        if not found and self._table.suffix.lower() == ".parquet":
            raise SourceError(f"{self._table} is no parquet file (it begins otherwise); give one, or a CSV named .csv")
        return found

    def _parquet(self) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(self._table)
        except (OSError, pa.ArrowException) as error:
            raise SourceError(f"{self._table} is not a parquet file that can be read: {error}") from error

    def _open(self) -> Any:
        # Undecodable bytes survive as surrogates, so that paths of any encoding are found again.
        return self._table.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _reader(self, file: Any) -> Any:
        head = file.readline()
        file.seek(0)
        delimiter = max(",;\t", key=head.count)
        return csv.reader(file, delimiter=delimiter, strict=False)


def _find_column(columns: list[str], wanted: str | None, table: Path) -> str:
    if wanted is not None:
        if wanted in columns:
            return wanted
        raise SourceError(f"{table} has no column {wanted!r}; it has: {', '.join(columns) or 'none'}")
    by_name = {name.strip().lower(): name for name in reversed(columns)}
    for name in _PATH_COLUMNS:
        if name in by_name:
            return by_name[name]
    raise SourceError(
        f"{table} has no column that is known to hold paths ({', '.join(_PATH_COLUMNS)}); "
        f"name it with --path-column, one of: {', '.join(columns) or 'none'}"
    )


def _below(path: bytes, root: bytes) -> bool:
    return path.startswith(root.rstrip(b"/") + b"/")


def _repeated(hashes: array[int]) -> set[int]:
    import numpy as np

    values = np.sort(np.frombuffer(hashes, dtype=np.int64)) if hashes else np.empty(0, np.int64)
    return {int(value) for value in values[1:][values[1:] == values[:-1]]}
