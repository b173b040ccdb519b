"""Where bytes are: the uris of records, and reading them without leaving the source's root.

==================================  ==================================================================================
``file:a/b.jpg``                    a file below the root
``tar:00000.tar#OFFSET+LENGTH``     the payload of a tar member, in bytes of the (uncompressed) tar
``lost:NAME#REASON``                something that the source saw but that has no readable bytes; reading it raises
                                    its reason, so that it is counted with a state like any other input
==================================  ==================================================================================

Paths are relative, ``/``-separated and percent-encoded byte by byte, so that any file name survives.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes

from forensics.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_BYTES", "display", "file_uri", "lost_uri", "read_bytes", "tar_uri"]

MAX_BYTES = 1 << 30
"""Larger files are refused unread: 50 megapixels of uncompressed 32-bit RGBA stay below this."""

_TAR = re.compile(r"(?P<path>[^#]*)#(?P<offset>\d{1,19})\+(?P<length>\d{1,19})")


def file_uri(relative: bytes) -> str:
    """Return the uri of a file, given its raw path below the root."""
    return "file:" + quote_from_bytes(relative)


def tar_uri(relative: bytes, offset: int, length: int) -> str:
    """Return the uri of a tar member, given the tar's raw path below the root and the payload's place in bytes."""
    return f"tar:{quote_from_bytes(relative)}#{offset}+{length}"


def lost_uri(relative: bytes, reason: str) -> str:
    """Return the uri of something that cannot be read."""
    return f"lost:{quote_from_bytes(relative)}#{quote_from_bytes(reason.encode('utf-8', 'replace'), safe=' ')}"


def display(name: bytes) -> str:
    """Return a raw name as text that any file format can hold.

    Undecodable bytes become U+FFFD; names that show one get a short hash of their bytes, so that two different names
    never look the same.
    """
    text = name.decode("utf-8", "replace")
    return f"{text}~{hashlib.sha256(name).hexdigest()[:10]}" if "\ufffd" in text else text


def read_bytes(uri: str, root: Path) -> bytes:
    """Read the bytes of a record.

    Parameters
    ----------
    uri : str
        As in :class:`~forensics.types.Record`.
    root : Path
        The source's root. What lies outside it, also by a symlink, is refused.

    Returns
    -------
    bytes

    Raises
    ------
    SourceError
        If the uri is malformed or leaves the root, or if the bytes are missing, unreadable, cut short or too many.
    """
    scheme, _, rest = uri.partition(":")
    if scheme == "file":
        return _read(rest, root, None)
    if scheme == "tar" and (match := _TAR.fullmatch(rest)):
        return _read(match["path"], root, (int(match["offset"]), int(match["length"])))
    if scheme == "lost":
        raise SourceError(unquote_to_bytes(rest.partition("#")[2]).decode("utf-8", "replace"))
    raise SourceError(f"unknown uri {uri!r}: it must look like file:PATH or tar:PATH#OFFSET+LENGTH")


def _read(quoted: str, root: Path, window: tuple[int, int] | None) -> bytes:
    path, shown = _inside(quoted, root)
    try:
        # O_NONBLOCK: a named pipe must not stop the run before it is recognised as one.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"not a regular file: {shown}")
            offset, length = window or (0, status.st_size)
            if length > MAX_BYTES:
                raise SourceError(f"{shown} holds {length} bytes; at most {MAX_BYTES} are read")
            if offset + length > status.st_size:
                missing = offset + length - status.st_size
                raise SourceError(f"{shown} is cut short: {missing} of the member's {length} bytes are missing")
            file.seek(offset)
            return _read_exactly(file.fileno(), length, shown)
    except FileNotFoundError as error:
        raise SourceError(f"no such file: {shown}") from error
    except OSError as error:
        raise SourceError(f"cannot read {shown}: {error.strerror or error}") from error


def _read_exactly(descriptor: int, length: int, shown: str) -> bytes:
    parts: list[bytes] = []
    left = length
    while left:
        part = os.read(descriptor, left)
        if not part:
            raise SourceError(f"{shown} changed while it was read: {left} of {length} bytes are missing")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _inside(quoted: str, root: Path) -> tuple[bytes, str]:
    relative = unquote_to_bytes(quoted)
    shown = display(relative)
    if not relative:
        raise SourceError("no path is given")
    if b"\0" in relative:
        raise SourceError(f"not a path: {shown!r}")
    if relative.startswith(b"/") or b".." in relative.split(b"/"):
        raise SourceError(f"{shown} leaves the source; only paths below its root are read")
    base = os.path.realpath(os.fsencode(root))
    path = os.path.realpath(os.path.join(base, relative))  # noqa: PTH118 - bytes paths, which Path does not take
    if path != base and not path.startswith(base.rstrip(b"/") + b"/"):
        raise SourceError(f"{shown} is a link out of the source, which is not followed; give its target as the source")
    return path, shown
