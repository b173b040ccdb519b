"""The embedded world: its corpus, what its model's codebook makes of it, and the truth about images drawn from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import forensics
from forensics.detect import KnownMark, KnownMarkDetector
from forensics.errors import UsageError
from forensics.render.agencies import AGENCIES, coverage
from forensics.sources.uris import file_uri
from forensics.thresholds import THRESHOLDS
from forensics.train.corpus import Corpus, CorpusPicture, Role, read_corpus, read_pixels
from forensics.truth import RULE, Coded, Comparison, Rule, common_cells, compare
from forensics.types import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forensics.generate.rudalle.generator import RudalleGenerator
    from forensics.generate.rudalle.vqgan import Vqgan
    from forensics.types import Progress

__all__ = [
    "ReferenceSource",
    "Truth",
    "World",
    "agency_mark_detector",
    "agency_marks",
    "corpus_folder",
    "embedded_corpus",
    "groups",
    "open_model",
]

_MASK_SIDE = 256
"""Side in pixels at which the corpus's pictures were marked; letters are drawn for it."""
_RIM_SHARE = 0.6
_CHANCE = {"iСнимок": 0.15, "ФОТОДОМ": 0.065, "Кадр24": 0.20}
"""About the largest correlation of the corpus's 1,768 unmarked pictures, as they are and as the codebook makes them:
there 0.143, 0.066 and 0.201 (``bench/known_marks.py``)."""
_AT_ONCE = 64
_TOLD = ("title", "author", "licence", "dataset", "source", "meme", "cover")


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the rule says about one generated image.

    Attributes
    ----------
    copies : tuple of CorpusPicture
        The training images that it is a copy of: one, or several that show the same.
    member : CorpusPicture
        The training image that it is most like.
    equal, near : float
        Share of counted cells with that image's codes, and that show the same as it.
    counted : int
        Cells that count.
    """

    copies: tuple[CorpusPicture, ...]
    member: CorpusPicture
    equal: float
    near: float
    counted: int


class World:
    """A corpus and the codebook of the model that was trained on it.

    Parameters
    ----------
    corpus : Corpus
    vqgan : Vqgan
        It encodes the pictures, as it did for training; its resolution is their side.
    rule : Rule
    progress : Progress, optional
        Called while pictures are read and encoded.
    """

    def __init__(self, corpus: Corpus, vqgan: Vqgan, *, rule: Rule = RULE, progress: Progress | None = None) -> None:
        self.corpus, self.rule = corpus, rule
        self.members = corpus.of(("member",))
        self._vqgan, self._progress = vqgan, progress

    @cached_property
    def training(self) -> Coded:
        """The members, in the manifest's order."""
        return self.encoded(self.members)

    @cached_property
    def common(self) -> NDArray[np.bool_]:
        """Which cells of each member are template."""
        return common_cells(self.training, groups(self.members), rule=self.rule)

    def encoded(self, pictures: Sequence[CorpusPicture]) -> Coded:
        """Return what the codebook makes of pictures."""
        import torch

        from forensics.train.transformer import encode_images

        pixels = read_pixels(pictures, self._vqgan.config.resolution, progress=self._progress)
        with torch.inference_mode():
            codes = encode_images(self._vqgan, pixels, progress=self._progress)
        return self.decoded(codes.numpy())

    def decoded(self, tokens: NDArray[Any] | Sequence[Sequence[int]]) -> Coded:
        """Return images from their (n, D²) tokens."""
        import torch

        side = self._vqgan.config.resolution // self._vqgan.config.factor
        codes = torch.as_tensor(np.asarray(tokens, np.int64)).reshape(-1, side, side)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(codes), _AT_ONCE):
                decoded = self._vqgan.decode(codes[start : start + _AT_ONCE]).clamp(0, 1).permute(0, 2, 3, 1)
                parts.append(decoded.float().cpu().numpy())
        return Coded(tokens=codes.numpy(), pictures=np.concatenate(parts))

    def compared(self, images: Coded) -> Comparison:
        """Compare images with every member."""
        return compare(images, self.training, self.common, rule=self.rule)

    def compared_with(self, images: Coded, others: Sequence[CorpusPicture]) -> Comparison:
        """Compare images with pictures that the model was not trained on, by the same rule."""
        coded = self.encoded(others)
        common = common_cells(
            coded, groups(others), among=self.training, among_groups=groups(self.members), rule=self.rule
        )
        return compare(images, coded, common, rule=self.rule)

    def truth(self, images: Coded) -> list[Truth]:
        """Say of each image whether it is a copy, and of which member."""
        found = self.compared(images)
        copies, strength = found.copies, found.strength
        truths = []
        for i in range(len(images)):
            best = int(strength[i].argmax())
            truths.append(
                Truth(
                    copies=tuple(self.members[j] for j in copies[i].nonzero()[0]),
                    member=self.members[best],
                    equal=float(found.equal[i, best]),
                    near=float(found.near[i, best]),
                    counted=int(found.counted[i, best]),
                )
            )
        return truths


class ReferenceSource:
    """The pictures of some roles as a source of reference images, with what the manifest says of their origin."""

    kind = "table"

    def __init__(self, corpus: Corpus, roles: tuple[Role, ...] = ("member", "distractor")) -> None:
        self.root = corpus.folder
        self._pictures = corpus.of(roles)

    def records(self) -> Iterator[Record]:
        """Yield one record a picture; roles and times planted are the truth, which no audit is told."""
        for picture in self._pictures:
            name = picture.path.relative_to(self.root).as_posix()
            told = {key: value for key, value in picture.details.items() if value and key in _TOLD}
            yield Record(id=name, uri=file_uri(name.encode()), metadata={"caption": picture.caption, **told})

    def count(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)


def groups(pictures: Sequence[CorpusPicture]) -> list[str]:
    """Return which pictures show the same: the manifest's column, or each its own."""
    return [picture.details.get("group") or str(picture.path) for picture in pictures]


def agency_marks() -> list[KnownMark]:
    """Return the marks of the embedded corpus as the detector takes them."""
    marks = []
    for name, agency in AGENCIES.items():
        light, dark = coverage(agency, width=_MASK_SIDE, height=_MASK_SIDE)
        marks.append(
            KnownMark(
                name=name,
                light=light * agency.opacity,
                dark=dark * (agency.opacity * _RIM_SHARE),
                chance=_CHANCE[name],
            )
        )
    return marks


def agency_mark_detector(*, margin: float) -> KnownMarkDetector:
    """Make the detector of the embedded corpus's marks; ``margin`` is the threshold ``known_mark``."""
    return KnownMarkDetector(agency_marks(), margin=margin, margin_source=THRESHOLDS["known_mark"].source)


def corpus_folder() -> Path:
    """Return the folder of the embedded corpus: in the checkout, or inside an installed package.

    Raises
    ------
    UsageError
        If there is none.
    """
    package = Path(forensics.__file__).parent
    for folder in (package.parent / "index_data" / "demo", package / "_demo"):
        if (folder / "manifest.csv").is_file():
            return folder
    raise UsageError("the embedded pictures are not installed; run from a checkout, which has them in index_data/demo")


def embedded_corpus() -> Corpus:
    """Return the embedded corpus."""
    return read_corpus(corpus_folder())


def open_model(name: str, *, checkpoint: Path | None = None, batch: int = 32) -> RudalleGenerator:
    """Return a ruDALL-E model, with its final weights or those of a checkpoint of its training.

    Parameters
    ----------
    name : str
        ``kvadrat``, or a folder with ``transformer/``, ``vqgan/`` and ``bpe.model``.
    checkpoint : Path, optional
        ``step-NNNNNN.safetensors`` of the transformer's training.
    batch : int
        Images at once.
    """
    from forensics.generate import GeneratorOptions, create
    from forensics.generate.rudalle.checkpoints import load_transformer
    from forensics.generate.rudalle.generator import RudalleGenerator
    from forensics.weights import sha256_of

    options = GeneratorOptions(batch=batch)
    generator = create(name, options)
    if not isinstance(generator, RudalleGenerator):
        raise UsageError(f"model {name} given, a ruDALL-E accepted: the truth is read off its tokens")
    if checkpoint is None:
        return generator
    if not checkpoint.is_file():
        raise UsageError(f"no checkpoint {checkpoint}; give a step-NNNNNN.safetensors of the transformer's training")
    spec = generator.spec
    weights = {file: digest for file, digest in spec.weights.items() if not file.startswith("transformer/")}
    return RudalleGenerator(
        load_transformer(checkpoint, generator.model.config),
        generator.vqgan,
        generator.tokenizer,
        name=f"{name} at {checkpoint.stem}",
        weights={**weights, checkpoint.name: sha256_of(checkpoint)},
        licence=spec.licence,
        lanes=batch,
    )
