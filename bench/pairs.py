"""Makes copy-detection benches from any folders of pictures.

Two commands::

    python bench/pairs.py bench FOLDER[=COUNT] ... --out DIR      # references, edited copies of them, and distractors
    python bench/pairs.py crops-and-pastes FOLDER --out DIR       # of each picture one crop and one paste

Both write ``references/``, ``queries/`` and ``truth.csv``: ``query`` and ``reference`` (file names; the reference is
empty for a distractor), ``severity`` (easy, medium, hard, redraw, or distractor), ``edits``, and the true geometry:
``transform`` (9 numbers, row-major, query to reference pixels), ``query_polygon`` (x y pairs), ``query_box``,
``reference_box`` (x0 y0 x1 y1), ``query_share`` and ``reference_share`` (share of each picture that is the copied
content). ``DISTRACTORS.csv`` names what each distractor was made from. The same arguments give the same files.

COUNT limits how many pictures of a folder become references; the rest feeds distractors and backgrounds. Pictures of
nearly one look (pHash in 8 orientations) are taken once, so that a distractor is not a copy by accident; families that
share a drawing (icons on one frame, a figure in several poses) look different to it: name them with ``--exclude``. The
edits are described in ``bench/recipes.py``.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from bench.recipes import UInt8Array, detail, draw_recipe
from forensics.images import decode
from forensics.render import layouts, spatial
from forensics.render.edited import Edited, chain, compose, make

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SHARES = {"easy": 0.18, "medium": 0.30, "hard": 0.32, "redraw": 0.20}
WORKING_SIDE = 1200
SAME_LOOK_BITS = 60  # of 256 bits of pHash; unrelated pictures differ in about 128
COLUMNS = (
    "query", "reference", "severity", "edits", "transform", "query_polygon", "query_box", "reference_box",
    "query_share", "reference_share",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One usable picture: a file, or a quarter of a large one."""

    path: Path
    folder: int
    quarter: int | None = None

    @property
    def name(self) -> str:
        """File name, with the number of the quarter where it is one."""
        return self.path.name if self.quarter is None else f"{self.path.name}#{self.quarter}"

    @property
    def words(self) -> frozenset[str]:
        """The words of four letters and more that the file's name begins with: its subject."""
        stem = "".join(c if c.isalpha() else " " for c in self.path.stem.lower())
        return frozenset(word for word in stem.split()[:2] if len(word) >= 4)


@lru_cache(maxsize=8)  # the quarters of one file follow each other
def read(path: Path) -> UInt8Array | None:
    """Return a file's (H, W, 3) uint8 RGB pixels, or None where it is no usable picture."""
    return decode(path.read_bytes()).pixels


def load(picture: Picture) -> UInt8Array:
    """Return the pixels of a picture, its longer side at most :data:`WORKING_SIDE`."""
    pixels = read(picture.path)
    if pixels is None:
        raise SystemExit(f"{picture.path} can no longer be read")
    if picture.quarter is not None:
        height, width = pixels.shape[:2]
        row, column = divmod(picture.quarter, 2)
        pixels = pixels[row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2]
    if max(pixels.shape[:2]) > WORKING_SIDE:
        pixels = spatial.scale_to(np.ascontiguousarray(pixels), long_side=WORKING_SIDE).image
    return np.ascontiguousarray(pixels)


def hashes(pixels: UInt8Array) -> NDArray[np.bool_]:
    """Return the 256-bit pHash of the picture in its 8 orientations, (8, 256); the first is the upright one."""
    import imagehash

    small = np.asarray(Image.fromarray(pixels).resize((256, 256), Image.Resampling.BOX))
    turned = [np.rot90(side, turns) for side in (small, small[:, ::-1]) for turns in range(4)]
    return np.array([imagehash.phash(Image.fromarray(side), hash_size=16).hash.ravel() for side in turned])


def gather(
    folders: Sequence[tuple[Path, int | None]],
    *,
    min_side: int,
    min_detail: float,
    split: int,
    exclude: frozenset[str],
) -> list[Picture]:
    """Return the pictures of all folders that are large and detailed enough, near duplicates taken once.

    Pictures whose shorter side is at least ``split`` pixels give four quarters (0: never).
    """
    found: list[Picture] = []
    known: list[NDArray[np.bool_]] = []
    for number, (folder, _) in enumerate(folders):
        for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            if path.name in exclude:
                continue
            whole_pixels = read(path)
            if whole_pixels is None or min(whole_pixels.shape[:2]) < min_side:
                continue
            side = min(whole_pixels.shape[:2])
            whole = Picture(path=path, folder=number)
            parts = [replace(whole, quarter=q) for q in range(4)] if split and side >= split else [whole]
            for picture in parts:
                pixels = load(picture)
                if detail(pixels) < min_detail:
                    continue
                turned = hashes(pixels)
                if known and (np.array(known)[:, None] ^ turned[None]).sum(axis=2).min() <= SAME_LOOK_BITS:
                    continue
                known.append(turned[0])
                found.append(picture)
        say(f"{folder}: {sum(p.folder == number for p in found)} usable pictures")
    return found


def say(text: str) -> None:
    """Report progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def choose(
    pictures: list[Picture], counts: Sequence[int | None], *, rng: np.random.Generator
) -> tuple[list[Picture], list[Picture]]:
    """Split pictures at random into references (at most the folder's count) and the rest."""
    references: list[Picture] = []
    rest: list[Picture] = []
    for number, count in enumerate(counts):
        own = [p for p in pictures if p.folder == number]
        order = rng.permutation(len(own))
        limit = len(own) if count is None else count
        references += [own[i] for i in order[:limit]]
        rest += [own[i] for i in order[limit:]]
    return references, rest


def hard_negatives(references: list[Picture], rest: list[Picture], *, rng: np.random.Generator) -> list[Picture]:
    """Return ``rest`` in random order, pictures that share a subject with a reference alternating with the others.

    A subject is shared with a word of the file's name, or by being another quarter of one photograph.
    """
    words = frozenset().union(*(p.words for p in references))
    files = {p.path for p in references}
    shuffled = [rest[i] for i in rng.permutation(len(rest))]
    same = [p for p in shuffled if p.path in files or p.words & words]
    other = [p for p in shuffled if not (p.path in files or p.words & words)]
    mixed: list[Picture] = []
    while same or other:
        mixed += [pool.pop(0) for pool in (same, other) if pool]
    return mixed


def as_edit_of(reference: UInt8Array, full: UInt8Array) -> Edited:
    """Return the picture at full size as an edit of its scaled reference, so that geometry is in reference pixels."""
    height, width = full.shape[:2]
    scale_x, scale_y = reference.shape[1] / width, reference.shape[0] / height
    made = make(full, (scale_x, 0, 0, 0, scale_y, 0, 0, 0, 1), reference, "")
    return replace(made, steps=())


def truth_row(query: str, reference: str, severity: str, made: Edited) -> dict[str, str]:
    """Return one line of ``truth.csv``; a distractor has no geometry."""
    row = dict.fromkeys(COLUMNS, "") | {"query": query, "severity": severity, "edits": "+".join(made.steps)}
    if not reference:
        return row
    return row | {
        "reference": reference,
        "transform": " ".join(f"{v:.6g}" for v in made.transform),
        "query_polygon": " ".join(f"{v:.1f}" for point in made.query_polygon for v in point),
        "query_box": " ".join(map(str, made.query_box)),
        "reference_box": " ".join(map(str, made.reference_box)),
        "query_share": f"{made.query_share:.4f}",
        "reference_share": f"{made.reference_share:.4f}",
    }


def save(pixels: UInt8Array, path: Path, quality: int) -> None:
    """Write a picture as JPEG with full colour resolution."""
    Image.fromarray(pixels).save(path, "JPEG", quality=quality, subsampling=0)


def prepare(out: Path) -> None:
    """Make the output folders; refuse a folder that holds something."""
    if out.exists() and any(out.iterdir()):
        raise SystemExit(f"{out} exists and is not empty; give another folder or remove it")
    for name in ("references", "queries"):
        (out / name).mkdir(parents=True)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Write rows as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def make_bench(args: argparse.Namespace) -> None:
    """Write a bench folder: references, edited copies, distractors."""
    folders = [folder_count(text) for text in args.folders]
    prepare(args.out)
    exclude = frozenset(args.exclude.read_text(encoding="utf-8").splitlines()) if args.exclude else frozenset()
    found = gather(folders, min_side=args.min_side, min_detail=args.min_detail, split=args.split, exclude=exclude)
    rng = np.random.default_rng(args.seed)
    references, rest = choose(found, [count for _, count in folders], rng=rng)
    negatives = hard_negatives(references, rest, rng=rng)
    n_distractors = round(args.queries * args.distractors)
    if not references or (n_distractors and len(negatives) < 2):
        raise SystemExit(f"{len(references)} references and {len(rest)} other pictures; give more, or smaller counts")
    # Backgrounds come from the end of the list, distractors from its beginning.
    half = max(1, min(len(negatives) // 2, 200))
    backgrounds, subjects = negatives[-half:], negatives[:-half]

    names = [f"R{i:04d}.jpg" for i in range(len(references))]
    for name, picture in zip(names, references, strict=True):
        save(spatial.scale_to(load(picture), long_side=args.side).image, args.out / "references" / name, 90)
    write_csv(
        args.out / "references.csv",
        ("reference", "source"),
        [{"reference": n, "source": p.name} for n, p in zip(names, references, strict=True)],
    )
    say(f"{len(references)} references, {len(subjects)} pictures for distractors, {half} for backgrounds")

    n_copies = args.queries - n_distractors
    kinds = list(rng.choice(list(SHARES), n_copies, p=list(SHARES.values())))
    kinds += list(rng.choice(list(SHARES), n_distractors, p=list(SHARES.values())))
    order = rng.permutation(args.queries)  # so that names do not tell copies from distractors
    rows: list[dict[str, str]] = []
    sources: list[dict[str, str]] = []
    for i, severity in enumerate(kinds):
        own = np.random.default_rng([args.seed, i])
        is_copy = i < n_copies
        picture = references[i % len(references)] if is_copy else subjects[(i - n_copies) % len(subjects)]
        full = load(picture)
        reference = spatial.scale_to(full, long_side=args.side).image
        others = [load(backgrounds[j]) for j in own.choice(len(backgrounds), min(3, len(backgrounds)), replace=False)]
        recipe = draw_recipe(severity, others=others, rng=own)
        start = as_edit_of(reference, full)
        made = compose(start, chain(start.image, [*recipe, lambda p: spatial.scale_to(p, long_side=args.side)]))
        query = f"Q{order[i]:05d}.jpg"
        save(made.image, args.out / "queries" / query, 90)
        name = names[i % len(references)] if is_copy else ""
        rows.append(truth_row(query, name, severity if is_copy else "distractor", made))
        if not is_copy:
            sources.append({"query": query, "source": picture.name, "made_as": severity})
        if (i + 1) % 200 == 0:
            say(f"{i + 1} of {args.queries} queries")
    write_csv(args.out / "truth.csv", COLUMNS, sorted(rows, key=lambda row: row["query"]))
    write_csv(args.out / "DISTRACTORS.csv", ("query", "source", "made_as"), sorted(sources, key=lambda r: r["query"]))


def crops_and_pastes(args: argparse.Namespace) -> None:
    """Write of each picture one crop and one paste, with the pictures themselves as references."""
    prepare(args.out)
    paths = sorted(p for p in args.images.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not paths:
        raise SystemExit(f"{args.images} holds no pictures")
    grounds: list[Path] = []
    if args.backgrounds:
        grounds = sorted(p for p in args.backgrounds.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    rows: list[dict[str, str]] = []
    for i, path in enumerate(paths):
        rng = np.random.default_rng([args.seed, i])
        pixels = read(path)
        if pixels is None:
            raise SystemExit(f"{path} is not a picture that can be read; take it out of the folder")
        height, width = pixels.shape[:2]
        name = "_".join(path.relative_to(args.images).with_suffix("").parts)
        Image.fromarray(pixels).save(args.out / "references" / f"{name}.png")
        factor = args.share**-0.5
        canvas_width, canvas_height = round(width * factor), round(height * factor)
        if grounds:
            other = read(grounds[int(rng.integers(len(grounds)))])
            if other is None:
                raise SystemExit(f"a picture of {args.backgrounds} cannot be read; take it out of the folder")
            ground = layouts.fit_inside(other, width=canvas_width, height=canvas_height)
        else:
            ground = layouts.gradient(canvas_width, canvas_height, rng=rng)
        cut = spatial.crop(pixels, share=args.crop_share, rng=rng)
        pasted = layouts.paste(pixels, ground, share=args.share, rng=rng)
        for kind, made in (("crop", cut), ("paste", pasted)):
            final = made
            if args.side:
                final = compose(made, spatial.scale_to(made.image, long_side=args.side))
            query = f"{name}_{kind}.jpg"
            save(final.image, args.out / "queries" / query, 92)
            rows.append(truth_row(query, f"{name}.png", "hard", final))
    write_csv(args.out / "truth.csv", COLUMNS, rows)
    say(f"{len(paths)} pictures, {len(rows)} queries")


def folder_count(text: str) -> tuple[Path, int | None]:
    """Read ``FOLDER`` or ``FOLDER=COUNT``."""
    folder, equals, count = text.rpartition("=")
    if equals and count.isdigit():
        path, number = Path(folder), int(count)
        found: tuple[Path, int | None] = (path, number)
    else:
        found = (Path(text), None)
    if not found[0].is_dir():
        raise SystemExit(f"{found[0]} is not a folder; give FOLDER or FOLDER=COUNT")
    return found


def main() -> None:
    """Run one of the two commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    bench = commands.add_parser("bench", help="references, edited copies and distractors")
    bench.add_argument("folders", nargs="+", metavar="FOLDER[=COUNT]", help="pictures; COUNT of them become references")
    bench.add_argument("--out", type=Path, required=True, help="folder to write, new or empty")
    bench.add_argument("--queries", type=int, default=2000, help="queries in all (default 2000)")
    bench.add_argument("--distractors", type=float, default=0.3, help="share of queries that copy nothing (0.3)")
    bench.add_argument("--side", type=int, default=384, help="longer side of all pictures in pixels (384)")
    bench.add_argument("--min-side", type=int, default=160, help="leave out pictures of a smaller shorter side (160)")
    bench.add_argument("--min-detail", type=float, default=0.06, help="leave out plainer pictures (0.06)")
    bench.add_argument("--split", type=int, default=1000, help="quarter pictures of this shorter side (0: never)")
    bench.add_argument("--exclude", type=Path, help="text file of file names to leave out, one a line")
    bench.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    bench.set_defaults(run=make_bench)
    pair = commands.add_parser("crops-and-pastes", help="of each picture one crop and one paste")
    pair.add_argument("images", type=Path, help="folder of pictures")
    pair.add_argument("--out", type=Path, required=True, help="folder to write, new or empty")
    pair.add_argument("--crop-share", type=float, default=0.25, help="share of the area that a crop keeps (0.25)")
    pair.add_argument("--share", type=float, default=0.25, help="share of the background that a paste covers (0.25)")
    pair.add_argument("--backgrounds", type=Path, help="folder of backgrounds (default: colour gradients)")
    pair.add_argument("--side", type=int, default=0, help="longer side of the queries (default: as they come out)")
    pair.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    pair.set_defaults(run=crops_and_pastes)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
