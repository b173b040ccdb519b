from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forensics.errors import SourceError, UsageError
from forensics.flows.detect import DetectOptions, DetectorSpec, detect_source
from forensics.flows.examine import Examination, examine, examined
from forensics.report.evidence import check_sums
from forensics.sources import open_source
from tests.detectors import RedDetector

RED = DetectorSpec(factory="tests.detectors:red")
HERE = DetectOptions(workers=0)


def picture(number: int, *, red: bool = False, side: tuple[int, int] = (64, 48)) -> Image.Image:
    rng = np.random.default_rng(number)
    small = rng.integers(60, 150, (6, 8, 3), np.uint8)
    image = Image.fromarray(small).resize(side, Image.Resampling.BICUBIC)
    if red:
        image.paste((255, 0, 0), (8, 8, 24, 20))
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(6):
        picture(number, red=number % 3 == 0).save(made / f"{number}.png")
    (made / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return made


def findings(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "findings.jsonl").read_text("utf-8").splitlines()]


def test_a_folder_becomes_a_run(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "run"
    done = detect_source(folder, detectors=[RED], out=out, options=DetectOptions(workers=2, case_id="c-1"))
    assert done.states in ({"ok": 6, "rejected": 1}, {"ok": 6, "error": 1})
    assert done.findings_count == {"watermark": 2}
    assert done.labels == {"Red Agency": 2}
    assert done.images_with_finding == 2
    rows = findings(out)
    assert [row["query"]["id"] for row in rows] == ["0.png", "3.png"]  # type: ignore[index]
    assert rows[0]["regions"][0]["query_box"] == [8, 8, 24, 20]  # type: ignore[index]
    assert rows[0]["measurements"]["batch_share"] == pytest.approx(1 / 3)  # type: ignore[index]
    assert rows[0]["reference"] is None
    assert len(pd.read_parquet(out / "images.parquet")) == 7
    evidence = json.loads((out / "evidence.json").read_text())
    for row in rows:
        with Image.open(out / evidence["masks"][row["finding_id"]]) as mask:
            assert mask.size == (64, 48)
            assert np.asarray(mask)[10, 10] == 255
    run = json.loads((out / "run.json").read_text())
    assert run["detectors"] == [{"name": "red", "version": "1", "fail_at": 0}]
    assert run["states"]["ok"] == 6
    assert "index" not in run
    assert check_sums(out) > 8
    assert not (out / ".work").exists()


def test_boxes_and_masks_are_those_of_the_full_image(tmp_path: Path) -> None:
    made = tmp_path / "large"
    made.mkdir()
    picture(1, red=True, side=(6400, 4800)).resize((6400, 4800)).save(made / "large.jpg", quality=95)
    image = Image.new("RGB", (6400, 4800), (90, 90, 90))
    image.paste((255, 0, 0), (640, 480, 3200, 2400))
    image.save(made / "large.jpg", quality=95)
    detect_source(made, detectors=[RED], out=tmp_path / "run", options=HERE)
    (row,) = findings(tmp_path / "run")
    box = row["regions"][0]["query_box"]  # type: ignore[index]
    assert np.abs(np.array(box) - [640, 480, 3200, 2400]).max() <= 16
    with Image.open(tmp_path / "run" / "evidence" / "masks" / f"{row['finding_id']}.png") as mask:
        assert mask.size == (512, 384)


def test_a_detector_that_fails_on_an_image_leaves_its_reason(tmp_path: Path, folder: Path) -> None:
    picture(9, side=(50, 50)).save(folder / "odd.png")
    spec = DetectorSpec(factory="tests.detectors:red", arguments={"fail_at": 50})
    done = detect_source(folder, detectors=[spec], out=tmp_path / "run", options=HERE)
    assert done.states["degraded"] == 1
    table = pd.read_parquet(tmp_path / "run" / "images.parquet").set_index("id")
    assert table.loc["odd.png", "reason"] == "red failed: RuntimeError: this width breaks it"


MODEST = DetectorSpec(factory="tests.detectors:modest")


@pytest.mark.parametrize("detectors", [[RED, MODEST], [MODEST, RED]], ids=["after", "before"])
def test_a_detector_takes_back_what_another_one_explains(
    tmp_path: Path, folder: Path, detectors: list[DetectorSpec]
) -> None:
    done = detect_source(folder, detectors=detectors, out=tmp_path / "run", options=HERE)
    assert done.findings_count == {"watermark": 2}
    alone = detect_source(folder, detectors=[MODEST], out=tmp_path / "alone", options=HERE)
    assert alone.findings_count == {"cover": 2}


def test_a_finding_stands_where_the_second_thought_fails(tmp_path: Path, folder: Path) -> None:
    breaks = DetectorSpec(factory="tests.detectors:modest", arguments={"fail_at": 63})
    done = detect_source(folder, detectors=[RED, breaks], out=tmp_path / "run", options=HERE)
    assert done.findings_count == {"watermark": 2, "cover": 2}
    assert done.states["degraded"] == 2
    table = pd.read_parquet(tmp_path / "run" / "images.parquet").set_index("id")
    assert table.loc["0.png", "reason"] == "modest failed: RuntimeError: this width breaks it"


def test_what_one_detector_says_amiss_is_its_own_failure(tmp_path: Path, folder: Path) -> None:
    odd = DetectorSpec(factory="tests.detectors:odd")
    done = detect_source(folder, detectors=[odd, RED], out=tmp_path / "run", options=HERE)
    assert done.findings_count == {"watermark": 2}
    assert done.states["degraded"] == 2
    table = pd.read_parquet(tmp_path / "run" / "images.parquet").set_index("id")
    assert table.loc["0.png", "reason"] == "odd failed: ValueError: cannot convert float NaN to integer"


def test_what_was_examined_is_not_examined_twice(tmp_path: Path, folder: Path) -> None:
    source = open_source(folder)
    plan = Examination(root=source.root, detectors=(RED,))
    records = list(source.records())
    work = tmp_path / "work"
    assert examine(plan, records[:3], work, workers=0) == 3
    log = work / "examined.jsonl"
    log.write_bytes(log.read_bytes() + b'{"id": "half')  # killed while it wrote
    first = list(examined_ids(work, plan, records))
    assert first == [record.id for record in records]
    with pytest.raises(SourceError, match="no longer lists"):
        examine(plan, records[1:], work, workers=0)
    other = Examination(
        root=source.root, detectors=(DetectorSpec(factory="tests.detectors:red", arguments={"label": "B"}),)
    )
    assert examine(other, records[:1], work, workers=0) == 1


def test_what_other_weights_examined_is_examined_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(folder)
    plan = Examination(root=source.root, detectors=(RED,))
    work = tmp_path / "work"
    assert examine(plan, list(source.records()), work, workers=0) > 1
    monkeypatch.setattr(RedDetector, "facts", {"version": "2", "fail_at": 0})
    assert examine(plan, list(source.records())[:1], work, workers=0) == 1


def examined_ids(work: Path, plan: Examination, records: list[object]) -> list[str]:
    assert examine(plan, records, work, workers=0) == len(records)  # type: ignore[arg-type]
    return [image.record.id for image in examined(work)]


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(300):
        picture(number, red=number % 50 == 0).save(made / f"{number:03}.png")
    out = tmp_path / "run"
    code = (
        "from forensics.flows.detect import *\n"
        f"detect_source({str(made)!r}, detectors=[DetectorSpec(factory='tests.detectors:red')], out={str(out)!r}, "
        "options=DetectOptions(workers=1))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    log = out / ".work" / "examined" / "examined.jsonl"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (log.is_file() and log.stat().st_size > 2000):
        assert process.poll() is None or (out / "report.html").is_file()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = log.read_bytes() if log.is_file() else b""
    done = detect_source(made, detectors=[RED], out=out, options=DetectOptions(workers=0))
    assert sorted(str(row["query"]["id"]) for row in findings(out)) == [f"{n:03}.png" for n in range(0, 300, 50)]  # type: ignore[index]
    assert sum(done.states.values()) == 300
    assert before == b"" or before.count(b"\n") > 3


def test_nothing_to_do_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="no detector"):
        detect_source(folder, detectors=[], out=tmp_path / "run")
    with pytest.raises(SourceError, match="no such"):
        detect_source(tmp_path / "nowhere", detectors=[RED], out=tmp_path / "run")
    with pytest.raises(UsageError, match="no detector at"):
        detect_source(folder, detectors=[DetectorSpec(factory="forensics.detect:nothing")], out=tmp_path / "run")
    with pytest.raises(UsageError, match="module:attribute"):
        detect_source(folder, detectors=[DetectorSpec(factory="nothing")], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
