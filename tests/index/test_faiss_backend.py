"""FAISS proposes, the stored rows decide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forensics.errors import IntegrityError, UsageError
from forensics.flows.index import describe, open_index, optimize, remove_images
from forensics.index import Index
from forensics.index.manifest import EmbedderEntry, SourceEntry
from forensics.index.part import ImageRow, PartData, RowSet
from forensics.index.writer import create_index
from forensics.types import EmbedderSpec, View

pytest.importorskip("faiss")

VECTORS = EmbedderSpec(name="v", kind="vector", dim=32, preprocessing="none")
BITS = EmbedderSpec(name="b", kind="bits", dim=64, preprocessing="none")
PARTS, SIZE = 3, 400


def rows(data: np.ndarray) -> RowSet:
    return RowSet(
        data=data,
        image=np.arange(len(data), dtype=np.int32),
        view=["whole"] * len(data),
        box=np.zeros((len(data), 4), np.int32),
        orientation=np.zeros(len(data), np.int8),
        quality=np.full(len(data), -1, np.int16),
    )


@pytest.fixture
def index(tmp_path: Path) -> Index:
    rng = np.random.default_rng(0)
    entries = [EmbedderEntry(spec=spec, folder=spec.name, views=(View(name="whole"),)) for spec in (VECTORS, BITS)]
    centres = rng.standard_normal((20, 32))
    with create_index(tmp_path / "index", embedders=entries, part_size=SIZE, keep_pixels=0) as writer:
        number = writer.begin_source(SourceEntry(kind="folder", path="/a", root="/a"))
        for part in range(PARTS):
            data = (centres[rng.integers(0, 20, SIZE)] + 0.3 * rng.standard_normal((SIZE, 32))).astype(np.float32)
            images = [
                ImageRow(id=f"{part}-{n}", uri=f"file:{n}", sha256="", width=4, height=4, state="ok")
                for n in range(SIZE)
            ]
            bits = rng.integers(0, 256, (SIZE, 8), np.uint8)
            writer.commit_part(
                number, PartData(images=images, rows={"v": rows(data), "b": rows(bits)}, listing=str(part))
            )
        writer.finish_source(number)
    return Index.open(tmp_path / "index")


@pytest.mark.parametrize("factory", ["IVF16,Flat", "HNSW16", "IVF8,RaBitQ", "PQ16x4fs", "SQ8"])
def test_scores_are_exact_whatever_proposes(index: Index, factory: str) -> None:
    made = optimize(index.directory, factory)
    assert made["v"].sample == 200
    assert made["v"].recall_at_10 > 0.8
    opened = open_index(index.directory)
    assert opened.manifest.faiss["v"].recall_at_10 == made["v"].recall_at_10
    queries = opened.vectors("v", np.arange(50)).astype(np.float32)
    exact, found = opened.search("v", queries, 10), opened.search("v", queries, 10, approximate=True)
    truth = {(q, int(r)): s for q in range(50) for r, s in zip(exact.rows[q], exact.scores[q], strict=True)}
    for q in range(50):
        assert (np.diff(found.scores[q]) <= 0).all()
        for row, score in zip(found.rows[q], found.scores[q], strict=True):
            assert truth.get((q, int(row)), score) == score


def test_nprobe_of_all_lists_is_exact(index: Index) -> None:
    made = optimize(index.directory, "IVF16,Flat", nprobe=16)
    assert made["v"].search == {"nprobe": 16}
    opened = open_index(index.directory)
    queries = opened.vectors("v", np.arange(50)).astype(np.float32)
    exact, found = opened.search("v", queries, 10), opened.search("v", queries, 10, approximate=True)
    np.testing.assert_array_equal(exact.rows, found.rows)
    np.testing.assert_array_equal(exact.scores, found.scores)


def test_binary_types_are_for_hashes(index: Index) -> None:
    made = optimize(index.directory, "BIVF8", nprobe=8)
    assert set(made) == {"b"}
    opened = open_index(index.directory)
    queries = opened.vectors("b", np.arange(30))
    exact, found = opened.search("b", queries, 5), opened.search("b", queries, 5, approximate=True)
    np.testing.assert_array_equal(exact.scores, found.scores)


def test_more_asked_for_than_there_is(index: Index) -> None:
    optimize(index.directory, "IVF4,Flat", nprobe=4)
    hits = open_index(index.directory).search("v", np.ones((1, 32)), PARTS * SIZE + 5, approximate=True)
    assert (hits.rows[0, -5:] == -1).all()
    assert len(set(hits.rows[0, :-5])) == PARTS * SIZE


@pytest.mark.parametrize(
    ("factory", "nprobe", "words"),
    [
        ("Nonsense7", None, "does not accept"),
        ("IVF100000,Flat", None, "cannot make"),
        ("HNSW16", 4, "nprobe"),
        ("PQ7", None, "PQ7"),
        ("BHNSWx", None, "does not accept|cannot make"),
    ],
)
def test_bad_factories(index: Index, factory: str, nprobe: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        optimize(index.directory, factory, nprobe=nprobe)
    assert open_index(index.directory).manifest.faiss == {}


def test_a_changed_file_is_not_opened(index: Index) -> None:
    optimize(index.directory, "IVF4,Flat")
    path = index.directory / "faiss" / "v.index"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="optimize"):
        open_index(index.directory).search("v", np.ones((1, 32)), 1, approximate=True)


def test_removal_drops_the_cache(index: Index) -> None:
    optimize(index.directory, "IVF4,Flat")
    remove_images(index.directory, ids=["0-0"])
    opened = open_index(index.directory)
    assert opened.manifest.faiss == {}
    assert not list(index.directory.glob("faiss/*"))
    optimize(index.directory, "IVF4,Flat", nprobe=4)
    opened = open_index(index.directory)
    assert describe(index.directory)["embedders"][0]["index_type"] == "IVF4,Flat"
    hits = opened.search("v", opened.vectors("v", np.array([0, 1])).astype(np.float32), 3, approximate=True)
    assert 0 not in hits.rows
    assert hits.rows[1, 0] == 1
    optimize(index.directory, "Flat")
    assert open_index(index.directory).manifest.faiss == {}
