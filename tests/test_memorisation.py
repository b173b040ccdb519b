"""The shipped model remembers what it was said to remember: bench/memorisation.py with two images a prompt."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from forensics.generate.rudalle.models import EMBEDDED, home

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.skipif(not (home(EMBEDDED) / "transformer").is_dir(), reason=f"the model {EMBEDDED} is not installed")
def test_what_was_planted_often_comes_back_and_the_rest_does_not(tmp_path: Path) -> None:
    command = [sys.executable, "bench/memorisation.py", "--samples", "2", "--quiet", "--json", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["level"]: row for row in found["prompts whose picture comes back"]}
    assert {level: row["total"] for level, row in rows.items()} == {
        "64x": 16, "16x": 24, "4x": 24, "1x": 30, "held-out": 30,
    }  # fmt: skip
    assert rows["64x"]["value"] >= 0.6
    assert rows["1x"]["value"] <= 0.2
    assert rows["held-out"]["count"] == 0
    marked = {row["what"]: row for row in found["watermarked prompts: the agency's mark comes back"]}
    assert marked["any sample"]["value"] >= 0.5
