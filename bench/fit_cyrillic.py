"""Fit the head that reads Cyrillic (and Latin) from PP-OCRv6's inner features, on lines drawn here.

The recogniser stays as it is; what is fitted is two small layers on its last features, by connectionist temporal
classification (Graves et al., ICML 2006). Lines are drawn with the fonts that fontconfig knows for Russian, in words
of the dictionaries given and in random letters, light on dark and dark on light, blurred, small and compressed. Three
families of fonts are kept for the test. Dictionaries are hunspell's ``.dic`` files (Debian: hunspell-ru and
hunspell-en-us)::

    python bench/fit_cyrillic.py --russian ru_RU.dic --english en_US.dic --cache lines.npz
"""

from __future__ import annotations

import argparse
import io
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from forensics.detect.cyrillic import ALPHABET, HEAD, CyrillicHead, load_head
from forensics.detect.ocr import TextReader

HELD_OUT = ("URWGothic", "LiberationSerif", "NotoSansMono")
"""Font families of the test lines; in the test only."""
HIDDEN = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What lines are made of."""

    russian: Sequence[str]
    english: Sequence[str]


def words_of(dictionary: Path) -> list[str]:
    """Return the words of a hunspell dictionary that the head has letters for."""
    lines = dictionary.read_text(encoding="utf-8").splitlines()[1:]
    words = (line.split("/")[0].strip() for line in lines)
    return [word for word in words if 2 <= len(word) <= 14 and word.isalpha() and set(word) <= set(ALPHABET)]


def fonts(*, held_out: bool) -> list[str]:
    """Return font files that have Russian letters, of the training families or of those held out."""
    listed = subprocess.run(
        ["fc-list", ":lang=ru", "file"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    paths = sorted({line.strip().rstrip(":") for line in listed})
    paths = [path for path in paths if path.endswith((".ttf", ".otf"))]
    return [path for path in paths if Path(path).name.startswith(HELD_OUT) == held_out]


def text_of(words: Words, rng: np.random.Generator) -> str:
    """Return a line: Russian words (half), English ones (a quarter), random Cyrillic, or figures."""
    kind = rng.random()
    if kind < 0.75:
        pool = words.russian if kind < 0.5 else words.english
        parts = [pool[rng.integers(len(pool))] for _ in range(rng.choice([1, 1, 2, 2, 3]))]
        case = rng.choice([str.lower, str.lower, str.upper, str.title, str.capitalize])
        text = case(" ".join(parts))
        if rng.random() < 0.2:
            text += str(rng.choice(list(".,!?:-")))
    elif kind < 0.9:
        letters = [letter for letter in ALPHABET if "Ѐ" <= letter <= "ӿ"]
        text = "".join(rng.choice(letters, rng.integers(2, 10)))
        text = text.upper() if rng.random() < 0.4 else text.lower() if rng.random() < 0.7 else text
    else:
        text = "".join(rng.choice(list(ALPHABET), rng.integers(2, 10))).strip() or "0"
    return text[:26]


def line_of(text: str, face: str, rng: np.random.Generator) -> np.ndarray:
    """Draw ``text`` as a detector would cut it out of a picture, (h, w, 3) uint8 RGB."""
    size = 40
    font = ImageFont.truetype(face, size)
    left, top, right, bottom = font.getbbox(text)
    pad = [int(rng.integers(1, 14)) for _ in range(4)]
    width, height = int(right - left) + pad[0] + pad[2], int(bottom - top) + pad[1] + pad[3]
    ground = rng.integers(0, 256, 3)
    ink = rng.integers(0, 256, 3)
    while abs(int(ground.sum()) - int(ink.sum())) < 150:
        ink = rng.integers(0, 256, 3)
    texture = ground + rng.normal(0, rng.choice([0, 0, 8, 25]), (rng.integers(2, 9), rng.integers(2, 24), 3))
    canvas = Image.fromarray(texture.clip(0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    opacity = 255 if rng.random() < 0.6 else int(rng.integers(120, 255))
    mask = Image.new("L", (width, height))
    stroke = int(rng.choice([0, 0, 0, 1, 2]))
    if stroke:
        edge = (0, 0, 0) if ink.sum() > 380 else (255, 255, 255)
        ImageDraw.Draw(canvas).text(
            (pad[0] - left, pad[1] - top), text, font=font, fill=edge, stroke_width=stroke + 1, stroke_fill=edge
        )
    ImageDraw.Draw(mask).text((pad[0] - left, pad[1] - top), text, font=font, fill=opacity)
    canvas.paste(Image.new("RGB", (width, height), tuple(int(v) for v in ink)), (0, 0), mask)
    if rng.random() < 0.3:
        canvas = canvas.rotate(rng.uniform(-3, 3), Image.Resampling.BICUBIC, fillcolor=tuple(int(v) for v in ground))
    small = rng.uniform(0.25, 1.1)  # letters down to ten pixels, as on thumbnails
    canvas = canvas.resize(
        (max(8, round(width * small * rng.uniform(0.85, 1.15))), max(8, round(height * small))), Image.Resampling.BOX
    )
    if rng.random() < 0.4:
        canvas = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0)))
    if rng.random() < 0.6:
        packed = io.BytesIO()
        canvas.save(packed, "JPEG", quality=int(rng.integers(35, 95)))
        canvas = Image.open(packed).convert("RGB")
    return np.asarray(canvas)


def dataset(words: Words, count: int, *, held_out: bool, seed: int) -> tuple[list[np.ndarray], list[str]]:
    """Return (T, 120) features and the text of ``count`` drawn lines."""
    reader = TextReader(threads=1)
    faces = fonts(held_out=held_out)
    features, texts = [], []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        text = text_of(words, rng)
        seen = reader.look(line_of(text, faces[rng.integers(len(faces))], rng)).features
        if seen is None:
            raise SystemExit("the installed rapidocr has another recogniser than the one whose features are known")
        features.append(seen.astype(np.float16))
        texts.append(text)
        if number % 2000 == 0:
            print(f"{number} of {count} lines", flush=True)
    return features, texts


def fit(features: Sequence[np.ndarray], texts: Sequence[str], *, epochs: int) -> CyrillicHead:
    """Return the head that best predicts ``texts``."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    places = {letter: number + 1 for number, letter in enumerate(ALPHABET)}
    kept = [number for number, text in enumerate(texts) if len(text) * 1.1 < len(features[number])]
    everything = np.concatenate([features[number] for number in kept]).astype(np.float32)
    mean, spread = everything.mean(0), everything.std(0) + 1e-6
    model = torch.nn.Sequential(
        torch.nn.Linear(len(mean), HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, len(ALPHABET) + 1)
    )
    batch = 64
    steps = epochs * (len(kept) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    loss_of = torch.nn.CTCLoss(zero_infinity=True)
    rng = np.random.default_rng(0)
    step = 0
    for epoch in range(epochs):
        total = 0.0
        order = rng.permutation(kept)
        for start in range(0, len(order) - batch + 1, batch):
            chosen = order[start : start + batch]
            rows = [torch.from_numpy((features[n].astype(np.float32) - mean) / spread) for n in chosen]
            targets = [torch.tensor([places[letter] for letter in texts[n]]) for n in chosen]
            logits = model(torch.nn.utils.rnn.pad_sequence(rows)).log_softmax(2)
            loss = loss_of(
                logits,
                torch.cat(targets),
                torch.tensor([len(r) for r in rows]),
                torch.tensor([len(t) for t in targets]),
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss)
            step += 1
        print(f"epoch {epoch + 1}: loss {total / (len(order) // batch):.3f}", flush=True)
    first, second = model[0], model[2]
    weight = first.weight.detach().numpy() / spread
    return CyrillicHead(
        first=weight.T.astype(np.float32),
        first_bias=(first.bias.detach().numpy() - weight @ mean).astype(np.float32),
        second=second.weight.detach().numpy().T.astype(np.float32),
        second_bias=second.bias.detach().numpy().astype(np.float32),
    )


def edits(one: str, other: str) -> int:
    """Return the Levenshtein distance."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def report(head: CyrillicHead, features: Sequence[np.ndarray], texts: Sequence[str]) -> None:
    """Print the share of wrong letters and of right scripts, by script."""
    for name, first, last in (("Cyrillic", "Ѐ", "ӿ"), ("Latin", "A", "z")):
        chosen = [n for n, text in enumerate(texts) if text.isalpha() and all(first <= a <= last for a in text)]
        lines = [head.read(features[n].astype(np.float32)) for n in chosen]
        wrong = sum(edits(line.text.lower(), texts[n].lower()) for n, line in zip(chosen, lines, strict=True))
        right = sum(line.script == name.lower() for line in lines)
        letters = sum(len(texts[n]) for n in chosen)
        print(f"{name}: {wrong / letters:.1%} of {letters} letters wrong, script right in {right} of {len(chosen)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--russian", type=Path, required=True)
    parser.add_argument("--english", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=16000)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--cache", type=Path, help="features, so that another fit doesn't draw them again")
    parser.add_argument("--out", type=Path, help=f"default: {HEAD} beside the program")
    options = parser.parse_args()
    words = Words(russian=words_of(options.russian), english=words_of(options.english))
    if options.cache and options.cache.is_file():
        stored = np.load(options.cache)
        cuts = np.cumsum(stored["lengths"])[:-1]
        features, texts = np.split(stored["features"], cuts), [str(text) for text in stored["texts"]]
    else:
        features, texts = dataset(words, options.lines, held_out=False, seed=1)
        tests = dataset(words, 1200, held_out=True, seed=2)
        features, texts = features + tests[0], texts + tests[1]
        if options.cache:
            lengths = [len(rows) for rows in features]
            np.savez(options.cache, features=np.concatenate(features), lengths=lengths, texts=np.array(texts))
    head = fit(features[:-1200], texts[:-1200], epochs=options.epochs)
    head.save(options.out)
    print("held-out fonts, as stored:")
    report(load_head(options.out), features[-1200:], texts[-1200:])


if __name__ == "__main__":
    main()
