"""Training the transformer on captions and images that were encoded once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from forensics.bpe import BEGIN, END, PAD, Tokenizer
from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.config import TransformerConfig
from forensics.generate.rudalle.transformer import Rudalle
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.train.forward import FirstImage, losses
from forensics.train.loop import LoopConfig, Trained, train
from forensics.train.session import write_tensors
from forensics.types import Progress

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = [
    "Tokens",
    "TransformerSizes",
    "TransformerTraining",
    "encode_captions",
    "encode_images",
    "initial_transformer",
    "train_transformer",
    "without_captions",
]

_SPREAD = 0.02
# beside sandwich norms, whose output has a size of its own, places and tokens would else be learnt late
_EMBEDDING_SPREAD = 0.3
_PIXELS_AT_ONCE = 64 * 128 * 128


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerSizes:
    """What of :class:`TransformerConfig` is chosen; the vocabularies and the image's side follow from data.

    Attributes
    ----------
    version : {"v3", "v2"}
    layers, hidden, heads, text_length : int
    sandwich : bool
    """

    layers: int
    hidden: int
    heads: int
    text_length: int = 32
    version: Literal["v3", "v2"] = "v3"
    sandwich: bool = True

    def config(self, *, image_side: int, characters: int, codes: int) -> TransformerConfig:
        """Return the configuration for a tokenizer of ``characters`` ids and a codebook of ``codes``."""
        return TransformerConfig(
            version=self.version,
            layers=self.layers,
            hidden=self.hidden,
            heads=self.heads,
            text_length=self.text_length,
            image_side=image_side,
            text_vocab=characters + self.text_length,
            image_vocab=codes,
            sandwich=self.sandwich,
            pb_relax=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerTraining:
    """One training of a transformer.

    Attributes
    ----------
    loop : LoopConfig
    model : TransformerSizes
    pixels : int
        Side to which images are scaled before they are encoded; with the VQGAN's factor f, D = pixels / f.
    caption_dropout : float
        Share of samples whose caption is replaced by the empty one, so that guidance has something to guide away from.
    first_image : {"image", "text"}
        As in :func:`forensics.train.forward.losses`.
    """

    loop: LoopConfig
    model: TransformerSizes
    pixels: int = 64
    caption_dropout: float = 0.1
    first_image: FirstImage = "image"

    def __post_init__(self) -> None:
        if not 0 <= self.caption_dropout < 1:
            raise UsageError(f"caption_dropout {self.caption_dropout} given, 0 up to but not 1 accepted")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tokens:
    """What the transformer is trained on.

    Attributes
    ----------
    text : Tensor
        (n, T) int64 ids of captions, as ``Tokenizer.encode_prompt`` makes them.
    image : Tensor
        (n, D²) int64 codebook indices.
    repeats : tuple of int
        (n,) times a sample occurs in an epoch.
    """

    text: Tensor
    image: Tensor
    repeats: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.text) == len(self.image) == len(self.repeats):
            raise UsageError(
                f"{len(self.text)} captions, {len(self.image)} images and {len(self.repeats)} repeats given, "
                "as many of each accepted"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of everything in it."""
        digest = hashlib.sha256()
        for part in (self.text, self.image, torch.tensor(self.repeats)):
            digest.update(part.to(torch.int64).contiguous().numpy().tobytes())
        return digest.hexdigest()

    def save(self, path: Path, *, made_from: str = "") -> None:
        """Write a safetensors file; ``made_from`` says from what, for :meth:`load` to compare."""
        tensors = {
            "text": self.text.to(torch.int32),
            "image": self.image.to(torch.int32),
            "repeats": torch.tensor(self.repeats, dtype=torch.int32),
        }
        write_tensors(tensors, path, metadata={"made_from": made_from})

    @classmethod
    def load(cls, path: Path, *, made_from: str | None = None) -> Tokens | None:
        """Read a file of :meth:`save`; None where there is none or it was made from something else."""
        from safetensors import safe_open

        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                before = (file.metadata() or {}).get("made_from", "")
            tensors = load_file(path)
            text, image, repeats = (tensors[name].to(torch.int64) for name in ("text", "image", "repeats"))
        except (SafetensorError, KeyError) as error:
            raise WeightsError(f"{path} is no file of tokens ({error}); delete it to have it made anew") from error
        if made_from is not None and made_from != before:
            return None
        return cls(text=text, image=image, repeats=tuple(repeats.tolist()))


def encode_captions(tokenizer: Tokenizer, captions: Sequence[str], length: int) -> Tensor:
    """Return (n, length) int64 ids, begin and end included; one that is longer is cut, as prompts are."""
    rows = [tokenizer.encode_prompt(caption, length).ids for caption in captions]
    return torch.tensor(rows, dtype=torch.int64).reshape(len(captions), length)


def encode_images(vqgan: Vqgan, images: UInt8Array, *, progress: Progress | None = None) -> Tensor:
    """Return the (n, D²) int64 codes of (n, H, W, 3) uint8 RGB images, on the CPU."""
    count, height, width = images.shape[:3]
    step = max(1, _PIXELS_AT_ONCE // (height * width))
    codes = []
    for start in range(0, count, step):
        part = torch.from_numpy(np.ascontiguousarray(images[start : start + step])).permute(0, 3, 1, 2).float() / 255
        codes.append(vqgan.encode(part).flatten(1).cpu())
        if progress is not None:
            progress("encoding images", min(start + step, count), count)
    return torch.cat(codes)


def initial_transformer(config: TransformerConfig, *, seed: int) -> Rudalle:
    """Return a transformer to be trained: N(0, 0.02²), what is added to the stream scaled by 1 / √(2L), biases 0.

    With sandwich norms it is the norms' gain that scales what is added, for they undo any scale before them, and
    embeddings are N(0, 0.3²).
    """
    model = Rudalle(config)
    generator = torch.Generator().manual_seed(seed)
    residual = (2 * config.layers) ** -0.5
    for name, module in model.named_modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.constant_(module.weight, residual if "_addition_" in name else 1.0)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            added = not config.sandwich and name.endswith(("attention.dense", "dense_4h_to_h"))
            nn.init.normal_(module.weight, std=_SPREAD * (residual if added else 1.0), generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            spread = _EMBEDDING_SPREAD if config.sandwich else _SPREAD
            nn.init.normal_(module.weight, std=spread, generator=generator)
    return model


def without_captions(text: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return (b, T) text ids of which a share, drawn at random, is the empty caption: begin, end, padding."""
    empty = torch.full_like(text[0], PAD)
    empty[0], empty[1] = BEGIN, END
    dropped = torch.rand(len(text), generator=generator) < share
    return torch.where(dropped[:, None], empty, text)


def train_transformer(
    training: TransformerTraining,
    config: TransformerConfig,
    tokens: Tokens,
    out: Path,
    *,
    device: str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> tuple[Rudalle, Trained]:
    """Train a transformer from its initial weights, or go on; see :func:`forensics.train.loop.train`.

    Returns
    -------
    Rudalle
        With its final weights, in evaluation mode.
    Trained
        How the run went.
    """
    if tokens.text.shape[1] != config.text_length or tokens.image.shape[1] != config.image_length:
        raise UsageError(
            f"tokens of {tokens.text.shape[1]} text and {tokens.image.shape[1]} image positions given, "
            f"{config.text_length} and {config.image_length} accepted"
        )
    model = initial_transformer(config, seed=training.loop.seed).to(device)

    def step_loss(chosen: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        text = without_captions(tokens.text[chosen], training.caption_dropout, generator)
        ids = torch.cat((text, tokens.image[chosen]), dim=1).to(device)
        found = losses(model, ids, first_image=training.first_image)
        return {"total": found.total, "text": found.text, "image": found.image}

    about = {
        "tokens": tokens.digest,
        "model": str(asdict(config)),
        "caption_dropout": str(training.caption_dropout),
        "first_image": training.first_image,
    }
    trained = train(
        model,
        step_loss,
        repeats=tokens.repeats,
        config=training.loop,
        out=out,
        about=about,
        stage="training the transformer",
        restart=restart,
        progress=progress,
    )
    return model, trained
