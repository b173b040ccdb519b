"""Known marks: how far unmarked pictures stay from the threshold, and how many marked ones are found.

    python bench/known_marks.py [--vqgan index_data/kvadrat/vqgan] [--side 64] [--enlarge 1] [--json]

The embedded corpus: pictures without a mark (members, held-out and distractors alike) give false alarms, marked ones
give recall, agency by agency; at the program's threshold, and at the lowest threshold that gives no false alarm. With
``--vqgan`` the same of what a codebook makes of the pictures, which is the best that its generator could draw.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from forensics.detect import mark_scores
from forensics.flows.world import World, agency_marks, embedded_corpus
from forensics.generate.rudalle.converted import load_converted
from forensics.metrics import wilson
from forensics.thresholds import THRESHOLDS
from forensics.train.corpus import read_pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqgan", type=Path, help="a converted VQGAN: measure its reconstructions")
    parser.add_argument("--side", type=int, default=64, help="pixels of the pictures without --vqgan (default 64)")
    parser.add_argument("--enlarge", type=int, default=1, help="enlarge by this factor, bicubic (default 1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    corpus, marks = embedded_corpus(), agency_marks()
    if given.vqgan:
        coded = World(corpus, load_converted(given.vqgan)).encoded(corpus.pictures)  # type: ignore[arg-type]
        pixels = (coded.pictures * 255).round().astype(np.uint8)
    else:
        pixels = read_pixels(corpus.pictures, given.side)
    if given.enlarge > 1:
        side = pixels.shape[1] * given.enlarge
        pixels = np.stack(
            [np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.BICUBIC)) for p in pixels]
        )
    truth = np.array([picture.details.get("watermark", "") for picture in corpus.pictures])
    scores = np.array([mark_scores(image, marks) for image in pixels])
    margin = THRESHOLDS["known_mark"].value
    clean = scores[truth == ""]
    result = {"pictures": len(scores), "unmarked": len(clean), "margin": margin, "marks": []}
    for column, mark in enumerate(marks):
        own = scores[truth == mark.name, column]
        others = scores[(truth != "") & (truth != mark.name), column]
        most, bound = float(clean[:, column].max()), margin * mark.chance
        found = int((own >= bound).sum())
        low, high = wilson(found, len(own))
        result["marks"].append(  # type: ignore[attr-defined]
            {
                "mark": mark.name,
                "threshold": round(bound, 3),
                "largest of unmarked": round(most, 3),
                "false alarms": int((clean[:, column] >= bound).sum()),
                "largest of other marks": round(float(others.max()), 3),
                "marked": len(own),
                "median of marked": round(float(np.median(own)), 3),
                "recall": round(found / len(own), 3),
                "recall, 95 %": [round(low, 3), round(high, 3)],
                "recall at no false alarm": round(float((own > most).mean()), 3),
            }
        )
    if given.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    print(f"{result['unmarked']} unmarked of {result['pictures']} pictures, threshold {margin} times what chance gives")
    for row in result["marks"]:  # type: ignore[attr-defined]
        print("  " + ", ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
