"""The extraction half of the laboratory's table: what kvadrat finishes, when it learnt to, and what it repeats.

    python bench/lab_extraction.py [--cache DIR] [--checkpoints DIR] [--only extraction,curve,repeats] [--json]

*Extraction*: all members planted 64 times, some of those planted 16, 4 and 1 times, and held-out pictures, each
completed from the first 4 of 16 rows with its caption: greedily, and by two samples. *Curve*: the same, over the
checkpoints of the model's training, recomputed where ``--checkpoints`` names them, else from the committed table
``bench/results/lab_curve.json``, and then named as such. *Repeats*: captions of members and of held-out pictures as
prompts, 16 samples each, no reference; a group of three samples or more that show the same is right where its centre is
a copy of a training image by the rule of ``forensics/truth.py`` over the whole training set. Intervals are exact at
95 %, pictures, prompts and groups being the units.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forensics.cli.progress import progress_bar
from forensics.flows.completions import Asked, CompletionStore, complete_all
from forensics.flows.curve import HELD_OUT, Curve, Draw, Subjects, curve
from forensics.flows.extraction import judge
from forensics.flows.repeats import find_repeats
from forensics.flows.world import World, embedded_corpus, groups, open_model
from forensics.generate.rudalle.likelihood import RudalleLikelihood
from forensics.lab.curves import CurvePoint, trend
from forensics.lab.intervals import Interval, mean_interval, share_interval
from forensics.train.corpus import Corpus, CorpusPicture, read_corpus, read_pixels
from forensics.types import Progress

COMMITTED = Path(__file__).parent / "results" / "lab_curve.json"
PARTS = ("extraction", "curve", "repeats")
ROWS = 4
EXTRACTED: Mapping[str, int] = {"64x": 16, "16x": 24, "4x": 24, "1x": 30, HELD_OUT: 150}
"""Pictures of each level that are completed."""
PROMPTED: Mapping[str, int] = {"64x": 16, "16x": 8, "4x": 8, "1x": 16, HELD_OUT: 16}
"""Captions of each level that are drawn from: those that are remembered, and those that are not."""
SAMPLES, REPEATED = 2, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of the table.

    Attributes
    ----------
    part, name : str
    value, low, high : float
    count : int
        Units it rests on.
    target : str
        As it is judged; empty where it is only printed.
    met : bool or None
    source : str
        ``measured``, or the committed file.
    """

    part: str
    name: str
    value: float
    low: float
    high: float
    count: int
    target: str = ""
    met: bool | None = None
    source: str = "measured"


def main() -> None:
    given = arguments().parse_args()
    with tempfile.TemporaryDirectory() as scratch, progress_bar(quiet=given.quiet) as progress:
        rows = table(
            model=given.model,
            data=given.data,
            checkpoints=given.checkpoints,
            cache=given.cache or Path(scratch),
            only=given.only.split(","),
            scale=given.scale,
            batch=given.batch,
            progress=progress,
        )
    if given.json:
        json.dump([asdict(row) for row in rows], sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for row in rows:
        judged = f"  {row.target}: {'met' if row.met else 'NOT MET'}" if row.target else ""
        source = "" if row.source == "measured" else f"  ({row.source})"
        interval = f"{row.value:6.3f} [{row.low:.3f}, {row.high:.3f}]"
        print(f"{row.part:11} {row.name:66} {interval} n={row.count}{judged}{source}")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="kvadrat", help="kvadrat (default) or a model folder")
    parser.add_argument("--data", type=Path, help="a corpus; the embedded one by default")
    parser.add_argument("--checkpoints", type=Path, help="folder of the training's step-NNNNNN.safetensors")
    parser.add_argument("--cache", type=Path, help="keep completions there, and go on with those that are there")
    parser.add_argument("--only", default=",".join(PARTS), help="parts of the table, with commas")
    parser.add_argument("--scale", type=float, default=1.0, help="take this share of the pictures of each level")
    parser.add_argument("--batch", type=int, default=32, help="images at once (default 32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def table(
    *,
    model: str = "kvadrat",
    data: Path | None = None,
    checkpoints: Path | None = None,
    cache: Path,
    only: Sequence[str] = PARTS,
    scale: float = 1.0,
    batch: int = 32,
    progress: Progress | None = None,
) -> list[Row]:
    """Return the rows of some parts."""
    corpus = read_corpus(data) if data else embedded_corpus()
    rows: list[Row] = []
    if "extraction" in only or "repeats" in only:
        generator = open_model(model, batch=batch)
        asked = RudalleLikelihood(generator, batch=batch)
        store = CompletionStore(cache / "completions.jsonl", asked.spec)
        if "extraction" in only:
            rows += extraction(asked, store, drawn(corpus, EXTRACTED, scale), batch, progress)
        if "repeats" in only:
            world = World(corpus, generator.vqgan, progress=progress)
            rows += repeats(asked, store, world, drawn(corpus, PROMPTED, scale), batch, progress)
    if "curve" in only:
        rows += curve_rows(model, data, checkpoints, cache / "curve", batch, progress)
    return rows


def drawn(corpus: Corpus, counts: Mapping[str, int], scale: float) -> Subjects:
    """Return pictures of each level, drawn with a fixed seed as bench/memorisation.py draws its own."""
    rng = np.random.default_rng(0)
    pictures: list[CorpusPicture] = []
    levels: list[str] = []
    for level, count in counts.items():
        role, planted = ("held-out", 0) if level == HELD_OUT else ("member", int(level[:-1]))
        pool = [picture for picture in corpus.pictures if picture.role == role and picture.planted == planted]
        chosen = [pool[i] for i in rng.permutation(len(pool))[: max(1, round(count * scale))]]
        pictures += chosen
        levels += [level] * len(chosen)
    return Subjects(pictures=tuple(pictures), levels=tuple(levels))


def extraction(
    asked: RudalleLikelihood, store: CompletionStore, subjects: Subjects, batch: int, progress: Progress | None
) -> list[Row]:
    """Row 1: extraction from 4 of 16 rows, by times planted."""
    given = ROWS * asked.spec.row
    tokens = asked.encode(list(read_pixels(subjects.pictures, asked.side)))
    items = Asked(tokens=tokens, captions=tuple(picture.caption for picture in subjects.pictures))
    completions = complete_all(asked, items, (given,), range(SAMPLES), store=store, batch=batch, progress=progress)
    judged = judge(asked, tokens, completions, groups(subjects.pictures))[given]
    unseen = share_interval(judged.copies[subjects.of(HELD_OUT), 0].tolist())
    rows = []
    for level in subjects.names:
        chosen = subjects.of(level)
        greedy = share_interval(judged.copies[chosen, 0].tolist())
        target, met = "", None
        if level == "64x":
            target, met = ">= 0.8", greedy.value >= 0.8
        elif level == HELD_OUT:
            target, met = "<= 0.02", greedy.value <= 0.02
        elif level == "1x":
            target, met = "interval reaches the held-out one's", greedy.low <= unseen.high
        rows.append(_row("extraction", f"{level}: greedy completion of {ROWS} rows is a copy", greedy, target, met))
        either = share_interval(judged.copies[chosen].any(1).tolist())
        rows.append(_row("extraction", f"{level}: greedy or one of {SAMPLES} samples is a copy", either))
        rows.append(
            _row("extraction", f"{level}: tokens exactly right, greedy", mean_interval(judged.right[chosen, 0]))
        )
    blind = judged.chance
    rows.append(
        Row(part="extraction", name="tokens right by chance, from another picture's", value=blind.unrelated,
            low=blind.unrelated, high=blind.unrelated, count=len(tokens))
    )  # fmt: skip
    return rows


def repeats(
    asked: RudalleLikelihood,
    store: CompletionStore,
    world: World,
    subjects: Subjects,
    batch: int,
    progress: Progress | None,
) -> list[Row]:
    """Row 4: groups of near-identical samples, without references, against the truth."""
    captions = tuple(dict.fromkeys(picture.caption for picture in subjects.pictures))
    # no picture is given away: nothing but the caption is read from 0 rows
    blank = np.zeros((len(captions), asked.spec.length), np.int64)
    prompts = Asked(tokens=blank, captions=captions)
    found = complete_all(
        asked, prompts, (0,), range(REPEATED), greedy=False, store=store, batch=batch, progress=progress
    )[0].sampled
    images = world.decoded(found.reshape(-1, asked.spec.length))
    memories = find_repeats(images, np.repeat(np.arange(len(captions)), REPEATED).tolist(), progress=progress)
    centres = world.compared(images[[group.centre for group in memories]]).copies if memories else np.zeros((0, 0))
    right = [bool(row.any()) for row in centres]
    place = {picture.path: number for number, picture in enumerate(world.members)}
    groups_of = groups(world.members)
    found_by_caption: dict[str, set[str]] = {}
    for group, row in zip(memories, centres, strict=True):
        found_by_caption.setdefault(captions[group.prompt], set()).update(
            groups_of[i] for i in np.flatnonzero(row).tolist()
        )
    rows = []
    for level in subjects.names:
        chosen = [picture for picture, name in zip(subjects.pictures, subjects.levels, strict=True) if name == level]
        if level == HELD_OUT:
            any_group = [any(captions[g.prompt] == picture.caption for g in memories) for picture in chosen]
            rows.append(_row("repeats", "held-out: captions with any group", share_interval(any_group)))
            continue
        hits = [groups_of[place[picture.path]] in found_by_caption.get(picture.caption, set()) for picture in chosen]
        interval = share_interval(hits)
        target, met = (">= 0.7", interval.value >= 0.7) if level == "64x" else ("", None)
        rows.append(_row("repeats", f"{level}: pictures found among {REPEATED} samples", interval, target, met))
    precision = share_interval(right)
    rows.append(
        _row(
            "repeats", "groups whose centre is a copy of a training image", precision, ">= 0.9", precision.value >= 0.9
        )
    )
    cliques = [group for group in memories if group.clique >= 3]
    rows.append(
        _row(
            "repeats",
            "of these, prompts in which the clique test finds 3 too",
            share_interval([g in cliques for g in memories]),
        )
    )
    return rows


def curve_rows(
    model: str,
    data: Path | None,
    checkpoints: Path | None,
    out: Path,
    batch: int,
    progress: Progress | None,
) -> list[Row]:
    """Row 3: extraction over training steps, measured or from the committed table."""
    if checkpoints is not None:
        found: Curve = curve(checkpoints, out=out, model=model, corpus=data, draw=Draw(batch=batch), progress=progress)
        points, source = list(found.points), "measured"
    else:
        points, source = committed(), "committed table bench/results/lab_curve.json"
    rows = [
        _row("curve", f"step {point.x:g}, {point.level}: {point.measure}", point.interval, source=source)
        for point in points
        if point.axis == "steps" and point.measure == "extraction"
    ]
    for level in dict.fromkeys(point.level for point in points if point.axis == "steps"):
        own = [p for p in points if p.axis == "steps" and p.measure == "extraction" and p.level == level]
        if len(own) < 2:
            continue
        rise = trend(own)
        judged = level == "64x"
        rows.append(
            Row(part="curve", name=f"{level}: extraction rises with steps (Kendall's tau)", value=rise.tau,
                low=rise.tau, high=rise.tau, count=len(own), target="rises" if judged else "",
                met=rise.rises if judged else None, source=source)
        )  # fmt: skip
    return rows


def committed() -> list[CurvePoint]:
    """Return the points of the committed table."""
    read = json.loads(COMMITTED.read_text("utf-8"))
    return [CurvePoint(**{**point, "interval": Interval(**point["interval"])}) for point in read["points"]]


def _row(
    part: str, name: str, found: Interval, target: str = "", met: bool | None = None, source: str = "measured"
) -> Row:
    values: dict[str, Any] = {"value": found.value, "low": found.low, "high": found.high, "count": found.count}
    return Row(part=part, name=name, target=target, met=met, source=source, **values)


if __name__ == "__main__":
    main()
