"""Candidate pairs of one part of the queries → compared pairs: in workers, cached, with aligned parts described."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from forensics.embed import create
from forensics.flows.pairs import PairsTask
from forensics.types import Region, Verification
from forensics.verify import Hint
from forensics.workers import Success

if TYPE_CHECKING:
    import pandas as pd

    from forensics.flows.pairs import Compared
    from forensics.index import Index
    from forensics.types import Embedder, UInt8Array
    from forensics.workers import WorkerPool

    FractionBox: TypeAlias = tuple[float, float, float, float]

__all__ = ["AlignedParts", "Measured", "compare_part", "hints_of"]

ALIGNED_SIDE = 320
"""Side in pixels of the aligned parts: what SSCD takes."""

_WHOLE: FractionBox = (0.0, 0.0, 1.0, 1.0)

# A second look at parts costs as much as two first looks: at the likeliest pairs only.
_HINT_SSCD = 0.2
_HINTS = 2


@dataclass(slots=True, kw_only=True)
class Measured:
    """One compared pair.

    Attributes
    ----------
    verification : Verification
    aligned : float or None
        The copy descriptor's cosine of the aligned parts; None where there are none.
    background : float
        What that descriptor gives the query's part and its nearest unrelated pictures; 0 where it was not measured.
    """

    verification: Verification
    aligned: float | None = None
    background: float = 0.0


class AlignedParts:
    """Describes aligned parts with a copy descriptor, in batches.

    Parameters
    ----------
    embedder : Embedder
    background : callable
        (m, d) float32 rows → (m,) what they give unrelated pictures.
    """

    _PAIRS = 16

    def __init__(self, embedder: Embedder, background: Callable[[Any], Any]) -> None:
        self.side = ALIGNED_SIDE
        self._embedder = embedder
        self._background = background
        self._waiting: list[tuple[Measured, UInt8Array, UInt8Array]] = []

    @classmethod
    def of(cls, name: str | None, background: Callable[[Any], Any]) -> AlignedParts | None:
        """Return one for the embedder called ``name``; None where there is none."""
        return None if name is None else cls(create(name), background)

    def take(self, measured: Measured, parts: tuple[UInt8Array, UInt8Array]) -> None:
        """Take a pair; its cosine is set by the time :meth:`finish` returns."""
        self._waiting.append((measured, *parts))
        if len(self._waiting) >= self._PAIRS:
            self.finish()

    def finish(self) -> None:
        """Describe what is waiting."""
        if not self._waiting:
            return
        images = [image for _, first, second in self._waiting for image in (first, second)]
        rows = self._embedder.embed([self._embedder.prepare(image) for image in images])
        unrelated = self._background(rows[::2])
        for at, (measured, _, _) in enumerate(self._waiting):
            measured.aligned = round(float(rows[2 * at] @ rows[2 * at + 1]), 5)
            measured.background = round(float(unrelated[at]), 5)
        self._waiting = []


def compare_part(
    pool: WorkerPool,
    table: pd.DataFrame,
    *,
    hints: Sequence[Hint | None],
    parts: AlignedParts | None,
    cache: Path,
    window: int,
    progress: Callable[[int], None],
) -> list[Measured | None]:
    """Compare the pairs of a table; None for those that were not needed.

    Parameters
    ----------
    pool : WorkerPool
        Of :func:`forensics.flows.pairs.verify_pairs`.
    table : DataFrame
        ``query``, ``reference``, ``placing`` (bool), ``late`` (bool); sorted by query.
    hints : sequence of Hint or None
        One a row.
    parts : AlignedParts or None
    cache : Path
        File of finished comparisons: read where it holds exactly these pairs, otherwise written.
    window : int
        Tasks given to the pool ahead.
    progress : callable
        Told the queries done.
    """
    tasks = [
        PairsTask(
            query=int(group["query"].iloc[0]),
            references=tuple(int(number) for number in group["reference"]),
            placing=tuple(bool(worth) for worth in group["placing"]),
            hints=tuple(hints[at] for at in group.index),
            late=int((~group["late"]).sum()),
            aligned_side=0 if parts is None else parts.side,
        )
        for _, group in table.groupby("query", sort=False)
    ]
    stored = _load(cache, tasks)
    if stored is not None:
        return stored
    found: list[Measured | None] = []
    for done, result in enumerate(pool.imap(tasks, window=window), 1):
        if isinstance(result, Success):
            found += [_measured(one, parts) for one in result.value]
        else:
            failed = Verification(status="unverified", reason=f"the comparison failed: {result.reason}")
            found += [Measured(verification=failed) for _ in result.item.references]
        progress(done)
    if parts is not None:
        parts.finish()
    _store(cache, tasks, found)
    return found


def _measured(one: Compared | None, parts: AlignedParts | None) -> Measured | None:
    if one is None:
        return None
    measured = Measured(verification=one.verification)
    if one.aligned is not None and parts is not None:
        parts.take(measured, one.aligned)
    return measured


def hints_of(table: pd.DataFrame, queries: Index, references: Index, copy_descriptor: str | None) -> list[Hint | None]:
    """Return, for the likeliest pairs of each query, the views that the copy descriptor found most alike."""
    hints: list[Hint | None] = [None] * len(table)
    if not copy_descriptor or not len(table):
        return hints
    score = table[f"score:{copy_descriptor}"].fillna(-1.0)
    place = score.groupby(table["query"]).rank(ascending=False, method="first")
    worth = np.flatnonzero((score >= _HINT_SSCD) & (place <= _HINTS))
    ours = queries.view_boxes(copy_descriptor, table[f"query_row:{copy_descriptor}"].to_numpy()[worth])
    theirs = references.view_boxes(copy_descriptor, table[f"reference_row:{copy_descriptor}"].to_numpy()[worth])
    for at, own, other in zip(worth, ours, theirs, strict=True):
        if (own, other) != (_WHOLE, _WHOLE):
            hints[at] = Hint(query=own, reference=other)
    return hints


def _key(tasks: Sequence[PairsTask]) -> list[Any]:
    return [[task.query, task.late, task.aligned_side, *task.references] for task in tasks]


def _store(file: Path, tasks: Sequence[PairsTask], found: Sequence[Measured | None]) -> None:
    content = {"tasks": _key(tasks), "measured": [None if one is None else asdict(one) for one in found]}
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(file)


def _load(file: Path, tasks: Sequence[PairsTask]) -> list[Measured | None] | None:
    """Return the stored comparisons of a part; None where there are none for exactly these tasks."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    if content.get("tasks") != _key(tasks):
        return None
    return [None if one is None else _restored(one) for one in content["measured"]]


def _restored(fields: dict[str, Any]) -> Measured:
    verification = fields["verification"]
    region = verification.pop("region")
    if region is not None:
        region = Region(
            query_box=tuple(region["query_box"]),
            reference_box=tuple(region["reference_box"]),
            query_polygon=tuple(tuple(point) for point in region["query_polygon"]),
            reference_polygon=tuple(tuple(point) for point in region["reference_polygon"]),
        )
    whole = Verification(**{**verification, "transform": tuple(verification["transform"])}, region=region)
    return Measured(verification=whole, aligned=fields["aligned"], background=fields["background"])
