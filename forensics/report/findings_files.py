"""The three files of findings: JSONL, CSV and parquet with the same rows. Reading, writing, keeping reviews."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from forensics.errors import UsageError
from forensics.report.files import dumps, write_bytes, write_csv
from forensics.schema import COPY_KINDS, FINDINGS, FINDINGS_SCHEMA_VERSION
from forensics.types import Finding, ImageRef, Scalar

__all__ = ["FILES", "Row", "finding_row", "keep_reviews", "read_findings", "write_findings"]

Row: TypeAlias = dict[str, Any]
"""One finding as the JSON object of ``findings.jsonl``."""

FILES = ("findings.jsonl", "findings.csv", "findings.parquet")
_NAMES = [column.name for column in FINDINGS]
_JSON = {column.name for column in FINDINGS if column.dtype == "json"}


def finding_row(
    finding: Finding,
    *,
    transform: Sequence[float] | None = None,
    mirrored: bool = False,
    query_metadata: Mapping[str, Scalar] | None = None,
    reference_metadata: Mapping[str, Scalar] | None = None,
) -> Row:
    """Return the JSON object of a finding, see :data:`forensics.schema.FINDINGS`.

    Raises
    ------
    ValueError
        If ``transform`` has not nine numbers.
    """
    if transform is not None and len(transform) != 9:
        raise ValueError(f"a transform of {len(transform)} numbers given; nine are needed, row by row")
    return {
        "schema_version": FINDINGS_SCHEMA_VERSION,
        "finding_id": finding.finding_id,
        "kind": finding.kind,
        "query": _image(finding.query, query_metadata),
        "reference": None if finding.reference is None else _image(finding.reference, reference_metadata),
        "label": finding.label,
        "score": float(finding.score),
        "threshold": float(finding.threshold),
        "threshold_source": finding.threshold_source,
        "measurements": dict(finding.measurements),
        "regions": [
            {
                "query_box": region.query_box,
                "reference_box": region.reference_box,
                "polygons": {"query": region.query_polygon, "reference": region.reference_polygon},
            }
            for region in finding.regions
        ],
        "alignment": None
        if transform is None
        else {"transform": [float(number) for number in transform], "mirrored": bool(mirrored)},
        "reasons": list(finding.reasons),
        "review_status": finding.review_status,
        "reviewer": finding.reviewer,
        "note": finding.note,
    }


def _image(image: ImageRef, metadata: Mapping[str, Scalar] | None) -> Row:
    known = {key: value for key, value in (metadata or {}).items() if value is not None and value != ""}
    return {"id": image.id, "uri": image.uri, "sha256": image.sha256, "metadata": known}


def keep_reviews(rows: Iterable[Row], previous: Iterable[Row]) -> list[Row]:
    """Carry the review fields of ``previous`` over to the rows with the same finding id that nobody reviewed yet."""
    known = {row["finding_id"]: row for row in previous if row["review_status"] != "unreviewed" or row["note"]}
    fields = ("review_status", "reviewer", "note")
    kept = []
    for row in rows:
        before = known.get(row["finding_id"])
        untouched = row["review_status"] == "unreviewed" and not row["note"]
        kept.append({**row, **{name: before[name] for name in fields}} if before and untouched else row)
    return kept


def write_findings(folder: Path, rows: Sequence[Row]) -> None:
    """Write the three files, strongest finding first; of equal ones copies first, then by kind, query and reference."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ordered = sorted(
        rows,
        key=lambda row: (
            -row["score"],
            row["kind"] not in COPY_KINDS,
            row["kind"],
            row["query"]["id"],
            _reference_id(row),
        ),
    )
    lines = [dumps(row) for row in ordered]
    write_bytes(folder / FILES[0], "".join(f"{line}\n" for line in lines).encode("utf-8"))
    flat = [_flat(json.loads(line)) for line in lines]
    write_csv(folder / FILES[1], _NAMES, ([row[name] for name in _NAMES] for row in flat))
    types = {"json": pa.string(), "string": pa.string(), "int64": pa.int64(), "double": pa.float64()}
    schema = pa.schema(
        [(column.name, types[column.dtype]) for column in FINDINGS],
        metadata={"schema_version": str(FINDINGS_SCHEMA_VERSION)},
    )
    part = folder / (FILES[2] + ".part")
    pq.write_table(pa.Table.from_pylist(flat, schema=schema), part)
    part.replace(folder / FILES[2])


def read_findings(folder: Path) -> list[Row]:
    """Read ``findings.jsonl``.

    Raises
    ------
    UsageError
        If the file is missing, damaged, or of a newer layout.
    """
    path = folder / FILES[0]
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); give the folder of a finished run") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}); run the audit again") from error
    for row in rows:
        version = row.get("schema_version") if isinstance(row, dict) else None
        if version != FINDINGS_SCHEMA_VERSION:
            raise UsageError(
                f"{path} holds findings of layout {version}; this program reads {FINDINGS_SCHEMA_VERSION}: "
                "use the version of the program that wrote the run (run.json names it)"
            )
    return rows


def _flat(row: Row) -> Row:
    return {name: dumps(row[name]) if name in _JSON else row[name] for name in _NAMES}


def _reference_id(row: Row) -> str:
    return row["reference"]["id"] if row["reference"] else ""
