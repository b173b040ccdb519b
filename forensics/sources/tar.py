"""Tar files, listed by their headers and never extracted: every member keeps an address of its own."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from forensics.errors import SourceError
from forensics.sources.metadata import clean, from_json
from forensics.sources.uris import display, lost_uri, tar_uri
from forensics.types import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import Any

__all__ = ["TarSource", "is_tar", "refuse_compressed", "shard_records"]

SIDECARS = frozenset(("json", "txt", "caption"))
# fmt: off
_NOT_IMAGES = frozenset((
    "cls", "cls2", "index", "inx", "id", "npy", "npz", "pth", "pt", "pyd", "pickle", "pkl", "mp", "pb", "mp3", "mp4",
    "mkv", "webm", "wav", "flac", "ogg", "csv", "tsv", "html", "xml", "yaml", "parquet", "safetensors", "ten",
))
# fmt: on
_SIDECAR_BYTES = 1 << 20
_COMPRESSED = ((b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"), (b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstandard"))
_BLOCK = 512


@dataclass(slots=True)
class _Group:
    """The members of one key, which a WebDataset keeps together."""

    key: str
    members: list[tuple[str, int, str]] = field(default_factory=list)  # name, payload's offset, uri
    fields: dict[str, Any] = field(default_factory=dict)


class TarSource:
    """A WebDataset: one tar, or the tars of a folder in the order of their names.

    Members that share a key (the name up to the first dot of its last part) belong together; ``.json`` gives metadata,
    ``.txt`` and ``.caption`` the caption. Members whose extension names another kind of data (``.cls``, ``.npy``, …)
    are passed over; all others are records, image or not. What cannot be reached (a damaged rest, sparse members,
    links) is a record that ends as an error with its reason. Memory: the names of one tar's members, hashed.
    """

    kind = "webdataset"

    def __init__(self, root: Path, shards: list[bytes]) -> None:
        self.root = root
        self._shards = shards

    def records(self) -> Iterator[Record]:
        """Yield one record an image member."""
        empty = True
        for shard in self._shards:
            for record in shard_records(self.root, shard):
                empty = False
                yield record
        if empty:
            raise SourceError(f"no image in the tar files of {self.root}: give tars with images as members")

    def count(self) -> None:
        """Return None: it takes reading all headers."""
        return


def is_tar(path: Path) -> bool:
    """Tell whether a file begins with a tar header."""
    try:
        with path.open("rb") as file:
            tarfile.TarInfo.frombuf(file.read(_BLOCK), "utf-8", "surrogateescape")
    except (OSError, tarfile.HeaderError, ValueError):
        return False
    return True


def refuse_compressed(path: Path) -> None:
    """Raise SourceError if a file is compressed, and so has no addressable members."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
    for magic, name in _COMPRESSED:
        if start.startswith(magic):
            raise SourceError(
                f"{path} is {name}-compressed, and its members cannot be read one by one: unpack the compression first "
                "(images do not shrink by it), or extract it and give the folder"
            )


def shard_records(
    root: Path, shard: bytes, rows: Callable[[str], dict[str, Any] | None] | None = None
) -> Iterator[Record]:
    """Yield the records of one tar.

    Parameters
    ----------
    root, shard
        The source's root and the tar's raw path below it.
    rows : callable, optional
        Key → further fields of the sample, which come before those of the sidecars.
    """
    shown = display(shard)
    seen: set[int] = set()
    for group in _groups(root, shard):
        fields = dict(rows(group.key) or {}) if rows else {}
        known = {key.lower() for key in fields}
        fields.update({key: value for key, value in group.fields.items() if key.lower() not in known})
        metadata = clean(fields)
        for name, offset, uri in group.members:
            unique = f"{shown}/{name}"
            if hash(unique) in seen:  # a name that occurs twice in a tar
                unique = f"{unique}#{offset}"
            seen.add(hash(unique))
            yield Record(id=unique, uri=uri, metadata=metadata)


def _groups(root: Path, shard: bytes) -> Iterator[_Group]:
    group = _Group("")
    problem = ""
    try:
        with open(os.path.join(os.fsencode(root), shard), "rb") as file:  # noqa: PTH118 - bytes paths
            for member in _members(file):
                name = display(os.fsencode(member.name))
                key, extension = _split(name)
                if key != group.key:
                    yield group
                    group = _Group(key)
                _add(group, member, name, extension, file, shard)
    except tarfile.TarError as error:
        problem = str(error)
    except OSError as error:
        problem = f"it cannot be read: {error.strerror or error}"
    yield group
    if problem:
        reason = f"{display(shard)}: {problem}; what follows there is lost"
        yield _Group("", members=[("(unreadable rest)", 0, lost_uri(shard, reason))])


def _members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Yield every member with its payload's place; raise ReadError where the tar breaks off."""
    tar = None
    try:
        tar = tarfile.open(fileobj=file, mode="r:", errors="surrogateescape")  # noqa: SIM115 - the caller closes it
        end = os.fstat(file.fileno()).st_size
        while (member := tar.next()) is not None:
            tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has read
            yield member
            if member.isreg() and member.offset_data + member.size > end:
                raise tarfile.ReadError(f"cut short at byte {end}, inside of {member.name!r}")
        _check_end(file, tar.offset, end)
    except tarfile.TarError as error:
        at = tar.offset if tar is not None else 0
        raise tarfile.ReadError(f"the tar is damaged or cut short after byte {at} ({error})") from error
    except (ValueError, OverflowError, RecursionError, EOFError) as error:  # malformed headers
        at = tar.offset if tar is not None else 0
        raise tarfile.ReadError(f"the tar is damaged after byte {at} ({type(error).__name__})") from error


def _check_end(file: BinaryIO, offset: int, end: int) -> None:
    """Raise where tarfile stopped for another reason than the mark of zeros that ends a tar."""
    file.seek(offset)
    block = file.read(_BLOCK)
    if block.strip(b"\0") or (not block and offset < end):
        raise tarfile.ReadError("bad header")
    if len(block) < _BLOCK:
        raise tarfile.ReadError("it does not end with the end mark")


def _split(name: str) -> tuple[str, str]:
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def _add(group: _Group, member: tarfile.TarInfo, name: str, extension: str, file: BinaryIO, shard: bytes) -> None:
    last = extension.rpartition(".")[2]
    if member.isdir() or last in _NOT_IMAGES:
        return
    if extension in SIDECARS:
        if member.isreg() and not member.issparse() and member.size <= _SIDECAR_BYTES:
            file.seek(member.offset_data)
            data = file.read(member.size)
            add_sidecar(group.fields, extension, data)
    elif member.isreg() and not member.issparse():
        group.members.append((name, member.offset_data, tar_uri(shard, member.offset_data, member.size)))
    elif member.issparse():
        reason = f"{name} is sparse, its bytes are not in one piece: pack the tar without --sparse"
        group.members.append((name, member.offset_data, lost_uri(shard, reason)))
    elif member.islnk() or member.issym():
        target = display(os.fsencode(member.linkname))
        reason = f"{name} is a link to {target}: pack the tar with --dereference --hard-dereference"
        group.members.append((name, member.offset_data, lost_uri(shard, reason)))


def add_sidecar(fields: dict[str, Any], extension: str, data: bytes) -> None:
    """Add what a sidecar says to a sample's fields; a caption of its own does not replace one from JSON."""
    if extension == "json":
        fields.update(from_json(data))
    elif not any(key.lower() == "caption" for key in fields):
        fields["caption"] = data.decode("utf-8", "replace").strip()
