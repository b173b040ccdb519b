"""How often is a mark named, and how often wrongly? Three questions, on nothing but words and drawn marks.

1. Dictionaries: of the words of a language, how many would name an agency if they were read faultlessly?
2. Invented names: the same of agencies' names that nobody bears.
3. Drawn marks on photographs: agencies' and invented ones, in every arrangement, at opacity 0.15 to 0.7, at 384 and at
   128 pixels, as drawn and blurred with letters changed, located by their true mask. How many are named rightly,
   wrongly, not at all?

::

    python bench/names.py --words en_US.dic ru_RU.dic --photographs FOLDER --marks 300
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from forensics.detect.lines import TextLine
from forensics.detect.ocr import TextReader
from forensics.detect.watermark.agencies import AGENCIES, UNKNOWN_AGENCY
from forensics.detect.watermark.naming import match_words, name_mark
from forensics.detect.watermark.readings import Reading
from forensics.images import decode
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark
from forensics.render.stock_names import invented_name

FONTS = Path("/usr/share/fonts")


def near(text: str) -> str:
    """Return the agency that a faultless reading of ``text`` would name at one place, or the empty string."""
    reading = Reading(line=TextLine(text=text, confidence=1.0, script="latin"), centre=(0.0, 0.0), length=1.0)
    found = [match for match in match_words(reading) if match.relative <= 1.0]
    return found[0].agency if found else ""


def dictionaries(paths: Sequence[Path]) -> None:
    for path in paths:
        words = [line.split("/")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        words = [word for word in words if len(word) >= 3 and word.isalpha()]
        named = {word: agency for word in words if (agency := near(word))}
        print(f"{path.name}: {len(named)} of {len(words)} words are near an agency: {named}")


def invented(count: int) -> None:
    rng = np.random.default_rng(0)
    named = Counter[str]()
    for number in range(count):
        text = invented_name(rng, held_out=number % 2 == 0)[0]
        if agency := near(text):
            named[f"{text} → {agency}"] += 1
    print(f"invented names: {named.total()} of {count} are near an agency: {dict(named)}")


def marks(photographs: Path, count: int) -> None:
    fonts = [path for path in sorted(FONTS.rglob("*.ttf")) if "Sans" in path.name or "Serif" in path.name]
    grounds = [path for path in sorted(photographs.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg", ".png")]
    reader = TextReader(threads=1)
    outcome: dict[str, Counter[str]] = {}
    wrong, spent = [], []
    for number in range(count):
        rng = np.random.default_rng((11, number))
        pixels = decode(grounds[number % len(grounds)].read_bytes(), need=384).pixels
        if pixels is None:
            continue
        distorted, small = number % 2 == 1, number % 3 == 0
        ground = cv2.resize(pixels, (384, 384 * pixels.shape[0] // pixels.shape[1]), interpolation=cv2.INTER_AREA)
        invented_one = rng.random() < 0.5
        mark = random_stock_mark(
            rng,
            fonts=fonts,
            brand=UNKNOWN_AGENCY if invented_one else str(rng.choice(list(AGENCIES))),
            held_out_name=True,
            garbled=0.15 if distorted else 0.0,
        )
        drawn = draw_stock_mark(ground, mark, rng)
        image, mask = drawn.image, drawn.mask
        if distorted:
            image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 1.5)))
        if small:
            size = (128, max(32, 128 * image.shape[0] // image.shape[1]))
            image, mask = (cv2.resize(part, size, interpolation=cv2.INTER_AREA) for part in (image, mask))
        if not mask.any():
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        start = time.perf_counter()
        named = name_mark(image, mask, box, None, reader)
        spent.append(time.perf_counter() - start)
        right = named.label == mark.brand
        result = "right" if right else "unknown" if named.label == UNKNOWN_AGENCY else "wrong"
        if result == "wrong":
            wrong.append(f"{mark.wording.name} → {named.label} ({named.text})")
        kind = "invented" if invented_one else "agency"
        strength = "faint" if mark.opacity <= 0.3 else "strong"
        for key in (kind, f"{kind} {strength}", f"{kind} {'128' if small else '384'} px", f"{kind} {distorted=}"):
            outcome.setdefault(key, Counter())[result] += 1
    for key, counts in sorted(outcome.items()):
        print(f"{key}: {dict(counts)}")
    print("wrong:", wrong)
    print(f"{np.median(spent):.2f} s a mark (median), {np.percentile(spent, 90):.2f} s (90th percentile)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=Path, nargs="*", default=[])
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--marks", type=int, default=300)
    options = parser.parse_args()
    dictionaries(options.words)
    invented(4000)
    if options.photographs:
        marks(options.photographs, options.marks)


if __name__ == "__main__":
    main()
