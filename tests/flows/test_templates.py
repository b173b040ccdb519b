"""An audit of book covers: a copied cover, a new picture in a known design, an unrelated picture, a flat one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from forensics import audit, build_index
from forensics.flows.templates import is_template
from forensics.schema import COPY_KINDS
from forensics.thresholds import THRESHOLDS
from forensics.verify.template import TemplateMatch
from tests.report.fake import scene
from tests.verify.test_template import cover, pictures

SIDE = 320


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    root = tmp_path_factory.mktemp("covers")
    for name in ("references", "suspects"):
        (root / name).mkdir()
    for name in ("astronaut", "cat", "coffee", "rocket"):
        Image.fromarray(cover(name, side=SIDE)).save(root / "references" / f"{name}.png")
    for number in range(3):
        scene(number).save(root / "references" / f"scene-{number}.png")
    Image.fromarray(cover("coins", side=SIDE)).save(root / "suspects" / "new-in-design.jpg", quality=90)
    Image.fromarray(cover("cat", side=SIDE)).save(root / "suspects" / "copied.jpg", quality=85)
    Image.fromarray(pictures()["camera"]).save(root / "suspects" / "other.png")
    flat = np.full((SIDE, SIDE, 3), 200, np.uint8)
    flat[:, : SIDE // 2] = 60
    Image.fromarray(flat).save(root / "suspects" / "flat.png")
    Image.fromarray(flat).save(root / "references" / "flat.png")
    build_index(root / "references", out=root / "index", hashes=("phash", "pdq"), embedders=(), workers=0)
    return audit(root / "suspects", index=root / "index", out=root / "run", workers=0, effort="fast", detect=())


def findings(result) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for line in (result.run_dir / "findings.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["query"]["id"], []).append(row)
    return found


def test_a_new_picture_in_a_known_design_is_a_template_and_no_copy(result):
    (finding,) = findings(result)["new-in-design.jpg"]
    assert finding["kind"] == "template"
    assert finding["measurements"]["template_references"] >= 3
    assert finding["measurements"]["template_own"] < 0.5
    assert finding["score"] >= finding["threshold"]
    assert finding["reference"]["id"] in {"astronaut.png", "cat.png", "coffee.png", "rocket.png"}
    box = finding["regions"][0]["query_box"]
    assert 0 <= box[0] < box[2] <= SIDE
    assert "copy of none of them" in " ".join(finding["reasons"])


def test_a_copied_cover_is_a_copy_and_no_template(result):
    found = findings(result)["copied.jpg"]
    assert {row["kind"] for row in found} <= set(COPY_KINDS)
    assert {row["reference"]["id"] for row in found} == {"cat.png"}


def test_templates_do_not_count_as_copies(result):
    assert result.images_with_copy == 1
    assert result.findings_count["template"] == 1
    assert "other.png" not in findings(result)
    report = result.report.read_text("utf-8")
    assert "Layout that references share" in report
    assert "References with this layout" in report


def test_a_flat_picture_is_no_finding_and_the_report_says_why(result):
    """Its descriptors equal those of a reference, but flat pictures resemble everything."""
    assert "flat.png" not in findings(result)
    assert any("1 of the images searched has too little detail" in note for note in result.notes)
    assert "too little detail to show a copy" in result.report.read_text("utf-8")


@pytest.mark.parametrize(
    "changes",
    [{}, {"references": 2}, {"cells": 5}, {"agreement": 0.5}, {"own": (0.1, 0.9, 0.2)}],
)
def test_each_condition_decides(changes):
    base = {"references": 3, "cells": 40, "share": 0.5, "agreement": 0.95, "own": (0.1, float("nan"), 0.2), "box": None}
    assert is_template(TemplateMatch(**base | changes), THRESHOLDS) == (not changes)
