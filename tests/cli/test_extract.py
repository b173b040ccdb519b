"""``forensics extract`` and ``forensics curve`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.program import one_line, run
from tests.flows.lab_models import picture
from tests.small_world import write_world_corpus, write_world_model

ADAPTER = "tests.flows.lab_models:Tokens"


@pytest.fixture
def references(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for start in range(3):
        Image.fromarray(picture([(i + start) % 4 for i in range(16)])).save(folder / f"{start}.png")
    return folder


def test_prefixes_of_an_adapter(references: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("extract", "--from", references, "--model", ADAPTER, "--out", out, "--rows", "0,1", "-n", 0, "--quiet")
    done = run(*words)
    assert done.code == 0, done.err
    assert "came back  3 of 3 references" in done.out
    assert "1 rows   greedy 1.00" in done.out
    assert "estimate   6 images or texts" in done.err
    found = json.loads(run(*words, "--json").out)
    assert found["came_back"] == 3
    # greedy begins with 0, whatever the picture begins with
    assert [prefix["rows"] for prefix in found["prefixes"]] == [0, 1]
    assert found["prefixes"][0]["greedy"] == pytest.approx(1 / 3)
    assert (out / "extraction.html").is_file()


def test_references_that_cannot_be_read_show_in_the_exit_code(references: Path, tmp_path: Path) -> None:
    (references / "broken.png").write_bytes(b"no picture")
    words = ("--model", ADAPTER, "--out", tmp_path / "out", "--rows", "1", "-n", 0, "--quiet")
    done = run("extract", "--from", references, *words)
    assert done.code == 11
    assert "unread     1 references" in done.out
    assert "came back  3 of 3" in done.out


def test_a_dry_run_draws_nothing(references: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("extract", "--from", references, "--model", ADAPTER, "--out", out, "--dry-run", "--quiet")
    assert done.code == 0, done.err
    assert done.out.startswith("estimate   ")
    assert [path.name for path in out.iterdir()] == ["completions.jsonl"]
    assert len((out / "completions.jsonl").read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "neither --from nor --prompts"),
        (("--from", "a", "--prompts", "b"), "both --from and --prompts"),
        (("--from", "in", "--rows", "1,x"), "whole numbers"),
        (("--from", "in", "--rows", "9"), "0 to 3 accepted"),
        (("--from", "in", "--set", "top_k=3"), "--set given with --from"),
        (("--from", "missing"), "no such file"),
        (("--prompts", "кот", "--rows", "1"), "only --from"),
        (("--prompts", "кот", "--no-scores"), "--no-scores given with --prompts"),
        (("--prompts", "кот", "-n", "1"), "2 to 10,000"),
    ],
)
def test_wrong_words_are_one_line(
    references: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(references.parent)
    done = run("extract", *words, "--model", ADAPTER, "--out", "out", "--quiet")
    assert done.code == 2
    assert message in one_line(done)


def test_diffusers_is_told_what_can_be_done(references: Path, tmp_path: Path) -> None:
    done = run("extract", "--from", references, "--model", "diffusers:x/y", "--out", tmp_path / "out", "--quiet")
    assert done.code == 2
    assert "neither likelihoods of tokens nor prefixes" in one_line(done)


def test_prompts_of_random_weights(tmp_path: Path) -> None:
    model = write_world_model(tmp_path / "model")
    words = ("extract", "--prompts", "рисунок а", "--model", model, "-n", 2, "--out", tmp_path / "out", "--quiet")
    done = run(*words)
    assert done.code == 0, done.err
    assert "images     2 from 1 prompts" in done.out
    assert "groups     0" in done.out
    assert json.loads(run(*words, "--json").out)["images"] == 2


def test_a_curve(tmp_path: Path) -> None:
    corpus, model = write_world_corpus(tmp_path / "corpus"), write_world_model(tmp_path / "model")
    weights = next((model / "transformer").glob("*.safetensors"))
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-000007.safetensors").write_bytes(weights.read_bytes())
    words = ("curve", checkpoints, "--model", model, "--corpus", corpus, "--pictures", 1, "--out", tmp_path / "out")
    done = run(*words, "--over", "steps", "--quiet")
    assert done.code == 0, done.err
    assert "steps         7  extraction 64x       0.00" in done.out
    assert "One checkpoint alone" in done.out
    for name in ("curve.csv", "curve.png", "curve.svg", "curve.json", "curve.html"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    assert len(json.loads(run(*words, "--over", "steps", "--quiet", "--json").out)) == 14
    assert "steps" in one_line(run(*words, "--over", "years", "--quiet"))
