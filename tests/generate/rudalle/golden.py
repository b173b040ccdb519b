"""Where the reference tensors are, and what is in them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

_TESTS = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4


def _folder() -> Path:
    named = os.environ.get("FORENSICS_GOLDEN")
    shared = _TESTS.parents[1] / "shared" / "golden" / "rudalle"
    return Path(named) if named else shared if (shared / "meta.json").is_file() else _TESTS / "golden"


FOLDER = _folder()
META: dict[str, Any] = json.loads((FOLDER / "meta.json").read_text("utf-8"))


def names(key: str) -> list[str]:
    """The folders whose configuration has a key."""
    return [name for name, row in META.items() if isinstance(row, dict) and key in row]


def of_version(version: str) -> str:
    """The first transformer of a version."""
    found = [name for name in names("num_layers") if META[name]["hf_version"] == version]
    if not found:
        pytest.skip(f"no transformer {version} in {FOLDER}")
    return found[0]


def holding(name: str) -> list[str]:
    """The folders that hold a file of this name; they have no configuration in the meta file."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{name}"))


def file(*parts: str) -> Path:
    path = FOLDER.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here: set FORENSICS_GOLDEN to a folder that has it")
    return path


def tensors(*parts: str) -> dict[str, torch.Tensor]:
    return load_file(file(*parts))


def far(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return (found - expected).abs().max().item()
