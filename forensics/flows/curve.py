"""Curves of memory over a training run: how soon, how often planted, how exactly asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forensics.errors import UsageError
from forensics.flows.completions import Asked, CompletionStore, complete_all
from forensics.flows.extraction import coded
from forensics.flows.world import embedded_corpus, groups, open_model
from forensics.lab.curves import Axis, CurvePoint, Measure, shortened
from forensics.lab.extraction import copied_cells, verbatim
from forensics.lab.intervals import Interval, share_interval
from forensics.lab.membership import Answers, statistics
from forensics.lab.roc import separation
from forensics.train.corpus import Corpus, CorpusPicture, read_corpus, read_pixels
from forensics.truth import Coded, common_cells
from forensics.types import AutoregressiveModel, Progress
from forensics.weights import sha256_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.types import TokenArray

__all__ = ["HELD_OUT", "OVER", "Curve", "Draw", "Subjects", "curve", "draw_subjects", "measure_model"]

HELD_OUT = "held-out"
OVER: tuple[Axis, ...] = ("steps", "planted", "caption")
_STATISTIC = "loss"
_STEP = re.compile(r"(\d+)")
_CAPTION_SHARES = (0.0, 0.25, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """How many pictures of each number of times planted are asked for, and how.

    Attributes
    ----------
    pictures : int
        Of each level, at most; twice as many held-out ones.
    samples : int
        Drawn from each caption.
    rows : int
        Of the prefix; 0 takes a quarter of the rows.
    seed : int
        Draws the pictures, and is that of the first sample.
    batch : int
    """

    pictures: int = 16
    samples: int = 1
    rows: int = 0
    seed: int = 0
    batch: int = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subjects:
    """Pictures of a corpus by level, most planted first, held-out ones last."""

    pictures: tuple[CorpusPicture, ...]
    levels: tuple[str, ...]

    def of(self, level: str) -> NDArray[np.bool_]:
        """(n,) bool: which pictures are of a level; ``members`` are all but the held-out ones."""
        names = np.array(self.levels)
        found: NDArray[np.bool_] = names != HELD_OUT if level == "members" else names == level
        return found

    @property
    def names(self) -> list[str]:
        """The levels, in their order."""
        return list(dict.fromkeys(self.levels))

    @property
    def planted(self) -> dict[str, int]:
        """Level to times planted."""
        return {level: picture.planted for level, picture in zip(self.levels, self.pictures, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A finished run.

    Attributes
    ----------
    out, page, table, picture, drawing : Path
        The folder, ``curve.html``, ``curve.csv``, ``curve.png`` and ``curve.svg``.
    points : tuple of CurvePoint
    checkpoints : mapping of str to str
        File name to SHA-256.
    notes : tuple of str
    """

    out: Path
    page: Path
    table: Path
    picture: Path
    drawing: Path
    points: tuple[CurvePoint, ...]
    checkpoints: Mapping[str, str]
    notes: tuple[str, ...] = ()


def curve(
    checkpoints: Path,
    *,
    out: Path,
    model: str = "kvadrat",
    corpus: Path | None = None,
    over: Sequence[Axis] = OVER,
    draw: Draw | None = None,
    progress: Progress | None = None,
) -> Curve:
    """Measure copy rate, extraction rate and membership AUC over a training run whose corpus is known.

    Parameters
    ----------
    checkpoints : Path
        Folder of ``step-NNNNNN.safetensors`` of a transformer's training.
    out : Path
        Folder to write. Completions are kept in it: a run that is cut off goes on.
    model : str
        The ruDALL-E whose VQGAN, tokenizer and sizes belong to the checkpoints.
    corpus : Path, optional
        A folder with ``manifest.csv`` (path, caption, role, planted); the embedded one by default.
    over : sequence of str
        Axes; ``planted`` and ``caption`` are measured on the last checkpoint.
    draw : Draw, optional
    progress : Progress, optional

    Raises
    ------
    UsageError, SourceError, WeightsError
        If there is no checkpoint, no corpus with members and held-out pictures, or no such model.
    """
    from forensics.flows.curve_files import write_curve

    draw = draw or Draw()
    if not over or not set(over) <= set(OVER):
        raise UsageError(f"curve over {', '.join(over) or 'nothing'} given; choose of: {', '.join(OVER)}")
    files = _checkpoints(checkpoints)
    subjects = draw_subjects(read_corpus(corpus) if corpus else embedded_corpus(), draw)
    points: list[CurvePoint] = []
    digests = {}
    for step, path in files.items() if "steps" in over else list(files.items())[-1:]:
        asked = _open(model, path, draw)
        digests[path.name] = sha256_of(path)
        store = CompletionStore(out / f"completions-{path.stem}.jsonl", asked.spec)
        found = measure_model(asked, subjects, draw, store=store, progress=progress)
        if "steps" in over:
            points += [_point("steps", step, measure, level, one) for (measure, level), one in found.items()]
        if step != max(files):
            continue
        if "planted" in over:
            points += [
                _point("planted", subjects.planted[level], measure, "all", one)
                for (measure, level), one in found.items()
                if level in subjects.planted
            ]
        if "caption" in over:
            points += _over_captions(asked, subjects, draw, store, found, progress)
    notes = [] if len(files) > 1 or "steps" not in over else ["One checkpoint alone makes no curve over training."]
    result = Curve(
        out=out,
        page=out / "curve.html",
        table=out / "curve.csv",
        picture=out / "curve.png",
        drawing=out / "curve.svg",
        points=tuple(points),
        checkpoints=digests,
        notes=tuple(notes),
    )
    write_curve(
        result, model=model, draw=draw, subjects={name: int(subjects.of(name).sum()) for name in subjects.names}
    )
    return result


def draw_subjects(corpus: Corpus, draw: Draw) -> Subjects:
    """Return the pictures that are asked for, drawn with the seed; the same for every checkpoint."""
    rng = np.random.default_rng(draw.seed)
    members = corpus.of(("member",))
    pictures: list[CorpusPicture] = []
    levels: list[str] = []
    for planted in sorted({picture.planted for picture in members}, reverse=True):
        pool = [picture for picture in members if picture.planted == planted]
        chosen = [pool[i] for i in rng.permutation(len(pool))[: draw.pictures]]
        pictures += chosen
        levels += [f"{planted}x"] * len(chosen)
    unseen = corpus.of(("held-out",))
    chosen = [unseen[i] for i in rng.permutation(len(unseen))[: 2 * draw.pictures]]
    return Subjects(pictures=(*pictures, *chosen), levels=(*levels, *[HELD_OUT] * len(chosen)))


def measure_model(
    asked: AutoregressiveModel,
    subjects: Subjects,
    draw: Draw,
    *,
    store: CompletionStore | None = None,
    progress: Progress | None = None,
) -> dict[tuple[Measure, str], Interval]:
    """Return copy rate, extraction rate and membership AUC of one model, by measure and level."""
    items, images, common = _asked(asked, subjects)
    rows = draw.rows or max(1, asked.spec.length // asked.spec.row // 4)
    given, seeds = rows * asked.spec.row, range(draw.seed, draw.seed + draw.samples)
    finished = complete_all(asked, items, (given,), (), store=store, batch=draw.batch, progress=progress)[given]
    sampled = complete_all(asked, items, (0,), seeds, greedy=False, store=store, batch=draw.batch, progress=progress)[0]
    back = _copies(asked, items.tokens, finished.greedy, images, common, given)
    copied = _copies(asked, items.tokens, sampled.sampled, images, common, 0)
    found: dict[tuple[Measure, str], Interval] = {}
    for level in subjects.names:
        chosen = subjects.of(level)
        found["extraction", level] = share_interval(back[chosen].tolist())
        found["copy", level] = share_interval(copied[chosen].tolist())
    said = asked.log_probabilities(items.tokens, items.captions, progress=progress)
    moments = np.stack((said.log_probability, said.mean, said.deviation))
    scores = statistics(
        Answers(tokens=items.tokens, empty=moments), first=int(asked.spec.settings.get("first_evidence") or 0)
    )[_STATISTIC]
    unseen = scores[subjects.of(HELD_OUT)]
    for level in subjects.names:
        if level != HELD_OUT:
            found["auc", level] = separation(scores[subjects.of(level)], unseen, seed=draw.seed).auc
    return found


def _over_captions(
    asked: AutoregressiveModel,
    subjects: Subjects,
    draw: Draw,
    store: CompletionStore,
    whole: Mapping[tuple[Measure, str], Interval],
    progress: Progress | None,
) -> list[CurvePoint]:
    """Return copy rates by how much of a caption is told; all of it was measured already."""
    points = [_point("caption", 1.0, "copy", level, whole["copy", level]) for level in subjects.names]
    full, images, common = _asked(asked, subjects)
    for share in _CAPTION_SHARES:
        items = Asked(tokens=full.tokens, captions=tuple(shortened(caption, share) for caption in full.captions))
        seeds = range(draw.seed, draw.seed + draw.samples)
        drawn = complete_all(asked, items, (0,), seeds, greedy=False, store=store, batch=draw.batch, progress=progress)
        copied = _copies(asked, items.tokens, drawn[0].sampled, images, common, 0)
        for level in subjects.names:
            points.append(_point("caption", share, "copy", level, share_interval(copied[subjects.of(level)].tolist())))
    return points


def _asked(asked: AutoregressiveModel, subjects: Subjects) -> tuple[Asked, Coded | None, NDArray[np.bool_] | None]:
    side = int(asked.spec.settings.get("pixels") or 0)
    pixels = read_pixels(subjects.pictures, side or 64)
    tokens = asked.encode(list(pixels))
    images = coded(asked, tokens)
    common = None if images is None else common_cells(images, groups(subjects.pictures))
    captions = tuple(picture.caption if asked.spec.captions else "" for picture in subjects.pictures)
    return Asked(tokens=tokens, captions=captions), images, common


def _copies(
    asked: AutoregressiveModel,
    tokens: TokenArray,
    completions: TokenArray,
    images: Coded | None,
    common: NDArray[np.bool_] | None,
    given: int,
) -> NDArray[np.bool_]:
    """Return (m,): any of an item's completions is a copy."""
    if images is None or common is None:
        return _any(verbatim(tokens, completions, given))
    made = [coded(asked, row) for row in completions]
    return _any(copied_cells(images, [one for one in made if one is not None], common, given).copies)


def _any(copies: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (m,) of (m, s): any completion of an item is a copy."""
    return np.array([any(row) for row in copies.tolist()], np.bool_)


def _open(model: str, checkpoint: Path, draw: Draw) -> AutoregressiveModel:
    from forensics.generate.rudalle.likelihood import RudalleLikelihood

    return RudalleLikelihood(open_model(model, checkpoint=checkpoint, batch=draw.batch), batch=draw.batch)


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Return the checkpoints of a folder by step, in their order."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give one with the step-NNNNNN.safetensors of a training")
    found = {int(match[0]): path for path in folder.glob("*.safetensors") if (match := _STEP.search(path.stem))}
    if not found:
        raise UsageError(f"{folder} holds no step-NNNNNN.safetensors; `forensics train transformer` writes them")
    return dict(sorted(found.items()))


def _point(axis: Axis, x: float, measure: Measure, level: str, interval: Interval) -> CurvePoint:
    return CurvePoint(axis=axis, x=float(x), measure=measure, level=level, interval=interval)
