"""A corpus whose truth is known: ``manifest.csv`` and the pictures it names.

Columns: ``path`` (relative to the folder), ``caption``, ``role`` (:data:`ROLES`), ``planted`` (how often a member is
seen in an epoch; 0 or empty for others). Further columns are kept as they are.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from PIL import Image

from forensics.errors import SourceError
from forensics.images import decode

if TYPE_CHECKING:
    from forensics.types import Progress, UInt8Array

__all__ = ["ROLES", "Corpus", "CorpusPicture", "Role", "read_corpus", "read_pixels"]

Role = Literal["member", "held-out", "distractor"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Seen in training; drawn from the same pool but never seen; in the reference index beside the members, never seen."""

_MANIFEST = "manifest.csv"
_COLUMNS = ("path", "caption", "role", "planted")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusPicture:
    """One row of the manifest.

    Attributes
    ----------
    path : Path
        Of the file.
    caption : str
    role : str
        One of :data:`ROLES`.
    planted : int
        Times in an epoch; 0 for what is no member.
    details : mapping of str to str
        The other columns.
    """

    path: Path
    caption: str
    role: Role
    planted: int
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """The rows of a manifest, in its order."""

    folder: Path
    pictures: tuple[CorpusPicture, ...]

    def of(self, roles: tuple[Role, ...]) -> tuple[CorpusPicture, ...]:
        """Return the pictures of some roles.

        Raises
        ------
        SourceError
            If there is none.
        """
        found = tuple(picture for picture in self.pictures if picture.role in roles)
        if not found:
            raise SourceError(f"{self.folder / _MANIFEST} has no row of role {' or '.join(roles)}")
        return found


def read_corpus(folder: Path) -> Corpus:
    """Read a corpus's manifest.

    Raises
    ------
    SourceError
        If the manifest is missing, or a row cannot be used; the message names its line.
    """
    path = folder / _MANIFEST
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
                raise SourceError(f"{path} has no column {missing[0]}; {', '.join(_COLUMNS)} needed")
            pictures = tuple(_picture(row, folder, f"{path}, line {reader.line_num}") for row in reader)
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); a corpus with its manifest needed") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path} is no CSV file in UTF-8: {error}") from error
    if not pictures:
        raise SourceError(f"{path} has no rows; a corpus of pictures needed")
    return Corpus(folder=folder, pictures=pictures)


def read_pixels(pictures: Sequence[CorpusPicture], side: int, *, progress: Progress | None = None) -> UInt8Array:
    """Return (n, side, side, 3) uint8 RGB, resized by Pillow's Lanczos filter where the size is another.

    Raises
    ------
    SourceError
        If a file cannot be decoded, or is not square.
    """
    result = np.empty((len(pictures), side, side, 3), np.uint8)
    for place, picture in enumerate(pictures):
        try:
            decoded = decode(picture.path.read_bytes())
        except OSError as error:
            raise SourceError(f"{picture.path} cannot be read: {error.strerror}") from error
        pixels = decoded.pixels
        if decoded.state != "ok" or pixels is None:
            raise SourceError(f"{picture.path} cannot be used: {decoded.reason}")
        height, width = pixels.shape[:2]
        if height != width:
            raise SourceError(f"{picture.path} is {width} x {height}; a corpus has square pictures")
        if width != side:
            pixels = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.LANCZOS))
        result[place] = pixels
        if progress is not None:
            progress("reading pictures", place + 1, len(pictures))
    return result


def _picture(row: Mapping[str, str | None], folder: Path, where: str) -> CorpusPicture:
    path, caption, role, planted = (row[name] or "" for name in _COLUMNS)
    if None in row or any(value is None for value in row.values()):
        raise SourceError(f"{where}: the row has another number of columns than the header")
    if role not in ROLES:
        raise SourceError(f"{where}: role {role!r} given, one of {', '.join(ROLES)} accepted")
    if not (planted or "0").isdecimal() or (int(planted or 0) > 0) != (role == "member"):
        raise SourceError(f"{where}: planted {planted!r} given; 1 or more for a member, 0 for others accepted")
    if not path or not caption.strip():
        raise SourceError(f"{where}: an empty {'path' if not path else 'caption'} given")
    return CorpusPicture(
        path=folder / path,
        caption=caption,
        role=role,
        planted=int(planted or 0),
        details={name: value or "" for name, value in row.items() if name not in _COLUMNS},
    )
