"""Fast searches against a float64 brute force, ties included."""

from __future__ import annotations

import numpy as np
import pytest

from forensics.index.exact import Block, search_compared, search_vectors
from forensics.index.hamming import distances, search_bits


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cut(data: np.ndarray, size: int, live: np.ndarray | None = None) -> list[Block]:
    rows = np.arange(len(data)) if live is None else np.flatnonzero(live)
    return [Block(rows=rows[at : at + size], data=data[rows[at : at + size]]) for at in range(0, len(rows), size)]


def oracle(data: np.ndarray, queries: np.ndarray, k: int, live: np.ndarray | None = None) -> tuple:
    rows = np.arange(len(data)) if live is None else np.flatnonzero(live)
    scores = np.einsum("md,nd->mn", queries.astype(np.float64), data[rows].astype(np.float64)).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), rows[order]


@pytest.mark.parametrize("device", [None, "cpu"])
@pytest.mark.parametrize(("count", "size", "k"), [(3000, 512, 7), (3000, 97, 20), (50, 64, 1), (700, 700, 300)])
def test_equals_brute_force(count: int, size: int, k: int, device: str | None) -> None:
    rng = np.random.default_rng(count + size)
    data = unit(rng.standard_normal((count, 48))).astype(np.float16)
    queries = unit(rng.standard_normal((1100, 48)))
    hits = search_vectors(cut(data.astype(np.float32), size), lambda r: data[r], queries, k, device=device)
    scores, rows = oracle(data, queries, k)
    np.testing.assert_allclose(hits.scores, scores, atol=1e-6)
    # Scores that are equal in float32 may differ in the last bit of float64 sums; such pairs alone may swap.
    differing = hits.rows != rows
    assert differing.mean() < 1e-4
    np.testing.assert_allclose(hits.scores[differing], scores[differing], atol=1e-7)


@pytest.mark.parametrize("device", [None, "cpu"])
def test_ties_go_to_the_lower_row(device: str | None) -> None:
    rng = np.random.default_rng(1)
    distinct = unit(rng.standard_normal((5, 32))).astype(np.float16)
    data = distinct[rng.integers(0, 5, 4000)]  # every row has some 800 twins
    queries = unit(np.concatenate([distinct, rng.standard_normal((3, 32))]))
    hits = search_vectors(cut(data.astype(np.float32), 333), lambda r: data[r], queries, 10, device=device)
    for query, rows in enumerate(hits.rows):
        best = np.argmax(distinct.astype(np.float64) @ queries[query].astype(np.float64))
        assert rows.tolist() == np.flatnonzero((data == distinct[best]).all(axis=1))[:10].tolist()


def test_many_ties_are_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = unit(np.ones((1, 16))).astype(np.float16)
    data = np.repeat(blank, 200_000, axis=0)
    hits = search_vectors(cut(data.astype(np.float32), 16384), lambda r: data[r], unit(np.ones((2, 16))), 3)
    assert hits.rows.tolist() == [[0, 1, 2]] * 2


def test_removed_rows_and_short_lists() -> None:
    rng = np.random.default_rng(2)
    data = unit(rng.standard_normal((40, 16))).astype(np.float16)
    live = rng.random(40) < 0.5
    hits = search_vectors(cut(data.astype(np.float32), 8, live), lambda r: data[r], unit(data[:5].astype(float)), 40)
    assert set(hits.rows[0]) - {-1} == set(np.flatnonzero(live))
    assert np.isneginf(hits.scores[hits.rows < 0]).all()
    empty = search_vectors([], lambda r: data[r], unit(data[:2].astype(float)), 3)
    assert (empty.rows == -1).all()


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("width", [8, 32, 5])
def test_bits_equal_brute_force_with_ties(width: int, plain: bool) -> None:
    rng = np.random.default_rng(width)
    data = rng.integers(0, 4, (2000, width), np.uint8)  # few values: most distances are shared
    queries = rng.integers(0, 4, (600, width), np.uint8)
    live = rng.random(2000) < 0.9
    hits = search_bits(cut(data, 300, live), queries, 12, plain=plain)
    rows = np.flatnonzero(live)
    all_distances = np.unpackbits(queries[:, None] ^ data[None, rows], axis=2).sum(axis=2)
    order = np.argsort(all_distances, axis=1, kind="stable")[:, :12]
    np.testing.assert_array_equal(hits.rows, rows[order])
    expected = 1 - np.take_along_axis(all_distances, order, axis=1) / (8 * width)
    np.testing.assert_allclose(hits.scores, expected, atol=1e-6)


def test_distances_broadcast() -> None:
    left, right = np.array([[0, 255]], np.uint8), np.array([[1, 255], [255, 0]], np.uint8)
    assert distances(left, right).tolist() == [1, 16]


def test_own_comparison() -> None:
    data = np.arange(20, dtype=np.uint8).reshape(20, 1)

    def compare(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return -np.abs(queries.astype(np.float32) - rows.astype(np.float32).T)

    hits = search_compared(cut(data, 6), compare, np.array([[10]], np.uint8), 3)
    assert hits.rows.tolist() == [[10, 9, 11]]
