"""What membership inference looks at: images or texts of two sides, listed first and read one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forensics.errors import ForensicsError, SourceError, UsageError
from forensics.flows.lab_items import read_lab_items
from forensics.images import decode
from forensics.sources import open_source, read_bytes
from forensics.sources.table import TableSource
from forensics.sources.uris import file_uri
from forensics.types import AutoregressiveSpec, ImageState, Record

__all__ = ["Item", "Seen", "read_captions", "read_item", "read_items"]

_LEAST_SIDE = 16
_LISTS = (".csv", ".tsv", ".parquet", ".tar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One image (or text) of one side.

    Attributes
    ----------
    side : {"image", "nonmember"}
    record : Record
    root : Path
        Of its source.
    caption : str
    group : str
        Of the table's group column; empty where there is none.
    text : str or None
        The item itself, for models of text.
    """

    side: str
    record: Record
    root: Path
    caption: str = ""
    group: str = ""
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """An item once it is read.

    Attributes
    ----------
    item : Item
    sha256 : str
        Of the file's bytes, or of the text; empty where they could not be read.
    content : ndarray or str or None
        (H, W, 3) uint8 RGB, or the text; None where there is none.
    state, reason, width, height, format
        As in :class:`~forensics.types.Decoded`.
    size : int
        Bytes of the file.
    """

    item: Item
    sha256: str
    content: Any
    state: ImageState = "ok"
    reason: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    size: int = 0


def read_items(
    path: Path,
    side: str,
    spec: AutoregressiveSpec,
    *,
    captions: Mapping[str, str] | None = None,
    group: str | None = None,
) -> list[Item]:
    """Return the items of a source, listed and not read yet.

    Parameters
    ----------
    path : Path
        A source of images, or one image file; for models of text a file of texts.
    side : str
    spec : AutoregressiveSpec
    captions : mapping of str to str, optional
        Absolute path, or file name, to caption; before what the source says itself.
    group : str, optional
        Column of the source's table that names each image's series.

    Raises
    ------
    SourceError
        If there is nothing.
    UsageError
        If the group column is missing.
    """
    if spec.settings.get("kind") == "text":
        texts, _ = read_lab_items(path, spec)
        return [
            Item(
                side=side,
                record=Record(id=text.id, uri=file_uri(path.name.encode())),
                root=path.absolute().parent,
                text=str(text.content),
            )
            for text in texts
        ]
    if path.is_file() and path.suffix.lower() not in _LISTS:
        root, records = path.absolute().parent, iter([Record(id=path.name, uri=file_uri(path.name.encode()))])
    else:
        source = open_source(path)
        root, records = source.root, source.records()
    given = captions or {}
    items = []
    for record in records:
        told = given.get(str(root / record.id)) or given.get(Path(record.id).name) or record.metadata.get("caption")
        if group is not None and group not in record.metadata:
            raise UsageError(f"group column {group!r} given, which {path} does not have for {record.id}")
        series = "" if group is None else str(record.metadata[group])
        items.append(Item(side=side, record=record, root=root, caption=str(told or "").strip(), group=series))
    return items


def read_captions(table: Path) -> dict[str, str]:
    """Return the captions of a table of paths: by absolute path, and by file name where only one row has that name.

    Raises
    ------
    SourceError
        If it is no table, or has no column of captions.
    """
    if not table.is_file() or table.suffix.lower() not in _LISTS[:-1]:
        raise SourceError(f"captions {table} given; a .csv, .tsv or .parquet file with a column of paths and `caption`")
    source = TableSource(table.absolute())
    found: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    for record in source.records():
        caption = str(record.metadata.get("caption") or "").strip()
        if caption:
            found[str(source.root / record.id)] = caption
            names.setdefault(Path(record.id).name, []).append(caption)
    if not found:
        raise SourceError(f"{table} has no captions; a column `caption` (or text, alt, alt_text) needed")
    return found | {name: told[0] for name, told in names.items() if len(set(told)) == 1}


def read_item(item: Item) -> Seen:
    """Read one item; whatever is wrong with it is its state and reason."""
    if item.text is not None:
        digest = hashlib.sha256(item.text.encode("utf-8", "replace")).hexdigest()
        return Seen(item=item, sha256=digest, content=item.text, size=len(item.text))
    try:
        data = read_bytes(item.record.uri, item.root)
    except (OSError, ForensicsError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Seen(item=item, sha256="", content=None, state="error", reason=f"{type(error).__name__}: {reason}")
    found = decode(data)
    state, reason, pixels = found.state, found.reason, found.pixels
    if pixels is not None and min(pixels.shape[:2]) < _LEAST_SIDE:
        state, pixels = "rejected", None
        reason = f"{found.width} x {found.height} pixels; {_LEAST_SIDE} or more along each side needed"
    return Seen(
        item=item,
        sha256=hashlib.sha256(data).hexdigest(),
        content=pixels,
        state=state,
        reason=reason,
        width=found.width,
        height=found.height,
        format=found.format,
        size=len(data),
    )
