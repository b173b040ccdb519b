"""Commits, locks, leftovers and the size of what is rewritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forensics.errors import IndexFormatError, UsageError, VectorError
from forensics.index import Index
from forensics.index.manifest import EmbedderEntry, SourceEntry, folder_name
from forensics.index.part import ImageRow, PartData, RowSet
from forensics.index.writer import create_index, open_writer
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import View
from tests.index.pictures import small_index, tree

ENTRY = EmbedderEntry(spec=DemoEmbedder().spec, folder="demo", views=(View(name="whole"),))
SOURCE = SourceEntry(kind="folder", path="/a", root="/a")


def part(first: int, count: int = 2, *, value: float = 1.0, dim: int = 48) -> PartData:
    images = [ImageRow(id=f"{n}", uri=f"file:{n}", sha256="", width=4, height=4, state="ok") for n in range(count)]
    rows = RowSet(
        data=np.full((count, dim), value, np.float32),
        image=np.arange(count, dtype=np.int32),
        view=["whole"] * count,
        box=np.zeros((count, 4), np.int32),
        orientation=np.zeros(count, np.int8),
        quality=np.full(count, -1, np.int16),
    )
    return PartData(images=images, rows={"demo": rows}, listing=str(first))


def test_the_manifest_does_not_grow_with_parts(tmp_path: Path) -> None:
    out = tmp_path / "index"
    with create_index(out, embedders=[ENTRY], part_size=2, keep_pixels=0) as writer:
        number = writer.begin_source(SOURCE)
        size = (out / "manifest.json").stat().st_size
        for at in range(30):
            before = (out / "parts.jsonl").stat().st_size if at else 0
            writer.commit_part(number, part(at))
            assert (out / "manifest.json").stat().st_size == size
            assert (out / "parts.jsonl").stat().st_size - before < 1000
        writer.finish_source(number)
    assert len(Index.open(out)) == 60


@pytest.mark.parametrize(
    ("data", "words"), [({"value": np.nan}, "NaN"), ({"value": 0.0}, "zero"), ({"dim": 47}, r"\(n, 48\)")]
)
def test_bad_vectors_are_refused_whole(tmp_path: Path, data: dict, words: str) -> None:
    out = tmp_path / "index"
    with create_index(out, embedders=[ENTRY], part_size=2, keep_pixels=0) as writer:
        number = writer.begin_source(SOURCE)
        with pytest.raises(VectorError, match=words):
            writer.commit_part(number, part(0, **data))
    assert not list(out.rglob("part-*"))


def test_two_writers(tmp_path: Path) -> None:
    small_index(tmp_path, 4)
    with (
        open_writer(tmp_path / "index"),
        pytest.raises(IndexFormatError, match="another process"),
        open_writer(tmp_path / "index"),
    ):
        pass


def test_leftovers_are_cleared(tmp_path: Path) -> None:
    small_index(tmp_path)
    out = tmp_path / "index"
    before = tree(out)
    for name in (
        "images/part-00003.parquet",
        "vectors/demo/part-00003.npy.tmp",
        "faiss/demo.index",
        "tombstones-7.json",
    ):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(b"torn")
    (out / "notes.txt").write_text("the user's own")
    with open_writer(out):
        pass
    (out / "notes.txt").unlink()
    assert tree(out) == before
    assert not (out / "faiss").exists()


def test_a_torn_line_is_no_commit(tmp_path: Path) -> None:
    out = tmp_path / "index"
    with create_index(out, embedders=[ENTRY], part_size=2, keep_pixels=0) as writer:
        number = writer.begin_source(SOURCE)
        writer.commit_part(number, part(0))
        writer.commit_part(number, part(1))
    lines = (out / "parts.jsonl").read_bytes()
    (out / "parts.jsonl").write_bytes(lines[:-40])
    with open_writer(out) as writer:
        assert len(writer.parts) == 1
        assert not (out / "images" / "part-00001.parquet").exists()
        assert (out / "parts.jsonl").read_bytes() == lines.splitlines(keepends=True)[0]


def test_an_unfinished_index_is_not_searched(tmp_path: Path) -> None:
    out = tmp_path / "index"
    with create_index(out, embedders=[ENTRY], part_size=2, keep_pixels=0) as writer:
        writer.commit_part(writer.begin_source(SOURCE), part(0))
    with pytest.raises(IndexFormatError, match="unfinished"):
        Index.open(out)
    assert len(Index.open(out, unfinished=True)) == 2


def test_settings_out_of_range(tmp_path: Path) -> None:
    for settings in ({"part_size": 0, "keep_pixels": 0}, {"part_size": 1, "keep_pixels": -1}):
        with pytest.raises(UsageError, match="accepted"), create_index(tmp_path / "a", embedders=[ENTRY], **settings):
            pass
    with pytest.raises(UsageError, match="at least one"):
        create_index(tmp_path / "a", embedders=[], part_size=1, keep_pixels=0).__enter__()
    assert not (tmp_path / "a").exists()


def test_folder_names() -> None:
    names = ["phash", "clip:ViT-B-32/openai", "clip:ViT-B-32_openai", "clip:A@/x/y.pt", "..", ".hidden", "имя"]
    folders = [folder_name(name) for name in names]
    assert folders[0] == "phash"
    assert len(set(folders)) == len(names)
    assert all("/" not in folder and not folder.startswith(".") for folder in folders)
