"""Stock marks, memes and covers: what is asked of the detectors and what they reach.

    python bench/marks.py [--shared ../shared] [--data FOLDER]... [--fonts FOLDER]... [--backgrounds LIST]
                          [--cover-data FOLDER]... [--covers FOLDER] [--openclipart FOLDER]
                          [--only samples,synthetic,photographs,speed,discovery,memes,covers] [--misses FOLDER] [--json]

``--data`` and ``--fonts`` are the folders that the detector was trained with: the synthetic set draws on the fifth that
training left out, and on invented names that it never saw. ``--backgrounds`` is a file with the names of photographs
that were backgrounds in training, one a line; they are left out of the count of false alarms. ``--misses`` gets what
was missed and what was found falsely, to be looked at. Intervals are Wilson's at 95 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics.detect.watermark.detector import WatermarkDetector
from forensics.detect.watermark.network import MarkModel
from forensics.flows.composing import composer
from forensics.images import decode
from forensics.metrics import wilson
from forensics.render.stock_fonts import BUNDLED
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark
from forensics.thresholds import THRESHOLDS
from forensics.train.composites import BRAND_NAMES, VISIBLE_CONTRAST, Composite, Recipe
from forensics.train.cover import average_precision
from forensics.train.mark_check import MarkScores, check_marks, threshold_at

PARTS = ("samples", "synthetic", "photographs", "speed", "discovery", "memes", "covers")
OWNERS = {"stock_1": "Bigstock", "stock_3": "Shutterstock", "stock_5": "Depositphotos", "fotolia": "Fotolia"}
"""Whose mark the sample previews bear, by the start of the file's name; seen by eye."""
BEARING = frozenset(
    {
        "n01614925_bald_eagle.jpg",
        "n02493793_spider_monkey.jpg",
        "n02669723_academic_gown.jpg",
        "n03240683_drilling_platform.jpg",
        "n01796340_ptarmigan.jpg",
        "n01770081_harvestman.jpg",
        "n01968897_chambered_nautilus.jpg",
        "n03095699_container_ship.jpg",
        "n03868863_oxygen_mask.jpg",
        "n09288635_geyser.jpg",
        "q01340.jpg",
        "q01348.jpg",
    }
)
"""Photographs of the set that bear a mark or a photographer's credit themselves; seen by eye."""
SIDES = (160, 192, 224, 256)
"""Sides in pixels at which the larger pictures of the synthetic set are spoilt: a third of the set is at 128 px."""
MARKS_TIMED = 40
PLAIN = re.compile(r"crop90|crop50|resize|jpeg|grayscale|color_jitter|blur|noise|aspect|hflip|pad|rotate15")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table."""

    what: str
    asked: str
    reached: str
    holds: bool | None = None


def share(hits: int, total: int) -> str:
    """Return "k of n (low to high)"."""
    low, high = wilson(hits, total)
    return f"{hits} of {total} ({low:.3f} to {high:.3f})"


def detector() -> WatermarkDetector:
    limit, named = THRESHOLDS["watermark"], THRESHOLDS["watermark_named"]
    return WatermarkDetector(
        threshold=limit.value,
        threshold_source=limit.source,
        named_threshold=named.value,
        named_source=named.source,
        model=MarkModel(threads=1),
    )


def read(path: Path) -> np.ndarray:
    pixels = decode(path.read_bytes()).pixels
    if pixels is None:
        raise SystemExit(f"{path} cannot be read")
    return pixels


class Misses:
    """Keeps what was missed or found falsely, with what was claimed."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def keep(self, name: str, image: np.ndarray) -> None:
        """Write a picture, where a folder was given."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(self.folder / f"{name}.png")


def rudalle(marks: WatermarkDetector, folder: Path, misses: Misses) -> list[Row]:
    """Look at the real samples: iStock's tile found and named; the foot bar; false alarms by sheet."""
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = named = wrong = false = 0
    bearing = [row for row in rows if row["watermark"] == "istock"]
    clean = [row for row in rows if not row["watermark"]]
    details = []
    for row in rows:
        image = read(folder / row["file"])
        claims = marks.detect([image])[0]
        label = claims[0].label if claims else "-"
        if row["watermark"] == "istock":
            found += bool(claims)
            named += label == "iStock"
            wrong += bool(claims) and label not in ("iStock", "unknown agency")
            details.append(f"{row['file']}: {label} {marks.opinion(image).score:.2f}")
        elif row["watermark"]:
            details.append(f"{row['file']} ({row['watermark']}): {label} {marks.opinion(image).score:.2f}")
        else:
            false += bool(claims)
        if bool(claims) != bool(row["watermark"]):
            misses.keep(f"{'false' if claims else 'missed'}-{Path(row['file']).stem}", image)
    print("\n".join(details), file=sys.stderr)
    return [
        Row(
            what="ruDALL-E samples, iStock found (3 scenes)",
            asked="6 of 6",
            reached=share(found, len(bearing)),
            holds=found == len(bearing),
        ),
        Row(
            what="ruDALL-E samples, named iStock; wrongly",
            asked="6; 0",
            reached=f"{named}; {wrong}",
            holds=named == len(bearing) and wrong == 0,
        ),
        Row(
            what="ruDALL-E samples, false alarms",
            asked="at most 1 of 69",
            reached=share(false, len(clean)),
            holds=false <= 1,
        ),
    ]


def previews(marks: WatermarkDetector, folder: Path, misses: Misses) -> list[Row]:
    """Real previews of agencies, and clean photographs."""
    found = named = wrong = total = dirty = clean = 0
    for path in sorted(folder.glob("*.jpg")):
        image = read(path)
        claims = marks.detect([image])[0]
        label = claims[0].label if claims else "-"
        print(f"{path.name}: {label} {marks.opinion(image).score:.2f}", file=sys.stderr)
        owner = next((name for start, name in OWNERS.items() if path.name.startswith(start)), None)
        if owner is None:
            clean += 1
            dirty += bool(claims)
        else:
            total += 1
            found += bool(claims)
            named += label == owner
            wrong += bool(claims) and label not in (owner, "unknown agency")
        if bool(claims) != (owner is not None):
            misses.keep(f"{'false' if claims else 'missed'}-{path.stem}", image)
    return [
        Row(what="agencies' previews, found", asked="at least 7 of 8", reached=share(found, total), holds=found >= 7),
        Row(
            what="agencies' previews, named; wrongly",
            asked="at least 6; 0",
            reached=f"{named}; {wrong}",
            holds=named >= 6 and wrong == 0,
        ),
        Row(what="clean photographs beside them, found", asked="0", reached=f"{dirty} of {clean}", holds=dirty == 0),
    ]


def synthetic(
    model: MarkModel, marks: WatermarkDetector, make: Callable[[int], Composite], count: int, misses: Misses
) -> list[Row]:
    """Unseen typefaces, names and pictures, half faint, half spoilt by codes, a third at 128 px."""
    scores = check_marks(model, make, count)
    marked, none = scores.score[scores.marked], scores.score[~scores.marked]
    limit = threshold_at(none, 0.01)
    precision = average_precision(scores.score, scores.marked)
    recall = int((marked >= limit).sum())
    shipped = THRESHOLDS["watermark"].value
    iou = float(np.nanmean(scores.iou))
    rows = [
        Row(
            what=f"synthetic, average precision ({len(marked)} marked, {len(none)} not)",
            asked="at least 0.97",
            reached=f"{precision:.3f}",
            holds=precision >= 0.97,
        ),
        Row(
            what="synthetic, recall at 1 % false alarms",
            asked="at least 0.90",
            reached=share(recall, len(marked)),
            holds=recall >= 0.9 * len(marked),
        ),
        Row(
            what="synthetic, at the program's threshold: recall; false alarms",
            asked="",
            reached="; ".join(share(int((kind >= shipped).sum()), len(kind)) for kind in (marked, none)),
        ),
        Row(what="synthetic, mask IoU", asked="at least 0.60", reached=f"{iou:.3f}", holds=iou >= 0.6),
        *_seen(scores),
        *_bins(scores, limit),
        _unknown(scores, marks, make, shipped),
    ]
    for place in np.flatnonzero(scores.marked & (scores.score < limit))[:20]:
        misses.keep(f"missed-{scores.number[place]}", make(int(scores.number[place])).whole)
    for place in np.flatnonzero(~scores.marked & (scores.score >= limit)):
        misses.keep(f"false-{scores.number[place]}", make(int(scores.number[place])).whole)
    return rows


def _seen(scores: MarkScores) -> Iterable[Row]:
    """Return the same of the marks that can still be seen: not all that are faint on restless ground and spoilt can."""
    chosen = ~scores.marked | (scores.contrast >= VISIBLE_CONTRAST)
    score, marked = scores.score[chosen], scores.marked[chosen]
    limit = threshold_at(score[~marked], 0.01)
    yield Row(
        what=f"    the {int(marked.sum())} that can still be seen: average precision; recall; IoU",
        asked="",
        reached=f"{average_precision(score, marked):.3f}; "
        f"{share(int((score[marked] >= limit).sum()), int(marked.sum()))}; {np.nanmean(scores.iou[chosen]):.3f}",
    )


def _bins(scores: MarkScores, limit: float) -> Iterable[Row]:
    """Return recall and mask IoU of each kind of mark, at the threshold of 1 % false alarms."""
    kinds = {
        "opacity to 0.3": scores.opacity <= 0.3,
        "opacity above 0.3": scores.opacity > 0.3,
        "128 px": scores.small,
        "larger": ~scores.small,
        **{f"look {look}": scores.look == look for look in sorted(set(scores.look[scores.marked].tolist()))},
        **{f"layout {name}": scores.layout == name for name in sorted(set(scores.layout[scores.marked].tolist()))},
    }
    for name, inside in kinds.items():
        chosen = inside & scores.marked
        if chosen.any():
            found = int((scores.score[chosen] >= limit).sum())
            yield Row(
                what=f"    {name}: recall; IoU",
                asked="",
                reached=f"{share(found, int(chosen.sum()))}; {np.nanmean(scores.iou[chosen]):.2f}",
            )


def _unknown(
    scores: MarkScores, marks: WatermarkDetector, make: Callable[[int], Composite], limit: float, most: int = 60
) -> Row:
    """Return how often an invented agency's mark, once found, is called unknown."""
    invented = scores.marked & (scores.brand == len(BRAND_NAMES) - 1) & (scores.score >= limit)
    said = []
    for place in np.flatnonzero(invented)[:most]:
        claims = marks.detect([make(int(scores.number[place])).whole])[0]
        if claims:
            said.append(claims[0].label == "unknown agency")
    return Row(
        what="synthetic, found marks of unseen names called unknown",
        asked="at least 0.8",
        reached=share(sum(said), len(said)),
        holds=sum(said) >= 0.8 * len(said),
    )


def photographs(marks: WatermarkDetector, folder: Path, used: frozenset[str], misses: Misses) -> list[Row]:
    """Photographs without marks, one a source: references that were no backgrounds, one query a distractor."""
    paths = [path for path in sorted((folder / "references").iterdir()) if path.name not in used]
    with (folder / "truth.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["reference"]]
    # four queries a distractor, in order of severity
    for first in range(0, len(rows) - 3, 4):
        plain = [row for row in rows[first : first + 4] if all(map(PLAIN.fullmatch, row["edits"].split("+")))]
        if plain:
            paths.append(folder / "queries" / plain[0]["query"])
    paths = [path for path in paths if path.name not in BEARING]
    false = named = 0
    for path in paths:
        image = read(path)
        claims = marks.detect([image])[0]
        if claims:
            false += 1
            named += claims[0].label != "unknown agency"
            print(f"{path.name}: {claims[0].label} {claims[0].score:.2f}", file=sys.stderr)
            misses.keep(f"false-{path.stem}", image)
    return [
        Row(
            what="photographs without marks, false alarms",
            asked="at most 1 %",
            reached=share(false, len(paths)),
            holds=false <= 0.01 * len(paths),
        ),
        Row(what="photographs without marks, wrong names", asked="0", reached=str(named), holds=named == 0),
    ]


def speed(marks: WatermarkDetector, *, times: int = 15) -> list[Row]:
    """Milliseconds an image on one core: the network, and the whole path where there is no mark and where there is."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (12, 16, 3)).astype(np.uint8)
    plain = np.asarray(Image.fromarray(coarse).resize((512, 384), Image.Resampling.BICUBIC))
    model = MarkModel(threads=1)

    def median(work: Callable[[], Any]) -> float:
        work()
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            work()
            taken.append(time.perf_counter() - began)
        return 1000 * float(np.median(taken))

    network = median(lambda: model.look(plain))
    small = median(lambda: model.look(plain[:128, :128]))
    path = median(lambda: marks.detect([plain]))
    taken, found = [], 0
    for seed in range(MARKS_TIMED):
        chance = np.random.default_rng(seed)
        image = plain if seed % 2 else plain[:256, :256]
        mark = random_stock_mark(chance, fonts=[BUNDLED], opacity=(0.4, 0.7))
        drawn = draw_stock_mark(np.ascontiguousarray(image), mark, chance).image
        marks.detect([drawn])
        began = time.perf_counter()
        found += bool(marks.detect([drawn])[0])
        taken.append(1000 * (time.perf_counter() - began))
    return [
        Row(
            what="network, 512 x 384 px and 128 px, one core",
            asked="at most 60 ms",
            reached=f"{network:.0f} ms; {small:.0f} ms",
            holds=network <= 60,
        ),
        Row(
            what="whole path, 512 x 384 px, no mark",
            asked="at most 250 ms",
            reached=f"{path:.0f} ms",
            holds=path <= 250,
        ),
        Row(
            what=f"whole path, {found} of {MARKS_TIMED} drawn marks found and read",
            asked="at most 250 ms",
            reached=f"median {np.median(taken):.0f}, mean {np.mean(taken):.0f}, longest {max(taken):.0f} ms",
            holds=float(np.mean(taken)) <= 250,
        ),
    ]


def others(part: str, given: argparse.Namespace) -> None:
    """Run another part's own benchmark, which prints what it measures."""
    fonts = [word for folder in given.fonts for word in ("--fonts", folder)]
    unseen: list[Path | str] = []
    if (references := given.shared / "bench" / "copies" / "references").is_dir():
        unseen = ["--unseen", references, *(["--leave-out", given.backgrounds] if given.backgrounds else [])]
    sheets = given.shared / "samples" / "rudalle"
    covers = [word for folder in given.cover_data for word in ("--data", folder)]
    drawings = ["--openclipart", given.openclipart] if given.openclipart else []
    real = ["--real", given.covers] if given.covers else []
    arguments = {
        "discovery": [*dict.fromkeys(given.data), *fonts, "--held-out", *unseen, "--sheets", sheets],
        "memes": [given.shared / "bench" / "memes", "--work", given.work],
        "covers": [*covers, *fonts, *drawings, *real],
    }[part]
    script = Path(__file__).with_name(f"marks_{part}.py")
    print(f"\n{part} ({script.name})", flush=True)
    subprocess.run([sys.executable, script, *arguments], check=False)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="evaluation data (default ../shared)")
    parser.add_argument("--data", type=Path, action="append", default=[], help="folder of pictures; repeatable")
    parser.add_argument(
        "--cover-data", type=Path, action="append", default=[], help="folder that the cover detector was trained with"
    )
    parser.add_argument("--covers", type=Path, help="real covers, in folders book, disc, website and poster")
    parser.add_argument("--openclipart", type=Path, help="openclipart-png's folder: drawings of covers")
    parser.add_argument("--fonts", type=Path, action="append", default=[], help="folder of typefaces; repeatable")
    parser.add_argument("--backgrounds", type=Path, help="names of photographs that training used, one a line")
    parser.add_argument("--count", type=int, default=800, help="synthetic composites (default 800)")
    parser.add_argument("--work", type=Path, default=Path("bench/work"), help="where the part on memes keeps its index")
    parser.add_argument("--only", default=",".join(PARTS), help=f"comma list of {', '.join(PARTS)}")
    parser.add_argument("--misses", type=Path, help="folder for what was missed or found falsely")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    parts = given.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"--only {', '.join(unknown)} given; accepted: {', '.join(PARTS)}")
    marks, misses = detector(), Misses(given.misses)
    rows: list[Row] = []
    if "samples" in parts and (given.shared / "samples").is_dir():
        rows += rudalle(marks, given.shared / "samples" / "rudalle", misses)
        rows += previews(marks, given.shared / "samples" / "watermarks", misses)
    if "synthetic" in parts and given.data:
        recipe = Recipe(seed=7, held_out=True, codes=1.0, faint=0.5, small=1 / 3, sides=SIDES)
        make = composer(given.data, recipe, fonts=given.fonts, without=BEARING)
        rows += synthetic(MarkModel(), marks, make, given.count, misses)
    if "photographs" in parts and (given.shared / "bench" / "copies").is_dir():
        used = frozenset(given.backgrounds.read_text("utf-8").split()) if given.backgrounds else frozenset()
        rows += photographs(marks, given.shared / "bench" / "copies", used, misses)
    if "speed" in parts:
        rows += speed(marks)
    if given.json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=2))
        return
    widths = [max((len(getattr(row, name)) for row in rows), default=0) for name in ("what", "asked", "reached")]
    for row in rows:
        verdict = {True: "holds", False: "FALLS SHORT", None: ""}[row.holds]
        print(f"{row.what:<{widths[0]}}  {row.asked:<{widths[1]}}  {row.reached:<{widths[2]}}  {verdict}")
    for part in ("discovery", "memes", "covers"):
        if part in parts:
            others(part, given)


if __name__ == "__main__":
    main()
