from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.detect.watermark.discovery import discover
from forensics.errors import WeightsError
from forensics.flows import shared_marks
from forensics.report.evidence import check_sums
from forensics.thresholds import THRESHOLDS, with_overrides
from forensics.types import Record
from tests.cli.program import one_line, run
from tests.detect.watermark.test_discovery import marked, picture


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    for number in range(24):
        image = picture(number)
        Image.fromarray(marked(image, (0.3, 0.2)) if number < 8 else image).resize((256, 256)).save(
            folder / f"{number:02}.png"
        )
    (folder / "no.png").write_bytes(b"nothing")
    Image.new("RGB", (16, 16), "red").save(folder / "tiny.png")
    return folder


def test_a_shared_mark_is_reported_with_its_picture_and_its_images(tmp_path: Path, batch: Path) -> None:
    out = tmp_path / "run"
    done = run("watermarks", batch, "--out", out, "--no-network", "--workers", 0, "-q", "--json")
    assert done.code == 11, done.err  # one file is no image
    facts = json.loads(done.out)
    (mark,) = facts["shared_marks"]
    assert mark["label"] == "unknown agency"
    assert mark["path"] == "fixed"
    assert 6 <= mark["images"] <= 8
    assert facts["images_with_mark"] == mark["images"]
    assert sum(facts["states"].values()) == 26
    rows = [json.loads(line) for line in (out / "findings.jsonl").read_text("utf-8").splitlines()]
    assert {row["kind"] for row in rows} == {"watermark"}
    assert {row["query"]["id"] for row in rows} <= {f"{number:02}.png" for number in range(8)}
    assert all(row["measurements"]["shared_mark"] == mark["mark_id"] for row in rows)
    assert all(0.5 <= row["score"] <= 1 and row["threshold"] == 0.5 for row in rows)
    stored = json.loads((out / "marks.json").read_text("utf-8"))["marks"]
    assert stored[0]["mark_id"] == mark["mark_id"]
    with Image.open(out / stored[0]["picture"]) as shown:
        assert np.asarray(shown).max() > 200
    masks = json.loads((out / "evidence.json").read_text("utf-8"))["masks"]
    assert set(masks) == {row["finding_id"] for row in rows}
    assert check_sums(out) > 20
    html = (out / "report.html").read_text("utf-8")
    assert "Marks shared by this batch" in html
    assert html.count('class="mask"') == len(rows)
    again = run("watermarks", batch, "--out", out, "--no-network", "--workers", 0, "-q")
    assert f"one mark on {mark['images']} images\n" in again.out
    assert str(out / "evidence" / "marks" / f"{mark['mark_id']}.png") in again.out


def test_without_the_network_no_single_mark_is_denied(tmp_path: Path, batch: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "one.png").write_bytes((batch / "00.png").read_bytes())
    done = run("watermarks", few, "--out", tmp_path / "run", "--no-network", "--workers", 0, "-q")
    assert done.code == 0
    html = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "The watermark network did not run" in html
    assert "was a mark that several of them share found" in html
    assert "Too few images were searched" in html


def test_a_threshold_that_does_nothing_here_is_refused(tmp_path: Path, batch: Path) -> None:
    done = run("watermarks", batch, "--out", tmp_path / "run", "--threshold", "meme=0.4", "-q")
    assert done.code == 2
    assert "this command knows: watermark" in done.err


def test_a_batch_without_a_mark_says_so(tmp_path: Path, batch: Path) -> None:
    clean = tmp_path / "clean"
    clean.mkdir()
    for number in range(8, 20):
        (clean / f"{number}.png").write_bytes((batch / f"{number:02}.png").read_bytes())
    done = run("watermarks", clean, "--out", tmp_path / "run", "--no-network", "--workers", 0, "-q")
    assert done.code == 0
    assert "marks on   0 of 12 images" in done.out
    assert json.loads((tmp_path / "run" / "marks.json").read_text("utf-8"))["marks"] == []
    assert "no mark was found that several of them share" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_the_operators_threshold_decides_what_is_shared(tmp_path: Path, batch: Path) -> None:
    given = ("--threshold", "shared_mark=1e5", "--threshold", "moving_mark=1e5", "--no-network", "--workers", 0, "-q")
    done = run("watermarks", batch, "--out", tmp_path / "run", *given)
    assert "marks on   0 of" in done.out
    stated = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["thresholds"]["shared_mark"]
    assert (stated["value"], stated["source"]) == (1e5, "set by the operator")
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "No mark found does not mean" in report
    assert "moving_mark" in report
    assert "duplicate_pdq" not in report


def test_mistakes_are_one_line(tmp_path: Path, batch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("watermarks", batch, "--out", tmp_path / "run", "--no-network", "--no-discover")
    assert done.code == 2
    assert "leave out one of the two" in one_line(done)
    given = ("watermarks", batch, "--out", tmp_path / "run", "--threshold")
    assert "the watermark network does not run" in one_line(run(*given, "watermark=0.9", "--no-network"))
    assert "share are not looked for" in one_line(run(*given, "shared_mark=9", "--no-discover"))
    assert "this command knows" in one_line(run(*given, "cover=0.9"))
    done = run("watermarks", tmp_path / "nowhere", "--out", tmp_path / "run", "--no-network")
    assert done.code == 2
    assert "no such file or folder" in one_line(done)

    def absent(**_: object) -> None:
        raise WeightsError("watermark.onnx is not there; forensics train watermark makes one")

    monkeypatch.setattr("forensics.flows.detectors.watermark", absent)
    done = run("watermarks", batch, "--out", tmp_path / "run")
    assert done.code == 1
    assert "watermark.onnx" in one_line(done)
    done = run("audit", batch, "--index", tmp_path, "--out", tmp_path / "run", "--detect", "watermark,birds")
    assert done.code != 0
    done = run("audit", batch, "--index", tmp_path, "--out", tmp_path / "run", "--detect", "cover", "--no-detect")
    assert "give one of them" in one_line(done)


def test_what_is_asked_of_an_image_is_what_its_score_is_measured_by(
    batch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [batch / f"{number:02}.png" for number in range(24)]
    records = [Record(id=path.name, uri=f"file:{path.name}", metadata={}) for path in paths]
    looked = [shared_marks.look(shared_marks.Looking(root=batch), record) for record in records]
    frames = [one.frame for one in looked if one.frame is not None]
    limits = {"fixed": THRESHOLDS["shared_mark"].value, "moving": THRESHOLDS["moving_mark"].value}
    (mark,) = discover(frames, limits=limits, share=THRESHOLDS["shared_mark_share"].value)
    z = mark.members[min(mark.members)].z
    name = {"fixed": "shared_mark", "moving": "moving_mark"}[mark.path]
    program = THRESHOLDS[name].value
    vouched = replace(mark, vouched=True, limit=0.5 * program)
    # an operator asks for more than this image has: it is listed only where a network points to it
    plan = shared_marks.Looking(
        root=batch,
        marks=((frames[0].shape, vouched),),
        network=True,
        thresholds=with_overrides({name: 1.2 * z}),
    )
    monkeypatch.setattr(shared_marks, "_pointed", lambda pixels, shape, least: None)
    record = records[min(mark.members)]
    assert shared_marks.look(plan, record).seen == []
    monkeypatch.setattr(shared_marks, "_pointed", lambda pixels, shape, least: np.zeros(shape, np.float32))
    (seen,) = shared_marks.look(plan, record).seen
    assert seen.least == pytest.approx(0.8 * z)
    assert seen.z / (seen.z + seen.least) >= 0.5

    asked = []
    monkeypatch.setattr(shared_marks, "_pointed", lambda pixels, shape, least: asked.append(least))
    by_program = replace(plan, thresholds=dict(THRESHOLDS))
    limit, source = by_program.limit_of(vouched)
    assert limit == vouched.limit
    assert source.startswith("this mark's own")
    assert by_program.limit_of(replace(mark, limit=program)) == (program, THRESHOLDS[name].source)
    assert by_program.limit_of(replace(mark, limit=None)) == (program, THRESHOLDS[name].source)
    for factor in (0.5, 1.0, 1.5):
        own = with_overrides({name: factor * program, "watermark_named": 0.3})
        operators = replace(plan, thresholds=own)
        assert operators.limit_of(vouched) == (own[name].value, own[name].source), "an operator's value decides"
        assert "operator" in own[name].source
        shared_marks.look(operators, record)
    assert set(asked) == {0.3}
