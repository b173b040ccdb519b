"""Record → prepared arrays, and every way in which a file can fail."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.embed import create, prepare_orientations
from forensics.errors import UsageError
from forensics.flows.ingest import Ingestion, decode_size, ingest, ingest_one
from forensics.flows.views import WHOLE
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import Record, View
from tests.index.pictures import blocky, write_pictures

ORIENTATIONS = tuple(View(name=f"turn{k}", orientation=k) for k in range(8))
TILE = View(name="tile", box=(0.0, 0.0, 0.5, 0.5))


def plan(root: Path, **views: tuple[View, ...]) -> Ingestion:
    embedders = tuple(DemoEmbedder() if name == "demo" else create(name) for name in views)
    return Ingestion(root=root, embedders=embedders, views=views)


def test_views(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    pixels = blocky(0)
    done = ingest_one(plan(tmp_path, demo=(WHOLE, TILE)), Record(id="a", uri="file:000.png"))
    assert (done.state, done.width, done.height, done.format) == ("ok", 64, 64, "PNG")
    assert done.sha256 == hashlib.sha256((tmp_path / "000.png").read_bytes()).hexdigest()
    whole, tile = done.prepared["demo"]
    np.testing.assert_array_equal(whole, DemoEmbedder().prepare(pixels))
    np.testing.assert_array_equal(tile, DemoEmbedder().prepare(pixels[:32, :32]))


@pytest.mark.parametrize("name", ["phash", "pdq", "demo"])
def test_orientations_take_the_fast_path(tmp_path: Path, name: str) -> None:
    write_pictures(tmp_path, 1)
    embedder = DemoEmbedder() if name == "demo" else create(name)
    done = ingest_one(plan(tmp_path, **{name: ORIENTATIONS}), Record(id="a", uri="file:000.png"))
    np.testing.assert_array_equal(done.prepared[name], prepare_orientations(embedder, blocky(0)))
    few = ingest_one(plan(tmp_path, **{name: ORIENTATIONS[:2]}), Record(id="a", uri="file:000.png"))
    np.testing.assert_array_equal(few.prepared[name][0], embedder.prepare(blocky(0)))


def test_scaled_decode_leaves_tiles_enough() -> None:
    demo = DemoEmbedder()
    assert decode_size([demo], {"demo": (WHOLE,)}) == 64
    assert decode_size([demo], {"demo": (WHOLE, TILE)}) == 128
    assert decode_size([demo], {"demo": (WHOLE,)}, keep_pixels=512) == 512


def test_preview(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    wanted = Ingestion(root=tmp_path, embedders=(DemoEmbedder(),), views={"demo": (WHOLE,)}, keep_pixels=32)
    preview = ingest_one(wanted, Record(id="a", uri="file:000.png")).preview
    assert Image.open(io.BytesIO(preview)).size == (32, 32)


class Brittle(DemoEmbedder):
    """Fails on everything."""

    def prepare(self, image: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError(f"{image.shape}")


def test_failures_belong_to_their_file(tmp_path: Path) -> None:
    write_pictures(tmp_path, 1)
    (tmp_path / "text.png").write_bytes(b"not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    names = ["text.png", "empty.png", "missing.png", "../outside.png", "000.png"]
    records = [Record(id=name, uri=f"file:{name}") for name in names]
    with ingest(plan(tmp_path, demo=(WHOLE,)), records, workers=0) as results:
        done = list(results)
    assert [one.record.id for one in done] == names
    assert all(one.state in ("rejected", "error") and one.reason for one in done[:4])
    assert done[2].sha256 == ""
    assert done[0].sha256
    assert done[4].state == "ok"
    brittle = Ingestion(root=tmp_path, embedders=(Brittle(),), views={"demo": (WHOLE,)})
    failed = ingest_one(brittle, records[4])
    assert failed.state == "error"
    assert "ZeroDivisionError" in failed.reason


def test_workers_give_the_same(tmp_path: Path) -> None:
    write_pictures(tmp_path, 12)
    records = [Record(id=f"{n}", uri=f"file:{n:03d}.png") for n in range(12)]
    wanted = plan(tmp_path, phash=ORIENTATIONS, demo=(WHOLE,))
    with ingest(wanted, records, workers=0) as results:
        here = list(results)
    with ingest(wanted, records, workers=2) as results:
        there = list(results)
    for one, other in zip(here, there, strict=True):
        assert one.sha256 == other.sha256
        for name in ("phash", "demo"):
            np.testing.assert_array_equal(one.prepared[name], other.prepared[name])


def test_a_plan_without_views(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no view"):
        ingest_one(plan(tmp_path, demo=()), Record(id="a", uri="file:a"))
