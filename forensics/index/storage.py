"""How files get onto the disk so that a kill at any moment leaves a folder that can be gone on with."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forensics.errors import IndexFormatError

__all__ = ["LOCK_NAME", "TEMPORARY", "locked", "sha256_file", "sync_folder", "write_atomically"]

LOCK_NAME = ".lock"
TEMPORARY = ".tmp"
_CHUNK = 1 << 20


def write_atomically(path: Path, data: bytes) -> str:
    """Write ``data`` so that ``path`` holds either what it held before or all of it; return the SHA-256 (hex).

    The rename itself reaches the disk with :func:`sync_folder` of the parent, which is left to the caller: many files
    of one folder then cost one such call.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return hashlib.sha256(data).hexdigest()


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the index folder's write lock for as long as the block lasts; the kernel drops it when the process ends.

    Raises
    ------
    IndexFormatError
        If another process writes to the index.
    """
    import fcntl

    with (directory / LOCK_NAME).open("ab") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise IndexFormatError(
                f"the index {directory} is being written by another process; wait until it has ended"
            ) from error
        yield
