"""``forensics audit`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import World
from tests.cli.program import Done, run


def _audit(world: World, source: Path, out: Path, *more: object) -> Done:
    """Audit for copies alone: the pictures are patterns of blocks, whatever else may be seen in them."""
    return run("audit", source, "--index", world.index, "--out", out, "--workers", 0, "--no-detect", *more)


@pytest.fixture(scope="module")
def done(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    out = tmp_path_factory.mktemp("audit") / "run"
    return _audit(world, world.suspects, out, "--case-id", "A v. B", "--operator", "J. Doe"), out


def test_the_summary(done: tuple[Done, Path]) -> None:
    ended, out = done
    assert ended.code == 0
    lines = dict(line.split(None, 1) for line in ended.out.splitlines())
    assert lines["searched"] == "4 of 4 images"
    assert lines["copies"] == "in  2 of 4 images"
    assert lines["findings"].startswith("2: ")
    assert lines["leads"].endswith("(alike, not claimed to be copies)")
    assert lines["report"] == str(out / "report.html")


def test_progress_is_on_stderr_and_names_each_stage_once(done: tuple[Done, Path]) -> None:
    lines = done[0].err.splitlines()
    for stage in ("describe", "verify", "pictures"):
        assert lines.count(f"{stage} …") == 1
        assert sum(line.startswith(f"{stage}: ") for line in lines) == 1


def test_case_and_operator_are_kept(done: tuple[Done, Path]) -> None:
    case = json.loads((done[1] / "case.json").read_text("utf-8"))
    assert (case["case_id"], case["operator"]) == ("A v. B", "J. Doe")
    assert case["command"].startswith("forensics audit ")


def test_json_and_exit_codes(world: World, tmp_path: Path) -> None:
    """One run folder, audited again and again: 11 for what cannot be read, 10 before it where it is asked for."""
    out = tmp_path / "run"
    ended = _audit(world, world.broken, out, "--json", "--quiet")
    assert (ended.code, ended.err) == (11, "")
    facts = json.loads(ended.out)
    assert set(facts) == {"run", "report", "states", "findings", "images_with_copy", "leads", "notes"}
    assert facts["states"]["ok"] == facts["images_with_copy"] == 1
    assert Path(facts["report"]).is_file()
    assert any("SSCD" in note for note in facts["notes"])
    again = _audit(world, world.broken, out, "--fail-on-findings", "--quiet")
    assert again.code == 10
    assert "searched   1 of 2 images (1 rejected: reasons in the report)" in again.out


def test_no_findings_is_clean_even_where_they_would_fail(world: World, tmp_path: Path) -> None:
    strict = ("--threshold", "belief=1.1", "--fail-on-findings", "--effort", "fast", "--quiet")
    ended = _audit(world, world.suspects, tmp_path / "run", *strict)
    assert ended.code == 0
    assert "findings   0\n" in ended.out
    assert (tmp_path / "run" / "findings.jsonl").read_text("utf-8") == ""
    thresholds = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["thresholds"]
    assert thresholds["belief"] == {**thresholds["belief"], "value": 1.1, "source": "set by the operator"}


def test_the_operator_comes_from_the_environment(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORENSICS_OPERATOR", "E. Env")
    assert _audit(world, world.broken, tmp_path / "run", "--redact", "pixels", "--quiet").code == 11
    assert json.loads((tmp_path / "run" / "case.json").read_text("utf-8"))["operator"] == "E. Env"
    assert not list((tmp_path / "run" / "evidence").glob("*"))
