"""The whole path on a handful of photographs, without SSCD (always) and with it (where its weights are)."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from forensics import audit, build_index, search, weights
from forensics.errors import SpecMismatchError, UsageError
from forensics.report.evidence import check_sums

HASHES = ("phash", "pdq")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Four references, and suspects: a crop, a recompressed mirror, an unrelated picture, a file that is no image."""
    root = tmp_path_factory.mktemp("world")
    pictures = {"astronaut": data.astronaut(), "cat": data.chelsea(), "coffee": data.coffee(), "rocket": data.rocket()}
    (root / "references").mkdir()
    (root / "suspects").mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(root / "references" / f"{name}.png")
    Image.fromarray(pictures["astronaut"][20:340, 100:420]).save(root / "suspects" / "crop.jpg", quality=85)
    Image.fromarray(np.ascontiguousarray(pictures["cat"][:, ::-1])).save(root / "suspects" / "mirror.jpg", quality=60)
    Image.fromarray(data.immunohistochemistry()).save(root / "suspects" / "other.png")
    (root / "suspects" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    return root


@pytest.fixture(scope="module")
def index(world):
    build_index(world / "references", out=world / "index", hashes=HASHES, embedders=(), workers=0)
    return world / "index"


@pytest.fixture(scope="module")
def result(world, index):
    return audit(world / "suspects", index=index, out=world / "run", workers=1, case_id="T 1")


def _findings(result):
    lines = (result.run_dir / "findings.jsonl").read_text("utf-8").splitlines()
    return {json.loads(line)["query"]["id"]: json.loads(line) for line in lines}


def test_every_input_has_a_state(result):
    assert dict(result.states) == {"ok": 3, "rejected": 1} or dict(result.states) == {"ok": 3, "error": 1}
    assert len(result.images()) == 4


def test_copies_are_found_located_and_explained(result):
    found = _findings(result)
    assert set(found) == {"crop.jpg", "mirror.jpg"}
    crop = found["crop.jpg"]
    assert crop["kind"] == "partial_copy"
    assert crop["reference"]["id"] == "astronaut.png"
    assert np.abs(np.array(crop["regions"][0]["reference_box"]) - [100, 20, 420, 340]).max() <= 8
    assert found["mirror.jpg"]["kind"] == "near_copy"
    assert found["mirror.jpg"]["measurements"]["mirrored"]
    assert all(sentence.endswith(".") for sentence in crop["reasons"])


def test_the_candidates_table_is_what_a_scorer_reads(result):
    with (result.run_dir / "candidates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {"query", "reference", "score", "verdict", "phash", "pdq", "inliers", "similarity"} <= set(rows[0])
    best = max((row for row in rows if row["query"] == "crop.jpg"), key=lambda row: float(row["score"]))
    assert best["reference"] == "astronaut.png"


def test_the_run_is_evidence(result):
    check_sums(result.run_dir)
    assert not (result.run_dir / ".work").exists()
    run = json.loads((result.run_dir / "run.json").read_text("utf-8"))
    assert run["states"]["ok"] == 3
    assert [spec["name"] for spec in run["embedders"]] == list(HASHES)
    assert any("No copy descriptor" in note for note in run["notes"])
    assert json.loads((result.run_dir / "case.json").read_text("utf-8"))["case_id"] == "T 1"
    assert "T 1" in result.report.read_text("utf-8")


def test_a_rerun_gives_the_same_findings_and_keeps_reviews(world, index, result):
    before = _findings(result)
    again = audit(world / "suspects", index=index, out=world / "run", workers=0, case_id="T 1")
    assert _findings(again) == before


def test_an_interrupted_audit_goes_on(world, index, result, monkeypatch):
    """Killed after the verification: the second run verifies nothing again."""
    from forensics.flows import audit as flow

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(flow, "_add_pictures", stop)
        with pytest.raises(KeyboardInterrupt):
            audit(world / "suspects", index=index, out=world / "resumed", workers=0)
    kept = world / "resumed" / ".work" / "verified" / "part-00000.json"
    stamp = kept.stat().st_mtime_ns
    with monkeypatch.context() as patch:
        patch.setattr("forensics.flows.pairs.verify_pair", stop)
        again = audit(world / "suspects", index=index, out=world / "resumed", workers=0)
    assert stamp
    assert {k: v["finding_id"] for k, v in _findings(again).items()} == {
        k: v["finding_id"] for k, v in _findings(result).items()
    }


def test_references_that_are_gone_are_unverified_not_dropped(world, tmp_path):
    moved = tmp_path / "references"
    moved.mkdir()
    for file in (world / "references").iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    build_index(moved, out=tmp_path / "index", hashes=HASHES, embedders=(), workers=0)
    (moved / "cat.png").unlink()
    run = audit(world / "suspects", index=tmp_path / "index", out=tmp_path / "run", workers=0)
    table = run.candidates()
    pair = table[(table["query"] == "mirror.jpg") & (table["reference"] == "cat.png")]
    assert not pair["verified"].iloc[0]
    elsewhere = {str(moved): str(world / "references")}
    again = audit(
        world / "suspects", index=tmp_path / "index", out=tmp_path / "again", workers=0, source_roots=elsewhere
    )
    assert "mirror.jpg" in _findings(again)


def test_search_finds_the_source_of_a_crop(world, index, tmp_path):
    found = search(world / "suspects" / "crop.jpg", index=index, top=2, html=tmp_path / "page.html")
    assert found.matches[0]["reference"] == "astronaut.png"
    assert found.matches[0]["verdict"] == "partial_copy"
    assert found.matches[0]["score"] >= found.matches[-1]["score"]
    assert "data:image/jpeg" in (tmp_path / "page.html").read_text("utf-8")
    assert len(found.table()) <= 2


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda world, index: audit(world / "nowhere", index=index, out=world / "x"), "nowhere"),
        (lambda world, index: audit(world / "suspects", index=world / "references", out=world / "x"), "index"),
        (lambda world, index: audit(world / "suspects", index=index, out=world / "references"), "not of a run"),
        (lambda world, index: search(world / "none.png", index=index), "none.png"),
        (lambda world, index: search(world / "suspects" / "broken.jpg", index=index), "cannot be searched"),
    ],
)
def test_bad_input_is_one_clear_error(world, index, call, words):
    from forensics.errors import ForensicsError

    with pytest.raises(ForensicsError, match=words):
        call(world, index)


def test_an_index_of_unknown_embedders_is_refused(world, index, tmp_path, monkeypatch):
    def gone(name):
        raise UsageError(f"no {name}")

    monkeypatch.setattr("forensics.flows.embedders.create", gone)
    with pytest.raises(SpecMismatchError, match="no embedder of the index"):
        audit(world / "suspects", index=index, out=tmp_path / "run")


@pytest.mark.skipif(weights.find("sscd-int8") is None, reason="no weights; try: forensics weights fetch sscd-int8")
def test_with_sscd_the_proprietary_build_is_named(world, tmp_path):
    build_index(world / "references", out=tmp_path / "index", hashes=(), embedders=("sscd-int8",), workers=1)
    run = audit(world / "suspects", index=tmp_path / "index", out=tmp_path / "run", workers=1)
    assert set(_findings(run)) == {"crop.jpg", "mirror.jpg"}
    assert any("proprietary" in note for note in run.notes)
    assert "proprietary" in run.report.read_text("utf-8")
