"""The laboratory's extraction benchmark runs on a tiny world, judges, goes on, and names what is committed as such."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.small_world import write_world_corpus, write_world_model

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "bench" / "results" / "lab_curve.json"


def _run(*arguments: Any) -> list[dict[str, Any]]:
    command = [sys.executable, "bench/lab_extraction.py", *map(str, arguments), "--quiet", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_random_weights_fail_what_needs_a_memory(tmp_path: Path) -> None:
    corpus, model = write_world_corpus(tmp_path / "corpus"), write_world_model(tmp_path / "model")
    arguments = ("--model", model, "--data", corpus, "--only", "extraction,repeats", "--cache", tmp_path / "cache")
    rows = _run(*arguments)
    judged = {(row["part"], row["name"][:4]): row["met"] for row in rows if row["target"]}
    assert judged["extraction", "64x:"] is False
    assert judged["extraction", "held"] is True
    assert judged["repeats", "64x:"] is False
    drawn = (tmp_path / "cache" / "completions.jsonl").read_bytes()
    assert _run(*arguments) == rows
    assert (tmp_path / "cache" / "completions.jsonl").read_bytes() == drawn, "nothing is drawn twice"


@pytest.mark.skipif(not COMMITTED.is_file(), reason="no committed curve")
def test_the_committed_curve_is_named_as_such() -> None:
    rows = _run("--only", "curve")
    assert all("committed table" in row["source"] for row in rows)
    assert next(row for row in rows if row["target"])["met"] is True
    steps = {row["name"].split(",")[0] for row in rows if row["name"].startswith("step")}
    assert len(steps) >= 4
    for name, digest in json.loads(COMMITTED.read_text("utf-8"))["checkpoints"].items():
        assert name.startswith("step-")
        assert len(digest) == 64
