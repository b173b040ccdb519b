"""Queries that match several references by a layout which these share: compared in worker processes, part by part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.findings import number
from forensics.flows.measure import PairRow
from forensics.flows.pairs import PairsInit
from forensics.images import decode
from forensics.index import Index
from forensics.sources import read_bytes
from forensics.thresholds import Threshold
from forensics.verify.template import TemplateMatch, compare_with_group
from forensics.workers import Success, WorkerPool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import UInt8Array

__all__ = ["TemplateGroup", "TemplateTask", "compare_group", "is_template", "template_groups"]

_NEED = 512
_SECONDS = 60.0
_MOST = 12  # references compared for one query


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTask:
    """One query and the references that were laid over it.

    Attributes
    ----------
    query : int
    references : tuple of int
    transforms : tuple of tuple of 9 floats
        From query to reference pixels, full-size and upright, row by row.
    """

    query: int
    references: tuple[int, ...]
    transforms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateGroup:
    """A query, the references that match it, and what they have in common."""

    query: int
    references: tuple[int, ...]
    match: TemplateMatch


def template_groups(
    rows: Sequence[PairRow], init: PairsInit, *, thresholds: Mapping[str, Threshold], workers: int
) -> list[TemplateGroup]:
    """Return the queries of a part that show a template and copy none of the references that have it.

    Parameters
    ----------
    rows : sequence of PairRow
        Of one part of the queries.
    init : PairsInit
    thresholds : mapping of str to Threshold
    workers : int
        Processes; none is started where no query matches enough references.
    """
    tasks = _tasks(rows, thresholds)
    if not tasks:
        return []
    with WorkerPool("forensics.flows.templates:compare_group", init=init, workers=workers, timeout=_SECONDS) as pool:
        found = [
            TemplateGroup(query=result.item.query, references=result.item.references, match=result.value)
            for result in pool.imap(tasks, window=4 * max(workers, 1))
            if isinstance(result, Success) and result.value is not None
        ]
    return [group for group in found if is_template(group.match, thresholds)]


def is_template(match: TemplateMatch, thresholds: Mapping[str, Threshold]) -> bool:
    """Tell whether a query shows what a group of references shares, and nothing of any one of them."""
    return (
        match.references >= thresholds["template_references"].value
        and match.cells >= thresholds["template_cells"].value
        and match.agreement >= thresholds["template_agreement"].value
        and match.most_own < thresholds["template_own"].value
    )


def _tasks(rows: Sequence[PairRow], thresholds: Mapping[str, Threshold]) -> list[TemplateTask]:
    located: dict[int, list[PairRow]] = {}
    for row in rows:
        matched = number(row.measurements, "log10_nfa") <= thresholds["geometry_log10_nfa"].value
        placed = number(row.measurements, "correlation") >= thresholds["placing_correlation"].value
        if row.verification.region is not None and (matched or placed):
            located.setdefault(row.query, []).append(row)
    tasks = []
    for query, pairs in located.items():
        if len(pairs) >= thresholds["template_references"].value:
            best = sorted(pairs, key=lambda row: number(row.measurements, "log10_nfa"))[:_MOST]
            tasks.append(
                TemplateTask(
                    query=query,
                    references=tuple(row.reference for row in best),
                    transforms=tuple(row.verification.transform for row in best),
                )
            )
    return tasks


def compare_group(init: PairsInit, task: TemplateTask) -> TemplateMatch | None:
    """Compare one query with the references laid over it; None where its pixels are gone, or those of all but one."""
    queries = _opened(init.queries, ())
    references = _opened(init.references, tuple(init.source_roots.items()))
    query = _pixels(queries, task.query)
    if query is None:
        return None
    images, transforms = [], []
    for reference, values in zip(task.references, task.transforms, strict=True):
        found = _pixels(references, reference)
        if found is None:
            continue
        image, scale = found
        # from pixels of the query as it was decoded to those of the reference as it was decoded
        matrix = np.array(values, np.float64).reshape(3, 3)
        images.append(image)
        transforms.append(scale @ matrix @ np.linalg.inv(query[1]))
    return compare_with_group(query[0], images, transforms) if len(images) > 1 else None


@lru_cache(maxsize=2)
def _opened(directory: str, source_roots: tuple[tuple[str, str], ...]) -> Index:
    return Index.open(Path(directory), read_bytes=read_bytes, source_roots=dict(source_roots))


def _pixels(index: Index, place: int) -> tuple[UInt8Array, NDArray[np.float64]] | None:
    """Return an image as it is decoded, and the scale from its full-size pixels to those; None where it is gone."""
    data = index.pixels(place).data
    pixels = None if data is None else decode(data, need=_NEED).pixels
    if pixels is None:
        return None
    image = index.image(place)
    height, width = pixels.shape[:2]
    return pixels, np.diag([width / max(image.width, 1), height / max(image.height, 1), 1.0])
