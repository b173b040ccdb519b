"""bench/pairs.py makes what it promises, the same each time."""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 24 shapes, one of them twice, one blank, and a text file."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(24):
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3)).astype(np.uint8))
        coarse.resize((240, 180), Image.Resampling.NEAREST).save(folder / f"p{seed:02d}.png")
    with Image.open(folder / "p00.png") as first:
        first.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png")
    Image.new("RGB", (200, 200), "white").save(folder / "blank.png")
    (folder / "notes.txt").write_text("not a picture")
    (folder / "broken.jpg").write_bytes(b"not a picture either")
    return folder


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / "pairs.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def truth(folder: Path) -> list[dict[str, str]]:
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digest(folder: Path) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()


def test_bench(pictures: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        out = tmp_path / name
        done = run("bench", f"{pictures}=8", "--out", out, "--queries", "14", "--side", "128", "--seed", "5")
        assert done.returncode == 0, done.stderr
        assert "24 usable pictures" in done.stderr  # neither the turned copy nor the blank one
        made.append(digest(out))
    assert made[0] == made[1]
    rows = truth(tmp_path / "one")
    assert len(rows) == 14
    assert sum(not r["reference"] for r in rows) == 4
    assert {r["severity"] for r in rows if r["reference"]} <= {"easy", "medium", "hard", "redraw"}
    for row in rows:
        with Image.open(tmp_path / "one" / "queries" / row["query"]) as query:
            assert max(query.size) == 128
            size = query.size
        if row["reference"]:
            assert (tmp_path / "one" / "references" / row["reference"]).is_file()
            assert len(row["transform"].split()) == 9
            x0, y0, x1, y1 = map(int, row["query_box"].split())
            assert 0 <= x0 < x1 <= size[0]
            assert 0 <= y0 < y1 <= size[1]
        else:
            assert row["severity"] == "distractor"
            assert not row["transform"]


def test_crops_and_pastes(pictures: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for name in ("p01.png", "p02.png", "p03.png"):
        (few / name).write_bytes((pictures / name).read_bytes())
    out = tmp_path / "out"
    done = run("crops-and-pastes", few, "--out", out, "--share", "0.2")
    assert done.returncode == 0, done.stderr
    rows = truth(out)
    assert [r["query"] for r in rows[:2]] == ["p01_crop.jpg", "p01_paste.jpg"]
    for row in rows:
        share, column = (0.25, "reference_share") if "crop" in row["query"] else (0.2, "query_share")
        assert float(row[column]) == pytest.approx(share, rel=0.05)


def test_a_folder_that_holds_something_is_left_alone(pictures: Path) -> None:
    done = run("bench", pictures, "--out", pictures)
    assert done.returncode == 1
    assert "not empty" in done.stderr
