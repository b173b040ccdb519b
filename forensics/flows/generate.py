"""Prompts in, a folder of images with their records out; ``generated.csv`` of it is a source for the audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.errors import ForensicsError, UsageError
from forensics.flows.facts import case_facts
from forensics.flows.generation_files import Folder, GeneratedFile, Planned, load_pixels
from forensics.flows.generation_plan import plan
from forensics.flows.generation_progress import Meter
from forensics.generate import GeneratorOptions, create
from forensics.sources.prompts import read_prompts
from forensics.types import Generator, Progress, Scalar, Scorer

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["GenerateResult", "GeneratedFile", "generate"]

_SCORED_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateResult:
    """A finished generation.

    Attributes
    ----------
    out : Path
        The folder: ``images/``, ``generated.csv``, ``generation.json``.
    table : Path
        ``generated.csv``, a source for :func:`forensics.audit`.
    files : tuple of GeneratedFile
        In the order of the prompts and seeds.
    made, kept : int
        Images of this run, and of earlier ones in the same folder.
    seconds : float
        That the generator worked.
    tokens : int
        That it drew; 0 where it draws none.
    notes : tuple of str
        What a reader must know, e.g. which prompts were cut.
    """

    out: Path
    table: Path
    files: tuple[GeneratedFile, ...]
    made: int
    kept: int
    seconds: float
    tokens: int
    notes: tuple[str, ...] = ()


def generate(
    prompts: str | Path | Sequence[str],
    *,
    model: str | Generator,
    out: str | Path,
    n: int = 1,
    seed: int = 0,
    settings: Mapping[str, Scalar] | None = None,
    options: GeneratorOptions | None = None,
    scorers: Sequence[Scorer] = (),
    replace: bool = False,
    on_image: Callable[[GeneratedFile], None] | None = None,
    progress: Progress | None = None,
) -> GenerateResult:
    """Make ``n`` images of every prompt.

    Image i of a prompt has the seed ``seed + i`` (from 0; a prompt's own seed counts where it has one). It depends on
    the model, the prompt, that seed and the settings, not on the batch, the other prompts or restarts.

    Parameters
    ----------
    prompts : str, Path or sequence of str
        A prompt, a file of prompts, a list that ships: see :func:`forensics.sources.prompts.read_prompts`.
    model : str or Generator
        A name for :func:`forensics.generate.create`, or a generator.
    out : path
        Folder to write. Finished images of the same run are kept; images of another run are an error.
    n : int
        Images a prompt that does not say so itself.
    seed : int
        Of the first image of every prompt that has none of its own, 0 to 2^63 - 1.
    settings : mapping, optional
        For all prompts: values for keys of the generator's ``spec.defaults``. Columns of the same names overrule them.
    options : GeneratorOptions, optional
        Device, type, batch, places of files.
    scorers : sequence of Scorer
        Their scores, and ranks within each prompt, become columns; files are never reordered.
    replace : bool
        Remove the images of an earlier run in ``out`` first.
    on_image : callable, optional
        Called with every finished image as soon as it is committed; with those kept from earlier runs at first.
    progress : Progress, optional
        Called with images done and in all, and with the generator's own steps (tokens), summed over the run.

    Raises
    ------
    SourceError
        If the prompts cannot be read, naming file and line.
    UsageError
        If a setting is wrong, or ``out`` holds images of another run.
    WeightsError
        If the model's files are missing or not what they claim.
    ForensicsError
        If an image cannot be written. Whatever ends a run, finished images are kept and listed in ``generated.csv``.
    """
    started = datetime.now(UTC)
    rows = read_prompts(prompts)
    options = options or GeneratorOptions()
    if n < 1:
        raise UsageError(f"{n} images a prompt given, 1 or more accepted")
    names = [scorer.name for scorer in scorers]
    if len(set(names)) != len(names):
        raise UsageError(f"scorers {', '.join(names)} given, each name once accepted: it is the column of the scores")
    generator = create(model, options) if isinstance(model, str) else model
    planned, notes = plan(rows, generator, n=n, seed=seed, settings=settings or {})
    folder = Folder(Path(out), generator.spec)
    meter = Meter(progress or _silent)
    take = on_image or _nothing
    with folder.locked():
        if replace:
            folder.remove_all()
        done = folder.finished(planned)
        kept, complete = len(done), False
        try:
            for file in _scored_again(folder, list(done.values()), scorers):
                done[file.path.stem] = file
                take(file)
            todo = [image for image in planned if image.name not in done]
            meter.begin(len(todo))
            for batch in _batches(todo, options.batch):
                for file in _make(folder, generator, batch, scorers, meter):
                    done[file.path.stem] = file
                    meter.image()
                    take(file)
            complete = True
        except OSError as error:
            raise ForensicsError(
                f"{error.filename or folder.out}: {error.strerror or error}; {len(done)} of {len(planned)} images are "
                "finished and kept: make room, then give the same command again to go on"
            ) from error
        finally:
            files = tuple(done[image.name] for image in planned if image.name in done)
            notes += _cut(files)
            facts = {
                **case_facts(case_id="", operator="", started=started),
                "model": generator.spec.to_dict(),
                "prompts": str(prompts) if isinstance(prompts, (str, Path)) else list(prompts),
                "settings": {"n": n, "seed": seed, **(settings or {})},
                "scorers": {scorer.name: _identity(scorer) for scorer in scorers},
                "images": {"planned": len(planned), "finished": len(files), "kept": kept},
                "seconds": round(meter.seconds, 3),
                "notes": notes,
            }
            # when something has gone wrong already, that is what the user must hear of
            with suppress(*([] if complete else [OSError])):
                folder.write_lists(files, facts, complete=complete)
    return GenerateResult(
        out=folder.out,
        table=folder.table,
        files=files,
        made=len(files) - kept,
        kept=kept,
        seconds=meter.seconds,
        tokens=meter.tokens,
        notes=tuple(notes),
    )


def _batches(images: Sequence[Planned], size: int) -> Iterator[list[Planned]]:
    """Yield neighbours of equal settings together."""
    batch: list[Planned] = []
    for image in images:
        if batch and (len(batch) == size or image.sampling != batch[0].sampling):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def _make(
    folder: Folder, generator: Generator, batch: Sequence[Planned], scorers: Sequence[Scorer], meter: Meter
) -> Iterator[GeneratedFile]:
    prompts = [image.prompt for image in batch]
    with meter.batch(len(batch)) as report:
        images = generator.generate(
            prompts, [image.seed for image in batch], settings=batch[0].sampling, progress=report
        )
    meter.tokens += sum(len(image.tokens) for image in images)
    scores = _scores(scorers, [image.pixels for image in images], prompts)
    for planned, image, fits in zip(batch, images, scores, strict=True):
        yield folder.write(planned, image, fits, {scorer.name: _identity(scorer) for scorer in scorers})


def _scored_again(folder: Folder, files: Sequence[GeneratedFile], scorers: Sequence[Scorer]) -> Iterator[GeneratedFile]:
    """Yield finished images, with the scores of scorers that the earlier run did not have."""
    for start in range(0, len(files), _SCORED_AT_ONCE):
        part = files[start : start + _SCORED_AT_ONCE]
        missing = [
            scorer for scorer in scorers if any(file.scored_by.get(scorer.name) != _identity(scorer) for file in part)
        ]
        if not missing:
            yield from part
            continue
        scores = _scores(missing, [load_pixels(file) for file in part], [file.prompt for file in part])
        for file, fits in zip(part, scores, strict=True):
            yield folder.add_scores(file, fits, {scorer.name: _identity(scorer) for scorer in missing})


def _identity(scorer: Scorer) -> str:
    """Return what tells a scorer from another of its name, where it says so itself."""
    return str(getattr(scorer, "identity", scorer.name))


def _scores(scorers: Sequence[Scorer], pixels: Sequence[UInt8Array], prompts: Sequence[str]) -> list[dict[str, float]]:
    columns = {scorer.name: scorer.score(pixels, prompts).tolist() for scorer in scorers}
    return [{name: float(column[place]) for name, column in columns.items()} for place in range(len(pixels))]


def _cut(files: Sequence[GeneratedFile]) -> list[str]:
    """Return a note for every prompt that was longer than the model reads."""
    cut = {file.number: file for file in files if file.measurements.get("prompt_dropped")}
    return [
        f"Prompt {number} is longer than the model reads; it was cut after "
        f'"{str(file.measurements["prompt_used"])[-40:]}".'
        for number, file in sorted(cut.items())
    ]


def _nothing(file: GeneratedFile) -> None:
    """Take no notice."""


def _silent(stage: str, done: int, total: int | None) -> None:
    """Report nothing."""
