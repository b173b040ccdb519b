"""Extraction without references: draw every prompt many times, and keep what comes back again and again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forensics.errors import UsageError
from forensics.flows.completions import Asked, CompletionStore, Estimate, estimate
from forensics.flows.generate import GeneratedFile, generate
from forensics.flows.generation_files import IMAGES, load_pixels
from forensics.flows.lab_items import square
from forensics.generate import GeneratorOptions, create
from forensics.lab.repeats import (
    Repeats,
    alike,
    common_among,
    detail,
    groups,
    largest_clique,
    ranked,
    tile_distances,
    uncoded,
)
from forensics.report.files import write_bytes, write_csv, write_json
from forensics.report.lab_extraction import RepeatCard, render_repeats
from forensics.sources.prompts import read_prompts
from forensics.thresholds import THRESHOLDS
from forensics.truth import RULE, Coded
from forensics.types import Generator, Progress, Scalar

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["RepeatsResult", "find_repeats", "repeats"]

_FORMAT = "forensics-repeats-1"
_CELL = 4
"""Pixels along a side of a cell, as in the pictures on which the rule was set."""
_CELLS = 16
_FEWEST, _MOST = 2, 10_000
_SHOWN, _PICTURES = 200, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatsResult:
    """A finished run.

    Attributes
    ----------
    out, page, table : Path
        The folder, its ``repeats.html`` and ``repeats.csv``.
    texts : tuple of str
        The prompts.
    files : tuple of GeneratedFile
        All images, which the groups' numbers mean.
    groups : tuple of Repeats
        In the order of their ranks.
    prompts, images : int
    notes : tuple of str
    """

    out: Path
    page: Path
    table: Path
    texts: tuple[str, ...]
    files: tuple[GeneratedFile, ...]
    groups: tuple[Repeats, ...]
    prompts: int
    images: int
    notes: tuple[str, ...] = ()


def repeats(
    prompts: str | Path | Sequence[str],
    *,
    model: str | Generator,
    out: Path,
    samples: int = 16,
    seed: int = 0,
    settings: Mapping[str, Scalar] | None = None,
    options: GeneratorOptions | None = None,
    on_estimate: Callable[[Estimate], bool] | None = None,
    progress: Progress | None = None,
) -> RepeatsResult | None:
    """Draw prompts many times and group what is near-identical.

    Parameters
    ----------
    prompts : str, Path or sequence of str
        As for :func:`forensics.flows.generate.generate`.
    model : str or Generator
        Any generator: nothing but its images is looked at, and its tokens where it has them.
    out : Path
        A generation folder (a run that is cut off goes on in it), with ``repeats.csv``, ``repeats.json``,
        ``repeats.html`` and ``candidates/``: the centre of every group, ranked, for a search by hand.
    samples : int
        Images a prompt, 2 or more.
    seed : int
        Of the first.
    settings : mapping, optional
        The generator's.
    options : GeneratorOptions, optional
    on_estimate : callable, optional
        Told what the run will take; where it returns False nothing is drawn.
    progress : Progress, optional

    Returns
    -------
    RepeatsResult or None
        None where ``on_estimate`` ended it.
    """
    options = options or GeneratorOptions()
    if not _FEWEST <= samples <= _MOST:
        raise UsageError(f"{samples} samples a prompt given, {_FEWEST} to {_MOST:,} accepted: repeats need company")
    rows = read_prompts(prompts)
    generator = create(model, options) if isinstance(model, str) else model
    if on_estimate is not None and not on_estimate(_estimate(generator, rows, samples, out, options)):
        return None
    done = generate(
        prompts, model=generator, out=out, n=samples, seed=seed, settings=settings, options=options, progress=progress
    )
    texts = tuple(row.prompt for row in rows)
    # prompts that say the same are one
    first = {text: number for number, text in reversed(list(enumerate(texts)))}
    found = find_repeats(_coded(done.files), [first[file.prompt] for file in done.files], progress=progress)
    result = RepeatsResult(
        out=out,
        page=out / "repeats.html",
        table=out / "repeats.csv",
        texts=texts,
        files=done.files,
        groups=tuple(found),
        prompts=len(first),
        images=len(done.files),
        notes=(*done.notes, *_notes(len(first), samples)),
    )
    _write(result, generator, samples=samples, seed=seed)
    return result


def find_repeats(
    images: Coded, prompts: Sequence[int], *, least: int | None = None, progress: Progress | None = None
) -> list[Repeats]:
    """Return the groups of images of one prompt that show the same, ranked.

    Parameters
    ----------
    images : Coded
        Of all prompts.
    prompts : sequence of int
        (n,) the prompt of each image.
    least : int, optional
        Images of a group; by default the threshold ``repeated_images``.
    progress : Progress, optional
    """
    least = round(THRESHOLDS["repeated_images"].value) if least is None else least
    numbers = np.asarray(prompts)
    common = common_among(images, [str(number) for number in prompts])
    found: list[Repeats] = []
    for done, prompt in enumerate(dict.fromkeys(prompts), start=1):
        own = np.flatnonzero(numbers == prompt)
        part, known = images[own], common[own]
        clique = len(largest_clique(tile_distances(part.pictures) < RULE.near).members)
        told = detail(part, known)
        found += [
            Repeats(
                prompt=prompt,
                centre=int(own[group.centre]),
                members=tuple(own[list(group.members)].tolist()),
                share=len(group.members) / len(own),
                strength=group.strength,
                detail=float(told[group.centre]),
                clique=clique,
            )
            for group in groups(alike(part, known))
            if len(group.members) >= least
        ]
        if progress is not None:
            progress("grouping samples", done, len(set(prompts)))
    return ranked(found)


def _coded(files: Sequence[GeneratedFile]) -> Coded:
    """Return images as the rule takes them, with their tokens where the generator drew them from a codebook."""
    tokens = [json.loads(file.sidecar.read_text("utf-8")).get("tokens") or [] for file in files]
    side = round(len(tokens[0]) ** 0.5) if tokens else 0
    square_tokens = side > 1 and all(len(row) == side * side for row in tokens)
    cells = side if square_tokens else _CELLS
    pixels = np.stack([square(load_pixels(file), cells * _CELL) for file in files])
    pictures = np.asarray(pixels / 255, np.float32)
    if not square_tokens:
        return uncoded(pictures, cells)
    return Coded(tokens=np.array(tokens, np.int64).reshape(-1, side, side), pictures=pictures)


def _estimate(
    generator: Generator, rows: Sequence[Any], samples: int, out: Path, options: GeneratorOptions
) -> Estimate:
    """Say what is still to be drawn; time and memory where the generator is a ruDALL-E, and can be asked for a row."""
    there = len(list((out / IMAGES).glob("*.json"))) if (out / IMAGES).is_dir() else 0
    images = max(0, sum(row.count or samples for row in rows) - there)
    from forensics.generate.rudalle.generator import RudalleGenerator

    if not isinstance(generator, RudalleGenerator):
        return Estimate(completions=images, tokens=0, seconds=float("nan"), memory=0)
    from forensics.generate.rudalle.likelihood import RudalleLikelihood

    asked = RudalleLikelihood(generator, batch=options.batch)
    items = Asked(tokens=np.zeros((1, asked.spec.length), np.int64), captions=(rows[0].prompt,))
    one = estimate(asked, items, (0,), range(options.batch), CompletionStore(None, asked.spec), batch=options.batch)
    return replace(
        one,
        completions=images,
        tokens=images * asked.spec.length,
        seconds=one.seconds * images / one.completions,
    )


def _notes(prompts: int, samples: int) -> list[str]:
    notes = []
    if prompts == 1:
        notes.append(
            "One prompt alone: what images of other prompts show too (a mark, a frame) cannot be told from it."
        )
    if samples < 8:
        notes.append(f"{samples} samples a prompt are few: what comes back in a tenth of them will be missed.")
    return notes


def _write(result: RepeatsResult, generator: Generator, *, samples: int, seed: int) -> None:
    out = result.out
    folder = out / "candidates"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("rank-*.png"):
        old.unlink()
    for group in result.groups:
        source = result.files[group.centre].path
        write_bytes(folder / f"rank-{group.rank:04d}-{source.name}", source.read_bytes())
    write_csv(
        result.table,
        ("rank", "prompt", "images", "samples", "share", "strength", "detail", "clique", "centre", "members"),
        (
            (
                group.rank,
                result.texts[group.prompt],
                len(group.members),
                round(len(group.members) / group.share),
                round(group.share, 4),
                round(group.strength, 4),
                round(group.detail, 4),
                group.clique,
                result.files[group.centre].path.name,
                " ".join(result.files[i].path.name for i in group.members),
            )
            for group in result.groups
        ),
    )
    write_json(
        out / "repeats.json",
        {
            "format": _FORMAT,
            "model": generator.spec.to_dict(),
            "prompts": result.prompts,
            "images": result.images,
            "samples": samples,
            "seed": seed,
            "least": round(THRESHOLDS["repeated_images"].value),
            "rule": asdict(RULE),
            "groups": len(result.groups),
            "notes": list(result.notes),
        },
    )
    render_repeats(
        result.page,
        model=generator.spec.name,
        prompts=result.prompts,
        images=result.images,
        cards=[_card(result, group) for group in result.groups[:_SHOWN]],
        least=round(THRESHOLDS["repeated_images"].value),
        notes=result.notes,
    )


def _card(result: RepeatsResult, group: Repeats) -> RepeatCard:
    order = [group.centre, *(i for i in group.members if i != group.centre)][:_PICTURES]
    files = [result.files[i] for i in order]
    pictures: list[UInt8Array] = [load_pixels(file) for file in files]
    return RepeatCard(
        rank=group.rank,
        prompt=result.texts[group.prompt],
        pictures=tuple(pictures),
        files=tuple(f"{IMAGES}/{file.path.name}" for file in files),
        found=len(group.members),
        samples=round(len(group.members) / group.share),
        strength=group.strength,
        detail=group.detail,
        clique=group.clique,
    )
