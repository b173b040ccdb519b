"""The content of one part in memory, and its encoding as files."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import VectorError
from forensics.schema import INDEX_IMAGES, INDEX_ROWS, METADATA_COLUMNS, Column
from forensics.types import EmbedderSpec, ImageState, Scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.index.manifest import EmbedderEntry

__all__ = ["ImageRow", "PartData", "RowSet", "check_rows", "encode_part", "files_of_part", "npy_bytes", "usable_rows"]

_METADATA = tuple(column.name for column in METADATA_COLUMNS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One input file, read or not."""

    id: str
    uri: str
    sha256: str
    width: int
    height: int
    state: ImageState
    reason: str = ""
    format: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSet:
    """The descriptors of one embedder in one part.

    Attributes
    ----------
    data : ndarray
        (n, dim) float32 or float16 with unit norm, or (n, dim / 8) uint8.
    image : (n,) int
        Position of each row's image in the part.
    view : sequence of n str
    box : (n, 4) int
        Pixels of the full-size upright image.
    orientation : (n,) int
        0 to 7.
    quality : (n,) int
        0 to 100, -1 where it was not measured.
    """

    data: NDArray[Any]
    image: NDArray[np.int32]
    view: Sequence[str]
    box: NDArray[np.int32]
    orientation: NDArray[np.int8]
    quality: NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartData:
    """Everything that is committed at once."""

    images: Sequence[ImageRow]
    rows: Mapping[str, RowSet]
    listing: str
    previews: Sequence[bytes] = ()


def usable_rows(spec: EmbedderSpec, data: NDArray[Any]) -> NDArray[np.bool_]:
    """Return (n,) bool: which rows are finite and not zero. Every row of bits is usable."""
    if spec.kind == "bits":
        return np.ones(len(data), np.bool_)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(data.astype(np.float32, copy=False), axis=1)
    usable: NDArray[np.bool_] = np.isfinite(norms) & (norms > 1e-6)
    return usable


def check_rows(spec: EmbedderSpec, data: NDArray[Any], *, what: str) -> NDArray[Any]:
    """Return ``data`` as contiguous rows of the spec's kind, vectors L2-normalised as float32.

    Parameters
    ----------
    spec : EmbedderSpec
    data : (n, dim) float or (n, dim / 8) uint8
    what : str
        Begins the message, e.g. ``queries``.

    Raises
    ------
    VectorError
        On another shape or type, NaN, infinity or zero rows.
    """
    data = np.asarray(data)
    width = spec.dim if spec.kind == "vector" else spec.dim // 8
    kind = "floats" if spec.kind == "vector" else "bytes"
    if data.ndim != 2 or data.shape[1] != width:
        raise VectorError(f"{what} of shape {data.shape} given; {spec.name} has rows of {width} {kind}: (n, {width})")
    if spec.kind == "bits":
        if data.dtype != np.uint8:
            raise VectorError(f"{what} of type {data.dtype} given; {spec.name} has packed bits as uint8")
        return np.ascontiguousarray(data)
    if data.dtype.kind != "f":
        raise VectorError(f"{what} of type {data.dtype} given; {spec.name} has floating-point rows")
    rows = np.ascontiguousarray(data, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(rows, axis=1, keepdims=True)  # (n, 1)
    bad = np.flatnonzero(~(np.isfinite(norms[:, 0]) & (norms[:, 0] > 1e-6)))
    if len(bad):
        raise VectorError(
            f"{what}: row {bad[0]} ({len(bad)} in all) of {spec.name} has NaN, infinite or only zero values; such rows "
            "match nothing or everything, leave them out"
        )
    normalised: NDArray[np.float32] = rows / norms
    return normalised


def files_of_part(number: int, embedders: Sequence[EmbedderEntry], *, previews: bool) -> list[str]:
    """Return the paths, relative to the index, that a part consists of."""
    names = [f"images/part-{number:05d}.parquet"]
    for entry in embedders:
        names.append(f"rows/{entry.folder}/part-{number:05d}.parquet")
        names.append(f"{data_folder(entry)}/part-{number:05d}.npy")
    if previews:
        names += [f"previews/part-{number:05d}.bin", f"previews/part-{number:05d}.npy"]
    return names


def data_folder(entry: EmbedderEntry) -> str:
    """Return the folder, relative to the index, that holds an embedder's rows."""
    return f"{'vectors' if entry.spec.kind == 'vector' else 'hashes'}/{entry.folder}"


def encode_part(number: int, source: int, data: PartData, embedders: Sequence[EmbedderEntry]) -> dict[str, bytes]:
    """Return the part's files: path relative to the index to bytes. Equal content gives equal bytes."""
    files = {f"images/part-{number:05d}.parquet": _images_parquet(data.images, source)}
    for entry in embedders:
        rows = data.rows[entry.spec.name]
        array = check_rows(entry.spec, rows.data, what=f"descriptors of part {number}")
        if entry.spec.kind == "vector":
            array = array.astype(np.float16)
        files[f"rows/{entry.folder}/part-{number:05d}.parquet"] = _rows_parquet(rows)
        files[f"{data_folder(entry)}/part-{number:05d}.npy"] = npy_bytes(array)
    if data.previews:
        offsets = np.cumsum([0, *(len(preview) for preview in data.previews)], dtype=np.int64)
        files[f"previews/part-{number:05d}.bin"] = b"".join(data.previews)
        files[f"previews/part-{number:05d}.npy"] = npy_bytes(offsets)
    return files


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return an array in NumPy's file format."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _images_parquet(images: Sequence[ImageRow], source: int) -> bytes:
    columns: dict[str, list[Any]] = {column.name: [] for column in INDEX_IMAGES}
    for image in images:
        for name in ("id", "uri", "sha256", "state", "reason", "format"):
            columns[name].append(_text(getattr(image, name)))
        columns["width"].append(image.width)
        columns["height"].append(image.height)
        columns["source"].append(source)
        for name in _METADATA:
            value = image.metadata.get(name)
            columns[name].append(None if value is None else _text(str(value)))
        extra = {name: _json_value(image.metadata[name]) for name in sorted(set(image.metadata) - set(_METADATA))}
        columns["extra"].append(_text(json.dumps(extra, ensure_ascii=False)) if extra else None)
    return _parquet(columns, INDEX_IMAGES)


def _rows_parquet(rows: RowSet) -> bytes:
    box = np.asarray(rows.box, np.int32).reshape(-1, 4)
    columns = {
        "image": rows.image,
        "view": list(rows.view),
        "x0": box[:, 0],
        "y0": box[:, 1],
        "x1": box[:, 2],
        "y1": box[:, 3],
        "orientation": rows.orientation,
        "quality": rows.quality,
    }
    return _parquet(columns, INDEX_ROWS)


def _parquet(columns: Mapping[str, Any], layout: Sequence[Column]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column.name, getattr(pa, column.dtype)()) for column in layout])
    table = pa.table([pa.array(columns[column.name], schema.field(column.name).type) for column in layout], schema)
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", version="2.6")
    content: bytes = out.getvalue().to_pybytes()
    return content


def _text(value: str) -> str:
    # Lone surrogates (file names that are not UTF-8) cannot be stored; the percent-encoded uri keeps the true name.
    return value.encode("utf-8", "replace").decode("utf-8") if not value.isascii() else value


def _json_value(value: Scalar) -> Scalar:
    # JSON has no NaN; a missing number of a table column says the same.
    return None if isinstance(value, float) and not math.isfinite(value) else value
