"""Images taken out of an index: their rows stay where they are and are never returned again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forensics.errors import IndexFormatError, IntegrityError
from forensics.index.manifest import Manifest
from forensics.index.storage import sha256_file

__all__ = ["Tombstone", "read_tombstones"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """One removed image: its position in the index, what it was, and why it was removed."""

    image: int
    id: str
    sha256: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def read_tombstones(directory: Path, manifest: Manifest) -> list[Tombstone]:
    """Read the removed images, in the order in which they were removed.

    Raises
    ------
    IntegrityError
        If the list is missing or not the one that the manifest names: removed images must never come back unnoticed.
    """
    entry = manifest.tombstones
    if entry is None:
        return []
    path = directory / entry.file
    if not path.is_file() or sha256_file(path) != entry.sha256:
        raise IntegrityError(f"{path}, the list of removed images, is missing or changed; restore it from a copy")
    try:
        return [Tombstone(**values) for values in json.loads(path.read_bytes())]
    except (ValueError, TypeError) as error:
        raise IndexFormatError(f"{path} is damaged: {error}") from error
