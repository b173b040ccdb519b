"""What this machine can do, and what to do about what it cannot."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeAlias

from forensics import weights
from forensics.detect import ocr
from forensics.embed.runtime import device, threads
from forensics.errors import ForensicsError

__all__ = ["Check", "CheckState", "examine"]

CheckState: TypeAlias = Literal["ok", "warning", "missing", "error"]
"""``missing``: something optional is not there. ``error``: the main job cannot run."""

_LOW_DISK_BYTES = 2 * 1024**3
_LOW_MEMORY_BYTES = 4 * 1024**3
_SETTINGS = ("FORENSICS_WEIGHTS", "FORENSICS_THREADS", "FORENSICS_DEVICE", "FORENSICS_OPERATOR", "FORENSICS_SHARED")
_FAISS_WHEELS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        In a word or two.
    state : str
        One of :data:`CheckState`.
    detail : str
        What was found.
    fix : str
        What to do; empty where nothing needs doing.
    """

    name: str
    state: CheckState
    detail: str
    fix: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return plain JSON values."""
        return asdict(self)


def examine(folder: Path) -> list[Check]:
    """Look at this machine and return one :class:`Check` for each thing, never raising.

    Parameters
    ----------
    folder : Path
        Where the user means to write: its free disk is looked at.
    """
    results: list[Check] = []
    for name, look in _CHECKS.items():
        try:
            results.extend(look(folder))
        except Exception as error:  # noqa: BLE001  a broken library is what this is here to report
            detail = f"{type(error).__name__}: {error}".splitlines()[0]
            results.append(Check(name=name, state="error", detail=detail, fix=f"reinstall what {name} needs"))
    return results


def _python(_: Path) -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    yield Check(
        name="Python",
        state="ok" if good else "error",
        detail=f"{platform.python_version()} on {platform.platform()}",
        fix="" if good else "install Python 3.11 or newer",
    )
    yield Check(name="forensics", state="ok", detail=_version("forensics") or "run from a checkout, not installed")


def _machine(_: Path) -> Iterator[Check]:
    yield Check(name="CPU", state="ok", detail=f"{os.cpu_count()} cores, {threads()} threads for a model")
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        enough = memory >= _LOW_MEMORY_BYTES
        yield Check(
            name="memory",
            state="ok" if enough else "warning",
            detail=f"{memory / 1024**3:.1f} GiB",
            fix="" if enough else "use fewer workers: each needs up to 300 MB for an image of 50 megapixels",
        )


def _torch(_: Path) -> Iterator[Check]:
    try:
        torch = importlib.import_module("torch")
        torchvision = importlib.import_module("torchvision")
    except Exception as error:  # noqa: BLE001  a mismatched pair raises RuntimeError, OSError or ImportError
        yield Check(
            name="torch",
            state="error",
            detail=f"torch {_version('torch')} and torchvision {_version('torchvision')} do not import: {error}",
            fix='install a matching pair: pip install "torch==2.14.1" "torchvision==0.29.1"',
        )
        return
    yield Check(name="torch", state="ok", detail=f"{torch.__version__}, torchvision {torchvision.__version__}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    try:
        used = f"models of torch run on {device()}"
    except ForensicsError as error:
        yield Check(name="CUDA", state="error", detail=str(error), fix="unset FORENSICS_DEVICE or set it to auto")
        return
    yield Check(name="CUDA", state="ok", detail=f"{names or 'no device: everything runs on the CPU'}; {used}")


def _onnx(_: Path) -> Iterator[Check]:
    runtime = importlib.import_module("onnxruntime")
    providers = ", ".join(runtime.get_available_providers())
    yield Check(name="ONNX Runtime", state="ok", detail=f"{runtime.__version__}: {providers}")


def _faiss(_: Path) -> Iterator[Check]:
    present = [name for name in _FAISS_WHEELS if _version(name)]
    if not present:
        yield Check(
            name="faiss",
            state="error",
            detail="not installed",
            fix='pip install "forensics[cpu]" (or "forensics[gpu]" on a machine with CUDA)',
        )
        return
    if len(present) > 1:
        yield Check(
            name="faiss",
            state="error",
            detail=f"{' and '.join(present)} are both installed and overwrite one another",
            fix=f"pip uninstall {' '.join(present)}, then install one of them again: "
            'pip install "forensics[cpu]" or "forensics[gpu]"',
        )
        return
    faiss = importlib.import_module("faiss")
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    yield Check(name="faiss", state="ok", detail=f"{present[0]} {_version(present[0])}, {gpus} GPUs")


def _text_reader(_: Path) -> Iterator[Check]:
    missed = ocr.missing()
    yield Check(
        name="text reader",
        state="missing" if missed else "ok",
        detail="without it no mark is named and no caption found" if missed else f"rapidocr {_version('rapidocr')}",
        fix="pip install 'forensics[ocr]'" if missed else "",
    )


def _codecs(_: Path) -> Iterator[Check]:
    from PIL import features

    for label, feature, loss in (
        ("JPEG", "jpg", "JPEG files are not read"),
        ("WebP", "webp", "WebP files are not read"),
        ("AVIF", "avif", "AVIF files are not read"),
        ("colour profiles", "littlecms2", "CMYK files are converted without their profile"),
    ):
        present = bool(features.check(feature))
        detail = f"{features.version(feature) or 'present'}"
        if label == "JPEG" and present:
            turbo = features.version("libjpeg_turbo") if features.check_feature("libjpeg_turbo") else None
            detail = f"libjpeg-turbo {turbo}" if turbo else f"libjpeg {detail}, without turbo: slower"
            fast = _version("simplejpeg")
            detail += f"; simplejpeg {fast}" if fast else "; without simplejpeg: slower"
        yield Check(
            name=f"codec {label}",
            state="ok" if present else "error" if label == "JPEG" else "warning",
            detail=detail if present else loss,
            fix="" if present else "pip install --upgrade --force-reinstall pillow",
        )


def _weights(_: Path) -> Iterator[Check]:
    rows = weights.status()
    for row in rows:
        if row.state == "present":
            yield Check(name=f"weights {row.name}", state="ok", detail=f"{row.size / 1e6:.1f} MB, {row.path}")
        elif row.state == "damaged":
            yield Check(name=f"weights {row.name}", state="warning", detail=row.note, fix=row.command)
        else:
            yield Check(name=f"weights {row.name}", state="missing", detail=row.purpose, fix=row.command)
    if not any(row.state == "present" and row.name.startswith("sscd") for row in rows):
        yield Check(
            name="copy detection",
            state="warning",
            detail="no SSCD weights: only perceptual hashes search, which miss crops, pastes and redrawn copies",
            fix="forensics weights fetch sscd-int8",
        )


def _disk(folder: Path) -> Iterator[Check]:
    for label, place in (("working folder", folder), ("weights folder", weights.cache_dir())):
        there = place.absolute()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        low = free < _LOW_DISK_BYTES
        yield Check(
            name=f"disk, {label}",
            state="warning" if low else "ok",
            detail=f"{free / 1024**3:.1f} GiB free at {place}",
            fix="make room: an index needs about 60 KB an image with previews, 2 KB without" if low else "",
        )


def _settings(_: Path) -> Iterator[Check]:
    chosen = [f"{name}={os.environ[name]}" for name in _SETTINGS if os.environ.get(name)]
    yield Check(name="settings", state="ok", detail=", ".join(chosen) or "no FORENSICS_ variable is set")
    unknown = sorted(name for name in os.environ if name.startswith("FORENSICS_") and name not in _SETTINGS)
    if unknown:
        yield Check(
            name="settings",
            state="warning",
            detail=f"not known: {', '.join(unknown)}",
            fix=f"known are {', '.join(_SETTINGS)}",
        )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


_CHECKS: dict[str, Callable[[Path], Iterator[Check]]] = {
    "Python": _python,
    "machine": _machine,
    "torch": _torch,
    "ONNX Runtime": _onnx,
    "faiss": _faiss,
    "text reader": _text_reader,
    "codecs": _codecs,
    "weights": _weights,
    "disk": _disk,
    "settings": _settings,
}
