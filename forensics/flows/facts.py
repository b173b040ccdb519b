"""The facts of a run: who, when, with what. Everything that ``case.json`` and ``run.json`` hold."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import forensics

if TYPE_CHECKING:
    from forensics.flows.embedders import AuditEmbedders
    from forensics.index import Index
    from forensics.scoring import ScoreModel
    from forensics.thresholds import Threshold

__all__ = ["case_facts", "detection_facts", "fingerprint", "run_facts"]

_PACKAGES = ("numpy", "pillow", "simplejpeg", "opencv-python-headless", "ImageHash", "pdqhash", "onnxruntime", "torch",
             "faiss-cpu", "faiss-gpu", "open_clip_torch", "transformers", "pandas", "pyarrow")  # fmt: skip


def case_facts(*, case_id: str, operator: str, started: datetime) -> dict[str, Any]:
    """Return ``case.json``: case, operator, UTC times, command line, program."""
    return {
        "case_id": case_id,
        "operator": operator,
        "started_utc": _utc(started),
        "finished_utc": _utc(datetime.now(UTC)),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "program": "forensics",
        "version": forensics.__version__,
        "commit": _commit(),
    }


def run_facts(
    *,
    source: str,
    source_kind: str,
    index: Index,
    index_path: str,
    embedders: AuditEmbedders,
    model: ScoreModel,
    thresholds: Mapping[str, Threshold],
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
) -> dict[str, Any]:
    """Return ``run.json``: everything that decides the result, and the versions that computed it."""
    return {
        "source": {"path": source, "kind": source_kind},
        "index": {"path": index_path, "fingerprint": index.fingerprint, "images": len(index)},
        "embedders": [{**e.spec.to_dict(), "fingerprint": e.spec.fingerprint} for e in embedders.usable],
        "score_model": {
            "name": model.name,
            "intercept": model.intercept,
            "weights": dict(model.weights),
            "source": model.source,
        },
        "thresholds": {
            name: {"value": entry.value, "unit": entry.unit, "source": entry.source}
            for name, entry in thresholds.items()
        },
        "settings": dict(settings),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "timings_seconds": dict(timings),
        "notes": list(embedders.notes),
    }


def detection_facts(
    *,
    source: str,
    source_kind: str,
    detectors: Sequence[Mapping[str, Any]],
    thresholds: Mapping[str, Threshold],
    settings: Mapping[str, Any],
    timings: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return ``run.json`` of a run that looks at single images and has no index."""
    return {
        "source": {"path": source, "kind": source_kind},
        "detectors": [dict(detector) for detector in detectors],
        "thresholds": {
            name: {"value": entry.value, "unit": entry.unit, "source": entry.source}
            for name, entry in thresholds.items()
        },
        "settings": dict(settings),
        "versions": {"python": platform.python_version(), **_versions()},
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "timings_seconds": dict(timings),
        "notes": list(notes),
    }


def fingerprint(value: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Return the commit of the checkout that runs, with ``+changed`` where files differ; empty outside of one."""
    folder = Path(forensics.__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return ""

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the operator has
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        head = git("rev-parse", "HEAD")
        return head + "+changed" if head and git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return ""


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
