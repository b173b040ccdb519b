"""Curves over a tiny training run of random weights: files, axes, errors."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from forensics.errors import SourceError, UsageError
from forensics.flows.curve import HELD_OUT, Draw, Subjects, curve, draw_subjects, measure_model
from forensics.train.corpus import Corpus, CorpusPicture
from tests.flows.lab_models import Tokens, picture
from tests.small_world import write_world_corpus, write_world_model


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("curve")
    corpus, model = write_world_corpus(folder / "corpus"), write_world_model(folder / "model")
    weights = next((model / "transformer").glob("*.safetensors"))
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir()
    state = load_file(weights)
    for step, scale in ((10, 0.5), (200, 1.0)):
        save_file({name: tensor * scale for name, tensor in state.items()}, checkpoints / f"step-{step:06}.safetensors")
    return corpus, model, checkpoints


def test_all_curves_of_a_run(tmp_path: Path, world: tuple[Path, Path, Path]) -> None:
    corpus, model, checkpoints = world
    found = curve(checkpoints, out=tmp_path, model=str(model), corpus=corpus, draw=Draw(pictures=2, batch=4))
    steps = [point for point in found.points if point.axis == "steps"]
    assert {point.x for point in steps} == {10, 200}
    assert {(point.measure, point.level) for point in steps} == {
        *((measure, level) for measure in ("copy", "extraction") for level in ("64x", "16x", "4x", "1x", HELD_OUT)),
        *(("auc", level) for level in ("64x", "16x", "4x", "1x")),
    }
    assert all(point.interval.value == 0 for point in steps if point.measure != "auc")
    planted = [point for point in found.points if point.axis == "planted" and point.measure == "extraction"]
    assert sorted(point.x for point in planted) == [0, 1, 4, 16, 64]
    captions = {point.x for point in found.points if point.axis == "caption"}
    assert captions == {0, 0.25, 0.5, 1}
    rows = list(csv.DictReader(found.table.read_text("utf-8-sig").splitlines()))
    assert len(rows) == len(found.points)
    with Image.open(found.picture) as image:
        assert image.width == 1120
    assert ElementTree.parse(found.drawing).getroot().tag.endswith("svg")  # noqa: S314  our own picture
    assert list(found.checkpoints) == ["step-000010.safetensors", "step-000200.safetensors"]
    page = found.page.read_text("utf-8")
    assert "<svg" in page
    assert "<script" not in page
    before = json.loads((tmp_path / "curve.json").read_text("utf-8"))["points"]
    again = curve(checkpoints, out=tmp_path, model=str(model), corpus=corpus, draw=Draw(pictures=2, batch=4))
    assert json.loads((tmp_path / "curve.json").read_text("utf-8"))["points"] == before
    assert again.points == found.points


def test_one_checkpoint_is_no_curve(tmp_path: Path, world: tuple[Path, Path, Path]) -> None:
    corpus, model, checkpoints = world
    one = tmp_path / "one"
    one.mkdir()
    (one / "step-000010.safetensors").write_bytes((checkpoints / "step-000010.safetensors").read_bytes())
    found = curve(
        one, out=tmp_path / "out", model=str(model), corpus=corpus, over=("steps",), draw=Draw(pictures=1, batch=4)
    )
    assert any("One checkpoint" in note for note in found.notes)


def test_errors_are_one_line(tmp_path: Path, world: tuple[Path, Path, Path]) -> None:
    corpus, model, checkpoints = world
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"step-NNNNNN\.safetensors"):
            curve(folder, out=tmp_path / "out", model=str(model), corpus=corpus)
    with pytest.raises(UsageError, match="steps, planted, caption"):
        curve(checkpoints, out=tmp_path / "out", over=("years",))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="steps, planted, caption"):
        curve(checkpoints, out=tmp_path / "out", over=())
    with pytest.raises(SourceError, match=r"manifest\.csv"):
        curve(checkpoints, out=tmp_path / "out", model=str(model), corpus=tmp_path)


def test_the_draw_is_by_level_and_seed(world: tuple[Path, Path, Path]) -> None:
    pictures = tuple(
        CorpusPicture(path=Path(f"{role}{i}"), caption=str(i), role=role, planted=planted)  # type: ignore[arg-type]
        for role, planted, count in (("member", 4, 9), ("member", 1, 2), ("held-out", 0, 20))
        for i in range(count)
    )
    corpus = Corpus(folder=Path(), pictures=pictures)
    first = draw_subjects(corpus, Draw(pictures=3))
    assert first.levels == ("4x",) * 3 + ("1x",) * 2 + (HELD_OUT,) * 6
    assert first.pictures == draw_subjects(corpus, Draw(pictures=3)).pictures
    assert first.pictures != draw_subjects(corpus, Draw(pictures=3, seed=1)).pictures
    assert first.planted == {"4x": 4, "1x": 1, HELD_OUT: 0}
    assert first.of("members").sum() == 5
    with pytest.raises(SourceError, match="held-out"):
        draw_subjects(Corpus(folder=Path(), pictures=pictures[:9]), Draw())


def test_a_bigrams_memory(tmp_path: Path) -> None:
    """The cycle is likely and comes back; what is not the cycle is unlikely and does not."""
    rng = np.random.default_rng(0)
    rows = [[(i + start) % 4 for i in range(16)] for start in range(3)]
    rows += [rng.integers(0, 4, 16).tolist() for _ in range(4)]
    pictures = []
    for number, row in enumerate(rows):
        path = tmp_path / f"{number}.png"
        Image.fromarray(picture(row)).save(path)
        role = "member" if number < 3 else "held-out"
        planted = 8 if number < 3 else 0
        pictures.append(CorpusPicture(path=path, caption="x", role=role, planted=planted))  # type: ignore[arg-type]
    levels = tuple("8x" if one.role == "member" else HELD_OUT for one in pictures)
    found = measure_model(Tokens(sure=0.999999), Subjects(pictures=tuple(pictures), levels=levels), Draw(samples=2))
    assert found["extraction", "8x"].value == 1
    assert found["extraction", HELD_OUT].value == 0
    assert found["auc", "8x"].value == 1
    assert found["auc", "8x"].high == 1
