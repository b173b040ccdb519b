"""bench/generate.py runs, and finds both loops equal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_benchmark_runs_at_its_smallest() -> None:
    command = [sys.executable, "bench/generate.py", "--tiny", "--rounds", "1", "--json", "--parts"]
    found = subprocess.run([*command, "loop", "linear", "cuda"], cwd=ROOT, capture_output=True, text=True, check=True)
    parts = json.loads(found.stdout)
    assert set(parts) == {"loop", "linear", "cuda"}
    assert parts["loop"]["furthest logits"] < 1e-4
    assert all(parts["loop"][f"{name}, tokens/s"] > 0 for name in ("bare products", "this decoder", "ru-dalle's work"))


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "bench/generate.py", "--tiny", "--rounds", "1", "--parts", "loop"]
    found = subprocess.run(
        [*command, "--reference", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 1
    assert "a checkout of ru-dalle needed" in found.stderr
