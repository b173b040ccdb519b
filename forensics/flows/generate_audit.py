"""From prompts to a report: every image is described as soon as it is made, while the next ones are being made.

The images are made in a thread of their own, which spends its time inside the model's products, and handed to the audit
through a source that waits for the next one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from forensics.errors import SourceError
from forensics.flows.audit import AuditOptions, Live, audit_source
from forensics.flows.facts import fingerprint
from forensics.flows.generate import GenerateResult, generate
from forensics.flows.generation_files import GeneratedFile, Planned
from forensics.flows.generation_plan import plan
from forensics.flows.results import AuditResult
from forensics.generate import GeneratorOptions, create
from forensics.sources.metadata import clean
from forensics.sources.prompts import read_prompts
from forensics.sources.uris import file_uri
from forensics.types import Generator, Progress, Record, Scalar

__all__ = ["GenerateAuditResult", "generate_audit", "images_folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateAuditResult:
    """An audit, and the generation that it was fed by."""

    audit: AuditResult
    generated: GenerateResult


def images_folder(out: Path) -> Path:
    """Return where the images of a run folder are made: ``OUT-generated`` beside it."""
    out = out if out.name not in ("", "..") else out.resolve()
    return out.with_name(f"{out.name}-generated")


def generate_audit(
    prompts: str | Path | Sequence[str],
    *,
    model: str | Generator,
    index: str | Path,
    out: str | Path,
    n: int = 1,
    seed: int = 0,
    settings: Mapping[str, Scalar] | None = None,
    generator_options: GeneratorOptions | None = None,
    replace: bool = False,
    options: AuditOptions | None = None,
    progress: Progress | None = None,
) -> GenerateAuditResult:
    """Make images of prompts and find which of them are copies of images in ``index``.

    Parameters
    ----------
    prompts, model, n, seed, settings
        As in :func:`forensics.flows.generate.generate`.
    index : path
        A reference index made by :func:`forensics.build_index`.
    out : path
        Run folder. The images are made beside it, in ``OUT-generated``, which is an ordinary generation folder. What an
        interrupted call left in both is not made or described again, except for up to 32 descriptions.
    generator_options : GeneratorOptions, optional
        As ``options`` of :func:`forensics.flows.generate.generate`.
    replace : bool
        Remove the images of an earlier run in ``OUT-generated`` first.
    options : AuditOptions, optional
        How the audit is done.
    progress : Progress, optional
        Called as both go on, from two threads but never at once.

    Raises
    ------
    ForensicsError
        As :func:`forensics.flows.generate.generate` and :func:`forensics.audit` do. Whatever ends the one ends the
        other; finished images are kept and listed in ``OUT-generated/generated.csv``.
    """
    folder = images_folder(Path(out))
    told = _Told(progress)
    with _images(
        prompts,
        folder,
        told,
        model=model,
        n=n,
        seed=seed,
        settings=settings or {},
        options=generator_options or GeneratorOptions(),
        replace=replace,
    ) as images:
        result = audit_source(
            images,
            path=folder,
            index=index,
            out=Path(out),
            options=options or AuditOptions(),
            live=Live(key=images.key, facts=images.facts, notes=lambda: images.result().notes),
            progress=told,
        )
        return GenerateAuditResult(audit=result, generated=images.result())


def _images(
    prompts: str | Path | Sequence[str],
    folder: Path,
    told: _Told,
    *,
    model: str | Generator,
    n: int,
    seed: int,
    settings: Mapping[str, Scalar],
    options: GeneratorOptions,
    replace: bool,
) -> _Images:
    """Open the model and check the prompts, so that what is wrong with them is said before anything else."""
    rows = read_prompts(prompts)
    generator = create(model, options) if isinstance(model, str) else model
    planned, _ = plan(rows, generator, n=n, seed=seed, settings=settings)
    facts = {
        **generator.spec.to_dict(),
        "prompts": str(prompts) if isinstance(prompts, (str, Path)) else list(prompts),
        "n": n,
        "seed": seed,
        "sampling": dict(settings),
    }
    make = partial(
        generate, prompts, model=generator, out=folder, n=n, seed=seed, settings=settings, options=options,
        replace=replace,
    )  # fmt: skip
    key = fingerprint({image.name: [image.key(generator.spec), dict(image.metadata)] for image in planned})
    return _Images(folder, planned, make, key=key, facts=facts, told=told)


class _StopMakingError(BaseException):
    """Ends the generating thread. Not an Exception: no generator shall take it for a failure of its own."""


class _Told:
    """The caller's progress, for two threads."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(stage, done, total)


class _Images:
    """A source: the images of a plan in its order, each as soon as it is finished.

    The generating thread begins when the first image is asked for. As a context, it ends the thread.

    Parameters
    ----------
    folder : Path
        Where the images are made.
    planned : sequence of Planned
    make : callable
        :func:`generate`, all but ``on_image`` and ``progress``.
    key : str
        Stands for all that the images, and what is said of them, depend on.
    facts : mapping
        What is known of the generator at the start.
    told : _Told
    """

    kind = "generated"

    def __init__(
        self,
        folder: Path,
        planned: Sequence[Planned],
        make: Callable[..., GenerateResult],
        *,
        key: str,
        facts: Mapping[str, Any],
        told: _Told,
    ) -> None:
        self.root = folder.absolute()
        self.key = key
        self._folder = folder
        self._names = [image.name for image in planned]
        self._facts = facts
        self._told = told
        # taken out by the thread, so that the model is not held any longer than that
        self._make = [make]
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # guarded by the condition
        self._records: dict[str, Record] = {}
        self._outcome: GenerateResult | BaseException | None = None
        # set once, by the thread that waits
        self._stopped = False

    def __enter__(self) -> _Images:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped = True
        if self._thread is not None:
            self._thread.join()

    def records(self) -> Iterator[Record]:
        """Yield one record an image; raise what ended the generation, once all that were finished are out."""
        self._begin()
        for name in self._names:
            with self._changed:
                self._changed.wait_for(partial(self._is_there, name))
                record = self._records.get(name)
            if record is None:
                self.result()
                raise SourceError("the list of prompts was changed while it was read; give the same command again")
            yield record
        self.result()

    def count(self) -> int:
        """Return the number of images wanted."""
        return len(self._names)

    def result(self) -> GenerateResult:
        """Wait for the generation to end; return what it returned or raise what it raised."""
        self._begin()
        with self._changed:
            self._changed.wait_for(lambda: self._outcome is not None)
        if isinstance(self._outcome, GenerateResult):
            return self._outcome
        raise cast("BaseException", self._outcome)

    def facts(self) -> dict[str, Any]:
        """Return the generator's entry in ``run.json``."""
        made = self.result()
        return {
            **self._facts,
            "images": {"made": made.made, "kept": made.kept},
            "tokens": made.tokens,
            "seconds": round(made.seconds, 3),
        }

    def _is_there(self, name: str) -> bool:
        return name in self._records or self._outcome is not None

    def _begin(self) -> None:
        if self._thread is None:
            # a daemon: a second Ctrl-C ends the program where a generator does not come to an end
            self._thread = threading.Thread(target=self._run, name="forensics-generate", daemon=True)
            self._thread.start()

    # Everything below runs in the generating thread.

    def _run(self) -> None:
        outcome: GenerateResult | BaseException
        try:
            outcome = self._make.pop()(on_image=self._take, progress=self._report)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits, which raises it
            outcome = error
        with self._changed:
            self._outcome = outcome
            self._changed.notify_all()

    def _take(self, file: GeneratedFile) -> None:
        with self._changed:
            self._records[file.path.stem] = _record(file, self._folder)
            self._changed.notify_all()
        self._stop_if_asked()

    def _report(self, stage: str, done: int, total: int | None) -> None:
        self._stop_if_asked()  # between two tokens: a batch can take minutes
        self._told(stage, done, total)

    def _stop_if_asked(self) -> None:
        if self._stopped:
            raise _StopMakingError


def _record(file: GeneratedFile, folder: Path) -> Record:
    """Return an image's record with the columns that ``generated.csv`` gives it, ranks excepted: they come last."""
    path = file.path.relative_to(folder)
    own = {"prompt": file.prompt, "seed": file.seed, **file.measurements, **file.scores, "number": file.number}
    given = {f"given_{name}" if name in own or name == "path" else name: v for name, v in file.metadata.items()}
    return Record(id=path.as_posix(), uri=file_uri(os.fsencode(path)), metadata=clean({**own, **given}))
