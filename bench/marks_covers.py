"""Covers and mock-ups: average precision on held-out renderings, false alarms on pictures, real covers at hand.

    python bench/marks_covers.py --data PHOTOGRAPHS --data CLIP-ARTS [--fonts FOLDER] [--count 400]
        [--openclipart FOLDER] [--real FOLDER] [--photographs FOLDER ...] [--weights cover.onnx] [--sheet PNG] [--json]

Held-out renderings: typefaces, designs, settings and pictures that training leaves out, half of them spoilt as a
generator spoils pictures, from a seed that neither training nor the threshold used. The embedded corpus has 72 covers
of another renderer among its pictures (128 px). ``--openclipart`` is openclipart-png's folder, in which 14 drawings of
books, discs and a poster are known; ``--real`` holds real covers in folders ``book``, ``disc``, ``website`` and
``poster``; ``--photographs`` are pictures without any cover, counted as false alarms. Of ruDALL-E's own images at hand
(``$FORENSICS_SHARED/samples/rudalle``, 76) none is a cover by eye. Real covers are ranked against all these pictures.
The held-out renderings are looked at once more with a stock mark drawn over each: how many covers are claimed and how
many pictures falsely, before and after the mark that the watermark network sees is filled in.
``--sheet`` writes what was wrongly claimed and wrongly passed over.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from forensics.detect.cover import CoverDetector
from forensics.detect.cover_network import CLASSES, CoverModel
from forensics.flows.detectors import watermark
from forensics.images import decode
from forensics.metrics import wilson
from forensics.render.lettering import Lettering
from forensics.render.stock_fonts import find_fonts
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark
from forensics.thresholds import THRESHOLDS
from forensics.train.cover import average_precision
from forensics.train.cover_samples import Recipe, cover_sample, read_pool

SEED = 90210
ASKED = 0.85
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
REAL = {
    "computer/bb_cd_.png": "disc",
    "computer/bb_dvd_.png": "disc",
    "computer/cd_architetto_francesco__01.png": "disc",
    "computer/etiquette_cd-rom_01.png": "disc",
    "computer/icons/applications/stylized_cd_jakob_chaosi_.png": "disc",
    "computer/icons/lemon-theme/devices/dvd_mount.png": "disc",
    "electronics/cd.png": "disc",
    "electronics/compact_disc.png": "disc",
    "recreation/music/45_rpm_record_gerald_g._01.png": "disc",
    "recreation/music/45_rpm_record_gerald_g._02.png": "disc",
    "education/books/book_01.png": "book",
    "education/books/closed_book_01.png": "book",
    "education/books/paperback_book_black_gal_.png": "book",
    "special/poster-example_01.png": "poster",
}
"""Drawings of openclipart-png, by eye."""

Shown = list[tuple[float, np.ndarray]]


def detector(weights: Path | None = None) -> CoverDetector:
    """Return the program's detector, or one with other weights."""
    threshold = THRESHOLDS["cover"]
    return CoverDetector(
        threshold=threshold.value,
        threshold_source=threshold.source,
        unmarked=THRESHOLDS["cover_unmarked"].value,
        model=CoverModel(weights, threads=1),
    )


def renderings(
    found: CoverDetector, data: Sequence[Path], fonts: Sequence[Path], *, count: int, sheet: Shown | None = None
) -> dict[str, Any]:
    """Measure held-out renderings: AP with a bootstrap interval, and what the threshold makes of each group."""
    pool = read_pool(data, held_out=True, most=300, seed=SEED)
    letters = Lettering.found(fonts, held_out=True if fonts else None)
    drawn = [
        cover_sample(number, pool, letters, Recipe(spoilt=0.5), seed=SEED, unseen=number % 3 > 0)
        for number in range(count)
    ]
    chance = np.concatenate([found.scores([sample.image]) for sample in drawn])
    score, labels = 1 - chance[:, 0], np.array([sample.label for sample in drawn])
    is_cover, claimed = labels > 0, score >= found.threshold
    kind_right = chance[:, 1:].argmax(1) + 1 == labels
    result: dict[str, Any] = {
        "renderings": count,
        "covers": int(is_cover.sum()),
        **ranked(score, is_cover),
        "false alarms": counted(claimed[~is_cover]),
        "kind right of those found": counted(kind_right[is_cover & claimed]),
    }
    groups = {
        "plain": np.array([not sample.spoilt for sample in drawn]),
        "spoilt": np.array([bool(sample.spoilt) for sample in drawn]),
        "up to 192 px": np.array([max(sample.image.shape[:2]) <= 192 for sample in drawn]),
        "seen designs": np.arange(count) % 3 == 0,
        "unseen designs": np.arange(count) % 3 > 0,
    }
    for kind in range(1, len(CLASSES)):
        groups[CLASSES[kind]] = labels == kind
    for name, chosen in groups.items():
        result[f"found, {name}"] = counted(claimed[chosen & is_cover])
        if name not in CLASSES:
            result[f"AP, {name}"] = round(average_precision(score[chosen], is_cover[chosen]), 3)
    if sheet is not None:
        wrong = np.flatnonzero(claimed != is_cover)
        sheet += [(float(score[place]), drawn[place].image) for place in wrong]
    return result


def under_marks(found: CoverDetector, data: Sequence[Path], fonts: Sequence[Path], *, count: int) -> dict[str, Any]:
    """Draw a stock mark over each held-out rendering; count claims before and after the mark is filled in."""
    pool = read_pool(data, held_out=True, most=300, seed=SEED)
    letters = Lettering.found(fonts, held_out=True if fonts else None)
    faces = find_fonts(fonts, held_out=True if fonts else None)
    marks = watermark()
    rows = []
    for number in range(count):
        sample = cover_sample(number, pool, letters, Recipe(spoilt=0.5), seed=SEED + 1, unseen=number % 3 > 0)
        rng = np.random.default_rng((SEED, number))
        mark = random_stock_mark(rng, fonts=faces, opacity=(0.3, 0.7), held_out_name=True)
        image = draw_stock_mark(sample.image, mark, rng).image
        seen = marks.detect([image])[0]
        own = found.detect([image])[0]
        left = [one for one in own if found.reconsider(image, one, seen) is not None]
        bare = bool(found.detect([sample.image])[0])
        rows.append((sample.label > 0, bare, bool(seen), bool(own), bool(left)))
    cover, bare, seen, before, after = np.array(rows).T
    return {
        "renderings": count,
        "mark found": counted(seen),
        "covers found without a mark": counted(bare[cover]),
        "covers found under a mark": counted(before[cover]),
        "and still, with the mark filled in": counted(after[cover]),
        "false alarms without a mark": counted(bare[~cover]),
        "false alarms under a mark": counted(before[~cover]),
        "and still, with the mark filled in (others)": counted(after[~cover]),
    }


def standing(found: CoverDetector, claimed: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return (count,) bool: which of the claimed images an audit still claims that sees their stock marks too."""
    marks = watermark()
    still = [
        found.reconsider(image, found.detect([image])[0][0], marks.detect([image])[0]) is not None for image in claimed
    ]
    return np.array(still + [False] * (count - len(still)), np.bool_)


def ranked(score: np.ndarray, is_cover: np.ndarray) -> dict[str, Any]:
    """Return AP with its bootstrap interval, and what is asked."""
    rng, count = np.random.default_rng(0), len(score)
    again = [average_precision(score[chosen], is_cover[chosen]) for chosen in rng.integers(0, count, (1000, count))]
    low, high = np.quantile(again, [0.025, 0.975])
    return {
        "AP": round(average_precision(score, is_cover), 3),
        "AP, 95 %": [round(float(low), 3), round(float(high), 3)],
        "asked": ASKED,
    }


def chances(found: CoverDetector, files: Iterable[Path]) -> list[tuple[Path, np.ndarray, np.ndarray]]:
    """Return path, pixels and chances of every file that can be read."""
    shown = [(path, decode(path.read_bytes()).pixels) for path in files]
    return [(path, pixels, found.scores([pixels])[0]) for path, pixels in shown if pixels is not None]


def pictures(
    found: CoverDetector, files: Iterable[Path], *, sheet: Shown | None = None
) -> tuple[dict[str, Any], np.ndarray]:
    """Count false alarms on pictures without a cover; return the scores too."""
    kept = chances(found, sorted(files))
    score = np.array([1 - chance[0] for *_, chance in kept])
    claimed = score >= found.threshold
    if sheet is not None:
        sheet += [(float(score[place]), kept[place][1]) for place in np.flatnonzero(claimed)]
    made = {
        "pictures": len(kept),
        "false alarms": counted(claimed),
        "and still, with marks filled in": counted(
            standing(found, [kept[place][1] for place in np.flatnonzero(claimed)], len(kept))
        ),
        "highest": [f"{kept[place][0].name} {score[place]:.2f}" for place in np.argsort(-score)[:6]],
    }
    return made, score


def real(
    found: CoverDetector, files: dict[Path, str], others: np.ndarray, *, each: bool, sheet: Shown | None = None
) -> dict[str, Any]:
    """Say what is made of real covers or drawings of some, and how they rank among the scores of ``others``."""
    kept = chances(found, files)
    score = np.array([1 - chance[0] for *_, chance in kept])
    kinds = np.array([files[path] for path, *_ in kept])
    said = np.array([CLASSES[1 + int(chance[1:].argmax())] for *_, chance in kept])
    claimed, right = score >= found.threshold, kinds == said
    if sheet is not None:
        sheet += [(float(score[place]), kept[place][1]) for place in np.flatnonzero(~claimed)]

    def against(chosen: np.ndarray) -> dict[str, Any]:
        ours = score[chosen]
        return ranked(np.concatenate([ours, others]), np.arange(len(ours) + len(others)) < len(ours))

    made: dict[str, Any] = {"covers": len(kept), "other pictures": len(others)}
    if len(others):
        made |= against(np.ones(len(kept), np.bool_))
    made |= {
        "found": counted(claimed),
        "kind right of those found": counted(right[claimed]) if claimed.any() else "0 of 0",
    }
    for kind in CLASSES[1:]:
        chosen = kinds == kind
        if chosen.any():
            rank = f"AP {against(chosen)['AP']:.3f}, " if len(others) else ""
            made[kind] = f"{rank}found {counted(claimed[chosen])}"
    if each:
        rows = zip((path for path, *_ in kept), kinds, said, score, strict=True)
        made["each"] = [f"{path.stem}: {kind}, taken for {taken} {value:.2f}" for path, kind, taken, value in rows]
    return made


def embedded(found: CoverDetector, *, others: int = 400) -> dict[str, Any]:
    """Measure the embedded corpus's covers against ``others`` of its other pictures."""
    from forensics.flows.world import embedded_corpus

    pictures = embedded_corpus().pictures
    rng = np.random.default_rng(SEED)
    shuffled = [pictures[place] for place in rng.permutation(len(pictures)).tolist()]
    covers = [picture for picture in shuffled if picture.details.get("cover")]
    rest = [picture for picture in shuffled if not picture.details.get("cover")][:others]
    score = np.array(
        [1 - found.scores([decode(picture.path.read_bytes()).pixels])[0, 0] for picture in covers + rest]  # type: ignore[list-item]
    )
    is_cover = np.arange(len(score)) < len(covers)
    claimed = score >= found.threshold
    alarms = [rest[place - len(covers)].path.stem for place in np.flatnonzero(claimed & ~is_cover)]
    return {
        "covers": len(covers),
        "others": len(rest),
        "AP": round(average_precision(score, is_cover), 3),
        "found": counted(claimed[is_cover]),
        "false alarms": counted(claimed[~is_cover]),
        "which": alarms,
    }


def speed(found: CoverDetector, *, side: int = 256, times: int = 30) -> dict[str, Any]:
    """Time the whole path an image on one thread: the median in milliseconds, and of CPU time the mean."""
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)
    found.detect([image])
    laps, before = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        found.detect([image])
        laps.append(time.perf_counter() - began)
    used = (time.process_time() - before) / times
    return {
        "ms an image, median": round(1000 * float(np.median(laps)), 1),
        "CPU ms": round(1000 * used, 1),
        "asked": 60,
    }


def counted(hits: np.ndarray) -> str:
    """Return ``k of n (low to high)`` with Wilson's interval."""
    if not len(hits):
        return "0 of 0"
    low, high = wilson(int(hits.sum()), len(hits))
    return f"{int(hits.sum())} of {len(hits)} ({100 * low:.1f} to {100 * high:.1f} %)"


def report(
    *,
    data: Sequence[Path] = (),
    fonts: Sequence[Path] = (),
    count: int = 400,
    openclipart: Path | None = None,
    real_covers: Path | None = None,
    photographs: Sequence[Path] = (),
    weights: Path | None = None,
    sheet: Shown | None = None,
) -> dict[str, Any]:
    """Return everything that can be measured with what is given, by the name of what it was measured on."""
    found = detector(weights)
    made: dict[str, Any] = {"threshold": found.threshold, "speed": speed(found)}
    if data:
        made["held-out renderings"] = renderings(found, data, fonts, count=count, sheet=sheet)
        made["held-out renderings under stock marks"] = under_marks(found, data, fonts, count=count)
    made["embedded corpus"] = embedded(found)
    shared = Path(os.environ.get("FORENSICS_SHARED", "../shared"))
    folders = {str(folder): folder for folder in photographs}
    folders["ruDALL-E's own images"] = shared / "samples" / "rudalle"
    folders["references of bench/copies"] = shared / "bench" / "copies" / "references"
    others = [np.empty(0)]
    for name, folder in folders.items():
        files = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES]
        if files:
            made[name], score = pictures(found, files, sheet=sheet)
            others.append(score)
    score = np.concatenate(others)
    if openclipart:
        drawings = {openclipart / name: kind for name, kind in REAL.items()}
        made["drawings of covers"] = real(found, drawings, score, each=True, sheet=sheet)
    if real_covers:
        kept = {path: kind for kind in CLASSES[1:] for path in sorted((real_covers / kind).glob("*"))}
        made["real covers"] = real(found, kept, score, each=False, sheet=sheet)
    return made


def write_sheet(shown: Shown, path: Path, *, side: int = 128) -> None:
    """Write what was judged wrongly, highest score first."""
    shown = sorted(shown, key=lambda one: -one[0])[:120]
    rows = max(1, -(-len(shown) // 12))
    canvas = Image.new("RGB", (12 * side, rows * side), "white")
    for number, (_, image) in enumerate(shown):
        canvas.paste(Image.fromarray(image).resize((side, side)), (number % 12 * side, number // 12 * side))
    canvas.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", default=[], help="folder of pictures to draw covers on")
    parser.add_argument("--fonts", type=Path, action="append", default=[], help="folder of typefaces")
    parser.add_argument("--count", type=int, default=400, help="renderings (default 400)")
    parser.add_argument("--openclipart", type=Path, help="openclipart-png's folder")
    parser.add_argument(
        "--real",
        dest="real_covers",
        type=Path,
        help="folder of real covers, in folders book, disc, website and poster",
    )
    parser.add_argument(
        "--photographs", type=Path, action="append", default=[], help="folder of pictures without covers"
    )
    parser.add_argument("--weights", type=Path, help="another cover.onnx")
    parser.add_argument("--sheet", type=Path, help="write what was judged wrongly as a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = vars(parser.parse_args())
    as_json, sheet_path = given.pop("json"), given.pop("sheet")
    sheet: Shown = []
    result = report(**given, sheet=sheet)
    if sheet_path:
        write_sheet(sheet, sheet_path)
    if as_json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for name, rows in result.items():
        if not isinstance(rows, dict):
            print(f"{name}: {rows}")
            continue
        print(f"{name}:")
        for key, value in rows.items():
            print(f"  {key}: {value}")


if __name__ == "__main__":
    main()
