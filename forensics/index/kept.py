"""Files that an index keeps beside its images and rows: what was found out about it later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forensics.errors import IntegrityError
from forensics.index.storage import sha256_file

if TYPE_CHECKING:
    from forensics.index.reader import Index

__all__ = ["kept_file"]


def kept_file(index: Index, start: str) -> Path | None:
    """Return the file that an index keeps whose name within it starts so, as the manifest has it; None where none does.

    Raises
    ------
    IntegrityError
        If the file is missing or not the one that the manifest names.
    """
    for name, sha256 in index.manifest.calibration.items():
        if name.startswith(start):
            path = index.directory / name
            if not path.is_file() or sha256_file(path) != sha256:
                raise IntegrityError(f"{path} is missing or changed; see: forensics index verify {index.directory}")
            return path
    return None
