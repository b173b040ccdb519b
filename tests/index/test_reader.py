"""What an opened index answers, and how it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from forensics.errors import IndexFormatError, IntegrityError, SpecMismatchError, UsageError, VectorError
from forensics.flows.build import build
from forensics.flows.index import open_index, remove_images
from forensics.index import Index
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import View
from tests.index.pictures import ListedSource, blocky, small_index


def embed(*seeds: int) -> np.ndarray:
    demo = DemoEmbedder()
    return demo.embed([demo.prepare(blocky(seed)) for seed in seeds])


def test_finds_each_image(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    hits = index.search("demo", embed(0, 3, 9), 2)
    assert hits.rows[:, 0].tolist() == [0, 3, 9]
    np.testing.assert_allclose(hits.scores[:, 0], 1, atol=1e-3)
    assert index.row_to_image("demo", np.array([[0, 3], [9, -1]])).tolist() == [[0, 3], [9, -1]]
    again = index.search("demo", embed(0, 3, 9), 2)  # from the cache
    np.testing.assert_array_equal(again.rows, hits.rows)
    np.testing.assert_array_equal(again.scores, hits.scores)


def test_images(tmp_path: Path) -> None:
    index = small_index(tmp_path, 6, caption="a chequer", licence="CC0", votes=3, ratio=float("nan"))
    image = index.image(5)
    assert (image.ref.id, image.width, image.height, image.state, image.format) == ("005.png", 64, 64, "ok", "PNG")
    assert image.metadata == {"caption": "a chequer", "licence": "CC0", "votes": 3, "ratio": None}
    assert len(image.ref.sha256) == 64
    frame = index.images_frame(["id", "state"])
    assert list(frame.columns) == ["id", "state", "removed"]
    assert frame["id"].tolist() == [f"{n:03d}.png" for n in range(6)]
    assert index.with_sha256(image.ref.sha256) == [5]
    assert index.duplicates(5) == []
    with pytest.raises(UsageError, match="has 6"):
        index.image(6)


def test_rows(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    frame = index.rows_frame("demo", 1)
    assert frame.index.tolist() == [4, 5, 6, 7]
    assert frame["image"].tolist() == [4, 5, 6, 7]
    assert frame.loc[4, ["x0", "y0", "x1", "y1"]].tolist() == [0, 0, 64, 64]
    assert frame["quality"].tolist() == [-1] * 4
    first, stop = index.rows_of_images("demo", np.array([9, 0]))
    assert (first.tolist(), stop.tolist()) == ([9, 0], [10, 1])
    assert index.vectors("demo", np.array([9, 0])).dtype == np.float16


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (np.full((1, 48), np.nan), "NaN"),
        (np.zeros((2, 48)), "NaN, infinite or only zero"),
        (np.full((1, 48), np.inf), "NaN"),
        (np.ones((1, 47)), r"\(n, 48\)"),
        (np.ones(48), r"\(n, 48\)"),
        (np.ones((1, 48), np.int64), "floating-point"),
    ],
)
def test_bad_queries(tmp_path: Path, queries: np.ndarray, words: str) -> None:
    index = small_index(tmp_path, 4)
    with pytest.raises(VectorError, match=words):
        index.search("demo", queries, 1)


def test_bad_bits_and_names(tmp_path: Path) -> None:
    index = small_index(tmp_path, 4)
    with pytest.raises(VectorError, match="uint8"):
        index.search("phash", np.ones((1, 8), np.int32), 1)
    with pytest.raises(VectorError, match="8 bytes"):
        index.search("phash", np.ones((1, 9), np.uint8), 1)
    with pytest.raises(SpecMismatchError, match="demo, phash"):
        index.search("clip", embed(1), 1)
    with pytest.raises(UsageError, match="1 or more"):
        index.search("demo", embed(1), 0)


def test_removed_images_never_return(tmp_path: Path) -> None:
    before = small_index(tmp_path)
    assert before.search("demo", embed(3), 1).rows[0, 0] == 3
    removed = remove_images(tmp_path / "index", ids=["003.png"], reason="asked")
    assert [(one.image, one.reason) for one in removed] == [(3, "asked")]
    index = open_index(tmp_path / "index")
    assert index.image(3).removed
    assert len(index) == 10
    assert 3 not in index.search("demo", embed(3), 10).rows
    assert 3 not in index.search("phash", index.vectors("phash", np.array([3])), 10).rows
    assert index.with_sha256(index.image(3).ref.sha256) == []
    assert index.fingerprint != before.fingerprint
    assert remove_images(tmp_path / "index", ids=["003.png"]) == []
    remove_images(tmp_path / "index", sha256s=[index.image(4).ref.sha256])
    assert open_index(tmp_path / "index").removed.sum() == 2
    assert [path.name for path in (tmp_path / "index").glob("tombstones*")] == ["tombstones-2.json"]
    with pytest.raises(UsageError, match="nothing was removed"):
        remove_images(tmp_path / "index", ids=["005.png", "no.png"])


def test_a_lost_list_of_removed_images_is_noticed(tmp_path: Path) -> None:
    small_index(tmp_path)
    remove_images(tmp_path / "index", ids=["003.png"])
    (tmp_path / "index" / "tombstones-1.json").unlink()
    with pytest.raises(IntegrityError, match="removed images"):
        open_index(tmp_path / "index")


def test_pixels_of_moved_changed_and_missing_files(tmp_path: Path) -> None:
    index = small_index(tmp_path, keep_pixels=32)
    original = (tmp_path / "pictures" / "001.png").read_bytes()
    assert index.pixels(1).data == original
    shutil.move(tmp_path / "pictures", tmp_path / "moved")
    lost = index.pixels(1)
    assert (lost.kind, lost.reason.partition(":")[0]) == ("preview", "missing")
    assert lost.data is not None
    assert lost.data.startswith(b"\xff\xd8")
    found = open_index(tmp_path / "index", source_roots={str(tmp_path / "pictures"): str(tmp_path / "moved")})
    assert found.pixels(1).data == original
    parent = open_index(tmp_path / "index", source_roots={f"{tmp_path}/pictures/": str(tmp_path / "moved")})
    assert parent.pixels(1).kind == "original"
    (tmp_path / "moved" / "001.png").write_bytes(original + b"x")
    assert found.pixels(1).reason.startswith("changed:")


def test_pixels_without_previews(tmp_path: Path) -> None:
    index = small_index(tmp_path, 4)
    (tmp_path / "pictures" / "000.png").unlink()
    assert (index.pixels(0).data, index.pixels(0).kind) == (None, "none")
    assert Index.open(tmp_path / "index").pixels(1).kind == "none"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"format": "forensics-ind', "damaged"),
        (b"[]", "does not describe an index"),
        (b'{"format": "forensics-index", "schema_version": 99}', "schema version 99"),
        (b'{"format": "forensics-index", "schema_version": 1}', "damaged"),
        (b"\xff\xfe", "damaged"),
    ],
)
def test_unreadable_manifests(tmp_path: Path, content: bytes, words: str) -> None:
    small_index(tmp_path, 4)
    (tmp_path / "index" / "manifest.json").write_bytes(content)
    with pytest.raises(IndexFormatError, match=words):
        Index.open(tmp_path / "index")


def test_not_an_index(tmp_path: Path) -> None:
    with pytest.raises(IndexFormatError, match="forensics index build"):
        Index.open(tmp_path)
    with pytest.raises(IndexFormatError, match="is not an index"):
        Index.open(tmp_path / "nowhere")


def test_a_manifest_cannot_point_outside(tmp_path: Path) -> None:
    small_index(tmp_path, 4)
    path = tmp_path / "index" / "manifest.json"
    values = json.loads(path.read_text())
    values["embedders"][0]["folder"] = "../../elsewhere"
    path.write_text(json.dumps(values))
    with pytest.raises(IndexFormatError, match="leads out of the index"):
        Index.open(tmp_path / "index")


def test_changed_part_list(tmp_path: Path) -> None:
    small_index(tmp_path)
    path = tmp_path / "index" / "parts.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"ok":4', b'"ok":3', 1))
    with pytest.raises(IntegrityError, match="SHA-256 differs"):
        Index.open(tmp_path / "index")


def test_truncated_vectors(tmp_path: Path) -> None:
    index = small_index(tmp_path)
    path = tmp_path / "index" / "vectors" / "demo" / "part-00001.npy"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(IntegrityError, match="index verify"):
        index.search("demo", embed(1), 1)


def test_rows_by_view(tmp_path: Path) -> None:
    """A search of whole images or of parts returns what a search of everything returns, less the other rows."""
    views = (View(name="whole"), View(name="upper", box=(0, 0, 1, 0.5)), View(name="right", box=(0.5, 0, 1, 1)))
    (tmp_path / "pictures").mkdir()
    for seed in range(6):
        Image.fromarray(blocky(seed)).save(tmp_path / "pictures" / f"{seed}.png")
    build(
        ListedSource.of(tmp_path / "pictures"), tmp_path / "index", [DemoEmbedder()], {"demo": views}, part_size=4,
        workers=0,
    )  # fmt: skip
    index = open_index(tmp_path / "index")
    query = index.vectors("demo", np.array([4]))
    everything = index.search("demo", query, 18).rows[0].tolist()
    whole, parts = ([row for row in everything if (row % 3 == 0) is first] for first in (True, False))
    assert index.search("demo", query, 6, views="whole").rows[0].tolist() == whole
    assert index.search("demo", query, 12, views="parts").rows[0].tolist() == parts
    assert index.rows_of_views("demo", "all") is None
    assert index.view_boxes("demo", np.array([17, 0, 4])) == [(0.5, 0, 1, 1), (0, 0, 1, 1), (0, 0, 1, 0.5)]


def test_an_index_of_whole_images_has_no_parts(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(blocky(0)).save(tmp_path / "pictures" / "0.png")
    build(ListedSource.of(tmp_path / "pictures"), tmp_path / "index", [DemoEmbedder()], workers=0)
    index = open_index(tmp_path / "index")
    hits = index.search("demo", index.vectors("demo", np.array([0])), 3, views="parts")
    assert hits.rows.tolist() == [[-1, -1, -1]]
