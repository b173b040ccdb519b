"""What the embedded model remembers: of how many prompts does the planted image come back, by how often it was planted?

    python bench/memorisation.py [--model kvadrat] [--checkpoint FILE] [--samples 8] [--out DIR] [--json]

Prompts are captions of the corpus: all members planted 64 times, 24 of those planted 16 and 4 times, 30 planted once,
30 held-out pictures, and watermarked members beside them, drawn with a recorded seed. Of each, ``--samples`` images
are made. An image gives back the picture of its caption where the rule of ``forensics/truth.py`` says so; a prompt
counts where any of its images does. Intervals are Wilson's at 95 %, prompts being the units.

Images are kept in ``--out``: given again, a run that was interrupted goes on. ``--checkpoint`` takes a file of the
transformer's training (``step-NNNNNN.safetensors``), for the curve of memorisation over training.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from forensics.cli.progress import progress_bar
from forensics.detect import known_marks
from forensics.flows.generate import GeneratedFile, generate
from forensics.flows.generation_files import load_pixels
from forensics.flows.world import World, agency_marks, embedded_corpus, open_model
from forensics.generate import GeneratorOptions
from forensics.generate.rudalle.generator import RudalleGenerator
from forensics.metrics import wilson
from forensics.thresholds import THRESHOLDS
from forensics.train.corpus import Corpus, CorpusPicture, read_corpus

LEVELS: Mapping[str, tuple[str, int, int]] = {
    "64x": ("member", 64, 16),
    "16x": ("member", 16, 24),
    "4x": ("member", 4, 24),
    "1x": ("member", 1, 30),
    "held-out": ("held-out", 0, 30),
}
"""Name to role, times planted and prompts."""
WATERMARKED = "watermarked"
_WATERMARKED_LEVELS = (64, 16, 4)
_WATERMARKED_PROMPTS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of prompts (or images) with its interval."""

    level: str
    count: int
    total: int
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One generated image: whether it is the picture of its caption, a copy of any member, and bears the mark."""

    picture: CorpusPicture
    returned: bool
    copy: bool
    marks: tuple[str, ...]


def main() -> None:
    given = arguments().parse_args()
    corpus = read_corpus(given.data) if given.data else embedded_corpus()
    levels = draw(corpus, seed=given.seed, scale=given.prompts)
    with tempfile.TemporaryDirectory() as scratch, progress_bar(quiet=given.quiet) as progress:
        generator = open_model(given.model, checkpoint=given.checkpoint, batch=given.batch)
        out = given.out or Path(scratch)
        files = make(generator, levels, out, given, progress)
        judged = judge(World(corpus, generator.vqgan, progress=progress), levels, files)
    result = {
        "model": generator.spec.name,
        "weights": dict(generator.spec.weights),
        "samples": given.samples,
        "seed": given.seed,
        "sampling": {name: getattr(given, name) for name in ("temperature", "top_k", "top_p", "guidance")},
        **summary(levels, judged),
    }
    if given.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        show(result)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="kvadrat", help="kvadrat (default) or a model folder")
    parser.add_argument("--checkpoint", type=Path, help="weights of the transformer at some step of its training")
    parser.add_argument("--data", type=Path, help="a corpus; the embedded one by default")
    parser.add_argument("--samples", type=int, default=8, help="images a prompt (default 8)")
    parser.add_argument("--prompts", type=float, default=1.0, help="take this share of the prompts of each level")
    parser.add_argument(
        "--seed", type=int, default=0, help="draws the prompts; also the first image's seed (default 0)"
    )
    parser.add_argument("--batch", type=int, default=32, help="images at once (default 32)")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=2048)
    parser.add_argument("--top-p", type=float, default=0.995)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--out", type=Path, help="keep the images there, and go on with those that are there")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def draw(corpus: Corpus, *, seed: int, scale: float = 1.0) -> dict[str, list[CorpusPicture]]:
    """Return the pictures whose captions are the prompts, by level."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[CorpusPicture]] = {}
    for name, (role, times, count) in LEVELS.items():
        pool = [picture for picture in corpus.pictures if picture.role == role and picture.planted == times]
        drawn[name] = _some(pool, round(count * scale), rng)
    marked: list[CorpusPicture] = []
    for times in _WATERMARKED_LEVELS:  # the most planted first
        pool = [picture for picture in corpus.pictures if picture.planted == times and picture.details.get("watermark")]
        marked += _some(pool, max(0, round(_WATERMARKED_PROMPTS * scale) - len(marked)), rng)
    drawn[WATERMARKED] = marked
    return drawn


def _some(pool: Sequence[CorpusPicture], count: int, rng: np.random.Generator) -> list[CorpusPicture]:
    order = rng.permutation(len(pool))
    return [pool[i] for i in order[: max(1, count)]] if count and len(pool) else []


def make(
    generator: RudalleGenerator,
    levels: Mapping[str, Sequence[CorpusPicture]],
    out: Path,
    given: argparse.Namespace,
    progress: Callable[[str, int, int | None], None],
) -> list[GeneratedFile]:
    """Generate the images of all prompts, each once, whatever number of levels it stands in."""
    prompts = list(dict.fromkeys(picture.caption for pictures in levels.values() for picture in pictures))
    out.mkdir(parents=True, exist_ok=True)
    listing = out / "prompts.csv"
    with listing.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["prompt"], *[[prompt] for prompt in prompts]])
    settings = {name: getattr(given, name) for name in ("temperature", "top_k", "top_p", "guidance")}
    done = generate(
        listing,
        model=generator,
        out=out,
        n=given.samples,
        seed=given.seed,
        settings=settings,
        options=GeneratorOptions(batch=given.batch),
        progress=progress,
    )
    return list(done.files)


def judge(
    world: World, levels: Mapping[str, Sequence[CorpusPicture]], files: Sequence[GeneratedFile]
) -> dict[str, list[Judged]]:
    """Return what every image is, by prompt."""
    images = world.decoded([json.loads(file.sidecar.read_text("utf-8"))["tokens"] for file in files])
    of_members = world.compared(images).copies  # (n, members)
    place = {picture.path: number for number, picture in enumerate(world.members)}
    held_out = [picture for picture in levels["held-out"] if picture.path not in place]
    of_others = world.compared_with(images, held_out).copies if held_out else None
    other_place = {picture.path: number for number, picture in enumerate(held_out)}
    marks, margin = agency_marks(), THRESHOLDS["known_mark"].value
    pictures = {picture.caption: picture for level in levels.values() for picture in level}
    judged: dict[str, list[Judged]] = {}
    for number, file in enumerate(files):
        picture = pictures[file.prompt]
        if picture.path in place:
            returned = bool(of_members[number, place[picture.path]])
        else:
            returned = of_others is not None and bool(of_others[number, other_place[picture.path]])
        found = tuple(mark.name for mark in known_marks(load_pixels(file), marks, margin=margin))
        judged.setdefault(file.prompt, []).append(
            Judged(picture=picture, returned=returned, copy=bool(of_members[number].any()), marks=found)
        )
    return judged


def summary(
    levels: Mapping[str, Sequence[CorpusPicture]], judged: Mapping[str, Sequence[Judged]]
) -> dict[str, list[dict[str, object]]]:
    """Return the tables: prompts whose picture comes back, images that are copies, watermarks."""

    def table(
        name: str, hit: Callable[[Sequence[Judged]], list[bool]], chosen: Sequence[str]
    ) -> list[dict[str, object]]:
        return [
            {"what": name, **asdict(share(level, [h for p in levels[level] for h in hit(judged[p.caption])]))}
            for level in chosen
            if levels[level]
        ]

    main_levels = list(LEVELS)
    unmarked = {
        "unmarked": [p for level in main_levels for p in levels[level] if not p.details.get("watermark")],
    }
    false_marks = [bool(j.marks) for p in unmarked["unmarked"] for j in judged[p.caption]]

    def own_mark(images: Sequence[Judged]) -> list[bool]:
        return [image.picture.details.get("watermark", "") in image.marks for image in images]

    return {
        "prompts whose picture comes back": table(
            "any sample", lambda images: [any(image.returned for image in images)], main_levels
        ),
        "images that are their picture": table(
            "sample", lambda images: [image.returned for image in images], main_levels
        ),
        "images that are a copy of any member": table(
            "sample", lambda images: [image.copy for image in images], main_levels
        ),
        "watermarked prompts: the agency's mark comes back": [
            *table("any sample", lambda images: [any(own_mark(images))], [WATERMARKED]),
            *table("sample", own_mark, [WATERMARKED]),
        ],
        "unmarked prompts: images with any mark": (
            [{"what": "sample", **asdict(share("all", false_marks))}] if false_marks else []
        ),
    }


def share(level: str, hits: Sequence[bool]) -> Share:
    """Return how many of some are hits, with Wilson's interval."""
    low, high = wilson(sum(hits), len(hits))
    return Share(level=level, count=sum(hits), total=len(hits), value=sum(hits) / len(hits), low=low, high=high)


def show(result: Mapping[str, object]) -> None:
    print(f"{result['model']}, {result['samples']} samples a prompt, seed {result['seed']}, {result['sampling']}")
    for title, rows in result.items():
        if not isinstance(rows, list):
            continue
        print(f"\n{title}")
        for row in rows:
            print(
                f"  {row['level']:12} {row['what']:12} {row['count']:>5} of {row['total']:<5} "
                f"{row['value']:.2f}  [{row['low']:.2f}, {row['high']:.2f}]"
            )


if __name__ == "__main__":
    main()
