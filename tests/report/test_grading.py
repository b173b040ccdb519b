"""The grading section: counts, intervals, the sealed file, and that other reports have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from forensics.errors import IntegrityError
from forensics.report.evidence import check_sums
from forensics.report.grading import Graded, Share, add_grading, grade
from forensics.report.html import render
from tests.report.fake import write_run

IMAGES = [
    Graded(id="a", level="64x", copies=["m1"], flagged=["m1", "d"], mark="x", marks=["x"]),
    Graded(id="b", level="64x", copies=["m2"], flagged=["d"], mark="x", marks=["y"]),
    Graded(id="c", level="64x", copies=["m3"]),
    Graded(id="d", level="held-out", flagged=["m1"], marks=["x"]),
    Graded(id="e<script>", level="none"),
]


def test_counts() -> None:
    found = grade(IMAGES)
    total = found.total
    assert (total.copies, total.found) == (Share(count=3, total=5), Share(count=2, total=3))
    assert (total.named, total.wrong) == (Share(count=1, total=2), Share(count=1, total=3))
    assert [(level.name, level.images) for level in found.levels] == [("64x", 3), ("held-out", 1), ("none", 1)]
    assert found.levels[1].wrong == Share(count=1, total=1)
    assert found.marks == Share(count=1, total=2)
    assert found.other_marks == Share(count=1, total=3)


def test_shares_speak_with_their_interval() -> None:
    assert Share(count=9, total=10).text == "9 of 10 (60 to 98 %)"
    assert Share(count=0, total=0).text == "–"
    assert Share(count=0, total=0).interval == (0.0, 1.0)


def test_it_is_sealed_and_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert "Grading" not in (run / "report.html").read_text("utf-8")
    assert add_grading(run, IMAGES, rule={"near": 0.1}).total.images == 5
    check_sums(run)
    html = (run / "report.html").read_text("utf-8")
    assert 'id="grading"' in html
    assert "2<small>of 3" in html
    assert "e<script>" not in html
    content = json.loads((run / "grading.json").read_text("utf-8"))
    assert content["rule"] == {"near": 0.1}
    assert [image["id"] for image in content["images"]] == [image.id for image in IMAGES]
    render(run)
    assert 'id="grading"' in (run / "report.html").read_text("utf-8")
    (run / "grading.json").write_text("{}")
    with pytest.raises(IntegrityError, match="grading"):
        render(run)


def test_a_new_run_drops_the_grade_of_the_old_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    add_grading(run, IMAGES, rule={})
    write_run(tmp_path / "run")
    assert not (run / "grading.json").exists()
    assert "Grading" not in (run / "report.html").read_text("utf-8")
