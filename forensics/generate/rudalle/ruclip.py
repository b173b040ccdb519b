"""ruCLIP: how well a Russian text and an image fit (OpenAI's CLIP with another tokenizer; arXiv:2103.00020).

Module names are those of the published folders (``config.json``, ``pytorch_model.bin``, ``bpe.model``). Two things
differ from OpenAI's: a text's features are taken at its end token, id 3, and the image tower's heads are 64 wide.

=========  ======================================
symbol     meaning
=========  ======================================
C, E       context length; common embedding
R          side of the image in pixels
=========  ======================================
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import UsageError, WeightsError
from forensics.generate.rudalle.checkpoints import fill
from forensics.generate.rudalle.tokenizer import BEGIN, END, PAD, Tokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TEMPLATES", "RuClip", "RuClipConfig", "RuClipNet"]

TEMPLATES = (
    "{}",
    "фото, на котором изображено {}",
    "изображение с {}",
    "картинка с {}",
    "фото с {}",
    "на фото видно {}",
)
"""The reference's sentences about an image; a text's features are their mean."""

_HEAD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RuClipConfig:
    """The published ``config.json``, its names and all."""

    embed_dim: int
    image_resolution: int
    vision_layers: int
    vision_width: int
    vision_patch_size: int
    context_length: int
    vocab_size: int
    transformer_width: int
    transformer_heads: int
    transformer_layers: int
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    @classmethod
    def open(cls, path: Path) -> RuClipConfig:
        """Read ``config.json``; a missing or wrong entry raises :class:`WeightsError`."""
        try:
            read: dict[str, Any] = json.loads(path.read_text("utf-8"))
            known = {item.name: read[item.name] for item in fields(cls) if read.get(item.name) is not None}
            for name in ("mean", "std"):
                if name in known:
                    red, green, blue = known[name]
                    known[name] = (float(red), float(green), float(blue))
            return cls(**known)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"{path} is no configuration of a ruCLIP folder: {error}") from error


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, states: Tensor, hidden: Tensor | None) -> Tensor:
        normed = self.ln_1(states)
        states = states + self.attn(normed, normed, normed, need_weights=False, attn_mask=hidden)[0]
        inner = self.mlp["c_fc"](self.ln_2(states))
        return cast(Tensor, states + self.mlp["c_proj"](inner * torch.sigmoid(1.702 * inner)))  # QuickGELU


class _Tower(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))

    def forward(self, states: Tensor, hidden: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            states = block(states, hidden)
        return states


class _Visual(nn.Module):
    def __init__(self, config: RuClipConfig) -> None:
        super().__init__()
        width, patch = config.vision_width, config.vision_patch_size
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((config.image_resolution // patch) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = _Tower(width, config.vision_layers, width // _HEAD)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.zeros(width, config.embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        states = torch.cat((self.class_embedding.expand(len(patches), 1, -1), patches), 1) + self.positional_embedding
        return cast(Tensor, self.ln_post(self.transformer(self.ln_pre(states))[:, 0]) @ self.proj)


class RuClipNet(nn.Module):
    """The two towers."""

    def __init__(self, config: RuClipConfig) -> None:
        super().__init__()
        self.visual = _Visual(config)
        self.transformer = _Tower(config.transformer_width, config.transformer_layers, config.transformer_heads)
        self.token_embedding = nn.Embedding(config.vocab_size, config.transformer_width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, config.transformer_width))
        self.ln_final = nn.LayerNorm(config.transformer_width)
        self.text_projection = nn.Parameter(torch.zeros(config.transformer_width, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return (b, E) features of (b, 3, R, R) normalised pixels."""
        return cast(Tensor, self.visual(pixels))

    def encode_text(self, ids: Tensor) -> Tensor:
        """Return (b, E) features of (b, C) ids, each with one end token."""
        count = ids.shape[1]
        hidden = torch.ones((count, count), dtype=torch.bool, device=ids.device).triu(1)
        states = self.ln_final(self.transformer(self.token_embedding(ids) + self.positional_embedding, hidden))
        ends = (ids == END).int().argmax(1)
        return cast(Tensor, states[torch.arange(len(ids), device=ids.device), ends] @ self.text_projection)


class RuClip:
    """A published folder, ready to score.

    Parameters
    ----------
    folder : Path
        Holds ``config.json``, ``pytorch_model.bin`` and ``bpe.model``.
    device : str
        Where the model runs.
    """

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        self.config = RuClipConfig.open(folder / "config.json")
        self.tokenizer = Tokenizer.open(folder / "bpe.model")
        self.device = device
        with torch.device("meta"):
            net = RuClipNet(self.config)
        self.net = fill(net, folder / "pytorch_model.bin", what="this folder's config.json", device=device)

    def text_ids(self, text: str) -> Tensor:
        """Return (C,) ids: begin, the lower-cased text's, cut to fit, end, padding."""
        room = self.config.context_length
        ids = [BEGIN, *self.tokenizer.encode(text.lower())[: room - 2], END]
        return torch.tensor(ids + [PAD] * (room - len(ids)))

    def pixel_values(self, images: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return (b, 3, R, R) float32 for (H, W, 3) uint8 RGB images: centre square, bilinear resize, normalised.

        The reference's "random" crop can only take this square.
        """
        side = self.config.image_resolution
        rows = np.empty((len(images), side, side, 3), np.uint8)
        for number, image in enumerate(images):
            height, width = image.shape[:2]
            short = min(height, width)
            left, top = (width - short) // 2, (height - short) // 2
            square = Image.fromarray(image[top : top + short, left : left + short])
            rows[number] = np.asarray(square.resize((side, side), Image.Resampling.BILINEAR))
        mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (self.config.mean, self.config.std))
        return (torch.from_numpy(rows).permute(0, 3, 1, 2).float() / 255 - mean) / std

    @torch.inference_mode()
    def text_latents(self, texts: Sequence[str], *, templates: Sequence[str] = TEMPLATES) -> Tensor:
        """Return (n, E) unit rows: each text's features in all templates, averaged, then normalised."""
        if not texts or not templates:
            raise UsageError("no text or no template given, at least one of each accepted")
        ids = [torch.stack([self.text_ids(form.format(text.lower().strip())) for text in texts]) for form in templates]
        features = torch.stack([self.net.encode_text(part.to(self.device)) for part in ids])
        return functional.normalize(features.mean(0), dim=-1).cpu()

    @torch.inference_mode()
    def image_latents(self, pixels: Tensor, *, batch: int = 8) -> Tensor:
        """Return (b, E) unit rows of :meth:`pixel_values`."""
        parts = [self.net.encode_image(part.to(self.device)) for part in torch.split(pixels, batch)]
        return functional.normalize(torch.cat(parts), dim=-1).cpu()

    def scores(self, images: Sequence[NDArray[np.uint8]], texts: Sequence[str]) -> Tensor:
        """Return (b, n) cosines of images and texts."""
        return self.image_latents(self.pixel_values(images)) @ self.text_latents(texts).T
