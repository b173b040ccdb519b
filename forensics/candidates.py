"""Vectors of query views → a table of candidate pairs, every pair with the exact score of every descriptor.

Each descriptor proposes its best references for every query image; the union of the proposals is then scored by all
descriptors from the stored rows, so that a pair never lacks a score only because another pair was ahead of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from forensics.errors import SpecMismatchError, UsageError
from forensics.types import EmbedderSpec, Progress

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float32]
    RowViews = Literal["all", "whole", "parts"]
    Compare = Callable[[NDArray[Any], NDArray[Any]], FloatArray]

__all__ = ["ReferenceRows", "SearchHits", "candidate_columns", "find_candidates", "shared_embedders"]

_log = logging.getLogger(__name__)

_PAIR_CHUNK = 4096


class SearchHits(Protocol):
    """Rows and scores of a search, both (m, k); row -1 where there are fewer."""

    @property
    def scores(self) -> FloatArray:
        """(m, k) float32, descending."""
        ...

    @property
    def rows(self) -> IntArray:
        """(m, k) int64."""
        ...


class ReferenceRows(Protocol):
    """What is needed of an index; :class:`forensics.index.Index` is one."""

    @property
    def specs(self) -> Mapping[str, EmbedderSpec]:
        """Embedder name to spec."""
        ...

    @property
    def parts(self) -> Any:
        """Sequence with one entry a part."""
        ...

    def search(
        self,
        embedder: str,
        queries: NDArray[Any],
        k: int,
        *,
        approximate: bool = ...,
        compare: Compare | None = ...,
        views: RowViews = ...,
    ) -> SearchHits:
        """Return the best rows of every query, of whole references, of parts of references, or of both."""
        ...

    def row_to_image(self, embedder: str, rows: NDArray[Any]) -> IntArray:
        """Return the image of each row, -1 for -1."""
        ...

    def rows_of_images(self, embedder: str, images: NDArray[Any]) -> tuple[IntArray, IntArray]:
        """Return the range of rows of each image."""
        ...

    def row_count(self, embedder: str) -> int:
        """Return the number of rows."""
        ...

    def vectors(self, embedder: str, rows: NDArray[Any]) -> NDArray[Any]:
        """Return stored rows."""
        ...

    def part_data(self, embedder: str, part: int) -> NDArray[Any]:
        """Return the stored rows of one part."""
        ...

    def rows_frame(self, embedder: str, part: int) -> pd.DataFrame:
        """Return what the rows of one part stand for, e.g. ``image`` and ``view``."""
        ...


def shared_embedders(references: ReferenceRows, queries: ReferenceRows) -> tuple[str, ...]:
    """Return the embedders that both have, in the order of the references.

    Raises
    ------
    SpecMismatchError
        If one of them is not the same in both, or there is none.
    """
    names = tuple(name for name in references.specs if name in queries.specs)
    if not names:
        raise SpecMismatchError(
            f"references have descriptors of {', '.join(references.specs)}, queries of {', '.join(queries.specs)}: "
            "none in common"
        )
    for name in names:
        if references.specs[name].fingerprint != queries.specs[name].fingerprint:
            raise SpecMismatchError(
                f"references and queries were described by two different builds of {name}; describe the queries with "
                "the one that made the index"
            )
    return names


def candidate_columns(embedders: tuple[str, ...]) -> dict[str, str]:
    """Return column name → dtype of the tables that :func:`find_candidates` yields.

    ``query``, ``reference``
        Numbers of the two images in their indexes.
    ``rank``
        The best rank (1 is first) that any descriptor gave the reference among the query's.
    ``score:NAME``, ``rank:NAME``
        Highest score over all views of the two images; NaN where one of them has no such descriptor. Rank among the
        proposals of this descriptor, 0 where another one proposed the pair.
    ``query_row:NAME``, ``reference_row:NAME``, ``view:NAME``
        Which rows gave that score (-1 for none), and the name of the query's view (empty for none).
    """
    columns = {"query": "int64", "reference": "int64", "rank": "int32"}
    for name in embedders:
        columns |= {
            f"score:{name}": "float32",
            f"rank:{name}": "int32",
            f"query_row:{name}": "int64",
            f"reference_row:{name}": "int64",
            f"view:{name}": "str",
        }
    return columns


def find_candidates(
    references: ReferenceRows,
    queries: ReferenceRows,
    *,
    top: int = 10,
    embedders: tuple[str, ...] | None = None,
    approximate: bool = False,
    compare: Mapping[str, Compare] | None = None,
    progress: Progress | None = None,
) -> Iterator[pd.DataFrame]:
    """Yield one table of candidate pairs for every part of the queries.

    Parameters
    ----------
    references, queries : Index
        Queries are an index too, usually with several views an image.
    top : int
        References that each descriptor proposes for a query image, at least 1.
    embedders : tuple of str or None
        None takes all that both indexes have.
    approximate : bool
        Let stored FAISS indexes propose.
    compare : mapping
        Embedder name to a score of its own, where it has one.
    progress : Progress or None

    Yields
    ------
    DataFrame
        Columns of :func:`candidate_columns`; sorted by query, then rank, then reference. At most ``top`` rows a query
        and descriptor, and as many again from parts of references, whose ranks begin after
        ``top``. Memory is that of one part of the queries, whatever the size of the index.
    """
    if top < 1:
        raise UsageError(f"the {top} best references asked for, 1 or more accepted")
    shared = shared_embedders(references, queries)
    names = shared if embedders is None else embedders
    for name in names:
        if name not in shared:
            raise SpecMismatchError(f"{name} is not a descriptor of both indexes; they share {', '.join(shared)}")
    own = dict(compare or {})
    # So many rows of one image can stand before the next image's first one.
    depth = {name: _most_rows(references, name) for name in names}
    total = len(queries.parts)
    for part in range(total):
        proposals = {
            name: _propose(references, queries, name, part, top, depth[name], approximate, own.get(name))
            for name in names
        }
        yield _table(references, queries, part, proposals, names, own)
        if progress is not None:
            progress("search", part + 1, total)


class _Proposals:
    """Pairs that one descriptor proposes: query, reference, rank; all (n,), sorted by query and rank."""

    __slots__ = ("query", "rank", "reference")

    def __init__(self, query: IntArray, reference: IntArray, rank: IntArray) -> None:
        self.query, self.reference, self.rank = query, reference, rank


def _propose(
    references: ReferenceRows,
    queries: ReferenceRows,
    name: str,
    part: int,
    top: int,
    depth: int,
    approximate: bool,
    compare: Compare | None,
) -> _Proposals:
    empty = np.empty(0, np.int64)
    frame = queries.rows_frame(name, part)
    if not len(frame) or not references.row_count(name):
        return _Proposals(empty, empty, empty)
    data, owner = np.asarray(queries.part_data(name, part)), frame["image"].to_numpy(np.int64)

    def ranked(chosen: NDArray[Any], views: RowViews, rows: int) -> _Proposals:
        k = min(top * rows, references.row_count(name))
        hits = references.search(name, data[chosen], k, approximate=approximate, compare=compare, views=views)
        return _ranked(references, name, owner[chosen], hits, top)

    if depth == 1:
        return ranked(np.ones(len(data), np.bool_), "all", 1)
    # Parts of queries against whole references find pastes; whole queries against parts of references find crops. Parts
    # against parts would find what any two pictures share.
    pastes = ranked(np.ones(len(data), np.bool_), "whole", 1)
    crops = ranked((frame["view"] == "whole").to_numpy(), "parts", depth)
    return _joined(pastes, crops, top)


def _ranked(references: ReferenceRows, name: str, owner: IntArray, hits: SearchHits, top: int) -> _Proposals:
    """Return the ``top`` best references of each query image from the hits of its rows."""
    found = hits.rows >= 0  # (m, k)
    query = np.repeat(owner, found.shape[1])[found.reshape(-1)]
    reference = references.row_to_image(name, hits.rows[found])
    score = hits.scores[found]
    # The best row of each pair, then the best references of each query.
    order = np.lexsort((-score, reference, query))
    query, reference, score = query[order], reference[order], score[order]
    first = _firsts(query, reference)
    query, reference, score = query[first], reference[first], score[first]
    order = np.lexsort((reference, -score, query))
    query, reference = query[order], reference[order]
    rank = _rank_within(query)
    keep = rank <= top
    return _Proposals(query[keep], reference[keep], rank[keep])


def _joined(first: _Proposals, second: _Proposals, top: int) -> _Proposals:
    """Return both; ranks of the second begin after ``top``, and a pair that both propose keeps its first rank."""
    query, reference = np.r_[first.query, second.query], np.r_[first.reference, second.reference]
    rank = np.r_[first.rank, second.rank + top]
    order = np.lexsort((rank, reference, query))
    order = order[_firsts(query[order], reference[order])]
    order = order[np.lexsort((rank[order], query[order]))]
    return _Proposals(query[order], reference[order], rank[order])


def _firsts(query: IntArray, reference: IntArray) -> NDArray[np.bool_]:
    """Return where a run of equal pairs begins, (n,) bool."""
    if not len(query):
        return np.zeros(0, np.bool_)
    begins: NDArray[np.bool_] = np.r_[True, (query[1:] != query[:-1]) | (reference[1:] != reference[:-1])]
    return begins


def _most_rows(references: ReferenceRows, name: str) -> int:
    images = references.row_to_image(name, np.arange(references.row_count(name)))
    return int(np.bincount(images).max()) if len(images) else 1


def _rank_within(group: IntArray) -> IntArray:
    """Return 1, 2, … within each run of equal values."""
    if not len(group):
        return np.empty(0, np.int64)
    starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    lengths = np.diff(np.r_[starts, len(group)])
    ranks: IntArray = np.arange(len(group)) - np.repeat(starts, lengths) + 1
    return ranks


def _table(
    references: ReferenceRows,
    queries: ReferenceRows,
    part: int,
    proposals: Mapping[str, _Proposals],
    names: tuple[str, ...],
    compare: Mapping[str, Compare],
) -> pd.DataFrame:
    import pandas as pd

    stacked = np.concatenate(
        [np.stack([p.query, p.reference], axis=1) for p in proposals.values()] or [np.empty((0, 2), np.int64)]
    )
    pairs = np.unique(stacked, axis=0)  # (n, 2), sorted
    columns: dict[str, Any] = {"query": pairs[:, 0], "reference": pairs[:, 1]}
    best = np.full(len(pairs), np.iinfo(np.int32).max, np.int32)
    for name in names:
        proposed = proposals[name]
        at = _find_pairs(pairs, proposed)
        rank = np.zeros(len(pairs), np.int32)
        rank[at] = proposed.rank
        best[at] = np.minimum(best[at], rank[at])
        score, query_row, reference_row = _score_pairs(references, queries, name, pairs, compare.get(name))
        views = queries.rows_frame(name, part)["view"]
        columns |= {
            f"score:{name}": score,
            f"rank:{name}": rank,
            f"query_row:{name}": query_row,
            f"reference_row:{name}": reference_row,
            f"view:{name}": views.reindex(query_row).fillna("").to_numpy(),
        }
    columns["rank"] = best
    frame = pd.DataFrame(columns)[list(candidate_columns(names))]
    return frame.sort_values(["query", "rank", "reference"], kind="stable", ignore_index=True)


def _find_pairs(pairs: IntArray, proposed: _Proposals) -> IntArray:
    """Return the position of each proposed pair among the sorted pairs."""
    if not len(pairs):
        return np.empty(0, np.int64)
    width = int(pairs[:, 1].max()) + 1
    found: IntArray = np.searchsorted(pairs[:, 0] * width + pairs[:, 1], proposed.query * width + proposed.reference)
    return found


def _score_pairs(
    references: ReferenceRows,
    queries: ReferenceRows,
    name: str,
    pairs: IntArray,
    compare: Compare | None,
) -> tuple[FloatArray, IntArray, IntArray]:
    """Return for each pair the highest score over the rows of its images, and those rows; NaN and -1 for none."""
    score = np.full(len(pairs), np.nan, np.float32)
    query_row = np.full(len(pairs), -1, np.int64)
    reference_row = np.full(len(pairs), -1, np.int64)
    query_first, query_stop = queries.rows_of_images(name, pairs[:, 0])
    reference_first, reference_stop = references.rows_of_images(name, pairs[:, 1])
    query_many, reference_many = query_stop - query_first, reference_stop - reference_first
    spec = references.specs[name]
    for start in range(0, len(pairs), _PAIR_CHUNK):
        chunk = np.arange(start, min(start + _PAIR_CHUNK, len(pairs)))
        combinations = query_many[chunk] * reference_many[chunk]
        pair = np.repeat(chunk, combinations)  # (c,) every combination of a query row and a reference row
        within = np.arange(len(pair)) - np.repeat(np.cumsum(combinations) - combinations, combinations)
        left = query_first[pair] + within // np.maximum(reference_many[pair], 1)
        right = reference_first[pair] + within % np.maximum(reference_many[pair], 1)
        # the first row of an image is the whole of it; parts against parts would find what any two pictures share
        sound = (left == query_first[pair]) | (right == reference_first[pair])
        pair, left, right = pair[sound], left[sound], right[sound]
        scored = _score_rows(spec, references, queries, left, right, compare)
        order = np.lexsort((right, left, -scored, pair))
        winners = order[np.r_[True, pair[order][1:] != pair[order][:-1]]] if len(order) else order
        score[pair[winners]] = scored[winners]
        query_row[pair[winners]] = left[winners]
        reference_row[pair[winners]] = right[winners]
    return score, query_row, reference_row


def _score_rows(
    spec: EmbedderSpec,
    references: ReferenceRows,
    queries: ReferenceRows,
    left: IntArray,
    right: IntArray,
    compare: Compare | None,
) -> FloatArray:
    """Return the score of each (query row, reference row), as a search of the index would give it."""
    out = np.empty(len(left), np.float32)
    for start in range(0, len(left), _PAIR_CHUNK):
        part = slice(start, start + _PAIR_CHUNK)
        ours, theirs = queries.vectors(spec.name, left[part]), references.vectors(spec.name, right[part])
        if compare is not None:
            chunk = left[part]
            for row in np.unique(chunk):
                mask = chunk == row
                out[part][mask] = compare(ours[mask][:1], theirs[mask])[0]
        elif spec.kind == "bits":
            differing = np.unpackbits(ours ^ theirs, axis=1).sum(axis=1, dtype=np.int64)
            out[part] = np.float32(1) - differing.astype(np.float32) / np.float32(spec.dim)
        else:
            rows = ours.astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            out[part] = np.einsum("ij,ij->i", rows.astype(np.float64), theirs.astype(np.float64))
    return out
