"""Prefix extraction end to end: a bigram whose answers are known, a poem, the tiny world."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.errors import ForensicsError, SourceError, UsageError
from forensics.flows.completions import Asked, CompletionStore, complete_all, default_rows, estimate
from forensics.flows.extraction import extract
from forensics.generate import GeneratorOptions
from forensics.types import AutoregressiveSpec
from tests.faust import LENGTH, SEEN, UNSEEN, reciting_model
from tests.flows.lab_models import Tokens, picture
from tests.small_world import write_world_corpus, write_world_model

CYCLE = [i % 4 for i in range(16)]
SHIFTED = [(i + 1) % 4 for i in range(16)]
OTHER = [0, 0, 2, 2, 3, 1, 1, 3, 0, 2, 1, 1, 3, 3, 0, 2]


def _references(folder: Path, *rows: list[int]) -> Path:
    folder.mkdir()
    for number, row in enumerate(rows):
        Image.fromarray(picture(row)).save(folder / f"{number}.png")
    return folder


def test_what_a_bigram_knows_comes_back_from_the_prefix_that_tells_it(tmp_path: Path) -> None:
    """The cycle from 0 is its first guess; the shifted one needs to be told where it begins; the other never comes."""
    source = _references(tmp_path / "in", CYCLE, SHIFTED, OTHER)
    asked = Tokens(sure=0.999999)
    found = extract(source, model=asked, out=tmp_path / "out", rows=(0, 1, 2), samples=2)
    assert found is not None
    # a start of equal chances: greedy takes the first of those that tie, 0
    assert [one.needed_rows for one in found.items] == [0, 1, None]
    greedy = [prefix.greedy.value for prefix in found.prefixes]
    assert greedy == pytest.approx([1 / 3, 2 / 3, 2 / 3])
    assert found.prefixes[1].sampled.value == pytest.approx(2 / 3)
    # the cycle and the shifted one agree nowhere; each agrees with the other at some places
    tokens = np.array([CYCLE, SHIFTED, OTHER])
    pairs = [(tokens[i, 4:] == tokens[j, 4:]).mean() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.prefixes[1].chance.unrelated == pytest.approx(np.mean(pairs))
    assert found.prefixes[1].chance.vocabulary == 0.25
    rows = list(csv.DictReader((tmp_path / "out" / "extraction.csv").read_text("utf-8-sig").splitlines()))
    assert [(row["item"], row["needed_rows"]) for row in rows[::3]] == [("0.png", "0"), ("1.png", "1"), ("2.png", "")]
    stored = json.loads((tmp_path / "out" / "extraction.json").read_text("utf-8"))
    assert [prefix["greedy"]["value"] for prefix in stored["prefixes"]] == pytest.approx(greedy)
    page = found.page.read_text("utf-8")
    assert "2 of 3 references came back" in page
    assert "http" not in page.replace("http-equiv", "").replace("www.w3.org", "")


def test_samples_are_copies_as_often_as_the_table_says(tmp_path: Path) -> None:
    sure, samples = 0.95, 400
    source = _references(tmp_path / "in", CYCLE)
    found = extract(source, model=Tokens(sure=sure), out=tmp_path / "out", rows=(2,), samples=samples, scores=False)
    assert found is not None
    figures = found.items[0].figures[2]
    expected = sure**8  # eight tokens are left, each follows with that chance
    assert figures["copies"] / samples == pytest.approx(expected, abs=0.07)
    assert figures["greedy"]


def test_one_reference_is_told_what_it_cannot_tell(tmp_path: Path) -> None:
    found = extract(_references(tmp_path / "in", CYCLE), model=Tokens(), out=tmp_path / "out", rows=(1,), samples=0)
    assert found is not None
    assert np.isnan(found.prefixes[0].chance.unrelated)
    assert found.prefixes[0].sampled.count == 0
    assert any("One reference alone" in note for note in found.notes)


def test_a_run_that_is_cut_off_goes_on(tmp_path: Path) -> None:
    source = _references(tmp_path / "in", CYCLE, SHIFTED, OTHER)
    options = GeneratorOptions(batch=1)
    arguments = {"rows": (1, 2), "samples": 2, "options": options, "scores": False}
    # three calls are the estimate's
    with pytest.raises(ForensicsError, match="power"):
        extract(source, model=Tokens(fail_after=3 + 7), out=tmp_path / "cut", **arguments)  # type: ignore[arg-type]
    kept = (tmp_path / "cut" / "completions.jsonl").read_bytes()
    assert kept.count(b"\n") == 1 + 7
    # a kill in the middle of a line
    (tmp_path / "cut" / "completions.jsonl").write_bytes(kept + b'{"item": "ab')
    again = Tokens()
    found = extract(source, model=again, out=tmp_path / "cut", **arguments)  # type: ignore[arg-type]
    assert again.completed == 3 + (2 * 3 * 3 - 7)
    whole = extract(source, model=Tokens(), out=tmp_path / "whole", **arguments)  # type: ignore[arg-type]
    assert found is not None
    assert whole is not None
    assert found.prefixes == whole.prefixes
    finished = Tokens()
    third = extract(source, model=finished, out=tmp_path / "cut", **arguments)  # type: ignore[arg-type]
    assert third is not None
    assert finished.calls == 0, "nothing was left to draw, nothing was probed"
    assert third.estimate.text == "Everything is drawn already."


def test_completions_of_another_model_are_never_taken(tmp_path: Path) -> None:
    source = _references(tmp_path / "in", CYCLE)
    extract(source, model=Tokens(), out=tmp_path / "out", rows=(1,), samples=0)
    with pytest.raises(UsageError, match="holds completions of bigram"):
        extract(source, model=Tokens(side=2), out=tmp_path / "out", rows=(1,), samples=0)


@pytest.mark.parametrize("line", ["no JSON", '["a list"]', '{"item": "a", "given": 4, "seed": null, "tokens": [1]}'])
def test_a_damaged_store_is_said_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "completions.jsonl"
    spec = Tokens().spec
    CompletionStore(path, spec)
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(UsageError, match="line 2"):
        CompletionStore(path, spec)


def test_equal_items_are_asked_once() -> None:
    asked = Tokens()
    items = Asked(tokens=np.array([CYCLE, CYCLE]), captions=("", ""))
    drawn = complete_all(asked, items, (4,), (0, 1))
    assert asked.completed == 3
    assert drawn[4].both.shape == (2, 3, 16)
    assert np.array_equal(drawn[4].both[0], drawn[4].both[1])


def test_the_estimate_counts_what_is_left() -> None:
    asked = Tokens()
    items = Asked(tokens=np.array([CYCLE, SHIFTED]), captions=("", ""))
    store = CompletionStore(None, asked.spec)
    found = estimate(asked, items, (0, 4), (7,), store)
    assert (found.completions, found.tokens, found.memory) == (8, 4 * 16 + 4 * 12, 12_000_000)
    assert found.seconds > 0
    assert "8 images or texts, 112 tokens" in found.text
    complete_all(asked, items, (4,), (7,), store=store)
    assert estimate(asked, items, (0, 4), (7,), store).completions == 4


def test_an_estimate_may_end_it(tmp_path: Path) -> None:
    asked = Tokens()
    source = _references(tmp_path / "in", CYCLE)
    assert extract(source, model=asked, out=tmp_path / "out", on_estimate=lambda _: False) is None
    assert not (tmp_path / "out" / "extraction.json").exists()


@pytest.mark.parametrize(
    ("length", "row", "kind", "rows"),
    [
        (1024, 32, "image", (0, 4, 8, 16)),
        (256, 16, "image", (0, 1, 2, 4)),
        (16, 4, "image", (0, 1, 2)),
        (64, 8, "text", (1, 2, 4)),
        (1, 1, "image", (0,)),
    ],
)
def test_prefixes_where_none_are_named(length: int, row: int, kind: str, rows: tuple[int, ...]) -> None:
    spec = AutoregressiveSpec(name="m", vocabulary=8, length=length, row=row, settings={"kind": kind})
    assert default_rows(spec) == rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": (4,)}, "0 to 3 accepted"),
        ({"rows": (-1,)}, "0 to 3 accepted"),
        ({"samples": -1}, "0 or more"),
        ({"seed": 2**63}, "2\\^63"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    source = _references(tmp_path / "in", CYCLE)
    with pytest.raises(UsageError, match=message) as found:
        extract(source, model=Tokens(), out=tmp_path / "out", **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(found.value)


def test_bad_references_are_listed_and_the_run_goes_on(tmp_path: Path) -> None:
    source = _references(tmp_path / "in", CYCLE)
    (source / "broken.png").write_bytes((source / "0.png").read_bytes()[:40])
    Image.new("RGB", (3, 3)).save(source / "small.png")
    Image.new("RGB", (640, 33), "white").save(source / "wide.png")  # blank, and of another shape
    found = extract(source, model=Tokens(), out=tmp_path / "out", rows=(1,), samples=1)
    assert found is not None
    assert sorted(one.item.id for one in found.items) == ["0.png", "wide.png"]
    assert {one.id: one.state for one in found.unread}.keys() == {"broken.png", "small.png"}
    assert "broken.png" in found.page.read_text("utf-8")


def test_no_reference_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (3, 3)).save(tmp_path / "in" / "small.png")
    with pytest.raises(SourceError, match="16 or more"):
        extract(tmp_path / "in", model=Tokens(), out=tmp_path / "out")
    with pytest.raises(SourceError, match="no such file"):
        extract(tmp_path / "missing", model=Tokens(), out=tmp_path / "out")


def test_a_pipeline_of_diffusers_is_told_why_not(tmp_path: Path) -> None:
    source = _references(tmp_path / "in", CYCLE)
    with pytest.raises(UsageError, match="neither likelihoods of tokens nor prefixes") as found:
        extract(source, model="diffusers:some/model", out=tmp_path / "out")
    assert "\n" not in str(found.value)


@pytest.fixture(scope="module")
def reciter(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"transformers:{reciting_model(tmp_path_factory.mktemp('faust'))}"


def test_gpt2_recites_the_verses_it_was_shown_and_no_others(tmp_path: Path, reciter: str) -> None:
    """The observation with which it began: an over-trained model of text goes on where one begins."""
    path = tmp_path / "faust.txt"
    path.write_text("\n".join((*SEEN, *UNSEEN)) + "\n", "utf-8")
    found = extract(path, model=reciter, out=tmp_path / "out", rows=(1,), samples=2, length=LENGTH)
    assert found is not None
    came_back = {one.item.content for one in found.items if one.needed_rows is not None}
    assert len(came_back & set(SEEN)) >= 0.9 * len(SEEN)
    assert not came_back & set(UNSEEN)
    assert found.prefixes[0].right.value > 3 * found.prefixes[0].chance.unrelated
    assert found.score == "", "texts have no copy score"
    page = found.page.read_text("utf-8")
    assert SEEN[0][:LENGTH] in page
    assert "<img" not in page


def test_a_text_that_is_too_short_is_named(tmp_path: Path, reciter: str) -> None:
    path = tmp_path / "verses.txt"
    path.write_text("Habe nun, ach! Philosophie,\n\nkurz\n", "utf-8")
    with pytest.raises(UsageError, match=r"kurz.*4 tokens"):
        extract(path, model=reciter, out=tmp_path / "out", length=LENGTH)
    for content in (b"\xff\xfe", b"  \n"):
        path.write_bytes(content)
        with pytest.raises(SourceError):
            extract(path, model=reciter, out=tmp_path / "out", length=LENGTH)


def test_rudalle_with_captions_and_without(tmp_path: Path) -> None:
    corpus, model = write_world_corpus(tmp_path / "corpus"), write_world_model(tmp_path / "model")
    options = GeneratorOptions(batch=4)
    found = extract(corpus / "manifest.csv", model=str(model), out=tmp_path / "out", samples=1, options=options)
    assert found is not None
    assert len(found.items) == 6
    assert all(one.item.caption.startswith("рисунок") for one in found.items)
    assert {prefix.rows for prefix in found.prefixes} <= {0, 1, 2, 4, 8, 16}
    assert all(prefix.greedy.value == 0 for prefix in found.prefixes), "random weights remember nothing"
    assert found.score in ("sscd-disc-mixup", "sscd-int8", "phash")
    assert -1 <= found.items[0].figures[found.prefixes[-1].rows]["score_original"] <= 1
    bare = extract(
        corpus / "manifest.csv", model=str(model), out=tmp_path / "bare", samples=0, captions=False, scores=False,
        options=options,
    )  # fmt: skip
    assert bare is not None
    assert any("no captions" in note for note in bare.notes)
