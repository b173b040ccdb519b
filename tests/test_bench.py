"""The benchmarks of the embedded world run, on a tiny one with random weights, and say what they count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.small_world import write_world_corpus, write_world_model

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bench")
    return write_world_corpus(folder / "corpus"), write_world_model(folder / "model")


def _run(script: str, *arguments: Any) -> dict[str, Any]:
    command = [sys.executable, f"bench/{script}.py", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_memorisation(tmp_path: Path, world: tuple[Path, Path]) -> None:
    corpus, model = world
    arguments = ("--model", model, "--data", corpus, "--samples", 2, "--quiet", "--out", tmp_path)
    found = _run("memorisation", *arguments)
    rows = {row["level"]: row for row in found["prompts whose picture comes back"]}
    assert list(rows) == ["64x", "16x", "4x", "1x", "held-out"]
    assert all((row["count"], row["total"], row["low"]) == (0, 1, 0.0) for row in rows.values())
    assert all(0.7 < row["high"] < 0.8 for row in rows.values())
    images = sorted((tmp_path / "images").glob("*.png"))
    assert len(images) == 10
    before = [path.stat().st_mtime_ns for path in images]
    assert _run("memorisation", *arguments) == found
    assert [path.stat().st_mtime_ns for path in images] == before, "finished images are kept"


def test_the_rules_null(world: tuple[Path, Path]) -> None:
    corpus, model = world
    found = _run("truth", "--vqgan", model / "vqgan", "--data", corpus)
    assert found["member and member"]["pairs"] == 6
    assert found["held-out and member"]["pairs"] == 4
    assert found["members"]["of"] == 4
