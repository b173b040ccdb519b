"""A folder of files, searched recursively."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from forensics.errors import SourceError
from forensics.sources.uris import display, file_uri, lost_uri
from forensics.types import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FolderSource"]

_log = logging.getLogger(__name__)


class FolderSource:
    """Every file below a folder, whatever its extension, in the order of the raw bytes of their relative paths.

    Nothing is left out by its name, hidden files included: what is not an image ends as rejected, with its reason.
    Links to files are records (those that lead out of the folder end as errors when read); links to folders are not
    entered: what they point at inside the folder is listed where it lies, which also rules out loops. Sockets, pipes
    and devices are not files. A folder that cannot be listed gives one record that ends as an error.
    Memory: the listings of the folders on the path to the current one.
    """

    kind = "folder"

    def __init__(self, root: Path) -> None:
        self.root = root

    def records(self) -> Iterator[Record]:
        """Yield one record a file."""
        empty = True
        for relative, problem in self._walk():
            empty = False
            uri = lost_uri(relative, problem) if problem else file_uri(relative)
            yield Record(id=display(relative), uri=uri)
        if empty:
            raise SourceError(f"no file in {self.root}: give a folder that holds images")

    def count(self) -> int:
        """Return the number of files (lists all folders, opens none of the files)."""
        return sum(1 for _ in self._walk())

    def _walk(self) -> Iterator[tuple[bytes, str]]:
        """Yield the raw relative path of every file, and an empty reason; or of a folder that cannot be listed."""
        base = os.fsencode(self.root)
        stack: list[tuple[bytes, bool]] = [(b"", True)]
        while stack:
            relative, is_folder = stack.pop()
            if not is_folder:
                yield relative, ""
                continue
            try:
                entries = _entries(os.path.join(base, relative), relative)  # noqa: PTH118 - bytes paths
            except OSError as error:
                yield relative or b".", f"cannot list this folder: {error.strerror or error}"
                continue
            entries.sort(reverse=True)
            stack.extend((path, path.endswith(b"/")) for path in entries)


def _entries(folder: bytes, relative: bytes) -> list[bytes]:
    """Return the relative paths in one folder; those of folders end with a slash, which sorts them as their files."""
    found: list[bytes] = []
    with os.scandir(folder) as listing:
        for entry in listing:
            path = relative + entry.name
            if entry.is_dir(follow_symlinks=False):
                found.append(path + b"/")
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
            elif entry.is_symlink():
                if os.path.isdir(entry.path):  # noqa: PTH112 - bytes paths
                    _log.warning("not entered, because it is a link to a folder: %s", display(path))
                else:
                    found.append(path)
            else:
                _log.warning("not a file: %s", display(path))
    return found
