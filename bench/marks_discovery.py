"""Marks that images share: which are found in a batch, where, and whether a clean batch has none.

    python bench/marks_discovery.py PICTURES... [--fonts FOLDER]... [--batches 5] [--clean 20] [--held-out]
                                    [--unseen FOLDER]... [--leave-out LIST] [--no-network]
                                    [--sheets ../shared/samples/rudalle] [--only fixed,moving,clean,sheets] [--json]

Batches of 100 pictures are drawn from the folders, as many from each. The project's own renderer lays one mark, whose
agency does not matter here, over 25 or 10 of them: at one place, or at a new place in each. The masks are the
renderer's: a word is one region. As in the program, the watermark network points to images first; ``--no-network``
leaves it out. ``--held-out`` draws on the pictures and typefaces that the network's training left out; folders given by
``--unseen`` are used whole, but for the files that ``--leave-out`` names, one a line. ``--sheets`` is a folder of real
ruDALL-E images with ``labels.csv``; each sheet is a batch of its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.detect.watermark.discovery import FRAME_SIDE, discover
from forensics.detect.watermark.network import MarkModel
from forensics.detect.watermark.shared_mark import SharedMark, mark_mask
from forensics.metrics import wilson
from forensics.render.stock_fonts import find_fonts
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark
from forensics.render.stock_names import is_held_out
from forensics.thresholds import THRESHOLDS

BATCH = 100
_MOST_PIXELS = 30_000_000
_ASIDE = 96
CASES = {"fixed": (0.25, 0.1), "moving": (0.25, 0.1)}
ASKED = {0.25: 0.85, 0.1: 0.6}
LIMITS = {"fixed": THRESHOLDS["shared_mark"].value, "moving": THRESHOLDS["moving_mark"].value}


Masks = list[np.ndarray | None]


def find(images: Sequence[np.ndarray], network: MarkModel | None) -> tuple[list[SharedMark], Masks]:
    """Return the marks found, and where the network sees one: None for images to which it does not point."""
    frames = [np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for image in images]
    masks: Masks = [None] * len(images)
    if network is not None:
        opinions = [network.look(image) for image in images]
        masks = [
            np.asarray(cv2.resize(opinion.mask, (FRAME_SIDE, FRAME_SIDE), interpolation=cv2.INTER_LINEAR))
            if opinion.score >= THRESHOLDS["watermark_named"].value
            else None
            for opinion in opinions
        ]
    share = THRESHOLDS["shared_mark_share"].value
    return discover(frames, limits=LIMITS, share=share, masks=None if network is None else masks), masks


def luminance(image: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32) / 255


def piles_of(folders: Sequence[Path], *, held_out: bool, leave_out: frozenset[str] = frozenset()) -> list[list[Path]]:
    """Return the pictures that may be used, by folder."""
    piles = []
    for folder in folders:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
        files = [path for path in files if path.name not in leave_out]
        piles.append([path for path in files if not held_out or is_held_out(path.stem)])
    return piles


def batches(folders: Sequence[list[Path]], count: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Yield ``count`` batches of pictures that no other batch has, as far as they last."""
    rng = np.random.default_rng(seed)
    piles = [[files[place] for place in rng.permutation(len(files))] for files in folders]
    at = [0] * len(piles)
    for _ in range(count):
        made: list[np.ndarray] = []
        while len(made) < BATCH:
            pile = len(made) % len(piles)
            path = piles[pile][at[pile] % len(piles[pile])]
            at[pile] += 1
            try:
                made.append(square(path, rng))
            except (OSError, ValueError):
                continue
        yield made


def square(path: Path, rng: np.random.Generator) -> np.ndarray:
    """Return a square part of a picture at the side of a frame; drawings on nothing come on white, whole."""
    with Image.open(path) as image:
        if image.width * image.height > _MOST_PIXELS:
            raise ValueError("too large")
        image.draft("RGB", (1200, 1200))
        image.thumbnail((1200, 1200))
        layer = image.convert("RGBA")
    page = Image.new("RGBA", layer.size, "white")
    page.alpha_composite(layer)
    picture = page.convert("RGB")
    width, height = picture.size
    if min(width, height) < 64:
        raise ValueError("too small")
    if layer.getextrema()[3][0] < 255:
        side = max(width, height)
        whole = Image.new("RGB", (side, side), "white")
        whole.paste(picture, ((side - width) // 2, (side - height) // 2))
        picture = whole
    else:
        side = round(min(width, height) * rng.uniform(0.5, 1.0))
        x, y = int(rng.integers(0, width - side + 1)), int(rng.integers(0, height - side + 1))
        picture = picture.crop((x, y, x + side, y + side))
    return np.asarray(picture.resize((FRAME_SIDE, FRAME_SIDE), Image.Resampling.LANCZOS))


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def overlap(
    image: np.ndarray, mark: SharedMark, number: int, seen: np.ndarray | None, truth: np.ndarray | None
) -> float:
    found = mark_mask(luminance(image), mark, mark.members[number], z=LIMITS[mark.path], own=seen)
    return 0.0 if truth is None else iou(found > 0, truth)


def marked(
    pictures: list[np.ndarray], share: float, path: str, seed: int, fonts: list[Path]
) -> tuple[list[np.ndarray], list[np.ndarray | None], str]:
    """Lay one mark over a share of the pictures; return them, the masks, and the mark's layout."""
    rng = np.random.default_rng(seed)
    mark = random_stock_mark(rng, fonts=fonts, opacity=(0.3, 0.6))
    images, masks = [], []
    bearing = set(rng.permutation(len(pictures))[: round(share * len(pictures))].tolist())
    for number, picture in enumerate(pictures):
        if number not in bearing:
            images.append(picture)
            masks.append(None)
            continue
        # one placing for all; a mark that moves is laid over a larger page from which the picture is cut again
        aside = np.zeros(2, int) if path == "fixed" else rng.integers(0, _ASIDE, 2)
        border = [(int(by), (0 if path == "fixed" else _ASIDE) - int(by)) for by in aside]
        page = np.pad(picture, [*border, (0, 0)], mode="reflect")
        done = draw_stock_mark(page, mark, np.random.default_rng(seed))
        y, x = (int(by) for by in aside)
        height, width = picture.shape[:2]
        images.append(done.image[y : y + height, x : x + width])
        masks.append(np.asarray(done.mask > 127)[y : y + height, x : x + width])
    return images, masks, mark.layout


def measure_marked(
    folders: Sequence[list[Path]], path: str, share: float, count: int, fonts: list[Path], network: MarkModel | None
) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for number, pictures in enumerate(batches(folders, count, seed=round(1000 * share) + len(path))):
        images, masks, layout = marked(pictures, share, path, 7 * number + 1, fonts)
        started = time.perf_counter()
        marks, seen = find(images, network)
        seconds = time.perf_counter() - started
        best = {"iou": 0.0, "members": 0, "false": 0}
        for mark in marks:
            own = [n for n in mark.members if masks[n] is not None]
            overlaps = [overlap(images[n], mark, n, seen[n], masks[n]) for n in own]
            here = {
                "iou": round(float(np.median(overlaps)), 3) if overlaps else 0.0,
                "members": len(own),
                "false": len(mark.members) - len(own),
                "p": mark.p_value,
            }
            best = max(best, here, key=lambda entry: entry["members"])
        found.append({**best, "layout": layout, "marks": len(marks), "seconds": round(seconds, 1)})
        print(path, share, found[-1], file=sys.stderr, flush=True)
    held = sum(entry["iou"] >= ASKED[share] for entry in found)
    return {
        "path": path,
        "share": share,
        "batches": len(found),
        "discovered": sum(entry["members"] > 0 for entry in found),
        "iou_median": float(np.median([entry["iou"] for entry in found])),
        "iou_asked": ASKED[share],
        "iou_held": held,
        "listed": sum(entry["members"] for entry in found) / max(1, round(share * BATCH) * len(found)),
        "listed_falsely": sum(entry["false"] for entry in found),
        "each": found,
    }


def measure_clean(folders: Sequence[list[Path]], count: int, network: MarkModel | None) -> dict[str, Any]:
    marks = []
    for pictures in batches(folders, count, seed=99):
        marks.append(len(find(pictures, network)[0]))
        print("clean", marks[-1], file=sys.stderr, flush=True)
    clean = sum(number == 0 for number in marks)
    return {"batches": len(marks), "without_discovery": clean, "interval": wilson(clean, len(marks))}


def measure_sheets(folder: Path, network: MarkModel | None) -> list[dict[str, Any]]:
    """Every sheet with iStock's tile as a batch of its own: is the tile found, and on which images?"""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    results = []
    for sheet in sorted({row["file"].rsplit("_", 1)[0] for row in rows}):
        own = [row for row in rows if row["file"].rsplit("_", 1)[0] == sheet]
        bearing = {n for n, row in enumerate(own) if row["watermark"] == "istock"}
        images = []
        for row in own:
            with Image.open(folder / row["file"]) as image:
                images.append(
                    np.asarray(image.convert("RGB").resize((FRAME_SIDE, FRAME_SIDE), Image.Resampling.BICUBIC))
                )
        marks, _ = find(images, network)
        listed = [set(mark.members) for mark in marks]
        hits = [members for members in listed if members & bearing]
        results.append(
            {
                "sheet": sheet,
                "images": len(own),
                "with_tile": len(bearing),
                "marks": len(marks),
                "tile_found_on": len(hits[0] & bearing) if hits else 0,
                "other_images": sum(len(members - bearing) for members in listed),
            }
        )
        print(results[-1], file=sys.stderr, flush=True)
    return results


def measure(
    folders: Sequence[list[Path]],
    *,
    fonts: list[Path],
    network: MarkModel | None,
    count: int = 5,
    clean: int = 20,
    sheets: Path | None = None,
    only: Sequence[str] = ("fixed", "moving", "clean", "sheets"),
) -> dict[str, Any]:
    """Return every figure of this benchmark."""
    result: dict[str, Any] = {}
    for path, shares in CASES.items():
        if path in only:
            result[path] = [measure_marked(folders, path, share, count, fonts, network) for share in shares]
    if "clean" in only:
        result["clean"] = measure_clean(folders, clean, network)
    if "sheets" in only and sheets is not None and sheets.is_dir():
        result["sheets"] = measure_sheets(sheets, network)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path, help="folders of pictures without marks")
    parser.add_argument("--fonts", type=Path, action="append", default=[], help="folders of typefaces")
    parser.add_argument("--batches", type=int, default=5, help="batches a case (default 5)")
    parser.add_argument("--clean", type=int, default=20, help="clean batches (default 20)")
    parser.add_argument("--sheets", type=Path, default=Path("../shared/samples/rudalle"))
    parser.add_argument("--held-out", action="store_true", help="pictures and typefaces that training left out alone")
    parser.add_argument("--unseen", type=Path, action="append", default=[], help="folders of pictures used whole")
    parser.add_argument("--leave-out", type=Path, help="names of files of --unseen that are not used, one a line")
    parser.add_argument("--no-network", action="store_true", help="from the images alone")
    parser.add_argument("--only", default="fixed,moving,clean,sheets")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    only = given.only.split(",")
    if not (given.pictures or given.unseen) and set(only) - {"sheets"}:
        parser.error("give folders of pictures")
    leave_out = frozenset(given.leave_out.read_text("utf-8").split("\n")) if given.leave_out else frozenset()
    cv2.setNumThreads(1)
    result = measure(
        [
            *piles_of(given.pictures, held_out=given.held_out),
            *piles_of(given.unseen, held_out=False, leave_out=leave_out),
        ],
        fonts=find_fonts(given.fonts, held_out=True if given.held_out else None),
        network=None if given.no_network else MarkModel(threads=1),
        count=given.batches,
        clean=given.clean,
        sheets=given.sheets,
        only=only,
    )
    if given.json:
        print(json.dumps(result, indent=2))
        return
    for case in (*result.get("fixed", ()), *result.get("moving", ())):
        print(
            f"{case['path']:<7} on {case['share']:.0%} of {BATCH}: discovered in {case['discovered']} of "
            f"{case['batches']} batches, mask IoU median {case['iou_median']:.2f}, {case['iou_held']} of "
            f"{case['batches']} at {case['iou_asked']} or more; {case['listed']:.0%} of the images with it listed, "
            f"{case['listed_falsely']} others"
        )
    if "clean" in result:
        low, high = result["clean"]["interval"]
        print(
            f"clean batches without a discovery: {result['clean']['without_discovery']} of "
            f"{result['clean']['batches']} (95 %: {low:.2f} to {high:.2f})"
        )
    for sheet in result.get("sheets", ()):
        print(
            f"sheet {sheet['sheet']}: {sheet['marks']} marks; iStock's tile on {sheet['tile_found_on']} of "
            f"{sheet['with_tile']} images with it, {sheet['other_images']} other images listed"
        )


if __name__ == "__main__":
    main()
