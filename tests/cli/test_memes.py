"""``forensics memes``: what it prints, writes and returns."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.flows import memes as flow
from tests.cli.program import one_line, run
from tests.detect.memes import FOLDER, ground, template


@pytest.fixture(autouse=True)
def _few_unrelated_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "_UNRELATED", 4)


@pytest.fixture
def templates(tmp_path: Path) -> Path:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("Doubting-Cat", "Wise-Owl"):
        shutil.copy(FOLDER / f"{name}.png", pictures)
    done = run("memes", "add", pictures, "--to", tmp_path / "memes", "--descriptor", "none", "--workers", 0, "-q")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{tmp_path / 'memes'}: 2 templates; 2 added\n"
    return tmp_path / "memes"


def test_add_list_and_find(templates: Path, tmp_path: Path) -> None:
    done = run("memes", "list", templates)
    assert done.code == 0
    assert "Wise Owl  (Wise-Owl.png, 400x300)" in done.out
    assert done.out.endswith(f"2 templates in {templates}\n")
    listed = json.loads(run("memes", "list", templates, "--json").out)
    assert [row["name"] for row in listed] == ["Doubting Cat", "Wise Owl"]

    images = tmp_path / "images"
    images.mkdir()
    Image.fromarray(np.ascontiguousarray(template("Wise-Owl")[:, ::-1])).save(images / "owl.png")
    Image.fromarray(ground(2)).save(images / "other.png")
    out = tmp_path / "run"
    words = ("memes", "find", images, "--templates", templates, "--out", out, "--workers", 0, "-q", "--case-id", "K-1")
    done = run(*words)
    assert done.code == 0, done.err
    assert "2 of 2 images searched, 1 with a meme" in done.out
    assert "1  Wise Owl" in done.out
    assert (out / "report.html").is_file()
    assert json.loads((out / "case.json").read_text("utf-8"))["case_id"] == "K-1"

    (images / "broken.png").write_bytes(b"no image")
    assert run(*words).code == 11
    done = run(*words, "--json", "--redact", "pixels")
    told = json.loads(done.out)
    assert (done.code, told["labels"], told["images_with_meme"]) == (11, {"Wise Owl": 1}, 1)
    assert (told["states"]["ok"], sum(told["states"].values())) == (2, 3)
    assert "data:image" not in Path(told["report"]).read_text("utf-8")


def test_adding_again_says_so(templates: Path, tmp_path: Path) -> None:
    done = run("memes", "add", tmp_path / "pictures", "--to", templates, "--workers", 0, "-q")
    assert done.code == 0
    assert "has every template" in done.out


def test_a_template_that_cannot_be_read_is_counted(templates: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no image")
    done = run("memes", "add", tmp_path / "pictures", "--to", templates, "--workers", 0, "-q")
    assert done.code == 11
    assert "3 templates, 1 unreadable; 1 added, 2 skipped (already there)" in done.out
    assert "–      broken" in run("memes", "list", templates).out


def test_wrong_arguments_are_one_line(templates: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert "no such file or folder" in one_line(run("memes", "add", missing, "--to", tmp_path / "x", "-q"))
    assert "not an index" in one_line(run("memes", "list", missing))
    wrong = run("memes", "find", missing, "--templates", templates, "--out", tmp_path / "run", "-q")
    assert wrong.code == 2
    assert "no such file or folder" in one_line(wrong)
    given = ("--templates", templates, "--out", tmp_path / "run", "--threshold")
    assert "this command knows: meme, image_macro" in one_line(run("memes", "find", missing, *given, "cover=0.5"))
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
