"""Records, specs, measurements and the protocols of generators and embedders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    UInt8Array: TypeAlias = NDArray[np.uint8]
    FloatArray: TypeAlias = NDArray[np.float32]

__all__ = [
    "Box",
    "Decoded",
    "Embedder",
    "EmbedderSpec",
    "Finding",
    "FindingKind",
    "GeneratedImage",
    "Generator",
    "GeneratorSpec",
    "ImageRef",
    "ImageState",
    "Lead",
    "Point",
    "Progress",
    "Record",
    "Region",
    "Scalar",
    "Scorer",
    "Verification",
    "View",
]

ImageState: TypeAlias = Literal["ok", "degraded", "rejected", "error"]
"""How an input file ended. ``ok`` and ``degraded`` have pixels, ``rejected`` and ``error`` have none."""

FindingKind: TypeAlias = Literal["near_copy", "partial_copy", "template", "watermark", "meme", "cover"]

Scalar: TypeAlias = str | int | float | bool | None
Box: TypeAlias = tuple[int, int, int, int]
Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry of a source, before its bytes are read.

    Attributes
    ----------
    id : str
        Unique within its source: the relative path as it is displayed (undecodable bytes shown as U+FFFD, with a
        short hash added where two names would look the same), or ``shard/key.ext`` for a tar member.
    uri : str
        Where the bytes are, relative to the source's root and percent-encoded, so that any file name survives:
        ``file:a/b.jpg``, ``tar:00000.tar#OFFSET+LENGTH`` (payload offset and length in bytes), or ``lost:NAME#REASON``
        for an entry that has no bytes to read (the rest of a damaged tar, a row without a path): it ends as an error.
    metadata : mapping
        What the source said beside the pixels. Well-known keys: ``caption``, ``prompt``, ``source_url``, ``domain``,
        ``dataset``, ``licence``, ``rights_holder``; any further column keeps its own name.
    """

    id: str
    uri: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What became of one file's bytes.

    Attributes
    ----------
    state, reason : str
        One of :data:`ImageState`; the reason is empty for ``ok``.
    pixels : ndarray or None
        (H, W, 3) uint8 RGB, upright, alpha composited on white. None unless state is ``ok`` or ``degraded``.
    width, height : int
        Full size in pixels after orientation, 0 where it could not be read. ``pixels`` may be smaller (scaled decode).
    format : str
        ``JPEG``, ``PNG``, … or the empty string.
    """

    state: ImageState
    reason: str = ""
    pixels: UInt8Array | None = None
    width: int = 0
    height: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A part of an image, in one of eight orientations, that is embedded on its own.

    Attributes
    ----------
    name : str
        ``whole``, ``tile2x2-0-1``, ``flip`` …
    box : tuple of float
        ``(x0, y0, x1, y1)`` as fractions of width and height, in [0, 1].
    orientation : int
        0 to 7: ``orientation % 4`` quarter turns counter-clockwise, after a left-right mirror from 4 on.
    """

    name: str
    box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    orientation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedderSpec:
    """What an embedder is, exactly. An index stores the specs it was built with and refuses vectors of another.

    Attributes
    ----------
    name : str
        Registry name, e.g. ``sscd-int8``, ``pdq``.
    kind : {"vector", "bits"}
        ``vector``: (n, dim) float32, L2-normalised, compared by cosine. ``bits``: (n, dim / 8) uint8, compared by
        Hamming distance; its score is 1 - distance / dim.
    dim : int
        Floats or bits a row.
    preprocessing : str
        Everything between the upright full-size RGB image and the numbers, scaled decoding included.
    weights_sha256, weights_licence : str
        Of the weights file; empty where there are no weights.
    decode_size : int
        Shorter side in pixels down to which a scaled decode leaves the descriptor within cosine 0.999 of the
        full-size one. 0 means that the full-size image is needed.
    """

    name: str
    kind: Literal["vector", "bits"]
    dim: int
    preprocessing: str
    weights_sha256: str = ""
    weights_licence: str = ""
    decode_size: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return asdict(self)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the spec's canonical JSON."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()


@runtime_checkable
class Embedder(Protocol):
    """Turns images into descriptors. ``prepare`` runs in worker processes, so it must be picklable and light."""

    @property
    def spec(self) -> EmbedderSpec:
        """What this embedder is."""
        ...

    def prepare(self, image: UInt8Array) -> UInt8Array:
        """Turn one (H, W, 3) uint8 RGB image into the fixed-size array that :meth:`embed` takes."""
        ...

    def embed(self, prepared: Sequence[UInt8Array]) -> NDArray[Any]:
        """Return one row an input: (n, dim) float32 with unit norm, or (n, dim / 8) uint8."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """Which image: the record's id, where it was read, and the SHA-256 of its bytes."""

    id: str
    uri: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A matched region in both images, in pixels of the full-size upright images."""

    query_box: Box
    reference_box: Box | None = None
    query_polygon: tuple[Point, ...] = ()
    reference_polygon: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the geometric comparison of one pair measured.

    Attributes
    ----------
    status : {"verified", "unverified"}
        ``unverified`` means that the comparison could not be made at all (the reference's pixels are gone or
        changed); ``reason`` says why. A comparison that found no match is ``verified`` with 0 inliers.
    inliers, matches : int
        Local feature matches that agree with the transform, and mutual matches before that test.
    log10_nfa : float
        log10 of the expected number of such agreements by chance; 0 where there is none, more negative is stronger.
    transform : tuple of 9 floats
        Row-major 3x3 homography from query to reference pixels (full-size, upright); the identity where none was found.
    mirrored : bool
        The query matches the reference's left-right mirror image.
    query_area, reference_area : float
        Share of each image inside the matched region, in [0, 1].
    similarity : float
        Structural agreement of the aligned images in [-1, 1]; 0 where nothing was aligned.
    colour : float
        Agreement of their colour layout in [-1, 1]; 0 where nothing was aligned or both are grey.
    correlation : float
        Where local features found nothing: how well the one image, placed inside the other, correlates with what it
        covers, in [-1, 1]. 0 where it was not tried; then ``transform`` and ``region`` are those of the features.
    region : Region or None
        The matched polygons and their boxes.
    """

    status: Literal["verified", "unverified"]
    reason: str = ""
    inliers: int = 0
    matches: int = 0
    log10_nfa: float = 0.0
    transform: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    mirrored: bool = False
    query_area: float = 0.0
    reference_area: float = 0.0
    similarity: float = 0.0
    colour: float = 0.0
    correlation: float = 0.0
    region: Region | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One claim about one query image, with what was measured and where its threshold comes from."""

    finding_id: str
    kind: FindingKind
    query: ImageRef
    reference: ImageRef | None
    label: str
    score: float
    threshold: float
    threshold_source: str
    measurements: Mapping[str, Scalar]
    regions: tuple[Region, ...] = ()
    reasons: tuple[str, ...] = ()
    review_status: Literal["unreviewed", "confirmed", "rejected", "unclear"] = "unreviewed"
    reviewer: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """A pair that is alike but is not claimed to be a copy: never counted, kept as a possible root of the query."""

    query: ImageRef
    reference: ImageRef
    score: float
    measurements: Mapping[str, Scalar]
    reasons: tuple[str, ...] = ()


class Progress(Protocol):
    """Called by long stages. The library never prints."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` (None: unknown) items of ``stage`` are finished."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorSpec:
    """What a generator is, exactly; every image that it makes carries this.

    Attributes
    ----------
    name : str
        As the user gave it: ``malevich``, ``kvadrat``, ``dummy``, a folder, ``diffusers:…``, ``module:attr``.
    kind : str
        ``rudalle``, ``diffusers``, ``callable`` or a plug-in's own word.
    weights : mapping of str to str
        File name to SHA-256 (hex) of every weight file in use; empty where there are none to name.
    settings : mapping
        What an image depends on besides prompt and seed, as plain values; those that a prompt may set for itself are
        the keys of :attr:`defaults`.
    defaults : mapping
        Settings that :meth:`Generator.generate` takes, with the values they have where none is given.
    licence : str
        Of the weights, as far as it is known.
    """

    name: str
    kind: str
    weights: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    defaults: Mapping[str, Scalar] = field(default_factory=dict)
    licence: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedImage:
    """One generated image.

    Attributes
    ----------
    pixels : ndarray
        (H, W, 3) uint8 RGB.
    measurements : mapping
        What the generator knows of the image: ``perplexity``, ``prompt_used`` where the prompt was cut, …
    tokens : tuple of int
        The codebook indices of an autoregressive generator, row by row; empty for others.
    """

    pixels: UInt8Array
    measurements: Mapping[str, Scalar] = field(default_factory=dict)
    tokens: tuple[int, ...] = ()


@runtime_checkable
class Generator(Protocol):
    """Makes images. Image i depends on (model, prompt i, seed i, settings) alone, not on what else is in the call."""

    @property
    def spec(self) -> GeneratorSpec:
        """What this generator is."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        settings: Mapping[str, Scalar],
        progress: Progress | None = None,
    ) -> Sequence[GeneratedImage]:
        """Return one image a (prompt, seed), in order; one call is one batch.

        ``settings`` holds values for keys of ``spec.defaults``; ``progress`` is told steps done (tokens, denoising
        steps) of all in this call.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says how well images fit prompts, for ranking; files are never reordered by it."""

    @property
    def name(self) -> str:
        """The column that its scores are written to: ``clip``, ``ruclip`` or another."""
        ...

    def score(self, images: Sequence[UInt8Array], prompts: Sequence[str]) -> FloatArray:
        """Return (n,) scores of (H, W, 3) uint8 RGB images and their prompts, pair by pair; higher fits better."""
        ...
