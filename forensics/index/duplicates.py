"""Near-duplicates among the references: groups without chaining, each member checked against its group's centre.

A chain (A like B, B like C, and so on) can join pictures that have nothing in common. Here a group has a centre, and
whatever is in it is alike to that centre: images are taken in the order of how many others they are alike to, the most
first; each that is still free becomes a centre and takes the free images that are alike to it.

Alike means: by any of the descriptors of :attr:`DuplicateRule.at_least`, on the upright whole images. The search is the
index's own exact one, part by part, so that memory is that of the pairs found; an image with more alike ones than a
search returns is looked up again against every row before it becomes a centre.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import SpecMismatchError
from forensics.index import exact, hamming
from forensics.index.exact import Block, Hits
from forensics.index.groups import DuplicateGroup, DuplicateRule, Duplicates, grouped
from forensics.types import EmbedderSpec, Progress

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.index.reader import Index

    IntArray = NDArray[np.int64]
    FloatArray = NDArray[np.float32]

__all__ = ["find_duplicates"]

_QUERIES = 4096
_NEIGHBOURS = 64
_BLOCK = 16384


def find_duplicates(
    index: Index, rule: DuplicateRule, *, approximate: bool = False, progress: Progress | None = None
) -> Duplicates:
    """Find the near-duplicates of an index; removed images take no part.

    Parameters
    ----------
    index : Index
    rule : DuplicateRule
        Embedders that the index does not have are left out.
    approximate : bool
        Let stored FAISS indexes propose; scores are exact all the same.
    progress : Progress, optional
        Counts rows.

    Raises
    ------
    SpecMismatchError
        If the index has none of the rule's descriptors.
    """
    names = [name for name in rule.at_least if name in index.specs]
    if not names:
        raise SpecMismatchError(
            f"the index {index.directory} has {', '.join(index.specs) or 'no descriptors'}; near-duplicates are found "
            f"with {' or '.join(rule.at_least)}"
        )
    rows = {name: _whole_rows(index, name, rule.quality) for name in names}
    columns: list[list[Any]] = [[], [], [], [], []]
    crowded: set[int] = set()
    total, done = sum(len(of) for of, _ in rows.values()), 0
    for number, name in enumerate(names):
        of, owners = rows[name]
        image_of = np.full(index.row_count(name), -1, np.int64)
        image_of[of] = owners
        bound, many = rule.at_least[name], min(_NEIGHBOURS, max(len(of), 1))
        for start in range(0, len(of), _QUERIES):
            chunk = of[start : start + _QUERIES]
            hits = _search(index, name, of, index.vectors(name, chunk), many, approximate=approximate)
            close = (hits.scores >= bound) & (hits.rows >= 0)
            if many < len(of):
                crowded |= set(image_of[chunk[close[:, -1]]].tolist())
            query, place = np.nonzero(close)
            ours, theirs = image_of[chunk[query]], image_of[hits.rows[query, place]]
            keep = (theirs >= 0) & (theirs != ours)
            score = hits.scores[query, place][keep]
            new = (ours[keep], theirs[keep], _clear(score, bound), score, np.full(int(keep.sum()), number, np.int64))
            for column, values in zip(columns, new, strict=True):
                column.append(values)
            done += len(chunk)
            if progress is not None:
                progress("near-duplicates", done, total)
    kinds = (np.int64, np.int64, np.float32, np.float32, np.int64)
    joined = [np.concatenate([np.empty(0, kind), *column]) for kind, column in zip(kinds, columns, strict=True)]
    groups = _made(index, rule, names, rows, _Pairs(*joined), crowded)
    compared = len(np.unique(np.concatenate([owners for _, owners in rows.values()])))
    return Duplicates(fingerprint=index.fingerprint, rule=rule, compared=compared, groups=groups)


class _Pairs:
    """Alike pairs, each once with the descriptor that says so most clearly: how far it is on its way to 1."""

    def __init__(self, left: IntArray, right: IntArray, clear: FloatArray, score: FloatArray, by: IntArray) -> None:
        low, high = np.minimum(left, right), np.maximum(left, right)
        order = np.lexsort((by, -clear, high, low))
        low, high = low[order], high[order]
        first = np.r_[True, (low[1:] != low[:-1]) | (high[1:] != high[:-1])][: len(low)]
        self.left, self.right = low[first], high[first]
        self.clear, self._score, self._by = clear[order][first], score[order][first], by[order][first]
        self._width = int(self.right.max(initial=0)) + 1
        self._key = self.left * self._width + self.right
        self.looked_up: dict[tuple[int, int], tuple[float, int]] = {}

    def facts(self, one: int, two: int) -> tuple[float, int]:
        """Return score and number of the descriptor of a pair."""
        low, high = min(one, two), max(one, two)
        if (low, high) in self.looked_up:
            return self.looked_up[low, high]
        place = int(np.searchsorted(self._key, low * self._width + high))
        return float(self._score[place]), int(self._by[place])


def _made(
    index: Index,
    rule: DuplicateRule,
    names: Sequence[str],
    rows: Mapping[str, tuple[IntArray, IntArray]],
    pairs: _Pairs,
    crowded: set[int],
) -> list[DuplicateGroup]:
    more = _Lookup(index, rule, names, rows, pairs, crowded)
    made = []
    for centre, members in grouped(pairs.left, pairs.right, pairs.clear, more=more):
        facts = [pairs.facts(centre, image) for image, _ in members]
        made.append(
            DuplicateGroup(
                centre=centre,
                others=tuple(image for image, _ in members),
                scores=tuple(round(score, 4) for score, _ in facts),
                found_by=tuple(names[number] for _, number in facts),
            )
        )
    return made


def _clear(score: FloatArray, bound: float) -> FloatArray:
    """Return how far scores are on the way from their bound to 1, so that descriptors compare."""
    return ((score - bound) / max(1 - bound, 1e-9)).astype(np.float32)


class _Lookup(Mapping[int, Any]):
    """All images alike to one, compared with every row; their facts are added to the known pairs."""

    def __init__(
        self,
        index: Index,
        rule: DuplicateRule,
        names: Sequence[str],
        rows: Mapping[str, tuple[IntArray, IntArray]],
        pairs: _Pairs,
        crowded: set[int],
    ) -> None:
        self._index, self._rule, self._names, self._rows = index, rule, names, rows
        self._pairs, self._crowded = pairs, crowded

    def __contains__(self, image: object) -> bool:
        return image in self._crowded

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._crowded))

    def __len__(self) -> int:
        return len(self._crowded)

    def __getitem__(self, image: int) -> list[tuple[int, float]]:
        found: dict[int, float] = {}
        for number, name in enumerate(self._names):
            rows, owners = self._rows[name]
            own = rows[owners == image]
            if not len(own):
                continue
            bound = self._rule.at_least[name]
            scores = _against_all(self._index, name, self._index.vectors(name, own[:1])[0], rows)
            places = np.flatnonzero((scores >= bound) & (owners != image))
            for place, far in zip(places, _clear(scores[places], bound), strict=True):
                other = int(owners[place])
                if far > found.get(other, -1.0):
                    found[other] = float(far)
                    self._pairs.looked_up[min(image, other), max(image, other)] = float(scores[place]), number
        return sorted(found.items())


def _search(index: Index, name: str, rows: IntArray, queries: NDArray[Any], k: int, *, approximate: bool) -> Hits:
    """Search these rows alone: an index may have many more, of parts of its images."""
    if approximate and name in index.manifest.faiss:
        return index.search(name, queries, k, approximate=True)
    if index.specs[name].kind == "bits":
        stored = (Block(rows=part, data=index.vectors(name, part)) for part in _pieces(rows, hamming.BLOCK_ROWS))
        return hamming.search_bits(stored, queries, k)
    floats = (
        Block(rows=part, data=index.vectors(name, part).astype(np.float32)) for part in _pieces(rows, exact.BLOCK_ROWS)
    )
    return exact.search_vectors(floats, lambda wanted: index.vectors(name, wanted), queries.astype(np.float32), k)


def _pieces(rows: IntArray, size: int) -> Iterator[IntArray]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _against_all(index: Index, name: str, row: NDArray[Any], rows: IntArray) -> FloatArray:
    spec: EmbedderSpec = index.specs[name]
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK):
        stored = index.vectors(name, rows[start : start + _BLOCK])
        if spec.kind == "bits":
            scores[start : start + _BLOCK] = 1 - hamming.distances(stored, row[None]) / np.float32(spec.dim)
        else:
            scores[start : start + _BLOCK] = stored.astype(np.float32) @ row.astype(np.float32)
    return scores


def _whole_rows(index: Index, name: str, quality: float) -> tuple[IntArray, IntArray]:
    """Return the rows of upright whole images that are not removed and good enough, and their images."""
    rows, owners = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    measured = index.specs[name].kind == "bits"
    for part in index.parts:
        frame = index.rows_frame(name, part.part)
        images = frame["image"].to_numpy(np.int64)
        keep = (frame["view"] == "whole").to_numpy() & ~index.removed[images]
        if measured and quality:
            values = frame["quality"].to_numpy()
            keep &= (values < 0) | (values >= quality)
        rows.append(frame.index.to_numpy(np.int64)[keep])
        owners.append(images[keep])
    return np.concatenate(rows), np.concatenate(owners)
