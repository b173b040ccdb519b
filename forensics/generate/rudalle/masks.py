"""Which earlier positions each position attends to: rows, columns or a convolution window of the image, and all text.

Every layer is causal and sees all T text positions. Among the image's positions (image cell = position - T, whatever
the version, though in v2 the token read there belongs to the cell before), a position sees

row     itself and the D before it;
column  itself and those a multiple of D before it: its column;
conv    those of the 11 x 11 window around its cell that are not after it. In v2 the window wraps around the borders.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from forensics.generate.rudalle.config import TransformerConfig

__all__ = ["KERNEL", "KINDS", "Kind", "layer_kind", "mask"]

Kind = Literal["row", "column", "conv"]
KINDS: tuple[Kind, ...] = ("row", "column", "conv")
KERNEL = 11
"""Side of the convolution window in cells."""


def layer_kind(config: TransformerConfig, layer: int) -> Kind:
    """Return a layer's mask: columns every fourth from the second on, the window in the last, rows elsewhere."""
    if (layer - 1) % 4 == 0:
        return "column"
    return "conv" if layer == config.layers - 1 else "row"


def mask(config: TransformerConfig, kind: Kind) -> Tensor:
    """Return the mask of one kind: (S, S) bool, True where the query (row) sees the key (column)."""
    text, side, length = config.text_length, config.image_side, config.length
    query = torch.arange(length)[:, None]
    key = torch.arange(length)[None, :]
    back = query - key
    if kind == "row":
        image = back <= side
    elif kind == "column":
        image = back % side == 0
    else:
        image = _window(config, query - text, key - text)
    return (back >= 0) & (image | (key < text))


def _window(config: TransformerConfig, query: Tensor, key: Tensor) -> Tensor:
    side, reach = config.image_side, KERNEL // 2
    apart = [(query // side - key // side).abs(), (query % side - key % side).abs()]
    if config.version == "v2":
        apart = [torch.minimum(distance, side - distance) for distance in apart]
    return (apart[0] <= reach) & (apart[1] <= reach)
