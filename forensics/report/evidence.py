"""Checksums of a run folder, its list of pictures and the log of what was changed later."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from forensics.errors import IntegrityError, UsageError
from forensics.report.files import dumps, read_json, write_bytes

__all__ = [
    "MARKS",
    "SUMS",
    "check_sums",
    "log_change",
    "mark_name",
    "mask_name",
    "picture_name",
    "read_pictures",
    "write_sums",
]

SUMS = "SHA256SUMS"
HISTORY = "history.jsonl"
MARKS = "marks.json"
"""Marks that images of the run share; only where they were looked for."""
_UNFINISHED = (".partial/", ".work/")
"""What a running writer stages, and what a running audit keeps to resume from."""


def picture_name(sha256: str) -> str:
    """Return where the preview of an image lies in the run folder."""
    return f"evidence/{sha256[:16]}.jpg"


def mask_name(finding_id: str) -> str:
    """Return where the mask of a finding lies in the run folder."""
    return f"evidence/masks/{finding_id}.png"


def mark_name(mark_id: str) -> str:
    """Return where the averaged picture of a shared mark lies in the run folder."""
    return f"evidence/marks/{mark_id}.png"


def write_sums(run_dir: Path) -> Path:
    """Write ``SHA256SUMS`` over every file of the run, in the form that ``sha256sum -c`` checks. Last file of a run."""
    lines = [f"{_digest(run_dir / name)}  {name}\n" for name in _files(run_dir)]
    path = run_dir / SUMS
    write_bytes(path, "".join(lines).encode("utf-8"))
    return path


def check_sums(run_dir: Path, *, ignore: Collection[str] = ()) -> int:
    """Compare every file of the run with its recorded checksum.

    Parameters
    ----------
    run_dir : Path
        The run folder.
    ignore : collection of str
        Names that may differ: those that the caller is about to replace.

    Returns
    -------
    int
        Number of files that agree.

    Raises
    ------
    UsageError
        If the folder is no finished run.
    IntegrityError
        If a file was changed, is missing, or was added.
    """
    path = run_dir / SUMS
    if not path.is_file():
        raise UsageError(f"{run_dir} has no {SUMS}: it is not a run folder, or the run was interrupted; run it again")
    recorded: dict[str, str] = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        digest, mark, name = line.partition("  ")
        inside = mark and name and not Path(name).is_absolute() and ".." not in Path(name).parts
        if not inside or len(digest) != 64:
            raise IntegrityError(f"{path} has a line that is not a checksum: {line[:80]!r}; the run was tampered with")
        recorded[name] = digest
    present = set(_files(run_dir))
    wrong = [f"{name} is missing" for name in sorted(recorded.keys() - present - set(ignore))]
    wrong += [f"{name} was added" for name in sorted(present - recorded.keys() - set(ignore))]
    for name in sorted(recorded.keys() & present - set(ignore)):
        if _digest(run_dir / name) != recorded[name]:
            wrong.append(f"{name} was changed")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise IntegrityError(
            f"{run_dir} differs from its {SUMS}: {'; '.join(wrong[:3])}{more}. Take the run from a backup, or run the "
            "audit again"
        )
    return len(recorded)


def read_pictures(run_dir: Path) -> dict[str, Any]:
    """Return ``evidence.json``: ``pictures`` (sha256 → file, width, height of the full image) and ``redacted``."""
    found = read_json(run_dir / "evidence.json")
    if not isinstance(found, dict) or not isinstance(found.get("pictures"), dict):
        raise UsageError(f"{run_dir / 'evidence.json'} has no list of pictures; the run folder is damaged")
    return found


def log_change(run_dir: Path, action: str, **detail: Any) -> None:
    """Add a line to ``history.jsonl``: what a person changed in a finished run, and when (UTC)."""
    from datetime import UTC, datetime

    path = run_dir / HISTORY
    before = path.read_bytes() if path.is_file() else b""
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "action": action, **detail}
    write_bytes(path, before + (dumps(line) + "\n").encode("utf-8"))


def _files(run_dir: Path) -> list[str]:
    """Every file below the folder but the sums themselves and what a running writer stages, sorted."""
    found = []
    for path in run_dir.rglob("*"):
        name = path.relative_to(run_dir).as_posix()
        if path.is_file() and name != SUMS and not name.startswith(_UNFINISHED) and not name.endswith(".part"):
            found.append(name)
    return sorted(found)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
