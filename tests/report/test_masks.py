"""Masks and shared marks in a run folder and in its report."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.errors import IntegrityError
from forensics.report.evidence import check_sums, mask_name
from forensics.report.html import render
from forensics.report.run import load
from forensics.report.views import summary
from forensics.report.writer import ImageRow, RunWriter
from forensics.types import Finding, ImageRef, Region
from tests.report.chromium import PROGRAM, Chromium

RUN = {"detectors": [{"name": "watermark"}], "thresholds": {}, "settings": {}, "notes": []}
CASE = {
    "case_id": "",
    "operator": "",
    "started_utc": "",
    "finished_utc": "",
    "command": "",
    "version": "",
    "commit": "",
}


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def finding(number: int, *, mark: str = "m-abc", label: str = "Agency <b>") -> Finding:
    sha256 = f"{number:064x}"
    return Finding(
        finding_id=f"f-{number:020x}",
        kind="watermark",
        query=ImageRef(id=f"{number}.png", uri=f"file:{number}.png", sha256=sha256),
        reference=None,
        label=label,
        score=0.9 - number / 100,
        threshold=0.5,
        threshold_source="a test's",
        measurements={"mark_legibility": "garbled", "batch_share": 0.75, "mark_period": 65.0, "shared_mark": mark},
        regions=(Region(query_box=(10, 10, 60, 40)),),
        reasons=("It was seen.",),
    )


def written(folder: Path, *, marks: bool = True, findings: int = 3) -> Path:
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 10:50] = 255
    with RunWriter(folder) as writer:
        for number in range(4):
            sha256 = f"{number:064x}"
            writer.add_images(
                [
                    ImageRow(
                        id=f"{number}.png", uri=f"file:{number}.png", sha256=sha256, width=640, height=480, state="ok"
                    )
                ]
            )
            if number < findings:
                writer.add_finding(finding(number))
                writer.add_mask(f"f-{number:020x}", encoded(mask, "PNG"))
                writer.add_picture(sha256, encoded(np.full((480, 640, 3), 40 * number, np.uint8), "JPEG"), 640, 480)
        if marks:
            row = {"mark_id": "m-abc", "path": "fixed", "label": "Agency <b>", "images": findings, "searched": 4,
                   "share": findings / 4, "p_value": 0.005, "period": [0.25, 0.0]}  # fmt: skip
            writer.add_shared_marks([(row, encoded(mask, "PNG"))] if findings else [])
        writer.finish(CASE, RUN)
    return folder


def test_masks_are_evidence(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    listed = json.loads((run / "evidence.json").read_text("utf-8"))["masks"]
    assert listed == {f"f-{n:020x}": mask_name(f"f-{n:020x}") for n in range(3)}
    assert all(name in (run / "SHA256SUMS").read_text("utf-8") for name in listed.values())
    assert "evidence/marks/m-abc.png" in (run / "SHA256SUMS").read_text("utf-8")
    (run / mask_name(f"f-{0:020x}")).write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="was changed"):
        check_sums(run)


def test_the_report_draws_masks_and_names_the_mark(tmp_path: Path) -> None:
    html = (written(tmp_path / "run") / "report.html").read_text("utf-8")
    assert html.count('class="mask"') == 3
    assert html.count('class="toggle"') == 3
    assert "Agency &lt;b&gt;" in html
    assert "Agency <b>" not in html
    assert "3 of the 4 images that were searched bear a picture agency’s mark." in html
    assert "Marks shared by this batch" in html
    assert "25 % of the width" in html
    assert "Legibility of the mark" in html
    assert "75 %" in html
    for absent in ("Possible roots", "reference image", "Descriptors that were used"):
        assert absent not in html


def test_no_mark_is_said_and_no_search_is_not(tmp_path: Path) -> None:
    html = (written(tmp_path / "none", findings=0) / "report.html").read_text("utf-8")
    assert "Too few images were searched to say what several of them share: 8 of one shape" in html
    assert "On none of the 4 images that were searched was a picture agency’s mark found." in html
    html = (written(tmp_path / "unasked", marks=False) / "report.html").read_text("utf-8")
    assert "Marks shared by this batch" not in html
    run = load(tmp_path / "unasked")
    assert run.marks is None
    assert summary(run).rate.count == 3


def test_a_rerun_without_the_search_leaves_no_old_marks(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    written(run, marks=False)
    assert not (run / "marks.json").exists()
    assert not (run / "evidence" / "marks").exists()
    check_sums(run)


def test_redaction_takes_masks_too(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    render(run, redact={"pixels"})
    assert not (run / "evidence").exists()
    assert "masks" not in json.loads((run / "evidence.json").read_text("utf-8"))
    html = (run / "report.html").read_text("utf-8")
    assert 'class="mask"' not in html
    assert "No picture was stored" in html
    check_sums(run)


def test_a_damaged_mask_leaves_the_outline(tmp_path: Path) -> None:
    from forensics.report.evidence import write_sums

    run = written(tmp_path / "run")
    (run / mask_name(f"f-{0:020x}")).write_bytes(b"no picture")
    write_sums(run)
    html = render(run).read_text("utf-8")
    assert html.count('class="mask"') == 2
    assert html.count('class="region"') == 1


@pytest.mark.browser
@pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
def test_the_mask_can_be_hidden(tmp_path: Path) -> None:
    run = written(tmp_path / "run")
    with Chromium(tmp_path / "profile") as page:
        page.open((run / "report.html").as_uri())
        shown = "getComputedStyle(document.querySelector('.finding .mask')).display"
        assert page.run(shown) != "none"
        page.run("document.querySelector('.toggle input').click()")
        assert page.run(shown) == "none"
        assert page.run("document.documentElement.scrollWidth <= window.innerWidth")
