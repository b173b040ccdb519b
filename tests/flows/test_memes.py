"""An index of templates, and a source searched for them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.errors import IndexFormatError, IntegrityError, SourceError, UsageError
from forensics.flows import memes as flow
from forensics.flows.calibration_files import read_calibration
from forensics.flows.detect import DetectOptions
from forensics.flows.detectors import choose_detectors, refuse_idle
from forensics.flows.index import open_index, remove_images
from forensics.flows.meme_index import CALIBRATION, detector, template_name
from forensics.flows.memes import add_templates, find_memes, list_templates, meme_detector
from forensics.index.check import check_index
from forensics.render.memes import caption
from forensics.report.evidence import picture_name
from tests.detect.memes import FOLDER, ground, template

NAMES = ["Doubting-Cat", "Robot-And-Flower", "Shouting-Bear", "Wise-Owl"]


@pytest.fixture(autouse=True)
def _few_unrelated_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_UNRELATED", 6)


@dataclass(frozen=True)
class Made:
    pictures: Path
    index: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("memes")
    pictures = root / "pictures"
    pictures.mkdir()
    for name in NAMES:
        shutil.copy(FOLDER / f"{name}.png", pictures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow, "_UNRELATED", 6)
        result = add_templates(pictures, root / "index", descriptor="none", workers=0)
    assert (result.added, result.unreadable) == (4, 0)
    return Made(pictures, root / "index")


def copied(made: Made, to: Path) -> Path:
    shutil.copytree(made.index, to)
    return to


def save(image: np.ndarray, path: Path) -> None:
    Image.fromarray(image).save(path, quality=92)


def test_templates_are_listed_by_the_names_of_their_files(made: Made) -> None:
    rows = list_templates(made.index)
    assert [row.name for row in rows] == ["Doubting Cat", "Robot And Flower", "Shouting Bear", "Wise Owl"]
    assert all(row.threshold is not None and 0.3 <= row.threshold < 1 for row in rows)
    assert {(row.width, row.height, row.state) for row in rows} == {(400, 300, "ok")}


def test_the_index_is_an_ordinary_one_and_its_thresholds_are_checked(made: Made, tmp_path: Path) -> None:
    assert check_index(made.index).problems == ()
    index = copied(made, tmp_path / "index")
    (index / CALIBRATION).write_text("{}")
    assert [problem.name for problem in check_index(index).problems] == [CALIBRATION]
    with pytest.raises(IntegrityError, match="not what was written"):
        list_templates(index)


def test_a_list_gives_the_names(tmp_path: Path) -> None:
    lines = ["file,Template", f"{FOLDER / 'Wise-Owl.png'},Мудрая  сова", f"{FOLDER / 'Sad-Cloud.png'},"]
    listed = tmp_path / "list.csv"
    listed.write_text("\n".join(lines), encoding="utf-8")
    add_templates(listed, tmp_path / "index", descriptor="none", path_column="file", workers=0)
    assert [row.name for row in list_templates(tmp_path / "index")] == ["Мудрая сова", "Sad Cloud"]


@pytest.mark.parametrize(
    ("identifier", "metadata", "name"),
    [
        ("a/Success-Kid_2.jpg", {}, "Success Kid 2"),
        ("a.jpg", {"title": "B", "template": "C"}, "C"),
        ("a.jpg", {"NAME ": 7}, "7"),
        ("---.png", {"name": ""}, "---.png"),
    ],
)
def test_names(identifier: str, metadata: dict[str, object], name: str) -> None:
    assert template_name(identifier, metadata) == name


def test_adding_again_adds_what_is_new_and_sets_all_thresholds_anew(made: Made, tmp_path: Path) -> None:
    index = copied(made, tmp_path / "index")
    assert add_templates(made.pictures, index, workers=0).already_complete
    more = tmp_path / "more"
    more.mkdir()
    save(template("Wise-Owl"), more / "The-Same-Owl.jpg")
    (more / "broken.jpg").write_bytes(b"no image")
    result = add_templates(more, index, workers=0)
    assert (result.added, result.unreadable) == (2, 1)
    rows = {row.name: row for row in list_templates(index)}
    assert rows["broken"].threshold is None
    assert rows["broken"].reason
    assert "same picture" in rows["The Same Owl"].note + rows["Wise Owl"].note
    # neither of two alike makes the other impossible to find
    assert rows["Wise Owl"].threshold is not None
    assert rows["Wise Owl"].threshold < 0.9


def test_a_template_that_is_removed_is_found_no_more(made: Made, tmp_path: Path) -> None:
    index = copied(made, tmp_path / "index")
    remove_images(index, ids=["Wise-Owl.png"])
    assert "Wise Owl" not in {row.name for row in list_templates(index)}
    found = detector(templates=str(index)).detect([template("Wise-Owl"), template("Doubting-Cat")])
    assert [[one.label for one in image] for image in found] == [[], ["Doubting Cat"]]


def test_a_plain_template_is_hardly_ever_named(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    save(np.full((200, 260, 3), 255, np.uint8), pictures / "White.png")
    save(template("Wise-Owl"), pictures / "Owl.png")
    add_templates(pictures, tmp_path / "index", descriptor="none", workers=0)
    made = detector(templates=str(tmp_path / "index"))
    others = [np.full((300, 300, 3), 250, np.uint8), *(ground(seed) for seed in range(50, 56))]
    assert not [one.label for image in made.detect(others) for one in image]
    assert not made.detect([np.full((300, 300, 3), (200, 30, 30), np.uint8)])[0]
    (white,) = (row for row in list_templates(tmp_path / "index") if row.name == "White")
    assert "of one colour" in white.note


def test_templates_none_of_which_can_be_read_are_told(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "x.jpg").write_text("no picture")
    result = add_templates(pictures, tmp_path / "index", descriptor="none", workers=0)
    assert (result.added, result.unreadable) == (1, 1)
    save(template("Wise-Owl"), pictures / "Owl.png")
    add_templates(pictures, tmp_path / "index", descriptor="none", workers=0)
    assert [row.threshold is None for row in list_templates(tmp_path / "index")] == [True, False]


def test_thresholds_of_templates_are_no_calibration_of_scores(made: Made) -> None:
    assert read_calibration(open_index(made.index)) is None


def test_a_run_folder_names_what_was_found(made: Made, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(1)
    save(caption(template("Shouting-Bear"), rng=rng).image, images / "bear.jpg")
    save(np.ascontiguousarray(template("Wise-Owl")[:, ::-1]), images / "owl.jpg")
    save(ground(3), images / "other.jpg")
    save(np.zeros((16, 16, 3), np.uint8), images / "tiny.png")
    (images / "broken.png").write_bytes(b"no image")
    result = find_memes(images, templates=made.index, out=tmp_path / "run", options=DetectOptions(workers=0))
    assert result.labels.get("Shouting Bear") == 1
    assert result.labels.get("Wise Owl") == 1
    assert set(result.labels) <= {"Shouting Bear", "Wise Owl", "unknown template"}
    assert sum(result.states.values()) == 5
    findings = [json.loads(line) for line in (tmp_path / "run" / "findings.jsonl").read_text("utf-8").splitlines()]
    by_query = {finding["query"]["id"]: finding for finding in findings}
    assert by_query["bear.jpg"]["kind"] == "meme"
    assert by_query["bear.jpg"]["label"] == "Shouting Bear"
    assert by_query["owl.jpg"]["measurements"]["mirrored"] is True
    assert "sscd" not in by_query["owl.jpg"]["measurements"], "no descriptor took part"
    shown = by_query["owl.jpg"]["reference"]
    assert shown["id"] == "Wise-Owl.png"
    assert (tmp_path / "run" / picture_name(shown["sha256"])).is_file()
    assert {"other.jpg", "tiny.png", "broken.png"}.isdisjoint(by_query)
    run = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    (facts,) = run["detectors"]
    assert (facts["name"], facts["templates"]) == ("memes", 4)
    assert set(run["thresholds"]) == {"meme", "image_macro", "geometry_log10_nfa"}
    assert "only where its template was given" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_the_operators_thresholds_hold_for_every_template(made: Made, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    save(caption(template("Wise-Owl"), rng=np.random.default_rng(1)).image, images / "owl.jpg")
    options = DetectOptions(workers=0)
    find_memes(images, templates=made.index, out=tmp_path / "run", thresholds={"meme": 0.97}, options=options)
    stated = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["thresholds"]["meme"]
    (finding,) = map(json.loads, (tmp_path / "run" / "findings.jsonl").read_text("utf-8").splitlines())
    assert (stated["value"], stated["source"]) == (0.97, "set by the operator")
    assert (finding["label"], finding["threshold"]) == ("Wise Owl", 0.97)
    assert finding["threshold_source"] == "set by the operator"
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "template SHA-256" in report
    with pytest.raises(UsageError, match="meme = 30 given"):
        find_memes(images, templates=made.index, out=tmp_path / "x", thresholds={"meme": 30})
    with pytest.raises(UsageError, match="would decide nothing here: no templates"):
        refuse_idle({"meme": 0.5}, ["meme"], templates=False, discover=True)
    with pytest.raises(UsageError, match="cover_unmarked given, which would decide nothing here"):
        refuse_idle({"cover_unmarked": 0.5}, ["cover"], templates=False, discover=True)
    refuse_idle({"cover_unmarked": 0.5}, ["cover", "watermark"], templates=False, discover=True)
    refuse_idle({"meme": 0.5, "belief": 0.9, "cover": 0.5}, ["meme", "cover"], templates=True, discover=False)
    chosen = choose_detectors(["meme"], thresholds={"meme": 0.2, "cover": 0.5}, templates=made.index)
    assert chosen.specs[0].arguments["thresholds"] == ["meme=0.2"]
    with pytest.raises(UsageError, match="this command knows"):
        find_memes(images, templates=made.index, out=tmp_path / "x", thresholds={"cover": 0.5})


def test_templates_that_change_under_a_run_are_an_error(made: Made, tmp_path: Path) -> None:
    index = copied(made, tmp_path / "index")
    spec = meme_detector(index)
    assert spec.make().facts["templates"] == 4
    remove_images(index, ids=["Wise-Owl.png"])
    with pytest.raises(IntegrityError, match="changed while"):
        spec.make()


def test_wrong_input_is_one_clear_error(made: Made, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such file or folder"):
        add_templates(tmp_path / "missing", tmp_path / "index")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no file in"):
        add_templates(tmp_path / "empty", tmp_path / "index", descriptor="none")
    with pytest.raises(UsageError, match="auto, none or the name of an SSCD"):
        add_templates(made.pictures, tmp_path / "index", descriptor="clip")
    with pytest.raises(UsageError, match="not an index of meme templates"):
        meme_detector(tmp_path / "empty")
    assert not (tmp_path / "index").exists()


def test_an_index_of_references_is_no_index_of_templates(made: Made, tmp_path: Path) -> None:
    from forensics import build_index

    build_index(made.pictures, tmp_path / "references", hashes=("phash",), embedders=[], workers=0)
    for call in (list_templates, meme_detector, lambda index: add_templates(made.pictures, index)):
        with pytest.raises(IndexFormatError, match="not of meme templates"):
            call(tmp_path / "references")
