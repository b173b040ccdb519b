"""``forensics demo``: edited pictures with hashes alone, and the tiny world; the whole is in tests/test_example.py."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from forensics.embed.defaults import DefaultEmbedders
from forensics.flows import demo as world_flow
from forensics.flows import edits as flow
from forensics.flows import index as indexing
from forensics.train.corpus import read_corpus
from tests.cli.program import one_line, run
from tests.small_demo import write_small_demo
from tests.small_world import write_world_corpus, write_world_model


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_small_demo(tmp_path / "data", suspects=2, spare=6)
    monkeypatch.setattr(flow, "edits_data", lambda: data)
    monkeypatch.setattr(flow, "_FRESH", 2)
    monkeypatch.setattr(indexing, "default_embedders", lambda: DefaultEmbedders(names=("phash", "pdq")))


def _demo(out: Path, seed: int = 1) -> str:
    done = run("demo", "--edits", "--out", out, "--seed", seed, "--workers", 0, "--quiet")
    assert (done.code, done.err) == (0, "")
    return done.out


def test_the_demo_grades_itself_and_says_what_to_try(tmp_path: Path) -> None:
    out = tmp_path / "reports" / "demo"
    lines = _demo(out).splitlines()
    assert lines[-1] == f"report     {out / 'report.html'}"
    words = next(line for line in lines if line.startswith("try ")).split()
    assert words[1:3] == ["forensics", "search"]
    assert run(*words[2:], "--json", "--top", 1).code == 0
    copies = next(line for line in lines if line.startswith("copies "))
    assert copies.endswith("of 4 found, each with the right reference")
    assert next(line for line in lines if line.startswith("others ")).startswith("others     0 of 2 ")


def test_the_seed_draws_the_suspects(tmp_path: Path) -> None:
    def suspects(seed: int, out: str) -> list[tuple[str, bytes]]:
        _demo(tmp_path / out, seed)
        folder = tmp_path / f"{out}-data"
        with (folder / "suspects.csv").open(encoding="utf-8", newline="") as file:
            paths = [row["path"] for row in csv.DictReader(file)]
        return [(path, (folder / path).read_bytes()) for path in paths]

    first = suspects(1, "first")
    assert suspects(1, "first") == first  # in the same place: the earlier demo is replaced
    other = suspects(2, "second")
    assert [path for path, _ in other] == [path for path, _ in first]
    assert other != first


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine-data").mkdir()
    (tmp_path / "mine-data" / "letter.txt").write_text("kept")
    done = run("demo", "--edits", "--out", tmp_path / "mine")
    assert "not of an earlier demo" in one_line(done)
    assert done.code == 2
    assert (tmp_path / "mine-data" / "letter.txt").read_text() == "kept"


def test_the_worlds_demo_says_what_was_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = read_corpus(write_world_corpus(tmp_path / "corpus"))
    monkeypatch.setattr(world_flow, "embedded_corpus", lambda: corpus)
    monkeypatch.setattr("forensics.embed.default_embedders", lambda: DefaultEmbedders(names=("phash", "pdq")))
    model = write_world_model(tmp_path / "model")
    done = run("demo", "--out", tmp_path / "demo", "--model", model, "--workers", 0, "--quiet")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert any(line.startswith("images     32 in ") for line in lines)
    assert any(line.startswith("copies     0 images are copies") for line in lines)
    assert any(line.startswith("  none     0 of 32 are copies") for line in lines)
    words = next(line for line in lines if line.startswith("try ")).split()
    assert run(*words[2:], "--json", "--top", 1).code == 0
    assert lines[-1] == f"report     {tmp_path / 'demo' / 'report.html'}"


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("demo", "--out", tmp_path / "demo", "--model", tmp_path / "none")
    assert done.code == 2
    assert "none" in one_line(done)
