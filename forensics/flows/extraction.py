"""Prefix extraction: give a model the beginning of each reference and see whether the rest comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.flows.completions import (
    FILE,
    Asked,
    CompletionStore,
    Drawn,
    Estimate,
    complete_all,
    default_rows,
    estimate,
)
from forensics.flows.extraction_results import Extraction, FromPrefix, ItemResult, Judged
from forensics.flows.lab_items import LabItem, read_lab_items
from forensics.generate import GeneratorOptions
from forensics.generate.likelihood import open_likelihood
from forensics.lab.extraction import at_least_one, chance, copied_cells, needed_prefix, shares_right, verbatim
from forensics.lab.intervals import at_least_one_interval, mean_interval, share_interval
from forensics.lab.repeats import common_among
from forensics.truth import RULE, Coded
from forensics.types import AutoregressiveModel, Decoder, Progress

if TYPE_CHECKING:
    from forensics.types import TokenArray

__all__ = ["coded", "extract", "judge"]

_ENCODED_AT_ONCE = 64


def extract(
    references: Path,
    *,
    model: str | AutoregressiveModel,
    out: Path,
    rows: Sequence[int] = (),
    samples: int = 4,
    seed: int = 0,
    captions: bool = True,
    scores: bool = True,
    options: GeneratorOptions | None = None,
    length: int | None = None,
    on_estimate: Callable[[Estimate], bool] | None = None,
    progress: Progress | None = None,
) -> Extraction | None:
    """Complete references from their first rows and say which come back.

    Parameters
    ----------
    references : Path
        A source of images, or for a model of text a file of texts.
    model : str or AutoregressiveModel
        A name for :func:`forensics.generate.likelihood.open_likelihood`, or an adapter.
    out : Path
        Folder to write: ``completions.jsonl`` (a run that is cut off goes on from it), ``extraction.json``,
        ``extraction.csv``, ``extraction.html``.
    rows : sequence of int
        Prefixes in rows of tokens; by default those of :func:`default_rows`.
    samples : int
        Samples an item and prefix, 0 or more; a greedy completion comes beside them.
    seed : int
        Of the first sample; the next has one more.
    captions : bool
        Give the model the captions that the source has.
    scores : bool
        Also compare pictures by a copy descriptor: SSCD where its weights are here, else pHash.
    options : GeneratorOptions, optional
    length : int, optional
        Tokens of each text that are looked at, for models of text.
    on_estimate : callable, optional
        Told what the run will take before it begins; where it returns False nothing is drawn.
    progress : Progress, optional

    Returns
    -------
    Extraction or None
        None where ``on_estimate`` ended it.

    Raises
    ------
    SourceError, UsageError, WeightsError
        If there is nothing to ask for, or nobody to ask.
    """
    from forensics.flows.extraction_files import copy_scores, write_extraction

    options = options or GeneratorOptions()
    if samples < 0 or not 0 <= seed < 2**63 - samples:
        raise UsageError(f"{samples} samples and seed {seed} given, 0 or more and 0 to 2^63 - 1 accepted")
    asked = open_likelihood(model, options, length=length) if isinstance(model, str) else model
    spec = asked.spec
    chosen = _rows(rows or default_rows(spec), spec.length // spec.row)
    items, unread = read_lab_items(references, spec, progress=progress)
    tokens = np.concatenate(
        [
            asked.encode([item.content for item in items[i : i + _ENCODED_AT_ONCE]])
            for i in range(0, len(items), _ENCODED_AT_ONCE)
        ]
    )
    told = captions and spec.captions
    questions = Asked(tokens=tokens, captions=tuple(item.caption if told else "" for item in items))
    prefixes, seeds = [k * spec.row for k in chosen], range(seed, seed + samples)
    store = CompletionStore(out / FILE, spec)
    expected = estimate(asked, questions, prefixes, seeds, store, batch=options.batch)
    if on_estimate is not None and not on_estimate(expected):
        return None
    drawn = complete_all(asked, questions, prefixes, seeds, store=store, batch=options.batch, progress=progress)
    groups = [str(item.metadata.get("group") or item.sha256) for item in items]
    judged = judge(asked, tokens, drawn, groups)
    found = [
        copy_scores(asked, items, tokens, drawn[k * spec.row], judged[k * spec.row], progress) if scores else None
        for k in chosen
    ]
    results = _items(items, chosen, spec.row, drawn, judged, [one.figures if one else {} for one in found])
    result = Extraction(
        out=out,
        page=out / "extraction.html",
        prefixes=tuple(_set(k, judged[k * spec.row], samples) for k in chosen),
        items=results,
        unread=tuple(unread),
        estimate=expected,
        score=next((one.name for one in found if one), ""),
        notes=_notes(items, told=told, spec_captions=spec.captions, wanted=captions),
    )
    write_extraction(
        result,
        asked,
        references=references,
        samples=samples,
        seed=seed,
        unrelated=[one.unrelated if one else None for one in found],
    )
    return result


def judge(
    asked: AutoregressiveModel, tokens: TokenArray, drawn: Mapping[int, Drawn], groups: Sequence[str]
) -> dict[int, Judged]:
    """Judge the completions of items, by prefix in tokens.

    Parameters
    ----------
    asked : AutoregressiveModel
        Where it decodes tokens to square pictures, the rule of :mod:`forensics.truth` decides; else every token must be
        right.
    tokens : (m, L) int64
    drawn : mapping
        Of :func:`complete_all`.
    groups : sequence of str
        (m,) items of one group show the same: they are no chance agreement, and do not make each other's cells common.
    """
    images = coded(asked, tokens)
    common = None if images is None else common_among(images, groups)
    judged = {}
    for given, completions in drawn.items():
        both = completions.both
        right = shares_right(tokens, both, given)
        copies, strength = verbatim(tokens, both, given), right
        counted = np.full(len(tokens), tokens.shape[1] - given, np.int32)
        if images is not None and common is not None:
            found = copied_cells(images, [_coded(asked, row) for row in both], common, given)
            copies, strength, counted = found.copies, found.strength, found.counted[:, 0]
        judged[given] = Judged(
            given=given,
            right=right,
            copies=copies,
            strength=strength,
            counted=counted,
            chance=chance(tokens, given, asked.spec.vocabulary, groups),
        )
    return judged


def coded(asked: AutoregressiveModel, tokens: TokenArray) -> Coded | None:
    """Return (n, L) tokens as the rule takes them; None for a model whose tokens are no square pictures."""
    spec = asked.spec
    if not isinstance(asked, Decoder) or spec.settings.get("kind") == "text" or spec.row**2 != spec.length:
        return None
    return _coded(asked, tokens)


def _coded(asked: AutoregressiveModel, tokens: TokenArray) -> Coded:
    side = asked.spec.row
    # completions of one item are often equal: each picture is decoded once
    different, which = np.unique(tokens, axis=0, return_inverse=True)
    pictures = np.stack([np.asarray(picture) for picture in asked.decode(different)])  # type: ignore[attr-defined]
    shown = np.asarray(pictures / 255, np.float32)[which.ravel()]
    return Coded(tokens=np.asarray(tokens).reshape(-1, side, side), pictures=shown)


def _set(rows: int, judged: Judged, samples: int) -> FromPrefix:
    greedy, sampled = judged.copies[:, 0], judged.copies[:, 1:]
    hits = sampled.sum(1)
    # fmt: off
    return FromPrefix(
        rows=rows,
        given=judged.given,
        greedy=share_interval(greedy.tolist()),
        sampled=mean_interval(sampled.mean(1) if samples else []),
        any_sample=mean_interval(at_least_one(hits, samples, samples) if samples else []),
        any_completion=share_interval([any(row) for row in judged.copies.tolist()]),
        right=mean_interval(judged.right[:, 0]),
        chance=judged.chance,
        undecided=int((judged.counted < RULE.counted).sum()) if judged.strength is not judged.right else 0,
    )
    # fmt: on


def _items(
    items: Sequence[LabItem],
    rows: Sequence[int],
    row: int,
    drawn: Mapping[int, Drawn],
    judged: Mapping[int, Judged],
    scores: Sequence[Mapping[str, Sequence[float]]],
) -> tuple[ItemResult, ...]:
    came_back = np.stack([judged[k * row].copies.any(1) for k in rows], 1)
    needed = needed_prefix(came_back, rows)
    results = []
    for i, item in enumerate(items):
        figures: dict[int, dict[str, Any]] = {}
        shown = {}
        for k, extra in zip(rows, scores, strict=True):
            one, best = judged[k * row], int(judged[k * row].best[i])
            copies, samples = int(one.copies[i, 1:].sum()), one.copies.shape[1] - 1
            low, high = at_least_one_interval(copies, samples, samples) if samples else (float("nan"),) * 2
            figures[k] = {
                "greedy": bool(one.copies[i, 0]),
                "copies": copies,
                "samples": samples,
                "at_least_one_low": low,
                "at_least_one_high": high,
                "right": float(one.right[i, 0]),
                "best_right": float(one.right[i, best]),
                "strength": float(one.strength[i, best]),
                "counted": int(one.counted[i]),
                **{name: float(column[i]) for name, column in extra.items()},
            }
            shown[k] = drawn[k * row].both[i, best]
        results.append(ItemResult(item=item, needed_rows=needed[i], shown=shown, figures=figures))
    return tuple(results)


def _rows(rows: Sequence[int], most: int) -> list[int]:
    chosen = sorted(set(rows))
    if bad := [k for k in chosen if not 0 <= k < most]:
        raise UsageError(
            f"a prefix of {bad[0]} rows given, 0 to {most - 1} accepted: the model's items have {most} rows"
        )
    return chosen


def _notes(items: Sequence[LabItem], *, told: bool, spec_captions: bool, wanted: bool) -> tuple[str, ...]:
    notes = []
    bare = sum(not item.caption for item in items)
    if told and bare:
        notes.append(
            f"{bare} of {len(items)} references have no caption; the model was given none, and from 0 rows that asks "
            "for any image at all."
        )
    if spec_captions and not wanted:
        notes.append("The model was given no captions.")
    if len(items) == 1:
        notes.append("One reference alone: what chance would get right, and what is template, cannot be told.")
    return tuple(notes)
