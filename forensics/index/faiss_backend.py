"""FAISS indexes made from the stored rows: they only propose, the stored rows decide.

A FAISS file is a cache. It is opened only after its SHA-256 was compared with the manifest's, because FAISS loads many
damaged files without a word; and it is dropped when rows are added or removed.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import IntegrityError, MissingExtraError, UsageError
from forensics.index import hamming
from forensics.index.exact import Hits, merge, pair_scores
from forensics.index.manifest import EmbedderEntry, FaissEntry
from forensics.index.reader import Index
from forensics.index.storage import TEMPORARY, sha256_file, sync_folder

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from forensics.index.writer import IndexWriter
    from forensics.types import EmbedderSpec

__all__ = ["build_faiss", "is_exact", "measure_recall", "search_faiss"]

_log = logging.getLogger(__name__)

TRAIN_ROWS = 65_536
"""Rows that training sees at most: 128 MB at 512 dimensions."""

SAMPLE = 200
"""Stored rows whose neighbours measure the recall."""

_ADD_ROWS = 16_384
_PROPOSALS = 4
_LEAST_PROPOSALS = 100


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(
            "FAISS is not installed; exact search works without it, an index type needs: pip install 'forensics[cpu]' "
            "(or 'forensics[gpu]', never both)"
        ) from error
    return faiss


def is_exact(factory: str) -> bool:
    """Tell whether a factory string means exact search, for which no FAISS file is needed."""
    return factory in ("", "Flat", "IndexFlat", "BFlat")


def build_faiss(
    writer: IndexWriter, factory: str, *, embedders: Sequence[str] | None = None, nprobe: int | None = None
) -> dict[str, FaissEntry]:
    """Train and fill FAISS indexes, measure their recall, and record them in the manifest.

    Parameters
    ----------
    writer : IndexWriter
        Of a finished index.
    factory : str
        Any FAISS factory string; one that begins with ``B`` makes binary indexes, for the hashes. ``Flat`` drops the
        FAISS files: exact search needs none.
    embedders : sequence of str or None
        None takes all that the factory fits.
    nprobe : int or None
        Lists that an IVF index looks into; None takes an eighth of them, at least 8.

    Raises
    ------
    UsageError
        If FAISS does not accept the factory string or has too few rows to train it.
    """
    index = Index.open(writer.directory)
    if is_exact(factory):
        writer.update_manifest(replace(writer.manifest, faiss={}))
        return {}
    kind = "bits" if factory.startswith("B") else "vector"
    fitting = [entry for entry in writer.manifest.embedders if entry.spec.kind == kind]
    chosen = fitting if embedders is None else [writer.manifest.embedder(name) for name in embedders]
    if not chosen or any(entry not in fitting for entry in chosen):
        what = "hashes" if kind == "bits" else "vectors"
        raise UsageError(
            f"the index type {factory!r} is for {what}, of which the index has: "
            f"{', '.join(entry.spec.name for entry in fitting) or 'none'}"
        )
    if nprobe is not None and nprobe < 1:
        raise UsageError(f"nprobe {nprobe} given, 1 or more accepted")
    made = {entry.spec.name: _make(index, entry, factory, nprobe) for entry in chosen}
    writer.update_manifest(replace(writer.manifest, faiss={**writer.manifest.faiss, **made}))
    # The recall is measured through the very path that searches take, so the file has to be in place first.
    measured = Index.open(writer.directory)
    made = {name: replace(entry, **measure_recall(measured, name)) for name, entry in made.items()}
    writer.update_manifest(replace(writer.manifest, faiss={**writer.manifest.faiss, **made}))
    return made


def _make(index: Index, entry: EmbedderEntry, factory: str, nprobe: int | None) -> FaissEntry:
    faiss = _faiss()
    spec = entry.spec
    live = np.flatnonzero(index.live_rows(spec.name))
    if not len(live):
        raise UsageError(f"the index has no rows of {spec.name}; the index type {factory!r} has nothing to hold")
    try:
        if spec.kind == "bits":
            made = faiss.index_binary_factory(spec.dim, factory)
        else:
            made = faiss.index_factory(spec.dim, factory, faiss.METRIC_INNER_PRODUCT)
    except Exception as error:
        raise UsageError(
            f"FAISS does not accept the index type {factory!r} for {spec.dim} dimensions ({_short(error)}); examples: "
            "Flat, IVF256,Flat, HNSW32, IVF64,PQ16"
        ) from error
    try:
        if not made.is_trained:
            picked = live[np.linspace(0, len(live) - 1, min(len(live), TRAIN_ROWS)).astype(np.int64)]
            made.train(_as_faiss(spec, index.vectors(spec.name, picked)))
        for block in index.blocks(spec.name, _ADD_ROWS):
            made.add(_as_faiss(spec, block.data))
    except RuntimeError as error:
        raise UsageError(
            f"FAISS cannot make {factory!r} of {len(live)} rows of {spec.name} ({_short(error)}); take fewer lists or "
            "smaller codes, or Flat"
        ) from error
    settings = _settings(faiss, made, nprobe)
    folder = index.directory / "faiss"
    folder.mkdir(exist_ok=True)
    path = folder / f"{entry.folder}.index"
    sha256 = _write(faiss, made, path, binary=spec.kind == "bits")
    return FaissEntry(
        factory=factory,
        file=f"faiss/{path.name}",
        sha256=sha256,
        rows=len(live),
        recall_at_10=0.0,
        sample=0,
        search=settings,
    )


def _as_faiss(spec: EmbedderSpec, data: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(data, np.uint8 if spec.kind == "bits" else np.float32)


def _ivf(faiss: Any, made: Any) -> Any:
    """Return the IVF inside an index, however it is wrapped, or None."""
    if isinstance(made, faiss.IndexBinary):
        return made if hasattr(made, "nprobe") else None
    try:
        return faiss.extract_index_ivf(made)
    except RuntimeError:
        return None


def _settings(faiss: Any, made: Any, nprobe: int | None) -> dict[str, int]:
    inner = _ivf(faiss, made)
    if inner is not None:
        lists = int(inner.nlist)
        return {"nprobe": min(lists, nprobe if nprobe is not None else max(8, lists // 8))}
    if nprobe is not None:
        raise UsageError("nprobe was given, but the index type has no lists; it belongs to IVF types")
    return {"efSearch": 128} if hasattr(made, "hnsw") else {}


def _write(faiss: Any, made: Any, path: Path, *, binary: bool) -> str:
    temporary = path.with_name(path.name + TEMPORARY)
    (faiss.write_index_binary if binary else faiss.write_index)(made, str(temporary))
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    sha256 = sha256_file(temporary)
    temporary.replace(path)
    sync_folder(path.parent)
    return sha256


def _short(error: Exception) -> str:
    """Return what a FAISS error says, without the place in its source that comes first."""
    text = str(error)
    _, mark, rest = text.rpartition("failed: ")
    return " ".join((rest if mark else text).split())[:160]


def _load(index: Index, embedder: str) -> Any:
    cached = index.opened_faiss.get(embedder)
    if cached is not None:
        return cached
    faiss = _faiss()
    entry = index.manifest.faiss[embedder]
    path = index.directory / entry.file
    if not path.is_file() or sha256_file(path) != entry.sha256:
        raise IntegrityError(
            f"{path} is missing or not what was written; make it again with: forensics index optimize "
            f"{index.directory} --index-type {entry.factory}"
        )
    spec = index.specs[embedder]
    # No array inside the file can be larger than the file.
    faiss.set_deserialization_vector_byte_limit(path.stat().st_size + (1 << 20))
    try:
        made = faiss.read_index_binary(str(path)) if spec.kind == "bits" else faiss.read_index(str(path))
    except RuntimeError as error:
        raise IntegrityError(f"{path} cannot be read: {_short(error)}") from error
    if made.d != spec.dim or made.ntotal != entry.rows:
        raise IntegrityError(f"{path} holds {made.ntotal} rows of {made.d}; {entry.rows} of {spec.dim} were recorded")
    if "nprobe" in entry.search:
        _ivf(faiss, made).nprobe = int(entry.search["nprobe"])
    if "efSearch" in entry.search:
        made.hnsw.efSearch = int(entry.search["efSearch"])
    loaded = (_to_gpu(faiss, made, spec), np.flatnonzero(index.live_rows(embedder)))
    index.opened_faiss[embedder] = loaded
    return loaded


def _to_gpu(faiss: Any, made: Any, spec: EmbedderSpec) -> Any:
    if spec.kind == "bits" or not hasattr(faiss, "StandardGpuResources") or not faiss.get_num_gpus():
        return made
    try:
        return faiss.index_cpu_to_all_gpus(made)
    except RuntimeError as error:
        _log.info("FAISS keeps this index on the CPU: %s", _short(error))
        return made


def search_faiss(index: Index, embedder: str, queries: NDArray[Any], k: int) -> Hits:
    """Return the k best of the rows that FAISS proposes, scored from the stored rows.

    Parameters
    ----------
    queries : (m, dim) float32 of unit norm, or (m, dim / 8) uint8
    k : int
    """
    made, numbers = _load(index, embedder)
    wanted = min(len(numbers), max(_PROPOSALS * k, _LEAST_PROPOSALS))
    _, proposed = made.search(np.ascontiguousarray(queries), wanted)
    bits = index.specs[embedder].kind == "bits"
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for start, some in _chunks(proposed, 256):
        found = some >= 0
        candidates = np.where(found, numbers[np.where(found, some, 0)], np.iinfo(np.int64).max)
        candidates.sort(axis=1)  # ascending rows, so that equal scores keep that order
        found = candidates < np.iinfo(np.int64).max
        score = np.full(candidates.shape, -np.inf, np.float32)
        query = start + np.nonzero(found)[0]
        score[found] = _rescore(index, embedder, queries, query, candidates[found], bits=bits)
        candidates[~found] = -1
        part = slice(start, start + len(some))
        scores[part], rows[part] = merge(scores[part][:, :0], rows[part][:, :0], *_at_least(score, candidates, k), k)
    return Hits(scores=scores, rows=rows)


def _chunks(array: NDArray[Any], size: int) -> Iterator[tuple[int, NDArray[Any]]]:
    for start in range(0, len(array), size):
        yield start, array[start : start + size]


def _at_least(
    score: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    short = max(0, k - score.shape[1])
    return (
        np.pad(score, ((0, 0), (0, short)), constant_values=-np.inf),
        np.pad(rows, ((0, 0), (0, short)), constant_values=-1),
    )


def _rescore(
    index: Index, embedder: str, queries: NDArray[Any], query: NDArray[np.int64], row: NDArray[np.int64], *, bits: bool
) -> NDArray[np.float32]:
    if not bits:
        return pair_scores(queries, query, lambda rows: index.vectors(embedder, rows), row)
    distance = hamming.distances(queries[query], index.vectors(embedder, row))
    score: NDArray[np.float32] = np.float32(1) - distance.astype(np.float32) / np.float32(queries.shape[1] * 8)
    return score


def measure_recall(index: Index, embedder: str, *, k: int = 10, sample: int = SAMPLE) -> dict[str, Any]:
    """Return the share of the true k best rows that the FAISS index finds, over stored rows as queries.

    A row's own entry does not count. Rows that tie with the k-th best count as found.

    Returns
    -------
    dict
        ``recall_at_10`` in [0, 1] and ``sample``, the number of queries.
    """
    live = np.flatnonzero(index.live_rows(embedder))
    picked = live[np.linspace(0, len(live) - 1, min(len(live), sample)).astype(np.int64)]
    queries = index.vectors(embedder, picked)
    truth = index.search(embedder, queries, k + 1)
    found = index.search(embedder, queries, k + 1, approximate=True)
    shares = []
    for own, true_scores, true_rows, scores, rows in zip(
        picked, truth.scores, truth.rows, found.scores, found.rows, strict=True
    ):
        others = true_scores[(true_rows != own) & (true_rows >= 0)][:k]
        if len(others):
            hits = int((scores[(rows != own) & (rows >= 0)] >= others[-1]).sum())
            shares.append(min(hits, len(others)) / len(others))
    return {"recall_at_10": round(float(np.mean(shares)), 4) if shares else 1.0, "sample": len(picked)}
