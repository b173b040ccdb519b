"""A part of the embedded pictures, laid out as the whole is: real pictures, small enough for a test."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

DATA = Path(__file__).parent.parent / "index_data" / "edits"


def write_small_demo(folder: Path, *, suspects: int, spare: int) -> Path:
    """Copy the first suspects, the references that they show, and a few references more.

    Parameters
    ----------
    folder : Path
        Made here.
    suspects : int
        How many, in the order of the shipped list.
    spare : int
        References that none of these suspects shows.

    Returns
    -------
    Path
        ``folder``.
    """
    truth = _rows("truth.csv")[:suspects]
    shown = {row["reference"] for row in truth if row["reference"]}
    references = _rows("references.csv")
    kept = [row for row in references if row["path"] in shown]
    kept += [row for row in references if row["path"] not in shown][:spare]
    chosen = {row["suspect"] for row in truth}
    for name, rows in (
        ("truth.csv", truth),
        ("references.csv", kept),
        ("suspects.csv", [row for row in _rows("suspects.csv") if row["path"] in chosen]),
    ):
        _write(folder / name, rows)
    for path in [*chosen, *(row["path"] for row in kept)]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(DATA / path, folder / path)
    return folder


def _rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
