"""Which detectors a run uses, named so that every worker process can make its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from forensics.errors import ForensicsError, MissingExtraError, UsageError
from forensics.thresholds import Threshold, with_overrides

if TYPE_CHECKING:
    from forensics.types import Detector, Scalar

__all__ = [
    "DETECTORS",
    "MEME_THRESHOLDS",
    "SHARED_THRESHOLDS",
    "WATERMARK_THRESHOLDS",
    "ChosenDetectors",
    "DetectorSpec",
    "choose_detectors",
    "cover",
    "meme",
    "refuse_idle",
    "thresholds_in_use",
    "watermark",
]

Argument: TypeAlias = "Scalar | Sequence[Scalar]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSpec:
    """A detector by name, so that every worker process can make its own.

    Attributes
    ----------
    factory : str
        ``"module:attribute"`` of a callable that returns a :class:`~forensics.types.Detector`.
    arguments : mapping
        Keyword arguments for it: plain JSON values, because they are part of what decides whether unfinished work may
        be gone on with.
    """

    factory: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    def make(self) -> Detector:
        """Import the factory and call it.

        Raises
        ------
        UsageError
            If ``factory`` is not of that form or names nothing.
        """
        module, _, attribute = self.factory.partition(":")
        if not module or not attribute:
            raise UsageError(f"detector factory {self.factory!r} given; 'module:attribute' is accepted")
        try:
            made = getattr(import_module(module), attribute)
        except ForensicsError:  # a missing extra says what to install
            raise
        except (ImportError, AttributeError) as error:
            raise UsageError(f"there is no detector at {self.factory!r} ({error}); check the name") from error
        detector: Detector = made(**self.arguments)
        return detector

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"factory": self.factory, "arguments": dict(self.arguments)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDetectors:
    """What a run looks with.

    Attributes
    ----------
    specs : tuple of DetectorSpec
    names : tuple of str
        Of :data:`DETECTORS`, in the same order.
    notes : tuple of str
        What a reader must know: which detector is not available here, and what brings it.
    """

    specs: tuple[DetectorSpec, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


DETECTORS = ("watermark", "meme", "cover")
"""Names that an audit's choice accepts."""

WATERMARK_THRESHOLDS = ("watermark", "watermark_named")
MEME_THRESHOLDS = ("meme", "image_macro", "geometry_log10_nfa")
COVER_THRESHOLDS = ("cover", "cover_unmarked")
SHARED_THRESHOLDS = ("shared_mark", "moving_mark", "shared_mark_share")
"""Names of :data:`forensics.thresholds.THRESHOLDS` that decide about marks, memes, covers, and shared marks."""

# by the detector's own name
_IN_USE = {"watermark": WATERMARK_THRESHOLDS, "memes": MEME_THRESHOLDS, "cover": COVER_THRESHOLDS}


def choose_detectors(
    names: Sequence[str] | None, *, thresholds: Mapping[str, float] | None = None, templates: str | Path | None = None
) -> ChosenDetectors:
    """Return the detectors of these names; those of all names that are available where none is given.

    Parameters
    ----------
    names : sequence of str or None
        Of :data:`DETECTORS`. One that is named and cannot be had is an error; one that is not named is left out with a
        note.
    thresholds : mapping of str to float, optional
        Other values for names of :data:`forensics.thresholds.THRESHOLDS`.
    templates : path, optional
        Index of meme templates; without one, image macros are found and no template is named.

    Raises
    ------
    UsageError
        If a name is unknown.
    WeightsError, MissingExtraError
        If a named detector is not available.
    """
    unknown = [name for name in names or () if name not in DETECTORS]
    if unknown:
        raise UsageError(f"detector {unknown[0]!r} given; choose any of: {', '.join(DETECTORS)}")
    specs, found, notes = [], [], []
    for name in DETECTORS if names is None else dict.fromkeys(names):
        spec = _spec(name, thresholds or {}, templates)
        try:
            _ = spec.make().facts  # the facts hold the weights' SHA-256, so they are read
        except ForensicsError as error:
            if names is not None:
                raise
            notes.append(f"The {name} detector did not run: {error}")
        else:
            specs.append(spec)
            found.append(name)
    return ChosenDetectors(specs=tuple(specs), names=tuple(found), notes=tuple(notes))


def thresholds_in_use(
    table: Mapping[str, Threshold], detectors: Sequence[str], *, discover: bool
) -> dict[str, Threshold]:
    """Return what of a table of thresholds decides in a run of these detectors alone; all of it where one is unknown.

    Parameters
    ----------
    table : mapping of str to Threshold
    detectors : sequence of str
        Their own names, :attr:`forensics.types.Detector.name`.
    discover : bool
        Whether marks that images share are looked for.
    """
    if any(name not in _IN_USE for name in detectors):
        return dict(table)
    used = {entry for name in detectors for entry in _IN_USE[name]}
    if discover:
        used |= {*SHARED_THRESHOLDS}
    return {name: entry for name, entry in table.items() if name in used}


def refuse_idle(own: Mapping[str, float], chosen: Sequence[str], *, templates: bool, discover: bool) -> None:
    """Refuse thresholds of an operator that would decide nothing, because what they decide about is not looked for.

    Parameters
    ----------
    own : mapping of str to float
        The operator's, by names of :data:`forensics.thresholds.THRESHOLDS`.
    chosen : sequence of str
        Of :data:`DETECTORS`: those that run.
    templates, discover : bool
        Whether meme templates are given, and whether marks that images share are looked for.

    Raises
    ------
    UsageError
    """
    looked = {
        **dict.fromkeys(WATERMARK_THRESHOLDS, ("watermark" in chosen, "the watermark network does not run")),
        **dict.fromkeys(SHARED_THRESHOLDS, (discover, "marks that images share are not looked for")),
        "cover": ("cover" in chosen, "covers are not looked for"),
        "cover_unmarked": ("cover" in chosen and "watermark" in chosen, "covers and marks are not both looked for"),
        "image_macro": ("meme" in chosen, "image macros are not looked for"),
        "meme": ("meme" in chosen and templates, "no templates are looked for"),
        "meme_margin": (False, "it sets templates' thresholds when they are added"),
    }
    for name in own:
        useful, why = looked.get(name, (True, ""))
        if not useful:
            raise UsageError(f"threshold {name} given, which would decide nothing here: {why}; leave it out")


def _spec(name: str, thresholds: Mapping[str, float], templates: str | Path | None) -> DetectorSpec:
    if name == "meme" and templates is not None:
        from forensics.flows.memes import meme_detector

        return meme_detector(templates, thresholds=thresholds)
    keys = {
        "watermark": {"watermark": "threshold", "watermark_named": "named"},
        "cover": {"cover": "threshold", "cover_unmarked": "unmarked"},
        "meme": {"image_macro": "threshold"},
    }
    arguments = {argument: thresholds[key] for key, argument in keys[name].items() if key in thresholds}
    return DetectorSpec(factory=f"forensics.flows.detectors:{name}", arguments=arguments)


def watermark(*, threshold: float | None = None, named: float | None = None) -> Detector:
    """Make the detector of stock marks, with the program's thresholds where none is given.

    Raises
    ------
    WeightsError
        If its network is not there.
    """
    from forensics.detect.watermark.detector import WatermarkDetector
    from forensics.detect.watermark.network import MarkModel

    model = MarkModel(threads=1)  # the workers are the parallelism
    _ = model.sha256  # a missing network speaks before its threshold is looked up
    given = {"watermark": threshold, "watermark_named": named}
    table = with_overrides({name: value for name, value in given.items() if value is not None})
    entry, lower = table["watermark"], table["watermark_named"]
    return WatermarkDetector(
        threshold=entry.value,
        threshold_source=entry.source,
        named_threshold=lower.value,
        named_source=lower.source,
        model=model,
    )


def cover(*, threshold: float | None = None, unmarked: float | None = None) -> Detector:
    """Make the detector of covers and mock-ups.

    Raises
    ------
    WeightsError
        If its network is not there.
    """
    from forensics.detect import ocr
    from forensics.detect.cover import CoverDetector
    from forensics.detect.cover_network import CoverModel

    entry, lower = _threshold("cover", threshold), _threshold("cover_unmarked", unmarked)
    model = CoverModel(threads=1)  # the workers are the parallelism
    reader = None if ocr.missing() else ocr.TextReader(threads=1)
    return CoverDetector(
        threshold=entry.value, threshold_source=entry.source, unmarked=lower.value, model=model, reader=reader
    )


def meme(*, threshold: float | None = None) -> Detector:
    """Make the detector of image macros that knows no template.

    Raises
    ------
    MissingExtraError
        If the package that finds text is not installed.
    """
    import numpy as np

    from forensics.detect.meme import MemeDetector
    from forensics.detect.meme_match import TemplateRows, load_model
    from forensics.embed import create
    from forensics.flows.meme_index import caption_reader, limits_of

    captions = caption_reader()
    if captions is None:
        raise MissingExtraError("captions need a package that finds text: pip install 'forensics[ocr]'")
    nothing = np.zeros((0, 1, 1), np.float32)
    return MemeDetector(
        (),
        TemplateRows(vectors=None, layouts=nothing, fines=nothing, hashes=np.zeros((0, 1, 8), np.uint8)),
        embedder=None,
        hasher=create("phash"),
        model=load_model(None),
        limits=limits_of({} if threshold is None else {"image_macro": threshold}),
        captions=captions,
    )


def _threshold(name: str, own: float | None) -> Threshold:
    return with_overrides({} if own is None else {name: own})[name]
