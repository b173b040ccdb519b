"""Rebuilds ``index_data/edits/`` from the packages its pictures come from.

::

    python index_data/make_edits.py --openclipart DIR --photos DIR [--photos DIR] --seed 0

``--openclipart`` is the folder of Debian's openclipart-png (``usr/share/openclipart``). ``--photos`` are folders with
the photographs: scikit-image's ``skimage/data`` and ``usr/share/backgrounds`` of Debian's lomiri-wallpapers-16.04 and
lomiri-wallpapers-20.04. Which pictures are taken, by whom and under which licence stands in ``pictures.csv``; what is
made of them stands in ``edits_suspects.py``. The same arguments and the same Pillow give the same files.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.render import spatial
from forensics.render.edited import Edited, compose, make
from index_data.edits_suspects import RECIPES, Recipe, Sources, UInt8Array
from index_data.sources import FILE, LICENCES, MARKER

HERE = Path(__file__).resolve().parent
EDITS = HERE / "edits"
SIDE = 256
SUSPECT_SIDE = 320
QUALITY = 85

DATASETS = {
    "openclipart": ("Open Clip Art Library 0.18", "openclipart.org", "Debian package openclipart-png 1:0.18+dfsg-19"),
    "scikit-image": ("scikit-image data", "scikit-image.org", "Python package scikit-image 0.26, skimage/data"),
    "lomiri": ("Lomiri wallpapers", "gitlab.com", "Debian packages lomiri-wallpapers-16.04 and -20.04, 20.04.0-2"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One line of ``pictures.csv``."""

    role: str  # "reference", or "other": for suspects that copy no reference, and for backgrounds
    file: str
    title: str
    author: str
    licence: str
    dataset: str

    @property
    def key(self) -> str:
        """The file's stem in small letters, digits and single hyphens."""
        return re.sub(r"[^a-z0-9]+", "-", Path(self.file).stem.lower()).strip("-")

    @property
    def name(self) -> str:
        """Name of the file in ``edits/references/``."""
        return f"{self.key}.jpg"


def read(path: Path) -> UInt8Array:
    """Return (H, W, 3) uint8 RGB, transparency on white."""
    with Image.open(path) as opened:
        picture = opened.convert("RGBA")
    ground = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(ground, picture).convert("RGB"))


def trim(pixels: UInt8Array) -> UInt8Array:
    """Cut empty white margins down to 3 % of the picture's size."""
    inked = pixels.min(axis=2) < 245
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if not len(rows):
        return pixels
    height, width = pixels.shape[:2]
    edge = round(0.03 * max(rows[-1] - rows[0], columns[-1] - columns[0]))
    top, bottom = max(0, rows[0] - edge), min(height, rows[-1] + 1 + edge)
    left, right = max(0, columns[0] - edge), min(width, columns[-1] + 1 + edge)
    return np.ascontiguousarray(pixels[top:bottom, left:right])


def jpeg_bytes(pixels: UInt8Array) -> bytes:
    """Encode as JPEG with full colour resolution, so that clip art keeps its outlines."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0, optimize=True)
    return buffer.getvalue()


def load_pictures(pictures: Sequence[Picture], folders: Sequence[Path]) -> dict[str, UInt8Array]:
    """Return every picture by its key, trimmed where it is clip art, the longer side at most 800 pixels."""
    found: dict[str, UInt8Array] = {}
    for picture in pictures:
        candidates = [folder / picture.file for folder in folders]
        candidates += [folder.parent / picture.file for folder in folders]
        path = next((p for p in candidates if p.is_file()), None)
        if path is None:
            raise SystemExit(f"{picture.file} is in none of {', '.join(map(str, folders))}; give its folder too")
        if picture.key in found:
            raise SystemExit(f"two pictures would be called {picture.key}; take one out of pictures.csv")
        pixels = read(path)
        if picture.dataset == "openclipart":
            pixels = trim(pixels)
        found[picture.key] = spatial.scale_to(pixels, long_side=min(800, max(pixels.shape[:2]))).image
    return found


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows as CSV with Unix line ends."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_references(pictures: Sequence[Picture], pixels: Mapping[str, UInt8Array]) -> None:
    """Write ``references/`` and ``references.csv``."""
    rows = []
    for picture in pictures:
        dataset, domain, _ = DATASETS[picture.dataset]
        scaled = spatial.scale_to(pixels[picture.key], long_side=SIDE).image
        (EDITS / "references" / picture.name).write_bytes(jpeg_bytes(scaled))
        rows.append(
            {
                "path": f"references/{picture.name}",
                "caption": picture.title,
                "source": picture.file,
                "author": picture.author,
                "licence": picture.licence,
                "domain": domain,
                "dataset": dataset,
                "rights_holder": picture.author if picture.licence.startswith("CC-BY") else "",
            }
        )
    write_csv(EDITS / "references.csv", tuple(rows[0]), rows)


def make_suspect(recipe: Recipe, pixels: Mapping[str, UInt8Array], seed: int) -> Edited:
    """Return the suspect of a recipe; its geometry is in pixels of the shipped reference."""
    full = pixels[recipe.source]
    reference = spatial.scale_to(full, long_side=SIDE).image
    scale_x, scale_y = reference.shape[1] / full.shape[1], reference.shape[0] / full.shape[0]
    start = make(full, (scale_x, 0, 0, 0, scale_y, 0, 0, 0, 1), reference, "")
    # A seed from the name, so that one recipe's picture doesn't change when another is added.
    rng = np.random.default_rng([seed, *recipe.source.encode()])
    edited = recipe.edit(full, Sources(pixels=pixels, rng=rng))
    sized = compose(edited, spatial.scale_to(edited.image, long_side=SUSPECT_SIDE))
    return compose(start, sized)


def write_suspects(
    pictures: Mapping[str, Picture], pixels: Mapping[str, UInt8Array], seed: int
) -> list[tuple[str, Recipe]]:
    """Write ``suspects/``, ``suspects.csv`` and ``truth.csv``; return the file name of each recipe."""
    order = np.random.default_rng(seed).permutation(len(RECIPES))
    named = sorted((f"s{order[i] + 1:02d}.jpg", recipe) for i, recipe in enumerate(RECIPES))
    truth = []
    for name, recipe in named:
        made = make_suspect(recipe, pixels, seed)
        (EDITS / "suspects" / name).write_bytes(jpeg_bytes(made.image))
        source = pictures[recipe.source]
        copied = source.role == "reference"
        truth.append(
            {
                "suspect": f"suspects/{name}",
                "reference": f"references/{source.name}" if copied else "",
                "edit": recipe.label,
                "region": " ".join(map(str, made.query_box)) if copied else "",
                "reference_region": " ".join(map(str, made.reference_box)) if copied else "",
            }
        )
    prompts = [{"path": f"suspects/{name}", "prompt": recipe.prompt} for name, recipe in named]
    write_csv(EDITS / "suspects.csv", ("path", "prompt"), prompts)
    write_csv(EDITS / "truth.csv", tuple(truth[0]), truth)
    return named


def write_sources(
    references: Sequence[Picture], pictures: Mapping[str, Picture], named: Sequence[tuple[str, Recipe]]
) -> None:
    """Write SOURCES.md: every shipped picture with source, author, licence and what was changed."""
    lines = [
        "# Where the pictures of `edits/` come from",
        "",
        "Written by `make_edits.py` from `pictures.csv`; don't edit it by hand. The Apache-2.0 licence of this project",
        "covers the code, not these pictures: each keeps the licence that its line names. Where that is CC BY or",
        "CC BY-SA, what is shipped here is a changed version, as described, under the same licence.",
        "",
        "| source | what it is |",
        "|---|---|",
        *(f"| {key} | {package} ({name}) |" for key, (name, _, package) in DATASETS.items()),
        "",
        "Open Clip Art Library: each author gave the picture to the public domain (Creative Commons Public Domain",
        "Dedication, stated in the package's copyright file and in the metadata of each drawing in openclipart-svg).",
        "scikit-image: author and dedication as stated in `skimage/data/_fetchers.py`. Lomiri: author and licence as",
        "stated in the packages' copyright files.",
        "",
        "## References",
        "",
        f"Changes: scaled to {SIDE} px on the longer side, saved as JPEG; clip art on white, with empty margins cut.",
        "",
        "| file | title | author | licence | source | source file |",
        "|---|---|---|---|---|---|",
    ]
    for p in references:
        cells = (f"references/{p.name}", p.title, p.author, LICENCES[p.licence], p.dataset, f"`{p.file}`")
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    lines += [
        "",
        "## Suspects",
        "",
        f"Made from the pictures named, by the edits named; {SUSPECT_SIDE} px on the longer side, JPEG.",
        "",
        "| file | changes | made from | author | licence | source file |",
        "|---|---|---|---|---|---|",
    ]
    for name, recipe in named:
        for number, key in enumerate((recipe.source, *recipe.others)):
            p = pictures[key]
            change = recipe.label if number == 0 else "beside or behind it"
            cells = (f"suspects/{name}", change, p.title, p.author, LICENCES[p.licence], f"`{p.file}`")
            lines.append("| " + " | ".join(cells) + " |")
    _, marker, corpus = FILE.read_text("utf-8").partition(MARKER) if FILE.exists() else ("", "", "")
    FILE.write_text("\n".join(lines) + "\n" + (f"\n{marker}{corpus}" if marker else ""), encoding="utf-8")


def main() -> None:
    """Rebuild the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openclipart", type=Path, required=True, help="usr/share/openclipart of openclipart-png")
    parser.add_argument("--photos", type=Path, action="append", required=True, help="folder of photographs; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="of the edits and of the suspects' order (default 0)")
    args = parser.parse_args()
    with (HERE / "pictures.csv").open(newline="", encoding="utf-8") as file:
        listed = [Picture(**row) for row in csv.DictReader(file)]
    pixels = load_pictures(listed, [args.openclipart, *args.photos])
    for name in ("references", "suspects"):
        shutil.rmtree(EDITS / name, ignore_errors=True)
        (EDITS / name).mkdir(parents=True)
    references = sorted((p for p in listed if p.role == "reference"), key=lambda p: p.name)
    pictures = {p.key: p for p in listed}
    write_references(references, pixels)
    named = write_suspects(pictures, pixels, args.seed)
    write_sources(references, pictures, named)
    size = sum(p.stat().st_size for p in EDITS.rglob("*") if p.is_file())
    sys.stderr.write(f"{len(references)} references, {len(named)} suspects, {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
