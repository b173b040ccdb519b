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
from forensics.verify.template import GRID

if TYPE_CHECKING:
    from forensics.flows.index_facts import IndexFacts
    from forensics.flows.templates import TemplateGroup
    from forensics.index import Index
    from forensics.index.images import IndexedImage
    from forensics.report.writer import RunWriter
    from forensics.scoring import ScoreModel
    from forensics.thresholds import Threshold
    from forensics.types import Scalar

__all__ = ["Verdicts"]

_TEMPLATES: tuple[FindingKind, ...] = ("meme", "cover")
"""Columns of the references' source that say what a copied reference is, and the kinds of findings that follow."""
_NO = frozenset({"", "no", "none", "false", "0", "nan"})
_NAMED = 8  # references of a layout whose ids are printed
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
    searched : int
        Query images that were searched.
    """

    def __init__(
        self,
        writer: RunWriter,
        queries: Index,
        references: Index,
        model: ScoreModel,
        thresholds: Mapping[str, Threshold],
        facts: IndexFacts | None = None,
    ) -> None:
        self._facts = facts
        self.searched = sum(part.states.get("ok", 0) + part.states.get("degraded", 0) for part in queries.parts)
        self.kinds: Counter[str] = Counter()
        self.copied: set[int] = set()
        self.leads = 0
        self._shown: dict[PicturesTask, None] = {}
        self._best_leads: list[tuple[float, int, int]] = []  # a heap: the weakest of the strongest first
        self._writer, self._queries, self._references = writer, queries, references
        self._model, self._thresholds = model, thresholds

    def add(self, rows: Sequence[PairRow], templates: Sequence[TemplateGroup] = ()) -> None:
        """Decide every pair of one part of the queries; ``templates`` are those of them that show a shared layout."""
        import pandas as pd

        table = []
        leads: list[tuple[PairRow, Verdict]] = []
        decided: list[tuple[PairRow, Verdict]] = []
        for row in rows:
            verdict = decide(
                row.measurements, model=self._model, thresholds=self._thresholds, unverified=row.verification.reason
            )
            decided.append((row, verdict))
        for row, verdict in self._of_templates(self._explained(decided), templates):
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
        for group in templates:
            self._template(group)
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

    def _of_templates(
        self, decided: Sequence[tuple[PairRow, Verdict]], templates: Sequence[TemplateGroup]
    ) -> list[tuple[PairRow, Verdict]]:
        """Turn claims on references whose layout alone agrees into leads, and say so."""
        shared = {(group.query, reference): group for group in templates for reference in group.references}
        made = []
        for row, verdict in decided:
            group = shared.get((row.query, row.reference))
            if group is None or verdict.kind not in COPY_KINDS:
                made.append((row, verdict))
                continue
            reason = (
                f"What agrees is the layout that {group.match.references} references share; of this one's own picture "
                "the image shows too little: kept as a lead, and the layout is a finding of its own."
            )
            made.append((row, replace(verdict, kind="similar", reasons=(*verdict.reasons, reason))))
        return made

    def _template(self, group: TemplateGroup) -> None:
        """Add a layout that a query shares with several references and with none of their pictures."""
        query, reference = self._queries.image(group.query), self._references.image(group.references[0])
        match, threshold = group.match, self._thresholds["template_agreement"]
        region = None
        if match.box is not None:
            width, height = query.width / GRID, query.height / GRID
            x0, y0, x1, y1 = match.box
            region = Region(query_box=(int(x0 * width), int(y0 * height), round(x1 * width), round(y1 * height)))
        others = [self._references.image(number).ref.id for number in group.references[1:_NAMED]]
        finding = Finding(
            finding_id=finding_id(
                query_sha256=query.ref.sha256, reference_sha256=reference.ref.sha256, kind="template", region=region
            ),
            kind="template",
            query=query.ref,
            reference=reference.ref,
            label=f"layout of {match.references} references",
            score=match.agreement,
            threshold=threshold.value,
            threshold_source=threshold.source,
            measurements={
                "template_references": match.references,
                "template_cells": match.cells,
                "template_agreement": round(match.agreement, 4),
                "template_own": round(match.most_own, 4),
            },
            regions=(region,) if region else (),
            reasons=(
                f"{match.references} different references show one layout, and the image shows it too: of the "
                f"{match.cells} parts of the picture in which these references agree among each other, it agrees in "
                f"{match.agreement:.0%}.",
                f"It is a copy of none of them: of what only one of them shows it has {match.most_own:.0%} at most.",
                f"Beside the reference shown here: {', '.join(others)}.",
            ),
        )
        self._writer.add_finding(finding, query_metadata=query.metadata, reference_metadata=reference.metadata)
        self.kinds["template"] += 1
        self._show(group.query, group.references[0])

    def _finding(self, row: PairRow, verdict: Verdict, kind: FindingKind) -> None:
        query, reference = self._queries.image(row.query), self._references.image(row.reference)
        verification = row.verification
        of_index: dict[str, Scalar] = {}
        said: tuple[str, ...] = ()
        if self._facts is not None:
            bound, searched = self._thresholds["belief"].value, self.searched
            of_index = self._facts.measurements(verdict.belief, row.reference, threshold=bound, searched=searched)
            said = self._facts.reasons(verdict.belief, row.reference, threshold=bound, searched=searched)
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
            measurements={**row.measurements, **of_index},
            regions=(verification.region,) if verification.region else (),
            reasons=(*verdict.reasons, *said),
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
