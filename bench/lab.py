"""The laboratory's table, recomputed from the shipped weights: membership, extraction, curves, repeats, speed.

    python bench/lab.py [--out DIR] [--checkpoints DIR] [--only PARTS] [--json]

On kvadrat and the corpus whose members are known. *Membership*: all members against all held-out pictures, with their
captions, by times planted; held-out against held-out, halves drawn 100 times; the blind control, series kept together.
*Dataset*: 50 members planted 4 times against the held-out pictures, and what 50 held-out pictures against the others
give in 100 draws. *Likelihood*: the reference implementation's figures in ``tests/golden``, and the time of 1,000
pictures. The rest is ``bench/lab_extraction.py``'s. Intervals are at 95 %. Answers are kept in ``--out``: given again,
a run that was interrupted goes on. Every row says how it is judged and whether it holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import lab_extraction
import numpy as np
import torch
from lab_extraction import Row

from forensics.cli.progress import progress_bar
from forensics.flows.membership_asking import NEIGHBOURS, Asked, Asking, Kept, ask, fingerprint
from forensics.flows.membership_items import Item, read_items
from forensics.flows.world import corpus_folder, open_model
from forensics.generate.rudalle.checkpoints import load_transformer
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.likelihood import RudalleLikelihood, image_likelihoods
from forensics.lab.blind import blind_control
from forensics.lab.dataset import aggregate, infer, permutation_p, welch_p
from forensics.lab.intervals import Interval
from forensics.lab.membership import AGGREGATED, DEFAULT, STATISTICS
from forensics.lab.roc import separation
from forensics.types import Progress

OWN = ("membership", "dataset", "likelihood")
LEVELS = (64, 16, 4, 1)
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
_DRAWS = 100
_COLLECTION = 50
_TIMED = 1000

Scores = dict[str, np.ndarray[Any, np.dtype[np.float64]]]


def main() -> None:
    given = arguments().parse_args()
    only = given.only.split(",")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch, progress_bar(quiet=given.quiet) as progress:
        out = given.out or Path(scratch)
        rows = own(given, only, out, progress)
        theirs = [part for part in only if part in lab_extraction.PARTS]
        if theirs:
            rows += lab_extraction.table(
                model=given.model,
                data=given.data,
                checkpoints=given.checkpoints,
                cache=out / "extraction",
                only=theirs,
                scale=given.scale,
                progress=progress,
            )
    result = {
        "model": given.model,
        "scale": given.scale,
        "threads": torch.get_num_threads(),
        "minutes": (time.perf_counter() - started) / 60,
        "rows": [asdict(row) for row in rows],
    }
    if given.json:
        json.dump(result, sys.stdout, indent=1, ensure_ascii=False)
        sys.stdout.write("\n")
        return
    for row in rows:
        judged = "" if row.met is None else ("   holds" if row.met else "   FAILS")
        print(
            f"{row.part:11} {row.name:56} {row.value:8.3f} [{row.low:.3f}, {row.high:.3f}] n {row.count:5} "
            f"{row.target}{judged}" + ("" if row.source == "measured" else f" ({row.source})")
        )
    print(f"{result['minutes']:.1f} minutes, {result['threads']} threads")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="kvadrat", help="kvadrat (default) or a model folder")
    parser.add_argument("--data", type=Path, help="a corpus; the embedded one by default")
    parser.add_argument("--checkpoints", type=Path, help="folder of the training's step-NNNNNN.safetensors")
    parser.add_argument("--out", type=Path, help="keep answers there, and go on with those that are there")
    parser.add_argument(
        "--only", default=",".join((*OWN, *lab_extraction.PARTS)), help="parts of the table, with commas"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="take this share of the pictures")
    parser.add_argument("--batch", type=int, default=16, help="images at once (default 16)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


def own(given: argparse.Namespace, only: Sequence[str], out: Path, progress: Progress) -> list[Row]:
    """Return the rows of this file's parts."""
    if not set(only) & set(OWN):
        return []
    model = RudalleLikelihood(open_model(given.model, batch=given.batch), batch=given.batch)
    rows: list[Row] = []
    if "likelihood" in only:
        rows += golden() + speed(model, given.scale, progress)
    if "membership" in only or "dataset" in only:
        asking = Asking(captions=True, neighbours=tuple(NEIGHBOURS))
        kept = Kept(out / "answers" / fingerprint(model, asking))
        asked = list(ask(model, pictures(given.data, model, given.scale), asking, kept, progress=progress))
        if "membership" in only:
            rows += membership(asked)
        if "dataset" in only:
            rows += collections(asked)
    return rows


def pictures(data: Path | None, model: RudalleLikelihood, scale: float) -> list[Item]:
    """Return members and held-out pictures, of each level the same share."""
    manifest = (data or corpus_folder()) / "manifest.csv"
    rng = np.random.default_rng(0)
    found: list[Item] = []
    levels: dict[str, list[Item]] = {}
    for item in read_items(manifest, "image", model.spec, group="group"):
        role = str(item.record.metadata["role"])
        if role != "distractor":
            side = "image" if role == "member" else "nonmember"
            levels.setdefault(str(item.record.metadata["planted"]), []).append(replace(item, side=side))
    for part in levels.values():
        found += [part[place] for place in sorted(rng.permutation(len(part))[: max(2, round(len(part) * scale))])]
    return found


def membership(asked: Sequence[Asked]) -> list[Row]:
    """Row 1: areas by times planted, the same for who was not seen, and the control."""
    unseen = table([row for row in asked if row.item.side == "nonmember"])
    rows, areas = [], {}
    for times in LEVELS:
        seen = table([row for row in asked if planted(row) == times])
        found = {name: separation(values, unseen[name]) for name, values in seen.items()}
        areas[times] = found[DEFAULT].auc
        at = found[DEFAULT].at[0.01]
        rows.append(_row("membership", f"{times}x: AUC by {DEFAULT}", areas[times]))
        target, met = ("at least 0.9", at is not None and at.value >= 0.9) if times == 64 else ("", None)
        if at is not None:
            rows.append(_row("membership", f"{times}x: found at 1 % false positives", at, target, met))
        rows += [
            _row("membership", f"{times}x: AUC by {name}", found[name].auc)
            for name in STATISTICS
            if name in found and name != DEFAULT and times in (64, 1)
        ]
    ordered = [areas[times].value for times in sorted(LEVELS)]
    grows = all(before <= after for before, after in pairwise(ordered))
    least = min((after - before for before, after in pairwise(ordered)), default=0.0)
    rows.append(_plain("membership", "least step of the AUC from 1x to 64x", least, len(asked), "not below 0", grows))
    rng = np.random.default_rng(0)
    count = len(unseen[DEFAULT])
    draws = []
    for _ in range(_DRAWS):
        order = rng.permutation(count)
        half = [unseen[DEFAULT][part] for part in (order[: count // 2], order[count // 2 :])]
        draws.append(separation(*half).auc)
    inside = draws[0].low <= 0.5 <= draws[0].high
    rows.append(_row("membership", "held-out against held-out: AUC", draws[0], "0.5 inside", inside))
    shares = float(np.mean([one.low <= 0.5 <= one.high for one in draws]))
    rows.append(_plain("membership", "such halves whose interval holds 0.5", shares, _DRAWS))
    rows += control(asked)
    return rows


def control(asked: Sequence[Asked]) -> list[Row]:
    """Return the blind control over all members."""
    second = [row for row in asked if row.item.side == "nonmember"]
    first = [row for row in asked if row.item.side == "image"]
    parts = [np.stack([row.features for row in side if row.features is not None]) for side in (first, second)]
    kept = blind_control(*parts, groups=[row.item.group for row in (*first, *second)])
    loose = blind_control(*parts)
    rows = []
    if kept.auc is not None:
        met = kept.verdict.state != "biased"
        rows.append(_row("membership", "blind control: AUC", kept.auc, "near 0.5: not called biased", met))
    if loose.auc is not None:
        rows.append(_row("membership", "blind control, series not kept together: AUC", loose.auc))
    return rows


def collections(asked: Sequence[Asked]) -> list[Row]:
    """Row 2: a collection that was seen, and 100 that were not."""
    from scipy.stats import kstest

    unseen = table([row for row in asked if row.item.side == "nonmember"])
    seen = table([row for row in asked if planted(row) == 4])
    rng = np.random.default_rng(0)
    count = len(seen[DEFAULT])
    size = min(_COLLECTION, count, len(unseen[DEFAULT]) // 2)
    chosen = rng.permutation(count)[:size]
    found = infer({name: values[chosen] for name, values in seen.items()}, unseen)
    rows = [
        _plain("dataset", f"{size} members planted 4x: permutation p", found.permutation_p, size, "below 0.01",
               found.permutation_p < 0.01),
        _plain("dataset", f"{size} members planted 4x: Welch's p", found.welch_p or 0.0, size),
        _plain("dataset", "members planted 4x that suffice", float(found.enough or 0), size),
    ]  # fmt: skip
    names = [name for name in AGGREGATED if name in unseen]
    pooled = aggregate(np.stack([unseen[name] for name in names], 1))
    p, welch = [], []
    for draw in range(_DRAWS):
        order = rng.permutation(len(pooled))
        sides = pooled[order[:size]], pooled[order[size:]]
        p.append(permutation_p(*sides, permutations=1999, seed=draw))
        welch.append(welch_p(*sides) or 1.0)
    for name, values in (("permutation", p), ("Welch", welch)):
        uniform = float(kstest(values, "uniform").pvalue)
        title = f"{size} held-out, {_DRAWS} draws: {name} p uniform (KS)"
        rows.append(_plain("dataset", title, uniform, _DRAWS, "above 0.05", uniform > 0.05))
        rows.append(
            _plain("dataset", f"of these, {name} p below 0.01", float(np.mean(np.array(values) < 0.01)), _DRAWS)
        )
    return rows


def golden() -> list[Row]:
    """Row 5: how far log-probabilities are from the reference implementation's forward pass, at most."""
    from safetensors.torch import load_file

    meta = json.loads((GOLDEN / "meta.json").read_text("utf-8"))
    rows = []
    for name, sizes in meta.items():
        if not isinstance(sizes, dict) or "num_layers" not in sizes or not (GOLDEN / name).is_dir():
            continue
        config = TransformerConfig.from_meta(sizes)
        model = load_transformer(GOLDEN / name / "pytorch_model.bin", config)
        expected = load_file(GOLDEN / name / "expected.safetensors")
        ids = expected["input_ids"]
        image = ids[:, config.text_length :]
        wanted = expected["image_step_logits"].log_softmax(-1).gather(2, image[..., None])[..., 0]
        found = image_likelihoods(model, ids[:, : config.text_length], image)[0]
        far = float(np.abs(found - wanted.numpy()).max())
        rows.append(
            _plain("likelihood", f"{name}: largest difference", far, wanted.numel(), "at most 1e-4", far <= 1e-4)
        )
    return rows


def speed(model: RudalleLikelihood, scale: float, progress: Progress) -> list[Row]:
    """Row 5: the time of 1,000 pictures once they are tokens, and how it grows."""
    rng, count = np.random.default_rng(0), max(20, round(_TIMED * scale))
    tokens = rng.integers(0, model.spec.vocabulary, (count, model.spec.length))
    captions = ["кошка на крыше дома"] * len(tokens)
    model.log_probabilities(tokens[:16], captions[:16])
    times = {}
    for count in (len(tokens) // 4, len(tokens) // 2, len(tokens)):
        started = time.perf_counter()
        model.log_probabilities(tokens[:count], captions[:count], progress=progress)
        times[count] = time.perf_counter() - started
    first, *_, last = times
    growth = times[last] / last / (times[first] / first)
    whole = times[last] * _TIMED / last
    return [
        _plain("likelihood", "seconds of 1,000 images", whole, last, "below 120", whole < 120),
        _plain(
            "likelihood", "seconds an image, all over a quarter of them", growth, last, "near 1: linear", growth < 1.3
        ),
    ]


def planted(row: Asked) -> int:
    return int(row.item.record.metadata.get("planted") or 0)


def table(rows: Sequence[Asked]) -> Scores:
    return {name: np.array([row.scores[name] for row in rows]) for name in rows[0].scores}


def _row(part: str, name: str, found: Interval, target: str = "", met: bool | None = None) -> Row:
    return Row(
        part=part,
        name=name,
        value=found.value,
        low=found.low,
        high=found.high,
        count=found.count,
        target=target,
        met=met,
    )


def _plain(part: str, name: str, value: float, count: int, target: str = "", met: bool | None = None) -> Row:
    """Return a row without an interval."""
    return Row(part=part, name=name, value=value, low=value, high=value, count=count, target=target, met=met)


if __name__ == "__main__":
    main()
