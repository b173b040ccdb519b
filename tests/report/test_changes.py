"""What is done to a finished run: reviews, leads, redaction, and the commands that do it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from forensics.cli.report import register
from forensics.errors import IntegrityError, UsageError
from forensics.report.evidence import check_sums, read_pictures
from forensics.report.findings_files import read_findings
from forensics.report.html import render
from forensics.report.leads import CROPS, read_sheet, write_sheet
from forensics.report.redact import find_faces, parse_redactions
from forensics.report.review import read_reviews, set_reviews
from forensics.report.run import load
from tests.report.fake import write_run

app = typer.Typer()
register(app)


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one", copies=3, clean=4, leads=2)


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_run, tmp_path / "run"))


def fill(sheet: Path, number: int, **values: str) -> None:
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    rows[number].update(values)
    with sheet.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, rows[0], delimiter=";")  # as a German spreadsheet saves it
        out.writeheader()
        out.writerows(rows)


def test_an_edited_findings_csv_is_read_back(run: Path) -> None:
    key = read_findings(run)[1]["finding_id"]
    sheet = run / "findings.csv"
    fill(sheet, 1, review_status="unclear", reviewer="=B", note="look again", score="0.001")
    assert read_reviews(run, sheet) == 1
    row = next(row for row in read_findings(run) if row["finding_id"] == key)
    assert (row["review_status"], row["reviewer"], row["note"]) == ("unclear", "=B", "look again")
    assert row["score"] > 0.5  # what was measured is not for editing
    assert "'=B" in sheet.read_text("utf-8-sig")
    check_sums(run)
    assert read_reviews(run, sheet) == 0
    assert len((run / "history.jsonl").read_text().splitlines()) == 1
    render(run)
    assert "look again" in (run / "report.html").read_text()


def test_wrong_reviews_are_refused(run: Path, tmp_path: Path) -> None:
    key = read_findings(run)[0]["finding_id"]
    with pytest.raises(UsageError, match="no finding 'f-no'"):
        set_reviews(run, {"f-no": "confirmed"})
    with pytest.raises(UsageError, match="choose one of"):
        set_reviews(run, {key: "guilty"})
    (tmp_path / "sheet.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="no column 'finding_id'"):
        read_reviews(run, tmp_path / "sheet.csv")
    (run / "candidates.csv").write_text("changed")
    with pytest.raises(IntegrityError):
        set_reviews(run, {key: "confirmed"})


def test_leads_go_out_and_come_back(run: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "out" / "leads.csv"
    assert write_sheet(run, sheet) == 2 * len(CROPS)
    check_sums(run)
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["crop"] for row in rows[: len(CROPS)]] == list(CROPS)
    assert all((sheet.parent / row["file"]).is_file() for row in rows)
    assert {row["address"] for row in rows} == {""}
    page = (tmp_path / "out" / "leads.html").read_text()
    assert page.count("<img ") == len(rows)
    assert "http" not in page.replace("http-equiv", "")
    fill(sheet, 0, address="https://example.org/a?b=<c>", date="2019-05", note="same façade")
    fill_again = sheet.read_text("utf-8").replace(";", ",")  # and with commas
    sheet.write_text(fill_again, "utf-8")
    assert read_sheet(run, sheet) == 1
    assert [root["address"] for root in load(run).roots] == ["https://example.org/a?b=<c>"]
    report = (run / "report.html").read_text()
    assert 'href="https://example.org/a?b=&lt;c&gt;" rel="noopener noreferrer"' in report
    assert "same façade" in report
    check_sums(run)
    with pytest.raises(UsageError, match="already"):
        write_sheet(run, sheet)


def test_an_address_that_runs_code_stays_text(run: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "leads.csv"
    write_sheet(run, sheet)
    fill(sheet, 0, address="javascript:alert(1)")
    read_sheet(run, sheet)
    report = (run / "report.html").read_text()
    assert "javascript:alert(1)" in report
    assert 'href="javascript' not in report


def test_the_sheet_of_another_run_is_refused(run: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "leads.csv"
    write_sheet(run, sheet)
    fill(sheet, 0, query_sha256="0" * 64, note="x")
    with pytest.raises(UsageError, match="no lead"):
        read_sheet(run, sheet)
    with pytest.raises(UsageError, match="inside the run"):
        write_sheet(run, run / "leads2.csv")


def sharpness(path: Path) -> float:
    grey = np.asarray(Image.open(path).convert("L"), np.float32)
    return float(np.abs(np.diff(grey, axis=1)).mean())


def test_references_are_blurred_on_disk_too(run: Path) -> None:
    findings = read_findings(run)
    pictures = read_pictures(run)["pictures"]
    query = run / pictures[findings[0]["query"]["sha256"]]["file"]
    reference = run / pictures[findings[0]["reference"]["sha256"]]["file"]
    before = query.read_bytes(), sharpness(reference)
    render(run, redact={"references"})
    assert query.read_bytes() == before[0]
    assert sharpness(reference) < 0.25 * before[1]
    assert "references were blurred in the stored pictures" in (run / "report.html").read_text()
    assert json.loads((run / "history.jsonl").read_text())["redacted"] == ["references"]
    check_sums(run)
    blurred = reference.read_bytes()
    render(run, redact={"references"})  # not twice
    assert reference.read_bytes() == blurred


def test_pixels_leave_nothing_but_hashes(run: Path) -> None:
    render(run, redact={"pixels", "faces"})
    assert not (run / "evidence").exists()
    report = (run / "report.html").read_text()
    assert "data:image" not in report
    assert "Left out on request" in report
    assert read_findings(run)[0]["query"]["sha256"] in report
    check_sums(run)
    with pytest.raises(UsageError, match="left out"):
        write_sheet(run, run.parent / "leads.csv")


def test_faces_are_found_and_blurred(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    face = Image.fromarray(data.astronaut()).crop((60, 0, 380, 280))
    assert any(
        100 < (x0 + x1) / 2 < 240 and 30 < (y0 + y1) / 2 < 190 for x0, y0, x1, y1 in find_faces(np.asarray(face))
    )
    run = write_run(tmp_path / "run", copies=1, clean=0, leads=0, references=[face])
    pictures = read_pictures(run)["pictures"]
    reference = run / pictures[read_findings(run)[0]["reference"]["sha256"]]["file"]
    before = sharpness(reference)
    render(run, redact={"faces"})
    assert sharpness(reference) < before
    assert "misses many" in (run / "report.html").read_text()


def test_a_picture_without_room_for_a_face() -> None:
    pytest.importorskip("skimage")
    assert find_faces(np.zeros((10, 10, 3), np.uint8)) == []


def test_redactions_are_read_from_one_word() -> None:
    assert parse_redactions(" faces, pixels ") == {"faces", "pixels"}
    assert parse_redactions("") == frozenset()
    with pytest.raises(UsageError, match="choose any of: faces, references, pixels"):
        parse_redactions("names")


def test_commands(run: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    key = read_findings(run)[0]["finding_id"]
    for words in (
        ["report", "verify", str(run)],
        ["report", "render", str(run), "--pictures", "1"],
        ["report", "review", str(run), "--set", f"{key}=confirmed", "--reviewer", "C", "--note", "n"],
        ["report", "review", str(run), "--read", str(run / "findings.csv")],
        ["report", "leads", str(run), "--out", str(tmp_path / "l.csv"), "--top", "1"],
        ["report", "leads", str(run), "--read", str(tmp_path / "l.csv")],
        ["report", "leads", str(run)],
        ["report", "render", str(run), "--redact", "references"],
        ["report", "verify", str(run)],
    ):
        result = runner.invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, (words, result.output)
    assert (tmp_path / "run-leads" / "leads.csv").is_file()
    for words in (
        ["report", "review", str(run)],
        ["report", "review", str(run), "--set", "x"],
        ["report", "leads", str(run), "--out", "a.csv", "--read", "b.csv"],
        ["report", "review", str(run), "--read", "a.csv", "--note", "n"],
    ):
        assert isinstance(runner.invoke(app, words).exception, UsageError), words
    (run / "leads.csv").write_text("x")
    error = runner.invoke(app, ["report", "verify", str(run)]).exception
    assert isinstance(error, IntegrityError)
    assert error.exit_code == 20
