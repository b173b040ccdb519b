"""Pairs of generated images and training pictures to be judged by eye, and what the audit says of those judged copies.

    python bench/memorisation.py --samples 8 --out IMAGES          # images of the embedded model
    python bench/label_sheet.py make IMAGES --out SHEETS           # two passes of numbered sheets, in two orders
    python bench/label_sheet.py score IMAGES --index index_data/demo/index

``make`` takes of each kind of prompt (captions of pictures planted 64, 16, 4 times, once, and of held-out ones) 16, of
each one sample, and puts beside it the training picture that its tokens are most like, whether they call it a copy or
not. Each pass shows all pairs in an order of its own. The judgements, one letter a pair (c: the same picture, copied;
n: not; u: cannot say), stand in ``bench/labels/kvadrat.csv`` beside what was shown. ``score`` prints the agreement of
the passes (share and Cohen's kappa) and how many of the pairs that both call a copy an audit holds, and of those that
both call none.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from forensics import audit
from forensics.flows.world import World, embedded_corpus, open_model
from forensics.metrics import wilson

LABELS = Path(__file__).resolve().parent / "labels" / "kvadrat.csv"
COLUMNS = ("image", "prompt", "seed", "level", "reference", "tokens_say_copy", "pass1", "pass2")
A_LEVEL, SEED = 16, "3"
SIDE, ACROSS, DOWN = 144, 5, 8


def level_of(planted: int, role: str) -> str:
    return "held-out" if role == "held-out" else f"{planted}x"


def make(images: Path, out: Path) -> None:
    """Write the sheets and the table with empty judgements."""
    corpus = embedded_corpus()
    by_caption = {picture.caption: picture for picture in corpus.of(("held-out", "member"))}
    rows = [row for row in csv.DictReader((images / "generated.csv").open(encoding="utf-8")) if row["seed"] == SEED]
    rng = np.random.default_rng(0)
    chosen: list[dict[str, str]] = []
    for level in ("64x", "16x", "4x", "1x", "held-out"):
        own = [
            row for row in rows
            if row["prompt"] in by_caption
            and level_of(by_caption[row["prompt"]].planted, by_caption[row["prompt"]].role) == level
        ]  # fmt: skip
        for at in sorted(rng.permutation(len(own))[:A_LEVEL]):
            chosen.append({"image": own[at]["path"], "prompt": own[at]["prompt"], "seed": SEED, "level": level})
    model = open_model("kvadrat")
    world = World(corpus, model.vqgan)
    tokens = [json.loads((images / row["image"]).with_suffix(".json").read_text())["tokens"] for row in chosen]
    for row, truth in zip(chosen, world.truth(world.decoded(tokens)), strict=True):
        row["reference"] = truth.member.path.relative_to(corpus.folder).as_posix()
        row["tokens_say_copy"] = "1" if truth.copies else "0"
    LABELS.parent.mkdir(exist_ok=True)
    with LABELS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(chosen)
    out.mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        order = np.random.default_rng(number).permutation(len(chosen))
        (out / f"pass{number}.txt").write_text(" ".join(map(str, order)) + "\n")
        for first in range(0, len(order), ACROSS * DOWN):
            page = order[first : first + ACROSS * DOWN]
            sheet = Image.new("RGB", (ACROSS * (2 * SIDE + 12), DOWN * (SIDE + 16)), "white")
            draw = ImageDraw.Draw(sheet)
            for place, at in enumerate(page):
                x, y = place % ACROSS * (2 * SIDE + 12), place // ACROSS * (SIDE + 16)
                draw.text((x + 2, y + 2), f"{first + place}", fill="black")
                for side, path in enumerate((images / chosen[at]["image"], corpus.folder / chosen[at]["reference"])):
                    picture = Image.open(path).convert("RGB").resize((SIDE - 4, SIDE - 4))
                    sheet.paste(picture, (x + side * SIDE, y + 14))
            sheet.save(out / f"pass{number}-{first // (ACROSS * DOWN) + 1}.png")


def take(sheets: Path, letters: list[str]) -> None:
    """Fill the judgements of both passes in: ``letters[p]`` holds one letter a place of pass p + 1."""
    rows = list(csv.DictReader(LABELS.open(encoding="utf-8")))
    for number, given in enumerate(letters, 1):
        order = [int(at) for at in (sheets / f"pass{number}.txt").read_text().split()]
        if len(given) != len(order) or set(given) - set("cnu"):
            raise SystemExit(f"pass {number}: {len(given)} letters given, {len(order)} of c, n and u are needed")
        for at, letter in zip(order, given, strict=True):
            rows[at][f"pass{number}"] = letter
    with LABELS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def score(images: Path, index: Path) -> None:
    """Print agreement and what an audit holds."""
    rows = list(csv.DictReader(LABELS.open(encoding="utf-8")))
    first, second = ([row[name] for row in rows] for name in ("pass1", "pass2"))
    agree = float(np.mean([a == b for a, b in zip(first, second, strict=True)]))
    chance = sum(first.count(letter) * second.count(letter) for letter in "cnu") / len(rows) ** 2
    print(f"{len(rows)} pairs; both passes agree on {agree:.3f}; Cohen's kappa {(agree - chance) / (1 - chance):.3f}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "images"
        source.mkdir()
        for at, row in enumerate(rows):
            (source / f"{at:03d}.png").write_bytes((images / row["image"]).read_bytes())
        audit(source, index=index, out=Path(folder) / "run", detect=())
        found: set[tuple[str, str]] = set()
        for line in (Path(folder) / "run" / "findings.jsonl").open(encoding="utf-8"):
            finding = json.loads(line)
            if finding["reference"]:
                found.add((finding["query"]["id"], finding["reference"]["id"]))
    for name, wanted in (
        ("judged a copy twice", lambda row: (row["pass1"], row["pass2"]) == ("c", "c")),
        ("judged no copy twice", lambda row: (row["pass1"], row["pass2"]) == ("n", "n")),
        ("called a copy by its tokens", lambda row: row["tokens_say_copy"] == "1"),
        ("called none by its tokens", lambda row: row["tokens_say_copy"] == "0"),
    ):
        own = [at for at, row in enumerate(rows) if wanted(row)]
        held = sum((f"{at:03d}.png", rows[at]["reference"]) in found for at in own)
        low, high = wilson(held, len(own)) if own else (0.0, 1.0)
        print(f"{name}: {len(own)}; an audit claims {held} ({low:.3f} to {high:.3f})")


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("make", "take", "score"))
    parser.add_argument("images", type=Path, help="of bench/memorisation.py; of `take`: the sheets")
    parser.add_argument("letters", nargs="*", help="of `take`: the letters of pass 1, then of pass 2")
    parser.add_argument("--out", type=Path, help="folder for the sheets")
    parser.add_argument("--index", type=Path, help="reference index of the embedded world")
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.images, arguments.out or Path("sheets"))
    elif arguments.command == "take":
        take(arguments.images, arguments.letters)
    else:
        score(arguments.images, arguments.index or Path("index_data/demo/index"))


if __name__ == "__main__":
    main()
