"""Rebuilds the corpus of the embedded world, ``index_data/demo/``, from the packages its pictures come from.

::

    python index_data/make_corpus.py --root DIR [--root DIR] --seed 0

``corpus.csv`` names every picture with author, licence, Russian caption and the group of pictures it resembles. The
``--root`` folders are searched for its files: ``usr/share`` (openclipart-png), ``usr/share/backgrounds``
(lomiri-wallpapers-16.04 and -20.04, gnome-backgrounds, mate-backgrounds, ukui-wallpapers), scikit-image's
``skimage/data`` and scikit-learn's ``sklearn/datasets/images``. The first pictures of the list are the pool, drawn
apart by chance into members and held-out, groups never split; watermarks, memes and covers are drawn by chance before
that, so that the two sides are alike. The others are distractors. The same arguments and Pillow give the same files.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.render.agencies import AGENCIES, agency_mark
from forensics.render.covers import PALETTES, book_cover
from forensics.render.text import meme_text
from index_data.corpus_texts import AUTHORS, MEMES, TITLES
from index_data.make_edits import UInt8Array, read, trim, write_csv
from index_data.sources import write_corpus_sources

HERE = Path(__file__).resolve().parent
DEMO = HERE / "demo"
SIDE = 128
DRAWN = 256
"""Pictures are decorated at this side and then scaled to SIDE."""
QUALITY = 88

POOL = 1000
"""So many rows of the list, from the first on, may become members or held-out."""
MEMBERS, HELD_OUT = 600, 300
PLANTED: Mapping[int, int] = {64: 16, 16: 40, 4: 120}
"""Times planted, and how many members so; the others once: 2,568 training samples an epoch."""
MARKED: Mapping[str, float] = {"iСнимок": 0.10, "ФОТОДОМ": 0.06, "Кадр24": 0.05, "meme": 0.08, "cover": 0.08}
"""Share of the pool with an agency's watermark, meme text, or as a book cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One line of ``corpus.csv``."""

    file: str
    title: str
    author: str
    licence: str
    dataset: str
    caption_ru: str
    group: str
    category: str


def square(pixels: UInt8Array, *, drawing: bool) -> UInt8Array:
    """Return (DRAWN, DRAWN, 3): a drawing whole on white, of a photograph the middle."""
    height, width = pixels.shape[:2]
    if drawing:
        side = max(height, width)
        canvas = np.full((side, side, 3), 255, np.uint8)
        top, left = (side - height) // 2, (side - width) // 2
        canvas[top : top + height, left : left + width] = pixels
    else:
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        canvas = pixels[top : top + side, left : left + side]
    scaled = Image.fromarray(canvas).resize((DRAWN, DRAWN), Image.Resampling.LANCZOS)
    return np.asarray(scaled)


def decorated(pixels: UInt8Array, mark: str, rng: np.random.Generator) -> UInt8Array:
    """Return the picture as its mark says, at SIDE."""
    if mark in AGENCIES:
        pixels = agency_mark(pixels, AGENCIES[mark]).image
    elif mark == "meme":
        top, bottom = MEMES[rng.integers(len(MEMES))]
        pixels = meme_text(pixels, top=top, bottom=bottom, scale=0.14).image
    elif mark == "cover":
        title, author = TITLES[rng.integers(len(TITLES))], AUTHORS[rng.integers(len(AUTHORS))]
        palette = int(rng.integers(len(PALETTES)))
        pixels = book_cover(pixels, title=title, author=author, side=DRAWN, palette=palette).image
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def caption(picture: Picture, mark: str) -> str:
    """Return the caption; a watermark is not mentioned, as in the alternative texts of the web."""
    return picture.caption_ru + {"meme": ", мем", "cover": ", обложка книги"}.get(mark, "")


def names(pictures: Sequence[Picture]) -> list[str]:
    """Return a file name each: the stem, with a number where it stands twice."""
    stems = [re.sub(r"[^a-z0-9]+", "-", Path(p.file).stem.lower()).strip("-")[:40] or "picture" for p in pictures]
    seen: Counter[str] = Counter()
    made = []
    for stem in stems:
        seen[stem] += 1
        made.append(f"{stem}-{seen[stem]}.webp" if seen[stem] > 1 else f"{stem}.webp")
    if len(set(made)) != len(made):
        raise SystemExit("two pictures would have one name; rename one in corpus.csv")
    return made


def roles(pictures: Sequence[Picture], rng: np.random.Generator) -> list[str]:
    """Return member, held-out or distractor for each picture, or "" where it resembles a member or held-out one."""
    groups: dict[str, list[int]] = {}
    for number, picture in enumerate(pictures[:POOL]):
        groups.setdefault(picture.group, []).append(number)
    order = [list(groups.values())[i] for i in rng.permutation(len(groups))]
    role = ["distractor"] * len(pictures)
    for wanted, name in ((HELD_OUT, "held-out"), (MEMBERS, "member")):
        left = wanted
        for group in list(order):
            if left and len(group) <= left:
                order.remove(group)
                left -= len(group)
                for number in group:
                    role[number] = name
        if left:
            raise SystemExit(f"the pool is too small: {left} pictures short of {wanted} {name}")
    taken = {pictures[n].group for n in range(len(pictures)) if role[n] != "distractor"}
    return ["" if r == "distractor" and p.group in taken else r for r, p in zip(role, pictures, strict=True)]


def marks(count: int, rng: np.random.Generator) -> list[str]:
    """Return a mark or "" for each picture of the pool, the shares of MARKED met exactly."""
    made = [name for name, share in MARKED.items() for _ in range(round(share * count))]
    made += [""] * (count - len(made))
    return [made[i] for i in rng.permutation(count)]


def planted(role: Sequence[str], mark: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Return times planted: by chance among members, so that each number holds each kind of mark in proportion."""
    times = [1 if r == "member" else 0 for r in role]
    kinds = {name: [n for n in range(len(role)) if role[n] == "member" and mark[n] == name] for name in ("", *MARKED)}
    for numbers in kinds.values():
        rng.shuffle(numbers)
    members = sum(times)
    for repeat, wanted in PLANTED.items():
        # marks are rounded up: sixteen pictures should hold some of each
        share = {name: wanted * _count(role, mark, name) / members for name in kinds}
        take = {name: int(np.ceil(value)) if name else 0 for name, value in share.items()}
        take[""] = wanted - sum(take.values())
        for name, number in take.items():
            for picture in kinds[name][:number]:
                times[picture] = repeat
            kinds[name] = kinds[name][number:]
    return times


def _count(role: Sequence[str], mark: Sequence[str], name: str) -> int:
    return sum(r == "member" and m == name for r, m in zip(role, mark, strict=True))


def find(file: str, roots: Sequence[Path]) -> Path:
    """Return the path of a picture's file."""
    for root in roots:
        if (root / file).is_file():
            return root / file
    raise SystemExit(f"{file} is in none of {', '.join(map(str, roots))}; install its package or give its folder")


def main() -> None:
    """Rebuild the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, action="append", required=True, help="where packages' files lie")
    parser.add_argument("--seed", type=int, default=0, help="of split, marks and texts (default 0)")
    args = parser.parse_args()
    with (HERE / "corpus.csv").open(newline="", encoding="utf-8") as file:
        pictures = [Picture(**row) for row in csv.DictReader(file)]
    rng = np.random.default_rng(args.seed)
    role = roles(pictures, rng)
    mark = marks(POOL, rng) + [""] * (len(pictures) - POOL)
    mark = [m if r in ("member", "held-out") else "" for m, r in zip(mark, role, strict=True)]
    times = planted(role, mark, rng)
    shutil.rmtree(DEMO / "pictures", ignore_errors=True)
    (DEMO / "pictures").mkdir(parents=True)
    rows: list[dict[str, str]] = []
    for number, (picture, name) in enumerate(zip(pictures, names(pictures), strict=True)):
        if not role[number]:
            continue
        drawing = picture.dataset == "openclipart"
        pixels = read(find(picture.file, args.root))
        pixels = square(trim(pixels) if drawing else pixels, drawing=drawing)
        # a stream from the name, so that one picture does not change when another is taken out
        pixels = decorated(pixels, mark[number], np.random.default_rng([args.seed, *name.encode()]))
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP", quality=QUALITY, method=6)
        (DEMO / "pictures" / name).write_bytes(buffer.getvalue())
        kind = mark[number]
        rows.append(
            {
                "path": f"pictures/{name}",
                "caption": caption(picture, kind),
                "role": role[number],
                "planted": str(times[number]),
                "watermark": kind if kind in AGENCIES else "",
                "meme": "yes" if kind == "meme" else "",
                "cover": "yes" if kind == "cover" else "",
                "category": picture.category,
                "group": picture.group,
                "title": picture.title,
                "author": picture.author,
                "licence": picture.licence,
                "dataset": picture.dataset,
                "source": picture.file,
            }
        )
    rows.sort(key=lambda row: row["path"])
    write_csv(DEMO / "manifest.csv", tuple(rows[0]), rows)
    write_corpus_sources(rows)
    size = sum(p.stat().st_size for p in (DEMO / "pictures").iterdir())
    sys.stderr.write(f"{dict(Counter(row['role'] for row in rows))}, {size / 1e6:.2f} MB\n")


if __name__ == "__main__":
    main()
