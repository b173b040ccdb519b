"""Was a model trained on these images? Likelihoods in, a page with ROC, blind control and its limits out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from forensics.errors import UsageError
from forensics.flows.facts import case_facts
from forensics.flows.membership_asking import NEIGHBOURS, Asked, Asking, Estimate, Kept, ask, fingerprint, measure
from forensics.flows.membership_items import Item, read_captions, read_items
from forensics.generate import GeneratorOptions
from forensics.generate.likelihood import open_likelihood
from forensics.lab.blind import BlindControl, blind_control
from forensics.lab.conclusions import about_collection, about_images
from forensics.lab.dataset import DatasetInference, infer
from forensics.lab.membership import DEFAULT, STATISTICS, false_positive_share
from forensics.lab.roc import Separation, separation
from forensics.report.files import write_csv, write_json
from forensics.report.lab_membership import render_membership
from forensics.types import AutoregressiveModel, AutoregressiveSpec, Decoder, Progress

__all__ = ["LEAST_NONMEMBERS", "MembershipResult", "membership"]

LEAST_NONMEMBERS = 10
"""Fewer say nothing: the best rank among so few has a p-value of 0.09."""

_IMAGE, _NONMEMBER = "image", "nonmember"


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipResult:
    """A finished run.

    Attributes
    ----------
    out, report, table : Path
        The folder, its ``membership.html`` and ``membership.csv``.
    images, nonmembers : int
        That were asked about.
    left_out : int
        That could not be used, for the reasons in the table.
    statistic : str
        By which single images are ranked.
    separations : mapping of str to Separation
        For each statistic that could be computed.
    blind : BlindControl
    dataset : DatasetInference or None
    sentences : tuple of str
        What may be concluded.
    notes : tuple of str
        What a reader must know beside it.
    """

    out: Path
    report: Path
    table: Path
    images: int
    nonmembers: int
    left_out: int
    statistic: str
    separations: Mapping[str, Separation]
    blind: BlindControl
    dataset: DatasetInference | None
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()


def membership(
    images: str | Path,
    *,
    model: str | AutoregressiveModel,
    nonmembers: str | Path,
    out: str | Path,
    captions: str | Path | bool | None = None,
    as_set: bool = False,
    statistic: str = DEFAULT,
    neighbours: bool = True,
    group: str | None = None,
    length: int | None = None,
    options: GeneratorOptions | None = None,
    seed: int = 0,
    on_estimate: Callable[[Estimate], bool] | None = None,
    progress: Progress | None = None,
) -> MembershipResult | None:
    """Ask a model about images, calibrated on others that it cannot have seen.

    Parameters
    ----------
    images : path
        A source of images or one image; for a model of text a file of texts.
    model : str or AutoregressiveModel
        A name for :func:`forensics.generate.likelihood.open_likelihood`, or a model.
    nonmembers : path
        As ``images``: from the same source, drawn at random, and not trained on.
    out : path
        Folder to write. Answers in it are kept, and are not asked for again.
    captions : path or bool, optional
        A table of paths and captions for both sides; False asks without captions. By default the sources' own.
    as_set : bool
        Dataset inference as well.
    statistic : str
        By which single images are ranked; one of :data:`forensics.lab.membership.STATISTICS`.
    neighbours : bool
        Ask about altered copies as well: as many passes again as there are (:data:`NEIGHBOURS`).
    group : str, optional
        Column of both tables that names each image's series, for the blind control.
    length : int, optional
        Tokens of each text that are looked at, for models of text.
    options : GeneratorOptions, optional
        Device, type, batch, places of files.
    seed : int
        Of bootstraps, folds and permutations.
    on_estimate : callable, optional
        Is told what the run will take before it begins; where it answers False nothing more is done.
    progress : Progress, optional

    Returns
    -------
    MembershipResult or None
        None where ``on_estimate`` said no.

    Raises
    ------
    SourceError
        If a source is missing or empty.
    UsageError
        If the model has no likelihoods, an option does not fit, captions are there for some images only, or there are
        too few images.
    """
    started = datetime.now(UTC)
    if statistic not in STATISTICS:
        raise UsageError(f"unknown statistic {statistic!r}; choose one of: {', '.join(STATISTICS)}")
    asked_model = open_likelihood(model, options, length=length) if isinstance(model, str) else model
    spec = asked_model.spec
    items, notes = _items(Path(images), Path(nonmembers), spec, captions, group)
    asking = Asking(captions=bool(items[0].caption), neighbours=_neighbours(asked_model, neighbours))
    _check(statistic, asking, spec)
    folder = Path(out)
    kept = Kept(folder / "answers" / fingerprint(asked_model, asking))
    estimate = measure(asked_model, items, asking, kept=min(len(kept), len(items)))
    if on_estimate is not None and not on_estimate(estimate):
        return None
    told = progress or _silent
    rows = _once(list(ask(asked_model, items, asking, kept, progress=told)))
    sides = {side: [row for row in rows if row.scores and row.item.side == side] for side in (_IMAGE, _NONMEMBER)}
    _enough(sides, rows)
    notes += _notes(sides, rows, spec)
    scores = {side: _table(found) for side, found in sides.items()}
    told("comparing", 0, 3)
    separations = {
        name: separation(values, scores[_NONMEMBER][name], seed=seed) for name, values in scores[_IMAGE].items()
    }
    told("comparing", 1, 3)
    blind = _blind(sides, group is not None, seed)
    told("comparing", 2, 3)
    dataset = infer(scores[_IMAGE], scores[_NONMEMBER], seed=seed) if as_set else None
    told("comparing", 3, 3)
    sentences = about_images(separations[statistic], statistic, blind)
    if dataset is not None:
        sentences += [line for line in about_collection(dataset, blind) if line not in sentences]
    chances = false_positive_share(scores[_IMAGE][statistic], scores[_NONMEMBER][statistic])
    facts = {
        "case": case_facts(case_id="", operator="", started=started),
        "model": asdict(spec),
        "images": str(images),
        "nonmembers": str(nonmembers),
        "asking": {**asdict(asking), "statistic": statistic, "seed": seed, "group": group, "set": as_set},
        "counts": {
            "images": len(sides[_IMAGE]),
            "nonmembers": len(sides[_NONMEMBER]),
            "left_out": len(rows) - sum(map(len, sides.values())),
        },
        "estimate": asdict(estimate),
        "statistics": {name: _plain(found, curve=name == statistic) for name, found in separations.items()},
        "blind": asdict(blind),
        "dataset": None if dataset is None else asdict(dataset),
        "conclusions": sentences,
        "notes": notes,
    }
    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "membership.csv"
    _write_table(table, rows, {id(row): float(p) for row, p in zip(sides[_IMAGE], chances, strict=True)})
    write_json(folder / "membership.json", facts)
    report = folder / "membership.html"
    ranked = sorted(zip(chances.tolist(), sides[_IMAGE], strict=True), key=lambda pair: pair[0])
    render_membership(
        report,
        facts=facts,
        separations=separations,
        statistic=statistic,
        blind=blind,
        dataset=dataset,
        ranked=[(row.item.record.id, row.scores[statistic], p, row.sha256) for p, row in ranked],
        left_out=[(row.item.record.id, row.item.side, row.reason) for row in rows if not row.scores],
    )
    return MembershipResult(
        out=folder,
        report=report,
        table=table,
        images=len(sides[_IMAGE]),
        nonmembers=len(sides[_NONMEMBER]),
        left_out=len(rows) - sum(map(len, sides.values())),
        statistic=statistic,
        separations=separations,
        blind=blind,
        dataset=dataset,
        sentences=tuple(sentences),
        notes=tuple(notes),
    )


def _items(
    images: Path, nonmembers: Path, spec: AutoregressiveSpec, captions: str | Path | bool | None, group: str | None
) -> tuple[list[Item], list[str]]:
    """Return the items of both sides, all with a caption or none, and what is to be said about that."""
    given = read_captions(Path(captions)) if isinstance(captions, (str, Path)) else {}
    items = [
        *read_items(images, _IMAGE, spec, captions=given, group=group),
        *read_items(nonmembers, _NONMEMBER, spec, captions=given, group=group),
    ]
    few = sum(item.side == _NONMEMBER for item in items)
    if few < LEAST_NONMEMBERS:
        raise UsageError(_too_few(few))
    silent = [item for item in items if not item.caption]
    if not spec.captions or captions is False or len(silent) == len(items):
        notes = []
        if spec.captions:
            why = "as was asked for" if captions is False else "for the sources have none"
            notes.append(f"The model was asked without captions, {why}; what depends on them is left out.")
        return [replace(item, caption="") for item in items], notes
    if silent:
        raise UsageError(
            f"{len(silent)} of {len(items)} images have no caption (the first: {silent[0].record.id}), and a "
            "likelihood with a caption cannot be compared with one without; give all captions with --captions TABLE, "
            "or ask without them with --no-captions"
        )
    return items, []


def _neighbours(model: AutoregressiveModel, wanted: bool) -> tuple[str, ...]:
    """Return the altered copies that make sense: of texts none, and through the codebook only where it decodes."""
    if not wanted or model.spec.settings.get("kind") == "text":
        return ()
    return tuple(name for name in NEIGHBOURS if name != "codec" or isinstance(model, Decoder))


def _check(statistic: str, asking: Asking, spec: AutoregressiveSpec) -> None:
    if statistic == "neighbourhood" and not asking.neighbours:
        raise UsageError(f"statistic {statistic} given, but {spec.name} was not asked about altered copies")
    if statistic in ("loss_empty", "caption_ratio") and not asking.captions:
        raise UsageError(f"statistic {statistic} given, which needs captions; {spec.name} was asked without")


def _once(rows: Sequence[Asked]) -> list[Asked]:
    """Return the rows with each image counted once: repetitions, and what is on both sides, lose their scores."""
    both = {row.sha256 for row in rows if row.item.side == _IMAGE and row.scores}
    both &= {row.sha256 for row in rows if row.item.side == _NONMEMBER and row.scores}
    seen: dict[str, str] = {}
    found = []
    for row in rows:
        reason = ""
        if row.scores and row.sha256 in both:
            reason = "is among the images and among the non-members; it cannot be both"
        elif row.scores and row.sha256 in seen:
            reason = f"the same as {seen[row.sha256]}; counted once"
        elif row.scores:
            seen[row.sha256] = row.item.record.id
        found.append(replace(row, scores={}, features=None, state="rejected", reason=reason) if reason else row)
    return found


def _enough(sides: Mapping[str, Sequence[Asked]], rows: Sequence[Asked]) -> None:
    for side in (_IMAGE, _NONMEMBER):
        unusable = [row for row in rows if row.item.side == side and not row.scores]
        why = ""
        if unusable:
            why = f" ({len(unusable)} cannot be used; the first: {unusable[0].item.record.id}: {unusable[0].reason})"
        if side == _IMAGE and not sides[side]:
            raise UsageError(f"no image to ask about is left{why}; give 1 or more that can be read")
        if side == _NONMEMBER and len(sides[side]) < LEAST_NONMEMBERS:
            raise UsageError(_too_few(len(sides[side])) + why)


def _too_few(count: int) -> str:
    return (
        f"{count} non-members given, {LEAST_NONMEMBERS} or more needed to compare with at all, 100 to state a "
        "false-positive rate of 1 %, 1,000 for 0.1 %"
    )


def _notes(sides: Mapping[str, Sequence[Asked]], rows: Sequence[Asked], spec: AutoregressiveSpec) -> list[str]:
    notes = []
    reasons = Counter(row.reason.partition(";")[0] for row in rows if not row.scores)
    if reasons:
        worst, count = reasons.most_common(1)[0]
        notes.append(f"{sum(reasons.values())} items were left out, {count} of them: {worst or 'unreadable'}.")
    side = int(spec.settings.get("pixels") or 0)
    if side:
        small = sum(0 < min(row.width, row.height) < side for part in sides.values() for row in part)
        if small:
            notes.append(f"{small} images are smaller than the model's {side} pixels and were enlarged.")
        oblong = sum(row.width != row.height for part in sides.values() for row in part)
        if oblong:
            notes.append(f"{oblong} images are not square; of these the centred square was asked about.")
        middle = [float(np.median([min(row.width, row.height) for row in part])) for part in sides.values()]
        if min(middle) and max(middle) / min(middle) > 1.1:
            notes.append(
                f"The images' shorter side is {middle[0]:g} pixels in the median, the non-members' {middle[1]:g}: "
                "scaling alone changes likelihoods, so choose non-members of the same sizes."
            )
    if spec.settings.get("kind") == "text":
        notes.append("Of texts no altered copies are made, so there is no neighbourhood statistic.")
    elif spec.settings.get("first_evidence"):
        notes.append("The first token of each item is left out: nothing taught this kind of model how likely it is.")
    return notes


def _table(rows: Sequence[Asked]) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    return {name: np.array([row.scores[name] for row in rows]) for name in rows[0].scores}


def _blind(sides: Mapping[str, Sequence[Asked]], grouped: bool, seed: int) -> BlindControl:
    first, second = ([row for row in sides[side] if row.features is not None] for side in (_IMAGE, _NONMEMBER))
    described = [np.stack([row.features for row in part if row.features is not None]) for part in (first, second)]
    groups = None
    if grouped:
        # an image without a series is one of its own
        groups = [row.item.group or f"alone {number}" for number, row in enumerate((*first, *second))]
    return blind_control(*described, groups=groups, seed=seed)


def _plain(found: Separation, *, curve: bool) -> dict[str, Any]:
    facts = asdict(found)
    if not curve:
        del facts["false_positive"], facts["true_positive"]
    return facts


def _write_table(path: Path, rows: Sequence[Asked], chances: Mapping[int, float]) -> None:
    names = [name for name in STATISTICS if any(name in row.scores for row in rows)]
    header = ["side", "id", "sha256", "state", "reason", "width", "height", "caption", *names, "p"]
    write_csv(
        path,
        header,
        (
            [
                row.item.side,
                row.item.record.id,
                row.sha256,
                row.state,
                row.reason,
                row.width,
                row.height,
                row.item.caption,
                *[row.scores.get(name, "") for name in names],
                chances.get(id(row), ""),
            ]
            for row in rows
        ),
    )


def _silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
