"""Candidate pairs against a brute force over all views of all pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from forensics.candidates import candidate_columns, find_candidates
from forensics.embed import create
from forensics.errors import SpecMismatchError, UsageError
from forensics.flows.build import build
from forensics.flows.index import open_index, remove_images
from forensics.index import Index
from forensics.testing.demo_embedder import DemoEmbedder
from forensics.types import View
from tests.index.pictures import ListedSource, blocky

TURNS = tuple(View(name=f"turn{k}" if k else "whole", orientation=k) for k in range(8))
PARTS = (
    View(name="whole"),
    View(name="upper", box=(0, 0, 1, 0.5)),
    View(name="right", box=(0.5, 0, 1, 1)),
)


def make(folder: Path, seeds: list[int], views: dict, *, mirrored: bool = False, demo: str = "") -> Index:
    (folder / "pictures").mkdir(parents=True)
    for at, seed in enumerate(seeds):
        pixels = blocky(seed)[:, ::-1] if mirrored else blocky(seed)
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / "pictures" / f"{at:03d}.png")
    embedders = [DemoEmbedder(demo) if name == "demo" else create(name) for name in views]
    build(ListedSource.of(folder / "pictures"), folder / "index", embedders, views, part_size=4, workers=0)
    return open_index(folder / "index")


def brute(references: Index, queries: Index, name: str, *, list_of: str = "") -> np.ndarray:
    """Return (queries, references) float32: the best score over the pairs of views of which one is a whole image.

    ``list_of``: ``whole`` references only, or whole queries against ``parts`` of references only.
    """
    left = queries.vectors(name, np.arange(queries.row_count(name)))
    right = references.vectors(name, np.arange(references.row_count(name)))
    if references.specs[name].kind == "bits":
        scores = 1 - np.unpackbits(left[:, None] ^ right[None], axis=2).sum(axis=2) / references.specs[name].dim
    else:
        unit = left.astype(np.float64) / np.linalg.norm(left.astype(np.float64), axis=1, keepdims=True)
        scores = unit @ right.astype(np.float64).T
    first_left, first_right = (
        np.concatenate([(index.rows_frame(name, part.part)["view"] == "whole").to_numpy() for part in index.parts])
        for index in (queries, references)
    )
    allowed = first_left[:, None] | first_right[None]
    if list_of == "whole":
        allowed &= first_right[None]
    if list_of == "parts":
        allowed &= first_left[:, None] & ~first_right[None]
    scores = np.where(allowed, scores, -np.inf)
    best = np.full((len(queries), len(references)), -np.inf)
    of_left = queries.row_to_image(name, np.arange(len(left)))
    of_right = references.row_to_image(name, np.arange(len(right)))
    np.maximum.at(best, (of_left[:, None], of_right[None]), scores)
    return best


@pytest.mark.parametrize("top", [1, 3])
def test_every_pair_has_every_score(tmp_path: Path, top: int) -> None:
    references = make(tmp_path / "r", list(range(12)), {"demo": PARTS[:2], "phash": PARTS[:1]})
    queries = make(tmp_path / "q", [3, 7, 40, 41, 42, 5], {"demo": PARTS, "phash": TURNS}, mirrored=True)
    tables = list(find_candidates(references, queries, top=top))
    assert len(tables) == len(queries.parts) == 2
    table = pd.concat(tables, ignore_index=True)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == candidate_columns(("demo", "phash"))
    assert not table.duplicated(["query", "reference"]).any()
    for name in ("demo", "phash"):
        best = brute(references, queries, name)
        np.testing.assert_allclose(table[f"score:{name}"], best[table["query"], table["reference"]], atol=1e-6)
        lists = ("whole", "parts") if name == "demo" else ("whole",)
        for query in range(len(queries)):
            own = table[(table["query"] == query) & (table[f"rank:{name}"] > 0)].sort_values(f"rank:{name}")
            known: set[int] = set()
            for place, of in enumerate(lists):
                only = brute(references, queries, name, list_of=of)[query].astype(np.float32)
                expected = np.argsort(-only, kind="stable")[:top]
                ranked = own[own[f"rank:{name}"].between(place * top + 1, (place + 1) * top)]
                # a pair of both lists keeps its rank in the first
                assert set(ranked["reference"]) == set(expected.tolist()) - known
                known |= set(expected.tolist())
    copies = table[(table["query"] == 0) & (table["reference"] == 3)].iloc[0]
    assert (copies["rank"], copies["rank:phash"]) == (1, 1)
    assert copies["view:phash"] in {"turn4", "turn6"}


def test_rows_name_the_best_views(tmp_path: Path) -> None:
    references = make(tmp_path / "r", list(range(6)), {"demo": PARTS})
    queries = make(tmp_path / "q", [2, 4], {"demo": PARTS})
    table = pd.concat(find_candidates(references, queries, top=2))
    for row in table.to_dict("records"):
        left = queries.vectors("demo", np.array([row["query_row:demo"]])).astype(np.float64)
        right = references.vectors("demo", np.array([row["reference_row:demo"]])).astype(np.float64)
        left /= np.linalg.norm(left)
        assert (left @ right.T).item() == pytest.approx(row["score:demo"], abs=1e-6)
        assert queries.rows_frame("demo", 0).loc[row["query_row:demo"], "view"] == row["view:demo"]


def test_a_missing_descriptor_is_nan(tmp_path: Path) -> None:
    references = make(tmp_path / "r", list(range(4)), {"demo": PARTS[:1], "phash": PARTS[:1]})
    (tmp_path / "q" / "pictures").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(tmp_path / "q" / "pictures" / "black.png")
    (tmp_path / "q" / "pictures" / "text.png").write_bytes(b"no image")
    source = ListedSource.of(tmp_path / "q" / "pictures")
    build(source, tmp_path / "q" / "index", [DemoEmbedder(), create("phash")], workers=0)
    table = pd.concat(find_candidates(references, open_index(tmp_path / "q" / "index"), top=2))
    assert table["query"].unique().tolist() == [0]
    assert table["score:demo"].isna().all()
    assert table["view:demo"].tolist() == ["", ""]
    assert (table["query_row:demo"] == -1).all()
    assert table["score:phash"].notna().all()


def test_removed_references_are_no_candidates(tmp_path: Path) -> None:
    make(tmp_path / "r", list(range(4)), {"demo": PARTS[:1]})
    remove_images(tmp_path / "r" / "index", ids=["002.png"])
    queries = make(tmp_path / "q", [2], {"demo": PARTS})
    table = pd.concat(find_candidates(open_index(tmp_path / "r" / "index"), queries, top=10))
    assert sorted(table["reference"]) == [0, 1, 3]


def test_own_comparison(tmp_path: Path) -> None:
    references = make(tmp_path / "r", list(range(5)), {"phash": PARTS[:1]})
    queries = make(tmp_path / "q", [1, 3], {"phash": PARTS[:1]})

    def unlike(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return (np.unpackbits(left[:, None] ^ right[None], axis=2).sum(axis=2) / 64).astype(np.float32)

    table = pd.concat(find_candidates(references, queries, top=5, compare={"phash": unlike}))
    usual = pd.concat(find_candidates(references, queries, top=5))
    both = table.merge(usual, on=["query", "reference"])
    np.testing.assert_allclose(both["score:phash_x"], 1 - both["score:phash_y"], atol=1e-6)
    assert table.groupby("query")["reference"].last().tolist() == [1, 3]


def test_refusals(tmp_path: Path) -> None:
    references = make(tmp_path / "r", [1], {"demo": PARTS[:1]})
    hashes = make(tmp_path / "h", [1], {"phash": PARTS[:1]})
    other = make(tmp_path / "o", [1], {"demo": PARTS[:1]}, demo="other weights")
    with pytest.raises(SpecMismatchError, match="none in common"):
        next(find_candidates(references, hashes))
    with pytest.raises(SpecMismatchError, match="two different builds of demo"):
        next(find_candidates(references, other))
    with pytest.raises(SpecMismatchError, match="they share demo"):
        next(find_candidates(references, references, embedders=("phash",)))
    with pytest.raises(UsageError, match="1 or more"):
        next(find_candidates(references, references, top=0))
