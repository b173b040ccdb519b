"""Reads a run folder back into memory: the only source of a report."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forensics.errors import UsageError
from forensics.report.evidence import MARKS, read_pictures
from forensics.report.files import read_csv, read_json
from forensics.report.findings_files import Row, read_findings
from forensics.schema import LEADS, ROOTS, RUN_SCHEMA_VERSION

__all__ = ["GRADING", "Images", "Run", "load"]

SEARCHED = ("ok", "degraded")
GRADING = "grading.json"
"""Only where it is known what the generator was trained on; see :mod:`forensics.report.grading`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What the report needs of ``images.parquet``.

    Attributes
    ----------
    states : dict of str to int
        They sum to the number of inputs.
    searched_ids, searched_prompts : list of str
        One a searched image, in order; the prompt is empty where the source gave none.
    unreadable : list of (id, state, reason)
        Every image that could not be searched.
    degraded : list of (reason, count)
        Searched images that were read with a loss, most frequent reason first.
    """

    states: dict[str, int]
    searched_ids: list[str]
    searched_prompts: list[str]
    unreadable: list[tuple[str, str, str]]
    degraded: list[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder in memory.

    ``findings`` are the objects of ``findings.jsonl``, strongest first; ``masks`` leads from finding ids to files of
    the folder; ``marks`` are those of ``marks.json``, None where nobody looked for marks that images share.
    """

    folder: Path
    case: dict[str, Any]
    run: dict[str, Any]
    images: Images
    findings: list[Row]
    leads: list[Row]
    roots: list[dict[str, str]]
    pictures: dict[str, dict[str, Any]]
    redacted: tuple[str, ...] = field(default=())
    grading: dict[str, Any] | None = None
    masks: dict[str, str] = field(default_factory=dict)
    marks: list[dict[str, Any]] | None = None

    @property
    def searched_references(self) -> bool:
        """Whether the run compared images with references; otherwise it looked at single images only."""
        return "index" in self.run


def load(run_dir: Path) -> Run:
    """Read a finished run.

    Raises
    ------
    UsageError
        If the folder is no run, or one of another layout.
    """
    case, run = read_json(run_dir / "case.json"), read_json(run_dir / "run.json")
    for name, value in (("case.json", case), ("run.json", run)):
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version != RUN_SCHEMA_VERSION:
            raise UsageError(
                f"{run_dir / name} is of layout {version}; this program reads {RUN_SCHEMA_VERSION}: use the version of "
                "the program that wrote the run"
            )
    evidence = read_pictures(run_dir)
    roots = run_dir / "roots.csv"
    return Run(
        folder=run_dir,
        case=case,
        run=run,
        images=_images(run_dir / "images.parquet"),
        findings=read_findings(run_dir),
        leads=_leads(run_dir / "leads.csv"),
        roots=read_csv(roots, [column.name for column in ROOTS]) if roots.is_file() else [],
        pictures=evidence["pictures"],
        redacted=tuple(evidence.get("redacted", ())),
        grading=read_json(run_dir / GRADING) if (run_dir / GRADING).is_file() else None,
        masks=dict(evidence.get("masks", {})),
        marks=list(read_json(run_dir / MARKS)["marks"]) if (run_dir / MARKS).is_file() else None,
    )


def _images(path: Path) -> Images:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["id", "state", "reason", "prompt"])
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read ({error}); give the folder of a finished run") from error
    ids, states, reasons, prompts = (table.column(i).to_pylist() for i in range(4))
    searched = [i for i, state in enumerate(states) if state in SEARCHED]
    degraded = Counter(reason for state, reason in zip(states, reasons, strict=True) if state == "degraded")
    counts = Counter(states)
    return Images(
        states={state: counts.get(state, 0) for state in ("ok", "degraded", "rejected", "error")},
        searched_ids=[ids[i] for i in searched],
        searched_prompts=[prompts[i] or "" for i in searched],
        unreadable=[
            (ids[i], state, reasons[i] or "no reason recorded")
            for i, state in enumerate(states)
            if state not in SEARCHED
        ],
        degraded=degraded.most_common(),
    )


def _leads(path: Path) -> list[Row]:
    rows: list[Row] = []
    for row in read_csv(path, [column.name for column in LEADS]):
        try:
            parsed = {column.name: json.loads(row[column.name]) for column in LEADS if column.dtype == "json"}
            rows.append({**row, **parsed, "score": float(row["score"])})
        except ValueError as error:
            raise UsageError(f"{path} is damaged ({error}); run the audit again") from error
    return rows
