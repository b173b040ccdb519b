"""The demo on a tiny world: the model has random weights, so what it draws is no copy, and the grade says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.embed.defaults import DefaultEmbedders
from forensics.errors import UsageError
from forensics.flows import demo as flow
from forensics.flows.audit import AuditOptions, audit_source
from forensics.flows.index import open_index
from forensics.flows.world import World, open_model
from forensics.render.agencies import AGENCIES, agency_mark
from forensics.report.evidence import check_sums
from forensics.sources import open_source
from forensics.train.corpus import read_corpus
from tests.small_world import drawing, write_world_corpus, write_world_model


@pytest.fixture(scope="module")
def corpus_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world_corpus(tmp_path_factory.mktemp("world") / "corpus")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world_model(tmp_path_factory.mktemp("model") / "kvadrat")


@pytest.fixture(autouse=True)
def _small(corpus_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "embedded_corpus", lambda: read_corpus(corpus_folder))
    monkeypatch.setattr("forensics.embed.default_embedders", lambda: DefaultEmbedders(names=("phash", "pdq")))


def test_from_prompts_to_a_graded_report(tmp_path: Path, model: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("рисунок а\nрисунок б\nрисунок д\nслон\n", "utf-8")
    out = tmp_path / "demo"
    done = flow.demo(out=out, seed=3, model=str(model), prompts=prompts, n=1, workers=0)
    assert dict(done.audit.states) == {"ok": 4}
    assert [(level.name, level.images) for level in done.grade.levels] == [
        ("64x", 1), ("16x", 1), ("held-out", 1), ("none", 1),
    ]  # fmt: skip
    assert done.grade.total.copies.count == done.grade.total.wrong.count == 0
    assert done.grade.marks.total == 1
    check_sums(out)
    grading = json.loads((out / "grading.json").read_text("utf-8"))
    assert [image["id"] for image in grading["images"]] == [f"images/{i:05d}-seed3000.png" for i in (1, 2, 3, 4)]
    assert set(done.seconds) == {"index", "generate and audit", "grade"}
    assert done.index == tmp_path / "demo-index"
    assert done.images == tmp_path / "demo-generated"
    assert json.loads((out / "run.json").read_text("utf-8"))["generator"]["seed"] == 3000

    tokens = json.loads((done.images / "images" / "00001-seed3000.json").read_text("utf-8"))["tokens"]
    again = flow.demo(out=out, seed=3, model=str(model), prompts=prompts, n=1, workers=0)
    assert json.loads((again.images / "images" / "00001-seed3000.json").read_text("utf-8"))["tokens"] == tokens
    other = flow.demo(out=out, seed=4, model=str(model), prompts=prompts, n=1, workers=0)
    assert json.loads((other.images / "images" / "00001-seed4000.json").read_text("utf-8"))["tokens"] != tokens


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, model: Path) -> None:
    for folder, message in (("mine-index", "not an index"), ("mine-generated/images", "not of this run")):
        (tmp_path / folder).mkdir(parents=True)
        letter = tmp_path / folder / "letter.txt"
        letter.write_text("kept")
        with pytest.raises(UsageError, match=message):
            flow.demo(out=tmp_path / "mine", model=str(model), workers=0)
        assert letter.read_text() == "kept"
        letter.unlink()
        (tmp_path / folder).rmdir()


def test_a_shipped_index_serves_wherever_the_corpus_lies(tmp_path: Path, corpus_folder: Path, model: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(corpus_folder, moved)
    corpus = read_corpus(moved)
    flow.build_references(corpus, moved / "index", flow._embedders(str(model)), shipped=True, workers=0)
    assert str(tmp_path) not in (moved / "index" / "manifest.json").read_text("utf-8")
    again = tmp_path / "installed"
    shutil.move(moved, again)
    corpus = read_corpus(again)
    index, roots = flow.reference_index(corpus, tmp_path / "built", model=str(model), workers=0)
    assert index == again / "index"
    opened = open_index(index, source_roots=roots)
    assert len(opened) == 5  # members and the distractor; nothing of the held-out picture
    assert opened.pixels(0).kind == "original"
    assert not {"role", "planted", "group"} & set(opened.image(0).metadata)


def test_other_descriptors_than_the_shipped_ones_build_an_index(
    tmp_path: Path, corpus_folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(corpus_folder, tmp_path / "corpus")
    corpus = read_corpus(tmp_path / "corpus")
    flow.build_references(corpus, corpus.folder / "index", flow._embedders(str(model)), shipped=True, workers=0)
    monkeypatch.setattr("forensics.embed.default_embedders", lambda: DefaultEmbedders(names=("phash", "dhash")))
    index, roots = flow.reference_index(corpus, tmp_path / "built", model=str(model), workers=0)
    assert (index, roots) == (tmp_path / "built", {})
    assert set(open_index(index).specs) == {"phash", "dhash"}


def test_what_the_codebook_makes_of_a_member_is_its_copy(corpus_folder: Path, model: Path) -> None:
    corpus, generator = read_corpus(corpus_folder), open_model(str(model))
    world = World(corpus, generator.vqgan)
    world.common = np.zeros_like(world.training.codes, dtype=bool)  # random weights show all pictures alike
    truths = world.truth(world.decoded(world.training.codes))
    for member, truth in zip(world.members, truths, strict=True):
        assert member in truth.copies
        assert truth.equal == 1.0
    held_out = corpus.of(("held-out",))
    assert world.compared_with(world.encoded(held_out), held_out).equal[0, 0] in (0.0, 1.0)


def test_a_checkpoint_takes_the_place_of_the_weights(tmp_path: Path, model: Path) -> None:
    import torch
    from safetensors.torch import save_file

    generator = open_model(str(model))
    state = {name: torch.zeros_like(tensor).half() for name, tensor in generator.model.state_dict().items()}
    save_file(state, tmp_path / "step-000010.safetensors")
    other = open_model(str(model), checkpoint=tmp_path / "step-000010.safetensors")
    assert float(sum(parameter.abs().sum() for parameter in other.model.parameters())) == 0
    assert "step-000010.safetensors" in other.spec.weights
    assert other.spec.weights["bpe.model"] == generator.spec.weights["bpe.model"]
    with pytest.raises(UsageError, match="no checkpoint"):
        open_model(str(model), checkpoint=tmp_path / "none.safetensors")
    (tmp_path / "grey.py").write_text(
        "import numpy as np\ndef grey(prompts, seeds):\n    return [np.zeros((8, 8, 3), np.uint8) for _ in prompts]\n"
    )
    with pytest.raises(UsageError, match="ruDALL-E"):
        open_model(f"{tmp_path / 'grey.py'}:grey")


def test_memes_and_marks_are_findings_of_their_own(tmp_path: Path, corpus_folder: Path, model: Path) -> None:
    corpus = read_corpus(corpus_folder)
    flow.build_references(corpus, tmp_path / "index", flow._embedders(str(model)), workers=0)
    (tmp_path / "generated").mkdir()
    drawing(0).save(tmp_path / "generated" / "meme.png")
    drawing(2).save(tmp_path / "generated" / "copy.png")
    marked = agency_mark(np.asarray(drawing(99, 256)), AGENCIES["ФОТОДОМ"]).image
    Image.fromarray(marked).save(tmp_path / "generated" / "marked.png")
    done = audit_source(
        open_source(tmp_path / "generated"),
        path=tmp_path / "generated",
        index=tmp_path / "index",
        out=tmp_path / "run",
        options=AuditOptions(detectors=(flow.known_marks(),), workers=0),
    )
    claims = {(f["kind"], json.loads(f["query"])["id"], f["label"]) for f in done.findings().to_dict("records")}
    assert claims == {
        ("near_copy", "meme.png", ""), ("meme", "meme.png", "Drawing 0"), ("near_copy", "copy.png", ""),
        ("watermark", "marked.png", "ФОТОДОМ"),
    }  # fmt: skip
    assert done.findings_count == {"near_copy": 2, "meme": 1, "watermark": 1}
    assert done.images_with_copy == 2
    html = done.report.read_text("utf-8")
    assert "Meme template" in html
    assert "Mark of a picture agency" in html
    run = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert [detector["name"] for detector in run["detectors"]] == ["known-marks"]
    assert run["detectors"][0]["marks"] == ", ".join(AGENCIES)
