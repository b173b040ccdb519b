"""Training a small CLIP (Radford et al., arXiv:2103.00020) on captioned images: an open_clip model with our tokenizer.

A few hundred pairs are learnt by heart unless each is seen differently every time: images are cropped, mirrored and
tinted, captions lose words.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from forensics.bpe import BEGIN, END, PAD, Tokenizer, words
from forensics.embed.clip_models import BPE_FILE, bpe_ids
from forensics.errors import UsageError
from forensics.train.loop import LoopConfig, Trained, train
from forensics.train.session import save_weights
from forensics.types import Progress

if TYPE_CHECKING:
    from forensics.types import UInt8Array

__all__ = ["ClipSizes", "ClipTraining", "augment", "retrieval", "save_clip", "train_clip"]

_MEAN = _STD = 0.5
_LARGEST_SCALE = 100.0  # of the logits, as in the paper
_FIRST_SCALE = 1 / 0.07
_BATCH = 128
_INTERPOLATION = "bicubic"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSizes:
    """Sizes of the two towers.

    Attributes
    ----------
    embed_dim : int
        Of the common space.
    image_side, patch : int
        Pixels.
    image_width, image_layers, image_head : int
        Width, layers and width of a head of the image tower.
    text_width, text_layers, text_heads, text_length : int
    """

    embed_dim: int = 128
    image_side: int = 64
    patch: int = 8
    image_width: int = 192
    image_layers: int = 6
    image_head: int = 32
    text_width: int = 128
    text_layers: int = 4
    text_heads: int = 4
    text_length: int = 32

    def open_clip(self, characters: int) -> dict[str, Any]:
        """Return open_clip's ``model_cfg`` for a tokenizer of ``characters`` ids."""
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "image_size": self.image_side,
                "layers": self.image_layers,
                "width": self.image_width,
                "head_width": self.image_head,
                "patch_size": self.patch,
            },
            "text_cfg": {
                "context_length": self.text_length,
                "vocab_size": characters,
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
                "pad_id": PAD,
                "eos_id": END,
                "pool_type": "eos",
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTraining:
    """One training of a CLIP.

    Attributes
    ----------
    loop : LoopConfig
    model : ClipSizes
    pixels : int
        Side of the images that crops are taken from.
    smallest_crop : float
        Least share of an image's area that a crop has.
    tint : float
        Largest change of brightness, and of each colour's gain.
    word_dropout : float
        Chance of each word of a caption to be left out; one always stays.
    """

    loop: LoopConfig
    model: ClipSizes
    pixels: int = 80
    smallest_crop: float = 0.5
    tint: float = 0.2
    word_dropout: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.smallest_crop <= 1 or not 0 <= self.word_dropout < 1 or not 0 <= self.tint < 1:
            raise UsageError(
                f"smallest_crop {self.smallest_crop}, word_dropout {self.word_dropout}, tint {self.tint} given; "
                "shares from 0 to 1 accepted"
            )


def train_clip(
    training: ClipTraining,
    images: UInt8Array,
    captions: Sequence[str],
    tokenizer: Tokenizer,
    out: Path,
    *,
    about: Mapping[str, str] | None = None,
    device: str = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> tuple[Any, Trained]:
    """Train a CLIP from random weights, or go on; see :func:`forensics.train.loop.train`.

    Parameters
    ----------
    training : ClipTraining
    images : (n, S, S, 3) uint8 RGB
        With S = ``training.pixels``.
    captions : sequence of str
        (n,) Equal captions count as fitting one another's images.
    tokenizer : Tokenizer
    out : Path
        Run folder.
    about : mapping of str to str, optional
        What tells these images and captions from others, for going on.
    device, restart, progress
        As in the loop.

    Returns
    -------
    open_clip.CLIP
        In evaluation mode.
    Trained
        How the run went.
    """
    if len(images) != len(captions):
        raise UsageError(f"{len(images)} images and {len(captions)} captions given, pairs accepted")
    model = _new_model(training, len(tokenizer)).to(device)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    encoded = [[tokenizer.encode(word) for word in words(caption.lower())] for caption in captions]
    same = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    groups = torch.tensor([same[caption] for caption in captions])
    length = training.model.text_length

    def step_loss(chosen: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        batch = augment(pixels[chosen], training, generator).to(device)
        text = _texts([encoded[place] for place in chosen.tolist()], length, training.word_dropout, generator)
        image_rows = model.encode_image(batch, normalize=True)
        text_rows = model.encode_text(text.to(device), normalize=True)
        scale = model.logit_scale.exp().clamp(max=_LARGEST_SCALE)
        logits = scale * image_rows.float() @ text_rows.float().T
        alike = (groups[chosen][:, None] == groups[chosen][None, :]).to(device, torch.float32)
        targets = alike / alike.sum(1, keepdim=True)
        total = (functional.cross_entropy(logits, targets) + functional.cross_entropy(logits.T, targets)) / 2
        with torch.no_grad():
            right = alike.gather(1, logits.argmax(1, keepdim=True)).mean()
        return {"total": total, "right": right}

    trained = train(
        model,
        step_loss,
        repeats=[1] * len(images),
        config=training.loop,
        out=out,
        about={**(about or {}), "model": str(asdict(training) | {"loop": ""}), "vocabulary": str(len(tokenizer))},
        stage="training CLIP",
        restart=restart,
        progress=progress,
    )
    return model, trained


def augment(pixels: Tensor, training: ClipTraining, generator: torch.Generator) -> Tensor:
    """Return (b, 3, s, s) normalised float32 crops of (b, 3, S, S) uint8 images: cut, mirrored, tinted at random."""
    count, side = len(pixels), training.model.image_side

    def chance(*shape: int) -> Tensor:
        return torch.rand((count, *shape), generator=generator)

    zoom = (training.smallest_crop + (1 - training.smallest_crop) * chance()).sqrt()
    stretch = (1 + 0.2 * (chance() - 0.5)).sqrt()
    extent = torch.stack(((zoom * stretch).clamp(max=1), (zoom / stretch).clamp(max=1)), dim=1)  # of the crop, x and y
    centre = (2 * chance(2) - 1) * (1 - extent)
    mirror = torch.where(chance() < 0.5, -1.0, 1.0)
    affine = torch.zeros((count, 2, 3))
    affine[:, 0, 0], affine[:, 1, 1], affine[:, :, 2] = extent[:, 0] * mirror, extent[:, 1], centre
    grid = functional.affine_grid(affine, [count, 3, side, side], align_corners=False)
    cut = functional.grid_sample(pixels.float() / 255, grid, padding_mode="border", align_corners=False)
    gain = 1 + training.tint * (2 * chance(3, 1, 1) - 1)
    tinted = cut * gain + training.tint * (chance(1, 1, 1) - 0.5)
    return (tinted.clamp(0, 1) - _MEAN) / _STD


@torch.inference_mode()
def retrieval(
    model: Any, sizes: ClipSizes, tokenizer: Tokenizer, images: UInt8Array, captions: Sequence[str]
) -> dict[str, float]:
    """Return how often an image's own caption is first, and among the first five, of all different captions given."""
    different = list(dict.fromkeys(captions))
    own = torch.tensor([different.index(caption) for caption in captions])
    device = model.logit_scale.device
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    rows = []
    for part in torch.split(pixels, _BATCH):
        small = functional.interpolate(
            part.float() / 255, (sizes.image_side, sizes.image_side), mode=_INTERPOLATION, antialias=True
        )
        rows.append(model.encode_image(((small.clamp(0, 1) - _MEAN) / _STD).to(device), normalize=True))
    ids = bpe_ids(tokenizer, different, sizes.text_length).to(device)
    texts = torch.cat([model.encode_text(part, normalize=True) for part in torch.split(ids, _BATCH)])
    best = (torch.cat(rows) @ texts.T).topk(min(5, len(different)), dim=1).indices.cpu()
    hits = best == own[:, None]
    return {
        "pairs": float(len(captions)),
        "captions": float(len(different)),
        "first": float(hits[:, 0].float().mean()),
        "first_five": float(hits.any(1).float().mean()),
    }


def save_clip(
    model: Any, sizes: ClipSizes, tokenizer_file: Path, folder: Path, *, about: Mapping[str, Any] | None = None
) -> None:
    """Write a folder that ``clip:@FOLDER`` reads: open_clip's two files (float16) and the ``bpe.model``.

    Parameters
    ----------
    model : open_clip.CLIP
    sizes : ClipSizes
    tokenizer_file : Path
        The one that it was trained with.
    folder : Path
        Made; what it holds of these files is replaced.
    about : mapping, optional
        Kept in ``open_clip_config.json`` as ``about``: how the model was made, its licence.
    """
    config = {
        "model_cfg": sizes.open_clip(len(Tokenizer.open(tokenizer_file))),
        "preprocess_cfg": {
            "mean": [_MEAN] * 3,
            "std": [_STD] * 3,
            "interpolation": _INTERPOLATION,
            "resize_mode": "squash",
        },
        "about": dict(about or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(model, folder / "open_clip_model.safetensors")
    if tokenizer_file.resolve() != (folder / BPE_FILE).resolve():
        shutil.copyfile(tokenizer_file, folder / BPE_FILE)
    part = folder / "open_clip_config.json.part"
    part.write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", "utf-8")
    os.replace(part, folder / "open_clip_config.json")  # noqa: PTH105  atomic


def _new_model(training: ClipTraining, characters: int) -> Any:
    from open_clip.model import CLIP

    # open_clip draws from torch's own generator, which is given back as it was
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.loop.seed)
        model = CLIP(**training.model.open_clip(characters))
    with torch.no_grad():
        model.logit_scale.fill_(float(np.log(_FIRST_SCALE)))
    return model


def _texts(captions: Sequence[Sequence[Sequence[int]]], length: int, drop: float, generator: torch.Generator) -> Tensor:
    """Return (b, length) ids of captions given as the ids of their words, of which some are left out."""
    ids = torch.full((len(captions), length), PAD)
    for row, caption in enumerate(captions):
        kept = torch.rand(len(caption), generator=generator) >= drop
        if not kept.any():
            kept[int(torch.randint(len(caption), (1,), generator=generator))] = True
        inner = [number for word, stays in zip(caption, kept.tolist(), strict=True) if stays for number in word]
        whole = [BEGIN, *inner[: length - 2], END]
        ids[row, : len(whole)] = torch.tensor(whole)
    return ids
