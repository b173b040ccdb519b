"""Exact search of an index against faiss.knn on the same arrays: time, and whether both find the same.

    python bench/search.py [--rows 100000] [--dim 512] [--queries 1000] [-k 20] [--repeat 7]

Prints medians and their ratio; above 1, this program is faster. Runs alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from forensics.index.exact import BLOCK_ROWS, Block, search_vectors
from forensics.index.hamming import BLOCK_ROWS as BITS_BLOCK
from forensics.index.hamming import search_bits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("-k", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=7)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    vectors(rng, given)
    bits(rng, given)


def vectors(rng: np.random.Generator, given: argparse.Namespace) -> None:
    import faiss

    stored = unit(rng.standard_normal((given.rows, given.dim), np.float32)).astype(np.float16)
    queries = unit(rng.standard_normal((given.queries, given.dim), np.float32))
    floats = stored.astype(np.float32)

    def blocks(data: np.ndarray, size: int = BLOCK_ROWS) -> list[Block]:
        parts = range(0, len(data), size)
        return [Block(rows=np.arange(at, min(at + size, len(data))), data=data[at : at + size]) for at in parts]

    held = blocks(floats)

    def streamed() -> object:
        parts = (Block(rows=block.rows, data=block.data.astype(np.float32)) for block in blocks(stored))
        return search_vectors(parts, lambda rows: stored[rows], queries, given.k)

    runs = {
        "faiss.knn": lambda: faiss.knn(queries, floats, given.k, metric=faiss.METRIC_INNER_PRODUCT),
        "index, float32 held": lambda: search_vectors(held, lambda rows: stored[rows], queries, given.k),
        "index, float16 streamed": streamed,
    }
    print(f"vectors: {given.rows} x {given.dim}, {given.queries} queries, k = {given.k}, n = {given.repeat} runs each")
    results = compete(runs, given.repeat, "faiss.knn")
    _, theirs = results["faiss.knn"]
    for name in list(runs)[1:]:
        print(f"  {name}: {float((results[name].rows == theirs).mean()):.6f} of the rows are the same")


def bits(rng: np.random.Generator, given: argparse.Namespace) -> None:
    import faiss

    stored = rng.integers(0, 256, (given.rows, 32), np.uint8)
    queries = rng.integers(0, 256, (given.queries, 32), np.uint8)
    held = [
        Block(rows=np.arange(at, min(at + BITS_BLOCK, given.rows)), data=stored[at : at + BITS_BLOCK])
        for at in range(0, given.rows, BITS_BLOCK)
    ]
    flat = faiss.IndexBinaryFlat(256)
    flat.add(stored)
    runs = {
        "IndexBinaryFlat": lambda: flat.search(queries, given.k),
        "index, bits": lambda: search_bits(held, queries, given.k),
    }
    print(f"bits: {given.rows} x 256, {given.queries} queries, k = {given.k}, n = {given.repeat} runs each")
    results = compete(runs, given.repeat, "IndexBinaryFlat")
    distance = np.round((1 - results["index, bits"].scores) * 256).astype(int)
    same = float((distance == results["IndexBinaryFlat"][0]).mean())
    print(f"  {same:.6f} of the distances are the same")


def compete(runs: dict, repeat: int, peer: str) -> dict:
    results = {name: run() for name, run in runs.items()}  # also warms up
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    theirs = statistics.median(times[peer])
    for name, taken in times.items():
        ours = statistics.median(taken)
        print(f"  {name:24} {ours:8.3f} s   {theirs / ours:5.2f} x {peer}")
    return results


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
