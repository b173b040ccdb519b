"""The sheet for a reverse image search by hand: written crop by crop, read back filled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.errors import UsageError
from forensics.report.evidence import HISTORY, check_sums, log_change
from forensics.report.files import read_csv, write_bytes, write_csv
from forensics.report.html import render, template
from forensics.report.pictures import data_uri, open_preview
from forensics.report.run import Run, load
from forensics.schema import ROOTS

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["CROPS", "read_sheet", "write_sheet"]

CROPS = {
    "whole": (0.0, 0.0, 1.0, 1.0),
    "top-left": (0.0, 0.0, 0.5, 0.5),
    "top-right": (0.5, 0.0, 1.0, 0.5),
    "bottom-left": (0.0, 0.5, 0.5, 1.0),
    "bottom-right": (0.5, 0.5, 1.0, 1.0),
    "centre": (0.25, 0.25, 0.75, 0.75),
}
"""Crop name to (x0, y0, x1, y1) as fractions of width and height."""

_FILLED = ("address", "date", "note")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crop:
    query: str
    sha256: str
    name: str
    file: str
    pixels: UInt8Array


def write_sheet(run_dir: Path, out: Path, *, top: int = 100) -> int:
    """Write a sheet of the generated images that have leads, best lead first.

    Parameters
    ----------
    run_dir : Path
        A finished run; it is not changed.
    out : Path
        The CSV. Beside it come ``NAME.html`` with the crops to look at, and the folder ``NAME-crops`` with every crop
        as a file to put into a reverse image search.
    top : int
        How many generated images at most.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    UsageError
        If the sheet is there already (it may be half filled), lies inside the run, or the pictures were left out.
    """
    check_sums(run_dir, ignore={"report.html"})
    if out.suffix.lower() != ".csv":
        raise UsageError(f"{out} given; give a file that ends in .csv")
    if out.resolve().is_relative_to(run_dir.resolve()):
        raise UsageError(f"{out} lies inside the run, whose files are sealed; give a place outside {run_dir}")
    if out.exists():
        raise UsageError(f"{out} is there already and may be filled; give another --out, or remove it")
    run = load(run_dir)
    if "pixels" in run.redacted:
        raise UsageError(f"the pictures of {run_dir} were left out (--redact pixels), so there is nothing to crop")
    folder = out.with_name(f"{out.stem}-crops")
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, ...]] = []
    shown: dict[str, list[dict[str, str]]] = {}
    for crop in _crops(run, folder.name, top):
        _save(folder / Path(crop.file).name, crop.pixels)
        row = (crop.query, crop.sha256, crop.name, crop.file, "", "", "")
        rows.append(row)
        entry = {"name": crop.name, "file": crop.file, "uri": data_uri(crop.pixels, side=256)}
        shown.setdefault(crop.query, []).append(entry)
    page = template("leads.html.j2").render(queries=shown, case=run.case, sheet=out.name)
    write_bytes(out.with_suffix(".html"), page.encode("utf-8", "replace"))
    write_csv(out, [column.name for column in ROOTS], rows)
    return len(rows)


def read_sheet(run_dir: Path, sheet: Path) -> int:
    """Read a filled sheet into the run's ``roots.csv`` and render the report again, which then shows the addresses.

    What was read from earlier sheets stays, except for the crops that this sheet fills.

    Returns
    -------
    int
        Filled rows read.

    Raises
    ------
    UsageError
        If the sheet lacks a column or speaks of an image that the run does not have.
    """
    check_sums(run_dir, ignore={"report.html"})
    names = [column.name for column in ROOTS]
    run = load(run_dir)
    known = {row["query_sha256"] for row in run.leads} | {row["query"]["sha256"] for row in run.findings}
    rows = read_csv(sheet, [name for name in names if name != "file"])
    filled = [row for row in rows if any(row[name].strip() for name in _FILLED)]
    for row in filled:
        if row["query_sha256"] not in known:
            raise UsageError(
                f"{sheet} names the image {row['query']!r}, which is no lead of {run_dir}; give the sheet of this run"
            )
    touched = {(row["query_sha256"], row["crop"]) for row in filled}
    kept = [row for row in run.roots if (row["query_sha256"], row["crop"]) not in touched]
    merged = [[row.get(name, "").strip() for name in names] for row in kept + filled]
    write_csv(run_dir / "roots.csv", names, merged)
    log_change(run_dir, "leads", rows=len(filled))
    render(run_dir, changed={"roots.csv", HISTORY})
    return len(filled)


def _crops(run: Run, folder: str, top: int) -> Iterator[_Crop]:
    seen: set[str] = set()
    for lead in run.leads:
        sha256 = lead["query_sha256"]
        picture = run.pictures.get(sha256)
        pixels = open_preview(run.folder, picture) if picture else None
        if sha256 in seen or pixels is None:
            continue
        if len(seen) == top:
            return
        seen.add(sha256)
        height, width = pixels.shape[:2]
        for name, (x0, y0, x1, y1) in CROPS.items():
            part = pixels[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
            if part.size:
                file = f"{folder}/{len(seen):04d}-{sha256[:8]}-{name}.jpg"
                yield _Crop(query=lead["query"], sha256=sha256, name=name, file=file, pixels=part)


def _save(path: Path, pixels: UInt8Array) -> None:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=92)
    write_bytes(path, out.getvalue())
