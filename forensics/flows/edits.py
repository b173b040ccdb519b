"""An audit of edited pictures whose truth is known.

The shipped references are indexed, a few of them taken out again, and the audit sees the shipped suspects beside fresh
ones that are made on the spot: edits of references that are in the index (copies) and of those taken out (no copies).
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import forensics
from forensics.errors import UsageError
from forensics.flows.audit import audit
from forensics.flows.index import build_index, remove_images
from forensics.flows.results import AuditResult
from forensics.images import decode, encode_preview
from forensics.render import layouts, marks, redraw, spatial, text, tones
from forensics.schema import COPY_KINDS

if TYPE_CHECKING:
    from forensics.types import Progress, UInt8Array

__all__ = ["EditsResult", "edits"]

_FRESH = 12
_LONG_SIDE = 320


@dataclass(frozen=True, slots=True, kw_only=True)
class EditsResult:
    """An audit and its grade.

    Attributes
    ----------
    audit : AuditResult
    index : Path
        The index that was built, for further tries.
    copies, found : int
        Suspects that are copies, and those of them for which the right reference was named.
    others, false : int
        Suspects that are not copies, and those of them that were flagged.
    """

    audit: AuditResult
    index: Path
    copies: int
    found: int
    others: int
    false: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Suspect:
    name: str
    prompt: str
    reference: str


def edits(
    *, out: str | Path, seed: int = 1, workers: int | None = None, progress: Progress | None = None
) -> EditsResult:
    """Run it.

    Parameters
    ----------
    out : path
        Run folder. The index and the suspects lie beside it, in ``OUT-data``.
    seed : int
        Draws the fresh suspects, and which references are taken out of the index. At least 0.
    workers : int, optional
        As in :func:`forensics.audit`.
    progress : Progress, optional

    Raises
    ------
    UsageError
        If the embedded pictures are not installed, or ``OUT-data`` is not of an earlier demo.
    """
    if seed < 0:
        raise UsageError(f"seed {seed} given, 0 or more accepted")
    out, data = Path(out), edits_data()
    folder = _data_folder(out)
    rng = np.random.default_rng(seed)
    suspects = _shipped(data, folder / "suspects")
    used = {suspect.reference for suspect in suspects}
    free = sorted(row["path"] for row in _rows(data / "references.csv") if row["path"] not in used)
    chosen = [free[i] for i in rng.permutation(len(free))]
    # what a fresh suspect is pasted onto must not be in the index either, or it would be a copy of that
    indexed, taken_out, grounds = chosen[:_FRESH], chosen[_FRESH : 2 * _FRESH], chosen[2 * _FRESH : 3 * _FRESH]
    suspects += _fresh(data, folder / "suspects", indexed, taken_out, grounds, rng)
    _write_list(folder / "suspects.csv", suspects)
    build_index(data / "references.csv", folder / "index", workers=workers, progress=progress)
    held_out = _ids(folder / "index", [*taken_out, *grounds])
    remove_images(folder / "index", ids=held_out, reason=f"held out by the demo of edits, seed {seed}")
    result = audit(folder / "suspects.csv", index=folder / "index", out=out, workers=workers, progress=progress)
    return _graded(result, folder / "index", suspects)


def edits_data() -> Path:
    """Return the folder of the embedded pictures: in the checkout, or inside an installed package.

    Raises
    ------
    UsageError
        If there is none.
    """
    package = Path(forensics.__file__).parent
    for folder in (package.parent / "index_data" / "edits", package / "_edits"):
        if (folder / "references.csv").is_file():
            return folder
    raise UsageError("the embedded pictures are not installed; run from a checkout, which has them in index_data/edits")


def _data_folder(out: Path) -> Path:
    folder = out.with_name(out.name + "-data")
    if folder.exists():
        if not (folder / "suspects.csv").is_file():
            raise UsageError(f"{folder} exists and is not of an earlier demo; give another --out")
        shutil.rmtree(folder)
    (folder / "suspects").mkdir(parents=True)
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _shipped(data: Path, folder: Path) -> list[_Suspect]:
    prompts = {row["path"]: row["prompt"] for row in _rows(data / "suspects.csv")}
    suspects = []
    for row in _rows(data / "truth.csv"):
        name = Path(row["suspect"]).name
        shutil.copyfile(data / row["suspect"], folder / name)
        suspects.append(_Suspect(name=name, prompt=prompts[row["suspect"]], reference=row["reference"]))
    return suspects


def _fresh(
    data: Path,
    folder: Path,
    indexed: Sequence[str],
    taken_out: Sequence[str],
    grounds: Sequence[str],
    rng: np.random.Generator,
) -> list[_Suspect]:
    """Edit pictures in and out of the index alike, each kind of edit on both sides."""
    captions = {row["path"]: row["caption"] for row in _rows(data / "references.csv")}
    suspects = []
    for number, path in enumerate([*indexed, *taken_out]):
        edits = _edits(rng, _pixels(data / grounds[number % len(grounds)]))
        image = edits[number % len(edits)](_pixels(data / path))
        name = f"fresh-{number:02d}.jpg"
        (folder / name).write_bytes(encode_preview(image, long_side=_LONG_SIDE, quality=88))
        reference = path if number < len(indexed) else ""
        suspects.append(_Suspect(name=name, prompt=captions[path], reference=reference))
    return suspects


def _edits(rng: np.random.Generator, ground: UInt8Array) -> list[Callable[[UInt8Array], UInt8Array]]:
    return [
        lambda image: spatial.crop(image, share=float(rng.uniform(0.4, 0.7)), rng=rng).image,
        lambda image: layouts.paste(image, ground, share=float(rng.uniform(0.3, 0.5)), rng=rng).image,
        lambda image: tones.jpeg(spatial.mirror(image).image, quality=40).image,
        lambda image: text.meme_text(image, top="КОГДА МОДЕЛЬ", bottom="ПОМНИТ ВСЁ").image,
        lambda image: redraw.redraw(image, strength=0.5, rng=rng).image,
        lambda image: marks.stock_mark(tones.jitter(image, saturation=1.5, hue=0.03).image).image,
    ]


def _pixels(path: Path) -> UInt8Array:
    decoded = decode(path.read_bytes())
    if decoded.pixels is None:
        raise UsageError(f"the embedded picture {path} cannot be read ({decoded.reason}); restore it")
    return decoded.pixels


def _write_list(path: Path, suspects: Sequence[_Suspect]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "prompt"])
        writer.writerows([f"suspects/{suspect.name}", suspect.prompt] for suspect in suspects)


def _ids(index: Path, paths: Sequence[str]) -> list[str]:
    from forensics.flows.index import open_index

    names = {Path(path).name for path in paths}
    return [identifier for identifier in open_index(index).images_frame(["id"])["id"] if Path(identifier).name in names]


def _graded(result: AuditResult, index: Path, suspects: Sequence[_Suspect]) -> EditsResult:
    flagged: dict[str, set[str]] = {}
    for finding in result.findings().to_dict("records"):
        if finding["kind"] not in COPY_KINDS:
            continue
        query, reference = (Path(_id(finding[side])).name for side in ("query", "reference"))
        flagged.setdefault(query, set()).add(reference)
    copies = [suspect for suspect in suspects if suspect.reference]
    others = [suspect for suspect in suspects if not suspect.reference]
    return EditsResult(
        audit=result,
        index=index,
        copies=len(copies),
        found=sum(Path(suspect.reference).name in flagged.get(suspect.name, set()) for suspect in copies),
        others=len(others),
        false=sum(suspect.name in flagged for suspect in others),
    )


def _id(field: object) -> str:
    import json

    return str(json.loads(str(field))["id"])
