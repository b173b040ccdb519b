"""References inside tar files stay addressable, and metadata of a table comes along."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from forensics.flows.build import build
from forensics.flows.index import open_index
from forensics.sources import open_source
from forensics.testing.demo_embedder import DemoEmbedder
from tests.index.pictures import ListedSource, write_pictures


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    pictures = sorted(write_pictures(tmp_path / "pictures", 6).iterdir())
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / "shards" / f"{shard:05d}.tar", "w") as tar:
            for path in pictures[shard * 3 : shard * 3 + 3]:
                tar.add(path, arcname=path.name)
                caption = f"picture {path.stem}".encode()
                entry = tarfile.TarInfo(f"{path.stem}.txt")
                entry.size = len(caption)
                tar.addfile(entry, io.BytesIO(caption))
    return tmp_path / "shards"


def test_tar_members(tmp_path: Path, shards: Path) -> None:
    build(open_source(shards), tmp_path / "index", [DemoEmbedder()], part_size=4, workers=0)
    index = open_index(tmp_path / "index")
    assert [index.image(n).state for n in range(6)] == ["ok"] * 6
    image = index.image(4)
    assert image.ref.uri.startswith("tar:00001.tar#")
    assert image.metadata["caption"] == "picture 004"
    assert index.pixels(4).data == (tmp_path / "pictures" / "004.png").read_bytes()
    shards.rename(tmp_path / "moved")
    assert index.pixels(4).reason.startswith("missing")
    found = open_index(tmp_path / "index", source_roots={str(shards): str(tmp_path / "moved")})
    assert found.pixels(4).kind == "original"


def test_the_same_pixels_give_the_same_vectors(tmp_path: Path, shards: Path) -> None:
    folder = ListedSource.of(tmp_path / "pictures")
    build(open_source(shards), tmp_path / "tars", [DemoEmbedder()], part_size=4, workers=0)
    build(folder, tmp_path / "files", [DemoEmbedder()], part_size=4, workers=0)
    for part in range(2):
        name = f"vectors/demo/part-{part:05d}.npy"
        assert (tmp_path / "tars" / name).read_bytes() == (tmp_path / "files" / name).read_bytes()


def test_a_table(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 2)
    table = tmp_path / "list.csv"
    table.write_text("path,caption,licence,votes\npictures/001.png,one,CC0,7\npictures/000.png,none,,\n")
    build(open_source(table, path_column="path"), tmp_path / "index", [DemoEmbedder()], workers=0)
    index = open_index(tmp_path / "index")
    assert index.pixels(0).data == (tmp_path / "pictures" / "001.png").read_bytes()
    metadata = index.image(0).metadata
    assert (metadata["caption"], metadata["licence"], str(metadata["votes"])) == ("one", "CC0", "7")
