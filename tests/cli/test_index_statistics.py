"""``forensics index duplicates`` and ``calibrate`` as a user runs them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.test_index import QUICK, Done, run
from tests.report.fake import scene


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    """Three scenes, the first twice, and a file that is no image."""
    folder = tmp_path_factory.mktemp("statistics")
    (folder / "pictures").mkdir()
    for number in range(3):
        scene(number).save(folder / "pictures" / f"=scene-{number}.png")
    scene(0).resize((320, 240), Image.Resampling.LANCZOS).save(folder / "pictures" / "again.jpg", quality=80)
    (folder / "pictures" / "broken.jpg").write_bytes(b"\xff\xd8 no image")
    built: Done = run("build", folder / "pictures", "--out", folder / "index", *QUICK)
    assert built.returncode == 11
    return folder / "index"


def test_near_duplicates_are_counted_listed_and_kept(index: Path, tmp_path: Path) -> None:
    shown = run("duplicates", index, "--list", tmp_path / "d.csv", "--quiet")
    assert shown.returncode == 0
    assert "compared   4 images, 3 different pictures" in shown.stdout
    assert "groups     1 with 2 images" in shown.stdout
    with (tmp_path / "d.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert {row["id"] for row in rows} == {"'=scene-0.png", "again.jpg"}  # no formula for a spreadsheet
    assert [row["centre"] for row in rows] == ["yes", "no"]
    assert float(rows[1]["score"]) >= 0.93
    facts = json.loads(run("duplicates", index, "--json", "--quiet").stdout)
    assert (facts["groups"], facts["images_in_groups"], facts["distinct"], facts["sizes"]) == (1, 2, 3, {"2": 1})
    assert run("verify", index, "--quiet").returncode == 0


def test_a_stricter_threshold_and_a_json_list(index: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(index, tmp_path / "index")
    strict = run("duplicates", copy, "--threshold", "duplicate_phash=1", "--list", tmp_path / "d.json", "--quiet")
    assert strict.returncode == 0
    assert len(json.loads((tmp_path / "d.json").read_text())) in (0, 2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("duplicates", "nowhere"), "is not an index"),
        (("duplicates", "INDEX", "--list", "d.txt", "--quiet"), ".csv or .json is accepted"),
        (("duplicates", "INDEX", "--threshold", "nothing=1"), "unknown threshold"),
        (("calibrate", "INDEX", "--effort", "much"), "choose one of: fast"),
        (("calibrate", "INDEX", "--queries", "20"), "50 or more"),
        (("calibrate", "INDEX", "--quiet", "--workers", "0"), "name a source of unrelated pictures with --background"),
        (("calibrate", "INDEX", "--quiet", "--same", "nowhere.csv"), "cannot be read"),
        (("calibrate", "INDEX", "--quiet", "--background", "nowhere"), "no such file or folder"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(index: Path, words: tuple, says: str) -> None:
    done = run(*(index if word == "INDEX" else word for word in words))
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
