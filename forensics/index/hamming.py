"""Exact top-k by Hamming distance over packed bits that stream by in blocks.

Score = 1 - distance / bits. Many rows share a distance, so the tie-break (lower row first) decides often; FAISS's
counting search keeps rows in the order in which it meets them, which is that order.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.index.exact import Block, Hits, merge

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BLOCK_ROWS", "distances", "search_bits"]

BLOCK_ROWS = 1 << 18
_QUERY_CHUNK = 512
_PLAIN_ROWS = 1 << 14


def search_bits(blocks: Iterable[Block], queries: NDArray[np.uint8], k: int, *, plain: bool = False) -> Hits:
    """Return the k nearest rows of every query.

    Parameters
    ----------
    blocks : iterable of Block
        (b, w) uint8, in ascending order of rows.
    queries : (m, w) uint8
    k : int
    plain : bool
        Use NumPy even where FAISS is installed.
    """
    bits = queries.shape[1] * 8
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    nearest = _nearest_numpy if plain or find_spec("faiss") is None else _nearest_faiss
    for block in blocks:
        for start in range(0, len(queries), _QUERY_CHUNK):
            part = slice(start, start + _QUERY_CHUNK)
            distance, position = nearest(queries[part], block.data, min(k, len(block.data)))
            score = np.float32(1) - distance.astype(np.float32) / np.float32(bits)
            scores[part], rows[part] = merge(scores[part], rows[part], score, block.rows[position], k)
    return Hits(scores=scores, rows=rows)


def distances(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return the Hamming distances of packed rows, (…, w) and (…, w) uint8 → (…) int32, broadcasting."""
    differing = left ^ right
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.asarray(np.bitwise_count(differing).sum(axis=-1, dtype=np.int32))
    return np.asarray(np.unpackbits(differing, axis=-1).sum(axis=-1, dtype=np.int32))


def _nearest_faiss(queries: NDArray[np.uint8], data: NDArray[np.uint8], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    import faiss

    distance, position = faiss.knn_hamming(np.ascontiguousarray(queries), np.ascontiguousarray(data), k, variant="mc")
    return distance, position


def _nearest_numpy(queries: NDArray[np.uint8], data: NDArray[np.uint8], k: int) -> tuple[NDArray[Any], NDArray[Any]]:
    best_distance = np.empty((len(queries), 0), np.int32)
    best_position = np.empty((len(queries), 0), np.int64)
    for start in range(0, len(data), _PLAIN_ROWS):
        block = data[start : start + _PLAIN_ROWS]
        # (m, b), one query at a time: the whole cube of differing bytes would not fit.
        near = np.stack([distances(query, block) for query in queries]) if len(queries) else np.empty((0, len(block)))
        positions = np.broadcast_to(np.arange(start, start + len(block)), near.shape)
        all_distance = np.concatenate([best_distance, near], axis=1)
        all_position = np.concatenate([best_position, positions], axis=1)
        order = np.argsort(all_distance, axis=1, kind="stable")[:, :k]
        best_distance = np.take_along_axis(all_distance, order, axis=1)
        best_position = np.take_along_axis(all_position, order, axis=1)
    return best_distance, best_position
