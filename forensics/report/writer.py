"""Writes a run folder. Until :meth:`RunWriter.finish`, everything lies in ``.partial`` beside what was there before."""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from forensics.errors import UsageError
from forensics.report.evidence import MARKS, SUMS, mark_name, mask_name, picture_name, write_sums
from forensics.report.files import clean, dumps, write_bytes, write_csv, write_json
from forensics.report.findings_files import Row, finding_row, keep_reviews, read_findings, write_findings
from forensics.schema import CANDIDATES, IMAGES, LEADS, RUN_SCHEMA_VERSION
from forensics.types import Finding, ImageState, Lead, Scalar

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow.parquet as pq

__all__ = ["ImageRow", "RunWriter"]

_OWN = {
    "case.json", "run.json", "images.parquet", "candidates.csv", "findings.jsonl", "findings.csv", "findings.parquet",
    "marks.json", "leads.csv", "roots.csv", "evidence", "evidence.json", "grading.json", "report.html", "history.jsonl",
    SUMS, ".partial", ".work",
}  # fmt: skip
_ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One audited input and how it ended. ``metadata`` is the record's."""

    id: str
    uri: str
    sha256: str
    width: int
    height: int
    state: ImageState
    reason: str = ""
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


def _locked(run_dir: Path) -> int:
    """Return a descriptor that holds the folder's lock until it is closed or the process ends."""
    import fcntl

    descriptor = os.open(run_dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise UsageError(
            f"{run_dir} is being written by another process; wait until it has ended, or give another folder"
        ) from error
    return descriptor


class RunWriter:
    """Collects a run and puts it in place as a whole.

    Parameters
    ----------
    run_dir : Path
        Made where it is missing. A run that is there already stays as it is until :meth:`finish` replaces it; its
        review fields live on in findings with the same id, and so do ``roots.csv`` and ``history.jsonl``.

    Raises
    ------
    UsageError
        If the folder holds anything that is not of a run: nothing of others is ever replaced.

    Notes
    -----
    Use it as a context. Left without :meth:`finish`, or by an error, it removes what it staged. Findings and pictures
    are few and are kept in memory and written at once; images and candidates are streamed.
    """

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        if run_dir.exists() and not run_dir.is_dir():
            raise UsageError(f"{run_dir} is a file; give a folder for the run")
        foreign = sorted(path.name for path in run_dir.iterdir() if path.name not in _OWN) if run_dir.exists() else []
        if foreign:
            raise UsageError(f"{run_dir} holds {foreign[0]!r}, which is not of a run; give a new or an empty folder")
        run_dir.mkdir(parents=True, exist_ok=True)
        # before anything is removed: what another process stages here is its own
        self._unlock = weakref.finalize(self, os.close, _locked(run_dir))
        self._staging = run_dir / ".partial"
        if self._staging.exists():
            shutil.rmtree(self._staging)
        (self._staging / "evidence").mkdir(parents=True)
        self._images: pq.ParquetWriter | None = None
        self._image_rows: list[Row] = []
        self._states: dict[str, int] = dict.fromkeys(("ok", "degraded", "rejected", "error"), 0)
        self._candidate_columns: list[str] = []
        self._candidates = 0
        self._findings: list[Row] = []
        self._leads: list[list[Any]] = []
        self._pictures: dict[str, dict[str, Any]] = {}
        self._masks: dict[str, str] = {}
        self._marks: list[dict[str, Any]] | None = None
        self._finished = False

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlock()
        if self._finished:
            return
        if self._images is not None:
            self._images.close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def add_images(self, rows: Iterable[ImageRow]) -> None:
        """Append inputs, in the source's order."""
        for row in rows:
            if row.state not in self._states:
                raise ValueError(f"state {row.state!r} given; one of {', '.join(self._states)} is needed")
            self._states[row.state] += 1
            extra = {key: value for key, value in row.metadata.items() if value is not None}
            prompt, caption = (str(extra.pop(name, "") or "") for name in ("prompt", "caption"))
            values = (row.id, row.uri, row.sha256, int(row.width), int(row.height), row.state, row.reason)
            texts = (*values, prompt, caption, dumps(extra) if extra else "")
            self._image_rows.append({column.name: clean(v) for column, v in zip(IMAGES, texts, strict=True)})
            if len(self._image_rows) >= _ROWS_AT_ONCE:
                self._flush_images()

    def add_candidates(self, table: pd.DataFrame) -> None:
        """Append candidate pairs: ``query``, ``reference``, ``score`` and the same measurements in every call."""
        first = [column.name for column in CANDIDATES]
        missing = [name for name in first if name not in table.columns]
        if missing:
            raise ValueError(f"candidates without the column {missing[0]!r} given; {', '.join(first)} are needed")
        columns = first + [str(name) for name in table.columns if name not in first]
        if not self._candidate_columns:
            self._candidate_columns = columns
        if set(columns) != set(self._candidate_columns):
            raise ValueError(f"columns {columns} given; the run's candidates have {self._candidate_columns}")
        path = self._staging / "candidates.csv"
        table = table[self._candidate_columns]
        texts = {
            name: table[name].map(clean, na_action="ignore")
            for name in self._candidate_columns
            if table[name].dtype.kind not in "biuf"
        }
        table.assign(**texts).to_csv(
            path, mode="a", header=not path.exists(), index=False, lineterminator="\n", encoding="utf-8"
        )
        self._candidates += len(table)

    def add_finding(
        self,
        finding: Finding,
        *,
        transform: Sequence[float] | None = None,
        mirrored: bool = False,
        query_metadata: Mapping[str, Scalar] | None = None,
        reference_metadata: Mapping[str, Scalar] | None = None,
    ) -> None:
        """Add a finding.

        Parameters
        ----------
        finding : Finding
            The claim.
        transform : sequence of 9 floats, optional
            Row-major homography from query to reference pixels (full-size, upright images), mirror included: it draws
            the comparer. None where nothing was aligned.
        mirrored : bool
            The query matches the reference's mirror image.
        query_metadata, reference_metadata : mapping
            What the sources gave beside the pixels (``prompt``, ``domain``, ``dataset``, ``rights_holder``, …).
        """
        self._findings.append(
            finding_row(
                finding,
                transform=transform,
                mirrored=mirrored,
                query_metadata=query_metadata,
                reference_metadata=reference_metadata,
            )
        )

    def add_lead(self, lead: Lead, *, reference_metadata: Mapping[str, Scalar] | None = None) -> None:
        """Add a pair that is alike and is not claimed to be a copy."""
        query, reference = lead.query, lead.reference
        self._leads.append(
            [
                "similar", query.id, query.uri, query.sha256, reference.id, reference.uri, reference.sha256,
                float(lead.score), dumps(dict(lead.measurements)), dumps(list(lead.reasons)),
                dumps({key: v for key, v in (reference_metadata or {}).items() if v is not None and v != ""}),
            ]
        )  # fmt: skip

    def add_picture(self, sha256: str, jpeg: bytes, width: int, height: int) -> None:
        """Store the preview (JPEG, at most 512 px) of an image; ``width`` and ``height`` are the full image's."""
        name = picture_name(sha256)
        write_bytes(self._staging / name, jpeg)
        self._pictures[sha256] = {"file": name, "width": int(width), "height": int(height)}

    def has_picture(self, sha256: str) -> bool:
        """Say whether the preview of an image was added already."""
        return sha256 in self._pictures

    def add_mask(self, finding_id: str, png: bytes) -> None:
        """Store where in the image a finding is: a grey PNG over the whole image, at any size of its proportions."""
        self._masks[finding_id] = mask_name(finding_id)
        self._evidence(self._masks[finding_id], png)

    def add_shared_marks(self, marks: Iterable[tuple[Mapping[str, Any], bytes]]) -> None:
        """Store the marks that images of this run share, each with its averaged picture as a PNG (``marks.json``).

        Call it also where none was found: then the report says that they were looked for.
        """
        self._marks = []
        for row, png in marks:
            name = mark_name(str(row["mark_id"]))
            self._evidence(name, png)
            self._marks.append({**row, "picture": name})

    def _evidence(self, name: str, data: bytes) -> None:
        path = self._staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, data)

    def finish(
        self, case: Mapping[str, Any], run: Mapping[str, Any], *, redact: Collection[str] = (), pictures: int = 200
    ) -> Path:
        """Write what is left, put the run in place, render the report and seal it with ``SHA256SUMS``.

        Parameters
        ----------
        case, run : mapping
            Contents of ``case.json`` and ``run.json`` (``docs/formats.md``). ``schema_version``, ``states`` and
            ``counts`` are filled in here.
        redact, pictures
            As in :func:`forensics.report.html.render`.

        Returns
        -------
        Path
            ``report.html``.
        """
        from forensics.report.html import render

        self._flush_images(last=True)
        if not self._candidate_columns:
            header = ",".join(column.name for column in CANDIDATES) + "\n"
            write_bytes(self._staging / "candidates.csv", header.encode())
        previous = read_findings(self.run_dir) if (self.run_dir / "findings.jsonl").is_file() else []
        write_findings(self._staging, keep_reviews(self._findings, previous))
        self._leads.sort(key=lambda row: (-row[7], row[1], row[4]))
        write_csv(self._staging / "leads.csv", [column.name for column in LEADS], self._leads)
        write_json(
            self._staging / "evidence.json",
            {
                "schema_version": RUN_SCHEMA_VERSION,
                "redacted": [],
                "pictures": {key: self._pictures[key] for key in sorted(self._pictures)},
                **({"masks": dict(sorted(self._masks.items()))} if self._masks else {}),
            },
        )
        if self._marks is not None:
            write_json(self._staging / MARKS, {"schema_version": RUN_SCHEMA_VERSION, "marks": self._marks})
        counts: dict[str, int] = {}
        for row in self._findings:
            counts[row["kind"]] = counts.get(row["kind"], 0) + 1
        totals = {"candidates": self._candidates, "findings": counts, "leads": len(self._leads)}
        write_json(self._staging / "case.json", {"schema_version": RUN_SCHEMA_VERSION, **case})
        write_json(
            self._staging / "run.json",
            {"schema_version": RUN_SCHEMA_VERSION, **run, "states": self._states, "counts": totals},
        )
        self._put_in_place()
        self._finished = True
        write_sums(self.run_dir)
        return render(self.run_dir, redact=frozenset(redact), pictures=pictures)

    def _put_in_place(self) -> None:
        """Replace the earlier run: its seal goes first and the new one comes last, so no mixture looks finished."""
        (self.run_dir / SUMS).unlink(missing_ok=True)
        staged = sorted(self._staging.iterdir(), key=lambda path: (path.name != "findings.jsonl", path.name))
        for path in staged:  # findings.jsonl first: it carries the reviews, and a rename loses none
            target = self.run_dir / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
        self._staging.rmdir()
        old = ("report.html", "grading.json", *(() if self._marks is not None else (MARKS,)))
        for name in old:  # of the findings that were replaced
            (self.run_dir / name).unlink(missing_ok=True)

    def _flush_images(self, *, last: bool = False) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"string": pa.string(), "int64": pa.int64()}
        schema = pa.schema(
            [(column.name, types[column.dtype]) for column in IMAGES],
            metadata={"schema_version": str(RUN_SCHEMA_VERSION)},
        )
        if self._images is None:
            self._images = pq.ParquetWriter(self._staging / "images.parquet", schema)
        if self._image_rows:
            self._images.write_table(pa.Table.from_pylist(self._image_rows, schema=schema))
            self._image_rows.clear()
        if last:
            self._images.close()
