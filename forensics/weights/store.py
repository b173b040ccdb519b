"""Where weights lie on this machine, what was recorded about them, and the import of files that the user brings."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from forensics.errors import ForensicsError, IntegrityError, UsageError, WeightsError
from forensics.weights.check import check_file
from forensics.weights.table import MODELS, Model, WeightFile, model

__all__ = [
    "Found",
    "Status",
    "cache_dir",
    "find",
    "import_file",
    "missing_sentence",
    "record",
    "remember",
    "remembered",
    "require",
    "sha256_of",
    "status",
]

_RECORDS = "weights.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Weights that are present and unchanged.

    Attributes
    ----------
    model : Model
    file : WeightFile
        Which of the model's formats this is.
    path : Path
    sha256 : str
        Computed from the file.
    size : int
        Bytes.
    where : {"cache", "package", "hub"}
        The program's own cache folder, an installed package, or the hub's cache.
    """

    model: Model
    file: WeightFile
    path: Path
    sha256: str
    size: int
    where: Literal["cache", "package", "hub"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One row of ``forensics weights``.

    ``state`` is ``present``, ``missing`` or ``damaged``; ``note`` says what to do about the last two. Sizes are bytes,
    0 where unknown; ``sha256`` is that of the present file, else the published one, else empty.
    """

    name: str
    purpose: str
    state: Literal["present", "missing", "damaged"]
    path: str
    size: int
    licence: str
    sha256: str
    source: str
    command: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def cache_dir() -> Path:
    """Return the folder for fetched and imported weights: ``$FORENSICS_WEIGHTS`` or the platform's cache folder.

    The folder need not exist yet.
    """
    named = os.environ.get("FORENSICS_WEIGHTS", "").strip()
    if named:
        return Path(named).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "forensics" / "weights"


def find(name: str) -> Found | None:
    """Return the weights called ``name`` if they are on this machine, else None. Never touches the network.

    Raises
    ------
    UsageError
        If there is no such model.
    IntegrityError
        If the file there is not the one that was published or recorded.
    """
    row = model(name)
    for file in row.files:
        for where, path in _places(row, file):
            if path.is_file():
                return _verified(row, file, path, where)
    return None


def require(name: str) -> Found:
    """Return the weights called ``name``.

    Raises
    ------
    WeightsError
        If they are missing; the message names the command that brings them.
    """
    found = find(name)
    if found is None:
        raise WeightsError(missing_sentence(name))
    return found


def missing_sentence(name: str) -> str:
    """Return one sentence: what is missing, what an audit lacks without it, and the command that brings it."""
    row = model(name)
    return f"the weights of {row.name} are not on this machine (without them {row.loss}); get them with: {row.command}"


def status() -> list[Status]:
    """Return one row for every model of the table, present or not; a damaged file becomes a row, not an error."""
    return [_status(row) for row in MODELS]


def _status(row: Model) -> Status:
    try:
        found, damage = find(row.name), ""
    except ForensicsError as error:
        found, damage = None, str(error)
    if found is not None:
        return Status(
            name=row.name,
            purpose=row.purpose,
            state="present",
            path=str(found.path),
            size=found.size,
            licence=row.licence,
            sha256=found.sha256,
            source=_source(row),
            command=row.command,
        )
    first = row.files[0]
    return Status(
        name=row.name,
        purpose=row.purpose,
        state="damaged" if damage else "missing",
        path="",
        size=first.size,
        licence=row.licence,
        sha256=first.sha256,
        source=_source(row),
        command=row.command,
        note=damage or missing_sentence(row.name),
    )


def _source(row: Model) -> str:
    if row.origin == "package":
        return f"package {row.address}"
    return row.files[0].url if row.origin == "https" else f"https://huggingface.co/{row.address}"


def import_file(name: str, path: Path) -> Found:
    """Copy a file of weights that the user has into the cache folder and record its SHA-256.

    Parameters
    ----------
    name : str
        Which model it is.
    path : Path
        The file; it is copied, and checked to be what it claims before it takes the name that :func:`find` looks for.

    Raises
    ------
    UsageError
        If the file does not exist, or the model is one that comes only as an installed package.
    WeightsError
        If the file is not such a model.
    IntegrityError
        If its SHA-256 is not the published one.
    """
    row = model(name)
    if row.origin == "package":
        raise UsageError(
            f"{row.name} comes only as an installed package, whose licence allows no copies; get it with: {row.command}"
        )
    if row.companions:
        raise UsageError(f"{row.name} is more than one file; name its folder instead: clip-hf:FOLDER")
    if not path.is_file():
        raise UsageError(f"no file {path}; give the file of weights to import as {row.name}")
    file = _matching(row, path)
    target = _cached(row, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".import-", delete=False) as copy:
        temporary = Path(copy.name)
    try:
        shutil.copyfile(path, temporary)
        digest = sha256_of(temporary)
        if file.sha256 and digest != file.sha256:
            raise IntegrityError(f"{path} has SHA-256 {digest}, the published {file.filename} has {file.sha256}")
        os.replace(temporary, target)  # noqa: PTH105  one call on both paths, as it is atomic
    finally:
        temporary.unlink(missing_ok=True)
    record(row, file, digest, origin=f"imported from {path.resolve()}")
    return _verified(row, file, target, "cache")


def _matching(row: Model, path: Path) -> WeightFile:
    reasons = []
    for file in row.files:
        reason = check_file(path, file.kind)
        if not reason:
            return file
        reasons.append(f"not {file.filename}: {reason}")
    raise WeightsError(f"{path} is not a file of {row.name} ({'; '.join(reasons)})")


def _cached(row: Model, file: WeightFile) -> Path:
    return cache_dir() / (f"{row.cached_name}.safetensors" if row.origin == "hub" else file.filename)


def _places(row: Model, file: WeightFile) -> list[tuple[Literal["cache", "package", "hub"], Path]]:
    if row.origin == "package":
        folder, _, name = file.filename.partition("/")
        spec = importlib.util.find_spec(folder)  # finds a top-level package without running its code
        locations = list(spec.submodule_search_locations or ()) if spec else []
        return [("package", Path(location) / name) for location in locations]
    places: list[tuple[Literal["cache", "package", "hub"], Path]] = []
    if not row.companions:
        places.append(("cache", _cached(row, file)))
    if row.origin == "hub":
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(row.address, file.filename)
        if isinstance(cached, str):
            places.append(("hub", Path(cached)))
    return places


def _verified(row: Model, file: WeightFile, path: Path, where: Literal["cache", "package", "hub"]) -> Found:
    digest = sha256_of(path)
    recorded = _records().get(_cached(row, file).name, {}).get("sha256", "") if where == "cache" else ""
    expected = file.sha256 or recorded
    if expected and digest != expected:
        raise IntegrityError(
            f"{path} has SHA-256 {digest}, {'published' if file.sha256 else 'recorded'} is {expected}; "
            f"remove it and run: {row.command}"
        )
    return Found(model=row, file=file, path=path, sha256=digest, size=path.stat().st_size, where=where)


def record(row: Model, file: WeightFile, digest: str, *, origin: str) -> None:
    """Remember the SHA-256 (hex) of a file in the cache folder, and where it came from."""
    _write_record(_cached(row, file).name, {"model": row.name, "sha256": digest, "origin": origin})


def remember(path: Path) -> str:
    """Return the SHA-256 (hex) of a checkpoint that stays where the user has it, and note where that is.

    An index names such a checkpoint by its bytes; :func:`remembered` finds the file again.
    """
    digest = sha256_of(path)
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        _write_record(f"sha256-{digest}", {"sha256": digest, "path": str(path)})
    except OSError as error:
        _log.info("the place of %s could not be noted: %s", path, error)
    return digest


def remembered(prefix: str) -> Path | None:
    """Return the file whose SHA-256 begins with ``prefix``, if it was used on this machine and is unchanged."""
    for name, entry in _records().items():
        path = Path(entry.get("path", ""))
        if name.startswith(f"sha256-{prefix}") and path.is_file() and sha256_of(path) == entry["sha256"]:
            return path
    return None


def _write_record(name: str, entry: dict[str, str]) -> None:
    records = _records()
    known = records.get(name, {})
    if {key: value for key, value in known.items() if key != "recorded_at"} == entry:
        return
    records[name] = {**entry, "recorded_at": datetime.now(UTC).isoformat(timespec="seconds")}
    path = cache_dir() / _RECORDS
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=".records-", delete=False, encoding="utf-8"
    ) as temporary:
        json.dump({"schema": 1, "files": records}, temporary, indent=2, sort_keys=True)
    os.replace(temporary.name, path)  # noqa: PTH105


def _records() -> dict[str, dict[str, str]]:
    path = cache_dir() / _RECORDS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        files = json.loads(text)["files"]
        return {str(name): dict(entry) for name, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is not a record of weights ({error}); remove it and import the files again"
        ) from error


def sha256_of(path: Path) -> str:
    """Return the SHA-256 (hex) of a file; computed once in a process unless the file changes."""
    stat = path.stat()
    return _sha256(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # they stand in the cache's key only
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
