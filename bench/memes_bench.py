"""Makes a bench of memes from any folder of pictures: templates, queries and ``truth.csv``.

    python bench/memes_bench.py PICTURES --out BENCH --templates 75 --queries 320 --photos 120

Some pictures become templates, some templates that no index knows, the rest photographs (plain and captioned) and the
grounds on which memes are pasted. A query's kind is what was done to it: ``caption``, ``bar``, a crop, a mild or strong
distortion as by an autoencoder, mirrored, ``redraw`` (painted from memory) or ``screenshot`` (a part of another
picture, or of an application's window). The columns are those that ``bench/marks_memes.py`` reads.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.render.layouts import screenshot
from forensics.render.memes import caption, decode_again, pseudo_russian, repaint
from forensics.render.text import caption_bar

SIDE = 448
KINDS = (
    "caption",
    "bar",
    "caption+crop+jpeg",
    "caption+crop50+vq",
    "caption+vq",
    "caption+strongvq",
    "mirror+caption+vq",
    "caption+redraw",
    "screenshot",
)
PLAIN = ("caption", "bar", "caption+crop+jpeg", "caption+vq", "caption+strongvq")


def read(path: Path) -> Any:
    """Return (H, W, 3) uint8 with a longer side of 448 pixels."""
    picture = Image.open(path).convert("RGB")
    factor = SIDE / max(picture.size)
    return np.asarray(picture.resize([max(16, round(v * factor)) for v in picture.size], Image.Resampling.LANCZOS))


def cut(image: Any, share: float, rng: np.random.Generator) -> Any:
    """Return a random window with ``share`` of both sides."""
    h, w = image.shape[:2]
    ch, cw = round(h * share), round(w * share)
    y, x = int(rng.integers(0, h - ch + 1)), int(rng.integers(0, w - cw + 1))
    return image[y : y + ch, x : x + cw]


def pasted(image: Any, ground: Any, rng: np.random.Generator) -> Any:
    """Return the picture on a square photograph or in an application's window, the window on any ground."""
    if rng.random() < 0.3:
        return screenshot(image, rng=rng, text=pseudo_russian(rng, 1).title()).image
    canvas = np.asarray(Image.fromarray(ground).resize((SIDE, SIDE))).copy()
    factor = SIDE * rng.uniform(0.45, 0.68) / max(image.shape)
    w, h = (max(8, round(v * factor)) for v in (image.shape[1], image.shape[0]))
    x, y = int(rng.integers(0, SIDE - w + 1)), int(rng.integers(0, SIDE - h + 1))
    canvas[y : y + h, x : x + w] = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.LANCZOS))
    return canvas


def edited(image: Any, kind: str, ground: Any, rng: np.random.Generator) -> Any:
    """Return what ``kind`` makes of the picture."""
    scale = float(rng.uniform(0.05, 0.1))
    if kind == "bar":
        return caption_bar(image, text=pseudo_russian(rng, 3), at_bottom=rng.random() < 0.2, scale=scale).image
    if kind == "mirror+caption+vq":
        image = image[:, ::-1]
    image = caption(np.ascontiguousarray(image), rng=rng, scale=scale).image
    if kind == "caption+crop+jpeg":
        return cut(image, float(rng.uniform(0.75, 0.95)), rng)
    if kind == "caption+crop50+vq":
        return decode_again(cut(image, float(rng.uniform(0.66, 0.75)), rng), strength=0.2, rng=rng).image
    if kind.endswith("vq"):
        low, high = (0.6, 1.0) if kind.endswith("strongvq") else (0.1, 0.4)
        return decode_again(image, strength=float(rng.uniform(low, high)), rng=rng).image
    if kind.endswith("redraw"):
        return repaint(image, strength=float(rng.uniform(0.7, 1.0)), rng=rng).image
    return pasted(image, ground, rng) if kind == "screenshot" else image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--templates", type=int, default=75)
    parser.add_argument("--unknown", type=int, default=20)
    parser.add_argument("--queries", type=int, default=320)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    files = sorted(p for p in arguments.pictures.iterdir() if p.suffix.lower() in {".jpg", ".png", ".webp"})
    files = [files[k] for k in rng.permutation(len(files))]
    known, unknown = files[: arguments.templates], files[arguments.templates :][: arguments.unknown]
    photos = files[arguments.templates + arguments.unknown :]
    if len(photos) < 10:
        parser.error(f"{len(files)} pictures given; templates and unknown ones leave {len(photos)}, 10 needed")
    (arguments.out / "templates").mkdir(parents=True)
    (arguments.out / "queries").mkdir()
    for path in known:
        Image.fromarray(read(path)).save(arguments.out / "templates" / f"{path.stem}.jpg", quality=92)
    rows: list[tuple[str, str, str, str, int]] = []

    def save(image: Any, name: str, kind: str, edits: str, captioned: int) -> None:
        query = f"m{len(rows):04d}.jpg"
        Image.fromarray(np.ascontiguousarray(image)).save(
            arguments.out / "queries" / query, quality=int(rng.integers(82, 94))
        )
        rows.append((query, name, kind, edits, captioned))

    def ground() -> Any:
        return read(photos[int(rng.integers(len(photos)))])

    for number in range(arguments.queries):
        path, kind = known[number % len(known)], KINDS[(number + number // len(known)) % len(KINDS)]
        save(edited(read(path), kind, ground(), rng), f"{path.stem}.jpg", "known", kind, 1)
    for number, path in enumerate(unknown * 3):
        kind = KINDS[(number + number // len(unknown)) % len(KINDS)]
        save(edited(read(path), kind, ground(), rng), "", "unknown_template", kind, 1)
    for number, path in enumerate(photos[: arguments.photos]):
        save(read(path), "", "photo", "", 0)
        kind = PLAIN[number % len(PLAIN)]
        save(edited(read(path), kind, ground(), rng), "", "captioned_photo", kind, 1)
    with (arguments.out / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "template", "kind", "edits", "captioned"))
        writer.writerows(rows)
    print(f"{len(known)} templates, {len(rows)} queries in {arguments.out}")


if __name__ == "__main__":
    main()
