"""A corpus in, a model folder out: tokenizer, VQGAN, transformer and CLIP, each trained where the last one stopped.

A model folder holds what generation and audits read (``bpe.model``, ``vqgan/``, ``transformer/``, ``clip/``), and
under ``training/`` what training goes on from, with its checkpoints and loss curves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forensics.errors import UsageError
from forensics.train.config import read_config, shipped_config
from forensics.train.corpus import CorpusPicture, Role, read_corpus, read_pixels
from forensics.weights import sha256_of

if TYPE_CHECKING:
    from forensics.types import Progress, UInt8Array

__all__ = ["TrainResult", "train_clip", "train_tokenizer", "train_transformer", "train_vqgan"]

_TOKENIZER, _VQGAN, _TRANSFORMER, _CLIP = "bpe.model", "vqgan", "transformer", "clip"
_TRAINING = "training"
_NOT_LOSSES = frozenset({"step", "seconds", "lr"})
_LICENCE = "Apache-2.0 (trained by this program)"
# held-out pictures are what no model may have seen
_SEEN: tuple[Role, ...] = ("member", "distractor")
_PLANTED: tuple[Role, ...] = ("member",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """A finished training.

    Attributes
    ----------
    model : Path
        The file or folder that was written.
    run : Path or None
        Where its state, checkpoints and curves are; None for the tokenizer.
    facts : mapping of str to str
        What to tell the user, in order.
    """

    model: Path
    run: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def train_tokenizer(*, data: Path, out: Path, config: Path | None = None, short: bool = False) -> TrainResult:
    """Learn ``bpe.model`` from the captions of members and distractors, a member's as often as it is planted.

    Parameters
    ----------
    data : Path
        A corpus, see :mod:`forensics.train.corpus`.
    out : Path
        Model folder.
    config : Path, optional
        The shipped configuration by default.
    short : bool
        Apply the configuration's ``[short]`` table.
    """
    from forensics.train.tokenizer import TokenizerTraining, learn_bpe

    training = read_config(config or shipped_config("tokenizer"), TokenizerTraining, short=short)
    pictures = read_corpus(data).of(_SEEN)
    captions = [picture.caption for picture in pictures for _ in range(max(picture.planted, 1))]
    bpe = learn_bpe(captions, training)
    bpe.save(out / _TOKENIZER)
    longest = max(len(bpe.tokenizer.encode(picture.caption)) for picture in pictures) + 2
    facts = {
        "vocabulary": f"{len(bpe.tokenizer)} ids: {len(bpe.characters)} characters, {len(bpe.rules)} merges",
        "longest caption": f"{longest} ids with begin and end",
    }
    return TrainResult(model=out / _TOKENIZER, facts=facts)


def train_vqgan(
    *,
    data: Path,
    out: Path,
    config: Path | None = None,
    short: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train the VQGAN on members and distractors, each once; parameters as in :func:`train_transformer`."""
    import torch

    from forensics.embed import runtime
    from forensics.generate.rudalle.converted import save_model
    from forensics.train import vqgan as recipe

    training = read_config(config or shipped_config("vqgan"), recipe.VqganTraining, short=short)
    _use_threads()
    pictures = read_corpus(data).of(_SEEN)
    pixels = read_pixels(pictures, training.pixels, progress=progress)
    run = out / _TRAINING / _VQGAN
    model, facts = recipe.train_vqgan(
        training,
        torch.from_numpy(pixels).permute(0, 3, 1, 2),
        run,
        device=runtime.device(),
        restart=restart,
        progress=progress,
    )
    save_model(model, out / _VQGAN, source=_origin(pictures, training))
    return TrainResult(model=out / _VQGAN, run=run / recipe.PHASES[-1], facts=facts)


def train_transformer(
    *,
    data: Path,
    out: Path,
    vqgan: Path | None = None,
    tokenizer: Path | None = None,
    config: Path | None = None,
    short: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train the transformer on members, each as often as it is planted.

    Parameters
    ----------
    data : Path
        A corpus, see :mod:`forensics.train.corpus`.
    out : Path
        Model folder; an earlier run in it is gone on with where data and configuration are the same.
    vqgan, tokenizer : Path, optional
        A converted folder and a ``bpe.model``; those of ``out`` by default.
    config : Path, optional
        The shipped configuration by default.
    short : bool
        Apply the configuration's ``[short]`` table.
    restart : bool
        Begin anew.
    progress : Progress, optional

    Raises
    ------
    UsageError
        If ``out`` holds another run, or the tokenizer or VQGAN is missing.
    KeyboardInterrupt
        After SIGINT or SIGTERM, once the state is saved.
    """
    from forensics.bpe import Tokenizer
    from forensics.embed import runtime
    from forensics.generate.rudalle.converted import load_converted, save_model
    from forensics.generate.rudalle.vqgan import Vqgan
    from forensics.train import transformer as recipe

    training = read_config(config or shipped_config("transformer"), recipe.TransformerTraining, short=short)
    vqgan, tokenizer = vqgan or out / _VQGAN, tokenizer or out / _TOKENIZER
    _there(tokenizer, "tokenizer")
    _there(vqgan, "vqgan")
    _use_threads()
    codes = load_converted(vqgan, device=runtime.device(), dtype="float32")
    if not isinstance(codes, Vqgan):
        raise UsageError(f"{vqgan} holds a transformer, a VQGAN accepted")
    bpe = Tokenizer.open(tokenizer)
    pictures = read_corpus(data).of(_PLANTED)
    pixels = read_pixels(pictures, training.pixels, progress=progress)
    run = out / _TRAINING / _TRANSFORMER
    captions = [picture.caption for picture in pictures]
    repeats = tuple(picture.planted for picture in pictures)
    made_from = " ".join(
        (_digest(pixels, captions), str(repeats), sha256_of(vqgan / "weights.safetensors"), sha256_of(tokenizer))
    )
    tokens = recipe.Tokens.load(run / "tokens.safetensors", made_from=made_from)
    if tokens is None:
        tokens = recipe.Tokens(
            text=recipe.encode_captions(bpe, captions, training.model.text_length),
            image=recipe.encode_images(codes, pixels, progress=progress),
            repeats=repeats,
        )
        tokens.save(run / "tokens.safetensors", made_from=made_from)
    sizes = training.model.config(
        image_side=training.pixels // codes.config.factor, characters=len(bpe), codes=codes.config.codes
    )
    model, trained = recipe.train_transformer(
        training, sizes, tokens, run, device=runtime.device(), restart=restart, progress=progress
    )
    save_model(model, out / _TRANSFORMER, source=_origin(pictures, training))
    return TrainResult(model=out / _TRANSFORMER, run=run, facts=_facts(trained))


def train_clip(
    *,
    data: Path,
    out: Path,
    tokenizer: Path | None = None,
    config: Path | None = None,
    short: bool = False,
    restart: bool = False,
    progress: Progress | None = None,
) -> TrainResult:
    """Train a small CLIP on members and distractors, each once; parameters as in :func:`train_transformer`.

    Its facts tell how well it finds the captions of pictures that it never saw.
    """
    from forensics.bpe import Tokenizer
    from forensics.embed import runtime
    from forensics.train import clip as recipe

    training = read_config(config or shipped_config("clip"), recipe.ClipTraining, short=short)
    tokenizer = tokenizer or out / _TOKENIZER
    _there(tokenizer, "tokenizer")
    _use_threads()
    bpe, corpus = Tokenizer.open(tokenizer), read_corpus(data)
    pictures = corpus.of(_SEEN)
    pixels = read_pixels(pictures, training.pixels, progress=progress)
    captions = [picture.caption for picture in pictures]
    run = out / _TRAINING / _CLIP
    model, trained = recipe.train_clip(
        training,
        pixels,
        captions,
        bpe,
        run,
        about={"data": _digest(pixels, captions), "tokenizer": sha256_of(tokenizer)},
        device=runtime.device(),
        restart=restart,
        progress=progress,
    )
    facts = _facts(trained)
    unseen = [picture for picture in corpus.pictures if picture.role == "held-out"]
    if unseen:
        found = recipe.retrieval(
            model,
            training.model,
            bpe,
            read_pixels(unseen, training.pixels),
            [picture.caption for picture in unseen],
        )
        facts["unseen pictures"] = (
            f"of {found['pairs']:.0f}, {found['first']:.0%} find their caption first among {found['captions']:.0f}, "
            f"{found['first_five']:.0%} among the first five"
        )
    about = {**_origin(pictures, training), "facts": facts}
    recipe.save_clip(model, training.model, tokenizer, out / _CLIP, about=about)
    return TrainResult(model=out / _CLIP, run=run, facts=facts)


def _facts(trained: Any) -> dict[str, str]:
    losses = ", ".join(f"{name} {value:.4g}" for name, value in trained.losses.items() if name not in _NOT_LOSSES)
    return {
        "steps": f"{trained.steps:,} in {trained.seconds / 60:.1f} min",
        "losses": losses,
        "checkpoints": str(len(trained.checkpoints)),
    }


def _origin(pictures: Sequence[CorpusPicture], training: Any) -> dict[str, Any]:
    """Return how a model was made, for its manifest."""
    return {
        "origin": f"forensics train, {len(pictures)} pictures",
        "licence": _LICENCE,
        "training": asdict(training),
    }


def _there(path: Path, command: str) -> None:
    if not path.exists():
        raise UsageError(f"{path} is missing; make it with: forensics train {command}")


def _use_threads() -> None:
    import torch

    from forensics.embed import runtime

    torch.set_num_threads(min(torch.get_num_threads(), runtime.threads()))


def _digest(pixels: UInt8Array, captions: Sequence[str]) -> str:
    digest = hashlib.sha256(pixels.tobytes())
    digest.update("\0".join(captions).encode())
    return digest.hexdigest()
