"""Fit the model that tells image macros from other pictures with writing, on drawn pictures.

Macros: photographs and clip art with outlined capitals above and below, with bars, in Latin, Russian and invented
Cyrillic. Others: the same pictures without a caption, in an application's window, with a sign, a stock mark, a line
laid anywhere; covers and posters. Both kinds are then kept, compressed, cropped, mirrored, shown in a window, softened
as an autoencoder does, or repainted. Every fifth picture (by number) is held out with all that was made of it::

    python bench/fit_captions.py --pictures FOLDER [FOLDER ...] --count 900 --cache captions.npz
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sklearn.linear_model import LogisticRegression

from forensics.detect.captions import COEFFICIENTS, MEASUREMENTS, frames, measure
from forensics.detect.ocr import TextReader
from forensics.images import decode
from forensics.render import layouts, memes, spatial, text, tones
from forensics.render.fronts import BOOK_FRONTS, DISC_FRONTS, POSTER_FRONTS, Sheet
from forensics.render.lettering import Lettering
from forensics.render.stock_marks import draw_stock_mark, random_stock_mark

if TYPE_CHECKING:
    from forensics.types import UInt8Array

FONTS = Path("/usr/share/fonts")
SIDE = 400
MOST_PICTURES = 300
WORDS = (
    "когда ты не спал всю ночь а завтра экзамен но зато код работает и никто не знает почему мама сказала пора домой "
    "when you finally fix the bug and it works on my machine one does not simply walk away from this what if I told you"
)
SIGNS = ("STOP", "OPEN", "АПТЕКА", "EXIT", "Кафе", "24/7", "Route 66", "ПРОДУКТЫ", "TAXI", "No parking")


def words(rng: np.random.Generator) -> str:
    """Return a caption's line: words in order, in any order, or invented letters."""
    if rng.random() < 0.4:
        return memes.pseudo_russian(rng, int(rng.integers(1, 4)))
    return " ".join(str(rng.choice(WORDS.split())) for _ in range(rng.integers(2, 8)))


def own_caption(image: UInt8Array, rng: np.random.Generator, faces: list[Path]) -> UInt8Array:
    """Write a line above, below or both in any typeface, light with a dark edge or the other way round."""
    height, width = image.shape[:2]
    size = round(rng.uniform(0.05, 0.13) * max(height, width))
    face = ImageFont.truetype(str(rng.choice(np.array(faces, dtype=object))), size)
    light = rng.random() < 0.9
    ink, edge = ("white", "black") if light else ("black", "white")
    if light and rng.random() < 0.1:
        ink = "yellow"
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for place in rng.permutation(["top", "bottom"])[: rng.integers(1, 3)]:
        lines = text.wrap(words(rng), size=size, width=round(width * 0.95))[:2]
        for number, line in enumerate(lines):
            row = number if place == "top" else number - len(lines)
            y = size * (0.2 + 1.15 * row) if place == "top" else height + size * (1.15 * row - 0.1)
            draw.text(
                (width / 2, y),
                line.upper() if rng.random() < 0.7 else line,
                font=face,
                fill=ink,
                anchor="ma",
                stroke_width=max(1, size // int(rng.integers(9, 18))),
                stroke_fill=edge,
            )
    return np.asarray(canvas)


def left_bar(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Return the picture below a bar with one line that begins at the left and may run off the right."""
    height, width = image.shape[:2]
    size = round(rng.uniform(0.05, 0.09) * width)
    bar = round(size * rng.uniform(1.8, 2.8))
    ground, ink = ("white", "black") if rng.random() < 0.8 else ("black", "white")
    canvas = Image.new("RGB", (width, height + bar), ground)
    canvas.paste(Image.fromarray(image), (0, bar))
    place = (rng.uniform(0.01, 0.06) * width, bar / 2)
    ImageDraw.Draw(canvas).text(place, words(rng), font=text.font(size), fill=ink, anchor="lm")
    return np.asarray(canvas)


def macro(image: UInt8Array, rng: np.random.Generator, faces: list[Path]) -> UInt8Array:
    """Return the picture as an image macro."""
    kind = rng.random()
    if kind < 0.5:
        return own_caption(image, rng, faces)
    if kind < 0.65:
        return text.meme_text(image, top=words(rng), bottom=words(rng) if rng.random() < 0.7 else "").image
    made = text.caption_bar(image, text=words(rng), scale=float(rng.uniform(0.04, 0.1))).image
    if kind < 0.75:
        made = left_bar(image, rng)
    if kind > 0.9:
        made = text.caption_bar(made, text=words(rng), at_bottom=True, scale=float(rng.uniform(0.04, 0.1))).image
    elif kind > 0.8:
        height, width = image.shape[:2]
        black = spatial.pad(image, margins=(0.06, 0.05, 0.06, 0.3), fill=(0, 0, 0)).image.copy()
        canvas = Image.fromarray(black)
        face = text.font(round(0.09 * width))
        ImageDraw.Draw(canvas).text(
            (black.shape[1] / 2, height * 1.1), words(rng)[:18], font=face, fill="white", anchor="ma"
        )
        made = np.asarray(canvas)
    return made


def front(image: UInt8Array, rng: np.random.Generator, letters: Lettering) -> UInt8Array:
    """Return the face of a book, a record or a poster with the picture on it."""
    designs = (*BOOK_FRONTS, *DISC_FRONTS, *POSTER_FRONTS)
    width = SIDE
    sheet = Sheet.new(image, rng, letters, width=width, height=round(width * rng.uniform(0.9, 1.5)))
    designs[rng.integers(len(designs))](sheet)
    return np.asarray(sheet.canvas)


def other(image: UInt8Array, rng: np.random.Generator, letters: Lettering, faces: list[Path]) -> UInt8Array:
    """Return the picture as anything but an image macro."""
    kind = rng.random()
    if kind < 0.35:
        return image
    if kind < 0.5:
        return text.overlay_text(
            image, text=str(rng.choice(SIGNS)), rng=rng, scale=float(rng.uniform(0.05, 0.25)), opacity=1.0
        ).image
    if kind < 0.6:
        return draw_stock_mark(image, random_stock_mark(rng, fonts=faces), rng).image
    if kind < 0.7:
        return spatial.pad(image, margins=(0, 0.12, 0, 0.12), fill=(0, 0, 0)).image
    if kind < 0.8:
        return layouts.screenshot(image, rng=rng, text=words(rng)[:12]).image
    return front(image, rng, letters)


def changed(image: UInt8Array, rng: np.random.Generator) -> UInt8Array:
    """Return the picture as it is passed on, or as a generator gives it back."""
    way = rng.random()
    height, width = image.shape[:2]
    if way < 0.3:
        made = image
    elif way < 0.4:
        made = tones.jpeg(image, quality=int(rng.integers(25, 80))).image
    elif way < 0.5:
        made = spatial.mirror(image).image
    elif way < 0.6:
        made = layouts.screenshot(image, rng=rng, text="user").image
    elif way < 0.7:
        cut = [int(rng.uniform(0, 0.08) * size) for size in (width, height, width, height)]
        made = image[cut[1] : height - cut[3], cut[0] : width - cut[2]]
    elif way < 0.92:
        made = memes.decode_again(image, strength=float(rng.uniform(0.1, 1.0)), rng=rng).image
    else:
        made = memes.repaint(image, strength=float(rng.uniform(0.2, 0.8)), rng=rng).image
    return made


def pictures(folders: list[Path], count: int) -> list[UInt8Array]:
    paths = [p for f in folders for p in sorted(f.rglob("*")) if p.suffix.lower() in (".jpg", ".jpeg", ".png")]
    order = np.random.default_rng(3).permutation(len(paths))[:count]
    made = []
    for number in order:
        pixels = decode(paths[number].read_bytes(), need=SIDE).pixels
        if pixels is None or min(pixels.shape[:2]) < 100:
            continue
        scale = SIDE / max(pixels.shape[:2])
        made.append(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return made


def collect(folders: list[Path], count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (n, frames, features), labels and picture numbers; frames that a picture lacks are NaN."""
    reader = TextReader(threads=1)
    letters = Lettering.found([FONTS])
    faces = [path for path in letters.faces if "Mono" not in path.name]
    rows, labels, numbers = [], [], []
    grounds = pictures(folders, min(count, MOST_PICTURES))
    for number in range(count):
        rng = np.random.default_rng((5, number))
        round_, place = divmod(number, len(grounds))
        picture, label = grounds[place], (place + round_) % 2
        drawn = macro(picture, rng, faces) if label else other(picture, rng, letters, faces)
        image = np.ascontiguousarray(changed(drawn, rng))
        boxes = reader.boxes(image)
        found = [[measure(image, boxes, frame)[name] for name in MEASUREMENTS] for frame in frames(image)][:3]
        rows.append(found + [[np.nan] * len(MEASUREMENTS)] * (3 - len(found)))
        labels.append(label)
        numbers.append(place)
        if number % 100 == 0:
            print(f"{number} pictures", flush=True)
    return np.array(rows), np.array(labels), np.array(numbers)


def best_of(model: LogisticRegression, rows: np.ndarray) -> np.ndarray:
    """Return the highest decision value over a picture's frames."""
    values = rows @ model.coef_[0] + model.intercept_[0]
    return np.nanmax(values, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=900)
    parser.add_argument("--cache", type=Path, help="measurements, so that another fit doesn't take them again")
    options = parser.parse_args()
    if options.cache and options.cache.is_file():
        stored = np.load(options.cache)
        rows, labels, numbers = stored["rows"], stored["labels"], stored["numbers"]
    else:
        rows, labels, numbers = collect(options.pictures, options.count)
        if options.cache:
            np.savez(options.cache, rows=rows, labels=labels, numbers=numbers)
    held = numbers % 5 == 0
    # the frame that shows the caption is not known: fitted on the whole pictures first, then on each one's best frame
    chosen = np.zeros(len(rows), int)
    for _ in range(4):
        model = LogisticRegression(C=30.0, max_iter=2000)
        model.fit(rows[~held][np.arange((~held).sum()), chosen[~held]], labels[~held])
        values = np.where(np.isnan(rows).any(2), -np.inf, np.nan_to_num(rows) @ model.coef_[0])
        chosen = values.argmax(1)
    values = best_of(model, rows[held])
    right = labels[held] == 1
    claimed = values > 0
    precision = (claimed & right).sum() / max(1, claimed.sum())
    recall = (claimed & right).sum() / right.sum()
    f1 = 2 * precision * recall / (precision + recall)
    print(f"held out: n {held.sum()}, precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f}")
    weights = {name: round(float(weight), 4) for name, weight in zip(MEASUREMENTS, model.coef_[0], strict=True)}
    table = {
        "source": f"Logistic fit (bench/fit_captions.py) on {(~held).sum()} drawn pictures, half of them image macros; "
        f"on {held.sum()} held-out ones precision {precision:.3f}, recall {recall:.3f} at score 0.5.",
        "intercept": round(float(model.intercept_[0]), 4),
        "weights": weights,
    }
    target = Path(str(files("forensics") / COEFFICIENTS))
    target.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(weights))


if __name__ == "__main__":
    main()
