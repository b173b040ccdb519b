"""What a person decides about findings, written into a finished run and sealed anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from forensics.errors import UsageError
from forensics.report.evidence import HISTORY, check_sums, log_change
from forensics.report.files import clean, read_csv
from forensics.report.findings_files import FILES, Row, read_findings, write_findings
from forensics.report.html import render
from forensics.schema import REVIEW_STATUSES

__all__ = ["read_reviews", "set_reviews"]

_FIELDS = ("review_status", "reviewer", "note")


def set_reviews(run_dir: Path, statuses: Mapping[str, str], *, reviewer: str = "", note: str | None = None) -> int:
    """Set the review of findings by their ids and render the report again.

    Parameters
    ----------
    run_dir : Path
        A finished run.
    statuses : mapping of str to str
        Finding id to ``confirmed``, ``rejected``, ``unclear`` or ``unreviewed``.
    reviewer : str
        Who decided; empty keeps what stands there.
    note : str or None
        Words of the reviewer; None keeps what stands there.

    Returns
    -------
    int
        Findings changed.

    Raises
    ------
    UsageError
        If an id is not in the run or a status is none.
    IntegrityError
        If the run was changed since it was sealed.
    """
    check_sums(run_dir, ignore={"report.html"})
    wanted = {
        key: {"review_status": status, "reviewer": reviewer or None, "note": note} for key, status in statuses.items()
    }
    return _apply(run_dir, wanted)


def read_reviews(run_dir: Path, sheet: Path) -> int:
    """Take the review columns of an edited ``findings.csv`` (it may be the run's own) and render the report again.

    Every other column is ignored: what was measured is not for editing. Errors are those of :func:`set_reviews`.
    """
    own = {"findings.csv"} if sheet.resolve() == (run_dir / "findings.csv").resolve() else set()
    check_sums(run_dir, ignore={"report.html", *own})
    rows = read_csv(sheet, ["finding_id", *_FIELDS])
    wanted: dict[str, dict[str, str | None]] = {}
    for row in rows:
        fields: dict[str, str | None] = {name: row[name].strip() for name in _FIELDS}
        before = wanted.setdefault(row["finding_id"], fields)
        if before != fields:
            raise UsageError(f"{sheet} gives two reviews of finding {row['finding_id']!r}; give one")
    return _apply(run_dir, wanted)


def _apply(run_dir: Path, wanted: Mapping[str, Mapping[str, str | None]]) -> int:
    findings = read_findings(run_dir)
    known = {row["finding_id"] for row in findings}
    for key, fields in wanted.items():
        if key not in known:
            raise UsageError(f"the run has no finding {key!r}; findings.csv lists the {len(known)} that it has")
        if fields["review_status"] not in REVIEW_STATUSES:
            raise UsageError(
                f"review status {fields['review_status']!r} of {key}; choose one of: {', '.join(REVIEW_STATUSES)}"
            )
    changed: list[Row] = []
    rows = []
    for row in findings:
        fields = {name: clean(value) for name, value in wanted.get(row["finding_id"], {}).items() if value is not None}
        after = {**row, **fields}
        if after != row:
            changed.append(after)
        rows.append(after)
    write_findings(run_dir, rows)
    if changed:
        log_change(run_dir, "review", findings=[{key: row[key] for key in ("finding_id", *_FIELDS)} for row in changed])
    render(run_dir, changed={*FILES, HISTORY})
    return len(changed)
