"""What an index says about itself: ``manifest.json`` (small) and ``parts.jsonl`` (one line a part).

Two files, because a list that is rewritten with every part makes a build quadratic: at 1,000 parts a megabyte would be
written a thousand times over. So the lines are appended, and the line of a part is its commit; the manifest of a
finished index holds the SHA-256 of all lines. Nothing here depends on the time, the machine or on how often a build was
interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from forensics.errors import IndexFormatError, IntegrityError, SpecMismatchError
from forensics.index.storage import sync_folder, write_atomically
from forensics.schema import INDEX_FORMAT, INDEX_SCHEMA_VERSION
from forensics.types import EmbedderSpec, View

__all__ = [
    "MANIFEST_NAME",
    "PARTS_NAME",
    "EmbedderEntry",
    "FaissEntry",
    "Manifest",
    "PartEntry",
    "SourceEntry",
    "TombstonesEntry",
    "append_part",
    "check_specs",
    "cut_torn_line",
    "folder_name",
    "read_manifest",
    "read_parts",
    "states_of",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
PARTS_NAME = "parts.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderEntry:
    """One embedder of the index: its spec, the folder of its files, the views it is given of every image."""

    spec: EmbedderSpec
    folder: str
    views: tuple[View, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """One source of records.

    Attributes
    ----------
    kind, path, root : str
        As :func:`forensics.sources.open_source` knows them; path and root absolute.
    path_column : str or None
        Of a table of paths.
    label : str
        Prefix of the ids, empty for the first source.
    state : {"building", "complete"}
    skipped : int
        Records left out because an earlier source already has them; known when complete.
    """

    kind: str
    path: str
    root: str
    path_column: str | None = None
    label: str = ""
    state: Literal["building", "complete"] = "building"
    skipped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEntry:
    """One committed part.

    Attributes
    ----------
    part, source : int
        Its number and that of its source.
    first, images : int
        Index of its first image in the whole index, and how many it has.
    states : mapping of str to int
        Number of images by state.
    listing : str
        Running SHA-256 over the ids and uris of the source from its first record to the last of this part.
    rows : mapping of str to int
        Embedder name to number of its rows.
    files : mapping of str to str
        Path relative to the index to SHA-256 (hex).
    """

    part: int
    source: int
    first: int
    images: int
    states: Mapping[str, int]
    listing: str
    rows: Mapping[str, int]
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TombstonesEntry:
    """The file that lists the removed images."""

    file: str
    sha256: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaissEntry:
    """A FAISS index made from the stored rows of one embedder: a cache, dropped whenever the rows change."""

    factory: str
    file: str
    sha256: str
    rows: int
    recall_at_10: float
    sample: int
    search: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``manifest.json``.

    Attributes
    ----------
    part_size : int
        Records a part; the last part of a source may have fewer.
    keep_pixels : int
        Long side of the previews in pixels, 0 for none.
    parts_count, parts_sha256
        Of ``parts.jsonl`` when the last source was completed.
    """

    part_size: int
    keep_pixels: int
    embedders: tuple[EmbedderEntry, ...]
    sources: tuple[SourceEntry, ...]
    parts_count: int = 0
    parts_sha256: str = ""
    tombstones: TombstonesEntry | None = None
    faiss: Mapping[str, FaissEntry] = field(default_factory=dict)
    calibration: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every source was read to its end."""
        return all(source.state == "complete" for source in self.sources)

    @property
    def specs(self) -> dict[str, EmbedderSpec]:
        """Embedder name to spec."""
        return {entry.spec.name: entry.spec for entry in self.embedders}

    def embedder(self, name: str) -> EmbedderEntry:
        """Return the entry of one embedder.

        Raises
        ------
        SpecMismatchError
            If the index was built without it.
        """
        for entry in self.embedders:
            if entry.spec.name == name:
                return entry
        known = ", ".join(self.specs) or "none"
        raise SpecMismatchError(f"this index has no descriptors of {name!r}; it was built with: {known}")

    def with_source(self, number: int, **changes: Any) -> Manifest:
        """Return a copy in which one source differs."""
        sources = list(self.sources)
        sources[number] = replace(sources[number], **changes)
        return replace(self, sources=tuple(sources))


def folder_name(embedder: str) -> str:
    """Return a folder name that stands for an embedder's name on every file system, different for different names."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", embedder)
    if plain == embedder and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')[:80]}-{hashlib.sha256(embedder.encode()).hexdigest()[:8]}"


def check_specs(given: Sequence[EmbedderSpec], manifest: Manifest, directory: Path) -> None:
    """Refuse embedders other than those that the index was built with.

    Raises
    ------
    SpecMismatchError
        Naming what differs.
    """
    stored = manifest.specs
    names = {spec.name for spec in given}
    if names != set(stored):
        raise SpecMismatchError(
            f"the index {directory} was built with {', '.join(stored)}; {', '.join(sorted(names)) or 'nothing'} was "
            "given: name the same embedders, or build another index"
        )
    for spec in given:
        if spec.fingerprint != stored[spec.name].fingerprint:
            ours, theirs = spec.to_dict(), stored[spec.name].to_dict()
            differing = ", ".join(key for key in ours if ours[key] != theirs[key])
            raise SpecMismatchError(
                f"{spec.name} is not what the index {directory} was built with ({differing} differ): its vectors do "
                "not compare; use the same weights and version, or build another index"
            )


def states_of(parts: Sequence[PartEntry]) -> dict[str, int]:
    """Return the number of images by state, all four states named."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part.states)
    return {state: total[state] for state in ("ok", "degraded", "rejected", "error")}


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace ``manifest.json``, atomically and durably."""
    values = {"format": INDEX_FORMAT, "schema_version": INDEX_SCHEMA_VERSION, **asdict(manifest)}
    for stored, entry in zip(values["embedders"], manifest.embedders, strict=True):
        stored["fingerprint"] = entry.spec.fingerprint
    text = json.dumps(values, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_atomically(directory / MANIFEST_NAME, text.encode("utf-8", "surrogatepass"))
    sync_folder(directory)


def read_manifest(directory: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises
    ------
    IndexFormatError
        If there is none, or it cannot be understood.
    """
    path = directory / MANIFEST_NAME
    try:
        values = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise IndexFormatError(
            f"{directory} is not an index (no {MANIFEST_NAME} in it); make one with: "
            f"forensics index build SOURCE --out {directory}"
        ) from error
    except OSError as error:
        raise IndexFormatError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise IndexFormatError(f"{path} is damaged (not JSON: {error}); restore it or build the index again") from error
    if not isinstance(values, dict) or values.get("format") != INDEX_FORMAT:
        raise IndexFormatError(f"{path} does not describe an index of this program (no format {INDEX_FORMAT!r})")
    version = values.get("schema_version")
    if version != INDEX_SCHEMA_VERSION:
        raise IndexFormatError(
            f"the index {directory} has schema version {version!r}, this program reads {INDEX_SCHEMA_VERSION}; "
            "build it again, or use the program version that made it"
        )
    try:
        return _manifest(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IndexFormatError(
            f"{path} is damaged ({type(error).__name__}: {error}); restore it or build the index again"
        ) from error


def _manifest(values: dict[str, Any]) -> Manifest:
    embedders = []
    for stored in values["embedders"]:
        spec = EmbedderSpec(**stored["spec"])
        if spec.fingerprint != stored["fingerprint"]:
            raise ValueError(f"the spec of {spec.name} does not have its recorded fingerprint")
        views = tuple(View(name=v["name"], box=tuple(v["box"]), orientation=v["orientation"]) for v in stored["views"])
        embedders.append(EmbedderEntry(spec=spec, folder=_inside(stored["folder"]), views=views))
    tombstones = values["tombstones"]
    return Manifest(
        part_size=int(values["part_size"]),
        keep_pixels=int(values["keep_pixels"]),
        embedders=tuple(embedders),
        sources=tuple(SourceEntry(**source) for source in values["sources"]),
        parts_count=int(values["parts_count"]),
        parts_sha256=str(values["parts_sha256"]),
        tombstones=TombstonesEntry(**(tombstones | {"file": _inside(tombstones["file"])})) if tombstones else None,
        faiss={n: FaissEntry(**(entry | {"file": _inside(entry["file"])})) for n, entry in values["faiss"].items()},
        calibration={_inside(file): str(sha256) for file, sha256 in values["calibration"].items()},
    )


def _inside(name: str) -> str:
    """Refuse file names that lead out of the index: a manifest may come from anywhere."""
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"file name {name!r} leads out of the index")
    return name


def append_part(directory: Path, entry: PartEntry) -> None:
    """Commit a part: add its line to ``parts.jsonl``, durably."""
    line = json.dumps(asdict(entry), sort_keys=True, separators=(",", ":")) + "\n"
    with (directory / PARTS_NAME).open("ab") as file:
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def cut_torn_line(directory: Path) -> None:
    """Drop what a kill left of a line: a line is a commit only with its newline."""
    path = directory / PARTS_NAME
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())


def read_parts(directory: Path, manifest: Manifest) -> tuple[list[PartEntry], str]:
    """Read the committed parts; return them and the SHA-256 (hex) over their lines.

    Raises
    ------
    IntegrityError
        If a complete index's list is not the one its manifest names.
    IndexFormatError
        If a line cannot be understood.
    """
    path = directory / PARTS_NAME
    data = path.read_bytes() if path.exists() else b""
    data = data[: data.rfind(b"\n") + 1]
    sha256 = hashlib.sha256(data).hexdigest()
    if manifest.complete and sha256 != manifest.parts_sha256:
        raise IntegrityError(
            f"{path} is not the list of parts that the manifest names (SHA-256 differs); restore it from a copy, or "
            "build the index again"
        )
    parts: list[PartEntry] = []
    try:
        for line in data.splitlines():
            values = json.loads(line)
            values["files"] = {_inside(file): str(digest) for file, digest in values["files"].items()}
            parts.append(PartEntry(**values))
        first = 0
        for number, part in enumerate(parts):
            if part.part != number or part.first != first:
                raise ValueError(f"part {number} is out of order")
            first += part.images
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexFormatError(f"{path} is damaged ({error}); restore it or build the index again") from error
    return parts, sha256
