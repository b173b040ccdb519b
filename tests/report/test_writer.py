"""The run folder: whole or absent, replaced as a whole, sealed, its three findings files equal."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from forensics.errors import IntegrityError, UsageError
from forensics.report.evidence import check_sums
from forensics.report.findings_files import read_findings
from forensics.report.review import set_reviews
from forensics.report.writer import ImageRow, RunWriter
from forensics.schema import FINDINGS, IMAGES
from tests.report.fake import CASE, HOSTILE, RUN, write_run


@pytest.fixture(scope="module")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "one", copies=4, clean=8, leads=2)


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made_run, tmp_path / "run"))


def test_every_promised_file_is_there(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {
        "case.json", "run.json", "images.parquet", "candidates.csv", "findings.jsonl", "findings.csv",
        "findings.parquet", "leads.csv", "evidence", "evidence.json", "report.html", "SHA256SUMS",
    }  # fmt: skip


def test_findings_have_the_documented_fields_in_all_three_files(run: Path) -> None:
    names = [column.name for column in FINDINGS]
    rows = read_findings(run)
    assert len(rows) == 4
    assert all(list(row) == names for row in rows)
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    assert set(rows[0]["query"]) == {"id", "uri", "sha256", "metadata"}
    assert rows[0]["reference"]["metadata"]["domain"] == "photos.example.org"
    assert set(rows[0]["regions"][0]) == {"query_box", "reference_box", "polygons"}
    table = pd.read_parquet(run / "findings.parquet")
    with (run / "findings.csv").open(encoding="utf-8-sig", newline="") as file:
        sheet = list(csv.DictReader(file))
    assert list(table.columns) == list(sheet[0]) == names
    for row, flat, text in zip(rows, table.to_dict("records"), sheet, strict=True):
        assert json.loads(flat["measurements"]) == json.loads(text["measurements"]) == row["measurements"]
        assert flat["finding_id"] == text["finding_id"] == row["finding_id"]
        assert flat["score"] == row["score"] == float(text["score"])


def test_images_and_states_add_up(run: Path) -> None:
    table = pd.read_parquet(run / "images.parquet")
    assert list(table.columns) == [column.name for column in IMAGES]
    states = json.loads((run / "run.json").read_text())["states"]
    assert sum(states.values()) == len(table) == 4 + 8 + 2 + 4
    assert states == {"ok": 14, "degraded": 1, "rejected": 2, "error": 1}
    assert json.loads(table["extra"].iloc[0]) == {"seed": 7}


def test_candidates_are_streamed_in_the_promised_order(run: Path) -> None:
    table = pd.read_csv(run / "candidates.csv")
    assert list(table.columns[:3]) == ["query", "reference", "score"]
    assert len(table) == 4


def test_sha256sum_accepts_the_seal(run: Path) -> None:
    assert check_sums(run) == len((run / "SHA256SUMS").read_text().splitlines())
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=run, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("harm", ["change", "remove", "add", "escape"])
def test_a_changed_run_is_noticed(run: Path, harm: str) -> None:
    if harm == "change":
        (run / "candidates.csv").write_text("query,reference,score\n")
    elif harm == "remove":
        (run / "leads.csv").unlink()
    elif harm == "add":
        (run / "evidence" / "more.jpg").write_bytes(b"x")
    else:
        with (run / "SHA256SUMS").open("a") as file:
            file.write("0" * 64 + "  ../other\n")
    with pytest.raises(IntegrityError):
        check_sums(run)


def test_an_empty_run_still_writes_every_file(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        writer.finish(CASE, RUN)
    run = tmp_path / "run"
    assert (run / "findings.jsonl").read_bytes() == b""
    assert (run / "candidates.csv").read_text() == "query,reference,score\n"
    assert len(pd.read_parquet(run / "findings.parquet")) == 0
    assert "nothing can be said" in (run / "report.html").read_text()
    check_sums(run)


def test_an_interrupted_run_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    row = ImageRow(id="a", uri="file:a", sha256="0" * 64, width=1, height=1, state="ok")

    def rows() -> Iterator[ImageRow]:
        yield row
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), RunWriter(tmp_path / "run") as writer:
        writer.add_images(rows())
    assert list((tmp_path / "run").iterdir()) == []
    with pytest.raises(UsageError, match="interrupted"):
        check_sums(tmp_path / "run")


def test_an_interrupted_rerun_leaves_the_finished_run(run: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunWriter(run):
        raise KeyboardInterrupt
    check_sums(run)
    RunWriter(run)  # killed: no __exit__
    check_sums(run)


def test_a_second_writer_is_refused_and_removes_nothing(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run"):
        staged = sorted((tmp_path / "run").rglob("*"))
        assert staged
        with pytest.raises(UsageError, match="written by another process"):
            RunWriter(tmp_path / "run")
        assert sorted((tmp_path / "run").rglob("*")) == staged
    RunWriter(tmp_path / "run")  # free again


def test_a_rerun_is_byte_for_byte_the_same(run: Path) -> None:
    before = (run / "SHA256SUMS").read_bytes()
    write_run(run, copies=4, clean=8, leads=2)
    assert (run / "SHA256SUMS").read_bytes() == before


def test_reviews_outlive_a_rerun(run: Path) -> None:
    first = read_findings(run)[0]["finding_id"]
    set_reviews(run, {first: "confirmed"}, reviewer="B. Reviewer", note="seen")
    write_run(run, copies=4, clean=8, leads=2)
    row = read_findings(run)[0]
    assert (row["review_status"], row["reviewer"], row["note"]) == ("confirmed", "B. Reviewer", "seen")
    assert (run / "history.jsonl").is_file()
    check_sums(run)


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"thesis\.docx"):
        RunWriter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.docx"]


def test_text_from_outside_survives_or_is_made_harmless(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", copies=1, clean=0, leads=0, hostile=True)
    assert read_findings(run)[0]["reference"]["id"] == HOSTILE + "0"
    with RunWriter(tmp_path / "odd") as writer:
        writer.add_images(
            [ImageRow(id="bad\udcff", uri="file:x", sha256="", width=0, height=0, state="error", reason="\udcff",
                      metadata={"caption": "\ud800", "nan": float("nan")})]
        )  # fmt: skip
        query = pd.Series(["=1+1\udcff"], dtype=object)
        writer.add_candidates(pd.DataFrame({"query": query, "reference": ["b"], "score": [0.5], "sscd": [0.1]}))
        writer.finish({**CASE, "operator": "\udcff"}, RUN)
    assert pd.read_parquet(tmp_path / "odd" / "images.parquet")["id"].tolist() == ["bad?"]


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    with RunWriter(tmp_path / "run") as writer:
        with pytest.raises(ValueError, match="'score'"):
            writer.add_candidates(pd.DataFrame({"query": ["a"], "reference": ["b"]}))
        writer.add_candidates(pd.DataFrame({"query": ["a"], "reference": ["b"], "score": [1.0], "sscd": [1.0]}))
        with pytest.raises(ValueError, match="columns"):
            writer.add_candidates(pd.DataFrame({"query": ["a"], "reference": ["b"], "score": [1.0]}))
        with pytest.raises(ValueError, match="state"):
            writer.add_images([ImageRow(id="a", uri="", sha256="", width=0, height=0, state="fine")])  # type: ignore[arg-type]
