"""A small world: references with their index, suspects to audit."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from forensics import build_index
from tests.small_demo import write_small_demo


@dataclass(frozen=True)
class World:
    """Paths of real pictures and of their index, which has hashes alone."""

    root: Path
    references: Path
    suspects: Path
    """Two copies and two pictures that are none."""
    index: Path
    broken: Path
    """One of the copies and a file that is no image."""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("world")
    demo = write_small_demo(root / "demo", suspects=40, spare=0)
    truth = [line.split(",")[:2] for line in (demo / "truth.csv").read_text("utf-8").splitlines()[1:]]
    copies = [(suspect, reference) for suspect, reference in truth if reference][:2]
    others = [suspect for suspect, reference in truth if not reference][:2]
    (root / "suspects").mkdir()
    (root / "references").mkdir()
    (root / "broken").mkdir()
    for suspect in [*(suspect for suspect, _ in copies), *others]:
        shutil.copy(demo / suspect, root / "suspects")
    for _, reference in copies:
        shutil.copy(demo / reference, root / "references")
    shutil.copy(demo / copies[0][0], root / "broken")
    (root / "broken" / "text.jpg").write_text("no image")
    build_index(root / "references", out=root / "index", hashes=("phash", "pdq"), embedders=(), workers=0)
    return World(root, root / "references", root / "suspects", root / "index", root / "broken")
