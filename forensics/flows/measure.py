"""Search and verify: for each part of the queries, its candidate pairs with every measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.candidates import find_candidates
from forensics.flows.compare import AlignedParts, Measured, compare_part, hints_of
from forensics.flows.pairs import PairsInit
from forensics.normalisation import background_similarity, load_background
from forensics.types import Scalar, Verification
from forensics.workers import WorkerPool

if TYPE_CHECKING:
    import pandas as pd

    from forensics.index import Index
    from forensics.types import Progress

__all__ = ["PairRow", "measured_pairs"]

_SECONDS_A_QUERY = 300.0

# Hashes rank the whole index, but past the first few their order is chance: unrelated images share half of their bits.
_HASH_TOP = 2
_HASH_TOP_ALONE = 8
_HASH_MIN_SCORE = 0.70

# Below this cosine a pair that local features do not align is not worth the slower search for a placing.
_PLACING_SSCD = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """One candidate pair.

    Attributes
    ----------
    query, reference : int
        Image numbers in their indexes.
    measurements : mapping
        Columns of the candidates table, see ``docs/formats.md``.
    verification : Verification
    """

    query: int
    reference: int
    measurements: Mapping[str, Scalar]
    verification: Verification


def measured_pairs(
    queries: Index,
    references: Index,
    init: PairsInit,
    *,
    top: int,
    approximate: bool,
    compare: Mapping[str, Any],
    copy_descriptor: str | None,
    cache: Path,
    workers: int,
    progress: Progress,
) -> Iterator[list[PairRow]]:
    """Yield the measured pairs of each part of the queries, strongest descriptor first within a query.

    Parameters
    ----------
    queries, references : Index
    init : PairsInit
        What the workers open.
    top : int
        Candidates a descriptor and query.
    approximate : bool
        Let the index's FAISS files propose, where it has some; every score is exact all the same.
    compare : mapping
        Embedder name to a score of its own.
    copy_descriptor : str or None
        Which embedder the measurements call ``sscd``.
    cache : Path
        Folder for finished verifications, so that a run that was interrupted goes on.
    workers : int
    progress : Progress
        Stage ``verify`` counts query images.
    """
    cache.mkdir(parents=True, exist_ok=True)
    done, total = 0, len(queries)
    tables = find_candidates(references, queries, top=top, approximate=approximate, compare=compare)
    unrelated = _Unrelated(references, copy_descriptor)
    parts = AlignedParts.of(copy_descriptor, unrelated.similarity)
    with WorkerPool("forensics.flows.pairs:verify_pairs", init=init, workers=workers, timeout=_SECONDS_A_QUERY) as pool:
        for part, proposed in enumerate(tables):
            table = _worth_comparing(proposed, references, top)
            compared = compare_part(
                pool,
                table,
                hints=hints_of(table, queries, references, copy_descriptor),
                parts=parts,
                cache=cache / f"part-{part:05d}.json",
                window=8 * max(workers, 1),
                progress=partial(_told, progress, done, total),
            )
            done += queries.parts[part].images
            progress("verify", done, total)
            kept = table[np.array([one is not None for one in compared], np.bool_)].reset_index(drop=True)
            measured = [one for one in compared if one is not None]
            yield _rows(queries, references, kept, measured, part, copy_descriptor, unrelated)


def _told(progress: Progress, before: int, total: int, count: int) -> None:
    progress("verify", before + count, total)


class _Unrelated:
    """What a copy descriptor's rows give pictures that have nothing to do with the references."""

    def __init__(self, references: Index, name: str | None) -> None:
        self._background = load_background(name, references.specs[name].fingerprint) if name else None

    def similarity(self, rows: Any) -> Any:
        """Return (m,) float32 for (m, d) rows; 0 where no background is shipped for the descriptor."""
        if self._background is None:
            return np.zeros(len(rows), np.float32)
        return background_similarity(rows, self._background)


def _worth_comparing(table: pd.DataFrame, references: Index, top: int) -> pd.DataFrame:
    """Keep what a copy descriptor or CLIP proposed, and what a hash proposed with more than chance.

    The columns ``placing`` and ``late`` (bool) are added: whether the slower comparison is worth its time, and whether
    only a part of a reference proposed the pair. Late ones stand last within a query.
    """
    keep = np.zeros(len(table), np.bool_)
    alone = all(spec.kind == "bits" for name, spec in references.specs.items() if f"rank:{name}" in table)
    hash_top, hash_min = (_HASH_TOP_ALONE, 0.0) if alone else (_HASH_TOP, _HASH_MIN_SCORE)
    for name, spec in references.specs.items():
        if f"rank:{name}" not in table:
            continue
        rank = table[f"rank:{name}"].to_numpy()
        if spec.kind == "vector":
            keep |= rank > 0
        else:
            keep |= (rank > 0) & (rank <= hash_top) & (table[f"score:{name}"].to_numpy() >= hash_min)
    kept = table[keep].reset_index(drop=True)
    copy = next((name for name in references.specs if name.startswith("sscd")), "")
    placing = kept[f"score:{copy}"] >= _PLACING_SSCD if copy and f"score:{copy}" in kept else True
    kept = kept.assign(placing=placing, late=kept["rank"] > top)
    return kept.sort_values(["query", "late"], kind="stable", ignore_index=True)


def _rows(
    queries: Index,
    references: Index,
    table: pd.DataFrame,
    compared: Sequence[Measured],
    part: int,
    copy_descriptor: str | None,
    unrelated: _Unrelated,
) -> list[PairRow]:
    names = [column.partition(":")[2] for column in table.columns if column.startswith("score:")]
    quality = _qualities(queries, part) if "pdq" in names else {}
    whole = _whole_scores(queries, references, table, part, copy_descriptor) if copy_descriptor else None
    background = None
    if copy_descriptor and len(table):
        background = unrelated.similarity(
            queries.vectors(copy_descriptor, table[f"query_row:{copy_descriptor}"].to_numpy())
        )
    rows = []
    for at, (record, one) in enumerate(zip(table.to_dict("records"), compared, strict=True)):
        query, verification = int(record["query"]), one.verification
        measurements: dict[str, Scalar] = {}
        for name in names:
            column = "sscd" if name == copy_descriptor else name.partition(":")[0]
            measurements[column] = _rounded(record[f"score:{name}"])
            if name == copy_descriptor and whole is not None:
                measurements["sscd_whole"] = _rounded(whole[at])
                measurements["view"] = str(record[f"view:{name}"])
                measurements["sscd_unrelated"] = None if background is None else _rounded(background[at])
                measurements["sscd_aligned"] = one.aligned
                measurements["sscd_aligned_unrelated"] = None if one.aligned is None else one.background
        if "pdq" in names:
            measurements["pdq_quality"] = quality.get(query)
        measurements |= {
            "matches": verification.matches,
            "inliers": verification.inliers,
            "log10_nfa": round(verification.log10_nfa, 3),
            "similarity": round(verification.similarity, 4),
            "colour": round(verification.colour, 4),
            "correlation": round(verification.correlation, 4) or None,  # 0: not tried
            "query_area": round(verification.query_area, 4),
            "reference_area": round(verification.reference_area, 4),
            "mirrored": verification.mirrored,
            "verified": verification.status == "verified",
        }
        rows.append(
            PairRow(
                query=query, reference=int(record["reference"]), measurements=measurements, verification=verification
            )
        )
    return rows


def _rounded(value: float) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 5)


def _qualities(queries: Index, part: int) -> dict[int, int]:
    """PDQ quality of each query, of the upright whole image."""
    frame = queries.rows_frame("pdq", part)
    upright = frame[frame["view"] == "whole"]
    return {int(image): int(value) for image, value in zip(upright["image"], upright["quality"], strict=True)}


def _whole_scores(queries: Index, references: Index, table: pd.DataFrame, part: int, name: str) -> Any:
    """Cosine of the whole images of each pair, (n,) float; NaN where one has no such row."""
    frame = queries.rows_frame(name, part)
    upright = frame[frame["view"] == "whole"]
    row_of = dict(zip(upright["image"], upright.index, strict=True))
    left = np.array([row_of.get(query, -1) for query in table["query"]], np.int64)
    first, stop = references.rows_of_images(name, table["reference"].to_numpy(np.int64))
    usable = (left >= 0) & (stop > first)
    scores = np.full(len(table), np.nan)
    if usable.any():
        ours = queries.vectors(name, left[usable]).astype(np.float32)
        theirs = references.vectors(name, first[usable]).astype(np.float32)
        scores[usable] = np.einsum("ij,ij->i", ours, theirs)
    return scores
