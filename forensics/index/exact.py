"""Exact top-k by inner product over rows that stream by in blocks.

The answer is defined without reference to how it is computed: the score of a pair is its inner product in float64,
rounded to float32; hits are ordered by score, descending, then by row, ascending. Single-precision products of blocks
only discard pairs that cannot be among the first k, with a margin that covers their rounding:

==========  ===========================================================================
name        symbol
==========  ===========================================================================
``error``   e = d u / (1 - d u), u = 2^-24: bound of a float32 inner product of unit rows
``floor``   per query, (k-th best product so far) - 2 e
==========  ===========================================================================

A pair among the true first k has a product of at least its true score - e, hence at least the k-th best product - 2 e.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    IntArray = NDArray[np.int64]

__all__ = ["BLOCK_ROWS", "Block", "Hits", "pair_scores", "search_compared", "search_vectors"]

BLOCK_ROWS = 4096
"""Rows a block: 8 MB at 512 dimensions, and 16 MB of products with a chunk of queries, which caches still help."""

_QUERY_CHUNK = 1024
_PAIR_CHUNK = 1024
_GROUP = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """What a search found.

    Attributes
    ----------
    scores : (m, k) float32
        Descending; -inf where there are fewer than k rows.
    rows : (m, k) int64
        Rows of the embedder in the index; -1 where there are fewer than k.
    """

    scores: FloatArray
    rows: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Consecutive rows of an index, the removed ones left out.

    Attributes
    ----------
    rows : (b,) int64
        Ascending, and above those of every block before.
    data : (b, d) float32 or (b, d / 8) uint8
    """

    rows: IntArray
    data: NDArray[Any]


class Products(Protocol):
    """Multiplies chunks of queries with a block; the place where an accelerator comes in."""

    def load(self, data: FloatArray) -> None:
        """Take the next block, (b, d)."""
        ...

    def above(self, start: int, stop: int, floor: FloatArray, k: int) -> tuple[IntArray, IntArray, FloatArray]:
        """Return (query, position in block, product) of all pairs of ``queries[start:stop]`` at or above the floor.

        Where a floor is -inf, the function may raise it to any bound that k products of the block reach.
        """
        ...


class CpuProducts:
    """Products by NumPy's BLAS."""

    def __init__(self, queries: FloatArray, error: float) -> None:
        self._queries, self._error = queries, error
        self._block = queries[:0]
        self._out = np.empty((min(len(queries), _QUERY_CHUNK), BLOCK_ROWS), np.float32)
        # BLAS uses every core for the product; looking through it in one thread would cost a fifth as much again.
        self._threads = os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads)

    def load(self, data: FloatArray) -> None:
        """Take the next block, (b, d)."""
        self._block = data

    def above(self, start: int, stop: int, floor: FloatArray, k: int) -> tuple[IntArray, IntArray, FloatArray]:
        """Return all pairs at or above the floor."""
        width = len(self._block)
        whole = width == self._out.shape[1] and stop - start == self._out.shape[0]
        products = np.matmul(self._queries[start:stop], self._block.T, out=self._out if whole else None)
        floor = floor[start:stop]
        groups = width // _GROUP
        if groups >= k and np.isneginf(floor).any():
            # k groups have a maximum of at least the k-th largest maximum, so k products reach it.
            peaks = products[:, : groups * _GROUP].reshape(len(products), groups, _GROUP).max(axis=2)
            reached = np.partition(peaks, groups - k, axis=1)[:, groups - k]
            floor = np.maximum(floor, reached - np.float32(2 * self._error))
        slices = np.array_split(np.arange(len(products)), self._threads)
        found = list(self._pool.map(lambda rows: _at_or_above(products, floor, rows), slices))
        query, position, values = (np.concatenate(column) for column in zip(*found, strict=True))
        return query + start, position, values


def _at_or_above(products: FloatArray, floor: FloatArray, rows: IntArray) -> tuple[IntArray, IntArray, FloatArray]:
    """Return (query, position, product) of what reaches the floor in some rows of the products."""
    if not len(rows):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    part = products[rows[0] : rows[-1] + 1]
    query, position = np.divmod(np.flatnonzero(part >= floor[rows[0] : rows[-1] + 1, None]), part.shape[1])
    return query + rows[0], position, part[query, position]


class TorchProducts:
    """Products by torch on a device, for GPUs; the same contract as :class:`CpuProducts`."""

    def __init__(self, queries: FloatArray, error: float, device: str) -> None:
        import torch

        self._torch, self._device, self._error = torch, device, error
        self._queries = torch.from_numpy(queries).to(device)
        self._block = self._queries[:0]

    def load(self, data: FloatArray) -> None:
        """Take the next block, (b, d)."""
        self._block = self._torch.from_numpy(data).to(self._device)

    def above(self, start: int, stop: int, floor: FloatArray, k: int) -> tuple[IntArray, IntArray, FloatArray]:
        """Return all pairs at or above the floor."""
        torch = self._torch
        products = self._queries[start:stop] @ self._block.T
        bound = torch.from_numpy(floor[start:stop]).to(self._device)
        if products.shape[1] >= k and bool(torch.isneginf(bound).any()):
            reached = torch.topk(products, k, dim=1).values[:, -1] - 2 * self._error
            bound = torch.maximum(bound, reached)
        query, position = torch.nonzero(products >= bound[:, None], as_tuple=True)
        values: FloatArray = products[query, position].cpu().numpy()
        return query.cpu().numpy() + start, position.cpu().numpy(), values


def products_for(queries: FloatArray, error: float, device: str | None = None) -> Products:
    """Return the fastest products this machine has: CUDA through torch, otherwise NumPy's BLAS.

    ``device`` forces torch on that device. TF32 would break the bound on rounding; torch leaves it off for products.
    """
    if device is None and _cuda():
        device = "cuda"
    return CpuProducts(queries, error) if device is None else TorchProducts(queries, error, device)


def _cuda() -> bool:
    # Importing torch takes seconds: not where there is no GPU to be found.
    if "torch" not in sys.modules and not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    try:
        import torch
    except ImportError:
        return False
    return bool(torch.cuda.is_available()) and not torch.backends.cuda.matmul.allow_tf32


def search_vectors(
    blocks: Iterable[Block],
    fetch: Callable[[IntArray], NDArray[Any]],
    queries: FloatArray,
    k: int,
    *,
    device: str | None = None,
) -> Hits:
    """Return the k best rows of every query.

    Parameters
    ----------
    blocks : iterable of Block
        Unit rows as float32, in ascending order.
    fetch : callable
        (n,) int64 rows → (n, d) stored vectors, for the final scores.
    queries : (m, d) float32
        Unit rows.
    k : int
        At least 1.
    device : str or None
        A torch device; None takes CUDA where there is one.
    """
    dim = queries.shape[1]
    error = dim * 2.0**-24 / (1 - dim * 2.0**-24) * 1.01  # stored rows are of unit norm up to half precision
    best = _Best(queries, fetch, k, error)
    products = products_for(queries, error, device)
    for block in blocks:
        products.load(block.data)
        for start in range(0, len(queries), _QUERY_CHUNK):
            stop = min(start + _QUERY_CHUNK, len(queries))
            query, position, score = products.above(start, stop, best.floor, k)
            best.add(query, block.rows[position], score)
    return best.finish()


class _Best:
    """The pairs that may still be among the first k of their query."""

    def __init__(self, queries: FloatArray, fetch: Callable[[IntArray], NDArray[Any]], k: int, error: float) -> None:
        self.floor = np.full(len(queries), -np.inf, np.float32)
        self._queries, self._fetch, self._k = queries, fetch, k
        self._margin = np.float32(2 * error)
        self._query: list[IntArray] = []
        self._row: list[IntArray] = []
        self._score: list[FloatArray] = []
        self._pending = 0
        self._limit = max(4 * k * len(queries), 65536)

    def add(self, query: IntArray, row: IntArray, score: FloatArray) -> None:
        first = self._pending == 0
        self._query.append(query)
        self._row.append(row)
        self._score.append(score)
        self._pending += len(query)
        if first or self._pending > self._limit:
            self._prune()

    def finish(self) -> Hits:
        query, row, score = self._take()
        score = pair_scores(self._queries, query, self._fetch, row)
        order, rank = _ranked(query, row, score)
        query, row, score = query[order], row[order], score[order]
        first = rank < self._k
        shape = (len(self._queries), self._k)
        scores, rows = np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)
        scores[query[first], rank[first]] = score[first]
        rows[query[first], rank[first]] = row[first]
        return Hits(scores=scores, rows=rows)

    def _prune(self) -> None:
        query, row, score = self._take()
        order, rank = _ranked(query, row, score)
        query, row, score = query[order], row[order], score[order]
        kth = rank == self._k - 1
        self.floor[query[kth]] = np.maximum(self.floor[query[kth]], score[kth] - self._margin)
        keep = score >= self.floor[query]
        query, row, score = query[keep], row[keep], score[keep]
        if len(query) > self._limit // 2 and len(query) > 2 * self._k * len(self._queries):
            # Very many rows tie (blank images): only exact scores tell which of them come first.
            score = pair_scores(self._queries, query, self._fetch, row)
            order, rank = _ranked(query, row, score)
            first = order[rank < self._k]
            query, row, score = query[first], row[first], score[first]
        self._query, self._row, self._score, self._pending = [query], [row], [score], len(query)

    def _take(self) -> tuple[IntArray, IntArray, FloatArray]:
        if not self._query:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        return np.concatenate(self._query), np.concatenate(self._row), np.concatenate(self._score)


def _ranked(query: IntArray, row: IntArray, score: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the order by query, score descending, row ascending, and each entry's rank within its query."""
    order = np.lexsort((row, -score, query))
    ordered = query[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(ordered) else np.empty(0, np.int64)
    lengths = np.diff(np.r_[starts, len(ordered)])
    return order, np.arange(len(ordered)) - np.repeat(starts, lengths)


def pair_scores(
    queries: NDArray[Any], query: IntArray, fetch: Callable[[IntArray], NDArray[Any]], row: IntArray
) -> FloatArray:
    """Return the inner product of each pair, summed in float64 and rounded to float32.

    Parameters
    ----------
    queries : (m, d) float
    query : (n,) int64
        Position of each pair's query.
    fetch : callable
        (n,) int64 rows → (n, d) float.
    row : (n,) int64
    """
    out = np.empty(len(query), np.float32)
    for start in range(0, len(query), _PAIR_CHUNK):
        part = slice(start, start + _PAIR_CHUNK)
        left = queries[query[part]].astype(np.float64)
        right = fetch(row[part]).astype(np.float64)
        out[part] = np.einsum("ij,ij->i", left, right)
    return out


def search_compared(
    blocks: Iterable[Block],
    compare: Callable[[NDArray[Any], NDArray[Any]], FloatArray],
    queries: NDArray[Any],
    k: int,
) -> Hits:
    """Return the k best rows of every query by a score of the embedder's own, over all pairs.

    Parameters
    ----------
    compare : callable
        (m, w) queries and (b, w) rows → (m, b) float32, higher for more alike.
    """
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for block in blocks:
        scored = compare(queries, block.data)
        scores, rows = merge(scores, rows, scored, np.broadcast_to(block.rows, scored.shape), k)
    return Hits(scores=scores, rows=rows)


def merge(
    scores: FloatArray, rows: IntArray, more_scores: FloatArray, more_rows: IntArray, k: int
) -> tuple[FloatArray, IntArray]:
    """Return the k best of two lists a query, (m, a) and (m, b); among equals the first list comes first."""
    all_scores = np.concatenate([scores, more_scores], axis=1)
    all_rows = np.concatenate([rows, more_rows], axis=1)
    order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_scores, order, axis=1), np.take_along_axis(all_rows, order, axis=1)
