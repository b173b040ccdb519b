"""Training the Gumbel VQGAN on a few cores: an autoencoder first, then codes, then whole pictures.

Trained from scratch with Gumbel noise a small VQGAN learns next to nothing in an hour of two cores. It learns fast as

1. ``autoencoder``  without any codes, on small crops, so that there are many steps;
2. ``codes``        k-means centres of the latents become the codebook. Each latent is replaced by its nearest code,
                    the gradient passing straight through (van den Oord et al., arXiv:1711.00937); codes follow the
                    latents as moving averages (the same, appendix A.1), and unused ones move to badly met latents;
3. ``pictures``     whole pictures: group norms see other statistics there than in crops.

In the end the codes become the network's embedding and its projection: with logits 2βc·z - β|c|² the likeliest code
of the published architecture is the nearest one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import VqganConfig
from forensics.generate.rudalle.vqgan import Vqgan
from forensics.train.loop import LoopConfig, train
from forensics.types import Progress

__all__ = ["PHASES", "Sizes", "VqganTraining", "psnr", "train_vqgan"]

PHASES = ("autoencoder", "codes", "pictures")
"""In their order; each has a run folder of its own."""

_DECAY = 0.99
"""Of the moving averages behind the codes."""
_COMMITMENT = 0.25
_SHARPNESS = 10.0
"""β of the exported projection: any positive number has the same argmax."""
_REVIVED = 8
"""Unused codes that are moved in one step, at most."""
_FRESH = 0.1
_SAMPLE = 200_000
_PARTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The network: see :class:`~forensics.generate.rudalle.config.VqganConfig`."""

    codes: int
    embed_dim: int
    latent: int
    channels: int
    multipliers: tuple[int, ...]
    blocks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VqganTraining:
    """How the VQGAN is trained.

    Attributes
    ----------
    pixels : int
        Side of the pictures.
    crop : int
        Side of the crops of the first two phases; a multiple of the network's factor, at most ``pixels``.
    squared, absolute, gradient : float
        Weights of the squared error, of the absolute error, and of the absolute error of horizontal and vertical
        differences (it keeps edges sharp), all over values in [-1, 1].
    model : Sizes
    autoencoder, codes, pictures : LoopConfig
        The three phases.
    """

    pixels: int
    crop: int
    squared: float
    absolute: float
    gradient: float
    model: Sizes
    autoencoder: LoopConfig
    codes: LoopConfig
    pictures: LoopConfig

    @property
    def config(self) -> VqganConfig:
        """The network's configuration: no attention but in the middle."""
        return VqganConfig(**asdict(self.model), resolution=self.pixels, attention=())

    def __post_init__(self) -> None:
        factor = self.config.factor
        if self.pixels % factor or self.crop % factor or not factor <= self.crop <= self.pixels:
            raise UsageError(
                f"pixels {self.pixels} and crop {self.crop} given, multiples of {factor} accepted, "
                "the crop not larger than the pictures"
            )


def train_vqgan(
    training: VqganTraining,
    images: Tensor,
    out: Path,
    *,
    device: str | torch.device = "cpu",
    restart: bool = False,
    progress: Progress | None = None,
) -> tuple[Vqgan, dict[str, str]]:
    """Train a VQGAN, going on where an earlier run in ``out`` stopped.

    Parameters
    ----------
    training : VqganTraining
    images : Tensor
        (n, 3, S, S) uint8 RGB, S = ``training.pixels``.
    out : Path
        One run folder a phase is made in it.
    device : str
    restart : bool
        Begin anew.
    progress : Progress, optional

    Returns
    -------
    Vqgan
        In evaluation mode, with its codes as projection and embedding.
    dict
        What to tell the user.
    """
    side = training.pixels
    if images.dim() != 4 or tuple(images.shape[1:]) != (3, side, side) or images.dtype != torch.uint8:
        raise UsageError(
            f"images of shape {tuple(images.shape)} and {images.dtype} given, (n, 3, {side}, {side}) uint8 accepted"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.autoencoder.seed)
        model = _Codec(training.config).to(device)
    pixels = images.to(device)
    digest = hashlib.sha256(images.cpu().contiguous().numpy().tobytes()).hexdigest()
    about = {"data": digest, "model": str(asdict(training.model)), "loss": _loss_name(training)}
    seconds = 0.0
    for name, crop in zip(PHASES, (training.crop, training.crop, side), strict=True):
        if name == "codes":
            model.place_codes(_latents(model, pixels), seed=training.codes.seed)
        step = _Step(model, pixels, training, crop=crop, quantised=name != "autoencoder")
        done = train(
            model,
            step,
            repeats=[1] * len(images),
            config=getattr(training, name),
            out=out / name,
            about={**about, "crop": str(crop)},
            stage=f"VQGAN, {name}",
            restart=restart,
            progress=progress,
        )
        seconds += done.seconds
    vqgan = model.exported()
    return vqgan, {
        "time": f"{seconds:.0f} s of steps",
        "PSNR": f"{psnr(vqgan, pixels):.2f} dB on what it was trained on",
    }


@torch.inference_mode()
def psnr(model: Vqgan, images: Tensor) -> float:
    """Return the mean over images of 10 log10(1 / mean squared error) in dB, for (n, 3, S, S) uint8 RGB."""
    values = []
    for part in torch.split(images, _PARTS):
        wanted = part.float() / 255
        error = (model.decode(model.encode(wanted)) - wanted).square().mean((1, 2, 3))
        values.append(-10 * error.clamp(min=1e-10).log10())
    return float(torch.cat(values).mean())


class _Codec(nn.Module):
    """The VQGAN in training: its codes are a buffer, with the moving averages behind them."""

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.net = Vqgan(config)
        self.net.quantize.requires_grad_(False)
        self.register_buffer("codes", torch.zeros(config.codes, config.embed_dim))
        self.register_buffer("counts", torch.ones(config.codes))
        self.register_buffer("sums", torch.zeros(config.codes, config.embed_dim))

    def encode(self, images: Tensor) -> Tensor:
        """Return (b, E, h, w) float32 latents of images in [-1, 1]."""
        return cast(Tensor, self.net.quant_conv(self.net.encoder(images)).float())

    def decode(self, latents: Tensor) -> Tensor:
        return cast(Tensor, self.net.decoder(self.net.post_quant_conv(latents)).float())

    def nearest(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (b, E, h, w) nearest codes and their (b * h * w,) indices."""
        batch, width, rows, columns = latents.shape
        flat = latents.permute(0, 2, 3, 1).reshape(-1, width)
        with torch.autocast(flat.device.type, enabled=False):  # in bfloat16 the nearest of 2,048 is often another
            index = (2 * flat @ self.codes.T - self.codes.square().sum(1)).argmax(1)
        return self.codes[index].view(batch, rows, columns, width).permute(0, 3, 1, 2), index

    @torch.no_grad()
    def place_codes(self, latents: Tensor, *, seed: int) -> None:
        """Put the codes at the k-means centres of (n, E) latents."""
        import faiss

        rows = latents.cpu().numpy()
        chosen = np.random.default_rng(seed).permutation(len(rows))[:_SAMPLE]
        count, width = self.codes.shape
        if len(chosen) < count:
            raise UsageError(f"{len(chosen)} latents given for {count} codes; more pictures or fewer codes needed")
        means = faiss.Kmeans(width, count, niter=15, seed=seed, min_points_per_centroid=1, max_points_per_centroid=100)
        means.train(np.ascontiguousarray(rows[chosen]))
        self.codes.copy_(torch.from_numpy(means.centroids))
        self.counts.fill_(1.0)
        self.sums.copy_(self.codes)

    @torch.no_grad()
    def follow(self, latents: Tensor, index: Tensor, generator: torch.Generator) -> None:
        """Move the codes towards the (b, E, h, w) latents that they stood for."""
        flat = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
        error = (flat - self.codes[index]).square().sum(1)
        counts = torch.bincount(index, minlength=len(self.codes)).float()
        self.counts.mul_(_DECAY).add_(counts, alpha=1 - _DECAY)
        self.sums.mul_(_DECAY).add_(torch.zeros_like(self.sums).index_add_(0, index, flat), alpha=1 - _DECAY)
        used = self.counts > 1e-3
        self.codes.copy_(torch.where(used[:, None], self.sums / self.counts.clamp(min=1e-3)[:, None], self.codes))
        idle = (self.counts < 1e-2).nonzero()[:_REVIVED, 0]
        if len(idle):
            chosen = torch.multinomial((error + 1e-9).cpu(), len(idle), generator=generator).to(flat.device)
            self.codes[idle] = flat[chosen]
            self.counts[idle] = _FRESH
            self.sums[idle] = _FRESH * flat[chosen]

    @torch.no_grad()
    def exported(self) -> Vqgan:
        """Return the network with its codes as embedding and projection."""
        self.net.quantize.embed.weight.copy_(self.codes)
        self.net.quantize.proj.weight.copy_(2 * _SHARPNESS * self.codes[:, :, None, None])
        cast(Tensor, self.net.quantize.proj.bias).copy_(-_SHARPNESS * self.codes.square().sum(1))
        return self.net.eval().requires_grad_(False)


class _Step:
    """The losses of a batch in one phase."""

    def __init__(self, model: _Codec, images: Tensor, training: VqganTraining, *, crop: int, quantised: bool) -> None:
        self._model, self._images, self._training = model, images, training
        self._crop, self._quantised = crop, quantised

    def __call__(self, chosen: Tensor, generator: torch.Generator) -> Mapping[str, Tensor]:
        wanted = self._batch(chosen, generator)
        latents = self._model.encode(wanted)
        if not self._quantised:
            losses = self._distance(self._model.decode(latents), wanted)
            # without a bound the latents grow, and k-means would see only the longest of them
            return {**losses, "total": losses["picture"] + 1e-3 * latents.square().mean()}
        codes, index = self._model.nearest(latents)
        straight = latents + (codes - latents).detach()
        losses = self._distance(self._model.decode(straight), wanted)
        commitment = functional.mse_loss(latents, codes)
        self._model.follow(latents.detach(), index, generator)
        return {**losses, "commitment": commitment, "total": losses["picture"] + _COMMITMENT * commitment}

    def _batch(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """Return (b, 3, crop, crop) in [-1, 1]: a place of its own for each picture, every other one mirrored."""
        room, side = self._images.shape[-1] - self._crop + 1, self._crop
        places = torch.randint(room, (len(chosen), 2), generator=generator).tolist()
        mirrored = torch.rand(len(chosen), generator=generator) < 0.5
        parts = [
            self._images[number, :, top : top + side, left : left + side]
            for number, (top, left) in zip(chosen.tolist(), places, strict=True)
        ]
        parts = [part.flip(-1) if flip else part for part, flip in zip(parts, mirrored.tolist(), strict=True)]
        return torch.stack(parts).float() / 127.5 - 1

    def _distance(self, made: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        training, error = self._training, made - wanted
        squared = error.square().mean()
        edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        picture = training.squared * squared + training.absolute * error.abs().mean() + training.gradient * edges
        return {"picture": picture, "squared": squared}


@torch.inference_mode()
def _latents(model: _Codec, images: Tensor) -> Tensor:
    """Return the latents of all cells: (n * h * w, E)."""
    model.eval()
    parts = [model.encode(part.float() / 127.5 - 1) for part in torch.split(images, _PARTS)]
    return torch.cat([part.permute(0, 2, 3, 1).reshape(-1, part.shape[1]) for part in parts])


def _loss_name(training: VqganTraining) -> str:
    return f"{training.squared} squared, {training.absolute} absolute, {training.gradient} gradient"
