"""What the laboratory asks a model for: images of a source, or texts of a file, each once and with its state."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import ForensicsError, SourceError
from forensics.images import decode
from forensics.sources import open_source, read_bytes
from forensics.types import AutoregressiveSpec, ImageState, Progress, Scalar

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["LabItem", "Unread", "read_lab_items", "square"]

_LARGEST_SIDE = 512
_SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabItem:
    """One item.

    Attributes
    ----------
    id : str
        Its record's id, or ``line N``.
    sha256 : str
        Of the file's bytes, or of the text.
    caption : str
        What the source says; empty where it says nothing.
    content : ndarray or str
        (S, S, 3) uint8 RGB, the largest centred square at the model's size; or the text.
    state, reason : str
        ``ok`` or ``degraded``, and why.
    metadata : mapping
        What else the source says.
    """

    id: str
    sha256: str
    caption: str
    content: UInt8Array | str
    state: ImageState = "ok"
    reason: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """One that could not be used, and why."""

    id: str
    state: ImageState
    reason: str


def read_lab_items(
    path: Path, spec: AutoregressiveSpec, *, progress: Progress | None = None
) -> tuple[list[LabItem], list[Unread]]:
    """Read a source for a model: a source of images, or for a model of text a file of texts.

    A file of texts is UTF-8; texts are parted by empty lines, and are lines where there is no empty one.

    Raises
    ------
    SourceError
        If the source is missing or empty, or not one item of it can be used.
    """
    if spec.settings.get("kind") == "text":
        return _texts(path), []
    items: list[LabItem] = []
    unread: list[Unread] = []
    source = open_source(path)
    total = source.count()
    side = int(spec.settings.get("pixels") or 0)
    for number, record in enumerate(source.records(), start=1):
        try:
            data = read_bytes(record.uri, source.root)
        except (OSError, ForensicsError) as error:
            text = getattr(error, "strerror", None) or str(error)
            unread.append(Unread(id=record.id, state="error", reason=f"{type(error).__name__}: {text}"))
            continue
        found = decode(data, need=2 * (side or _LARGEST_SIDE))
        if found.pixels is None:
            unread.append(Unread(id=record.id, state=found.state, reason=found.reason))
        elif min(found.width, found.height) < _SMALLEST_SIDE:
            reason = f"{found.width} x {found.height} pixels; {_SMALLEST_SIDE} or more along each side needed"
            unread.append(Unread(id=record.id, state="rejected", reason=reason))
        else:
            items.append(
                LabItem(
                    id=record.id,
                    sha256=hashlib.sha256(data).hexdigest(),
                    caption=str(record.metadata.get("caption") or "").strip(),
                    content=square(found.pixels, side),
                    state=found.state,
                    reason=found.reason,
                    metadata=record.metadata,
                )
            )
        if progress is not None:
            progress("reading references", number, total)
    if not items:
        first = f"; the first: {unread[0].id}: {unread[0].reason}" if unread else ""
        raise SourceError(
            f"no image of {path} can be used ({len(unread)} tried{first}); give images of 16 pixels or more"
        )
    return items, unread


def square(pixels: UInt8Array, side: int) -> UInt8Array:
    """Return the largest centred square of (H, W, 3) uint8 at ``side`` pixels (Lanczos); 0 leaves up to 512."""
    from PIL import Image

    height, width = pixels.shape[:2]
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    cut = np.ascontiguousarray(pixels[top : top + least, left : left + least])
    wanted = side or min(least, _LARGEST_SIDE)
    if least == wanted:
        return cut
    return np.asarray(Image.fromarray(cut).resize((wanted, wanted), Image.Resampling.LANCZOS))


def _texts(path: Path) -> list[LabItem]:
    try:
        whole = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); a model of text needs a file of texts") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8; a model of text needs a file of texts") from error
    parts = re.split(r"\n\s*\n", whole.replace("\r\n", "\n").strip())
    texts: Sequence[str] = parts if len(parts) > 1 else parts[0].split("\n")
    found = [text.strip() for text in texts if text.strip()]
    if not found:
        raise SourceError(f"{path} holds no text; give texts parted by empty lines, or one a line")
    return [
        LabItem(id=f"text {number}", sha256=hashlib.sha256(text.encode()).hexdigest(), caption="", content=text)
        for number, text in enumerate(found, start=1)
    ]
