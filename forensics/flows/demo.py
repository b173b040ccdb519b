"""The demo: the embedded world, whose truth is known. Prompts → images → audit → report → grade."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forensics.errors import UsageError
from forensics.flows.audit import AuditOptions
from forensics.flows.build import build
from forensics.flows.detectors import DetectorSpec
from forensics.flows.generate import GeneratedFile
from forensics.flows.generate_audit import generate_audit
from forensics.flows.results import AuditResult
from forensics.flows.world import ReferenceSource, Truth, World, embedded_corpus, open_model
from forensics.generate import GeneratorOptions
from forensics.report.grading import Grade, Graded, add_grading
from forensics.schema import COPY_KINDS
from forensics.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from forensics.embed import DefaultEmbedders
    from forensics.train.corpus import Corpus, CorpusPicture
    from forensics.types import Embedder, Progress

__all__ = ["DemoResult", "build_references", "demo", "known_marks", "reference_index"]

MODEL = "kvadrat"
PROMPTS = "demo"
SAMPLES = 2
_SHIPPED = "index"
_ROOT = "index_data/demo"
"""What a shipped index calls the folder of its pictures, which lies elsewhere on every machine."""
_SEEDS_APART = 1000
_BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """A demo run.

    Attributes
    ----------
    audit : AuditResult
    grade : Grade
        What the audit flagged against what is known.
    images : Path
        The generated images, with ``generated.csv``.
    index : Path
        The reference index that was searched.
    source_roots : mapping of str to str
        Where that index's pictures lie; empty where it says so itself.
    seconds : mapping of str to float
        What the stages took.
    """

    audit: AuditResult
    grade: Grade
    images: Path
    index: Path
    source_roots: Mapping[str, str]
    seconds: Mapping[str, float]


def demo(
    *,
    out: str | Path,
    seed: int = 1,
    model: str = MODEL,
    prompts: str | Path = PROMPTS,
    n: int = SAMPLES,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Run the demo.

    Parameters
    ----------
    out : path
        Run folder. The images lie beside it in ``OUT-generated``, and where the index had to be built, it lies in
        ``OUT-index``.
    seed : int
        Of the images: another one gives other images of the same prompts. At least 0.
    model : str
        ``kvadrat``, or a folder of a model that was trained on the embedded corpus.
    prompts : str or Path
        As in :func:`forensics.flows.generate.generate`; one that is a caption of the corpus is graded by its picture.
    n : int
        Images a prompt.
    workers : int, optional
        As in :func:`forensics.audit`.
    progress : Progress, optional

    Raises
    ------
    UsageError
        If the embedded pictures are not installed, or one of these folders holds something else.
    WeightsError
        If the model is not there.
    """
    if seed < 0:
        raise UsageError(f"seed {seed} given, 0 or more accepted")
    out = Path(out)
    clock = _Clock()
    corpus, generator = embedded_corpus(), open_model(model, batch=_BATCH)
    own_index = out.with_name(f"{out.name}-index")
    index, roots = reference_index(corpus, own_index, model=model, workers=workers, progress=progress)
    clock.lap("index")
    done = generate_audit(
        prompts,
        model=generator,
        index=index,
        out=out,
        n=n,
        seed=seed * _SEEDS_APART,
        generator_options=GeneratorOptions(batch=_BATCH),
        replace=True,
        options=AuditOptions(source_roots=roots, detectors=(known_marks(),), workers=workers),
        progress=progress,
    )
    clock.lap("generate and audit")
    world = World(corpus, generator.vqgan, progress=progress)
    images = _graded(done.audit, done.generated.files, world)
    grade = add_grading(out, images, rule=asdict(world.rule))
    clock.lap("grade")
    return DemoResult(
        audit=done.audit,
        grade=grade,
        images=done.generated.out,
        index=index,
        source_roots=roots,
        seconds=clock.laps,
    )


def known_marks() -> DetectorSpec:
    """Return what names the detector of the embedded corpus's marks to a run."""
    return DetectorSpec(
        factory="forensics.flows.world:agency_mark_detector",
        arguments={"margin": THRESHOLDS["known_mark"].value},
    )


def reference_index(
    corpus: Corpus, out: Path, *, model: str = MODEL, workers: int | None = None, progress: Progress | None = None
) -> tuple[Path, dict[str, str]]:
    """Return an index of members and distractors, and where its pictures lie.

    The shipped one is taken where it has the descriptors that this machine would make; else one is built in ``out``.
    """
    from forensics.errors import IndexFormatError
    from forensics.flows.index import open_index
    from forensics.index.writer import is_index

    wanted = _embedders(model)
    shipped = corpus.folder / _SHIPPED
    try:
        specs = open_index(shipped).specs
    except IndexFormatError:
        specs = {}
    there = {spec.fingerprint for spec in specs.values()}
    if all(embedder.spec.fingerprint in there for embedder in wanted):
        return _short(shipped), {_ROOT: str(corpus.folder.absolute())}
    if is_index(out):  # of an earlier demo; anything else there is an error
        shutil.rmtree(out)
    build_references(corpus, out, wanted, workers=workers, progress=progress)
    return out, {}


def build_references(
    corpus: Corpus,
    out: Path,
    embedders: Sequence[Embedder],
    *,
    shipped: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Build the reference index; one that is to be ``shipped`` does not say on which machine its pictures lay."""
    from forensics.index.manifest import read_manifest, write_manifest

    source = ReferenceSource(corpus)
    build(source, out, embedders, path=corpus.folder / "manifest.csv", workers=workers, progress=progress)
    if shipped:
        manifest = read_manifest(out).with_source(0, root=_ROOT, path=f"{_ROOT}/manifest.csv")
        write_manifest(out, manifest)


def _embedders(model: str) -> list[Embedder]:
    """Return what this machine compares with: hashes, an SSCD where there is one, and the CLIP of this world."""
    from forensics.embed import create, default_embedders

    defaults: DefaultEmbedders = default_embedders()
    names = [name for name in defaults.names if not name.startswith("clip")]
    clip = _clip_folder(model)
    return [create(name) for name in (*names, *([f"clip:@{clip}"] if clip else ()))]


def _clip_folder(model: str) -> Path | None:
    from forensics.generate.rudalle.models import EMBEDDED, home

    folder = (home(EMBEDDED) if model == EMBEDDED else Path(model)) / "clip"
    return folder if folder.is_dir() else None


def _short(path: Path) -> Path:
    """Return a path as a reader of the report can use it: relative where it lies below the working folder."""
    working = Path.cwd()
    return path.relative_to(working) if path.is_relative_to(working) else path


def _graded(result: AuditResult, files: Sequence[GeneratedFile], world: World) -> list[Graded]:
    tokens = [json.loads(file.sidecar.read_text("utf-8"))["tokens"] for file in files]
    truths = world.truth(world.decoded(tokens))
    planned = {picture.caption: picture for picture in world.corpus.pictures if picture.role != "distractor"}
    copies: dict[str, list[str]] = {}
    marks: dict[str, list[str]] = {}
    for finding in result.findings().to_dict("records"):
        query = str(json.loads(str(finding["query"]))["id"])
        if finding["kind"] in COPY_KINDS:
            copies.setdefault(query, []).append(str(json.loads(str(finding["reference"]))["id"]))
        elif finding["kind"] == "watermark":
            marks.setdefault(query, []).append(str(finding["label"]))
    ids = [file.path.relative_to(file.path.parent.parent).as_posix() for file in files]
    return [
        _grade_one(name, planned.get(file.prompt), truth, copies.get(name, []), marks.get(name, []), world)
        for name, file, truth in zip(ids, files, truths, strict=True)
    ]


def _grade_one(
    name: str, picture: CorpusPicture | None, truth: Truth, flagged: list[str], marks: list[str], world: World
) -> Graded:
    def identifier(of: CorpusPicture) -> str:
        return of.path.relative_to(world.corpus.folder).as_posix()

    level = "none" if picture is None else f"{picture.planted}x" if picture.role == "member" else picture.role
    return Graded(
        id=name,
        level=level,
        copies=[identifier(of) for of in truth.copies],
        nearest=identifier(truth.member),
        equal=round(truth.equal, 4),
        near=round(truth.near, 4),
        counted=truth.counted,
        flagged=flagged,
        mark=picture.details.get("watermark", "") if picture is not None and picture.role == "member" else "",
        marks=marks,
    )


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.laps[name] = round(now - self._last, 1)
        self._last = now
