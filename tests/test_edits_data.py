"""The shipped demo: complete, small, licensed, and its truth agrees with its pixels."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "index_data"
DEMO = DATA / "edits"
LICENCES = {"PD", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def files(folder: str) -> set[str]:
    return {p.relative_to(DEMO).as_posix() for p in (DEMO / folder).rglob("*") if p.is_file()}


def source_lines() -> dict[str, list[list[str]]]:
    """Return the cells of each line of SOURCES.md that begins with a shipped file."""
    found: dict[str, list[list[str]]] = {}
    for line in (DATA / "SOURCES.md").read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if re.match(r"(references|suspects)/", cells[0]):
            found.setdefault(cells[0], []).append(cells)
    return found


def test_sources_names_every_picture_and_no_other() -> None:
    assert set(source_lines()) == files("references") | files("suspects")


def test_every_source_line_has_author_licence_and_file() -> None:
    for lines in source_lines().values():
        for cells in lines:
            assert len(cells) == 6
            assert all(cells)
            assert any(word in " ".join(cells) for word in ("public domain", "CC0", "CC BY"))


def test_csv_files_name_every_picture_and_no_other() -> None:
    assert {r["path"] for r in rows(DEMO / "references.csv")} == files("references")
    assert {r["path"] for r in rows(DEMO / "suspects.csv")} == files("suspects")
    assert {r["suspect"] for r in rows(DEMO / "truth.csv")} == files("suspects")


def test_size_and_numbers() -> None:
    assert sum(p.stat().st_size for p in DEMO.rglob("*") if p.is_file()) <= 6_000_000
    assert 150 <= len(files("references")) <= 300
    assert 32 <= len(files("suspects")) <= 40
    copies = [r for r in rows(DEMO / "truth.csv") if r["reference"]]
    assert 0.55 <= len(copies) / len(files("suspects")) <= 0.65


def test_references_have_what_a_report_groups_by() -> None:
    for row in rows(DEMO / "references.csv"):
        assert row["licence"] in LICENCES
        assert all(row[name] for name in ("caption", "source", "author", "domain", "dataset"))
        assert bool(row["rights_holder"]) == row["licence"].startswith("CC-BY")


def test_prompts_are_russian() -> None:
    assert all(re.search("[а-яё]", r["prompt"]) for r in rows(DEMO / "suspects.csv"))


def test_no_suspect_has_to_be_share_alike() -> None:
    suspects = [cells for name, lines in source_lines().items() if name.startswith("suspects/") for cells in lines]
    assert suspects
    assert not [cells[0] for cells in suspects if "BY-SA" in cells[4]]


def test_pictures_decode_at_their_size() -> None:
    for name in sorted(files("references") | files("suspects")):
        with Image.open(DEMO / name) as picture:
            picture.load()
            assert picture.mode == "RGB"
            assert max(picture.size) == (256 if name.startswith("references/") else 320)


def region(row: dict[str, str], name: str) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (int(v) for v in row[name].split())
    return x0, y0, x1, y1


def test_truth_boxes_lie_in_their_pictures() -> None:
    for row in rows(DEMO / "truth.csv"):
        if not row["reference"]:
            assert row["region"] == row["reference_region"] == ""
            continue
        for column, box in (("suspect", "region"), ("reference", "reference_region")):
            with Image.open(DEMO / row[column]) as picture:
                width, height = picture.size
            x0, y0, x1, y1 = region(row, box)
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


@pytest.mark.parametrize("edit", ["crop", "paste", "collage", "crop to a quarter", "caption", "screenshot", "JPEG"])
def test_the_region_shows_the_reference(edit: str) -> None:
    row = next(r for r in rows(DEMO / "truth.csv") if r["edit"] == edit and r["reference"])
    sides = []
    for column, box in (("suspect", "region"), ("reference", "reference_region")):
        with Image.open(DEMO / row[column]) as picture:
            cut = picture.convert("L").crop(region(row, box)).resize((48, 48), Image.Resampling.BOX)
        sides.append(np.asarray(cut, dtype=float).ravel())
    assert np.corrcoef(sides[0], sides[1])[0, 1] > 0.9
