"""Small safe writes: whole or not at all, valid UTF-8, no formulas in spreadsheets. Shared by this room."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from forensics.errors import UsageError

__all__ = ["clean", "dumps", "guard", "read_csv", "read_json", "unguard", "write_bytes", "write_csv", "write_json"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean(value: Any) -> Any:
    """Return ``value`` as plain JSON: surrogates become U+FFFD, NaN and infinities null, NumPy scalars Python's own."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, Mapping):
        return {clean(str(key)): clean(item) for key, item in value.items()}
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return clean(value.tolist())
    return [clean(item) for item in value] if isinstance(value, Iterable) else clean(str(value))


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return JSON text that any reader accepts."""
    return json.dumps(clean(value), ensure_ascii=False, indent=indent, allow_nan=False)


def guard(value: str) -> str:
    """Keep a spreadsheet from running text as a formula: such text gets a leading apostrophe."""
    return f"'{value}" if value.startswith((*_FORMULA, "'")) else value


def unguard(value: str) -> str:
    """Undo :func:`guard`."""
    return value[1:] if value.startswith("'") and value[1:].startswith((*_FORMULA, "'")) else value


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``path`` whole or not at all."""
    _atomic(path, lambda file: file.write(data))


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    write_bytes(path, (dumps(value, indent=2) + "\n").encode("utf-8"))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV for people: UTF-8 with a mark that spreadsheets understand, text cells guarded."""
    import io

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        out = csv.writer(text, lineterminator="\n")
        out.writerow(header)
        for row in rows:
            out.writerow([guard(clean(cell)) if isinstance(cell, str) else cell for cell in row])
        text.flush()
        text.detach()

    _atomic(path, write)


def read_csv(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV that a person may have saved with any spreadsheet: comma, semicolon or tab; cells unguarded.

    Raises
    ------
    UsageError
        If the file cannot be read as UTF-8 or lacks one of the ``needed`` columns.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8; save the sheet as CSV UTF-8 and read it again") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(1 << 24)
    try:
        rows = list(csv.DictReader(text.splitlines(keepends=True), delimiter=delimiter))
    except csv.Error as error:
        raise UsageError(f"{path} is not a CSV file: {error}") from error
    header = rows[0].keys() if rows else [cell.strip('"\r') for cell in first.split(delimiter)]
    missing = [name for name in needed if name not in header]
    if missing:
        raise UsageError(f"{path} has no column {missing[0]!r}; the columns {', '.join(needed)} are needed")
    return [{key: unguard(cell or "") for key, cell in row.items() if isinstance(key, str)} for row in rows]


def read_json(path: Path) -> Any:
    """Read a JSON file of a run."""
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give the folder of a finished run") from error
    except ValueError as error:
        raise UsageError(f"{path} is not JSON ({error}); the run folder is damaged") from error


def _atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
