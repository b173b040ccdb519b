"""Search and verify: for each part of the queries, its candidate pairs with every measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.candidates import find_candidates
from forensics.flows.pairs import PairsInit, PairsTask
from forensics.types import Region, Scalar, Verification
from forensics.workers import Success, WorkerPool

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
    with WorkerPool("forensics.flows.pairs:verify_pairs", init=init, workers=workers, timeout=_SECONDS_A_QUERY) as pool:
        for part, proposed in enumerate(tables):
            table = _worth_comparing(proposed, references)
            tasks = [
                PairsTask(
                    query=int(group["query"].iloc[0]),
                    references=tuple(int(number) for number in group["reference"]),
                    placing=tuple(bool(worth) for worth in group["placing"]),
                )
                for _, group in table.groupby("query", sort=False)
            ]
            file = cache / f"part-{part:05d}.json"
            verified = _load(file, tasks)
            if verified is None:
                verified = []
                for result in pool.imap(tasks, window=8 * max(workers, 1)):
                    if isinstance(result, Success):
                        verified.append(result.value)
                    else:
                        failed = Verification(status="unverified", reason=f"the comparison failed: {result.reason}")
                        verified.append((failed,) * len(result.item.references))
                    progress("verify", done + len(verified), total)
                _store(file, tasks, verified)
            done += queries.parts[part].images
            progress("verify", done, total)
            flat = [one for group in verified for one in group]
            yield _rows(queries, references, table, flat, part, copy_descriptor)


def _worth_comparing(table: pd.DataFrame, references: Index) -> pd.DataFrame:
    """Keep what a copy descriptor or CLIP proposed, and what a hash proposed with more than chance.

    The column ``placing`` (bool) is added.
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
    copy = next((f"score:{name}" for name in references.specs if name.startswith("sscd")), "")
    return kept.assign(placing=kept[copy] >= _PLACING_SSCD if copy in kept else True)


def _rows(
    queries: Index,
    references: Index,
    table: pd.DataFrame,
    verified: Sequence[Verification],
    part: int,
    copy_descriptor: str | None,
) -> list[PairRow]:
    names = [column.partition(":")[2] for column in table.columns if column.startswith("score:")]
    quality = _qualities(queries, part) if "pdq" in names else {}
    whole = _whole_scores(queries, references, table, part, copy_descriptor) if copy_descriptor else None
    rows = []
    for at, (record, verification) in enumerate(zip(table.to_dict("records"), verified, strict=True)):
        query = int(record["query"])
        measurements: dict[str, Scalar] = {}
        for name in names:
            column = "sscd" if name == copy_descriptor else name.partition(":")[0]
            measurements[column] = _rounded(record[f"score:{name}"])
            if name == copy_descriptor and whole is not None:
                measurements["sscd_whole"] = _rounded(whole[at])
                measurements["view"] = str(record[f"view:{name}"])
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


def _store(file: Path, tasks: Sequence[PairsTask], verified: Sequence[Sequence[Verification]]) -> None:
    content = {
        "tasks": [[task.query, *task.references] for task in tasks],
        "verified": [[asdict(one) for one in group] for group in verified],
    }
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(file)


def _load(file: Path, tasks: Sequence[PairsTask]) -> list[tuple[Verification, ...]] | None:
    """Return the stored verifications of a part; None where there are none for exactly these tasks."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    if content["tasks"] != [[task.query, *task.references] for task in tasks]:
        return None
    return [tuple(_verification(one) for one in group) for group in content["verified"]]


def _verification(fields: dict[str, Any]) -> Verification:
    region = fields.pop("region")
    if region is not None:
        region = Region(
            query_box=tuple(region["query_box"]),
            reference_box=tuple(region["reference_box"]),
            query_polygon=tuple(tuple(point) for point in region["query_polygon"]),
            reference_polygon=tuple(tuple(point) for point in region["reference_polygon"]),
        )
    return Verification(**{**fields, "transform": tuple(fields["transform"])}, region=region)
