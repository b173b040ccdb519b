"""One image of an index, and what is left of its pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from forensics.schema import METADATA_COLUMNS
from forensics.types import ImageRef, ImageState, Scalar

__all__ = ["IndexedImage", "Pixels", "image_of_row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedImage:
    """One image of an index.

    Attributes
    ----------
    number : int
        Its position in the index.
    ref : ImageRef
    source : int
        Position in ``manifest.sources``.
    width, height : int
        Full size in pixels, upright.
    removed : bool
        It has a tombstone.
    metadata : mapping
        What its source gave beside the pixels.
    """

    number: int
    ref: ImageRef
    source: int
    width: int
    height: int
    state: ImageState
    reason: str
    format: str
    removed: bool
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """The bytes of an image file, as far as they can be had.

    Attributes
    ----------
    data : bytes or None
        An encoded image: the original file, or the index's JPEG preview of it.
    kind : {"original", "preview", "none"}
    reason : str
        Why it is not the original: ``missing: …``, ``changed: …``.
    """

    data: bytes | None
    kind: Literal["original", "preview", "none"]
    reason: str = ""


def image_of_row(row: Mapping[str, Any], number: int, *, removed: bool) -> IndexedImage:
    """Return the image that one row of ``forensics.schema.INDEX_IMAGES`` describes."""
    metadata = {column.name: row[column.name] for column in METADATA_COLUMNS if row[column.name] is not None}
    if row["extra"]:
        metadata |= json.loads(row["extra"])
    return IndexedImage(
        number=number,
        ref=ImageRef(id=row["id"], uri=row["uri"], sha256=row["sha256"]),
        source=row["source"],
        width=row["width"],
        height=row["height"],
        state=row["state"],
        reason=row["reason"],
        format=row["format"],
        removed=removed,
        metadata=metadata,
    )
