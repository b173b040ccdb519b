"""The committed run, reports/example: what ``make example`` writes, and what it still writes."""

from __future__ import annotations

import csv
import getpass
import hashlib
import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from forensics import schema, weights
from forensics.flows.demo import demo
from forensics.report.evidence import check_sums
from forensics.report.grading import view

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "reports" / "example"
SEED = 1
TOLERANCE = 0.02
"""Of a score: another processor rounds the network's sums in another order."""

pytestmark = pytest.mark.skipif(
    not (EXAMPLE / "grading.json").is_file(), reason="reports/example is not there; write it with: make example"
)


def _findings(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "findings.jsonl").read_text("utf-8").splitlines()]


def _claims(run: Path) -> dict[tuple[str, str, str], float]:
    return {
        (f["kind"], f["query"]["id"], f["reference"]["id"] if f["reference"] else f["label"]): f["score"]
        for f in _findings(run)
    }


def _images(run: Path) -> dict[str, str]:
    import pandas as pd

    table = pd.read_parquet(run / "images.parquet")
    return dict(zip(table["id"], table["sha256"], strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# As it is committed


def test_it_is_whole_and_sealed() -> None:
    for name in (
        "case.json", "run.json", "images.parquet", "candidates.csv", "findings.jsonl", "findings.csv",
        "findings.parquet", "leads.csv", "evidence.json", "grading.json", "report.html", "SHA256SUMS",
    ):  # fmt: skip
        assert (EXAMPLE / name).is_file(), name
    sealed = check_sums(EXAMPLE)
    assert sealed == sum(path.is_file() for path in EXAMPLE.rglob("*")) - 1
    for path in EXAMPLE.rglob("*"):
        assert not path.name.startswith("."), f"{path} is unfinished work"


def test_its_findings_have_the_documented_columns() -> None:
    findings = _findings(EXAMPLE)
    assert findings
    known = {json.dumps(f["finding_id"]) for f in findings}
    assert len(known) == len(findings)
    for finding in findings:
        assert list(finding) == [column.name for column in schema.FINDINGS]
        assert finding["schema_version"] == schema.FINDINGS_SCHEMA_VERSION
        assert finding["kind"] in (*schema.COPY_KINDS, "watermark", "meme", "cover")
        assert (finding["reference"] is None) == (finding["kind"] == "watermark")
        assert finding["score"] >= finding["threshold"]
        assert finding["review_status"] in schema.REVIEW_STATUSES
        assert finding["reasons"]
    scores = [finding["score"] for finding in findings]
    assert scores == sorted(scores, reverse=True)
    with (EXAMPLE / "findings.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["finding_id"] for row in csv.DictReader(file)] == [f["finding_id"] for f in findings]


def test_its_pictures_are_those_of_the_findings() -> None:
    pictures = json.loads((EXAMPLE / "evidence.json").read_text("utf-8"))["pictures"]
    for finding in _findings(EXAMPLE):
        for side in ("query", "reference") if finding["reference"] else ("query",):
            assert (EXAMPLE / "evidence" / Path(pictures[finding[side]["sha256"]]["file"]).name).is_file()


def test_its_references_are_the_shipped_pictures() -> None:
    """The evidence is of bytes that the checkout has."""
    folder = ROOT / "index_data" / "demo" / "pictures"
    shipped = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert {finding["reference"]["sha256"] for finding in _findings(EXAMPLE) if finding["reference"]} <= shipped


def test_it_finds_copies_and_is_graded() -> None:
    grading = json.loads((EXAMPLE / "grading.json").read_text("utf-8"))
    grade = view(grading)["grade"]
    assert grade.total.images == len(grading["images"]) == 32
    assert grade.total.copies.count >= 8
    assert grade.total.found.count >= 0.8 * grade.total.copies.count
    assert grade.total.wrong.count == 0
    assert grade.total.misnamed.count <= 0.1 * grade.total.misnamed.total
    levels = {level.name: level for level in grade.levels}
    assert set(levels) == {"64x", "16x", "4x", "1x", "held-out", "none"}
    assert levels["64x"].copies.count > levels["1x"].copies.count
    assert 'id="grading"' in (EXAMPLE / "report.html").read_text("utf-8")


def test_it_tells_nothing_of_the_machine_that_made_it() -> None:
    texts = [path for path in EXAMPLE.iterdir() if path.suffix in (".json", ".jsonl", ".csv", ".html")]
    private = {str(ROOT), str(Path.home()), tempfile.gettempdir()}
    for path in texts:
        text = re.sub(r"base64,[A-Za-z0-9+/=]+", "", path.read_text("utf-8"))
        for place in private - {"/"}:
            assert place not in text, f"{path.name} names {place}"
        found = re.search(r"(?<![\w.:/<])/(?:home|root|Users|tmp|work|var|opt|srv|mnt)/[^\s\"<]*", text)
        assert found is None, f"{path.name} has an absolute path: {found and found[0]}"
        assert not re.search(r"(?<![\w/])[A-Z]:\\\\", text), path.name
    case = json.loads((EXAMPLE / "case.json").read_text("utf-8"))
    assert case["operator"] != getpass.getuser()
    assert case["command"] == f"forensics demo --out reports/example --seed {SEED}"


def test_the_repository_keeps_it_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLE.rglob("*") if path.is_file()) < 8_000_000


# ---------------------------------------------------------------------------------------------------------------------
# As it is made


@pytest.mark.slow
@pytest.mark.skipif(weights.find("sscd-int8") is None, reason=f"no sscd-int8: {weights.model('sscd-int8').command}")
def test_made_again_it_claims_the_same(tmp_path: Path) -> None:
    """One test, because the demo is made once: a minute or two."""
    again = demo(out=tmp_path / "example", seed=SEED)
    total = again.grade.total
    assert total.copies.count >= 8
    assert total.found.count >= 0.8 * total.copies.count
    assert total.wrong.count == 0, "an image that is no copy was flagged"
    assert dict(again.audit.states) == {"ok": 32}

    run, made = (json.loads((folder / "run.json").read_text("utf-8")) for folder in (EXAMPLE, again.audit.run_dir))
    names, here = ([embedder["name"] for embedder in facts["embedders"]] for facts in (run, made))
    if names != here:
        pytest.skip(f"the example was made with {', '.join(names)}; here are {', '.join(here)}")
    assert made["thresholds"] == run["thresholds"], "thresholds were changed; run: make example"
    assert made["score_model"] == run["score_model"], "the score model was changed; run: make example"
    if _images(EXAMPLE) != _images(again.audit.run_dir):
        pytest.skip("this processor rounds otherwise, so that the model draws other images")
    expected, claims = _claims(EXAMPLE), _claims(again.audit.run_dir)
    assert claims.keys() == expected.keys()
    for claim, score in expected.items():
        assert claims[claim] == pytest.approx(score, abs=TOLERANCE), claim
