"""The Gumbel VQGAN: images to codebook indices and back (Esser et al., arXiv:2012.09841; Jang et al., 1611.01144).

Module names are those of the published state dicts. A latent cell stands for 8 x 8 pixels in the published size. With
the wavelet decoder a cell decodes to 16 x 16: its twelve channels are the four bands of a Haar transform of the image.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import UsageError
from forensics.generate.rudalle.config import VqganConfig

__all__ = ["Vqgan", "inverse_haar"]

_GROUPS = 32
_EPSILON = 1e-6


def inverse_haar(bands: Tensor) -> Tensor:
    """Return the (b, 3, 2h, 2w) image of (b, 12, h, w) Haar bands: 3 low-pass channels, then 3 bands of each channel.

    The bands of a channel are, in this order, high-pass down the columns, along the rows, and both.
    """
    batch, _, height, width = bands.shape
    low = bands[:, :3]
    down, along, both = bands[:, 3:].reshape(batch, 3, 3, height, width).unbind(2)
    upper, lower = (low + down, along + both), (low - down, along - both)
    pixels = torch.stack([part for first, second in (upper, lower) for part in (first + second, first - second)])
    return functional.pixel_shuffle(pixels.permute(1, 2, 0, 3, 4).reshape(batch, 12, height, width), 2) / 2


class _Norm(nn.GroupNorm):
    def __init__(self, channels: int) -> None:
        super().__init__(_GROUPS, channels, eps=_EPSILON)


class _Residual(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1 = _Norm(before)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = _Norm(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(image)))
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return cast(Tensor, self.nin_shortcut(image) + inner)


class _Attention(nn.Module):
    """Attention of one head over all pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _Norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, image: Tensor) -> Tensor:
        normed = self.norm(image)
        query, key, value = (part(normed).flatten(2).transpose(1, 2) for part in (self.q, self.k, self.v))
        context = functional.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
        return cast(Tensor, image + self.proj_out(context.transpose(1, 2).reshape(image.shape)))


class _Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = _Residual(channels, channels)
        self.attn_1 = _Attention(channels)
        self.block_2 = _Residual(channels, channels)

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.block_2(self.attn_1(self.block_1(image))))


class _Resample(nn.Module):
    """A change of size by two, with its convolution; ``stride`` 2 halves, 1 doubles."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=2 - stride)

    def forward(self, image: Tensor) -> Tensor:
        if self.conv.stride == (2, 2):
            image = functional.pad(image, (0, 1, 0, 1))
        else:
            image = functional.interpolate(image, scale_factor=2.0, mode="nearest")
        return cast(Tensor, self.conv(image))


class _Level(nn.Module):
    """Residual blocks of one size, each followed by attention where the configuration says so."""

    def __init__(self, before: int, after: int, blocks: int, *, attention: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(_Residual(before if number == 0 else after, after) for number in range(blocks))
        self.attn = nn.ModuleList(_Attention(after) for _ in range(blocks if attention else 0))
        self.downsample: nn.Module = nn.Identity()
        self.upsample: nn.Module = nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        for number, block in enumerate(self.block):
            image = block(image)
            if len(self.attn):
                image = self.attn[number](image)
        return cast(Tensor, self.upsample(self.downsample(image)))


class _Encoder(nn.Module):
    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, config.channels, 3, padding=1)
        self.down = nn.ModuleList()
        before = config.channels
        for number, multiplier in enumerate(config.multipliers):
            after = config.channels * multiplier
            attention = config.resolution >> number in config.attention
            level = _Level(before, after, config.blocks, attention=attention)
            if number < len(config.multipliers) - 1:
                level.downsample = _Resample(after, 2)
            self.down.append(level)
            before = after
        self.mid = _Middle(before)
        self.norm_out = _Norm(before)
        self.conv_out = nn.Conv2d(before, config.latent, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        image = self.conv_in(image)
        for level in self.down:
            image = level(image)
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(self.mid(image)))))


class _Decoder(nn.Module):
    def __init__(self, config: VqganConfig, channels: int) -> None:
        super().__init__()
        before = config.channels * config.multipliers[-1]
        self.conv_in = nn.Conv2d(config.latent, before, 3, padding=1)
        self.mid = _Middle(before)
        levels: list[_Level] = []
        for number in reversed(range(len(config.multipliers))):
            after = config.channels * config.multipliers[number]
            attention = config.resolution >> number in config.attention
            level = _Level(before, after, config.blocks + 1, attention=attention)
            if number:
                level.upsample = _Resample(after, 1)
            levels.insert(0, level)
            before = after
        self.up = nn.ModuleList(levels)
        self.norm_out = _Norm(before)
        self.conv_out = nn.Conv2d(before, channels, 3, padding=1)

    def forward(self, latent: Tensor) -> Tensor:
        image = self.mid(self.conv_in(latent))
        for level in reversed(self.up):
            image = level(image)
        return cast(Tensor, self.conv_out(functional.silu(self.norm_out(image))))


class _WaveletDecoder(nn.Module):
    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.latent, 1)
        self.decoder = _Decoder(config, 12)

    def forward(self, latent: Tensor) -> Tensor:
        return inverse_haar(self.decoder(latent))


class _Quantizer(nn.Module):
    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.embed_dim, config.codes, 1)
        self.embed = nn.Embedding(config.codes, config.embed_dim)


class Vqgan(nn.Module):
    """Encoder, codebook and decoder.

    Parameters
    ----------
    config : VqganConfig
        Its sizes.
    """

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)
        self.decoder: nn.Module = _WaveletDecoder(config) if config.dwt else _Decoder(config, 3)
        self.quantize = _Quantizer(config)
        self.quant_conv = nn.Conv2d(config.latent, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.latent, 1)

    @torch.inference_mode()
    def encode(self, image: Tensor) -> Tensor:
        """Return the likeliest code of each cell: (b, h, w) int64 for (b, 3, 8h, 8w) RGB in [0, 1]."""
        factor = self.config.factor
        if (
            image.dim() != 4
            or image.shape[1] != 3
            or min(image.shape[2:]) < 1
            or any(n % factor for n in image.shape[2:])
        ):
            raise UsageError(
                f"an image of shape {tuple(image.shape)} given, "
                f"(batch, 3, height, width) in multiples of {factor} accepted"
            )
        weight = self.quant_conv.weight
        latent = self.quant_conv(self.encoder(2 * image.to(weight.device, weight.dtype) - 1))
        return cast(Tensor, self.quantize.proj(latent).argmax(1))

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Return the image of (b, h, w) codes: (b, 3, 8h, 8w) float32 RGB in [0, 1], twice that with wavelets.

        (b, n) codes are taken as a square.
        """
        config = self.config
        if codes.dim() == 2:
            side = round(codes.shape[1] ** 0.5)
            if side * side != codes.shape[1]:
                raise UsageError(f"{codes.shape[1]} codes an image given, a square number or (b, h, w) accepted")
            codes = codes.reshape(-1, side, side)
        if codes.dim() != 3 or codes.numel() == 0 or not 0 <= int(codes.min()) <= int(codes.max()) < config.codes:
            raise UsageError(
                f"codes of shape {tuple(codes.shape)} given, (batch, height, width) of 0 to {config.codes - 1} accepted"
            )
        latent = self.quantize.embed(codes.to(self.quantize.embed.weight.device)).permute(0, 3, 1, 2)
        # the wavelet decoder brings its own projection; the other one stays in its files unused
        project = self.decoder.post_quant_conv if isinstance(self.decoder, _WaveletDecoder) else self.post_quant_conv
        image = cast(Tensor, self.decoder(project(latent)))
        return (image.float().clamp(-1, 1) + 1) / 2
