"""The laboratory's benchmark runs on a tiny world with random weights, which remembers nothing."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

from tests.small_world import drawing, write_world_model

ROOT = Path(__file__).parents[2]


def _corpus(folder: Path) -> Path:
    (folder / "pictures").mkdir(parents=True)
    levels = [64] * 2 + [16] * 2 + [4] * 3 + [1] * 3 + [0] * 12
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "caption", "role", "planted", "group"])
        for number, planted in enumerate(levels):
            drawing(number, 64).save(folder / f"pictures/{number}.png")
            role = "member" if planted else "held-out"
            writer.writerow([f"pictures/{number}.png", f"рисунок {number}", role, planted, f"g{number}"])
    return folder


def test_own_parts(tmp_path: Path) -> None:
    corpus, model = _corpus(tmp_path / "corpus"), write_world_model(tmp_path / "model")
    words = ["--model", model, "--data", corpus, "--scale", 0.02, "--out", tmp_path / "out", "--quiet", "--json"]
    words += ["--only", "membership,dataset,likelihood"]
    command = [sys.executable, "bench/lab.py", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = {(row["part"], row["name"]): row for row in json.loads(done.stdout)["rows"]}
    area = rows["membership", "64x: AUC by min_k_plus_20"]
    assert area["low"] <= area["value"] <= area["high"]
    assert area["count"] == 4  # two of each side at this scale
    differences = [row for (part, name), row in rows.items() if name.endswith("largest difference")]
    assert len(differences) == 2
    assert all(row["met"] for row in differences)
    assert rows["likelihood", "seconds of 1,000 images"]["value"] > 0
    assert rows["dataset", "1 members planted 4x: permutation p"]["value"] > 0.01
