"""Measured pairs to findings, leads and rows of the candidates table."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forensics.findings import Verdict, decide, number, outdone
from forensics.flows.measure import PairRow
from forensics.flows.pairs import PicturesTask
from forensics.schema import COPY_KINDS, finding_id
from forensics.types import Finding, FindingKind, Lead, Region

if TYPE_CHECKING:
    from forensics.detect import MarkDetection
    from forensics.index import Index
    from forensics.index.images import IndexedImage
    from forensics.report.writer import RunWriter
    from forensics.scoring import ScoreModel
    from forensics.thresholds import Threshold

__all__ = ["Verdicts"]

_TEMPLATES: tuple[FindingKind, ...] = ("meme", "cover")
"""Columns of the references' source that say what a copied reference is, and the kinds of findings that follow."""
_NO = frozenset({"", "no", "none", "false", "0", "nan"})
_LEADS_A_QUERY = 3
_LEADS_WITH_PICTURES = 300


class Verdicts:
    """Decides the pairs of an audit and hands them to its run writer.

    Attributes
    ----------
    kinds : Counter
        Findings by kind.
    copied : set of int
        Query images with at least one copy.
    leads : int
        Leads kept.
    """

    def __init__(
        self,
        writer: RunWriter,
        queries: Index,
        references: Index,
        model: ScoreModel,
        thresholds: Mapping[str, Threshold],
    ) -> None:
        self.kinds: Counter[str] = Counter()
        self.copied: set[int] = set()
        self.leads = 0
        self._shown: dict[PicturesTask, None] = {}
        self._best_leads: list[tuple[float, int, int]] = []  # a heap: the weakest of the strongest first
        self._writer, self._queries, self._references = writer, queries, references
        self._model, self._thresholds = model, thresholds

    def add(self, rows: Sequence[PairRow]) -> None:
        """Decide every pair of one part of the queries."""
        import pandas as pd

        table = []
        leads: list[tuple[PairRow, Verdict]] = []
        decided: list[tuple[PairRow, Verdict]] = []
        for row in rows:
            verdict = decide(
                row.measurements, model=self._model, thresholds=self._thresholds, unverified=row.verification.reason
            )
            decided.append((row, verdict))
        for row, verdict in self._explained(decided):
            query, reference = self._queries.image(row.query).ref, self._references.image(row.reference).ref
            table.append(
                {
                    "query": query.id,
                    "reference": reference.id,
                    "score": verdict.belief,
                    "verdict": verdict.kind,
                    **row.measurements,
                }
            )
            if verdict.kind == "similar":
                leads.append((row, verdict))
            elif verdict.kind != "none":
                self._finding(row, verdict, verdict.kind)
        if table:
            self._writer.add_candidates(pd.DataFrame(table))
        for row, verdict in _strongest(leads, self.copied):
            self._lead(row, verdict)

    def _explained(self, decided: Sequence[tuple[PairRow, Verdict]]) -> list[tuple[PairRow, Verdict]]:
        """Turn claims that another reference of the same query explains better into leads, and say so."""
        claims: dict[int, list[int]] = {}
        for place, (row, verdict) in enumerate(decided):
            if verdict.kind in COPY_KINDS:
                claims.setdefault(row.query, []).append(place)
        made = list(decided)
        for places in claims.values():
            rows = [decided[place][0] for place in places]
            regions = [row.verification.region for row in rows]
            better = outdone(
                [
                    (number(row.measurements, "similarity"), region.query_box if region else None)
                    for row, region in zip(rows, regions, strict=True)
                ],
                gap=self._thresholds["outdone"].value,
            )
            for place, rival in zip(places, better, strict=True):
                if rival is None:
                    continue
                row, verdict = decided[place]
                name = self._references.image(rows[rival].reference).ref.id
                reason = f"Another reference, {name}, agrees better with the same region: kept as a lead."
                made[place] = (row, replace(verdict, kind="similar", reasons=(*verdict.reasons, reason)))
        return made

    def _finding(self, row: PairRow, verdict: Verdict, kind: FindingKind) -> None:
        query, reference = self._queries.image(row.query), self._references.image(row.reference)
        verification = row.verification
        finding = Finding(
            finding_id=finding_id(
                query_sha256=query.ref.sha256,
                reference_sha256=reference.ref.sha256,
                kind=kind,
                region=verification.region,
            ),
            kind=kind,
            query=query.ref,
            reference=reference.ref,
            label="",
            score=verdict.belief,
            threshold=self._thresholds["belief"].value,
            threshold_source=self._thresholds["belief"].source,
            measurements=row.measurements,
            regions=(verification.region,) if verification.region else (),
            reasons=verdict.reasons,
        )
        self._writer.add_finding(
            finding,
            transform=verification.transform if verification.region else None,
            mirrored=verification.mirrored,
            query_metadata=query.metadata,
            reference_metadata=reference.metadata,
        )
        self.kinds[kind] += 1
        if kind in COPY_KINDS:
            self.copied.add(row.query)
            if verification.status == "verified":
                self._templates(finding, query, reference)
        self._show(row.query, row.reference)

    def _templates(self, finding: Finding, query: IndexedImage, reference: IndexedImage) -> None:
        """Add what the reference's source says of it, a meme or a cover, as a finding beside that of the copy."""
        for kind in _TEMPLATES:
            if str(reference.metadata.get(kind) or "").strip().lower() in _NO:
                continue
            label = str(reference.metadata.get("title") or reference.metadata.get("caption") or reference.ref.id)
            said = replace(
                finding,
                finding_id=finding_id(
                    query_sha256=query.ref.sha256,
                    reference_sha256=reference.ref.sha256,
                    kind=kind,
                    label=label,
                ),
                kind=kind,
                label=label,
                reasons=(
                    f"The copied reference is a {kind}: so says the source of the references. Nothing was looked for "
                    "in the image itself; the evidence is that of the copy.",
                ),
            )
            self._writer.add_finding(said, query_metadata=query.metadata, reference_metadata=reference.metadata)
            self.kinds[kind] += 1

    def add_marks(self, number: int, marks: Sequence[MarkDetection], threshold: Threshold) -> None:
        """Add the known marks that were found on one query."""
        query = self._queries.image(number)
        for mark in marks:
            region = Region(query_box=mark.box)
            self._writer.add_finding(
                Finding(
                    finding_id=finding_id(
                        query_sha256=query.ref.sha256,
                        reference_sha256=None,
                        kind="watermark",
                        label=mark.name,
                        region=region,
                    ),
                    kind="watermark",
                    query=query.ref,
                    reference=None,
                    label=mark.name,
                    score=mark.score,
                    threshold=mark.threshold,
                    threshold_source=f"{threshold.value:g} times what unmarked pictures reach; {threshold.source}",
                    measurements={
                        "known_mark": mark.score / (mark.threshold / threshold.value),
                        "mark_correlation": mark.score,
                    },
                    regions=(region,),
                    reasons=(
                        f"The image's fine structure correlates to {mark.score:.2f} with what the mark of {mark.name} "
                        "would add to it, at the place where that agency puts its mark. Many images share a mark: it "
                        "is no copy of any one of them.",
                    ),
                ),
                query_metadata=query.metadata,
            )
            self.kinds["watermark"] += 1
            self._shown[PicturesTask(queries=True, image=number)] = None

    def _lead(self, row: PairRow, verdict: Verdict) -> None:
        query, reference = self._queries.image(row.query), self._references.image(row.reference)
        lead = Lead(
            query=query.ref,
            reference=reference.ref,
            score=verdict.belief,
            measurements=row.measurements,
            reasons=verdict.reasons,
        )
        self._writer.add_lead(lead, reference_metadata=reference.metadata)
        self.leads += 1
        # a hundred thousand images have as many leads; only the strongest are ever shown
        heapq.heappush(self._best_leads, (verdict.belief, row.query, row.reference))
        if len(self._best_leads) > _LEADS_WITH_PICTURES:
            heapq.heappop(self._best_leads)

    def pictures(self) -> list[PicturesTask]:
        """Return the images that the report may show: those of all findings, and of the strongest leads."""
        for _, query, reference in sorted(self._best_leads, reverse=True):
            self._show(query, reference)
        return list(self._shown)

    def _show(self, query: int, reference: int) -> None:
        self._shown[PicturesTask(queries=True, image=query)] = None
        self._shown[PicturesTask(queries=False, image=reference)] = None


def _strongest(leads: list[tuple[PairRow, Verdict]], copied: set[int]) -> Iterator[tuple[PairRow, Verdict]]:
    """Keep the strongest few leads of each query; one that is a copy of something needs none."""
    kept: Counter[int] = Counter()
    for row, verdict in sorted(leads, key=lambda lead: -lead[1].belief):
        if row.query not in copied and kept[row.query] < _LEADS_A_QUERY:
            kept[row.query] += 1
            yield row, verdict
