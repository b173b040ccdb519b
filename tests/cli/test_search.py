"""``forensics search`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import World
from tests.cli.program import run


def test_the_table(world: World) -> None:
    done = run("search", world.suspects / "s01.jpg", "--index", world.index)
    assert done.code == 0
    header, first, *_ = done.out.splitlines()
    assert header.split() == ["score", "verdict", "SSCD", "inliers", "reference"]
    assert first.split()[1:3] == ["near", "copy"]
    assert first.split()[-1] in {path.name for path in world.references.iterdir()}
    assert "note: No copy descriptor" in done.err
    assert len(done.out.splitlines()) == 3, "a pipe gets one line a match"


def test_json_and_page(world: World, tmp_path: Path) -> None:
    page = tmp_path / "matches.html"
    done = run(
        "search", world.suspects / "s01.jpg", "--index", world.index, "--json", "--top", 1, "--html", page,
        "--effort", "fast",
    )  # fmt: skip
    assert done.code == 0
    found = json.loads(done.out)
    assert set(found) == {"query", "matches", "notes"}
    (match,) = found["matches"]
    assert match["verdict"] == "near_copy"
    assert 0 <= match["score"] <= 1
    assert all(isinstance(sentence, str) for sentence in match["reasons"])
    assert "<html" in page.read_text("utf-8")
